// Mode `keep`: all of a torrent stays, and is uploaded.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "support/scene.hpp"
#include "support/workbench.hpp"

using namespace std::chrono_literals;
using test::kind;
using test::MiB;

TEST_CASE("all bytes are right, in the cache and through libtorrent")
{
    auto const size = test::sizes::get();
    auto const budget = size.film + size.film / 8;
    for (auto const how : { kind::v1, kind::v2, kind::hybrid }) {
        for (auto const seeders : { 1, 3 }) {
            INFO(std::string(test::name(how)), ", seeders: ", seeders);
            test::scene on(size.film, size.piece, how, seeders, test::keeping(budget));
            on.who.wait_finished(60s);
            CHECK(on.in.wrong_pieces(on.whole).empty());
            CHECK(on.who.wrong_pieces(on.whole).empty());
            CHECK(test::trouble(on.who) == "");
            auto const stats = on.in.stats();
            CHECK(stats.resident_peak <= std::uint64_t(budget));
            CHECK(stats.evictions == 0);
            on.who.close();
            CHECK(test::pins() == 0);
        }
    }
}

TEST_CASE("pieces that end in pad files are kept")
{
    for (auto const how : { kind::hybrid, kind::v2 }) {
        INFO(std::string(test::name(how)));
        auto const& film = test::shared_film(4 * MiB + 100, 3, 3);
        test::scene on(film, 256 << 10, how, 1, test::keeping(8 * MiB));
        on.who.wait_finished();
        CHECK(on.in.wrong_pieces(film).empty());
        CHECK(test::trouble(on.who) == "");
    }
}

TEST_CASE("a magnet link is kept, whose hashes come from peers")
{
    for (auto const how : { kind::v2, kind::hybrid }) {
        INFO(std::string(test::name(how)));
        auto const& film = test::shared_film(16 * MiB);
        auto const torrent = test::make_torrent(film, 64 << 10, how);
        auto options = test::with(test::keeping(20 * MiB));
        options.magnet = true;
        test::leecher who(torrent, options);
        test::seeder seeder(film, torrent);
        who.connect(seeder.port());
        test::stored in(who, *torrent);
        who.wait_finished();
        who.wait("all to be published", 5s, [&] { return in.wrong_pieces(film).empty(); });
        CHECK(test::trouble(who) == "");
    }
}

TEST_CASE("what was fetched is uploaded")
{
    test::scene on(16 * MiB, 256 << 10, kind::v1, 1, test::keeping(20 * MiB));
    on.who.wait_finished();
    // From the first leecher alone, into a cache that streams.
    test::leecher second(on.torrent, test::with(test::streaming(4 * MiB)));
    test::stored in(second, *on.torrent);
    second.connect(on.who.session().listen_port());
    test::viewer viewer(second, in, on.whole, *on.torrent, MiB);
    viewer.play(16 * MiB);
    CHECK(viewer.position() == 16 * MiB);
    on.who.drain();
    CHECK(on.who.seen().errors.empty());
    CHECK(test::trouble(second) == "");
}

TEST_CASE("a torrent that does not fit is refused, and says why")
{
    auto const& film = test::shared_film(16 * MiB);
    auto const torrent = test::make_torrent(film, 256 << 10, kind::v1);
    test::leecher who(torrent, test::with(test::keeping(15 * MiB)));
    who.wait_despite_errors("the error", 10s, [&] { return !who.seen().errors.empty(); });
    auto const& said = who.seen().errors.front();
    INFO(said);
    CHECK(said.find("does not fit into the cache's budget") != std::string::npos);
    CHECK(who.handle().status().errc == lookbehind::make_error_code(lookbehind::errc::over_budget));
    CHECK(lookbehind::storage(torrent->info_hashes()) == 0);
}

TEST_CASE("a full check finds what is there")
{
    test::scene on(16 * MiB, 256 << 10, kind::hybrid, 1, test::keeping(20 * MiB));
    on.who.wait_finished();
    on.seeders.clear(); // nobody to get it from again
    on.who.forget();
    on.who.handle().force_recheck();
    on.who.wait("the check to begin", 20s,
        [&] { return on.who.handle().status().state != lt::torrent_status::seeding; });
    on.who.wait("the check", 20s, [&] {
        auto const status = on.who.handle().status();
        return status.state == lt::torrent_status::seeding && status.num_pieces == 64;
    });
    CHECK(on.who.seen().errors.empty());
    CHECK(on.who.wrong_pieces(on.whole).empty());
}
