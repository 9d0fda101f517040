// A seeder, to try the program against: libtorrent as it is, with files on a disk.
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/bencode.hpp>
#include <libtorrent/create_torrent.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/magnet_uri.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_info.hpp>

#include "calls.hpp"

using lookbehind_torrent::guard;
using lookbehind_torrent::say;

struct lbt_seeder {
    lt::session session;

    explicit lbt_seeder(lt::session_params params)
        : session(std::move(params))
    {
    }
};

namespace {

std::string folder_of(std::string const& path)
{
    auto const slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

std::vector<char> torrent_of(std::string const& path, int const piece, int const version)
{
    lt::file_storage files;
    lt::add_files(files, path);
    if (files.num_files() == 0) throw std::runtime_error("there is nothing to seed");
    auto const kind = version == 1 ? lt::create_torrent::v1_only
        : version == 2             ? lt::create_torrent::v2_only
                                   : lt::create_flags_t();
    lt::create_torrent torrent(files, piece, kind);
    lt::set_piece_hashes(torrent, folder_of(path));
    std::vector<char> bytes;
    lt::bencode(std::back_inserter(bytes), torrent.generate());
    return bytes;
}

} // namespace

lbt_seeder* lbt_seed(char const* const path, char const* const address, std::uint16_t const port,
    std::int32_t const piece, std::int32_t const version, lbt_torrent const torrent,
    void* const context, lbt_why* const why)
{
    return guard<lbt_seeder*>(nullptr, why, [&]() -> lbt_seeder* {
        std::string from = path;
        while (from.size() > 1 && from.back() == '/') from.pop_back();
        auto const bytes = torrent_of(from, piece, version);

        using set = lt::settings_pack;
        lt::settings_pack pack;
        auto const host = std::string(address);
        auto const bracketed = host.find(':') == std::string::npos ? host : '[' + host + ']';
        pack.set_str(set::listen_interfaces, bracketed + ':' + std::to_string(port));
        for (auto const off :
            { set::enable_dht, set::enable_lsd, set::enable_upnp, set::enable_natpmp })
            pack.set_bool(off, false);
        pack.set_bool(set::allow_multiple_connections_per_ip, true);
        auto seeder = std::make_unique<lbt_seeder>(lt::session_params(pack));
        auto const listens = seeder->session.listen_port();
        if (listens == 0) {
            say(why, "cannot listen at that address");
            return nullptr;
        }
        lt::add_torrent_params params;
        params.ti = std::make_shared<lt::torrent_info>(bytes, lt::from_span);
        params.save_path = folder_of(from);
        params.flags &= ~(lt::torrent_flags::auto_managed | lt::torrent_flags::paused);
        // All of it has just been read.
        params.have_pieces.resize(params.ti->num_pieces(), true);
        auto const magnet = lt::make_magnet_uri(*params.ti);
        seeder->session.add_torrent(std::move(params));
        torrent(context, bytes.data(), bytes.size(), magnet.c_str(), listens);
        return seeder.release();
    });
}

void lbt_seed_stop(lbt_seeder* const seeder)
{
    guard(false, nullptr, [&] { return delete seeder, true; });
}
