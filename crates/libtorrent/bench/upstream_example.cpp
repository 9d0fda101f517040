// libtorrent's in-memory example, examples/custom_storage.cpp, compiled from wherever its sources
// are (-DUPSTREAM_EXAMPLE=...): it is no part of this project.
#include <cstring>
#include <iostream>
#include <map>
#include <vector>

#include <libtorrent/libtorrent.hpp>
#include <libtorrent/session_params.hpp>

// Its main, which nobody calls, is no main any more and lacks a return.
#pragma GCC diagnostic ignored "-Wreturn-type"
#define main upstream_example_main
#include UPSTREAM_EXAMPLE
#undef main

namespace bench {

lt::disk_io_constructor_type upstream_example();
lt::disk_io_constructor_type upstream_example()
{
    return temp_disk_constructor;
}

} // namespace bench
