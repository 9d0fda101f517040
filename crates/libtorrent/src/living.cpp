#include "living.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

namespace lookbehind::detail {

namespace {

// A session, and what it has.
struct entry {
    core const* owner;
    lb_cache cache;
    struct torrent {
        lt::storage_index_t index;
        std::uint64_t id;
        lt::info_hash_t hashes;
    };
    std::vector<torrent> torrents;
};

// Guards `living`. Under it a storage is looked up in the cache, by its handle: a few operations on
// maps. Neither is ever destroyed: threads may call, and sessions that are static objects may end,
// while the process does.
auto& mutex = *new std::mutex;
auto& living = *new std::vector<entry>;

bool same(lt::info_hash_t const& one, lt::info_hash_t const& other)
{
    return (one.has_v1() && one.v1 == other.v1) || (one.has_v2() && one.v2 == other.v2);
}

std::vector<entry>::iterator of(core const* const owner)
{
    auto const is_it = [&](entry const& one) { return one.owner == owner; };
    return std::find_if(living.begin(), living.end(), is_it);
}

// The torrent that `is_it` among these sessions, the last ones first.
template <typename Iterator, typename IsIt>
lb_storage find_in(Iterator const first, Iterator const end, IsIt const is_it)
{
    for (auto session = first; session != end; ++session) {
        auto const& torrents = session->torrents;
        auto const found = std::find_if(torrents.begin(), torrents.end(), is_it);
        if (found == torrents.end()) continue;
        lb_storage storage = 0;
        if (lb_storage_find(session->cache, found->id, &storage) == LB_OK) return storage;
    }
    return 0;
}

} // namespace

void begin(core const* const owner, lb_cache const cache)
{
    std::lock_guard<std::mutex> const guard(mutex);
    living.push_back(entry{ owner, cache, { } });
}

void end(core const* const owner)
{
    std::lock_guard<std::mutex> const guard(mutex);
    auto const session = of(owner);
    if (session != living.end()) living.erase(session);
}

void added(core const* const owner, lt::storage_index_t const index, std::uint64_t const id,
    lt::info_hash_t const& hashes)
{
    std::lock_guard<std::mutex> const guard(mutex);
    auto const session = of(owner);
    if (session != living.end()) session->torrents.push_back({ index, id, hashes });
}

void removed(core const* const owner, lt::storage_index_t const index)
{
    std::lock_guard<std::mutex> const guard(mutex);
    auto const session = of(owner);
    if (session == living.end()) return;
    auto& torrents = session->torrents;
    auto const is_it = [&](entry::torrent const& one) { return one.index == index; };
    torrents.erase(std::remove_if(torrents.begin(), torrents.end(), is_it), torrents.end());
}

lb_storage find(int const index)
{
    std::lock_guard<std::mutex> const guard(mutex);
    if (living.empty() || index < 0) return 0;
    auto const last = living.rbegin();
    return find_in(last, last + 1, [&](entry::torrent const& one) {
        return one.index == lt::storage_index_t(std::uint32_t(index));
    });
}

lb_storage find(lt::info_hash_t const& hashes)
{
    std::lock_guard<std::mutex> const guard(mutex);
    auto const is_it = [&](entry::torrent const& one) { return same(one.hashes, hashes); };
    return find_in(living.rbegin(), living.rend(), is_it);
}

} // namespace lookbehind::detail
