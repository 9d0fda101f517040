#include "viewer.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <lookbehind/libtorrent.hpp>

namespace test {

namespace {

void must(lb_status status, char const* what)
{
    if (status == LB_OK) return;
    std::array<char, 512> why{ };
    lb_last_error(why.data(), why.size());
    throw std::runtime_error(std::string(what) + ": " + lb_status_name(status) + ": " + why.data());
}

} // namespace

stored::stored(leecher& who, lt::torrent_info const& torrent)
    : torrent_(torrent)
{
    who.wait("the storage", std::chrono::seconds(5), [&] {
        storage_ = lookbehind::storage(torrent.info_hashes());
        return storage_ != 0;
    });
    must(lb_storage_cache(storage_, &cache_), "lb_storage_cache");
}

stored::~stored()
{
    lb_storage_close(storage_);
    lb_cache_close(cache_);
}

lb_cache_statistics stored::stats() const
{
    lb_cache_statistics stats{ };
    must(lb_cache_stats(cache_, &stats), "lb_cache_stats");
    return stats;
}

bool stored::has(int piece) const
{
    bool is_here = false;
    must(lb_contains(storage_, std::uint32_t(piece), &is_here), "lb_contains");
    return is_here;
}

std::vector<int> stored::wrong_pieces(film const& expected) const
{
    std::vector<int> wrong;
    for (int piece = 0; piece < torrent_.num_pieces(); ++piece) {
        std::uint8_t const* data = nullptr;
        std::size_t length = 0;
        auto const status = lb_get(storage_, std::uint32_t(piece), 0, &data, &length);
        auto const right = status == LB_OK
            && std::int64_t(length) == torrent_.piece_size(lt::piece_index_t(piece))
            && !expected.first_wrong(torrent_.files(), lt::piece_index_t(piece), 0,
                { reinterpret_cast<char const*>(data), std::ptrdiff_t(length) });
        if (status == LB_OK) lb_release(data);
        if (!right) wrong.push_back(piece);
    }
    return wrong;
}

viewer::viewer(leecher& who, stored const& in, film const& expected,
    lt::torrent_info const& torrent, std::uint64_t ahead)
    : who_(who)
    , film_(expected)
    , torrent_(torrent)
{
    lb_player_options options{ };
    options.ahead_bytes = ahead;
    options.behind_bytes = 1; // which takes its part of what windows may take together
    must(lb_player_open(in.storage(), &options, &player_), "lb_player_open");
}

viewer::~viewer()
{
    lb_player_close(player_);
}

void viewer::seek(std::int64_t position)
{
    must(lb_player_seek(player_, std::uint64_t(position)), "lb_player_seek");
    position_ = position;
}

clock::duration viewer::play(std::int64_t bytes, clock::duration patience)
{
    auto const start = clock::now();
    auto const end = std::min(position_ + bytes, torrent_.total_size());
    clock::duration first{ };
    auto last = start;
    auto started = false;
    while (position_ < end) {
        std::uint8_t const* data = nullptr;
        std::size_t length = 0;
        auto const status = lb_player_next(player_, 20, &data, &length);
        who_.drain();
        if (status == LB_PENDING) {
            if (clock::now() - last > patient(patience)) {
                throw timed_out("a player waited at byte " + std::to_string(position_) + ", piece "
                    + std::to_string(position_ / torrent_.piece_length()) + ": "
                    + who_.seen().summary() + who_.downloads());
            }
            continue;
        }
        must(status, "lb_player_next");
        last = clock::now();
        if (!started) first = last - start;
        started = true;
        auto const wrong = film_.first_wrong(torrent_.files(), lt::piece_index_t(0), position_,
            { reinterpret_cast<char const*>(data), std::ptrdiff_t(length) });
        lb_release(data);
        if (wrong) {
            throw std::runtime_error("wrong byte at " + std::to_string(position_ + *wrong));
        }
        position_ += std::int64_t(length);
    }
    return first;
}

} // namespace test
