// A session with one torrent, whose pieces go into a cache and are downloaded as its players want
// them: `lookbehind/libtorrent.hpp` in mode `stream` does that.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/file_storage.hpp>
#include <libtorrent/load_torrent.hpp>
#include <libtorrent/magnet_uri.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/settings_pack.hpp>
#include <libtorrent/torrent_handle.hpp>
#include <libtorrent/torrent_info.hpp>
#include <libtorrent/torrent_status.hpp>
#include <lookbehind/libtorrent.hpp>

#include "calls.hpp"

using lookbehind_torrent::guard;
using lookbehind_torrent::say;

struct lbt_session {
    lt::session session;
    lt::torrent_handle torrent;
    bool const dht;
    bool const lsd;
    bool const pex;
    bool const trackers;
    std::int64_t const budget;

    lbt_session(lt::session_params params, lbt_settings const& with)
        : session(std::move(params))
        , dht(with.dht)
        , lsd(with.lsd)
        , pex(with.pex)
        , trackers(with.trackers)
        , budget(with.budget)
    {
    }
};

namespace {

// Warnings are what is wrong with the torrent or this program, not with a peer: peers come and go.
lbt_level level_of(lt::alert const& alert)
{
    if (lt::alert_cast<lt::metadata_received_alert>(&alert) != nullptr
        || lt::alert_cast<lt::listen_succeeded_alert>(&alert) != nullptr)
        return LBT_INFO;
    auto const wrong = alert.category() & lt::alert_category::error;
    if (wrong || lt::alert_cast<lt::hash_failed_alert>(&alert) != nullptr
        || lt::alert_cast<lt::peer_ban_alert>(&alert) != nullptr)
        return LBT_WARN;
    return LBT_DEBUG;
}

lt::settings_pack settings_of(lbt_settings const& with)
{
    using set = lt::settings_pack;
    lt::settings_pack pack;
    pack.set_int(set::alert_mask,
        lt::alert_category::error | lt::alert_category::status | lt::alert_category::connect
            | lt::alert_category::peer);
    std::string const listen = with.listen;
    pack.set_str(set::listen_interfaces, listen);
    // uTP has no sockets of its own.
    pack.set_bool(set::enable_outgoing_utp, !listen.empty());
    pack.set_bool(set::enable_dht, with.dht);
    pack.set_bool(set::enable_lsd, with.lsd);
    pack.set_bool(set::enable_upnp, with.upnp);
    pack.set_bool(set::enable_natpmp, with.upnp);
    pack.set_bool(set::allow_multiple_connections_per_ip, true);
    // Somebody waits: for peers to be there, and for those that went to be back.
    pack.set_int(set::connection_speed, 100);
    pack.set_bool(set::smooth_connects, false);
    pack.set_int(set::min_reconnect_time, 2);
    pack.set_int(set::stop_tracker_timeout, 1);
    return pack;
}

bool add(lbt_session& to, lt::add_torrent_params params)
{
    if (!to.trackers) {
        params.trackers.clear();
        params.tracker_tiers.clear();
    }
    if (!to.dht) params.dht_nodes.clear();
    // They give whole files from the start on, which is not what players want.
    params.url_seeds.clear();
    params.http_seeds.clear();
    using flags = lt::torrent_flags_t;
    auto const unless = [](bool const wanted, flags const flag) { return wanted ? flags() : flag; };
    params.flags &= ~(lt::torrent_flags::auto_managed | lt::torrent_flags::paused);
    params.flags |= unless(to.dht, lt::torrent_flags::disable_dht)
        | unless(to.lsd, lt::torrent_flags::disable_lsd)
        | unless(to.pex, lt::torrent_flags::disable_pex);
    params.save_path = "."; // must not be empty; nothing is saved
    to.torrent = to.session.add_torrent(std::move(params));
    return true;
}

} // namespace

lbt_session* lbt_start(lbt_settings const* const settings, lbt_why* const why)
{
    return guard<lbt_session*>(nullptr, why, [&] {
        lt::session_params params(settings_of(*settings));
        lookbehind::config config;
        config.budget = settings->budget;
        lookbehind::set_disk_io(params, config);
        return new lbt_session(std::move(params), *settings);
    });
}

bool lbt_add_file(lbt_session* const session, char const* const bytes, std::size_t const length,
    lbt_why* const why)
{
    return guard(false, why, [&] {
        lt::span<char const> const content(bytes, std::ptrdiff_t(length));
        return add(*session, lt::load_torrent_buffer(content));
    });
}

bool lbt_add_magnet(lbt_session* const session, char const* const link, lbt_why* const why)
{
    return guard(false, why, [&] { return add(*session, lt::parse_magnet_uri(link)); });
}

bool lbt_connect(lbt_session* const session, char const* const address, std::uint16_t const port,
    lbt_why* const why)
{
    return guard(false, why, [&] {
        // Of a peer that a tracker names again libtorrent forgets a failure, and goes on trying.
        auto const source = lt::peer_info::tracker;
        session->torrent.connect_peer({ lt::make_address(address), port }, source);
        return true;
    });
}

void lbt_wait(
    lbt_session* const session, int const milliseconds, lbt_told const told, void* const context)
{
    guard(false, nullptr, [&] {
        if (session->session.wait_for_alert(std::chrono::milliseconds(milliseconds)) == nullptr)
            return false;
        std::vector<lt::alert*> alerts;
        session->session.pop_alerts(&alerts);
        for (auto const* const alert : alerts) {
            told(context, level_of(*alert), alert->message().c_str());
        }
        return true;
    });
}

lbt_progress lbt_state(lbt_session* const session, lbt_figures* const figures, lbt_why* const why)
{
    return guard(LBT_FAILED, why, [&] {
        auto const status = session->torrent.status({ });
        figures->rate = status.download_payload_rate;
        figures->received = status.total_payload_download;
        figures->wasted = status.total_failed_bytes + status.total_redundant_bytes;
        figures->peers = status.num_peers;
        if (status.errc) {
            auto text = status.errc.message();
            auto const refused = lookbehind::make_error_code(lookbehind::errc::refused);
            auto const info = session->torrent.torrent_file();
            if (status.errc == refused && info) {
                text += ", which has " + std::to_string(info->num_pieces()) + " pieces of "
                    + std::to_string(info->piece_length())
                    + " bytes: one, with what is beside it, "
                      "may take half the --budget of "
                    + std::to_string(session->budget) + " bytes";
            }
            say(why, text.c_str());
            return LBT_FAILED;
        }
        if (!status.has_metadata) return LBT_NOT_YET;
        auto const looked = status.state != lt::torrent_status::checking_resume_data;
        auto const storage = looked ? lookbehind::storage(status.info_hashes) : 0;
        lb_storage_close(storage);
        return storage == 0 ? LBT_NOT_YET : LBT_READY;
    });
}

bool lbt_content_of(lbt_session* const session, lbt_content* const content, lbt_file const file,
    void* const context, lbt_why* const why)
{
    return guard(false, why, [&] {
        auto const info = session->torrent.torrent_file();
        if (!info) {
            say(why, "the torrent has no metadata");
            return false;
        }
        auto const hashes = info->info_hashes();
        auto const keep = [&](auto const& hash) {
            std::copy(hash.begin(), hash.end(), content->hash);
            content->hash_length = std::uint32_t(hash.size());
        };
        if (hashes.has_v1())
            keep(hashes.v1);
        else
            keep(hashes.v2);
        auto const& files = info->files();
        for (auto const index : files.file_range()) {
            if (files.pad_file_at(index) || files.file_size(index) == 0) continue;
            auto const path = files.file_path(index);
            file(context, std::int32_t(int(index)), std::uint64_t(files.file_offset(index)),
                std::uint64_t(files.file_size(index)), path.data(), path.size());
        }
        content->storage = lookbehind::storage(hashes);
        auto const found = lb_storage_cache(content->storage, &content->cache) == LB_OK;
        if (!found) {
            lb_storage_close(content->storage);
            say(why, "the torrent is gone");
        }
        return found;
    });
}

void lbt_stop(lbt_session* const session)
{
    guard(false, nullptr, [&] { return delete session, true; });
}
