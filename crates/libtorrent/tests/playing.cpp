// Films of any size play out of a small cache, seeks included.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdlib>
#include <random>

#include <lookbehind/libtorrent.hpp>

#include "support/swarm.hpp"
#include "support/viewer.hpp"

using namespace std::chrono_literals;
using test::kind;

namespace {

constexpr std::int64_t MiB = 1 << 20;

lookbehind::config streaming(std::int64_t budget)
{
    lookbehind::config config;
    config.budget = budget;
    return config;
}

test::leecher_options options(lookbehind::config const& config)
{
    test::leecher_options options;
    options.disk = lookbehind::disk_io_constructor(config);
    options.settings.set_bool(lt::settings_pack::close_redundant_connections, false);
    return options;
}

struct scene {
    test::film const& film;
    std::shared_ptr<lt::torrent_info> torrent;
    std::vector<std::unique_ptr<test::seeder>> seeders;
    test::leecher leecher;
    test::stored stored;

    scene(std::int64_t size, int piece, kind how, int seeders_, lookbehind::config const& config)
        : film(test::shared_film(size))
        , torrent(test::make_torrent(film, piece, how))
        , leecher(torrent, options(config))
        , stored(leecher, *torrent)
    {
        for (int one = 0; one < seeders_; ++one) {
            seeders.push_back(std::make_unique<test::seeder>(film, torrent));
            leecher.connect(seeders.back()->port());
        }
    }
};

// What a session in which all went well has seen, in words if it did not.
std::string trouble(test::leecher const& who)
{
    return who.seen().clean() ? std::string() : who.seen().summary();
}

} // namespace

TEST_CASE("a film larger than the budget plays to its end")
{
    for (auto const how : {kind::v1, kind::v2, kind::hybrid}) {
        for (auto const seeders : {1, 3}) {
            CAPTURE(test::name(how));
            CAPTURE(seeders);
            scene on(48 * MiB, 256 << 10, how, seeders, streaming(8 * MiB));
            test::viewer viewer(on.leecher, on.stored, on.film, *on.torrent, 2 * MiB);
            viewer.play(on.torrent->total_size());
            CHECK(viewer.position() == on.torrent->total_size());
            CHECK(trouble(on.leecher) == "");
            CHECK(on.stored.stats().resident_peak <= 8 * MiB);
        }
    }
}

TEST_CASE("seeks back and forth resume")
{
    std::mt19937_64 random(std::random_device{}());
    if (auto const* seed = std::getenv("TEST_SEED")) random.seed(std::strtoull(seed, nullptr, 10));
    scene on(48 * MiB, 256 << 10, kind::v1, 1, streaming(8 * MiB));
    test::viewer viewer(on.leecher, on.stored, on.film, *on.torrent, 2 * MiB);
    auto const total = on.torrent->total_size();
    test::clock::duration longest{};
    for (int seek = 0; seek < 20; ++seek) {
        auto const to = std::int64_t(random() % std::uint64_t(total - 3 * MiB));
        viewer.seek(to);
        longest = std::max(longest, viewer.play(3 * MiB));
    }
    MESSAGE("the longest wait after a seek: "
        << std::chrono::duration_cast<std::chrono::milliseconds>(longest).count() << " ms");
    CHECK(trouble(on.leecher) == "");
    CHECK(on.stored.stats().resident_peak <= 8 * MiB);
}
