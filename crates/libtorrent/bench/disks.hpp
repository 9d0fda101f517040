// The disks that can be compared.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <libtorrent/session_params.hpp>

#include "../tests/support/swarm.hpp"

namespace bench {

struct disk {
    std::string name;
    lt::disk_io_constructor_type make;

    /// Whether `leecher` has all it is to fetch; by default, when the torrent is finished.
    std::function<bool(test::leecher const&)> complete;

    /// Whether all bytes that `leecher` fetched are those of the film; none if it cannot be told.
    std::function<bool(test::leecher&, test::film const&)> right;

    /// A disk that keeps nothing has no hashes to compare with.
    bool hashes = true;
};

/// The disk of this name (see --help), `budget` bytes of memory being for those that take one.
/// Throws std::invalid_argument if there is none, or if it was not compiled in.
disk find_disk(std::string const& name, std::uint64_t budget);

/// The names of those that were compiled in.
std::vector<std::string> disk_names();

#ifdef UPSTREAM_EXAMPLE
/// libtorrent's examples/custom_storage.cpp.
lt::disk_io_constructor_type upstream_example();
#endif

} // namespace bench
