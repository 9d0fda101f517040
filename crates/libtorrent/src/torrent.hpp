// Handles on torrents, and what they may not answer.
#pragma once

#include <memory>

#include <libtorrent/error_code.hpp>
#include <libtorrent/torrent_handle.hpp>

namespace lookbehind::detail {

// `disk_interface::new_torrent` is given the torrent itself, and no handle on it, which the core
// needs to know when a piece is good, and to say what is wanted. A handle is a weak pointer to the
// torrent and nothing else, but its constructor is private. Explicit instantiation may name what is
// private; should the member change, this does not compile.
struct torrent_of {
    using type = std::weak_ptr<lt::torrent> lt::torrent_handle::*;
    friend type member(torrent_of);
};
template <typename Tag, typename Tag::type Member> struct reveal {
    friend typename Tag::type member(Tag) { return Member; }
};
template struct reveal<torrent_of, &lt::torrent_handle::m_torrent>;

inline lt::torrent_handle handle_of(std::shared_ptr<void> const& torrent)
{
    lt::torrent_handle handle;
    handle.*member(torrent_of()) = std::static_pointer_cast<lt::torrent>(torrent);
    return handle;
}

// Calls a torrent that may have gone.
template <typename Result, typename Call> Result ask(Result otherwise, Call call)
{
    try {
        return call();
    } catch (lt::system_error const&) {
        return otherwise;
    }
}

// The same, of what gives no answer.
template <typename Call> void tell(Call call)
{
    ask(0, [&] { return call(), 0; });
}

} // namespace lookbehind::detail
