// When there is no room, what is good and what is wanted.
#include "bench.hpp"

using namespace contract;

// Back-pressure

TEST_CASE("a write for which there is no room stops its peer, which is told later to go on")
{
    bench on(test::as_told(mode::stream, 1 * MiB));
    auto const some = std::make_shared<test::peer>();
    auto gone = std::make_shared<test::peer>();
    bool stopped = false;
    int piece = 0;
    for (; !stopped && piece <= last; ++piece) {
        auto const write = on.write(on.film, piece, 0, some_bytes(0, block), &stopped, some);
        CHECK(write->times == 0);
        on.run_ready();
        CHECK(write->aborted() == stopped);
    }
    REQUIRE(stopped);
    CHECK(piece > 2);
    bool nobody_stopped = false;
    bool gone_stopped = false;
    on.write(on.film, last - 1, 0, some_bytes(0, block), &nobody_stopped, nullptr);
    on.write(on.film, last - 1, 0, some_bytes(0, block), &gone_stopped, gone);
    CHECK(nobody_stopped);
    CHECK(gone_stopped);
    gone.reset();
    CHECK(some->times == 0);
    CHECK(on.run_until([&] { return some->times > 0; }));
    on.run_ticks();
    CHECK(some->times == 1);
    // What arrives already goes on arriving.
    bool still = true;
    on.write(on.film, 0, block, some_bytes(block, block), &still, some);
    CHECK_FALSE(still);
    // And there is room again when a piece has gone.
    on.clear_piece(on.film, 0);
    on.run_ready();
    on.write(on.film, last - 1, 0, some_bytes(0, block), &still, some);
    CHECK_FALSE(still);
}

TEST_CASE("nobody is told to go on after an abort")
{
    auto const some = std::make_shared<test::peer>();
    {
        bench on(test::as_told(mode::stream, 1 * MiB));
        bool stopped = false;
        for (int piece = 0; !stopped && piece <= last; ++piece)
            on.write(on.film, piece, 0, some_bytes(0, block), &stopped, some);
        REQUIRE(stopped);
        on.call([](auto& disk) { disk.abort(false); });
        on.run_ticks();
    }
    CHECK(some->times == 0);
    CHECK(some.use_count() == 1);
}

TEST_CASE("in mode keep a piece that is hashed before a refused block keeps the others")
{
    bench on(test::as_told(mode::keep, 17 * MiB / 10));
    std::shared_ptr<test::answer> refused;
    int piece = last;
    for (bool stopped = false; !stopped && --piece >= 0;)
        refused = on.write(on.film, piece, 0, some_bytes(piece * piece_length, block), &stopped);
    REQUIRE(piece > 0);
    on.clear_piece(on.film, last - 1);
    std::vector<std::shared_ptr<test::answer>> others;
    for (int at = block; at < piece_length; at += block)
        others.push_back(
            on.write(on.film, piece, at, some_bytes(piece * piece_length + at, block)));
    auto const early = on.hash(on.film, piece);
    on.run_ready();
    CHECK(early->aborted());
    CHECK(refused->aborted());
    CHECK(early->order < refused->order);
    for (auto const& one : others) CHECK(one->well());
    // libtorrent requests the one block that it has not, and hashes again.
    on.write(on.film, piece, 0, some_bytes(piece * piece_length, block));
    auto const whole = on.hash(on.film, piece);
    CHECK(on.run_until([&] { return whole->times > 0; }));
    CHECK(whole->v1 == hash_of(some_bytes(piece * piece_length, piece_length)));
}

TEST_CASE("in mode keep a good piece for whose entry there is no room is shown when there is")
{
    auto const budget = 2 * MiB;
    judged_bench on(test::kind::v1, test::as_told(mode::keep, budget));
    auto const mine = on.storage();
    lb_cache cache = 0;
    CHECK(lb_storage_cache(mine, &cache) == LB_OK);
    on.write_film(0);
    CHECK(lb_cache_set_budget(cache, 16 << 10) == LB_OK);
    auto const hash = on.hash_film(0);
    CHECK(on.run_until([&] { return hash->times > 0; }));
    CHECK(hash->well());
    on.run_ticks();
    CHECK_FALSE(on.has(0));
    CHECK(lb_cache_set_budget(cache, std::uint64_t(budget)) == LB_OK);
    CHECK(on.run_until([&] { return on.has(0); }));
    lb_storage_close(mine);
    lb_cache_close(cache);
}

// Figures

TEST_CASE("counters say what is under way")
{
    bench on;
    using lt::counters;
    auto const all = [&] {
        return std::vector<std::int64_t>{ on.counter(counters::num_read_jobs),
            on.counter(counters::num_write_jobs), on.counter(counters::queued_disk_jobs),
            on.counter(counters::num_jobs), on.counter(counters::disk_blocks_in_use) };
    };
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
    on.write_piece(on.film, on.files, 0);
    on.hash(on.film, 0);
    auto const read = on.read(on.film, 0, 0, block);
    CHECK(all() == std::vector<std::int64_t>{ 1, 4, 1, 6, 1 });
    CHECK(on.run_until([&] { return on.counter(counters::queued_disk_jobs) == 0; }));
    on.run_ready();
    CHECK(all() == std::vector<std::int64_t>{ 0, 4, 0, 4, 1 });
    read->buffer.reset();
    on.clear_piece(on.film, 0);
    on.run_ready();
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
    on.write_piece(on.film, on.files, 0);
    on.hash(on.film, 0);
    on.remove(on.film);
    CHECK(on.run_dry());
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
}

// What is known to be good

TEST_CASE("in mode stream a good piece is shown, and libtorrent is told of it when it goes")
{
    for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
        CAPTURE(test::name(kind));
        judged_bench on(kind, test::as_told(mode::stream));
        auto const writes = on.write_film(2);
        CHECK_FALSE(on.has(2));
        auto const hash = on.hash_film(2);
        CHECK(on.run_until([&] { return on.has(2); }));
        on.run_ready();
        CHECK(hash->times == 0);
        for (auto const& one : writes) CHECK(one->times == 0);
        auto const read = on.read(on.film, 2, 0, block);
        auto const again = on.write_film(2); // it is withheld as well
        auto const found = on.storage();
        CHECK(lb_evict(found, 2, 3, nullptr) == LB_OK);
        lb_storage_close(found);
        on.run_ready();
        CHECK(hash->aborted());
        for (auto const& one : writes) {
            CHECK(one->aborted());
            CHECK(hash->order < one->order);
        }
        for (auto const& one : again) CHECK(one->aborted());
        CHECK(read->well());
        // It comes anew.
        on.write_film(2);
        on.hash_film(2);
        CHECK(on.run_until([&] { return on.has(2); }));
    }
}

TEST_CASE("in mode keep a good piece is shown, and libtorrent is told so")
{
    for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
        CAPTURE(test::name(kind));
        judged_bench on(kind, test::as_told(mode::keep));
        auto const writes = on.write_film(last);
        auto const hash = on.hash_film(last);
        CHECK(on.run_until([&] { return hash->times > 0; }));
        CHECK(hash->well());
        if (kind != test::kind::v2)
            CHECK(hash->v1 == on.torrent->hash_for_piece(lt::piece_index_t(last)));
        for (auto const& one : writes) CHECK(one->well());
        CHECK(on.has(last));
        on.clear_piece(on.film, last);
        on.run_ready();
        CHECK_FALSE(on.has(last));
    }
}

TEST_CASE("libtorrent is told of a bad piece at once: what it hashes to, and its writes before")
{
    for (auto const how : { mode::stream, mode::keep }) {
        for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
            CAPTURE(test::name(kind));
            judged_bench on(kind, test::as_told(how));
            auto const writes = on.write_film(2, 1);
            auto const hash = on.hash_film(2);
            CHECK(on.run_until([&] { return hash->times > 0; }));
            CHECK(hash->well());
            if (kind != test::kind::v2) {
                CHECK_FALSE(hash->v1.is_all_zeros());
                CHECK(hash->v1 != on.torrent->hash_for_piece(lt::piece_index_t(2)));
            }
            for (auto const& one : writes) {
                CHECK(one->well());
                CHECK(one->order < hash->order);
            }
            CHECK_FALSE(on.has(2));
            // As libtorrent does it then.
            on.clear_piece(on.film, 2);
            on.write_film(2);
            on.hash_film(2);
            CHECK(on.run_until([&] { return on.has(2); }));
        }
    }
}

TEST_CASE("a piece goes for another one when there is no room, and its hash and writes are aborted")
{
    judged_bench on(test::kind::v1, test::as_told(mode::stream, 1 * MiB));
    std::vector<std::shared_ptr<test::hashing>> hashes;
    for (int piece = 0; piece < last; ++piece) {
        on.write_film(piece);
        hashes.push_back(on.hash_film(piece));
        CHECK(on.run_until([&] { return on.has(piece) || hashes.back()->times; }));
        on.run_ready();
    }
    int gone = 0;
    for (int piece = 0; piece < last; ++piece) {
        auto const there = on.has(piece);
        CHECK(hashes[std::size_t(piece)]->times == (there ? 0 : 1));
        if (!there) CHECK(hashes[std::size_t(piece)]->aborted());
        gone += there ? 0 : 1;
    }
    CHECK(gone > 0);
    CHECK(gone < last);
}

TEST_CASE("a piece whose hash comes later is judged then, whatever its handler does")
{
    auto const& source = test::shared_film(film_size);
    auto const info = test::make_torrent(source, piece_length, test::kind::v1);
    lt::add_torrent_params magnet;
    magnet.info_hashes = info->info_hashes();
    test::owner const owner(std::move(magnet));
    bench on;
    auto const film = on.add(info->files(), info->info_hashes().v1, owner.torrent());
    std::vector<std::shared_ptr<test::hashing>> hashes;
    for (auto const piece : { 0, 1, 2 }) {
        on.write_piece(film, on.files, piece, 99); // not the film's
        // Whichever is told first takes the others with it.
        hashes.push_back(on.hash(film, piece, disk_interface::v1_hash, 0, [&] {
            for (auto const other : { 0, 1, 2 }) on.clear_piece(film, other);
        }));
    }
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    on.run_ready();
    for (auto const& one : hashes) CHECK(one->times == 0);
    CHECK(owner.handle().set_metadata(info->info_section()));
    CHECK(on.run_until([&] {
        return std::all_of(
            hashes.begin(), hashes.end(), [](auto const& one) { return one->times; });
    }));
}

// What is wanted

TEST_CASE("on demand, blocks that nobody wants are given up, and those that a player wants are not")
{
    auto config = test::as_told(mode::stream);
    config.on_demand = true;
    judged_bench on(test::kind::v1, config);
    auto const unwanted = on.write_film(7);
    on.run_ready();
    for (auto const& one : unwanted) CHECK(one->aborted());

    lb_player_options options{ };
    options.position = 7 * piece_length;
    options.ahead_bytes = piece_length;
    lb_player player = 0;
    auto const storage = on.storage();
    REQUIRE(lb_player_open(storage, &options, &player) == LB_OK);
    lb_storage_close(storage);
    std::uint8_t const* data = nullptr;
    std::size_t length = 0;
    REQUIRE(lb_player_next(player, 0, &data, &length) == LB_PENDING);
    on.run_ticks();
    auto const wanted = on.write_film(7);
    on.hash_film(7);
    CHECK(on.run_until([&] { return on.has(7); }));
    for (auto const& one : wanted) CHECK(one->times == 0);
    REQUIRE(lb_player_next(player, 0, &data, &length) == LB_OK);
    CHECK(length == piece_length);
    lb_release(data);
    lb_player_close(player);
}
