#include "swarm.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/alert_types.hpp>
#include <libtorrent/bencode.hpp>
#include <libtorrent/create_torrent.hpp>
#include <libtorrent/posix_disk_io.hpp>
#include <libtorrent/torrent_status.hpp>

namespace test {
namespace {

using namespace std::chrono_literals;

lt::tcp::endpoint loopback(int port)
{
    return { lt::make_address_v4("127.0.0.1"), static_cast<std::uint16_t>(port) };
}

std::string seconds(clock::duration d)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(d).count());
    return text;
}

lt::add_torrent_params added(std::shared_ptr<lt::torrent_info> const& torrent)
{
    lt::add_torrent_params params;
    // Each session gets its own: the info object is not to be shared by two of them.
    params.ti = std::make_shared<lt::torrent_info>(*torrent);
    params.flags &= ~(lt::torrent_flags::auto_managed | lt::torrent_flags::paused);
    // Two seeders would tell the leecher of itself, and it would connect to that.
    params.flags |= lt::torrent_flags::disable_pex;
    return params;
}

std::unique_ptr<lt::session> started(lt::settings_pack settings, lt::disk_io_constructor_type disk)
{
    lt::session_params params(std::move(settings));
    if (disk) params.disk_io_constructor = std::move(disk);
    return std::make_unique<lt::session>(std::move(params));
}

} // namespace

clock::duration patient(clock::duration timeout)
{
    static double const factor = [] {
        char const* const text = std::getenv("TEST_PATIENCE");
        return text ? std::max(1.0, std::atof(text)) : 1.0;
    }();
    return std::chrono::duration_cast<clock::duration>(timeout * factor);
}

struct watchdog::state {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    std::thread thread;
};

watchdog::watchdog(std::string what, clock::duration timeout)
    : state_(std::make_unique<state>())
{
    timeout = patient(timeout);
    state_->thread = std::thread([s = state_.get(), what = std::move(what), timeout] {
        std::unique_lock lock(s->mutex);
        if (s->changed.wait_for(lock, timeout, [s] { return s->over; })) return;
        std::fprintf(
            stderr, "watchdog: not within %s: %s\n", seconds(timeout).c_str(), what.c_str());
        temp_dir::remove_all();
        std::abort(); // leaves a core or a debugger where the process hangs
    });
}

watchdog::~watchdog()
{
    {
        std::lock_guard const lock(state_->mutex);
        state_->over = true;
    }
    state_->changed.notify_one();
    state_->thread.join();
}

char const* name(kind how)
{
    switch (how) {
    case kind::v1: return "v1";
    case kind::v2: return "v2";
    case kind::hybrid: return "hybrid";
    }
    return "?";
}

std::shared_ptr<lt::torrent_info> make_torrent(film const& of, int piece_length, kind how)
{
    lt::create_flags_t flags{ };
    if (how == kind::v1) flags = lt::create_torrent::v1_only;
    if (how == kind::v2) flags = lt::create_torrent::v2_only;
    lt::file_storage files = of.files();
    lt::create_torrent torrent(files, piece_length, flags);
    lt::set_piece_hashes(torrent, of.path());
    std::vector<char> encoded;
    lt::bencode(std::back_inserter(encoded), torrent.generate());
    return std::make_shared<lt::torrent_info>(encoded, lt::from_span);
}

lt::settings_pack quiet_settings()
{
    using sp = lt::settings_pack;
    sp s;
    s.set_str(sp::listen_interfaces, "127.0.0.1:0");
    s.set_str(sp::user_agent, "test");
    for (int const off : { sp::enable_dht, sp::enable_lsd, sp::enable_upnp, sp::enable_natpmp,
             sp::enable_outgoing_utp, sp::enable_incoming_utp, sp::enable_ip_notifier })
        s.set_bool(off, false);
    s.set_bool(sp::allow_multiple_connections_per_ip, true);
    s.set_int(sp::out_enc_policy, sp::pe_disabled);
    s.set_int(sp::in_enc_policy, sp::pe_disabled);

    s.set_int(sp::connection_speed, 200);
    s.set_int(sp::unchoke_slots_limit, -1);
    s.set_int(sp::peer_connect_timeout, 5);
    s.set_int(sp::handshake_timeout, 5);
    s.set_int(sp::min_reconnect_time, 1);
    s.set_int(sp::stop_tracker_timeout, 0);
    s.set_int(sp::tick_interval, 100);

    s.set_int(sp::alert_queue_size, 1 << 20);
    s.set_int(sp::alert_mask,
        int(static_cast<std::uint32_t>(lt::alert_category::error | lt::alert_category::status
            | lt::alert_category::storage | lt::alert_category::peer | lt::alert_category::connect
            | lt::alert_category::piece_progress)));
    return s;
}

seeder::seeder(
    film const& of, std::shared_ptr<lt::torrent_info> const& torrent, seeder_options options)
{
    using sp = lt::settings_pack;
    options.settings.set_bool(sp::disable_hash_checks, true);
    // Who leaves when there is nothing more to fetch is for the leecher to decide.
    options.settings.set_bool(sp::close_redundant_connections, options.leaves);
    options.settings.set_int(sp::alert_mask, 0); // nobody takes them
    // Without threads of its own, of which a sanitizer cannot tell how they end.
    if (!options.disk && std::getenv("TEST_PLAIN_SEEDERS"))
        options.disk = lt::posix_disk_io_constructor;
    session_ = started(std::move(options.settings), std::move(options.disk));

    lt::add_torrent_params params = added(torrent);
    params.save_path = of.path();
    params.flags |= lt::torrent_flags::seed_mode;
    handle_ = session_->add_torrent(std::move(params));
    if (options.upload_limit > 0) handle_.set_upload_limit(options.upload_limit);

    clock::time_point const deadline = clock::now() + patient(10s);
    while ((port_ = session_->listen_port()) == 0
        || handle_.status({ }).state != lt::torrent_status::seeding) {
        lt::torrent_status const status = handle_.status({ });
        if (status.errc || clock::now() > deadline)
            throw timed_out("a seeder was not ready: port " + std::to_string(port_) + ", state "
                + std::to_string(int(status.state)) + ", " + status.errc.message());
        std::this_thread::sleep_for(5ms);
    }
}

seeder::~seeder()
{
    watchdog const guard("end of a seeder's session", 20s);
    session_.reset();
}

bool events::clean() const
{
    return errors.empty() && peer_errors.empty() && bans.empty() && hash_failed.empty()
        && std::all_of(disconnects.begin(), disconnects.end(),
            [](disconnect const& d) { return d.after_finish; });
}

std::string events::summary() const
{
    std::string text = std::to_string(connects) + " connected, " + std::to_string(pieces.size())
        + " pieces, " + std::to_string(finishes) + " finished, "
        + std::to_string(hash_failed.size()) + " bad hashes";
    for (auto const& e : errors) text += "\n  error: " + e;
    for (auto const& e : peer_errors) text += "\n  peer error: " + e;
    for (auto const& b : bans) text += "\n  ban: " + b;
    for (auto const& d : disconnects)
        text += std::string("\n  disconnect") + (d.after_finish ? " after finish: " : ": ")
            + d.message;
    return text;
}

leecher::leecher(std::shared_ptr<lt::torrent_info> const& torrent, leecher_options options)
    : save_path_(std::move(options.save_path))
    , torrent_(torrent)
{
    if (save_path_.empty()) {
        own_dir_ = std::make_unique<temp_dir>("leecher");
        save_path_ = own_dir_->path();
    }
    session_ = started(std::move(options.settings), std::move(options.disk));
    lt::add_torrent_params params = added(torrent);
    if (options.magnet) {
        params.info_hashes = torrent->info_hashes();
        params.ti.reset();
    }
    params.save_path = save_path_;
    params.piece_priorities = std::move(options.priorities);
    params.flags |= options.flags;
    handle_ = session_->add_torrent(std::move(params));
}

leecher::leecher(
    std::shared_ptr<lt::torrent_info> const& torrent, lt::disk_io_constructor_type disk)
    : leecher(torrent, [&] {
        leecher_options options;
        options.disk = std::move(disk);
        return options;
    }())
{
}

leecher::~leecher()
{
    close();
}

void leecher::connect(int port)
{
    handle_.connect_peer(loopback(port));
}

void leecher::connect(std::vector<int> const& ports)
{
    for (int const port : ports) connect(port);
}

void leecher::take(lt::alert const& alert)
{
    using lt::alert_cast;
    if (auto const* a = alert_cast<lt::piece_finished_alert>(&alert)) {
        seen_.pieces.push_back(static_cast<int>(a->piece_index));
    } else if (auto const* a = alert_cast<lt::read_piece_alert>(&alert)) {
        if (a->error) seen_.errors.push_back(a->message());
        if (static_cast<int>(a->piece) != reading_.piece) return;
        if (!a->error) reading_.bytes.assign(a->buffer.get(), a->buffer.get() + a->size);
        reading_.arrived = true;
    } else if (alert_cast<lt::torrent_finished_alert>(&alert)) {
        ++seen_.finishes;
        seen_.last_finish = clock::now();
    } else if (auto const* a = alert_cast<lt::hash_failed_alert>(&alert)) {
        seen_.hash_failed.push_back(static_cast<int>(a->piece_index));
    } else if (alert_cast<lt::peer_ban_alert>(&alert)) {
        seen_.bans.push_back(alert.message());
    } else if (alert_cast<lt::peer_error_alert>(&alert)) {
        seen_.peer_errors.push_back(alert.message());
    } else if (alert_cast<lt::peer_connect_alert>(&alert)) {
        if (seen_.connects++ == 0) seen_.first_connect = clock::now();
    } else if (auto const* a = alert_cast<lt::peer_disconnected_alert>(&alert)) {
        seen_.disconnects.push_back(
            { a->endpoint.port(), a->error, a->reason, seen_.finishes > 0, a->message() });
    } else if (alert.category() & lt::alert_category::error) {
        seen_.errors.push_back(alert.message());
    }
}

void leecher::drain()
{
    std::vector<lt::alert*> alerts;
    session_->pop_alerts(&alerts);
    for (lt::alert const* alert : alerts) take(*alert);
}

bool leecher::wait_until(clock::time_point deadline, std::function<bool()> const& done)
{
    for (;;) {
        drain();
        if (done()) return true;
        clock::duration const left = deadline - clock::now();
        if (left <= clock::duration::zero()) return false;
        session_->wait_for_alert(std::min<clock::duration>(left, 20ms));
    }
}

std::string leecher::state() const
{
    lt::torrent_status const s = handle_.status({ });
    return "torrent in state " + std::to_string(int(s.state)) + " at "
        + std::to_string(s.progress_ppm / 10000) + " %, " + std::to_string(s.num_peers) + " peers, "
        + std::to_string(s.total_payload_download) + " bytes received"
        + (s.errc ? ", error " + s.errc.message() : "") + "; " + seen_.summary();
}

void leecher::wait_despite_errors(
    std::string const& what, clock::duration timeout, std::function<bool()> const& done)
{
    timeout = patient(timeout);
    if (!wait_until(clock::now() + timeout, done))
        throw timed_out("not within " + seconds(timeout) + ": " + what + "; " + state());
}

void leecher::wait(
    std::string const& what, clock::duration timeout, std::function<bool()> const& done)
{
    bool reached = false;
    wait_despite_errors(what, timeout, [&] {
        reached = done();
        return reached || !seen_.errors.empty();
    });
    if (!reached) throw std::runtime_error("failed: " + what + "; " + state());
}

void leecher::wait_finished(clock::duration timeout)
{
    wait("torrent finished", timeout, [&] { return seen_.finishes > 0; });
}

void leecher::wait_piece(int piece, clock::duration timeout)
{
    wait("piece " + std::to_string(piece) + " finished", timeout, [&] {
        return std::find(seen_.pieces.begin(), seen_.pieces.end(), piece) != seen_.pieces.end();
    });
}

void leecher::want_only(int first, int end)
{
    std::vector<lt::download_priority_t> wanted(
        std::size_t(torrent_->num_pieces()), lt::dont_download);
    for (int i = std::max(first, 0); i < std::min(end, torrent_->num_pieces()); ++i)
        wanted[std::size_t(i)] = lt::default_priority;
    handle_.prioritize_pieces(wanted);
}

std::vector<char> leecher::read_piece(int piece, clock::duration timeout)
{
    reading_ = { piece, false, { } };
    handle_.read_piece(lt::piece_index_t(piece));
    wait_despite_errors(
        "piece " + std::to_string(piece) + " read", timeout, [&] { return reading_.arrived; });
    return std::move(reading_.bytes);
}

std::vector<int> leecher::wrong_pieces(film const& expected)
{
    std::vector<int> wrong;
    lt::file_storage const& files = torrent_->files();
    for (int i = 0; i < torrent_->num_pieces(); ++i) {
        std::vector<char> const bytes = read_piece(i);
        lt::piece_index_t const piece(i);
        if (int(bytes.size()) != torrent_->piece_size(piece)
            || expected.first_wrong(files, piece, 0, bytes))
            wrong.push_back(i);
    }
    return wrong;
}

std::string leecher::downloads() const
{
    std::ostringstream out;
    lt::torrent_status const status = handle_.status();
    out << "; state " << int(status.state) << ", flags " << std::uint64_t(status.flags);
    for (lt::partial_piece_info const& one : handle_.get_download_queue()) {
        out << "\n  piece " << int(one.piece_index) << " of priority "
            << int(std::uint8_t(handle_.piece_priority(one.piece_index))) << ": "
            << one.blocks_in_piece << " blocks, " << one.requested << " requested, " << one.writing
            << " writing, " << one.finished << " finished";
    }
    std::vector<lt::peer_info> peers;
    handle_.get_peer_info(peers);
    for (lt::peer_info const& peer : peers) {
        out << "\n  peer " << peer.ip.port() << ": interesting "
            << bool(peer.flags & lt::peer_info::interesting) << ", chokes "
            << bool(peer.flags & lt::peer_info::remote_choked) << ", asked for "
            << peer.download_queue_length << " of " << peer.target_dl_queue_length
            << ", read state " << int(std::uint8_t(peer.read_state)) << ", writing "
            << peer.pending_disk_bytes << " bytes";
    }
    return out.str();
}

void leecher::close(clock::duration timeout)
{
    if (!session_) return;
    watchdog const guard("end of a leecher's session", timeout);
    session_.reset();
}

} // namespace test
