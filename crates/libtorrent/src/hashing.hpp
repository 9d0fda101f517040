// Hashes of pieces, SHA-1 and merkle trees of SHA-256.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <libtorrent/disk_interface.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/sha1_hash.hpp>
#include <libtorrent/span.hpp>
#include <libtorrent/units.hpp>
#include <lookbehind.h>

namespace lookbehind::detail {

using hash_handler
    = std::function<void(lt::piece_index_t, lt::sha1_hash const&, lt::storage_error const&)>;

// The root of a piece's merkle tree, by the hashes of its blocks (BEP 52).
inline lt::sha256_hash root_of(std::vector<lt::sha256_hash> nodes, std::size_t const leaves)
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

inline std::size_t next_power_of_two(std::size_t const least)
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

struct film;

// A piece to be hashed. The handler is moved, never copied, for its closure owns what `v2` points
// to.
struct hash_job {
    std::shared_ptr<film> of;
    lt::piece_index_t piece{ 0 };
    std::uint8_t const* bytes = nullptr; // pinned
    int size = 0;
    int size2 = 0; // of a v2 torrent: without the pad file behind it
    std::size_t leaves = 0;
    bool v1 = false;
    bool check = false; // of what is there already
    lt::span<lt::sha256_hash> v2;
    hash_handler handler;
    digest found;

    hash_job() = default;
    hash_job(hash_job const&) = delete;
    hash_job& operator=(hash_job const&) = delete;
    // Also of one whose end nobody hears of, because the io_context is gone.
    ~hash_job() { unpin(); }

    void unpin() { lb_release(std::exchange(bytes, nullptr)); }

    void run()
    {
        auto const* const data = reinterpret_cast<char const*>(bytes);
        if (v1) found.v1 = lt::hasher(lt::span<char const>(data, size)).final();
        if (v2.empty()) return;
        for (int at = 0, block = 0; at < size2; at += lt::default_block_size, ++block) {
            auto const length = std::min(lt::default_block_size, size2 - at);
            v2[block] = lt::hasher256(lt::span<char const>(data + at, length)).final();
        }
        found.v2 = root_of({ v2.begin(), v2.end() }, leaves);
    }
};

} // namespace lookbehind::detail
