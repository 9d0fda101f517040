// A torrent, and what libtorrent has not been told of its pieces.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <boost/asio/error.hpp>

#include <libtorrent/file_storage.hpp>
#include <libtorrent/info_hash.hpp>
#include <libtorrent/operations.hpp>
#include <libtorrent/torrent_info.hpp>
#include <lookbehind.h>

#include "hashing.hpp"
#include "torrent.hpp"

namespace lookbehind::detail {

using write_handler = std::function<void(lt::storage_error const&)>;

inline lt::storage_error aborted()
{
    return lt::storage_error(boost::asio::error::operation_aborted);
}

inline lt::storage_error missing(lt::operation_t const operation)
{
    return lt::storage_error(boost::asio::error::eof, operation);
}

enum class verdict { good, bad, unknown };

// A piece that libtorrent has been told nothing of, or not all.
struct withheld {
    std::vector<write_handler> writes;
    // One, but for a check that comes while the piece is hashed.
    std::vector<hash_handler> hashes;
    // Hashed, and good as far as can be known yet.
    std::unique_ptr<digest> waiting;
    int hashing = 0; // hashes under way
    // To be withdrawn once it is hashed: libtorrent must hear of the hash first.
    bool doomed = false;
    bool published = false;
    // When its last block came.
    std::chrono::steady_clock::time_point touched{ };

    // All blocks have come.
    bool whole() const { return published || hashing > 0 || !hashes.empty() || waiting; }

    // In one go, so that libtorrent sees no state between.
    void abort(lt::piece_index_t const piece)
    {
        for (auto const& hashed : hashes) hashed(piece, lt::sha1_hash(), aborted());
        for (auto const& write : writes) write(aborted());
    }

    // libtorrent finds out who sent it, and has it cleared.
    void refuse(lt::piece_index_t const piece, lt::sha1_hash const& found)
    {
        for (auto const& write : writes) write(lt::storage_error());
        for (auto const& hashed : hashes) hashed(piece, found, lt::storage_error());
    }
};

// A piece that somebody wants, most urgent first.
struct fetch {
    lb_fetch handle = 0;
    lt::piece_index_t piece{ 0 };
    // When it last was not among the most urgent.
    std::chrono::steady_clock::time_point since;
    std::uint8_t priority = 0; // as libtorrent was told
    std::uint8_t before = 0; // unless on demand: the user's
    bool deadline = false;
};

// One torrent.
struct film : std::enable_shared_from_this<film> {
    lt::storage_index_t index{ 0 };
    lb_storage storage = 0;
    std::uint64_t id = 0;
    lt::info_hash_t hashes;
    lt::torrent_handle torrent;
    lt::file_storage files;
    std::shared_ptr<lt::torrent_info const> info;
    std::vector<std::vector<lt::sha256_hash>> layers;
    std::chrono::steady_clock::time_point next_layers{ };
    // What it takes of the budget in mode `keep`.
    std::int64_t reserved = 0;
    boost::system::error_code error;
    bool removed = false;

    std::unordered_map<int, withheld> pieces;
    // Writes that were not taken, and are not answered yet.
    std::unordered_map<int, std::vector<write_handler>> refused;
    std::unordered_map<int, std::uint8_t const*> kept;
    std::vector<fetch> fetches;
    // Somebody left pieces that may have been requested, and nothing has been wanted since.
    bool left = false;
    std::chrono::steady_clock::time_point slow_until{ };
    // In mode `stream`, on demand: the piece that is as if always arriving.
    std::optional<lt::piece_index_t> anchor;
    // When it is next looked for pieces that nobody goes on with.
    std::chrono::steady_clock::time_point next_look{ };

    std::uint32_t piece_size(lt::piece_index_t const piece) const
    {
        return std::uint32_t(files.piece_size(piece));
    }

    // Blocks that lie in pad files libtorrent neither requests nor writes. They are zero.
    void fill_pads(lt::piece_index_t const piece) const
    {
        static std::array<std::uint8_t, std::size_t(lt::default_block_size)> const zeros{ };
        auto end = std::int64_t(0); // within the piece, of what was looked at
        for (auto const& part : files.map_block(piece, 0, int(piece_size(piece)))) {
            auto const start = end;
            end += part.size;
            if (!files.pad_file_at(part.file_index)) continue;
            // What came with the file before it stays as it is.
            auto const block = std::int64_t(lt::default_block_size);
            for (auto at = start; at < end; at += block) {
                auto const length = std::size_t(std::min(end - at, block));
                lb_write(storage, std::uint32_t(int(piece)), std::uint32_t(at), zeros.data(),
                    length, nullptr, nullptr);
            }
        }
    }

    // Written bytes of a piece, pinned; null if they are not all there.
    std::uint8_t const* pin(lt::piece_index_t const piece, int const offset, int const length) const
    {
        std::uint8_t const* data = nullptr;
        if (offset < 0 || length <= 0) return nullptr;
        auto const status = lb_read_back(storage, std::uint32_t(int(piece)), std::uint32_t(offset),
            std::uint32_t(length), &data);
        return status == LB_OK ? data : nullptr;
    }

    // Pins of mode `keep` no more.
    void let_go()
    {
        for (auto const& one : kept) lb_release(one.second);
        kept.clear();
    }

    std::vector<fetch>::const_iterator fetch_of(lt::piece_index_t const piece) const
    {
        auto const is_it = [&](fetch const& one) { return one.piece == piece; };
        return std::find_if(fetches.begin(), fetches.end(), is_it);
    }
    bool wants(lt::piece_index_t const piece) const { return fetch_of(piece) != fetches.end(); }

    // Blocks of the piece are missing, and none came since.
    bool stalled(int const number, withheld const& piece,
        std::chrono::steady_clock::time_point const since) const
    {
        return !piece.whole() && piece.touched <= since && anchor != lt::piece_index_t(number);
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
            if (number >= layers.size() || at >= layers[number].size()) return { };
            return layers[number][at];
        };
        auto root = known();
        auto const now = std::chrono::steady_clock::now();
        if (root.is_all_zeros() && now >= next_layers) {
            // A magnet's hashes come from peers, one after another. Each time all are copied.
            next_layers = now + std::chrono::milliseconds(50);
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

} // namespace lookbehind::detail
