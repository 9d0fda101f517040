// How it works, and why.
//
// All state of a `core` belongs to libtorrent's network thread: `disk_io` is called there, and what
// hashing threads and evictions (on any thread) have to say is posted there. So there are no locks
// but two: that of the list of living cores, for the functions that any thread may call, and that
// of the line by which evictions are posted. Both guard nothing but what is named next to them;
// nothing is called under them but `post`.
//
// What outlives what: posted closures and jobs hold the core, the core holds no closure of its own.
// Handles of the cache are numbers that may be stale, so nothing dangles there. Buffers that were
// handed out hold their allocator, and that holds nothing.
//
// Mode `stream` rests on what libtorrent does when a write, or a hash, ends with `operation_aborted`:
// it forgets that it has the blocks, and requests them again if they are wanted, without an error.
// So completions are withheld from the first block on, and end in that way when the piece goes.
#include <lookbehind/libtorrent.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/disk_observer.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/performance_counters.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/storage_defs.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>

namespace lookbehind {

namespace {

using write_handler = std::function<void(lt::storage_error const&)>;
using hash_handler =
    std::function<void(lt::piece_index_t, lt::sha1_hash const&, lt::storage_error const&)>;
using hash2_handler =
    std::function<void(lt::piece_index_t, lt::sha256_hash const&, lt::storage_error const&)>;

// How often players are asked what they want, and peers that were stopped for want of room get
// another try: while something is on its way, and otherwise.
constexpr auto busy_tick = std::chrono::milliseconds(4);
constexpr auto idle_tick = std::chrono::milliseconds(40);
// So many ticks without anything on its way are a lull.
constexpr int lull = 100;
// What a piece takes in the cache beside its bytes, generously: header, padding, table.
constexpr std::int64_t beside_a_piece = 320;
constexpr std::int64_t beside_a_torrent = 256 << 10;
// For ever, in milliseconds: assemblies do not expire, for libtorrent would find holes.
constexpr std::uint64_t never = std::uint64_t(1) << 40;

lt::storage_error aborted()
{
    return lt::storage_error(boost::asio::error::operation_aborted);
}

lt::storage_error missing(lt::operation_t const operation)
{
    return lt::storage_error(boost::asio::error::eof, operation);
}

// `disk_interface::new_torrent` is given the torrent itself, and no handle on it, which the core needs
// to know when a piece is good, and to say what is wanted. A handle is a weak pointer to the torrent
// and nothing else, but its constructor is private. Explicit instantiation may name what is
// private; should the member change, this does not compile.
struct torrent_of {
    using type = std::weak_ptr<lt::torrent> lt::torrent_handle::*;
    friend type member(torrent_of);
};
template <typename Tag, typename Tag::type Member>
struct reveal {
    friend typename Tag::type member(Tag) { return Member; }
};
template struct reveal<torrent_of, &lt::torrent_handle::m_torrent>;

lt::torrent_handle handle_of(std::shared_ptr<void> const& torrent)
{
    lt::torrent_handle handle;
    handle.*member(torrent_of()) = std::static_pointer_cast<lt::torrent>(torrent);
    return handle;
}

// Calls a torrent that may have gone.
template <typename Result, typename Call>
Result ask(Result otherwise, Call call)
{
    try {
        return call();
    } catch (lt::system_error const&) {
        return otherwise;
    }
}

// Frees what was handed to libtorrent. It lives until its core is closed and the last buffer is back.
class pins final : public lt::buffer_allocator_interface {
public:
    lt::disk_buffer_holder hold(std::uint8_t const* data, int const size)
    {
        held_.fetch_add(1, std::memory_order_relaxed);
        // libtorrent never writes to what it has read.
        auto* const bytes = reinterpret_cast<char*>(const_cast<std::uint8_t*>(data));
        return lt::disk_buffer_holder(*this, bytes, size);
    }

    void free_disk_buffer(char* const buffer) override
    {
        lb_release(buffer);
        release();
    }

    void close() { release(); }

    int blocks() const { return held_.load(std::memory_order_relaxed) - 1; }

private:
    ~pins() = default;

    void release()
    {
        // Acquire and release: who deletes has seen all that others did here.
        if (held_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    std::atomic<int> held_{1};
};

// The root of a piece's merkle tree, by the hashes of its blocks (BEP 52).
lt::sha256_hash root_of(std::vector<lt::sha256_hash> nodes, std::size_t const leaves)
{
    nodes.resize(leaves); // what lies beyond the file's end is zero
    while (nodes.size() > 1) {
        for (std::size_t at = 0; at < nodes.size(); at += 2) {
            lt::hasher256 pair;
            pair.update(nodes[at]);
            pair.update(nodes[at + 1]);
            nodes[at / 2] = pair.final();
        }
        nodes.resize(nodes.size() / 2);
    }
    return nodes.front();
}

std::size_t next_power_of_two(std::size_t const least)
{
    std::size_t power = 1;
    while (power < least) power *= 2;
    return power;
}

// What is known of a piece's bytes.
struct digest {
    lt::sha1_hash v1;
    lt::sha256_hash v2; // the root of its tree
};

enum class verdict { good, bad, unknown };

// A piece that libtorrent has been told nothing of, or not all.
struct withheld {
    std::vector<write_handler> writes;
    hash_handler hashed;
    // Hashed, and good as far as can be known yet.
    std::unique_ptr<digest> waiting;
    bool hashing = false;
    // To be withdrawn once it is hashed: libtorrent must hear of the hash first.
    bool doomed = false;
    bool published = false;

    // In one go, so that libtorrent sees no state between.
    void abort(lt::piece_index_t const piece)
    {
        if (hashed) hashed(piece, lt::sha1_hash(), aborted());
        for (auto const& write : writes) write(aborted());
    }

    // libtorrent finds out who sent it, and has it cleared.
    void refuse(lt::piece_index_t const piece, lt::sha1_hash const& found)
    {
        for (auto const& write : writes) write(lt::storage_error());
        if (hashed) hashed(piece, found, lt::storage_error());
    }
};

struct fetch {
    lb_fetch handle;
    lt::piece_index_t piece;
};

// One torrent.
struct film : std::enable_shared_from_this<film> {
    lt::storage_index_t index{0};
    lb_storage storage = 0;
    std::uint64_t id = 0;
    lt::info_hash_t hashes;
    lt::torrent_handle torrent;
    lt::file_storage files;
    std::shared_ptr<lt::torrent_info const> info;
    std::vector<std::vector<lt::sha256_hash>> layers;
    // What it takes of the budget in mode `keep`.
    std::int64_t reserved = 0;
    boost::system::error_code error;
    bool removed = false;

    std::unordered_map<int, withheld> pieces;
    // Writes that were not taken, and are not answered yet.
    std::unordered_map<int, std::vector<write_handler>> refused;
    std::unordered_map<int, std::uint8_t const*> kept;
    std::vector<fetch> fetches;

    std::uint32_t piece_size(lt::piece_index_t const piece) const
    {
        return std::uint32_t(files.piece_size(piece));
    }

    bool wants(lt::piece_index_t const piece) const
    {
        auto const is_it = [&](fetch const& one) { return one.piece == piece; };
        return std::any_of(fetches.begin(), fetches.end(), is_it);
    }

    // What the root of the piece's tree should be; zero if that is not known yet.
    lt::sha256_hash expected_root(lt::piece_index_t const piece)
    {
        auto const file = files.file_index_at_piece(piece);
        if (files.file_size(file) <= files.piece_length()) return files.root(file);
        auto const known = [&]() -> lt::sha256_hash {
            auto const first = int(files.file_offset(file) / files.piece_length());
            auto const at = std::size_t(int(piece) - first);
            auto const number = std::size_t(int(file));
            if (number >= layers.size() || at >= layers[number].size()) return {};
            return layers[number][at];
        };
        auto root = known();
        if (root.is_all_zeros()) {
            // A magnet's hashes come from peers, one after another.
            layers = ask(std::move(layers), [&] { return torrent.piece_layers(); });
            root = known();
        }
        return root;
    }

    verdict judge(lt::piece_index_t const piece, digest const& found)
    {
        if (!info) info = ask(info, [&] { return torrent.torrent_file(); });
        if (!info) return verdict::unknown;
        auto const kinds = info->info_hashes();
        if (kinds.has_v1() && found.v1 != info->hash_for_piece(piece)) return verdict::bad;
        if (!kinds.has_v2()) return verdict::good;
        auto const root = expected_root(piece);
        if (!root.is_all_zeros()) return root == found.v2 ? verdict::good : verdict::bad;
        return kinds.has_v1() ? verdict::good : verdict::unknown;
    }
};

// A piece to be hashed. The handler is moved, never copied, for its closure owns what `v2` points to.
struct hash_job {
    std::shared_ptr<film> of;
    lt::piece_index_t piece{0};
    std::uint8_t const* bytes = nullptr; // pinned
    int size = 0;
    int size2 = 0; // of a v2 torrent: without the pad file behind it
    std::size_t leaves = 0;
    bool v1 = false;
    lt::span<lt::sha256_hash> v2;
    hash_handler handler;
    digest found;

    void run()
    {
        auto const* const data = reinterpret_cast<char const*>(bytes);
        if (v1) found.v1 = lt::hasher(lt::span<char const>(data, size)).final();
        if (v2.empty()) return;
        for (int at = 0, block = 0; at < size2; at += lt::default_block_size, ++block) {
            auto const length = std::min(lt::default_block_size, size2 - at);
            v2[block] = lt::hasher256(lt::span<char const>(data + at, length)).final();
        }
        found.v2 = root_of({v2.begin(), v2.end()}, leaves);
    }
};

// By which evictions, on any thread, reach the network thread.
struct line {
    std::mutex mutable mutex; // guards `context`, which is null once the core is closed
    lt::io_context* context;
    std::weak_ptr<core> owner;
};

void evicted(void* const context, lb_eviction const* const eviction);

void drop_line(void* const context)
{
    delete static_cast<std::shared_ptr<line>*>(context);
}

} // namespace

class core : public std::enable_shared_from_this<core> {
public:
    core(lt::io_context& context, config const& config)
        : config_(config)
        , context_(context)
        , pool_(std::size_t(std::max(config.hash_threads, 1)))
        , line_(std::make_shared<line>())
        , pins_(new pins)
        , timer_(std::make_unique<boost::asio::steady_timer>(context))
    {
        lb_cache_options options{};
        options.budget = std::uint64_t(std::max(config.budget, std::int64_t(0)));
        options.evicted = &evicted;
        options.context = new std::shared_ptr<line>(line_);
        options.drop_context = &drop_line;
        if (lb_cache_new(&options, &cache_) != LB_OK) {
            pins_->close();
            std::array<char, 256> why{};
            lb_last_error(why.data(), why.size());
            throw std::invalid_argument(std::string("lookbehind: ") + why.data());
        }
        line_->context = &context;
    }

    // Behind the constructor, for there is no `shared_from_this` in it.
    void open();
    void close();

    lt::storage_index_t add(lt::storage_params const& params, std::shared_ptr<void> const& torrent);
    void remove(lt::storage_index_t index);
    void read(lt::storage_index_t index, lt::peer_request const& request,
        std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler);
    bool write(lt::storage_index_t index, lt::peer_request const& request, char const* block,
        std::shared_ptr<lt::disk_observer> const& observer, write_handler handler);
    void hash(lt::storage_index_t index, lt::piece_index_t piece, lt::span<lt::sha256_hash> v2,
        lt::disk_job_flags_t flags, hash_handler handler);
    void hash2(
        lt::storage_index_t index, lt::piece_index_t piece, int offset, hash2_handler handler);
    void check(lt::storage_index_t index, lt::add_torrent_params const* resume,
        std::function<void(lt::status_t, lt::storage_error const&)> handler);
    void clear(lt::storage_index_t index, lt::piece_index_t piece);
    void clear_all(lt::storage_index_t index);
    void count(lt::counters& counters) const;
    void abort();
    void went(std::uint64_t id, std::uint32_t piece);
    void free(char* const buffer) { pins_->free_disk_buffer(buffer); }
    void join() { pool_.join(); }

    template <typename Closure>
    void post(Closure closure)
    {
        boost::asio::post(context_, std::move(closure));
    }

    private:
    std::shared_ptr<film> at(lt::storage_index_t const index) const
    {
        auto const number = std::size_t(std::uint32_t(index));
        return number < films_.size() ? films_[number] : nullptr;
    }

    void hashed(hash_job& job);
    void settle(film& of, lt::piece_index_t piece, verdict judged, digest const& found);
    bool publish(film& of, lt::piece_index_t piece);
    void withdraw(film& of, lt::piece_index_t piece);
    void answer_refused(film& of, lt::piece_index_t piece);
    void rouse(film& of, lt::piece_index_t piece);
    void drop(film& of);
    void arm();
    void tick();
    void drive(film& of);
    void look_again(film& of);
    std::size_t most_fetches(film const& of) const;

    config const config_;
    lt::io_context& context_;
    boost::asio::thread_pool pool_;
    std::shared_ptr<line> line_;
    pins* pins_;
    std::unique_ptr<boost::asio::steady_timer> timer_;
    lb_cache cache_ = 0;

    std::vector<std::shared_ptr<film>> films_;
    std::vector<lt::storage_index_t> free_;
    std::vector<std::weak_ptr<lt::disk_observer>> stopped_;
    std::int64_t hashing_ = 0; // bytes
    int reads_ = 0;
    int writes_ = 0;
    int hashes_ = 0;
    int quiet_ = 0; // ticks
    bool aborted_ = false;
    bool armed_ = false;
};

namespace {

// The cores that live, the one that was made last at the end, and what each has.
struct entry {
    core const* owner;
    lb_cache cache;
    struct torrent {
        lt::storage_index_t index;
        std::uint64_t id;
        lt::info_hash_t hashes;
    };
    std::vector<torrent> torrents;
};

std::mutex living_mutex; // guards `living`
std::vector<entry> living;

// Does so with the entry of that core, if it is there.
template <typename Change>
void change_entry(core const* const owner, Change change)
{
    std::lock_guard<std::mutex> const guard(living_mutex);
    for (auto& one : living) {
        if (one.owner == owner) change(one);
    }
}

bool same(lt::info_hash_t const& one, lt::info_hash_t const& other)
{
    return (one.has_v1() && one.v1 == other.v1) || (one.has_v2() && one.v2 == other.v2);
}

void evicted(void* const context, lb_eviction const* const eviction)
{
    // A torrent that is removed has been told all.
    if (eviction->reason == LB_REASON_REMOVED) return;
    auto const& to = **static_cast<std::shared_ptr<line> const*>(context);
    std::lock_guard<std::mutex> const guard(to.mutex);
    if (to.context == nullptr) return;
    boost::asio::post(*to.context,
        [owner = to.owner, id = eviction->storage_id, piece = eviction->piece] {
            if (auto const core = owner.lock()) core->went(id, piece);
        });
}

} // namespace

void core::open()
{
    line_->owner = weak_from_this();
    std::lock_guard<std::mutex> const guard(living_mutex);
    living.push_back(entry{this, cache_, {}});
}

void core::close()
{
    {
        std::lock_guard<std::mutex> const guard(living_mutex);
        auto const is_it = [&](entry const& one) { return one.owner == this; };
        living.erase(std::remove_if(living.begin(), living.end(), is_it), living.end());
    }
    {
        std::lock_guard<std::mutex> const guard(line_->mutex);
        line_->context = nullptr;
    }
    timer_.reset();
    auto const films = std::move(films_);
    films_.clear();
    for (auto const& film : films) {
        if (film) drop(*film);
    }
    lb_cache_close(cache_);
    pins_->close();
}

// Torrents come and go.

lt::storage_index_t core::add(
    lt::storage_params const& params, std::shared_ptr<void> const& torrent)
{
    auto const added = std::make_shared<film>();
    auto& one = *added;
    one.files = params.files;
    one.hashes = lt::info_hash_t(params.info_hash);
    if (torrent) {
        one.torrent = handle_of(torrent);
        one.info = ask(one.info, [&] { return one.torrent.torrent_file(); });
        if (one.info) one.hashes = one.info->info_hashes();
    }
    auto const size = one.files.total_size();
    if (config_.mode == mode::keep) {
        auto needed = size + one.files.num_pieces() * beside_a_piece + beside_a_torrent;
        auto left = config_.budget;
        for (auto const& film : films_) left -= film ? film->reserved : 0;
        if (needed > left) {
            one.error = make_error_code(errc::over_budget);
        } else {
            one.reserved = needed;
        }
    }
    if (!one.error) {
        lb_storage_options options{};
        options.keep_assemblies = true;
        options.assembly_limit_ms = never;
        auto const length = std::uint32_t(one.files.piece_length());
        if (lb_storage_add(cache_, std::uint64_t(size), length, &options, &one.storage) != LB_OK) {
            one.error = make_error_code(errc::refused);
            one.reserved = 0;
        } else {
            lb_storage_id(one.storage, &one.id);
        }
    }
    if (free_.empty()) {
        one.index = lt::storage_index_t(std::uint32_t(films_.size()));
        films_.push_back(added);
    } else {
        one.index = free_.back();
        free_.pop_back();
        films_[std::size_t(std::uint32_t(one.index))] = added;
    }
    if (one.storage != 0) {
        change_entry(this, [&](entry& own) {
            own.torrents.push_back({one.index, one.id, one.hashes});
        });
    }
    arm();
    return one.index;
}

// Lets go of what a torrent has in the cache.
void core::drop(film& of)
{
    change_entry(this, [&](entry& own) {
        auto const is_it = [&](entry::torrent const& one) { return one.index == of.index; };
        auto& torrents = own.torrents;
        torrents.erase(std::remove_if(torrents.begin(), torrents.end(), is_it), torrents.end());
    });
    of.removed = true;
    for (auto const& one : of.fetches) lb_fetch_close(one.handle);
    of.fetches.clear();
    for (auto const& one : of.kept) lb_release(one.second);
    of.kept.clear();
    lb_storage_remove(of.storage);
    lb_storage_close(of.storage);
}

void core::remove(lt::storage_index_t const index)
{
    auto const of = at(index);
    if (!of) return;
    films_[std::size_t(std::uint32_t(index))].reset();
    free_.push_back(index);
    drop(*of);
    // Not before: a torrent that is stopped may be started again.
    if (!of->pieces.empty()) {
        post([self = shared_from_this(), of] {
            for (auto& one : of->pieces) {
                self->writes_ -= int(one.second.writes.size());
                one.second.abort(lt::piece_index_t(one.first));
            }
            of->pieces.clear();
        });
    }
}

void core::check(lt::storage_index_t const index, lt::add_torrent_params const* const resume,
    std::function<void(lt::status_t, lt::storage_error const&)> handler)
{
    auto const of = at(index);
    auto status = lt::status_t::no_error;
    lt::storage_error error;
    if (!of || of->error) {
        status = lt::status_t::fatal_disk_error;
        auto const why = of ? of->error : make_error_code(errc::refused);
        error = lt::storage_error(why, lt::operation_t::check_resume);
    } else if (resume != nullptr && (!resume->have_pieces.empty() || !resume->unfinished_pieces.empty())) {
        // What an earlier session had is not in memory any more: look.
        status = lt::status_t::need_full_check;
    }
    // In mode `stream` libtorrent has no piece, and must not find one: it starts anew.
    if (of && config_.mode == mode::stream) clear_all(index);
    post([self = shared_from_this(), of, status, error, handler = std::move(handler)] {
        handler(status, error);
        if (status == lt::status_t::fatal_disk_error) return;
        if (self->config_.mode != mode::stream || !self->config_.on_demand) return;
        std::vector<lt::download_priority_t> const none(
            std::size_t(of->files.num_pieces()), lt::dont_download);
        ask(0, [&] { return of->torrent.prioritize_pieces(none), 0; });
    });
}

// Blocks in and out.

void core::read(lt::storage_index_t const index, lt::peer_request const& request,
    std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler)
{
    auto const of = at(index);
    std::uint8_t const* data = nullptr;
    lt::storage_error error;
    lt::disk_buffer_holder buffer;
    if (!of || of->storage == 0 || request.start < 0 || request.length < 0
        || lb_read_back(of->storage, std::uint32_t(int(request.piece)), std::uint32_t(request.start),
               std::uint32_t(request.length), &data)
            != LB_OK) {
        error = missing(lt::operation_t::file_read);
    } else {
        buffer = pins_->hold(data, request.length);
    }
    ++reads_;
    // Not a copy: a holder can only be moved, and so a shared pointer stands for it.
    auto const held = std::make_shared<lt::disk_buffer_holder>(std::move(buffer));
    post([self = shared_from_this(), held, error, handler = std::move(handler)] {
        --self->reads_;
        handler(std::move(*held), error);
    });
}

bool core::write(lt::storage_index_t const index, lt::peer_request const& request,
    char const* const block, std::shared_ptr<lt::disk_observer> const& observer,
    write_handler handler)
{
    auto const of = at(index);
    auto const number = int(request.piece);
    auto const stream = config_.mode == mode::stream;
    ++writes_;
    // A block that comes late, for a piece that nobody wants any more, must not open it again.
    auto const unwanted = of && stream && config_.on_demand && !of->wants(request.piece)
        && of->pieces.find(number) == of->pieces.end();
    auto status = LB_INVALID_HANDLE;
    if (of && of->storage != 0 && !aborted_ && !unwanted && request.start >= 0 && request.length > 0) {
        status = lb_write(of->storage, std::uint32_t(number), std::uint32_t(request.start),
            reinterpret_cast<std::uint8_t const*>(block), std::size_t(request.length), nullptr,
            nullptr);
    }
    if (status == LB_OK && stream) {
        of->pieces[number].writes.push_back(std::move(handler));
    } else if (of && status != LB_OK) {
        // Without room the block is given up, and requested again: nothing is kept outside the
        // budget. The error is one that makes nobody suspicious.
        auto& refused = of->refused[number];
        refused.push_back(std::move(handler));
        if (refused.size() == 1) {
            post([self = shared_from_this(), of, piece = request.piece] {
                self->answer_refused(*of, piece);
            });
        }
    } else {
        auto const error = status == LB_OK ? lt::storage_error() : aborted();
        post([self = shared_from_this(), error, handler = std::move(handler)] {
            --self->writes_;
            handler(error);
        });
    }
    auto const full = status == LB_BUDGET_EXHAUSTED || status == LB_ASSEMBLIES_FULL;
    auto const behind = hashing_ > config_.budget / 4;
    if (!full && !behind) return false;
    if (observer) stopped_.push_back(observer);
    return true;
}

void core::hash(lt::storage_index_t const index, lt::piece_index_t const piece,
    lt::span<lt::sha256_hash> const v2, lt::disk_job_flags_t const flags, hash_handler handler)
{
    auto const of = at(index);
    auto job = std::make_shared<hash_job>();
    job->of = of;
    job->piece = piece;
    job->v1 = bool(flags & lt::disk_interface::v1_hash);
    job->v2 = v2;
    job->handler = std::move(handler);
    auto const written = of && of->pieces.find(int(piece)) != of->pieces.end();
    auto const incomplete = of && of->refused.find(int(piece)) != of->refused.end();
    // libtorrent looks what is there. In mode `stream` nothing is, to it.
    auto const check = bool(flags & lt::disk_interface::sequential_access) && !written;
    auto const hidden = check && config_.mode == mode::stream;
    if (of && of->storage != 0 && !hidden && !incomplete && !aborted_) {
        job->size = int(of->piece_size(piece));
        if (!v2.empty()) {
            job->size2 = of->files.piece_size2(piece);
            auto const file = of->files.file_index_at_piece(piece);
            auto const alone = of->files.file_size(file) <= of->files.piece_length();
            job->leaves = alone ? next_power_of_two(v2.size())
                                : std::size_t(of->files.piece_length() / lt::default_block_size);
        }
        auto const size = std::uint32_t(job->size);
        auto const status =
            lb_read_back(of->storage, std::uint32_t(int(piece)), 0, size, &job->bytes);
        if (status != LB_OK) job->bytes = nullptr;
    }
    if (job->bytes == nullptr) {
        if (written || incomplete) {
            // Not all of it is there: libtorrent would blame those who sent it.
            of->pieces[int(piece)].hashed = std::move(job->handler);
            withdraw(*of, piece);
        } else {
            // In a check a piece that is missing is none that is wrong.
            auto const error = check && !aborted_ ? lt::storage_error() : aborted();
            post([piece, error, job] { job->handler(piece, lt::sha1_hash(), error); });
        }
        return;
    }
    if (written) of->pieces[int(piece)].hashing = true;
    hashing_ += job->size;
    ++hashes_;
    // The guard keeps the network thread going until this has been posted.
    auto guard = boost::asio::make_work_guard(context_);
    boost::asio::post(pool_, [self = shared_from_this(), job, guard = std::move(guard)]() mutable {
        job->run();
        // `job` moves on: what is last to go of it goes on the network thread.
        self->post([self, job = std::move(job)] { self->hashed(*job); });
    });
}

void core::hash2(lt::storage_index_t const index, lt::piece_index_t const piece, int const offset,
    hash2_handler handler)
{
    auto const of = at(index);
    std::uint8_t const* data = nullptr;
    int size = 0;
    if (of && of->storage != 0 && offset >= 0) {
        size = std::min(lt::default_block_size, of->files.piece_size2(piece) - offset);
        auto const status = size > 0 ? lb_read_back(of->storage, std::uint32_t(int(piece)),
                                           std::uint32_t(offset), std::uint32_t(size), &data)
                                     : LB_MISSING;
        if (status != LB_OK) data = nullptr;
    }
    if (data == nullptr) {
        post([piece, handler = std::move(handler)] {
            handler(piece, lt::sha256_hash(), missing(lt::operation_t::file_read));
        });
        return;
    }
    ++hashes_;
    auto guard = boost::asio::make_work_guard(context_);
    boost::asio::post(pool_,
        [self = shared_from_this(), data, size, piece, guard = std::move(guard),
            handler = std::move(handler)]() mutable {
            auto const* const bytes = reinterpret_cast<char const*>(data);
            auto const found = lt::hasher256(lt::span<char const>(bytes, size)).final();
            lb_release(data);
            self->post([self, piece, found, handler = std::move(handler)] {
                --self->hashes_;
                handler(piece, found, lt::storage_error());
            });
        });
}

// A piece has been hashed.
void core::hashed(hash_job& job)
{
    auto& of = *job.of;
    auto const piece = job.piece;
    lb_release(job.bytes);
    hashing_ -= job.size;
    --hashes_;
    if (config_.mode == mode::keep) {
        if (of.removed || aborted_) return job.handler(piece, lt::sha1_hash(), aborted());
        auto const found = of.judge(piece, job.found);
        if (found == verdict::good) publish(of, piece);
        job.handler(piece, job.found.v1, lt::storage_error());
        if (found == verdict::unknown && ask(false, [&] { return of.torrent.have_piece(piece); })) {
            publish(of, piece);
        }
        return;
    }
    auto const place = of.pieces.find(int(piece));
    if (place == of.pieces.end()) {
        // The torrent was removed while it was hashed.
        return job.handler(piece, lt::sha1_hash(), aborted());
    }
    auto& one = place->second;
    one.hashing = false;
    one.hashed = std::move(job.handler);
    if (one.doomed) return withdraw(of, piece);
    auto const found = of.judge(piece, job.found);
    if (found == verdict::unknown) {
        one.waiting = std::make_unique<digest>(job.found);
    } else {
        settle(of, piece, found, job.found);
    }
}

// Publishes a good piece of mode `stream`, and tells libtorrent of a bad one.
void core::settle(
    film& of, lt::piece_index_t const piece, verdict const judged, digest const& found)
{
    if (judged == verdict::bad) {
        auto const place = of.pieces.find(int(piece));
        auto told = std::move(place->second);
        of.pieces.erase(place);
        writes_ -= int(told.writes.size());
        told.refuse(piece, found.v1);
    } else if (!publish(of, piece)) {
        withdraw(of, piece);
    }
}

// Shows a piece that is known to be good.
bool core::publish(film& of, lt::piece_index_t const piece)
{
    auto const number = std::uint32_t(int(piece));
    auto const status = lb_commit(of.storage, number);
    if (status != LB_OK) return false;
    if (config_.mode == mode::stream) {
        of.pieces[int(piece)].published = true;
        return true;
    }
    // What is pinned goes last of all, and all of it has room.
    std::uint8_t const* data = nullptr;
    std::size_t length = 0;
    if (of.kept.count(int(piece)) == 0 && lb_get(of.storage, number, 0, &data, &length) == LB_OK) {
        of.kept.emplace(int(piece), data);
    }
    return true;
}

// Makes libtorrent forget a piece, and drops it.
void core::withdraw(film& of, lt::piece_index_t const piece)
{
    lb_abandon(of.storage, std::uint32_t(int(piece)), nullptr);
    auto const place = of.pieces.find(int(piece));
    if (place == of.pieces.end()) return;
    if (place->second.hashing) {
        place->second.doomed = true;
        return;
    }
    auto told = std::make_shared<withheld>(std::move(place->second));
    of.pieces.erase(place);
    // Those that are to be answered anyway: not before the hash.
    auto const refused = of.refused.find(int(piece));
    if (refused != of.refused.end()) {
        auto& writes = told->writes;
        writes.insert(writes.end(), refused->second.begin(), refused->second.end());
        of.refused.erase(refused);
    }
    // Not at once: libtorrent may be in the middle of a call.
    post([self = shared_from_this(), film = of.shared_from_this(), told, piece] {
        self->writes_ -= int(told->writes.size());
        told->abort(piece);
        self->rouse(*film, piece);
    });
}

void core::answer_refused(film& of, lt::piece_index_t const piece)
{
    auto const place = of.refused.find(int(piece));
    if (place == of.refused.end()) return;
    auto const refused = std::move(place->second);
    of.refused.erase(place);
    writes_ -= int(refused.size());
    for (auto const& write : refused) write(aborted());
    rouse(of, piece);
}

// Has libtorrent look for blocks to request, which it does not do for writes that were aborted:
// it does when something becomes wanted, and no sooner than this call has ended.
void core::rouse(film& of, lt::piece_index_t const piece)
{
    if (of.removed || aborted_ || !of.wants(piece)) return;
    auto const priorities = ask(std::vector<lt::download_priority_t>(),
        [&] { return of.torrent.get_piece_priorities(); });
    auto const place = std::find(priorities.begin(), priorities.end(), lt::dont_download);
    if (place == priorities.end()) return; // then all is wanted, and requests go on
    auto const other = lt::piece_index_t(int(place - priorities.begin()));
    ask(0, [&] { return of.torrent.piece_priority(other, lt::low_priority), 0; });
    ask(0, [&] { return of.torrent.piece_priority(other, lt::dont_download), 0; });
}

// A piece was evicted.
void core::went(std::uint64_t const id, std::uint32_t const number)
{
    for (auto const& of : films_) {
        if (!of || of->id != id || of->storage == 0) continue;
        auto const piece = lt::piece_index_t(int(number));
        auto const place = of->pieces.find(int(piece));
        if (place == of->pieces.end() || !place->second.published) return;
        if (!of->wants(piece)) {
            ask(0, [&] { return of->torrent.piece_priority(piece, lt::dont_download), 0; });
        }
        withdraw(*of, piece);
        return;
    }
}

void core::clear(lt::storage_index_t const index, lt::piece_index_t const piece)
{
    auto const of = at(index);
    if (!of) return;
    auto const number = std::uint32_t(int(piece));
    withdraw(*of, piece);
    auto const kept = of->kept.find(int(piece));
    if (kept != of->kept.end()) {
        lb_release(kept->second);
        of->kept.erase(kept);
    }
    lb_evict(of->storage, number, number + 1, nullptr);
}

void core::clear_all(lt::storage_index_t const index)
{
    auto const of = at(index);
    if (!of) return;
    std::vector<int> open;
    for (auto const& one : of->pieces) open.push_back(one.first);
    for (auto const piece : open) withdraw(*of, lt::piece_index_t(piece));
    for (auto const& one : of->kept) lb_release(one.second);
    of->kept.clear();
    lb_evict(of->storage, 0, std::uint32_t(of->files.num_pieces()), nullptr);
}

// What goes on by the clock: what players want becomes what libtorrent downloads first.

void core::arm()
{
    if (armed_ || aborted_ || !timer_) return;
    armed_ = true;
    auto const idle = quiet_ >= lull && stopped_.empty();
    timer_->expires_after(idle ? idle_tick : busy_tick);
    timer_->async_wait([self = weak_from_this()](boost::system::error_code const& error) {
        auto const core = self.lock();
        if (error || !core) return;
        core->armed_ = false;
        core->tick();
    });
}

void core::tick()
{
    if (aborted_) return;
    auto any = false;
    ++quiet_;
    // A copy: what is told of a change may add torrents.
    auto const films = films_;
    for (auto const& of : films) {
        if (!of || of->removed || of->storage == 0) continue;
        any = true;
        if (config_.mode == mode::stream) {
            look_again(*of);
            drive(*of);
            if (!of->fetches.empty()) quiet_ = 0;
        }
    }
    // Whether there is room again nobody says; those who were stopped find out.
    if (hashing_ <= config_.budget / 8) {
        auto const stopped = std::move(stopped_);
        stopped_.clear();
        for (auto const& one : stopped) {
            if (auto const observer = one.lock()) observer->on_disk();
        }
    }
    if (any) arm();
}

// Pieces of v2 torrents whose hashes have come meanwhile.
void core::look_again(film& of)
{
    std::vector<int> waiting;
    for (auto const& one : of.pieces) {
        if (one.second.waiting) waiting.push_back(one.first);
    }
    for (auto const number : waiting) {
        auto const piece = lt::piece_index_t(number);
        auto const found = of.judge(piece, *of.pieces[number].waiting);
        if (found == verdict::unknown) continue;
        auto const known = std::move(of.pieces[number].waiting);
        settle(of, piece, found, *known);
    }
}

// Assemblies take at most half of the budget, and each takes some more than its piece.
std::size_t core::most_fetches(film const& of) const
{
    auto const length = std::int64_t(of.files.piece_length());
    auto const most = config_.budget / 2 / (length + length / 64 + (8 << 10));
    return std::size_t(std::max(most, std::int64_t(1)));
}

void core::drive(film& of)
{
    auto const priority = [&](lt::piece_index_t const piece, lt::download_priority_t const to) {
        // In this order: to take a deadline back sets a priority.
        ask(0, [&] { return of.torrent.reset_piece_deadline(piece), 0; });
        ask(0, [&] { return of.torrent.piece_priority(piece, to), 0; });
    };
    for (std::size_t at = 0; at < of.fetches.size();) {
        auto const one = of.fetches[at];
        auto const number = std::uint32_t(int(one.piece));
        bool here = false;
        bool cancelled = false;
        lb_contains(of.storage, number, &here);
        lb_fetch_cancelled(one.handle, &cancelled);
        if (!here && !cancelled) {
            ++at;
            continue;
        }
        lb_fetch_close(one.handle);
        of.fetches.erase(of.fetches.begin() + std::ptrdiff_t(at));
        // What is here stays wanted a little: a torrent of which nothing is wanted is finished.
        priority(one.piece, here || !config_.on_demand ? lt::low_priority : lt::dont_download);
        auto const place = of.pieces.find(int(one.piece));
        auto const begun = place != of.pieces.end() && !place->second.published;
        if (!here && config_.on_demand && begun) withdraw(of, one.piece);
    }
    auto const most = most_fetches(of);
    while (of.fetches.size() < most) {
        fetch next{0, lt::piece_index_t(0)};
        std::uint32_t number = 0;
        if (lb_wanted_next(of.storage, 0, &next.handle, &number, nullptr) != LB_OK) return;
        next.piece = lt::piece_index_t(int(number));
        of.fetches.push_back(next);
        auto const deadline = int(of.fetches.size()) * 50;
        ask(0, [&] { return of.torrent.set_piece_deadline(next.piece, deadline), 0; });
    }
}

void core::count(lt::counters& counters) const
{
    counters.set_value(lt::counters::num_read_jobs, reads_);
    counters.set_value(lt::counters::num_write_jobs, writes_);
    counters.set_value(lt::counters::num_jobs, reads_ + writes_ + hashes_);
    counters.set_value(lt::counters::queued_disk_jobs, hashes_);
    counters.set_value(lt::counters::disk_blocks_in_use, pins_->blocks());
}

void core::abort()
{
    aborted_ = true;
    if (timer_) timer_->cancel();
    stopped_.clear();
    for (auto const& of : films_) {
        if (!of) continue;
        std::vector<int> open;
        for (auto const& one : of->pieces) open.push_back(one.first);
        for (auto const piece : open) withdraw(*of, lt::piece_index_t(piece));
    }
    lb_cache_abort(cache_, 0, nullptr);
}

// The interface.

disk_io::disk_io(
    lt::io_context& context, lt::settings_interface const&, config const& config)
    : core_(std::make_shared<core>(context, config))
{
    core_->open();
}

disk_io::~disk_io()
{
    core_->join();
    core_->close();
}

lt::storage_holder disk_io::new_torrent(
    lt::storage_params const& params, std::shared_ptr<void> const& torrent)
{
    return lt::storage_holder(core_->add(params, torrent), *this);
}

void disk_io::remove_torrent(lt::storage_index_t const index) { core_->remove(index); }

void disk_io::async_read(lt::storage_index_t const index, lt::peer_request const& request,
    std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler,
    lt::disk_job_flags_t)
{
    core_->read(index, request, std::move(handler));
}

bool disk_io::async_write(lt::storage_index_t const index, lt::peer_request const& request,
    char const* const block, std::shared_ptr<lt::disk_observer> observer, write_handler handler,
    lt::disk_job_flags_t)
{
    return core_->write(index, request, block, observer, std::move(handler));
}

void disk_io::async_hash(lt::storage_index_t const index, lt::piece_index_t const piece,
    lt::span<lt::sha256_hash> const v2, lt::disk_job_flags_t const flags, hash_handler handler)
{
    core_->hash(index, piece, v2, flags, std::move(handler));
}

void disk_io::async_hash2(lt::storage_index_t const index, lt::piece_index_t const piece,
    int const offset, lt::disk_job_flags_t, hash2_handler handler)
{
    core_->hash2(index, piece, offset, std::move(handler));
}

// There are no files: to move, rename and release them is done at once.

void disk_io::async_move_storage(lt::storage_index_t, std::string path, lt::move_flags_t,
    std::function<void(lt::status_t, std::string const&, lt::storage_error const&)> handler)
{
    core_->post([path = std::move(path), handler = std::move(handler)] {
        handler(lt::status_t::no_error, path, lt::storage_error());
    });
}

void disk_io::async_release_files(lt::storage_index_t, std::function<void()> handler)
{
    if (handler) core_->post(std::move(handler));
}

void disk_io::async_check_files(lt::storage_index_t const index,
    lt::add_torrent_params const* const resume_data,
    lt::aux::vector<std::string, lt::file_index_t>,
    std::function<void(lt::status_t, lt::storage_error const&)> handler)
{
    core_->check(index, resume_data, std::move(handler));
}

// Also on pause: what is withheld stays so.
void disk_io::async_stop_torrent(lt::storage_index_t, std::function<void()> handler)
{
    if (handler) core_->post(std::move(handler));
}

void disk_io::async_rename_file(lt::storage_index_t, lt::file_index_t const file, std::string name,
    std::function<void(std::string const&, lt::file_index_t, lt::storage_error const&)> handler)
{
    core_->post([file, name = std::move(name), handler = std::move(handler)] {
        handler(name, file, lt::storage_error());
    });
}

void disk_io::async_delete_files(lt::storage_index_t const index, lt::remove_flags_t,
    std::function<void(lt::storage_error const&)> handler)
{
    core_->clear_all(index);
    core_->post([handler = std::move(handler)] { handler(lt::storage_error()); });
}

// An error here would pause the torrent.
void disk_io::async_set_file_priority(lt::storage_index_t,
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> priorities,
    std::function<void(lt::storage_error const&,
        lt::aux::vector<lt::download_priority_t, lt::file_index_t>)> handler)
{
    core_->post([priorities = std::move(priorities), handler = std::move(handler)] {
        handler(lt::storage_error(), priorities);
    });
}

void disk_io::async_clear_piece(lt::storage_index_t const index, lt::piece_index_t const piece,
    std::function<void(lt::piece_index_t)> handler)
{
    core_->clear(index, piece);
    core_->post([piece, handler = std::move(handler)] { handler(piece); });
}

void disk_io::update_stats_counters(lt::counters& counters) const { core_->count(counters); }

std::vector<lt::open_file_state> disk_io::get_status(lt::storage_index_t) const { return {}; }

void disk_io::abort(bool const wait)
{
    core_->abort();
    if (wait) core_->join();
}

// Jobs start when they come, and settings have no part in it.
void disk_io::submit_jobs() { }
void disk_io::settings_updated() { }

void disk_io::free_disk_buffer(char* const buffer) { core_->free(buffer); }

lt::disk_io_constructor_type disk_io_constructor(config const& config)
{
    return [config](lt::io_context& context, lt::settings_interface const& settings, lt::counters&) {
        return std::make_unique<disk_io>(context, settings, config);
    };
}

namespace {

struct own_category final : boost::system::error_category {
    char const* name() const noexcept override { return "lookbehind"; }

    std::string message(int const code) const override
    {
        switch (errc(code)) {
        case errc::over_budget:
            return "the torrent does not fit into the cache's budget, in which all of it is to be kept";
        case errc::refused: return "the cache did not take the torrent";
        }
        return "unknown error";
    }
};

// For any thread: the storage that `choose` finds, a handle of the caller's own, or 0.
template <typename Choose>
lb_storage find_storage(Choose choose)
{
    lb_cache cache = 0;
    std::uint64_t id = 0;
    {
        std::lock_guard<std::mutex> const guard(living_mutex);
        if (!choose(living, cache, id)) return 0;
    }
    // From here on the torrent, and the cache, may go: then there is no such handle any more.
    lb_storage found = 0;
    return lb_storage_find(cache, id, &found) == LB_OK ? found : 0;
}

lb_storage by_index(int const index)
{
    return find_storage([&](std::vector<entry> const& all, lb_cache& cache, std::uint64_t& id) {
        if (all.empty() || index < 0) return false;
        for (auto const& torrent : all.back().torrents) {
            if (torrent.index != lt::storage_index_t(std::uint32_t(index))) continue;
            cache = all.back().cache;
            id = torrent.id;
            return true;
        }
        return false;
    });
}

lb_storage by_hash(lt::info_hash_t const& hashes)
{
    return find_storage([&](std::vector<entry> const& all, lb_cache& cache, std::uint64_t& id) {
        for (auto const& one : all) {
            for (auto const& torrent : one.torrents) {
                if (!same(hashes, torrent.hashes)) continue;
                cache = one.cache;
                id = torrent.id;
                return true;
            }
        }
        return false;
    });
}

// A handle that is closed where it is.
struct borrowed {
    lb_storage storage;

    explicit borrowed(lb_storage const found)
        : storage(found)
    {
    }
    borrowed(borrowed const&) = delete;
    borrowed& operator=(borrowed const&) = delete;
    ~borrowed() { lb_storage_close(storage); }
};

bool set_lookbehind(borrowed const& of, std::vector<int> const& pieces)
{
    std::vector<std::uint32_t> named;
    for (auto const piece : pieces) {
        if (piece >= 0) named.push_back(std::uint32_t(piece));
    }
    return lb_lookbehind_set(of.storage, named.data(), named.size()) == LB_OK;
}

bool clear_lookbehind(borrowed const& of) { return lb_lookbehind_clear(of.storage) == LB_OK; }

bool is_available(borrowed const& of, int const piece)
{
    bool available = false;
    if (piece < 0) return false;
    lb_lookbehind_available(of.storage, std::uint32_t(piece), &available);
    return available;
}

bool get_stats(borrowed const& of, int& available, int& protected_count, std::int64_t& memory)
{
    lb_lookbehind_statistics stats{};
    auto const found = lb_lookbehind_stats(of.storage, &stats) == LB_OK;
    available = int(stats.available);
    protected_count = int(stats.named);
    memory = std::int64_t(stats.bytes);
    return found;
}

} // namespace

boost::system::error_category const& category()
{
    static own_category const one;
    return one;
}

boost::system::error_code make_error_code(errc const code)
{
    return boost::system::error_code(int(code), category());
}

lb_storage storage(lt::info_hash_t const& torrent) { return by_hash(torrent); }

lb_cache cache(lt::info_hash_t const& torrent)
{
    borrowed const of(by_hash(torrent));
    lb_cache found = 0;
    return lb_storage_cache(of.storage, &found) == LB_OK ? found : 0;
}

void set_memory_disk_io(lt::session_params& params, std::int64_t const size)
{
    config config;
    config.budget = size;
    config.on_demand = false;
    params.disk_io_constructor = disk_io_constructor(config);
    params.settings.set_bool(lt::settings_pack::close_redundant_connections, false);
}

bool memory_disk_set_lookbehind(int const storage_index, std::vector<int> const& pieces)
{
    return set_lookbehind(borrowed(by_index(storage_index)), pieces);
}

bool memory_disk_set_lookbehind(lt::info_hash_t const& torrent, std::vector<int> const& pieces)
{
    return set_lookbehind(borrowed(by_hash(torrent)), pieces);
}

bool memory_disk_clear_lookbehind(int const storage_index)
{
    return clear_lookbehind(borrowed(by_index(storage_index)));
}

bool memory_disk_clear_lookbehind(lt::info_hash_t const& torrent)
{
    return clear_lookbehind(borrowed(by_hash(torrent)));
}

bool memory_disk_is_lookbehind_available(int const storage_index, int const piece)
{
    return is_available(borrowed(by_index(storage_index)), piece);
}

bool memory_disk_is_lookbehind_available(lt::info_hash_t const& torrent, int const piece)
{
    return is_available(borrowed(by_hash(torrent)), piece);
}

bool memory_disk_get_lookbehind_stats(
    int const storage_index, int& available, int& protected_count, std::int64_t& memory)
{
    return get_stats(borrowed(by_index(storage_index)), available, protected_count, memory);
}

bool memory_disk_get_lookbehind_stats(lt::info_hash_t const& torrent, int& available,
    int& protected_count, std::int64_t& memory)
{
    return get_stats(borrowed(by_hash(torrent)), available, protected_count, memory);
}

} // namespace lookbehind
