//! What a piece of one film is worth at one moment.

use std::time::Duration;

use super::habits::{Habits, LONGEST, RESUMED};
use crate::evict::policy::{Candidate, Scene};

/// Playheads that are asked about a piece, how soon they come by or whether they jump back: the
/// nearest that play, and the nearest that rests. With four of each the misses are the same to a
/// thousandth, or live to three, and to ask them takes half as long again.
const PLAYING: usize = 2;
const ASKED: usize = PLAYING + 1;
/// A miss that a viewer waits for is as bad as so many that he does not notice.
const WAITED: f64 = 8.0;
/// Nothing is sooner than this many seconds.
const SOON: f64 = 0.25;
/// A player that has not moved for so long is taken for paused, in seconds and in pieces.
const STILL: (f64, f64) = (10.0, 3.0);

/// How likely a viewer is to come back whose player was closed and lingers: as likely as not.
const BACK: f64 = 0.5;

/// A playhead.
struct Watcher {
    /// The second of the film that is read next.
    position: f64,
    /// Seconds since it got there; what was read last is being played.
    since: f64,
    /// Seconds that it is expected to pause from now on.
    pause: f64,
    /// Seconds ahead of it that were asked for already.
    window: f64,
    /// Seconds since its session began.
    age: f64,
    /// How likely its viewer is there; and the same by how likely a session lasts up to now, for it
    /// has.
    there: f64,
    still: f64,
}

/// A film as its policy sees it during one eviction.
pub(super) struct Outlook<'a> {
    habits: &'a Habits,
    scene: &'a Scene<'a>,
    /// Whose viewers play, as far as is known; and the others. The furthest first.
    playing: Vec<Watcher>,
    resting: Vec<Watcher>,
    /// New sessions a second.
    arrivals: f64,
    /// Seconds that a byte plays.
    second: f64,
    /// Where the film ends, in seconds.
    end: f64,
    /// Where the last of the resumed sessions start, in seconds.
    resumed: f64,
}

impl<'a> Outlook<'a> {
    pub(super) fn new(habits: &'a Habits, scene: &'a Scene<'a>, arrivals: f64) -> Self {
        let ago = |time: Duration| scene.now.saturating_sub(time).as_secs_f64();
        // The same for places of playheads and of pieces: they are compared.
        let second = scene.seconds(1);
        let still = f64::max(STILL.0, STILL.1 * scene.seconds(scene.piece_len));
        let (mut playing, mut resting) = (Vec::with_capacity(scene.watchers.len()), Vec::new());
        for seen in scene.watchers {
            let (since, age) = (ago(seen.moved), ago(seen.opened));
            let plays = seen.playing && since <= still;
            let there = if seen.open { 1.0 } else { BACK };
            let watcher = Watcher {
                position: seen.position as f64 * second,
                since,
                pause: if plays { 0.0 } else { habits.pause_left(since) },
                window: f64::min(seen.ahead as f64 * second, LONGEST),
                age,
                there,
                still: there / habits.stay.at(age).max(f64::MIN_POSITIVE),
            };
            if plays { &mut playing } else { &mut resting }.push(watcher);
        }
        for watchers in [&mut playing, &mut resting] {
            watchers.sort_unstable_by(|a, b| b.position.total_cmp(&a.position));
        }
        let end = scene.seconds(scene.film.end).max(1.0);
        Self { habits, scene, playing, resting, arrivals, second, end, resumed: RESUMED * end }
    }

    /// The hits a second that keeping the piece is expected to bring.
    pub(super) fn density(&self, candidate: &Candidate) -> f64 {
        let begin = candidate.bytes.start as f64 * self.second;
        let end = candidate.bytes.end as f64 * self.second;
        let mut rate = self.arrive(candidate, begin);
        let mut uses = [Use::NEVER; ASKED];
        let (first, last) = uses.split_at_mut(PLAYING);
        let mut waited = false;
        for (watchers, uses) in [(&self.playing, first), (&self.resting, last)] {
            let passed = watchers.partition_point(|watcher| watcher.position >= end);
            let (passed, coming) = watchers.split_at(passed);
            for watcher in passed.iter().rev().take(uses.len()) {
                rate += self.jump_back(watcher, begin, end);
            }
            // What the nearest has asked for already it will wait for.
            waited |= coming.first().is_some_and(|w| end <= w.position + w.window);
            for (use_, watcher) in uses.iter_mut().zip(coming) {
                *use_ = self.come_by(watcher, begin, end);
            }
        }
        // By their windows those may be first that are not the nearest.
        uses.sort_unstable_by(|a, b| a.time.total_cmp(&b.time));
        let weight = if waited { WAITED } else { 1.0 };
        weight * self.next_use(rate, &uses)
    }

    /// When a playhead behind the piece needs it.
    ///
    /// What lies in its window was asked for already, and is needed when it is played; what lies
    /// beyond when the window gets there.
    fn come_by<'w>(&self, watcher: &'w Watcher, begin: f64, end: f64) -> Use<'w> {
        let ahead = begin - watcher.position;
        let asked = end <= watcher.position + watcher.window;
        let way = f64::max(if asked { ahead } else { ahead - watcher.window }, 0.0);
        // What was read last is being played.
        let playing = f64::max(end - begin - watcher.since, 0.0);
        let time = (way + playing) * self.habits.slow + watcher.pause;
        Use { time, way, watcher: Some(watcher) }
    }

    /// How likely it does.
    fn likely(&self, use_: &Use<'_>) -> f64 {
        let Some(watcher) = use_.watcher else { return 0.0 };
        let stays = watcher.still * self.habits.stay.at(watcher.age + use_.time);
        stays * self.habits.unskipped.at(use_.way)
    }

    fn jump_back(&self, watcher: &Watcher, begin: f64, end: f64) -> f64 {
        let length = f64::max(end - begin, 0.0);
        let behind = watcher.position - end + watcher.since.min(length) - length / 2.0;
        let behind = behind.max(0.0);
        // Where a jump lands the viewer waits.
        let hits = self.habits.back.at(behind);
        let landing = f64::min(length * self.habits.landing.at(behind), hits);
        watcher.there * (hits + (WAITED - 1.0) * landing)
    }

    /// The hits a second by viewers who are yet to arrive. Where they come by only long after they
    /// arrived, that is later still: one over the mean time to the next of them.
    fn arrive(&self, candidate: &Candidate, begin: f64) -> f64 {
        let habits = self.habits;
        let (film, bytes) = (&self.scene.film, &candidate.bytes);
        // Of those who arrive the part that comes by, and how long after that, over all of them.
        let (part, delay) = if let (true, Some((part, delay))) = (self.scene.live, &habits.live) {
            let lag = self.end - begin;
            let part = part.at(lag);
            (part, part * delay.at(lag))
        } else {
            let between = f64::min(begin, self.resumed);
            let way = begin - between / 2.0;
            let resumed = (1.0 - habits.from_start) * between / self.resumed * habits.reach.at(way);
            let started = habits.from_start * habits.reach.at(begin);
            (started + resumed, started * begin + resumed * way)
        };
        let mut hits = self.arrivals * part / (1.0 + self.arrivals * delay * habits.slow);
        let ends = !self.scene.live && habits.probes;
        if ends && (bytes.start <= film.start || bytes.end >= film.end) {
            hits += WAITED * self.arrivals;
        }
        hits
    }

    /// The hits a second until the next use, for as long as it pays to wait for it.
    ///
    /// A piece that is needed again is fetched then, if it was not kept, and is there for all who
    /// come later: so it is the next use that keeping it saves, not those behind. `uses` may come,
    /// the soonest first, beside others at any time with `rate`. Waiting up to the n-th of them
    /// gives a probability of a use and a mean time: the best quotient counts (an index of
    /// Gittins, 1979; hit density, as LHD estimates it from ages: Beckmann et al., NSDI 2018).
    fn next_use(&self, rate: f64, uses: &[Use<'_>; ASKED]) -> f64 {
        // As a fraction: a division takes as long as all the rest of a round.
        let (mut best, mut by) = (rate, 1.0);
        let (mut unused, mut waited, mut before) = (1.0, 0.0, 0.0);
        for next in uses {
            let step = next.time - before;
            before = next.time;
            // None of the others until then: e^-x, by the first terms of e^x.
            let x = rate * step;
            let terms = 1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0)));
            let none = 1.0 / (1.0 + x * terms);
            waited += unused * step * terms * none;
            // Sure as it may be, it cannot be better.
            if best * (waited + SOON) >= by {
                break;
            }
            unused *= none * (1.0 - self.likely(next));
            let used = 1.0 - unused;
            if used * by > best * (waited + SOON) {
                (best, by) = (used, waited + SOON);
            }
        }
        best / by
    }
}

/// A playhead's way to a piece.
#[derive(Clone, Copy)]
struct Use<'w> {
    /// Seconds until then.
    time: f64,
    /// Seconds of film until then.
    way: f64,
    watcher: Option<&'w Watcher>,
}

impl Use<'_> {
    const NEVER: Self = Self { time: 1e12, way: 0.0, watcher: None };
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::evict::density::curve::Curve;
    use crate::evict::policy::Watcher;
    use crate::id::StorageId;

    /// Bytes of a piece, which plays ten seconds.
    const LEN: u64 = 1000;

    /// Habits that are straight lines, so that tables have them exactly.
    fn habits(live: bool) -> Habits {
        let line = |slope: f64, at: f64| {
            Curve::new(|step| at + slope * crate::evict::density::curve::start(step))
        };
        Habits {
            stay: line(-1e-4, 1.0),
            unskipped: line(-2e-4, 1.0),
            back: line(-1e-8, 1e-3),
            landing: line(-2e-9, 1e-5),
            pause: None,
            slow: 1.25,
            reach: line(-1e-6, 0.9),
            from_start: 0.75,
            live: live.then(|| (line(1e-6, 0.1), line(0.5, 3.0))),
            probes: true,
        }
    }

    fn watcher(position: u64) -> Watcher {
        let zero = Duration::ZERO;
        Watcher {
            position,
            ahead: 3 * LEN,
            opened: zero,
            moved: Duration::from_secs(96),
            playing: true,
            open: true,
        }
    }

    fn density(habits: &Habits, arrivals: f64, watchers: &[Watcher], piece: u64) -> f64 {
        let (film, now) = (0..100 * LEN, Duration::from_secs(100));
        let storage = StorageId { index: 0, generation: 0 };
        let scene = Scene::new(storage, now, film, LEN, LEN / 10, watchers);
        let scene = if habits.live.is_some() { scene.live() } else { scene };
        let candidate = Candidate::new(storage, piece as u32, piece * LEN..(piece + 1) * LEN);
        Outlook::new(habits, &scene, arrivals).density(&candidate)
    }

    /// How likely one comes whose session has lasted for 100 s.
    fn likely(time: f64, way: f64) -> f64 {
        (1.0 - 1e-4 * (100.0 + time)) / (1.0 - 1e-4 * 100.0) * (1.0 - 2e-4 * way)
    }

    #[track_caller]
    fn same(is: f64, should: f64) {
        assert!((is / should - 1.0).abs() < 1e-6, "{is} {should}");
    }

    #[test]
    fn a_playhead_that_comes_by_needs_it_after_its_way_if_it_does_not_quit_or_skip() {
        let habits = habits(false);
        // At 200 s, 4 s into what it read last, with a window of 30 s: 100 s to the piece, so 70 to
        // where the window reaches it, and 6 until the playhead moves on.
        let time: f64 = (70.0 + 6.0) * 1.25;
        same(density(&habits, 0.0, &[watcher(20 * LEN)], 30), likely(time, 70.0) / (time + SOON));
        // Within the window it is waited for.
        let time: f64 = (20.0 + 6.0) * 1.25;
        let expected = WAITED * likely(time, 20.0) / (time + SOON);
        same(density(&habits, 0.0, &[watcher(20 * LEN)], 22), expected);
        // A viewer who has left is there as likely as not.
        let left = Watcher { open: false, ..watcher(20 * LEN) };
        same(density(&habits, 0.0, &[left], 22), BACK * expected);
    }

    #[test]
    fn the_next_of_two_counts_or_both() {
        let habits = habits(false);
        let use_of = |way: f64| {
            let time: f64 = (way + 6.0) * 1.25;
            (time, likely(time, way))
        };
        // The nearer one has left, and may come back.
        let left = Watcher { open: false, ..watcher(20 * LEN) };
        let ((first, one), (then, two)) = (use_of(70.0), use_of(170.0));
        let one = one * BACK;
        let waited = first + (1.0 - one) * (then - first);
        let both = (one + (1.0 - one) * two) / (waited + SOON);
        let best = f64::max(one / (first + SOON), both);
        same(density(&habits, 0.0, &[left, watcher(10 * LEN)], 30), best);
    }

    #[test]
    fn those_that_passed_may_jump_back_the_last_two_that_play_and_the_last_that_rests() {
        let habits = habits(false);
        // At 300 s, 4 s on; the piece's middle is at 155 s, and what is played began at 290 s.
        let behind = |position: f64| position - 160.0 + 4.0 - 5.0;
        let one = |position: f64| {
            let landing = 1e-5 - 2e-9 * behind(position);
            1e-3 - 1e-8 * behind(position) + (WAITED - 1.0) * 10.0 * landing
        };
        same(density(&habits, 0.0, &[watcher(30 * LEN)], 15), one(300.0));
        let mut many: Vec<_> = (30..36).map(|piece| watcher(piece * LEN)).collect();
        same(density(&habits, 0.0, &many, 15), one(300.0) + one(310.0));
        let rests = |piece| Watcher { playing: false, ..watcher(piece * LEN) };
        many.extend([rests(28), rests(40)]);
        same(density(&habits, 0.0, &many, 15), one(300.0) + one(310.0) + one(280.0));
        // No more land on it than hit it.
        let long = Habits { landing: Curve::new(|_| 1.0), ..habits };
        let all = WAITED * (1e-3 - 1e-8 * behind(300.0));
        same(density(&long, 0.0, &[watcher(30 * LEN)], 15), all);
    }

    #[test]
    fn those_that_pause_hide_nobody_who_plays() {
        // Pauses that last for another thousand seconds, however long they have.
        let habits = Habits { pause: Some(Curve::new(|_| 1000.0)), ..habits(false) };
        let rests = |piece| Watcher { playing: false, ..watcher(piece * LEN) };
        let mut watchers: Vec<_> = (21..27).map(rests).collect();
        watchers.push(watcher(20 * LEN));
        let playing = density(&habits, 0.0, &[watcher(20 * LEN)], 30);
        same(density(&habits, 0.0, &watchers, 30), playing);
    }

    #[test]
    fn those_who_are_yet_to_arrive_come_by_some_time_after() {
        let habits = habits(false);
        let arrive = |rate: f64, at: f64| {
            let reach = |way: f64| 0.9 - 1e-6 * way;
            let between = f64::min(at / (RESUMED * 1000.0), 1.0);
            let way = at - between * RESUMED * 1000.0 / 2.0;
            let (started, resumed) = (0.75 * reach(at), 0.25 * between * reach(way));
            let delay = (started * at + resumed * way) / (started + resumed);
            1.0 / (1.0 / (rate * (started + resumed)) + delay * 1.25)
        };
        same(density(&habits, 0.01, &[], 40), arrive(0.01, 400.0));
        same(density(&habits, 0.01, &[], 95), arrive(0.01, 950.0));
        // Head and tail are read first of all.
        same(density(&habits, 0.01, &[], 0), arrive(0.01, 0.0) + WAITED * 0.01);
        same(density(&habits, 0.01, &[], 99), arrive(0.01, 990.0) + WAITED * 0.01);
        assert_eq!(density(&habits, 0.0, &[], 40), 0.0);
        // While one comes by, another may arrive.
        let rate = arrive(0.001, 400.0);
        let time: f64 = (70.0 + 6.0) * 1.25;
        let before = 1.0 - (-rate * time).exp();
        let (used, waited) = (before + (1.0 - before) * likely(time, 70.0), before / rate);
        same(density(&habits, 0.001, &[watcher(30 * LEN)], 40), used / (waited + SOON));
    }

    #[test]
    fn at_a_live_films_end_it_is_the_lag_that_counts() {
        let habits = habits(true);
        let (part, delay) = (0.1 + 1e-6 * 600.0, 3.0 + 0.5 * 600.0);
        same(density(&habits, 0.01, &[], 40), 1.0 / (1.0 / (0.01 * part) + delay * 1.25));
    }
}
