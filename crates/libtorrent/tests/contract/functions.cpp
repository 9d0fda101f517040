// What sets a session up, and the functions of the disk that this one replaces.
#include "bench.hpp"

using namespace contract;

// The functions of the disk that this one replaces

TEST_CASE("in mode stream connections are kept, and pieces picked by priority from the start")
{
    using set = lt::settings_pack;
    for (auto const how : { mode::stream, mode::keep }) {
        lt::session_params params;
        lookbehind::set_disk_io(params, test::as_told(how));
        CHECK(params.settings.get_bool(set::close_redundant_connections) == (how == mode::keep));
        CHECK(
            (params.settings.get_int(set::initial_picker_threshold) == 0) == (how == mode::stream));
        CHECK(params.disk_io_constructor);
        params.settings.set_bool(set::disable_hash_checks, true);
        lookbehind::set_disk_io(params, test::as_told(how));
        CHECK(params.settings.get_bool(set::disable_hash_checks) == (how == mode::keep));
    }
}

TEST_CASE("set_memory_disk_io makes a disk of that size, and keeps connections")
{
    lt::session_params params;
    params.settings.set_bool(lt::settings_pack::close_redundant_connections, true);
    lookbehind::set_memory_disk_io(params, 5 * MiB);
    CHECK_FALSE(params.settings.get_bool(lt::settings_pack::close_redundant_connections));
    lt::io_context context;
    lt::counters counters;
    auto const disk = params.disk_io_constructor(context, params.settings, counters);
    auto const files = test::layout(film_size, piece_length);
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> const priorities;
    auto const holder = disk->new_torrent(
        { files, nullptr, "", lt::storage_mode_sparse, priorities, test::hash_named("sized").v1 },
        nullptr);
    auto const cache = lookbehind::cache(test::hash_named("sized"));
    std::uint64_t budget = 0;
    CHECK(lb_cache_budget(cache, &budget) == LB_OK);
    CHECK(budget == 5 * MiB);
    lb_cache_close(cache);
}

TEST_CASE("a disk of no size, or of more than can be counted, says why there is none")
{
    for (auto const budget : { std::int64_t(0), std::int64_t(-1), std::int64_t(100),
             std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max() }) {
        lt::io_context context;
        lt::settings_pack settings;
        lt::counters counters;
        auto const make = lookbehind::disk_io_constructor(test::as_told(mode::stream, budget));
        CHECK_THROWS_WITH_AS(make(context, settings, counters), doctest::Contains("lookbehind"),
            std::invalid_argument);
    }
    CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(0, { 1 })); // and none is left behind
}

TEST_CASE("look-behind is named, found, counted and cleared, by index and by hash")
{
    judged_bench on(test::kind::hybrid, test::as_told(mode::stream));
    auto const index = int(std::uint32_t(on.film));
    auto const hashes = on.torrent->info_hashes();
    for (auto const& one : { hashes, lt::info_hash_t(hashes.v1), lt::info_hash_t(hashes.v2) }) {
        int available = -1;
        int named = -1;
        std::int64_t memory = -1;
        CHECK(lookbehind::memory_disk_set_lookbehind(one, { 3, -1, 4, -70000 }));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(one, available, named, memory));
        CHECK(available == 0);
        CHECK(named == 2);
        CHECK(memory == 0);
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(one, 3));

        on.write_film(3);
        on.hash_film(3);
        CHECK(on.run_until([&] { return on.has(3); }));
        CHECK(lookbehind::memory_disk_is_lookbehind_available(index, 3));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 4));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, -3));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 70000));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(available == 1);
        CHECK(named == 2);
        CHECK(memory >= piece_length);

        CHECK(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(one, available, named, memory));
        CHECK(named == 0);
        CHECK(lookbehind::memory_disk_set_lookbehind(index, { }));
        on.clear_piece(on.film, 3);
        on.run_ready();
    }
}

TEST_CASE("of a torrent that there is not, the functions say so")
{
    bench on;
    int available = -1;
    int named = -1;
    std::int64_t memory = -1;
    for (auto const index :
        { 1, -1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max() }) {
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(index, { 1 }));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 1));
        CHECK_FALSE(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(available == 0);
        CHECK(named == 0);
        CHECK(memory == 0);
    }
    for (auto const& hash : { test::hash_named("nobody's"), lt::info_hash_t() }) {
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(hash, { 1 }));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(hash));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(hash, 1));
        CHECK_FALSE(lookbehind::memory_disk_get_lookbehind_stats(hash, available, named, memory));
        CHECK(lookbehind::storage(hash) == 0);
        CHECK(lookbehind::cache(hash) == 0);
    }
}

TEST_CASE("an index means the disk that was made last, and a hash any")
{
    bench first;
    {
        bench second;
        auto const extra = second.add(second.files, test::hash_named("extra").v1);
        auto const index = int(std::uint32_t(extra));
        CHECK(lookbehind::memory_disk_set_lookbehind(index, { 1, 2, 3 }));
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("extra"), { 1, 2 }));
        auto const only_first = first.add(first.files, test::hash_named("only in the first").v1);
        CHECK(only_first == extra);
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("only in the first"), { 1 }));
        int available = 0;
        int named = 0;
        std::int64_t memory = 0;
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(named == 2);
        second.remove(extra);
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(test::hash_named("extra")));
    }
    // The second has gone: the first is the last.
    int available = 0;
    int named = 0;
    std::int64_t memory = 0;
    CHECK(lookbehind::memory_disk_get_lookbehind_stats(1, available, named, memory));
    CHECK(named == 1);
}
