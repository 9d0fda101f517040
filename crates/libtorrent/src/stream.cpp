// What libtorrent is told of pieces, and when; what players want becomes what it downloads first.
#include "core.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <libtorrent/peer_info.hpp>

namespace lookbehind::detail {

namespace {

// How often players are asked what they want, and peers that were stopped for want of room get
// another try: while something is on its way, and otherwise.
constexpr auto busy_tick = std::chrono::milliseconds(4);
constexpr auto idle_tick = std::chrono::milliseconds(40);
// So many ticks without anything on its way are a lull.
constexpr int lull = 100;
// An urgent piece that takes longer than this is late, and that means a slow swarm: for so long
// deadlines have libtorrent request each block from whoever may bring it soonest.
constexpr auto lateness = std::chrono::milliseconds(2000);
constexpr auto slowness = std::chrono::milliseconds(10000);
// A piece of which no block came for so long may be stuck.
constexpr auto stuck = std::chrono::seconds(1);
// One of which no block came for so long goes when others need its room.
constexpr auto hopeless = std::chrono::seconds(5);

} // namespace

// Publishes a good piece of mode `stream`, and tells libtorrent of a bad one.
void core::settle(
    film& of, lt::piece_index_t const piece, verdict const judged, digest const& found)
{
    if (judged == verdict::bad) {
        auto const place = of.pieces.find(int(piece));
        auto told = std::move(place->second);
        of.pieces.erase(place);
        writes_ -= int(told.writes.size());
        told.refuse(piece, found.v1);
    } else if (publish(of, piece) != LB_OK) {
        withdraw(of, piece);
    }
}

// Shows a piece that is known to be good.
lb_status core::publish(film& of, lt::piece_index_t const piece)
{
    auto const number = std::uint32_t(int(piece));
    auto const status = lb_commit(of.storage, number);
    if (status != LB_OK) return status;
    if (config_.mode == mode::stream) {
        of.pieces[int(piece)].published = true;
        // At once: the piece may be gone again by the next tick, and its fetch says nothing more.
        auto const landed = of.fetch_of(piece);
        if (landed != of.fetches.end()) end_fetch(of, landed, true);
        return LB_OK;
    }
    // What is pinned goes last of all, and all of it has room.
    std::uint8_t const* data = nullptr;
    std::size_t length = 0;
    if (of.kept.count(int(piece)) == 0 && lb_get(of.storage, number, 0, &data, &length) == LB_OK) {
        of.kept.emplace(int(piece), data);
    }
    return LB_OK;
}

// Makes libtorrent forget a piece, and drops it.
void core::withdraw(film& of, lt::piece_index_t const piece)
{
    lb_abandon(of.storage, std::uint32_t(int(piece)), nullptr);
    give_back(of, piece);
}

// Has libtorrent forget, and request again, what it has not been told of a piece.
void core::give_back(film& of, lt::piece_index_t const piece)
{
    auto const place = of.pieces.find(int(piece));
    if (place == of.pieces.end()) return;
    if (place->second.hashing) {
        place->second.doomed = true;
        return;
    }
    auto told = std::make_shared<withheld>(std::move(place->second));
    of.pieces.erase(place);
    // Those that are to be answered anyway: not before the hash.
    auto const refused = of.refused.find(int(piece));
    if (refused != of.refused.end()) {
        auto& writes = told->writes;
        writes.insert(writes.end(), refused->second.begin(), refused->second.end());
        of.refused.erase(refused);
    }
    // Not at once: libtorrent may be in the middle of a call.
    post([self = shared_from_this(), film = of.shared_from_this(), told, piece] {
        self->writes_ -= int(told->writes.size());
        told->abort(piece);
        self->rouse(*film, piece);
    });
}

void core::answer_refused(film& of, lt::piece_index_t const piece)
{
    auto const place = of.refused.find(int(piece));
    if (place == of.refused.end()) return;
    auto const refused = std::move(place->second);
    of.refused.erase(place);
    writes_ -= int(refused.size());
    for (auto const& write : refused) write(aborted());
    rouse(of, piece);
}

// Has libtorrent look for blocks to request, which it does not do for writes that were aborted:
// it does when something becomes wanted, and no sooner than this call has ended.
void core::rouse(film& of, lt::piece_index_t const piece)
{
    if (of.removed || aborted_ || !of.wants(piece)) return;
    auto const priorities = ask(
        std::vector<lt::download_priority_t>(), [&] { return of.torrent.get_piece_priorities(); });
    auto const place = std::find(priorities.begin(), priorities.end(), lt::dont_download);
    if (place == priorities.end()) return; // then all is wanted, and requests go on
    auto const other = lt::piece_index_t(int(place - priorities.begin()));
    tell([&] { of.torrent.piece_priority(other, lt::low_priority); });
    tell([&] { of.torrent.piece_priority(other, lt::dont_download); });
}

// A piece was evicted.
void core::went(std::uint64_t const id, std::uint32_t const number)
{
    auto const is_it
        = [&](auto const& film) { return film && film->storage != 0 && film->id == id; };
    auto const found = std::find_if(films_.begin(), films_.end(), is_it);
    if (found == films_.end()) return;
    // A copy: what is told of a change may add torrents.
    auto const of = *found;
    auto const piece = lt::piece_index_t(int(number));
    auto const place = of->pieces.find(int(piece));
    if (place == of->pieces.end() || !place->second.published) return;
    if (!of->wants(piece)) set_priority(*of, piece, unwanted_priority(*of, piece));
    withdraw(*of, piece);
}

void core::clear(lt::storage_index_t const index, lt::piece_index_t const piece)
{
    auto const of = at(index);
    if (!of) return;
    auto const number = std::uint32_t(int(piece));
    withdraw(*of, piece);
    auto const kept = of->kept.find(int(piece));
    if (kept != of->kept.end()) {
        lb_release(kept->second);
        of->kept.erase(kept);
    }
    lb_evict(of->storage, number, number + 1, nullptr);
}

void core::clear_all(lt::storage_index_t const index)
{
    auto const of = at(index);
    if (!of || of->storage == 0) return;
    withdraw_if(*of, [](int, withheld const&) { return true; });
    of->let_go();
    auto const end = std::uint32_t(of->files.num_pieces());
    // Of mode `keep`, those that are not whole: there is no other list of them.
    for (std::uint32_t piece = 0; piece < end && config_.mode == mode::keep; ++piece)
        lb_abandon(of->storage, piece, nullptr);
    lb_evict(of->storage, 0, end, nullptr);
}

// Nothing is wanted but the anchor, and what players wait for since before the check.
void core::calm(film& of)
{
    std::vector<lt::download_priority_t> none(
        std::size_t(of.files.num_pieces()), lt::dont_download);
    // In one go: libtorrent takes leave of its peers when nothing is wanted, if for a moment.
    of.anchor = place_for_anchor(of);
    if (of.anchor) none[std::size_t(int(*of.anchor))] = lt::low_priority;
    for (auto& one : of.fetches) {
        none[std::size_t(int(one.piece))] = lt::top_priority;
        // What it was told before is void.
        one.priority = 0;
        one.deadline = false;
    }
    tell([&] { of.torrent.prioritize_pieces(none); });
}

// A torrent of which nothing is wanted is finished: libtorrent says so to its peers, and seeders
// leave it, who are not to be had back for a minute. So one piece that nobody wants is downloaded,
// its blocks are dropped, and it is never answered for. It moves when somebody does want it.
void core::cast_anchor(film& of)
{
    of.anchor = place_for_anchor(of);
    if (!of.anchor) return;
    tell([&] { of.torrent.piece_priority(*of.anchor, lt::low_priority); });
}

// Of a piece that nobody wants any more, which becomes the anchor if there is none.
lt::download_priority_t core::unwanted_priority(film& of, lt::piece_index_t const piece) const
{
    if (config_.on_demand && !of.anchor) of.anchor = piece;
    return of.anchor == piece ? lt::low_priority : lt::dont_download;
}

// None if all of it is here or on its way: to libtorrent it is not finished then.
std::optional<lt::piece_index_t> core::place_for_anchor(film const& of)
{
    for (auto number = of.files.num_pieces() - 1; number >= 0; --number) {
        auto const piece = lt::piece_index_t(number);
        if (!of.wants(piece) && of.pieces.find(number) == of.pieces.end()) return piece;
    }
    return std::nullopt;
}

// What goes on by the clock: what players want becomes what libtorrent downloads first.

void core::arm()
{
    if (armed_ || aborted_ || !timer_) return;
    armed_ = true;
    auto const idle = quiet_ >= lull && stopped_.empty();
    timer_->expires_after(idle ? idle_tick : busy_tick);
    timer_->async_wait([self = weak_from_this()](boost::system::error_code const& error) {
        auto const core = self.lock();
        if (error || !core) return;
        core->armed_ = false;
        core->tick();
    });
}

void core::tick()
{
    if (aborted_) return;
    auto any = false;
    ++quiet_;
    // A copy: what is told of a change may add torrents.
    auto const films = films_;
    for (auto const& of : films) {
        if (!of || of->removed || of->storage == 0) continue;
        any = true;
        look_again(*of);
        if (config_.mode == mode::stream) {
            begin_anew(*of);
            drive(*of);
            if (!of->fetches.empty()) quiet_ = 0;
        }
    }
    // Whether there is room again nobody says; those who were stopped find out.
    if (hashing_ <= config_.budget / 8 && std::chrono::steady_clock::now() >= full_until_) {
        auto const stopped = std::move(stopped_);
        stopped_.clear();
        for (auto const& one : stopped) {
            if (auto const observer = one.lock()) observer->on_disk();
        }
    }
    if (any) arm();
}

// Pieces of v2 torrents whose hashes have come meanwhile; and of mode `keep` those for whose entry
// in the table there was no room.
void core::look_again(film& of)
{
    auto const stream = config_.mode == mode::stream;
    if (stream && of.info && !of.info->info_hashes().has_v2()) return;
    std::vector<int> waiting;
    for (auto const& one : of.pieces) {
        if (one.second.waiting) waiting.push_back(one.first);
    }
    for (auto const number : waiting) {
        auto const place = of.pieces.find(number);
        // What libtorrent is told of one piece may have it clear others.
        if (place == of.pieces.end() || !place->second.waiting) continue;
        auto const piece = lt::piece_index_t(number);
        auto const found = of.judge(piece, *place->second.waiting);
        if (found == verdict::unknown) continue;
        if (stream) {
            auto const known = std::move(place->second.waiting);
            settle(of, piece, found, *known);
            continue;
        }
        auto const full = found == verdict::good && publish(of, piece) == LB_BUDGET_EXHAUSTED;
        if (!full) of.pieces.erase(number);
    }
}

// Who had part in a bad piece is on parole: he is asked for no piece that others have begun, until
// one that is his alone is found good. In this mode libtorrent hears of no good one, and if those
// who began a piece are gone it would wait for ever. So it is begun anew for him.
void core::begin_anew(film& of)
{
    auto const now = std::chrono::steady_clock::now();
    if (now < of.next_look) return;
    of.next_look = now + stuck;
    std::vector<int> begun;
    for (auto const& one : of.pieces) {
        if (of.stalled(one.first, one.second, now - stuck)) begun.push_back(one.first);
    }
    if (begun.empty()) return;
    std::vector<lt::peer_info> peers;
    tell([&] { of.torrent.get_peer_info(peers); });
    auto const has_no_work = [](lt::peer_info const& peer) {
        return (peer.flags & lt::peer_info::on_parole)
            && !(peer.flags & lt::peer_info::remote_choked) && peer.download_queue_length == 0;
    };
    if (std::none_of(peers.begin(), peers.end(), has_no_work)) return;
    // Whoever is slow, and still at it, goes on.
    std::vector<lt::partial_piece_info> queue;
    tell([&] { queue = of.torrent.get_download_queue(); });
    for (auto const number : begun) {
        auto const requested = [&](lt::partial_piece_info const& one) {
            return int(one.piece_index) == number && one.requested > 0;
        };
        if (std::none_of(queue.begin(), queue.end(), requested))
            withdraw(of, lt::piece_index_t(number));
    }
}

// Where pieces that nobody goes on with, of a torrent that is paused or has lost its peers, take
// the room of those that could arrive, they must come again.
void core::give_up_stalled(std::chrono::steady_clock::time_point const now)
{
    for (auto const& of : films_) {
        if (!of) continue;
        withdraw_if(*of, [&](int const number, withheld const& one) {
            return of->stalled(number, one, now - hopeless);
        });
    }
}

// Assemblies take at most half of the budget, and each takes some more than its piece. More than
// some hundred on their way make nothing faster.
std::size_t core::most_fetches(film const& of) const
{
    auto const length = std::int64_t(of.files.piece_length());
    auto const most = config_.budget / 2 / (length + length / 64 + (8 << 10));
    return std::size_t(std::min(std::max(most, std::int64_t(1)), std::int64_t(512)));
}

void core::drive(film& of)
{
    end_fetches(of);
    take_fetches(of);
    auto const now = std::chrono::steady_clock::now();
    auto const late = [&](fetch const& one) { return now - one.since > lateness; };
    if (std::any_of(of.fetches.begin(), of.fetches.end(), late)) of.slow_until = now + slowness;
    auto const slow = now < of.slow_until;
    for (std::size_t rank = 0; rank < of.fetches.size(); ++rank) {
        auto& one = of.fetches[rank];
        auto const priority = std::max(rank < 2 ? 7 : rank < 6 ? 6 : 5, int(one.before));
        if (rank >= 2) one.since = now;
        if (slow && !one.deadline) {
            one.deadline = true;
            auto const time = int(rank + 1) * 100;
            tell([&] { of.torrent.set_piece_deadline(one.piece, time); });
            one.priority = 0; // to libtorrent it is the highest now
        }
        if (one.priority != priority) {
            one.priority = std::uint8_t(priority);
            auto const told = lt::download_priority_t(one.priority);
            tell([&] { of.torrent.piece_priority(one.piece, told); });
        }
    }
    // A player that jumps leaves the old place first: the new one may be wanted a tick later.
    if (!of.left || of.fetches.empty()) return;
    of.left = false;
    if (!slow) change_course(of);
}

// Of what is here, and of what nobody wants any more.
void core::end_fetches(film& of)
{
    for (std::size_t at = 0; at < of.fetches.size();) {
        auto const place = of.fetches.begin() + std::ptrdiff_t(at);
        auto const piece = place->piece;
        bool here = false;
        bool cancelled = false;
        lb_contains(of.storage, std::uint32_t(int(piece)), &here);
        lb_fetch_cancelled(place->handle, &cancelled);
        if (!here && !cancelled) {
            ++at;
            continue;
        }
        end_fetch(of, place, here);
        if (here) continue;
        of.left = true;
        // What is whole will be here in a moment.
        auto const state = of.pieces.find(int(piece));
        auto const begun
            = state != of.pieces.end() && (!state->second.whole() || state->second.waiting);
        if (config_.on_demand && begun) withdraw(of, piece);
    }
}

void core::end_fetch(film& of, std::vector<fetch>::const_iterator const place, bool const here)
{
    auto const one = *place;
    lb_fetch_close(one.handle);
    of.fetches.erase(place);
    auto priority = lt::download_priority_t(one.before);
    // What is here stays wanted a little, until it goes.
    if (config_.on_demand) priority = here ? lt::low_priority : unwanted_priority(of, one.piece);
    set_priority(of, one.piece, priority);
}

void core::take_fetches(film& of)
{
    auto const most = most_fetches(of);
    std::size_t first = 0;
    while (of.fetches.size() < most) {
        fetch next{ };
        std::uint32_t number = 0;
        if (lb_wanted_next(of.storage, 0, &next.handle, &number, nullptr) != LB_OK) return;
        next.piece = lt::piece_index_t(int(number));
        next.since = std::chrono::steady_clock::now();
        if (!config_.on_demand) {
            auto const before
                = ask(lt::dont_download, [&] { return of.torrent.piece_priority(next.piece); });
            next.before = static_cast<std::uint8_t>(before);
        }
        // The next one of a window can wait for those before it; one after a jump cannot.
        bool follows = false;
        if (number > 0) lb_contains(of.storage, number - 1, &follows);
        follows = follows || of.wants(lt::piece_index_t(int(number) - 1));
        auto const place
            = follows ? of.fetches.end() : of.fetches.begin() + std::ptrdiff_t(first++);
        of.fetches.insert(place, next);
        // Only now: it must not be cast on the piece that is wanted.
        if (next.piece == of.anchor) {
            cast_anchor(of);
            withdraw(of, next.piece);
        }
    }
}

void core::set_priority(
    film& of, lt::piece_index_t const piece, lt::download_priority_t const priority)
{
    // In this order: to take a deadline back sets a priority.
    tell([&] { of.torrent.reset_piece_deadline(piece); });
    tell([&] { of.torrent.piece_priority(piece, priority); });
}

// After a jump: what was requested for the old place is cancelled, for it would come first.
// libtorrent does so when the first deadline of all is set. It is taken back at once, for while
// there are deadlines it requests most of a second late.
void core::change_course(film& of)
{
    auto const piece = of.fetches.front().piece;
    tell([&] { of.torrent.set_piece_deadline(piece, 0); });
    of.fetches.front().deadline = false;
    post([self = shared_from_this(), film = of.shared_from_this(), piece] {
        // What ended meanwhile was given its priority then.
        if (film->removed || self->aborted_ || !film->wants(piece)) return;
        self->set_priority(*film, piece, lt::top_priority);
        self->rouse(*film, piece);
    });
}

} // namespace lookbehind::detail
