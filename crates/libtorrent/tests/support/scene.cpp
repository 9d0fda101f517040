#include "scene.hpp"

#include <algorithm>
#include <cstdlib>
#include <random>

namespace test {

sizes sizes::get()
{
    auto const* const full = std::getenv("TEST_FULL");
    if (full != nullptr && *full == '1') return { 512 * MiB, 1 << 20, 64 * MiB, true };
    return { 48 * MiB, 256 << 10, 8 * MiB, false };
}

lookbehind::config streaming(std::int64_t budget)
{
    lookbehind::config config;
    config.budget = budget;
    return config;
}

lookbehind::config keeping(std::int64_t budget)
{
    auto config = streaming(budget);
    config.mode = lookbehind::mode::keep;
    return config;
}

leecher_options with(lookbehind::config const& config)
{
    leecher_options options;
    lt::session_params params(options.settings);
    lookbehind::set_disk_io(params, config);
    options.settings = std::move(params.settings);
    options.disk = std::move(params.disk_io_constructor);
    return options;
}

scene::scene(std::int64_t size, int piece, kind how, int count, lookbehind::config const& config)
    : scene(shared_film(size), piece, how, count, config)
{
}

scene::scene(film const& film, int piece, kind how, int count, lookbehind::config const& config)
    : whole(film)
    , torrent(make_torrent(whole, piece, how))
    , who(torrent, with(config))
    , in(who, *torrent)
{
    for (int one = 0; one < count; ++one) {
        // As others have it: they leave who wants nothing.
        seeder_options options;
        options.leaves = true;
        seeders.push_back(std::make_unique<seeder>(whole, torrent, options));
        who.connect(seeders.back()->port());
    }
}

std::string trouble(leecher const& who)
{
    return who.seen().clean() ? std::string() : who.seen().summary();
}

std::uint64_t random_seed()
{
    auto const* const given = std::getenv("TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{ }();
}

int rounds(int usual)
{
    auto const* const given = std::getenv("TEST_ROUNDS");
    return given != nullptr && *given != 0 ? std::max(1, std::atoi(given)) : usual;
}

} // namespace test
