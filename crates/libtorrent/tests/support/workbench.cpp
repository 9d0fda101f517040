#include "workbench.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/error.hpp>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/session_params.hpp>

#include "film.hpp"
#include "swarm.hpp"

namespace test {

using namespace std::chrono_literals;

bool answer::aborted() const
{
    return times == 1 && error.ec == boost::asio::error::operation_aborted;
}

lt::file_storage layout(std::int64_t const size, int const piece_length)
{
    lt::file_storage files;
    files.add_file("film", size);
    files.set_piece_length(piece_length);
    files.set_num_pieces(int((size + piece_length - 1) / piece_length));
    return files;
}

std::string some_bytes(std::int64_t const offset, int const length, std::uint64_t const seed)
{
    std::string bytes(std::size_t(length), '\0');
    film_bytes(seed, offset, { &bytes[0], length });
    return bytes;
}

lt::info_hash_t hash_named(std::string const& text)
{
    return lt::info_hash_t(lt::hasher(text).final());
}

lookbehind::config as_told(lookbehind::mode const mode, std::int64_t const budget)
{
    lookbehind::config config;
    config.mode = mode;
    config.budget = budget;
    config.on_demand = false;
    return config;
}

std::size_t pins()
{
    std::size_t count = 0;
    lb_pins(&count);
    return count;
}

// The thread that runs the context is libtorrent's network thread for as long as it does.
struct workbench::running {
    place& at;

    explicit running(place& at)
        : at(at)
    {
        at.thread = std::this_thread::get_id();
        at.running = true;
    }
    running(running const&) = delete;
    running& operator=(running const&) = delete;
    ~running() { at.running = false; }
};

void workbench::place::heard(answer& one)
{
    ++one.times;
    if (calling || !running || std::this_thread::get_id() != thread) one.misplaced = true;
    one.order = heard_of++;
}

workbench::workbench(lookbehind::config const& config)
    : disk_(std::make_unique<lookbehind::disk_io>(*context_, settings_, config))
{
}

workbench::~workbench()
{
    finish();
}

lt::storage_index_t workbench::add(
    lt::file_storage const& files, lt::sha1_hash const& hash, std::shared_ptr<void> const& torrent)
{
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> const priorities;
    // By reference: they need not live longer than the call.
    lt::storage_params const params(
        files, nullptr, "nowhere", lt::storage_mode_sparse, priorities, hash);
    auto holder = call([&](auto& disk) { return disk.new_torrent(params, torrent); });
    lt::storage_index_t const index = holder;
    torrents_.emplace(index, std::move(holder));
    return index;
}

void workbench::remove(lt::storage_index_t const index)
{
    call([&](auto&) { return torrents_.erase(index); });
}

std::shared_ptr<reading> workbench::read(
    lt::storage_index_t const index, int const piece, int const start, int const length)
{
    auto const to = std::make_shared<reading>();
    auto heard = handler(to, [to](lt::disk_buffer_holder buffer, lt::storage_error const& error) {
        to->buffer = std::move(buffer);
        to->error = error;
    });
    call([&](auto& disk) {
        disk.async_read(index, { lt::piece_index_t(piece), start, length }, std::move(heard), { });
    });
    return to;
}

std::shared_ptr<answer> workbench::write(lt::storage_index_t const index, int const piece,
    int const start, std::string const& bytes, bool* const stopped,
    std::shared_ptr<lt::disk_observer> const& observer)
{
    auto const to = std::make_shared<answer>();
    auto heard = handler(to, [to](lt::storage_error const& error) { to->error = error; });
    // On the heap and gone after the call, for a sanitizer to see who reads it later.
    auto const block = std::make_unique<std::vector<char>>(bytes.begin(), bytes.end());
    auto const full = call([&](auto& disk) {
        return disk.async_write(index, { lt::piece_index_t(piece), start, int(bytes.size()) },
            block->data(), observer, std::move(heard), { });
    });
    if (stopped) *stopped = full;
    return to;
}

std::vector<std::shared_ptr<answer>> workbench::write_piece(lt::storage_index_t const index,
    lt::file_storage const& files, int const piece, std::uint64_t const seed)
{
    std::vector<std::shared_ptr<answer>> all;
    auto const size = files.piece_size(lt::piece_index_t(piece));
    for (int at = 0; at < size; at += lt::default_block_size) {
        auto const length = std::min(lt::default_block_size, size - at);
        auto const from = std::int64_t(piece) * files.piece_length() + at;
        all.push_back(write(index, piece, at, some_bytes(from, length, seed)));
    }
    return all;
}

std::shared_ptr<hashing> workbench::hash(lt::storage_index_t const index, int const piece,
    lt::disk_job_flags_t const flags, int const blocks, std::function<void()> then)
{
    auto const to = std::make_shared<hashing>();
    // As libtorrent does it: the closure owns what the span points to.
    std::vector<lt::sha256_hash> room(std::size_t(blocks), lt::sha256_hash{ });
    lt::span<lt::sha256_hash> const v2(room);
    auto heard = handler(to,
        [to, room = std::move(room), then = std::move(then)](
            lt::piece_index_t const of, lt::sha1_hash const& v1, lt::storage_error const& error) {
            to->piece = of;
            to->v1 = v1;
            to->v2 = room;
            to->error = error;
            if (then) then();
        });
    call([&](auto& disk) {
        disk.async_hash(index, lt::piece_index_t(piece), v2, flags, std::move(heard));
    });
    return to;
}

std::shared_ptr<hashing> workbench::hash2(
    lt::storage_index_t const index, int const piece, int const offset)
{
    auto const to = std::make_shared<hashing>();
    auto heard = handler(to,
        [to](
            lt::piece_index_t const of, lt::sha256_hash const& v2, lt::storage_error const& error) {
            to->piece = of;
            to->v2 = { v2 };
            to->error = error;
        });
    call([&](auto& disk) {
        disk.async_hash2(index, lt::piece_index_t(piece), offset, { }, std::move(heard));
    });
    return to;
}

std::shared_ptr<checking> workbench::check(
    lt::storage_index_t const index, lt::add_torrent_params const* const resume)
{
    auto const to = std::make_shared<checking>();
    auto heard = handler(to, [to](lt::status_t const status, lt::storage_error const& error) {
        to->status = status;
        to->error = error;
    });
    call([&](auto& disk) { disk.async_check_files(index, resume, { }, std::move(heard)); });
    return to;
}

std::shared_ptr<answer> workbench::clear_piece(lt::storage_index_t const index, int const piece)
{
    auto const to = std::make_shared<answer>();
    auto heard = handler(to, [to, piece](lt::piece_index_t const of) {
        if (int(of) != piece) to->misplaced = true;
    });
    call([&](auto& disk) {
        disk.async_clear_piece(index, lt::piece_index_t(piece), std::move(heard));
    });
    return to;
}

std::shared_ptr<answer> workbench::stop(lt::storage_index_t const index)
{
    auto const to = std::make_shared<answer>();
    auto heard = handler(to, [] { });
    call([&](auto& disk) { disk.async_stop_torrent(index, std::move(heard)); });
    return to;
}

std::shared_ptr<answer> workbench::release_files(lt::storage_index_t const index)
{
    auto const to = std::make_shared<answer>();
    auto heard = handler(to, [] { });
    call([&](auto& disk) { disk.async_release_files(index, std::move(heard)); });
    return to;
}

std::shared_ptr<answer> workbench::delete_files(lt::storage_index_t const index)
{
    auto const to = std::make_shared<answer>();
    auto heard = handler(to, [to](lt::storage_error const& error) { to->error = error; });
    call([&](auto& disk) { disk.async_delete_files(index, { }, std::move(heard)); });
    return to;
}

std::int64_t workbench::counter(int const which) const
{
    lt::counters counters;
    disk_->update_stats_counters(counters);
    return counters[which];
}

void workbench::run_ready()
{
    running const now(*place_);
    context_->restart();
    context_->poll();
}

bool workbench::run_until(std::function<bool()> const& done)
{
    running const now(*place_);
    auto const deadline = clock::now() + patient(10s);
    while (!done()) {
        if (clock::now() > deadline) return false;
        context_->restart();
        context_->run_one_for(1ms);
    }
    return true;
}

bool workbench::run_dry()
{
    running const now(*place_);
    context_->restart();
    context_->run_for(patient(10s));
    // Else it was for want of time that it ended.
    return context_->stopped();
}

void workbench::run_ticks()
{
    running const now(*place_);
    context_->restart();
    context_->run_for(50ms);
}

std::string workbench::finish()
{
    if (!disk_) return { };
    call([&](auto&) { torrents_.clear(); });
    call([](auto& disk) { disk.abort(false); });
    std::string wrong;
    if (!run_dry()) wrong += "the io_context does not come to rest; ";
    disk_.reset();
    return wrong + complaints();
}

std::string workbench::finish_late()
{
    call([&](auto&) { torrents_.clear(); });
    call([](auto& disk) { disk.abort(false); });
    call([&](auto&) { disk_.reset(); });
    std::string wrong;
    if (!run_dry()) wrong += "the io_context does not come to rest; ";
    return wrong + complaints();
}

// And forgets all answers.
std::string workbench::complaints()
{
    std::string wrong;
    for (std::size_t at = 0; at < given_.size(); ++at) {
        auto const& one = *given_[at];
        auto const which = "handler " + std::to_string(at);
        if (one.times != 1) wrong += which + " ran " + std::to_string(one.times) + " times; ";
        if (one.misplaced)
            wrong += which + " ran where it must not, or was told of another piece; ";
    }
    given_.clear();
    return wrong;
}

owner::owner(lt::add_torrent_params params)
    : session_([] {
        lt::session_params session(quiet_settings());
        session.disk_io_constructor = lt::disabled_disk_io_constructor;
        return session;
    }())
{
    params.save_path = "nowhere";
    params.flags = lt::torrent_flags::paused;
    handle_ = session_.add_torrent(std::move(params));
}

std::shared_ptr<void> owner::torrent() const
{
    return handle_.native_handle();
}

} // namespace test
