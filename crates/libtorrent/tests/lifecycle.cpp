// Sessions and torrents that come and go, stop, and are checked, at any moment, while players read
// and other threads call. TEST_SEED repeats a run's moments, TEST_ROUNDS makes more of them.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <thread>

#include <libtorrent/add_torrent_params.hpp>

#include "support/bystanders.hpp"
#include "support/scene.hpp"
#include "support/workbench.hpp"

using namespace std::chrono_literals;
using test::KiB;
using test::kind;
using test::MiB;

namespace {

constexpr std::int64_t film_size = 8 * MiB + 12345;
constexpr int piece_length = 64 << 10;
constexpr std::int64_t stream_budget = 4 * MiB;
constexpr std::int64_t keep_budget = 24 * MiB;

lookbehind::config any_config(std::mt19937_64& random)
{
    auto config = random() % 2 ? test::streaming(stream_budget) : test::keeping(keep_budget);
    config.on_demand = random() % 2;
    config.hash_threads = 1 + int(random() % 2);
    return config;
}

// As others, but quicker to connect.
test::leecher_options quick(lookbehind::config const& config)
{
    auto options = test::with(config);
    options.settings.set_int(lt::settings_pack::tick_interval, 10);
    return options;
}

// A film, its torrent, and who seeds it.
struct seeded {
    test::film const& film;
    std::shared_ptr<lt::torrent_info> const torrent;
    test::seeder seeder;

    explicit seeded(kind const how, std::uint64_t const seed = 1)
        : film(test::shared_film(film_size, seed))
        , torrent(test::make_torrent(film, piece_length, how))
        , seeder(film, torrent)
    {
    }
};

// A handle on a session's cache that outlives the session, to see what is left.
class witness {
public:
    explicit witness(lt::torrent_info const& torrent)
        : cache_(lookbehind::cache(torrent.info_hashes()))
    {
    }
    witness(witness const&) = delete;
    witness& operator=(witness const&) = delete;
    ~witness() { lb_cache_close(cache_); }

    bool found() const { return cache_ != 0; }

    // Nothing, or what is wrong once the session has ended, and nobody plays.
    std::string trouble(lookbehind::config const& config) const
    {
        if (cache_ == 0) return { }; // the session had no torrent yet
        lb_cache_statistics stats{ };
        if (lb_cache_stats(cache_, &stats) != LB_OK) return "no statistics";
        std::string wrong;
        if (stats.resident_peak > std::uint64_t(config.budget)) wrong += "above the budget; ";
        if (stats.storages != 0) wrong += "storages are left; ";
        if (stats.held + stats.pinned != 0) wrong += "handles are left; ";
        if (stats.assembling + stats.published != 0) wrong += "pieces are left; ";
        if (stats.waits + stats.snapshots != 0) wrong += "reads are left; ";
        return wrong;
    }

private:
    lb_cache const cache_;
};

// What must not be seen, whatever becomes of connections.
std::string errors(test::leecher const& who)
{
    auto const& seen = who.seen();
    auto const none = seen.errors.empty() && seen.peer_errors.empty() && seen.bans.empty()
        && seen.hash_failed.empty();
    return none ? std::string() : seen.summary();
}

// Lets the leecher go on for a random moment.
void a_moment(test::leecher& who, std::mt19937_64& random, int const most_ms)
{
    auto const end
        = test::clock::now() + std::chrono::microseconds(random() % std::uint64_t(most_ms * 1000));
    do {
        who.drain();
        std::this_thread::sleep_for(std::min<test::clock::duration>(
            1ms, std::max<test::clock::duration>(0ms, end - test::clock::now())));
    } while (test::clock::now() < end);
}

// Lets it go on until some more of the torrent comes, if it does before long, and then for a
// moment.
void under_way(test::leecher& who, lt::torrent_handle const& torrent, std::mt19937_64& random)
{
    auto const received = [&] { return torrent.status({ }).total_payload_download; };
    auto const enough = received() + std::int64_t(random() % std::uint64_t(MiB / 2));
    auto const latest = test::clock::now() + (random() % 8 ? test::patient(150ms) : 0ms);
    while (received() <= enough && test::clock::now() < latest) {
        who.drain();
        std::this_thread::sleep_for(200us);
    }
    a_moment(who, random, 4);
}

lt::torrent_handle add(test::leecher& who, seeded const& what)
{
    lt::add_torrent_params params;
    params.ti = std::make_shared<lt::torrent_info>(*what.torrent);
    params.save_path = who.save_path();
    params.flags &= ~(lt::torrent_flags::auto_managed | lt::torrent_flags::paused);
    params.flags |= lt::torrent_flags::disable_pex;
    return who.session().add_torrent(std::move(params));
}

void connect(lt::torrent_handle const& handle, int const port)
{
    handle.connect_peer({ lt::make_address_v4("127.0.0.1"), std::uint16_t(port) });
}

// After all that it plays on, what is right, and ends with nothing left.
void plays_on(test::leecher& who, test::spectator& spectator, seeded const& what,
    lookbehind::config const& config)
{
    who.connect(what.seeder.port());
    auto const before = spectator.bytes();
    who.wait_despite_errors(
        "more to be played", 20s, [&] { return spectator.bytes() > before + 2 * MiB; });
    spectator.leave();
    CHECK(spectator.trouble() == "");
    CHECK(errors(who) == "");
    witness const left(*what.torrent);
    REQUIRE(left.found());
    who.close();
    CHECK(left.trouble(config) == "");
    CHECK(test::pins() == 0);
}

} // namespace

#define SEEDED_RANDOM                                                                              \
    auto const seed = test::random_seed();                                                         \
    INFO("TEST_SEED=" << seed);                                                                    \
    std::mt19937_64 random(seed)

TEST_CASE("a session ends with reads, writes and hashes in flight")
{
    SEEDED_RANDOM;
    for (auto const how : { kind::v1, kind::hybrid, kind::v2 }) {
        INFO(std::string(test::name(how)));
        seeded const what(how);
        test::callers const callers({ what.torrent->info_hashes() });
        test::spectator spectator(what.film, *what.torrent, random());
        for (int round = 0; round < test::rounds(10); ++round) {
            CAPTURE(round);
            auto const config = any_config(random);
            test::leecher who(what.torrent, quick(config));
            who.connect(what.seeder.port());
            under_way(who, who.handle(), random);
            if (round == 0) {
                who.wait_despite_errors(
                    "something to be played", 20s, [&] { return spectator.bytes() > 0; });
            }
            auto const played = spectator.bytes();
            auto const latest = test::clock::now() + (random() % 2 ? test::patient(200ms) : 0ms);
            while (spectator.bytes() == played && test::clock::now() < latest)
                std::this_thread::sleep_for(200us);
            witness const left(*what.torrent);
            who.close();
            // The spectator may be at a piece still.
            for (int wait = 0; wait < 1000 && left.trouble(config) != ""; ++wait)
                std::this_thread::sleep_for(1ms);
            CHECK(left.trouble(config) == "");
            CHECK(errors(who) == "");
        }
        spectator.leave();
        CHECK(spectator.trouble() == "");
        CHECK(test::pins() == 0);
        MESSAGE(std::string(test::name(how)) << ": " << spectator.bytes() / KiB << " KiB played, "
                                             << callers.calls() << " rounds of calls");
    }
}

TEST_CASE("torrents are removed and added again at once, under each other's index")
{
    SEEDED_RANDOM;
    seeded const one(kind::v1, 1);
    seeded const other(kind::hybrid, 2);
    for (auto const& config : { test::streaming(stream_budget), test::keeping(2 * keep_budget) }) {
        test::callers const callers({ one.torrent->info_hashes(), other.torrent->info_hashes() });
        test::spectator first(one.film, *one.torrent, random());
        test::spectator second(other.film, *other.torrent, random());
        test::leecher who(one.torrent, quick(config));
        std::vector<lt::torrent_handle> there{ who.handle(), add(who, other) };
        witness const left(*one.torrent);
        REQUIRE(left.found());
        for (int round = 0; round < test::rounds(20); ++round) {
            connect(there[0], one.seeder.port());
            connect(there[1], other.seeder.port());
            under_way(who, there[random() % 2], random);
            auto const swap = random() % 2 == 0;
            auto const remove = [&](std::size_t const which) {
                who.session().remove_torrent(
                    there[which], random() % 2 ? lt::session::delete_files : lt::remove_flags_t{ });
            };
            // Their indices are free again when they have told all, which may be between the two.
            remove(swap ? 1 : 0);
            if (random() % 2) a_moment(who, random, 3);
            remove(swap ? 0 : 1);
            if (random() % 2) a_moment(who, random, 3);
            if (swap) {
                there[1] = add(who, other);
                there[0] = add(who, one);
            } else {
                there[0] = add(who, one);
                there[1] = add(who, other);
            }
        }
        // And then they play, each what it is.
        connect(there[0], one.seeder.port());
        connect(there[1], other.seeder.port());
        auto const enough = [&, a = first.bytes(), b = second.bytes()] {
            return first.bytes() > a + MiB && second.bytes() > b + MiB;
        };
        who.wait_despite_errors("both to be played", 20s, enough);
        first.leave();
        second.leave();
        CHECK(first.trouble() == "");
        CHECK(second.trouble() == "");
        who.drain();
        CHECK(errors(who) == "");
        who.close();
        CHECK(left.trouble(config) == "");
        CHECK(test::pins() == 0);
    }
}

TEST_CASE("a torrent is paused and resumed at any moment, and plays on")
{
    SEEDED_RANDOM;
    seeded const what(kind::v1);
    for (auto const& config : { test::streaming(stream_budget), test::keeping(keep_budget) }) {
        test::callers const callers({ what.torrent->info_hashes() });
        test::spectator spectator(what.film, *what.torrent, random());
        test::leecher who(what.torrent, quick(config));
        for (int round = 0; round < test::rounds(15); ++round) {
            who.connect(what.seeder.port());
            under_way(who, who.handle(), random);
            who.handle().pause(
                random() % 2 ? lt::torrent_handle::graceful_pause : lt::pause_flags_t{ });
            a_moment(who, random, 20);
            who.handle().resume();
        }
        plays_on(who, spectator, what, config);
    }
}

TEST_CASE("a torrent is checked anew at any moment, and plays on")
{
    SEEDED_RANDOM;
    for (auto const how : { kind::v1, kind::hybrid }) {
        INFO(std::string(test::name(how)));
        seeded const what(how);
        for (auto const& config : { test::streaming(stream_budget), test::keeping(keep_budget) }) {
            test::callers const callers({ what.torrent->info_hashes() });
            test::spectator spectator(what.film, *what.torrent, random());
            test::leecher who(what.torrent, quick(config));
            for (int round = 0; round < test::rounds(7); ++round) {
                who.connect(what.seeder.port());
                under_way(who, who.handle(), random);
                who.handle().force_recheck();
            }
            who.wait_despite_errors("the check to end", 20s, [&] {
                auto const state = who.handle().status({ }).state;
                return state != lt::torrent_status::checking_files
                    && state != lt::torrent_status::checking_resume_data;
            });
            plays_on(who, spectator, what, config);
        }
    }
}

TEST_CASE("a session is another one's seeder in the same process, and either may end first")
{
    SEEDED_RANDOM;
    seeded const what(kind::hybrid);
    for (auto const keeper_first : { true, false }) {
        test::callers const callers({ what.torrent->info_hashes() });
        auto const keeping = test::keeping(keep_budget);
        auto const streaming = test::streaming(stream_budget);
        auto keeper = std::make_unique<test::leecher>(what.torrent, quick(keeping));
        keeper->connect(what.seeder.port());
        keeper->wait_finished();
        witness const keeper_left(*what.torrent);
        REQUIRE(keeper_left.found());

        auto player = std::make_unique<test::leecher>(what.torrent, quick(streaming));
        player->connect(keeper->session().listen_port());
        test::stored const in(*player, *what.torrent); // the last one's
        witness const player_left(*what.torrent);
        REQUIRE(player_left.found());
        {
            test::viewer viewer(*player, in, what.film, *what.torrent, MiB);
            viewer.play(what.torrent->total_size());
            CHECK(viewer.position() == what.torrent->total_size());
        }
        CHECK(keeper->handle().status({ }).total_payload_upload >= what.torrent->total_size());

        // One goes while the other one is at it.
        test::spectator spectator(what.film, *what.torrent, random());
        a_moment(*player, random, 100);
        keeper->drain();
        CHECK(errors(*keeper) == "");
        CHECK(errors(*player) == "");
        (keeper_first ? keeper : player)->close();
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 50));
        (keeper_first ? player : keeper)->close();
        spectator.leave();
        CHECK(spectator.trouble() == "");
        CHECK(keeper_left.trouble(keeping) == "");
        CHECK(player_left.trouble(streaming) == "");
        CHECK(test::pins() == 0);
    }
}
