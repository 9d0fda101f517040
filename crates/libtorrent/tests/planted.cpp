// Faults for a sanitizer to report, by which sanitize.sh knows that its silence means something.
// Each lies on another side: in the adapter, in the library, or between the two.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include <lookbehind.h>

#include "support/workbench.hpp"

namespace {

constexpr int block = lt::default_block_size;

struct bench : test::workbench {
    lt::file_storage const files = test::layout(16 * block, 4 * block);
    lt::storage_index_t const film;

    bench()
        : workbench(test::as_told(lookbehind::mode::keep, 4 << 20))
        , film(add(files, test::hash_named("film").v1))
    {
    }
};

// Reads a byte that the compiler does not know to be unused.
int look(char const* const at)
{
    return *static_cast<char const volatile*>(at);
}

// A buffer of the library's is read when it was given back, and its cache has gone.
int freed_buffer()
{
    auto on = std::make_unique<bench>();
    on->write_piece(on->film, on->files, 0);
    auto const read = on->read(on->film, 0, 0, block);
    on->run_ready();
    auto const* const bytes = read->buffer.data();
    read->buffer.reset();
    on.reset();
    return look(bytes);
}

// The disk is used when it has gone.
int freed_disk()
{
    bench on;
    auto* const disk = &on.disk();
    on.remove(on.film);
    on.destroy_disk();
    disk->abort(false);
    return 0;
}

// Calls both on two threads, again and again, until each has met the other: a sanitizer does not
// always remember what a thread did that has ended. The counting orders nothing.
template <typename One, typename Other> void at_once(One one, Other other)
{
    std::atomic<int> rounds{ 0 };
    std::atomic<bool> over{ false };
    std::thread thread([&] {
        while (!over.load(std::memory_order_relaxed)) {
            other();
            rounds.fetch_add(1, std::memory_order_relaxed);
        }
    });
    for (int own = 0; own < 1000 || rounds.load(std::memory_order_relaxed) < 1000; ++own) one();
    over.store(true, std::memory_order_relaxed);
    thread.join();
}

// The disk is used by two threads.
int race_in_the_adapter()
{
    bench on;
    at_once([&] { on.read(on.film, 0, 0, block); }, [&] { on.counter(lt::counters::num_jobs); });
    return 0;
}

// What is pinned is written to, which the library reads.
int race_with_the_library()
{
    bench on;
    on.write_piece(on.film, on.files, 0);
    auto const read = on.read(on.film, 0, 0, block);
    on.run_ready();
    auto const storage = lookbehind::storage(test::hash_named("film"));
    lb_commit(storage, 0);
    lb_player player = 0;
    lb_player_open(storage, nullptr, &player);
    auto* const pinned = static_cast<char volatile*>(read->buffer.data() + 50);
    at_once([&] { *pinned = 1; },
        [&] {
            std::uint8_t copy[100];
            std::size_t count = 0;
            lb_player_seek(player, 0);
            lb_player_read(player, copy, sizeof copy, 0, &count);
        });
    lb_player_close(player);
    lb_storage_close(storage);
    return 0;
}

} // namespace

int main(int const count, char** const arguments)
{
    struct {
        char const* name;
        int (*commit)();
    } const faults[] = { { "freed_buffer", freed_buffer }, { "freed_disk", freed_disk },
        { "race_in_the_adapter", race_in_the_adapter },
        { "race_with_the_library", race_with_the_library } };
    for (auto const& one : faults) {
        if (count == 2 && std::strcmp(arguments[1], one.name) == 0) {
            one.commit();
            std::puts("nobody saw it");
            return 0;
        }
    }
    std::fputs("usage: planted FAULT\n", stderr);
    return 2;
}
