// A film, those who seed it, and who fetches it with the adapter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lookbehind/libtorrent.hpp>

#include "swarm.hpp"
#include "viewer.hpp"

namespace test {

constexpr std::int64_t KiB = 1 << 10;
constexpr std::int64_t MiB = 1 << 20;

/// How large films are: small ones, or with TEST_FULL=1 those that the goals speak of.
struct sizes {
    std::int64_t film;
    int piece;
    std::int64_t budget; // of mode stream
    bool full;

    static sizes get();
};

lookbehind::config streaming(std::int64_t budget);
lookbehind::config keeping(std::int64_t budget);

/// A leecher with the adapter. It leaves no seeder when it wants nothing.
leecher_options with(lookbehind::config const& config);

struct scene {
    film const& whole;
    std::shared_ptr<lt::torrent_info> torrent;
    std::vector<std::unique_ptr<seeder>> seeders;
    leecher who;
    stored in;

    /// Connects the leecher to so many seeders.
    scene(film const& whole, int piece, kind how, int seeders, lookbehind::config const& config);
    /// The same, of a film of one file.
    scene(std::int64_t size, int piece, kind how, int seeders, lookbehind::config const& config);
};

/// Nothing, or what went wrong in words: an error, a ban, a bad hash, a seeder that left.
std::string trouble(leecher const& who);

/// A number that is printed if a test fails; TEST_SEED sets it.
std::uint64_t random_seed();

/// How often to try something that does not go wrong every time: `usual`, or TEST_ROUNDS.
int rounds(int usual);

} // namespace test
