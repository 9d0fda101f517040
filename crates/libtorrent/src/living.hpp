// The sessions that live, and what torrents each has: for calls from any thread.
#pragma once

#include <cstdint>

#include <libtorrent/info_hash.hpp>
#include <libtorrent/storage_defs.hpp>
#include <libtorrent/units.hpp>
#include <lookbehind.h>

namespace lookbehind::detail {

class core;

// One that has just begun is the last from now on, and has no torrents.
void begin(core const* owner, lb_cache cache);
void end(core const* owner);

void added(
    core const* owner, lt::storage_index_t index, std::uint64_t id, lt::info_hash_t const& hashes);
void removed(core const* owner, lt::storage_index_t index);

// A handle of the caller's own on a storage, or 0 if there is none: by its index in the session
// that began last, or by its hash in any.
lb_storage find(int index);
lb_storage find(lt::info_hash_t const& hashes);

} // namespace lookbehind::detail
