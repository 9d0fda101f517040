/// A disk as libtorrent calls it, without libtorrent: what each call answers, that its handler runs
/// once, on the io_context, and never within the call.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/error.hpp>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/session_params.hpp>

#include "../support/film.hpp"
#include "../support/swarm.hpp"
#include "../support/workbench.hpp"

namespace contract {

using lookbehind::mode;
using lt::disk_interface;
using test::some_bytes;

constexpr std::int64_t MiB = 1 << 20;
constexpr int block = lt::default_block_size;
constexpr int piece_length = 4 * block;
constexpr int last_length = block + 1000;
constexpr int last = 20;
constexpr std::int64_t film_size = last * piece_length + last_length;
inline lt::storage_index_t const no_such_index(77);

inline lt::sha1_hash hash_of(std::string const& bytes)
{
    return lt::hasher(bytes).final();
}
inline lt::sha256_hash hash256_of(std::string const& bytes)
{
    return lt::hasher256(bytes).final();
}

// A disk with one torrent, which at the end of every test has told all and left no pin.
struct bench final : test::workbench {
    std::size_t const pins_before = test::pins();
    lt::file_storage const files = test::layout(film_size, piece_length);
    lt::storage_index_t const film;

    explicit bench(mode const mode = mode::stream)
        : bench(test::as_told(mode))
    {
    }
    explicit bench(lookbehind::config const& config)
        : workbench(config)
        , film(add(files, test::hash_named("film").v1))
    {
    }
    ~bench() override
    {
        CHECK(finish() == "");
        CHECK(test::pins() == pins_before);
    }

    bool all_aborted(std::vector<std::shared_ptr<test::answer>> const& all) const
    {
        return std::all_of(all.begin(), all.end(), [](auto const& one) { return one->aborted(); });
    }
    bool none_came(std::vector<std::shared_ptr<test::answer>> const& all) const
    {
        return std::none_of(all.begin(), all.end(), [](auto const& one) { return one->times > 0; });
    }
};

// The same with a torrent behind it that says which bytes are right.
struct judged_bench final : test::workbench {
    std::size_t const pins_before = test::pins();
    test::film const& source = test::shared_film(film_size);
    std::shared_ptr<lt::torrent_info> const torrent;
    test::owner const owner;
    lt::file_storage const& files;
    lt::storage_index_t const film;

    judged_bench(test::kind const kind, lookbehind::config const& config)
        : workbench(config)
        , torrent(test::make_torrent(source, piece_length, kind))
        , owner([&] {
            lt::add_torrent_params params;
            params.ti = torrent;
            return params;
        }())
        , files(torrent->files())
        , film(add(files, torrent->info_hashes().get_best(), owner.torrent()))
    {
    }
    ~judged_bench() override
    {
        CHECK(finish() == "");
        CHECK(test::pins() == pins_before);
    }

    std::vector<std::shared_ptr<test::answer>> write_film(int const piece, char const flip = 0)
    {
        std::vector<std::shared_ptr<test::answer>> all;
        auto const size = files.piece_size(lt::piece_index_t(piece));
        std::string bytes(std::size_t(size), '\0');
        source.read(files, lt::piece_index_t(piece), 0, { &bytes[0], size });
        bytes[0] = char(bytes[0] ^ flip);
        for (int at = 0; at < size; at += block)
            all.push_back(write(film, piece, at, bytes.substr(std::size_t(at), block)));
        return all;
    }
    auto hash_film(int const piece, std::function<void()> then = { })
    {
        auto const kinds = torrent->info_hashes();
        auto const blocks = kinds.has_v2() ? files.blocks_in_piece2(lt::piece_index_t(piece)) : 0;
        auto const flags = kinds.has_v1() ? disk_interface::v1_hash : lt::disk_job_flags_t{ };
        return hash(film, piece, flags, blocks, std::move(then));
    }
    bool has(int const piece) const
    {
        return lookbehind::memory_disk_is_lookbehind_available(torrent->info_hashes(), piece);
    }
    lb_storage storage() const { return lookbehind::storage(torrent->info_hashes()); }
};

} // namespace contract
