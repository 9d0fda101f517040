// Disk I/O for libtorrent 2.0 that keeps pieces in a Lookbehind cache.
//
// Set it up before the session is made:
//
//     lt::session_params params;
//     lookbehind::config config;
//     config.budget = 64 << 20;
//     lookbehind::set_disk_io(params, config);
//     lt::session session(params);
//
// Blocks are copied once, into their piece's buffer in the cache; what libtorrent reads is pinned
// memory of the cache, without a copy; hashes are computed on threads of their own. Whoever plays
// a film opens a player on it by the C interface (lookbehind.h) with the storage that `storage()`
// gives, and never reads through libtorrent.
//
// Threads: libtorrent calls `disk_io` on its network thread. The functions below it may be called
// from any thread, at any time, also while sessions and torrents come and go.
#ifndef LOOKBEHIND_LIBTORRENT_HPP
#define LOOKBEHIND_LIBTORRENT_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <libtorrent/disk_buffer_holder.hpp>
#include <libtorrent/disk_interface.hpp>
#include <libtorrent/info_hash.hpp>
#include <libtorrent/session_params.hpp>
#include <lookbehind.h>

namespace lookbehind {

// What becomes of a piece that libtorrent has.
enum class mode {
    // It may be evicted, and is requested again when it is wanted again: a film of any size plays
    // out of any budget. To libtorrent no piece is ever complete: it neither uploads, nor says that
    // the torrent is finished. How: libtorrent is told that blocks are written and that a piece
    // is good only when the piece is bad; when the piece is evicted it is told that its writes were
    // aborted.
    stream,
    // It stays as long as the torrent does, and is uploaded. A torrent that does not fit into
    // what is left of the budget is refused: `errc::over_budget`.
    keep,
};

struct config {
    // The most bytes that the session's pieces may take, those that are arriving included.
    std::int64_t budget = std::int64_t(256) << 20;

    lookbehind::mode mode = lookbehind::mode::stream;

    // In mode `stream`: nothing is downloaded but what players and readers of the cache want, in
    // the order of urgency; the priorities and deadlines of pieces are the adapter's. Otherwise
    // they are the user's, but for two things: what a player wants is raised, and what was evicted
    // gets priority 0, so that it is not downloaded again and again.
    bool on_demand = true;

    // Threads that hash.
    int hash_threads = 1;
};

// Makes the disk I/O of a session, with a cache of its own. If the cache cannot be made (a budget
// below 16 KiB), constructing the session throws std::invalid_argument with the reason.
lt::disk_io_constructor_type disk_io_constructor(config const& config);

// Gives a session with these params that disk I/O, and in mode `stream` the settings that it goes
// with:
// - `close_redundant_connections` false, for a torrent of which nothing is wanted is finished to
//   libtorrent, and it closes connections between those who are;
// - `initial_picker_threshold` 0, for no piece counts as had, and until so many do libtorrent picks
//   at random, whatever the priorities;
// - `disable_hash_checks` false, for what is not hashed is not known to be good, and never shown.
void set_disk_io(lt::session_params& params, config const& config);

// Errors of torrents, in alerts (`file_error_alert`).
enum class errc {
    // Mode `keep`: the torrent is larger than what is left of the budget.
    over_budget = 1,
    // The cache did not take the torrent; the message of the alert's category says no more, and
    // `lb_last_error` did on the network thread.
    refused,
};
boost::system::error_category const& category();
boost::system::error_code make_error_code(errc code);

namespace detail {
class core;
}

// See `disk_io_constructor`.
class disk_io final : public lt::disk_interface, public lt::buffer_allocator_interface {
public:
    disk_io(lt::io_context& context, lt::settings_interface const& settings, config const& config);
    // Waits for hashing that is under way. Buffers that were handed out may outlive it.
    ~disk_io() override;

    lt::storage_holder new_torrent(
        lt::storage_params const& params, std::shared_ptr<void> const& torrent) override;
    void remove_torrent(lt::storage_index_t index) override;
    void async_read(lt::storage_index_t index, lt::peer_request const& request,
        std::function<void(lt::disk_buffer_holder, lt::storage_error const&)> handler,
        lt::disk_job_flags_t flags) override;
    bool async_write(lt::storage_index_t index, lt::peer_request const& request, char const* block,
        std::shared_ptr<lt::disk_observer> observer,
        std::function<void(lt::storage_error const&)> handler, lt::disk_job_flags_t flags) override;
    void async_hash(lt::storage_index_t index, lt::piece_index_t piece,
        lt::span<lt::sha256_hash> v2, lt::disk_job_flags_t flags,
        std::function<void(lt::piece_index_t, lt::sha1_hash const&, lt::storage_error const&)>
            handler) override;
    void async_hash2(lt::storage_index_t index, lt::piece_index_t piece, int offset,
        lt::disk_job_flags_t flags,
        std::function<void(lt::piece_index_t, lt::sha256_hash const&, lt::storage_error const&)>
            handler) override;
    void async_move_storage(lt::storage_index_t index, std::string path, lt::move_flags_t flags,
        std::function<void(lt::status_t, std::string const&, lt::storage_error const&)> handler)
        override;
    void async_release_files(lt::storage_index_t index, std::function<void()> handler) override;
    void async_check_files(lt::storage_index_t index, lt::add_torrent_params const* resume_data,
        lt::aux::vector<std::string, lt::file_index_t> links,
        std::function<void(lt::status_t, lt::storage_error const&)> handler) override;
    void async_stop_torrent(lt::storage_index_t index, std::function<void()> handler) override;
    void async_rename_file(lt::storage_index_t index, lt::file_index_t file, std::string name,
        std::function<void(std::string const&, lt::file_index_t, lt::storage_error const&)> handler)
        override;
    void async_delete_files(lt::storage_index_t index, lt::remove_flags_t flags,
        std::function<void(lt::storage_error const&)> handler) override;
    void async_set_file_priority(lt::storage_index_t index,
        lt::aux::vector<lt::download_priority_t, lt::file_index_t> priorities,
        std::function<void(
            lt::storage_error const&, lt::aux::vector<lt::download_priority_t, lt::file_index_t>)>
            handler) override;
    void async_clear_piece(lt::storage_index_t index, lt::piece_index_t piece,
        std::function<void(lt::piece_index_t)> handler) override;
    void update_stats_counters(lt::counters& counters) const override;
    std::vector<lt::open_file_state> get_status(lt::storage_index_t index) const override;
    void abort(bool wait) override;
    void submit_jobs() override;
    void settings_updated() override;

    void free_disk_buffer(char* buffer) override;

private:
    std::shared_ptr<detail::core> core_;
};

// A new handle on the storage of a torrent, for lookbehind.h: to be closed by `lb_storage_close`.
// 0 if no session has that torrent.
lb_storage storage(lt::info_hash_t const& torrent);

// A new handle on the cache of the session that has that torrent, to be closed by
// `lb_cache_close`; 0 if none has.
lb_cache cache(lt::info_hash_t const& torrent);

// The functions of the disk I/O that this one replaces, with their meaning. A storage index is that
// of the session whose disk I/O was made last; two sessions use the same indices, so the
// overloads by info-hash are the better ones. They say whether there is such a torrent.

// Makes a session with these params keep its pieces in `size` bytes, in mode `stream`, with
// priorities as the user sets them.
void set_memory_disk_io(lt::session_params& params, std::int64_t size);

// Prefers these pieces when room is needed, as if they lay behind a playhead, in place of those
// named before. Negative numbers are left out.
bool memory_disk_set_lookbehind(int storage_index, std::vector<int> const& pieces);
bool memory_disk_set_lookbehind(lt::info_hash_t const& torrent, std::vector<int> const& pieces);

// Names no look-behind pieces any more.
bool memory_disk_clear_lookbehind(int storage_index);
bool memory_disk_clear_lookbehind(lt::info_hash_t const& torrent);

// Whether a seek back to that piece finds it.
bool memory_disk_is_lookbehind_available(int storage_index, int piece);
bool memory_disk_is_lookbehind_available(lt::info_hash_t const& torrent, int piece);

// How many pieces were named, how many of them are there, and the bytes that these take; zeros if
// there is no such torrent.
bool memory_disk_get_lookbehind_stats(
    int storage_index, int& available, int& protected_count, std::int64_t& memory);
bool memory_disk_get_lookbehind_stats(
    lt::info_hash_t const& torrent, int& available, int& protected_count, std::int64_t& memory);

} // namespace lookbehind

#endif
