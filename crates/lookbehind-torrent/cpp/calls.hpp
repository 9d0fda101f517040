// How calls end that come from Rust.
#ifndef LOOKBEHIND_TORRENT_CALLS_HPP
#define LOOKBEHIND_TORRENT_CALLS_HPP

#include <cstdio>
#include <exception>

#include "session.h"

namespace lookbehind_torrent {

inline void say(lbt_why* const why, char const* const text)
{
    if (why != nullptr) std::snprintf(why->text, sizeof why->text, "%s", text);
}

// What `call` returns; `failed`, and why, if it throws.
template <typename Result, typename Call>
Result guard(Result const failed, lbt_why* const why, Call call) noexcept
{
    try {
        return call();
    } catch (std::exception const& error) {
        say(why, error.what());
    } catch (...) {
        say(why, "unknown error");
    }
    return failed;
}

} // namespace lookbehind_torrent

#endif
