// The C interface between the Rust programs of this crate and libtorrent; `ffi.rs` is its other
// side and repeats it.
//
// A function that fails says why, in words. None lets an exception out. A session, or a seeder, is
// used by one thread at a time; texts and lists that are passed are good until the call returns.
#ifndef LOOKBEHIND_TORRENT_SESSION_H
#define LOOKBEHIND_TORRENT_SESSION_H

#include <cstddef>
#include <cstdint>

extern "C" {

// Why a call failed: text that ends with a zero.
struct lbt_why {
    char text[512];
};

struct lbt_settings {
    // Bytes of memory for pieces.
    std::int64_t budget;
    // Where peers may connect, as libtorrent writes it; empty for nowhere.
    char const* listen;
    // How peers are found, beside those that are named.
    bool dht;
    bool lsd;
    bool upnp;
    bool pex;
    bool trackers;
};

struct lbt_session;

// Starts a session without a torrent; null if it fails.
lbt_session* lbt_start(lbt_settings const* settings, lbt_why* why);

// Adds the one torrent, by the content of its file, or by a magnet link.
bool lbt_add_file(lbt_session* session, char const* bytes, std::size_t length, lbt_why* why);
bool lbt_add_magnet(lbt_session* session, char const* link, lbt_why* why);

// Connects to a peer, unless it is connected. It is tried a few times; to call this again has it
// tried on.
bool lbt_connect(lbt_session* session, char const* address, std::uint16_t port, lbt_why* why);

// How bad it is what the session tells.
enum lbt_level { LBT_DEBUG = 0, LBT_INFO = 1, LBT_WARN = 2 };

typedef void (*lbt_told)(void* context, lbt_level level, char const* text);

// Waits so long for news, and passes on what there is.
void lbt_wait(lbt_session* session, int milliseconds, lbt_told told, void* context);

struct lbt_figures {
    // Bytes of pieces a second that arrive.
    std::int64_t rate;
    // Bytes of pieces that arrived, ever; and of these, those that were wrong or there already.
    std::int64_t received;
    std::int64_t wasted;
    // Connected now.
    std::int32_t peers;
};

enum lbt_progress { LBT_NOT_YET = 0, LBT_READY = 1, LBT_FAILED = 2 };

// How the torrent is. Failed: it has stopped for good.
lbt_progress lbt_state(lbt_session* session, lbt_figures* figures, lbt_why* why);

// What a torrent has, once it is ready.
struct lbt_content {
    // Handles on the cache, and on the storage in it with the pieces, both to be closed.
    std::uint64_t cache;
    std::uint64_t storage;
    // The info-hash: the 20 bytes of version 1 if there is one, else the 32 of version 2.
    std::uint8_t hash[32];
    std::uint32_t hash_length;
};

typedef void (*lbt_file)(void* context, std::int32_t index, std::uint64_t offset,
    std::uint64_t size, char const* path, std::size_t length);

// Tells the content, and each file that has bytes, in the order in which they lie in the storage.
bool lbt_content_of(
    lbt_session* session, lbt_content* content, lbt_file file, void* context, lbt_why* why);

// Ends the session; waits until its threads have ended.
void lbt_stop(lbt_session* session);

// Makes a torrent of a file or folder, which it passes on, and seeds it at this address. `piece` is
// in bytes, 0 to have it chosen; `version` is that of BitTorrent, 0 for both in one. Null if it
// fails.
struct lbt_seeder;
typedef void (*lbt_torrent)(
    void* context, char const* bytes, std::size_t length, char const* magnet, std::uint16_t port);
lbt_seeder* lbt_seed(char const* path, char const* address, std::uint16_t port, std::int32_t piece,
    std::int32_t version, lbt_torrent torrent, void* context, lbt_why* why);
void lbt_seed_stop(lbt_seeder* seeder);

} // extern "C"

#endif
