// Each fault of the disk that this one replaces, as a test that this one does not have it: a global
// pointer to a disk that is gone, another instance behind it than the session's, a global size and
// a flag without protection, callbacks that outlive their disk, one lock for all.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <libtorrent/hasher.hpp>

#include "support/bystanders.hpp"
#include "support/scene.hpp"
#include "support/workbench.hpp"

using namespace std::chrono_literals;
using lookbehind::mode;
using test::some_bytes;

namespace {

using test::MiB;

constexpr int block = lt::default_block_size;
constexpr int piece_length = 4 * block;
constexpr int pieces = 20;

std::vector<lt::info_hash_t> const both{ test::hash_named("one"), test::hash_named("other") };

// A disk with two torrents, at the indices 0 and 1.
struct bench final : test::workbench {
    lt::file_storage const files = test::layout(pieces * piece_length, piece_length);
    lt::storage_index_t const one;
    lt::storage_index_t const other;

    explicit bench(lookbehind::config const& config = test::as_told(mode::stream))
        : workbench(config)
        , one(add(files, test::hash_named("one").v1))
        , other(add(files, test::hash_named("other").v1))
    {
    }
    ~bench() override { CHECK(finish() == ""); }
};

// Where calls of the library by the adapter can be parked: the linker puts `__wrap_lb_...` in the
// place of `lb_...` (see CMakeLists.txt).
struct {
    std::mutex mutex;
    std::condition_variable changed;
    std::string name;
    bool parked = false;
    bool open = false;
} gate;

void pass(char const* const name)
{
    std::unique_lock<std::mutex> lock(gate.mutex);
    if (gate.name != name) return;
    gate.name.clear();
    gate.parked = true;
    gate.changed.notify_all();
    gate.changed.wait(lock, [] { return gate.open; });
}

// The next call of that function of the library waits within it, until `release`.
void park(char const* const name)
{
    std::lock_guard<std::mutex> const lock(gate.mutex);
    gate.name = name;
    gate.parked = false;
    gate.open = false;
}

void wait_parked()
{
    std::unique_lock<std::mutex> lock(gate.mutex);
    gate.changed.wait(lock, [] { return gate.parked; });
}

void release()
{
    std::lock_guard<std::mutex> const lock(gate.mutex);
    gate.open = true;
    gate.changed.notify_all();
}

// Runs `call` on a thread of its own, parked within that function of the library, and `meanwhile`
// on this one: it hangs if it needs what the other one holds.
void while_parked(char const* const within, std::function<void()> const& call,
    std::function<void()> const& meanwhile)
{
    test::watchdog const guard(std::string("what does not wait for a call within ") + within, 30s);
    park(within);
    std::thread thread(call);
    wait_parked();
    meanwhile();
    release();
    thread.join();
}

} // namespace

#define PARKABLE(function, parameters, arguments)                                                  \
    extern "C" lb_status __real_##function parameters;                                             \
    extern "C" lb_status __wrap_##function parameters;                                             \
    extern "C" lb_status __wrap_##function parameters                                              \
    {                                                                                              \
        pass(#function);                                                                           \
        return __real_##function arguments;                                                        \
    }

PARKABLE(lb_storage_add,
    (lb_cache cache, std::uint64_t total, std::uint32_t piece, lb_storage_options const* options,
        lb_storage* storage),
    (cache, total, piece, options, storage))
PARKABLE(lb_storage_remove, (lb_storage storage), (storage))
PARKABLE(lb_write,
    (lb_storage storage, std::uint32_t piece, std::uint32_t offset, std::uint8_t const* data,
        std::size_t length, lb_progress* progress, std::uint64_t* written),
    (storage, piece, offset, data, length, progress, written))
PARKABLE(lb_read_back,
    (lb_storage storage, std::uint32_t piece, std::uint32_t offset, std::uint32_t length,
        std::uint8_t const** data),
    (storage, piece, offset, length, data))
PARKABLE(lb_evict, (lb_storage storage, std::uint32_t first, std::uint32_t end, std::size_t* count),
    (storage, first, end, count))
PARKABLE(lb_release, (void const* data), (data))
PARKABLE(lb_lookbehind_set, (lb_storage storage, std::uint32_t const* named, std::size_t count),
    (storage, named, count))
PARKABLE(lb_lookbehind_clear, (lb_storage storage), (storage))
PARKABLE(lb_lookbehind_available, (lb_storage storage, std::uint32_t piece, bool* available),
    (storage, piece, available))
PARKABLE(
    lb_lookbehind_stats, (lb_storage storage, lb_lookbehind_statistics* stats), (storage, stats))

// 1 and 5: the global instance

TEST_CASE("use after free of the global instance: disks go while other threads call")
{
    test::callers const threads(both);
    for (int round = 0; round < test::rounds(60); ++round) {
        CAPTURE(round);
        bench on;
        on.write_piece(on.one, on.files, round % pieces);
        on.hash(on.one, round % pieces);
        on.run_ready();
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("one"), { 1 }));
        on.remove(on.one);
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(test::hash_named("one"), { 1 }));
        on.add(on.files, test::hash_named("one").v1);
        on.run_ready();
    }
    CHECK(threads.calls() > 0);
}

TEST_CASE("use after free of the global instance: of two disks either may go first")
{
    for (auto const last_goes_first : { true, false }) {
        auto first = std::make_unique<bench>();
        auto last = std::make_unique<bench>();
        auto const ours = first->add(first->files, test::hash_named("of the first").v1);
        (last_goes_first ? last : first).reset();
        CHECK(lookbehind::memory_disk_set_lookbehind(0, { 1 }));
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("one"), { 1 }));
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("of the first"), { 1 })
            == last_goes_first);
        CHECK(lookbehind::memory_disk_set_lookbehind(int(std::uint32_t(ours)), { 1 })
            == last_goes_first);
        first.reset();
        last.reset();
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(0, { 1 }));
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(test::hash_named("one"), { 1 }));
    }
}

TEST_CASE("another instance behind the functions: what they say is what the session has")
{
    test::scene on(4 * MiB, 64 << 10, test::kind::v1, 1, test::keeping(8 * MiB));
    on.who.wait_finished();
    for (int piece = 0; piece < on.torrent->num_pieces(); ++piece) {
        CHECK(lookbehind::memory_disk_is_lookbehind_available(0, piece));
        CHECK(lookbehind::memory_disk_is_lookbehind_available(on.torrent->info_hashes(), piece));
    }
    int available = 0;
    int named = 0;
    std::int64_t memory = 0;
    CHECK(lookbehind::memory_disk_set_lookbehind(0, { 1, 2, 3 }));
    CHECK(lookbehind::memory_disk_get_lookbehind_stats(0, available, named, memory));
    CHECK(available == 3);
    CHECK(memory >= 3 * (64 << 10));
}

TEST_CASE("a raw pointer to the disk: handles, players and pins are good after it")
{
    auto const pins = test::pins();
    auto on = std::make_unique<bench>();
    auto const storage = lookbehind::storage(test::hash_named("one"));
    auto const cache = lookbehind::cache(test::hash_named("one"));
    lb_player player = 0;
    REQUIRE(lb_player_open(storage, nullptr, &player) == LB_OK);
    on->write_piece(on->one, on->files, 0);
    std::uint8_t const* pinned = nullptr;
    REQUIRE(lb_read_back(storage, 0, 5, 3 * block, &pinned) == LB_OK);
    // Waits until the disk goes.
    std::thread reader([&] {
        std::uint8_t const* data = nullptr;
        std::size_t length = 0;
        auto const status = lb_player_next(player, -1, &data, &length);
        CHECK((status == LB_REMOVED || status == LB_UNKNOWN_STORAGE || status == LB_ABORTED));
    });
    on.reset();
    reader.join();
    CHECK(
        std::string(reinterpret_cast<char const*>(pinned), 3 * block) == some_bytes(5, 3 * block));
    CHECK(lb_release(pinned) == LB_OK);
    std::uint8_t const byte = 0;
    CHECK(lb_write(storage, 1, 0, &byte, 1, nullptr, nullptr) == LB_ABORTED);
    CHECK(lb_get(storage, 0, 0, &pinned, nullptr) != LB_OK);
    lb_cache_statistics stats{ };
    CHECK(lb_cache_stats(cache, &stats) == LB_OK);
    CHECK(stats.storages == 0);
    CHECK(lb_player_close(player) == LB_OK);
    CHECK(lb_storage_close(storage) == LB_OK);
    CHECK(lb_cache_close(cache) == LB_OK);
    CHECK(test::pins() == pins);
}

namespace {

// Runs behind the destructors of all static objects, because it is registered before them.
void call_at_the_end()
{
    if (std::getenv("CALL_AT_THE_END") == nullptr) return;
    auto const found = lookbehind::memory_disk_set_lookbehind(0, { 1 })
        && lookbehind::memory_disk_clear_lookbehind(test::hash_named("other"));
    ::_exit(found ? 0 : 1);
}

__attribute__((constructor(101))) void register_call()
{
    std::atexit(call_at_the_end);
}

} // namespace

TEST_CASE("use after free of the global instance: threads call on while the process ends")
{
    auto const pid = ::fork(); // no other thread lives
    if (pid == 0) {
        ::setenv("CALL_AT_THE_END", "1", 1);
        new bench; // not destroyed, as a session that is leaked
        auto* const threads = new test::callers(both);
        while (threads->calls() == 0) std::this_thread::yield();
        std::exit(2);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

// 2: the global size

TEST_CASE("an unprotected global size: disks that are made at once have each their own")
{
    std::vector<std::thread> threads;
    std::atomic<int> wrong{ 0 };
    for (int number = 1; number <= 4; ++number) {
        threads.emplace_back([&, number] {
            for (int round = 0; round < test::rounds(20); ++round) {
                lt::session_params params;
                auto const size = number * MiB + round * 4096;
                lookbehind::set_memory_disk_io(params, size);
                lt::io_context context;
                lt::counters counters;
                auto const disk = params.disk_io_constructor(context, params.settings, counters);
                auto const hash = test::hash_named("sized " + std::to_string(number));
                auto const files = test::layout(pieces * piece_length, piece_length);
                lt::aux::vector<lt::download_priority_t, lt::file_index_t> const priorities;
                auto const holder = disk->new_torrent(
                    { files, nullptr, "", lt::storage_mode_sparse, priorities, hash.v1 }, nullptr);
                auto const cache = lookbehind::cache(hash);
                std::uint64_t budget = 0;
                if (lb_cache_budget(cache, &budget) != LB_OK || std::int64_t(budget) != size)
                    ++wrong;
                lb_cache_close(cache);
            }
        });
    }
    for (auto& one : threads) one.join();
    CHECK(wrong == 0);
}

// 3: m_abort

TEST_CASE(
    "an abort that is not seen, or waits: it returns while hashing, and what comes later ends")
{
    test::callers const threads(both);
    bench on;
    on.write_piece(on.one, on.files, 0);
    std::vector<std::shared_ptr<test::hashing>> hashes;
    {
        test::watchdog const guard("abort(false) while a thread hashes", 30s);
        park("lb_release"); // where a hashing thread ends its work
        hashes.push_back(on.hash2(on.one, 0, 0));
        wait_parked();
        auto const writes = on.write_piece(on.one, on.files, 1);
        on.call([](auto& disk) { disk.abort(false); });
        auto const late = on.write(on.one, 2, 0, some_bytes(0, block));
        on.run_ready();
        for (auto const& one : writes) CHECK(one->aborted());
        CHECK(late->aborted());
        CHECK(hashes[0]->times == 0);
        release();
    }
    for (int piece = 0; piece < pieces; ++piece) hashes.push_back(on.hash(on.one, piece));
    CHECK(on.run_dry());
    for (auto const& one : hashes) CHECK(one->times == 1);
}

// 4: callbacks

TEST_CASE("callbacks that outlive the disk run, and find all they need")
{
    auto const pins = test::pins();
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(test::as_told(how));
        on.write_piece(on.one, on.files, 0);
        auto const read = on.read(on.one, 0, 1, 3 * block);
        auto const missing = on.read(on.one, 1, 0, block);
        auto const hash = on.hash(on.one, 0);
        auto const unhashed = on.hash(on.one, 1);
        auto const hash2 = on.hash2(on.one, 0, block);
        auto const refused = on.write(on.one, -1, 0, some_bytes(0, block));
        auto const checked = on.check(on.other);
        auto const cleared = on.clear_piece(on.other, 0);
        auto const stopped = on.stop(on.one);
        CHECK(on.finish_late() == "");
        CHECK(read->bytes() == some_bytes(1, 3 * block));
        CHECK(missing->error);
        CHECK(hash->times == 1);
        CHECK(unhashed->aborted());
        CHECK(hash2->well());
        CHECK(refused->aborted());
        CHECK(checked->well());
        CHECK(cleared->well());
        CHECK(stopped->well());
        read->buffer.reset();
    }
    CHECK(test::pins() == pins);
}

TEST_CASE("callbacks that never run let go of what they hold")
{
    auto const pins = test::pins();
    for (auto const how : { mode::stream, mode::keep }) {
        test::workbench on(test::as_told(how));
        auto const files = test::layout(pieces * piece_length, piece_length);
        auto const film = on.add(files, test::hash_named("one").v1);
        on.write_piece(film, files, 0);
        std::weak_ptr<test::answer> const read = on.read(film, 0, 0, block);
        on.hash(film, 0);
        on.hash2(film, 0, 0);
        on.check(film);
        on.remove(film);
        on.destroy_disk();
        on.destroy_context();
        on.forget();
        CHECK(read.expired());
        CHECK(test::pins() == pins);
    }
}

// 6: one lock for all

// That of the list of sessions is held while a torrent is looked up in it, and not while a call
// works.
TEST_CASE("lock contention: a call that works makes no other wait")
{
    bench on;
    auto const storage = lookbehind::storage(test::hash_named("one"));
    auto const meanwhile = [&] {
        test::call_all(0);
        test::call_all(1);
        test::call_all(test::hash_named("one"));
        test::call_all(test::hash_named("other"));
        lb_cache_close(lookbehind::cache(test::hash_named("other")));
        on.write_piece(on.other, on.files, 0);
        on.read(on.other, 0, 0, block);
        on.hash(on.other, 0);
        on.remove(on.add(on.files, test::hash_named("a third").v1));
        on.clear_piece(on.other, 0);
        on.run_ready();
        bench const another;
    };
    struct {
        char const* within;
        std::function<void()> call;
    } const calls[] = {
        { "lb_lookbehind_set", [] { lookbehind::memory_disk_set_lookbehind(0, { 1 }); } },
        { "lb_lookbehind_set",
            [] { lookbehind::memory_disk_set_lookbehind(test::hash_named("one"), { 1 }); } },
        { "lb_lookbehind_clear", [] { lookbehind::memory_disk_clear_lookbehind(0); } },
        { "lb_lookbehind_available",
            [] { lookbehind::memory_disk_is_lookbehind_available(0, 1); } },
        { "lb_lookbehind_stats",
            [] {
                int available = 0;
                int named = 0;
                std::int64_t memory = 0;
                lookbehind::memory_disk_get_lookbehind_stats(0, available, named, memory);
            } },
        // Evictions of other threads.
        { "lb_evict", [&] { lb_evict(storage, 0, pieces, nullptr); } },
    };
    for (auto const& one : calls) {
        CAPTURE(one.within);
        while_parked(one.within, one.call, meanwhile);
    }
    lb_storage_close(storage);
}

TEST_CASE("lock contention: libtorrent's thread at work makes no caller wait")
{
    bench on;
    auto const meanwhile = [&] {
        test::call_all(0);
        test::call_all(1);
        test::call_all(test::hash_named("one"));
        test::call_all(test::hash_named("other"));
        bench const another;
    };
    auto extra = on.one;
    struct {
        char const* within;
        std::function<void()> call;
    } const calls[] = {
        { "lb_write", [&] { on.write_piece(on.one, on.files, 0); } },
        { "lb_read_back", [&] { on.read(on.one, 0, 0, block)->buffer.reset(); } },
        { "lb_storage_add", [&] { extra = on.add(on.files, test::hash_named("extra").v1); } },
        { "lb_storage_remove", [&] { on.remove(extra); } },
        { "lb_evict", [&] { on.clear_piece(on.one, 0); } },
    };
    for (auto const& one : calls) {
        CAPTURE(one.within);
        while_parked(one.within, one.call, meanwhile);
        on.run_ready();
    }
}
