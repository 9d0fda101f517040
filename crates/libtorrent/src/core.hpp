// How it works, and why.
//
// All state of a `core` belongs to libtorrent's network thread: `disk_io` is called there, and what
// hashing threads and evictions (on any thread) have to say is posted there. So there are no locks
// but two: that of the list of living sessions, for the functions that any thread may call, and
// that of the line by which evictions are posted. Each guards what is named next to it, for a
// moment.
//
// What outlives what: posted closures and jobs hold the core, the core holds no closure of its own.
// Handles of the cache are numbers that may be stale, so nothing dangles there. Buffers that were
// handed out hold their allocator, and that holds nothing.
//
// Mode `stream` rests on what libtorrent does when a write, or a hash, ends with
// `operation_aborted`: it forgets that it has the blocks, and requests them again if they are
// wanted, without an error. So completions are withheld from the first block on, and end in that
// way when the piece goes.
//
// A torrent's way: `core.cpp` (it comes, its blocks come and go), `hashing.hpp`, `stream.cpp` (what
// libtorrent is told of a piece, and when), `film.hpp` (its state). Beside it: `pins.hpp` (buffers
// that libtorrent holds), `torrent.hpp` (handles), `disk_io.cpp` (the interface), `living.cpp` and
// `memory_disk.cpp` (calls from any thread).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include <libtorrent/disk_observer.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/performance_counters.hpp>
#include <libtorrent/storage_defs.hpp>
#include <lookbehind/libtorrent.hpp>

#include "film.hpp"
#include "hashing.hpp"
#include "pins.hpp"

namespace lookbehind::detail {

using hash2_handler
    = std::function<void(lt::piece_index_t, lt::sha256_hash const&, lt::storage_error const&)>;

class core;

// By which evictions, on any thread, reach the network thread.
struct line {
    std::mutex mutable mutex; // guards `context`, which is null once the core is closed
    lt::io_context* context;
    std::weak_ptr<core> owner;
};

// The disk of one session.
class core : public std::enable_shared_from_this<core> {
public:
    // Throws std::invalid_argument if there is no cache of this budget.
    core(lt::io_context& context, config const& config);

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

    template <typename Closure> void post(Closure closure)
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
    lb_status publish(film& of, lt::piece_index_t piece);
    void withdraw(film& of, lt::piece_index_t piece);
    void give_back(film& of, lt::piece_index_t piece);
    // Withdraws those of a film's pieces of which `which` holds.
    template <typename Which> void withdraw_if(film& of, Which which)
    {
        std::vector<int> chosen;
        for (auto const& one : of.pieces) {
            if (which(one.first, one.second)) chosen.push_back(one.first);
        }
        for (auto const number : chosen) withdraw(of, lt::piece_index_t(number));
    }
    void answer_refused(film& of, lt::piece_index_t piece);
    void rouse(film& of, lt::piece_index_t piece);
    void drop(film& of);
    void arm();
    void tick();
    void drive(film& of);
    void end_fetches(film& of);
    void end_fetch(film& of, std::vector<fetch>::const_iterator place, bool here);
    void take_fetches(film& of);
    void set_priority(film& of, lt::piece_index_t piece, lt::download_priority_t priority);
    void change_course(film& of);
    void calm(film& of);
    void cast_anchor(film& of);
    static std::optional<lt::piece_index_t> place_for_anchor(film const& of);
    lt::download_priority_t unwanted_priority(film& of, lt::piece_index_t piece) const;
    void give_up_stalled(std::chrono::steady_clock::time_point now);
    void look_again(film& of);
    void begin_anew(film& of);
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
    std::chrono::steady_clock::time_point full_until_{ };
    bool aborted_ = false;
    bool armed_ = false;
};

} // namespace lookbehind::detail
