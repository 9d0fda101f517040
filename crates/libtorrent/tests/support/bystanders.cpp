#include "bystanders.hpp"

#include <chrono>
#include <random>

#include <lookbehind/libtorrent.hpp>

namespace test {

using namespace std::chrono_literals;

namespace {

template <typename Torrent> void call(Torrent const& torrent)
{
    int available = 0;
    int named = 0;
    std::int64_t memory = 0;
    lookbehind::memory_disk_set_lookbehind(torrent, { 1, 2, 3 });
    lookbehind::memory_disk_is_lookbehind_available(torrent, 2);
    lookbehind::memory_disk_get_lookbehind_stats(torrent, available, named, memory);
    lookbehind::memory_disk_clear_lookbehind(torrent);
}

} // namespace

void call_all(int const storage_index)
{
    call<int>(storage_index);
}
void call_all(lt::info_hash_t const& torrent)
{
    call<lt::info_hash_t>(torrent);
}

callers::callers(std::vector<lt::info_hash_t> hashes, int const threads)
    : hashes_(std::move(hashes))
{
    for (int number = 0; number < threads; ++number) {
        threads_.emplace_back([this, number] {
            // Not without a pause: there is other work for so few cores.
            for (auto at = std::size_t(number); !over_; ++at, std::this_thread::sleep_for(100us))
                call(at);
        });
    }
}

callers::~callers()
{
    over_ = true;
    for (auto& one : threads_) one.join();
}

void callers::call(std::size_t const number)
{
    call_all(int(number % 2));
    auto const& hash = hashes_[number % hashes_.size()];
    call_all(hash);
    lb_cache_statistics stats{ };
    auto const cache = lookbehind::cache(hash);
    lb_cache_stats(cache, &stats);
    lb_cache_close(cache);
    ++calls_;
}

spectator::spectator(
    film const& expected, lt::torrent_info const& torrent, std::uint64_t const seed)
    : film_(expected)
    , torrent_(torrent)
    , thread_([this, seed] { play(seed); })
{
}

spectator::~spectator()
{
    leave();
}

void spectator::leave()
{
    over_ = true;
    if (thread_.joinable()) thread_.join();
}

void spectator::play(std::uint64_t const seed)
{
    std::mt19937_64 random(seed);
    auto const total = torrent_.total_size();
    while (!over_) {
        auto const storage = lookbehind::storage(torrent_.info_hashes());
        lb_player_options options{ };
        options.ahead_bytes = 1 << 20;
        options.behind_bytes = 1; // else that takes its part of the room
        lb_player player = 0;
        auto const opened = lb_player_open(storage, &options, &player);
        lb_storage_close(storage);
        if (opened != LB_OK) {
            std::this_thread::sleep_for(1ms);
            continue;
        }
        std::int64_t position = 0;
        while (!over_) {
            if (random() % 16 == 0) {
                position = std::int64_t(random() % std::uint64_t(total));
                lb_player_seek(player, std::uint64_t(position));
            }
            std::uint8_t const* data = nullptr;
            std::size_t length = 0;
            auto const status = lb_player_next(player, 10, &data, &length);
            if (status == LB_PENDING || status == LB_END) continue;
            if (status != LB_OK) {
                // The torrent, or its session, has gone.
                if (status != LB_REMOVED && status != LB_UNKNOWN_STORAGE && status != LB_ABORTED)
                    trouble_ = std::string("a player: ") + lb_status_name(status);
                break;
            }
            auto const wrong = film_.first_wrong(torrent_.files(), lt::piece_index_t(0), position,
                { reinterpret_cast<char const*>(data), std::ptrdiff_t(length) });
            lb_release(data);
            if (wrong) trouble_ = "a wrong byte at " + std::to_string(position + *wrong);
            position += std::int64_t(length);
            bytes_ += std::int64_t(length);
        }
        lb_player_close(player);
    }
}

} // namespace test
