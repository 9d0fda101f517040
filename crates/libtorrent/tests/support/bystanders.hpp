// Threads that use the cache beside libtorrent, whatever becomes of sessions and torrents
// meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <libtorrent/info_hash.hpp>
#include <libtorrent/torrent_info.hpp>

#include "film.hpp"

namespace test {

/// Calls all functions of the disk that this one replaces, for a torrent that may be there or not.
void call_all(int storage_index);
void call_all(lt::info_hash_t const& torrent);

/// Threads that do so, by the indices 0 and 1, and by these hashes.
class callers {
public:
    explicit callers(std::vector<lt::info_hash_t> hashes, int threads = 2);
    ~callers();

    int calls() const { return calls_; }

private:
    void call(std::size_t number);

    std::vector<lt::info_hash_t> const hashes_;
    std::atomic<bool> over_{ false };
    std::atomic<int> calls_{ 0 };
    std::vector<std::thread> threads_;
};

/// Plays a film here and there on a thread of its own, whenever some session has the torrent, and
/// compares what it reads with the film.
class spectator {
public:
    spectator(film const& expected, lt::torrent_info const& torrent, std::uint64_t seed);
    ~spectator();

    std::int64_t bytes() const { return bytes_; }
    /// Nothing, or the first thing that went wrong. To be called when it has ended.
    std::string trouble() const { return trouble_; }
    /// Ends it.
    void leave();

private:
    void play(std::uint64_t seed);

    film const& film_;
    lt::torrent_info const& torrent_;
    std::atomic<bool> over_{ false };
    std::atomic<std::int64_t> bytes_{ 0 };
    std::string trouble_;
    std::thread thread_;
};

} // namespace test
