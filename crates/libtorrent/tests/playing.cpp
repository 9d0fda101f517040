// Films of any size play out of a small cache, seeks included.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include <libtorrent/add_torrent_params.hpp>

#include "support/scene.hpp"

using namespace std::chrono_literals;
using test::kind;
using test::MiB;

namespace {

std::int64_t milliseconds(test::clock::duration time)
{
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

} // namespace

TEST_CASE("a film larger than the budget plays to its end")
{
    auto const size = test::sizes::get();
    for (auto const how : { kind::v1, kind::v2, kind::hybrid }) {
        for (auto const seeders : { 1, 3 }) {
            INFO(std::string(test::name(how)), ", seeders: ", seeders);
            test::scene on(size.film, size.piece, how, seeders, test::streaming(size.budget));
            auto const ahead = std::uint64_t(size.budget / 4);
            test::viewer viewer(on.who, on.in, on.whole, *on.torrent, ahead);
            viewer.play(on.torrent->total_size());
            CHECK(viewer.position() == on.torrent->total_size());
            CHECK(test::trouble(on.who) == "");
            CHECK(on.in.stats().resident_peak <= std::uint64_t(size.budget));
        }
    }
}

TEST_CASE("seeks back and forth resume, and lose no seeder")
{
    auto const size = test::sizes::get();
    auto const seed = test::random_seed();
    INFO("TEST_SEED=", seed);
    std::mt19937_64 random(seed);
    auto const kinds = { kind::v1, kind::v2, kind::hybrid };
    auto const how = size.full ? *(kinds.begin() + random() % 3) : kind::v1;
    INFO(std::string(test::name(how)));
    test::scene on(size.film, size.piece, how, 1, test::streaming(size.budget));
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, std::uint64_t(size.budget / 4));
    auto const total = on.torrent->total_size();
    auto const part = size.piece * 12;
    if (size.full) viewer.play(total);
    std::vector<std::int64_t> waits;
    for (int seek = 0; seek < 20; ++seek) {
        viewer.seek(std::int64_t(random() % std::uint64_t(total - part)));
        waits.push_back(milliseconds(viewer.play(part)));
    }
    auto const longest = std::max_element(waits.begin(), waits.end());
    MESSAGE(std::string(test::name(how)), ": the longest wait after a seek: ", *longest,
        " ms, after the ", longest - waits.begin() + 1, ". of 20");
    // A goal, and no matter of right or wrong on a busy machine.
    if (size.full) CHECK(*longest < milliseconds(test::patient(2s)));
    CHECK(test::trouble(on.who) == "");
    CHECK(on.who.seen().connects == 1);
    CHECK(on.in.stats().resident_peak <= std::uint64_t(size.budget));
}

TEST_CASE("after a seek, what was requested for the old place does not come first")
{
    test::scene on(48 * MiB, 256 << 10, kind::v1, 1, test::streaming(32 * MiB));
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, 8 * MiB);
    viewer.play(256 * test::KiB);
    on.seeders.front()->limit_upload(2 * MiB);
    auto const received = [&] { return on.who.handle().status({ }).total_payload_download; };
    for (auto const to : { 30 * MiB, 10 * MiB, 40 * MiB }) {
        viewer.seek(to);
        auto const before = received();
        viewer.play(256 * test::KiB);
        // The piece, and what the seeder and the sockets had at hand already: half a MiB or more.
        CHECK(received() - before < 3 * MiB);
        viewer.play(MiB);
    }
    CHECK(test::trouble(on.who) == "");
}

TEST_CASE("a film plays whose pieces are of an odd length")
{
    test::scene on(11 * MiB + 12345, 48 << 10, kind::v1, 1, test::streaming(2 * MiB));
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB / 2);
    viewer.play(on.torrent->total_size());
    CHECK(viewer.position() == on.torrent->total_size());
    CHECK(test::trouble(on.who) == "");
    CHECK(on.in.stats().resident_peak <= 2 * MiB);
}

TEST_CASE("two viewers of one film, far apart")
{
    test::scene on(48 * MiB, 256 << 10, kind::v1, 1, test::streaming(8 * MiB));
    test::viewer first(on.who, on.in, on.whole, *on.torrent, MiB);
    test::viewer second(on.who, on.in, on.whole, *on.torrent, MiB);
    second.seek(30 * MiB);
    for (int part = 0; part < 32; ++part) {
        first.play(MiB / 2);
        second.play(MiB / 2);
    }
    CHECK(test::trouble(on.who) == "");
    CHECK(on.in.stats().resident_peak <= 8 * MiB);
}

TEST_CASE("nothing is downloaded that nobody wants")
{
    test::scene on(48 * MiB, 256 << 10, kind::v1, 1, test::streaming(8 * MiB));
    on.who.wait("a seeder", 5s, [&] { return on.who.seen().connects > 0; });
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB);
    viewer.play(MiB / 4);
    on.who.wait("the window", 5s, [&] { return on.in.stats().publications >= 5; });
    // Four that lie within the window and two that were played; late blocks may be a piece more.
    CHECK(on.in.stats().publications <= 7);
    CHECK(on.in.stats().assembling == 0);
    auto const status = on.who.handle().status({ });
    CHECK(status.total_payload_download <= 2 * MiB);
}

TEST_CASE("who wants nothing loses no seeder")
{
    test::scene on(16 * MiB, 256 << 10, kind::v1, 1, test::streaming(4 * MiB));
    on.who.wait("a seeder", 5s, [&] { return on.who.seen().connects > 0; });
    // What is downloaded to keep it is dropped, and never answered for.
    on.who.wait("the anchor", 5s,
        [&] { return on.who.handle().status({ }).total_payload_download >= 256 * test::KiB; });
    auto const later = test::clock::now() + 1500ms;
    on.who.wait("a while", 10s, [&] { return test::clock::now() > later; });
    CHECK(on.who.seen().finishes == 0);
    CHECK(on.in.stats().assembling + on.in.stats().published == 0);
    CHECK(on.who.handle().status({ }).num_peers == 1);
    // It is wanted like any other.
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB);
    viewer.seek(15 * MiB);
    viewer.play(MiB);
    viewer.seek(0);
    viewer.play(16 * MiB);
    CHECK(test::trouble(on.who) == "");
    CHECK(on.who.seen().connects == 1);
}

TEST_CASE("films of several files play, also where pieces end in pad files")
{
    for (auto const how : { kind::v1, kind::hybrid, kind::v2 }) {
        INFO(std::string(test::name(how)));
        auto const& film = test::shared_film(4 * MiB + 100, 3, 3);
        test::scene on(film, 256 << 10, how, 1, test::streaming(2 * MiB));
        test::viewer viewer(on.who, on.in, film, *on.torrent, MiB / 2);
        viewer.play(on.torrent->total_size());
        CHECK(viewer.position() == on.torrent->total_size());
        CHECK(test::trouble(on.who) == "");
    }
}

TEST_CASE("a film of which all was here, and has gone, loses no seeder")
{
    test::scene on(MiB, 256 << 10, kind::v1, 1, test::streaming(8 * MiB));
    {
        test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB);
        viewer.play(MiB);
    }
    auto const a_while = [&](test::clock::duration const time) {
        auto const later = test::clock::now() + time;
        on.who.wait("a while", 10s, [&] { return test::clock::now() > later; });
    };
    a_while(200ms); // until nobody wants it any more
    lb_evict(on.in.storage(), 0, 4, nullptr);
    a_while(1s);
    CHECK(on.who.seen().finishes == 0);
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB);
    viewer.play(MiB);
    CHECK(test::trouble(on.who) == "");
    CHECK(on.who.seen().connects == 1);
}

TEST_CASE("what a player waits for comes after a check, wherever it is")
{
    auto const& film = test::shared_film(16 * MiB);
    auto const torrent = test::make_torrent(film, 256 << 10, kind::v1);
    for (auto const from : { 0 * MiB, 15 * MiB }) {
        CAPTURE(from);
        test::leecher who(torrent, test::with(test::streaming(4 * MiB)));
        test::stored in(who, *torrent);
        test::viewer viewer(who, in, film, *torrent, MiB);
        viewer.seek(from);
        // Long enough for deadlines to have been set, which would make priorities good.
        auto const later = test::clock::now() + 2500ms;
        who.wait("a while", 10s, [&] { return test::clock::now() > later; });
        who.handle().force_recheck();
        test::seeder seeder(film, torrent);
        who.wait("the check", 5s,
            [&] { return who.handle().status({ }).state == lt::torrent_status::downloading; });
        who.connect(seeder.port());
        viewer.play(MiB);
        CHECK(test::trouble(who) == "");
    }
}

TEST_CASE("a film whose seeder has gone takes no room from one that plays")
{
    for (auto const on_demand : { true, false }) {
        CAPTURE(on_demand);
        auto const& film = test::shared_film(4 * MiB, 1);
        auto const& other = test::shared_film(4 * MiB, 2);
        auto const torrent = test::make_torrent(film, 1 << 20, kind::v1);
        auto const playing = test::make_torrent(other, 1 << 20, kind::v1);
        // One piece may arrive at a time.
        auto config = test::streaming(3 * MiB);
        config.on_demand = on_demand;
        test::leecher who(torrent, test::with(config));
        test::stored in(who, *torrent);
        lb_read read = 0;
        REQUIRE(lb_read_start(in.storage(), 0, 0, -1, &read) == LB_OK);
        {
            test::seeder_options slow;
            slow.upload_limit = 300000;
            test::seeder seeder(film, torrent, slow);
            who.connect(seeder.port());
            who.wait("a piece to begin", 10s, [&] { return in.stats().assembling > 0; });
        }
        lt::add_torrent_params params;
        params.ti = std::make_shared<lt::torrent_info>(*playing);
        params.save_path = who.save_path();
        params.flags &= ~(lt::torrent_flags::auto_managed | lt::torrent_flags::paused);
        auto const handle = who.session().add_torrent(std::move(params));
        test::seeder const one(other, playing);
        test::seeder const another(other, playing);
        for (auto const port : { one.port(), another.port() })
            handle.connect_peer({ lt::make_address_v4("127.0.0.1"), std::uint16_t(port) });
        {
            test::stored const second(who, *playing);
            test::viewer viewer(who, second, other, *playing, MiB / 2);
            viewer.play(4 * MiB, 20s);
        }
        CHECK(lb_read_cancel(read) == LB_OK);
        CHECK(who.seen().errors.empty());
    }
}

TEST_CASE("a player raises what it wants above the user's priorities, and gives them back")
{
    auto config = test::streaming(4 * MiB);
    config.on_demand = false;
    test::scene on(8 * MiB, 256 << 10, kind::v1, 0, config);
    auto const& handle = on.who.handle();
    auto const unwanted = lt::piece_index_t(1);
    auto const urgent = lt::piece_index_t(3);
    handle.piece_priority(unwanted, lt::dont_download);
    handle.piece_priority(urgent, lt::top_priority);
    auto const priorities = handle.get_piece_priorities();
    {
        test::viewer const viewer(on.who, on.in, on.whole, *on.torrent, MiB);
        on.who.wait("what is wanted to be raised", 10s,
            [&] { return handle.piece_priority(unwanted) == lt::top_priority; });
        CHECK(handle.piece_priority(urgent) == lt::top_priority);
    }
    on.who.wait("what is wanted no more to be as it was", 10s,
        [&] { return handle.get_piece_priorities() == priorities; });
}

TEST_CASE("a magnet link plays, whose hashes come from peers")
{
    for (auto const how : { kind::v1, kind::v2, kind::hybrid }) {
        INFO(std::string(test::name(how)));
        auto const& film = test::shared_film(16 * MiB);
        auto const torrent = test::make_torrent(film, 64 << 10, how);
        auto options = test::with(test::streaming(4 * MiB));
        options.magnet = true;
        test::leecher who(torrent, options);
        test::seeder seeder(film, torrent);
        who.connect(seeder.port());
        test::stored in(who, *torrent);
        test::viewer viewer(who, in, film, *torrent, MiB);
        viewer.play(16 * MiB);
        CHECK(viewer.position() == 16 * MiB);
        CHECK(test::trouble(who) == "");
    }
}

TEST_CASE("a bad piece is refused, and comes from somebody else")
{
    for (auto const how : { kind::v1, kind::v2, kind::hybrid }) {
        INFO(std::string(test::name(how)));
        test::film const good(8 * MiB, 7);
        test::film const bad(8 * MiB, 7);
        auto const torrent = test::make_torrent(good, 256 << 10, how);
        bad.damage(torrent->files(), lt::piece_index_t(3), 1000);
        test::leecher who(torrent, test::with(test::streaming(4 * MiB)));
        test::stored in(who, *torrent);
        test::seeder liar(bad, torrent);
        who.connect(liar.port());
        test::viewer viewer(who, in, good, *torrent, MiB);
        viewer.play(3 * 256 * test::KiB);
        who.wait(
            "the bad piece to be noticed", 10s, [&] { return !who.seen().hash_failed.empty(); });
        CHECK(who.seen().hash_failed.front() == 3);
        CHECK(!in.has(3));
        test::seeder honest(good, torrent);
        who.connect(honest.port());
        viewer.play(torrent->total_size());
        CHECK(viewer.position() == torrent->total_size());
        CHECK(who.seen().errors.empty());
    }
}

TEST_CASE("an evicted piece is not downloaded again until it is wanted")
{
    auto config = test::streaming(8 * MiB);
    config.on_demand = false;
    test::scene on(32 * MiB, 256 << 10, kind::v1, 1, config);
    // What is evicted gets priority 0: all comes once, and what was last stays.
    on.who.wait("all of it", 20s, [&] { return on.in.stats().publications >= 128; });
    CHECK(on.in.stats().publications < 160);
    CHECK(on.in.stats().resident_peak <= 8 * MiB);
    test::viewer viewer(on.who, on.in, on.whole, *on.torrent, MiB);
    viewer.play(32 * MiB);
    CHECK(test::trouble(on.who) == "");
}
