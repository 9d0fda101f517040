// Torrents come and go; blocks in and out.
#include "core.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>

#include <libtorrent/add_torrent_params.hpp>

#include "living.hpp"

namespace lookbehind::detail {

namespace {

// What a piece takes in the cache beside its bytes, generously: header, padding, table.
constexpr std::int64_t beside_a_piece = 320;
constexpr std::int64_t beside_a_torrent = 256 << 10;
// For ever, in milliseconds: assemblies do not expire, for libtorrent would find holes.
constexpr std::uint64_t never = std::uint64_t(1) << 40;
// libtorrent numbers the pieces that are on their way, as all are in mode `stream`, by 16 bits.
constexpr int most_on_their_way = 60000;
// Without room, peers are not read from for so long.
constexpr auto breather = std::chrono::milliseconds(50);

void evicted(void* const context, lb_eviction const* const eviction)
{
    // A torrent that is removed has been told all.
    if (eviction->reason == LB_REASON_REMOVED) return;
    auto const& to = **static_cast<std::shared_ptr<line> const*>(context);
    std::lock_guard<std::mutex> const guard(to.mutex);
    if (to.context == nullptr) return;
    boost::asio::post(
        *to.context, [owner = to.owner, id = eviction->storage_id, piece = eviction->piece] {
            if (auto const core = owner.lock()) core->went(id, piece);
        });
}

void drop_line(void* const context)
{
    delete static_cast<std::shared_ptr<line>*>(context);
}

} // namespace

core::core(lt::io_context& context, config const& config)
    : config_(config)
    , context_(context)
    , pool_(std::size_t(std::max(config.hash_threads, 1)))
    , line_(std::make_shared<line>())
    , pins_(new pins)
    , timer_(std::make_unique<boost::asio::steady_timer>(context))
{
    lb_cache_options options{ };
    // Not 0, which means the cache's default.
    options.budget = std::uint64_t(std::max(config.budget, std::int64_t(1)));
    options.evicted = &evicted;
    options.context = new std::shared_ptr<line>(line_);
    options.drop_context = &drop_line;
    if (lb_cache_new(&options, &cache_) != LB_OK) {
        pins_->close();
        std::array<char, 256> why{ };
        lb_last_error(why.data(), why.size());
        throw std::invalid_argument(std::string("lookbehind: ") + why.data());
    }
    line_->context = &context;
}

void core::open()
{
    line_->owner = weak_from_this();
    begin(this, cache_);
}

void core::close()
{
    end(this);
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
    auto const made = std::make_shared<film>();
    auto& one = *made;
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
        lb_storage_options options{ };
        options.keep_assemblies = true;
        options.assembly_limit_ms = never;
        auto const length = std::uint32_t(one.files.piece_length());
        if (config_.mode == mode::stream && one.files.num_pieces() > most_on_their_way) {
            options.share = std::uint64_t(most_on_their_way) * length;
        }
        if (lb_storage_add(cache_, std::uint64_t(size), length, &options, &one.storage) != LB_OK) {
            one.error = make_error_code(errc::refused);
            one.reserved = 0;
        } else {
            lb_storage_id(one.storage, &one.id);
        }
    }
    if (free_.empty()) {
        one.index = lt::storage_index_t(std::uint32_t(films_.size()));
        films_.push_back(made);
    } else {
        one.index = free_.back();
        free_.pop_back();
        films_[std::size_t(std::uint32_t(one.index))] = made;
    }
    if (one.storage != 0) detail::added(this, one.index, one.id, one.hashes);
    arm();
    return one.index;
}

// Lets go of what a torrent has in the cache.
void core::drop(film& of)
{
    detail::removed(this, of.index);
    of.removed = true;
    for (auto const& one : of.fetches) lb_fetch_close(one.handle);
    of.fetches.clear();
    of.let_go();
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
    } else if (!of->kept.empty()
        || (resume != nullptr
            && (!resume->have_pieces.empty() || !resume->unfinished_pieces.empty()))) {
        // What resume data speak of was in memory, and that of another session: look.
        status = lt::status_t::need_full_check;
    }
    // In mode `stream` libtorrent has no piece, and must not find one: it starts anew. So it does
    // in mode `keep` if no piece is whole, and who sends a block again must not answer for an old
    // one.
    if (of && (config_.mode == mode::stream || of->kept.empty())) clear_all(index);
    post([self = shared_from_this(), of, status, error, handler = std::move(handler)] {
        handler(status, error);
        if (status == lt::status_t::fatal_disk_error) return;
        if (self->config_.mode == mode::stream && self->config_.on_demand) self->calm(*of);
    });
}

// Blocks in and out.

void core::read(lt::storage_index_t const index, lt::peer_request const& request,
    std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler)
{
    auto const of = at(index);
    auto const* const data = of ? of->pin(request.piece, request.start, request.length) : nullptr;
    lt::storage_error error;
    lt::disk_buffer_holder buffer;
    if (data == nullptr) {
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
    if (of && of->anchor == request.piece && !aborted_) {
        status = LB_OK;
    } else if (of && of->storage != 0 && !aborted_ && !unwanted && request.start >= 0
        && request.length > 0) {
        status = lb_write(of->storage, std::uint32_t(number), std::uint32_t(request.start),
            reinterpret_cast<std::uint8_t const*>(block), std::size_t(request.length), nullptr,
            nullptr);
    }
    if (status == LB_OK && stream) {
        auto& piece = of->pieces[number];
        piece.writes.push_back(std::move(handler));
        piece.touched = std::chrono::steady_clock::now();
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
    auto const full = status == LB_BUDGET_EXHAUSTED || status == LB_ASSEMBLIES_FULL
        || status == LB_SHARE_EXHAUSTED;
    auto const behind = hashing_ > config_.budget / 4;
    if (!full && !behind) return false;
    if (full) {
        auto const now = std::chrono::steady_clock::now();
        // Not put off by each refusal: those who were stopped get another try in the end.
        if (now >= full_until_) {
            give_up_stalled(now);
            full_until_ = now + breather;
        }
    }
    if (observer) stopped_.push_back(observer);
    return true;
}

void core::hash(lt::storage_index_t const index, lt::piece_index_t const piece,
    lt::span<lt::sha256_hash> const v2, lt::disk_job_flags_t const flags, hash_handler handler)
{
    auto const of = at(index);
    auto const stream = config_.mode == mode::stream;
    // libtorrent looks what is there. In mode `stream` nothing is, to it.
    auto const check = bool(flags & lt::disk_interface::sequential_access);
    auto const hidden = check && stream;
    if (of && of->anchor == piece && !hidden && !aborted_) {
        of->pieces[int(piece)].hashes.push_back(std::move(handler));
        return;
    }
    auto const written = of && stream && of->pieces.find(int(piece)) != of->pieces.end();
    auto const incomplete = of && of->refused.find(int(piece)) != of->refused.end();
    auto job = std::make_shared<hash_job>();
    job->of = of;
    job->piece = piece;
    job->v1 = bool(flags & lt::disk_interface::v1_hash);
    job->v2 = v2;
    job->check = check;
    job->handler = std::move(handler);
    if (of && of->storage != 0 && !hidden && !incomplete && !aborted_) {
        if (written || (!stream && !check)) of->fill_pads(piece);
        job->size = int(of->piece_size(piece));
        if (!v2.empty()) {
            job->size2 = of->files.piece_size2(piece);
            auto const file = of->files.file_index_at_piece(piece);
            auto const alone = of->files.file_size(file) <= of->files.piece_length();
            job->leaves = alone ? next_power_of_two(v2.size())
                                : std::size_t(of->files.piece_length() / lt::default_block_size);
        }
        job->bytes = of->pin(piece, 0, job->size);
    }
    if (job->bytes == nullptr) {
        if ((written || incomplete) && !check) {
            // Not all of it is there: libtorrent would blame those who sent it. In mode `keep` what
            // it was told of does not come again.
            of->pieces[int(piece)].hashes.push_back(std::move(job->handler));
            stream ? withdraw(*of, piece) : give_back(*of, piece);
        } else {
            // In a check a piece that is missing is none that is wrong. What there is of it comes
            // again, and whoever sends it then must not answer for what others sent.
            if (check && of && !stream) withdraw(*of, piece);
            auto const error = check && !aborted_ ? lt::storage_error() : aborted();
            post([piece, error, job] { job->handler(piece, lt::sha1_hash(), error); });
        }
        return;
    }
    if (written) ++of->pieces[int(piece)].hashing;
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
    if (of && offset >= 0 && !aborted_) {
        size = std::min(lt::default_block_size, of->files.piece_size2(piece) - offset);
        data = of->pin(piece, offset, size);
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
    job.unpin();
    hashing_ -= job.size;
    --hashes_;
    if (config_.mode == mode::keep) {
        if (of.removed || aborted_) return job.handler(piece, lt::sha1_hash(), aborted());
        auto const found = of.judge(piece, job.found);
        // Of one that has just been downloaded the blocks are looked at to find who is to blame.
        if (found == verdict::bad && job.check) withdraw(of, piece);
        auto const full = found == verdict::good && publish(of, piece) == LB_BUDGET_EXHAUSTED;
        if (full || found == verdict::unknown) {
            of.pieces[int(piece)].waiting = std::make_unique<digest>(job.found);
        }
        return job.handler(piece, job.found.v1, lt::storage_error());
    }
    auto const place = of.pieces.find(int(piece));
    if (place == of.pieces.end()) {
        // The torrent was removed while it was hashed.
        return job.handler(piece, lt::sha1_hash(), aborted());
    }
    auto& one = place->second;
    --one.hashing;
    one.hashes.push_back(std::move(job.handler));
    if (one.doomed) return withdraw(of, piece);
    auto const found = of.judge(piece, job.found);
    if (found == verdict::unknown) {
        one.waiting = std::make_unique<digest>(job.found);
    } else {
        settle(of, piece, found, job.found);
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
        if (of) withdraw_if(*of, [](int, withheld const&) { return true; });
    }
    lb_cache_abort(cache_, 0, nullptr);
}

} // namespace lookbehind::detail
