// What any thread may call.
#include <lookbehind/libtorrent.hpp>

#include "living.hpp"

namespace lookbehind {

namespace {

// A handle that is closed where it is.
struct borrowed {
    lb_storage storage;

    explicit borrowed(lb_storage const found)
        : storage(found)
    {
    }
    borrowed(borrowed const&) = delete;
    borrowed& operator=(borrowed const&) = delete;
    ~borrowed()
    {
        if (storage != 0) lb_storage_close(storage);
    }
};

bool set_lookbehind(borrowed const& of, std::vector<int> const& pieces)
{
    std::vector<std::uint32_t> named;
    for (auto const piece : pieces) {
        if (piece >= 0) named.push_back(std::uint32_t(piece));
    }
    return lb_lookbehind_set(of.storage, named.data(), named.size()) == LB_OK;
}

bool clear_lookbehind(borrowed const& of)
{
    return lb_lookbehind_clear(of.storage) == LB_OK;
}

bool is_available(borrowed const& of, int const piece)
{
    bool available = false;
    if (piece < 0) return false;
    lb_lookbehind_available(of.storage, std::uint32_t(piece), &available);
    return available;
}

bool get_stats(borrowed const& of, int& available, int& protected_count, std::int64_t& memory)
{
    lb_lookbehind_statistics stats{ };
    auto const found = lb_lookbehind_stats(of.storage, &stats) == LB_OK;
    available = int(stats.available);
    protected_count = int(stats.named);
    memory = std::int64_t(stats.bytes);
    return found;
}

} // namespace

lb_storage storage(lt::info_hash_t const& torrent)
{
    return detail::find(torrent);
}

lb_cache cache(lt::info_hash_t const& torrent)
{
    borrowed const of(detail::find(torrent));
    lb_cache found = 0;
    return lb_storage_cache(of.storage, &found) == LB_OK ? found : 0;
}

void set_memory_disk_io(lt::session_params& params, std::int64_t const size)
{
    config config;
    config.budget = size;
    config.on_demand = false;
    set_disk_io(params, config);
}

bool memory_disk_set_lookbehind(int const storage_index, std::vector<int> const& pieces)
{
    return set_lookbehind(borrowed(detail::find(storage_index)), pieces);
}

bool memory_disk_set_lookbehind(lt::info_hash_t const& torrent, std::vector<int> const& pieces)
{
    return set_lookbehind(borrowed(detail::find(torrent)), pieces);
}

bool memory_disk_clear_lookbehind(int const storage_index)
{
    return clear_lookbehind(borrowed(detail::find(storage_index)));
}

bool memory_disk_clear_lookbehind(lt::info_hash_t const& torrent)
{
    return clear_lookbehind(borrowed(detail::find(torrent)));
}

bool memory_disk_is_lookbehind_available(int const storage_index, int const piece)
{
    return is_available(borrowed(detail::find(storage_index)), piece);
}

bool memory_disk_is_lookbehind_available(lt::info_hash_t const& torrent, int const piece)
{
    return is_available(borrowed(detail::find(torrent)), piece);
}

bool memory_disk_get_lookbehind_stats(
    int const storage_index, int& available, int& protected_count, std::int64_t& memory)
{
    return get_stats(borrowed(detail::find(storage_index)), available, protected_count, memory);
}

bool memory_disk_get_lookbehind_stats(
    lt::info_hash_t const& torrent, int& available, int& protected_count, std::int64_t& memory)
{
    return get_stats(borrowed(detail::find(torrent)), available, protected_count, memory);
}

} // namespace lookbehind
