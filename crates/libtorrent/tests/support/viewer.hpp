// Who plays a film out of the cache, by the C interface, as a streaming backend does.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <libtorrent/info_hash.hpp>
#include <libtorrent/torrent_info.hpp>
#include <lookbehind.h>

#include "swarm.hpp"

namespace test {

/// A handle on a torrent's storage in the cache, closed with this.
class stored {
public:
    /// Waits until some session has the torrent; drains `who` meanwhile.
    stored(leecher& who, lt::torrent_info const& torrent);
    ~stored();
    stored(stored const&) = delete;
    stored& operator=(stored const&) = delete;

    lb_storage storage() const { return storage_; }
    lb_cache_statistics stats() const;

    /// Pieces that are published and not what the film has; missing ones count as wrong.
    std::vector<int> wrong_pieces(film const& expected) const;
    bool has(int piece) const;

private:
    lt::torrent_info const& torrent_;
    lb_storage storage_ = 0;
    lb_cache cache_ = 0;
};

/// A player that compares what it reads with the film.
class viewer {
public:
    /// `ahead` in bytes. Alerts of `who` are taken while it waits.
    viewer(leecher& who, stored const& in, film const& expected, lt::torrent_info const& torrent,
        std::uint64_t ahead);
    ~viewer();
    viewer(viewer const&) = delete;
    viewer& operator=(viewer const&) = delete;

    void seek(std::int64_t position);
    /// Reads so many bytes, or to the end. Throws timed_out if nothing comes for `patience`, and
    /// std::runtime_error if a byte is wrong or the player fails. How long the first byte took.
    clock::duration play(std::int64_t bytes, clock::duration patience = std::chrono::seconds(10));
    std::int64_t position() const { return position_; }

private:
    leecher& who_;
    film const& film_;
    lt::torrent_info const& torrent_;
    lb_player player_ = 0;
    std::int64_t position_ = 0;
};

} // namespace test
