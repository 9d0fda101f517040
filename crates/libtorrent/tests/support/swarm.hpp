// Real libtorrent sessions on loopback: who seeds a film, who fetches it with the disk under
// test, and what happened meanwhile.
//
// Nothing here runs a thread of its own but the watchdog: a leecher's alerts are taken by the
// thread that waits or calls drain().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <libtorrent/close_reason.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_flags.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>

#include "film.hpp"

namespace test {

using clock = std::chrono::steady_clock;

/// A wait that took too long. what() says for what, for how long, and what was seen.
struct timed_out : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// `timeout` times the environment's TEST_PATIENCE (1 if it is not set): sanitizers and valgrind
/// make everything slower.
clock::duration patient(clock::duration timeout);

/// Ends the process with a message, after removing its temporary directories, unless destroyed in
/// time: for what cannot be waited for with a deadline, such as a session's destructor.
class watchdog {
public:
    watchdog(std::string what, clock::duration timeout);
    ~watchdog();
    watchdog(watchdog const&) = delete;
    watchdog& operator=(watchdog const&) = delete;

private:
    struct state;
    std::unique_ptr<state> state_;
};

enum class kind { v1, v2, hybrid };
char const* name(kind);

/// The torrent of a film: no tracker, no web seed, piece layers included. `piece_length` is in
/// bytes, a multiple of 16 KiB, and of v2 a power of two. Throws lt::system_error if libtorrent
/// refuses.
///
/// Hashing runs threads of libtorrent's that have ended when this returns: forking afterwards is
/// safe.
std::shared_ptr<lt::torrent_info> make_torrent(film const& of, int piece_length, kind how);

/// Settings of a session that talks to nobody but the peers it is told of, over TCP on 127.0.0.1
/// and without encryption, has no limits, and ticks ten times a second, so that connecting does
/// not take long. Whatever concerns the disk is as libtorrent has it by default.
lt::settings_pack quiet_settings();

struct seeder_options {
    /// Bytes a second, 0 for no limit.
    int upload_limit = 0;
    /// Stock disk, if another than libtorrent's default is wanted.
    lt::disk_io_constructor_type disk;
    /// Changed by the caller at will.
    lt::settings_pack settings = quiet_settings();
    /// Disconnects who is finished, as libtorrent does by default.
    bool leaves = false;
};

/// Has the whole film and sends what it finds on disk, damaged or not: it hashes nothing.
class seeder {
public:
    /// Returns when it can be connected to. Throws timed_out.
    seeder(film const& of, std::shared_ptr<lt::torrent_info> const& torrent,
        seeder_options options = { });
    ~seeder();

    int port() const { return port_; }
    lt::torrent_handle const& handle() const { return handle_; }
    lt::session& session() { return *session_; }
    void limit_upload(int bytes_per_second) { handle_.set_upload_limit(bytes_per_second); }

private:
    std::unique_ptr<lt::session> session_;
    lt::torrent_handle handle_;
    int port_ = 0;
};

struct disconnect {
    int port;
    lt::error_code error;
    lt::close_reason_t reason;
    /// The torrent had reported that it was finished: leaving is then what peers do.
    bool after_finish;
    std::string message;
};

/// All that a leecher's alerts told, in the order they came.
struct events {
    /// Torrent, file and peer-independent errors, and alerts that were lost.
    std::vector<std::string> errors;
    /// Errors of the protocol with single peers: none is expected between libtorrents.
    std::vector<std::string> peer_errors;
    std::vector<std::string> bans;
    std::vector<disconnect> disconnects;
    std::vector<int> hash_failed;
    std::vector<int> pieces;
    int connects = 0;
    int finishes = 0;
    clock::time_point first_connect{ };
    clock::time_point last_finish{ };

    /// No error, ban, bad hash, or disconnect before the torrent was finished.
    bool clean() const;
    std::string summary() const;
};

struct leecher_options {
    lt::disk_io_constructor_type disk;
    lt::settings_pack settings = quiet_settings();
    /// Empty for a temporary directory of its own.
    std::string save_path;
    /// Empty for all pieces.
    std::vector<lt::download_priority_t> priorities;
    /// Adds it by its hashes alone: the rest comes from peers.
    bool magnet = false;
    /// Besides libtorrent's defaults, of which auto_managed and paused are left out.
    lt::torrent_flags_t flags{ };
};

/// Fetches a torrent with a disk of the caller's.
class leecher {
public:
    leecher(std::shared_ptr<lt::torrent_info> const& torrent, leecher_options options);
    leecher(std::shared_ptr<lt::torrent_info> const& torrent, lt::disk_io_constructor_type disk);
    /// As close().
    ~leecher();

    /// Connects to a seeder at 127.0.0.1, in the background.
    void connect(int port);
    void connect(std::vector<int> const& ports);

    /// Takes the alerts that are there; does not wait.
    void drain();
    events const& seen() const { return seen_; }
    void forget() { seen_ = { }; }

    /// Waits until `done` holds, taking alerts meanwhile and looking at least every 20 ms.
    /// Throws timed_out after `timeout` (made patient), and std::runtime_error at once if an error
    /// was seen before (see events::errors).
    void wait(std::string const& what, clock::duration timeout, std::function<bool()> const& done);
    /// As above, but errors are the caller's to look at.
    void wait_despite_errors(
        std::string const& what, clock::duration timeout, std::function<bool()> const& done);
    /// Until torrent_finished was posted, since the beginning or forget().
    void wait_finished(clock::duration timeout = std::chrono::seconds(30));
    /// Until piece_finished was posted for `piece`, since the beginning or forget().
    void wait_piece(int piece, clock::duration timeout = std::chrono::seconds(10));

    /// Wants nothing but the pieces [first, end).
    void want_only(int first, int end);

    /// A piece through libtorrent's own read_piece; empty with an error in seen() if it failed.
    std::vector<char> read_piece(int piece, clock::duration timeout = std::chrono::seconds(10));
    /// Reads all pieces in this way; returns those that are not what the film has.
    std::vector<int> wrong_pieces(film const& expected);

    /// Ends the session and waits for it, under a watchdog. Nothing but seen() and save_path() may
    /// be used afterwards.
    void close(clock::duration timeout = std::chrono::seconds(20));

    /// What is on its way, in words: pieces with their blocks, priorities and peers.
    std::string downloads() const;

    lt::torrent_handle const& handle() const { return handle_; }
    lt::session& session() { return *session_; }
    std::string const& save_path() const { return save_path_; }

private:
    void take(lt::alert const& alert);
    bool wait_until(clock::time_point deadline, std::function<bool()> const& done);
    std::string state() const;

    std::unique_ptr<temp_dir> own_dir_;
    std::string save_path_;
    std::shared_ptr<lt::torrent_info> torrent_;
    std::unique_ptr<lt::session> session_;
    lt::torrent_handle handle_;
    events seen_;
    struct {
        int piece = -1;
        bool arrived = false;
        std::vector<char> bytes;
    } reading_;
};

} // namespace test
