//! What viewers do, as learnt from all of them: when they quit, skip, jump back, pause and arrive.
//!
//! A [`Tally`] counts; [`Habits`] are the tables that follow from it, made anew when something was
//! counted and then never changed, so that evictions look things up without a lock.

use super::curve::{Curve, FAINT, Histogram, STEPS, middle, start, step_of, width};
use super::{Term, Terms};

/// Sightings that what is assumed beforehand weighs as much as.
const ASSUMED: f64 = 8.0;
/// Play time that what is assumed of jumps' frequency weighs as much as, in seconds.
const ASSUMED_PLAY: f64 = 1800.0;
/// Quits that a step of the hazard is averaged over, together with its neighbours.
const SMOOTH: f64 = 3.0;
/// Seconds of play after which half of what was seen is forgotten: a thousand hours.
const MEMORY: f64 = 3.6e6;
/// No window counts for longer, in seconds: a player may ask for all there is.
pub(super) const LONGEST: f64 = 3600.0;
/// Where sessions that do not start at a film's beginning do: anywhere in this part of it.
pub(super) const RESUMED: f64 = 0.8;

/// What was seen of all viewers together.
#[derive(Clone)]
pub(super) struct Tally {
    /// Seconds of play.
    pub(super) played: f64,
    /// How many, and how far or long.
    pub(super) back: (f64, Histogram),
    pub(super) skip: (f64, Histogram),
    pub(super) pause: (f64, Histogram),
    /// By the age of the session, in seconds since it began: play seen, and sessions ended before
    /// the film did.
    at_age: [f64; STEPS],
    pub(super) quits: [f64; STEPS],
    /// Sessions that started at the film's beginning, and all.
    from_start: f64,
    starts: f64,
    /// How far behind a live film's end sessions start.
    lag: Histogram,
    live: bool,
    /// The mean window ahead, in seconds, and of how many.
    window: (f64, f64),
}

impl Tally {
    /// Nothing seen yet. The assumptions: of four jumps back three go some 15 s and one anywhere
    /// near, likewise 45 s forward; a pause takes a minute; each happens once in a quarter of an
    /// hour. Sessions are quit the less the longer they last, half of them within ten minutes or
    /// so (Yu et al., Understanding User Behavior in Large-Scale Video-on-Demand Systems, EuroSys
    /// 2006).
    pub(super) fn new() -> Self {
        let jumps = |step| Histogram::assumed(&[(step, 0.8, 0.65), (180.0, 1.2, 0.35)], ASSUMED);
        let count = ASSUMED_PLAY / 900.0;
        // An hour's look at one viewer, spread over the ages that he reached.
        let at_age = std::array::from_fn(|step| {
            let reached = (1.0 - (start(step) + 1.0) / 20_000.0).max(0.02);
            reached * width(step)
        });
        let hazard = |step| 0.4 / (start(step + 1) + 200.0);
        Self {
            played: ASSUMED_PLAY,
            back: (count, jumps(15.0)),
            skip: (count, jumps(45.0)),
            pause: (count, Histogram::assumed(&[(60.0, 1.0, 1.0)], ASSUMED / 2.0)),
            quits: std::array::from_fn(|step| at_age[step] * hazard(step)),
            at_age,
            from_start: 0.9 * ASSUMED / 2.0,
            starts: ASSUMED / 2.0,
            lag: Histogram::assumed(&[(60.0, 2.0, 1.0)], ASSUMED / 2.0),
            live: false,
            window: (60.0, 1.0),
        }
    }

    /// A session that had played for `age` seconds played for some more.
    pub(super) fn play(&mut self, age: f64, seconds: f64) {
        self.played += seconds;
        let (mut at, end) = (age, age + seconds);
        while at < end {
            let step = step_of(at);
            let next = if step + 1 < STEPS { start(step + 1).min(end) } else { end };
            self.at_age[step] += next - at;
            // Rounding may leave nothing between the two.
            at = next.max(at + 1e-3);
        }
        if self.played > MEMORY {
            self.fade();
        }
    }

    /// A jump by so many seconds of film.
    pub(super) fn jump(&mut self, by: f64) {
        let (count, sizes) = if by < 0.0 { &mut self.back } else { &mut self.skip };
        *count += 1.0;
        sizes.add(by.abs());
    }

    pub(super) fn pause(&mut self, seconds: f64) {
        self.pause.0 += 1.0;
        self.pause.1.add(seconds);
    }

    pub(super) fn quit(&mut self, age: f64) {
        self.quits[step_of(age)] += 1.0;
    }

    /// A session started so many seconds behind the film's beginning, or behind the end of a live
    /// one, with such a window ahead.
    pub(super) fn start(&mut self, at: f64, live: bool, window: f64) {
        if live {
            self.live = true;
            self.lag.add(at);
        } else {
            self.starts += 1.0;
            self.from_start += f64::from(at < 1.0);
        }
        self.window.1 += 1.0;
        self.window.0 += (window.min(LONGEST) - self.window.0) / self.window.1;
    }

    fn fade(&mut self) {
        for (count, sizes) in [&mut self.back, &mut self.skip, &mut self.pause] {
            *count /= 2.0;
            sizes.fade();
        }
        self.lag.fade();
        let counts = self.at_age.iter_mut().chain(&mut self.quits);
        counts.for_each(|count| *count /= 2.0);
        for count in [&mut self.played, &mut self.window.1] {
            *count /= 2.0;
        }
        if self.starts > FAINT {
            self.starts /= 2.0;
            self.from_start /= 2.0;
        }
    }

    /// Ends of sessions for each second, by age: the sightings of a step, and of its neighbours on
    /// both sides until there are enough.
    fn hazard(&self, step: usize) -> f64 {
        let (mut quits, mut seen) = (self.quits[step], self.at_age[step]);
        for far in 1..STEPS {
            if quits >= SMOOTH {
                break;
            }
            let sides = [step.checked_sub(far), Some(step + far).filter(|side| *side < STEPS)];
            for side in sides.into_iter().flatten() {
                quits += self.quits[side];
                seen += self.at_age[side];
            }
        }
        quits / seen.max(1.0)
    }
}

/// What is to be expected of viewers.
pub(super) struct Habits {
    /// The part of the sessions that last so long.
    pub(super) stay: Curve,
    /// How likely a piece so far ahead is not skipped until it is reached.
    pub(super) unskipped: Curve,
    /// Jumps back a second that hit a piece so far behind, by their best prospect: see `back`.
    pub(super) back: Curve,
    /// Jumps back a second that land on a second of film so far behind; likewise: see `landing`.
    pub(super) landing: Curve,
    /// Seconds that a pause still lasts which has lasted so long; nothing if pauses do not count.
    pub(super) pause: Option<Curve>,
    /// Seconds that a second of film takes, with pauses and with what is seen again.
    pub(super) slow: f64,
    /// The part of the sessions that get so far from where they started.
    pub(super) reach: Curve,
    /// The part of the sessions that start at the beginning.
    pub(super) from_start: f64,
    /// The part of a live film's sessions that come by what lies so far behind its end, and how long
    /// after they started.
    pub(super) live: Option<(Curve, Curve)>,
    /// Whether who opens a film reads its head and its tail first.
    pub(super) probes: bool,
}

impl Habits {
    pub(super) fn new(tally: &Tally, terms: Terms) -> Self {
        let counts = |term| f64::from(terms.has(term));
        let frequency = |what: &(f64, Histogram), term| what.0 / tally.played * counts(term);
        let quits = counts(Term::Quitting);
        let quit = Curve::sum(|step| quits * tally.hazard(step) * width(step));
        let stay = quit.map(|hazard| (-hazard).exp());
        // A jump forward from any place up to it, far enough to pass it.
        let skips = frequency(&tally.skip, Term::Skipping);
        let skip = tally.skip.1.survival().integral();
        let unskipped = skip.map(|area| (-area * skips).exp());
        let jumped = tally.back.1.survival();
        let seen_again = jumped.integral();
        let paused = tally.pause.1.survival();
        let pauses = paused.integral();
        let jumps_back = frequency(&tally.back, Term::JumpingBack);
        let slow = 1.0
            + frequency(&tally.pause, Term::Pausing) * pauses.last()
            + jumps_back * seen_again.last();
        let reach = Curve::new(|step| stay.at(start(step)) * unskipped.at(start(step)));
        let live = tally.live.then(|| came_by(&tally.lag, &reach));
        let back = back(&jumped, &seen_again, tally.window.0, jumps_back);
        let landing = landing(&jumped, jumps_back);
        let from_start = tally.from_start / tally.starts;
        let pause = terms.has(Term::Pausing).then(|| residual(&paused, &pauses));
        let probes = terms.has(Term::Probing);
        Self { stay, unskipped, back, landing, pause, slow, reach, from_start, live, probes }
    }

    /// Seconds that a pause still lasts which has lasted so long: the mean residual life.
    pub(super) fn pause_left(&self, so_far: f64) -> f64 {
        self.pause.as_ref().map_or(0.0, |left| left.at(so_far))
    }
}

/// What is left on the average of what has lasted so long: the mean residual life. Of what hardly
/// anything was seen to outlast as much is left as of what some did.
fn residual(survival: &Curve, area: &Curve) -> Curve {
    let mut left = area.last();
    Curve::new(|step| {
        let lasts = survival.at(start(step));
        if lasts > 1e-3 {
            left = (area.last() - area.at(start(step))) / lasts;
        }
        left
    })
}

/// The hits a second, by jumps back, of a piece `y` seconds behind a playhead.
///
/// The playhead moves on, so that the prospect fades. A jump of `d` seconds that is made `t` seconds
/// from now reaches the piece if `d >= y + t`, at once if it lands within a window in front of it,
/// else when playing gets there. With G the survival of d, jumps made until T hit the piece until
/// then with (integral of G from y to y + T) - T G(y + window + T) times their frequency. Held for
/// the best T, that for each second is worth the most.
fn back(jumped: &Curve, area: &Curve, window: f64, frequency: f64) -> Curve {
    Curve::new(|step| {
        let y = start(step);
        let hits = |t: f64| (area.at(y + t) - area.at(y)) / t - jumped.at(y + window + t);
        let at_once = jumped.at(y) - jumped.at(y + window);
        frequency * times().map(hits).fold(at_once, f64::max)
    })
}

/// The jumps back a second that land on a second of film `y` seconds behind a playhead: few just
/// behind it, but it moves on. Until T from now those of `y` to `y + T` seconds do; for the best T.
fn landing(jumped: &Curve, frequency: f64) -> Curve {
    Curve::new(|step| {
        let y = start(step);
        let land = |t: f64| (jumped.at(y) - jumped.at(y + t)) / t;
        frequency * times().map(land).fold(0.0, f64::max)
    })
}

/// How long a piece may be held, in seconds: two to an hour or so.
fn times() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(2.0), |t| Some(t * 1.5)).take(20)
}

/// Of sessions that start so far behind a live film's end: the part that comes by what lies `lag`
/// behind it, and how long that takes them.
fn came_by(lag: &Histogram, reach: &Curve) -> (Curve, Curve) {
    let sums = |first: usize| {
        let each = (first..STEPS).map(|step| {
            let ahead = if step == first { width(step) / 2.0 } else { middle(step) - start(first) };
            let part = lag.part(step) * reach.at(ahead);
            (part, part * ahead)
        });
        each.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    };
    let parts = Curve::new(|step| sums(step).0);
    let delays = Curve::new(|step| {
        let (part, delay) = sums(step);
        if part > 0.0 { delay / part } else { 0.0 }
    });
    (parts, delays)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[track_caller]
    fn same(is: f64, should: f64) {
        assert!((is - should).abs() <= 1e-9 * should.abs().max(1.0), "{is} {should}");
    }

    #[test]
    fn play_is_counted_at_the_ages_that_it_went_through() {
        let (before, mut tally) = (Tally::new(), Tally::new());
        tally.play(2.5, 4.0);
        same(tally.played, before.played + 4.0);
        let growth = |step: usize| tally.at_age[step] - before.at_age[step];
        for (step, seconds) in [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (4, 2.0), (5, 0.5)] {
            same(growth(step), seconds);
        }
        same((0..STEPS).map(growth).sum(), 4.0);
        tally.play(1e9, 7.0);
        same(tally.at_age[STEPS - 1], before.at_age[STEPS - 1] + 7.0);
    }

    #[test]
    fn what_was_seen_is_counted_where_it_belongs() {
        let (before, mut tally) = (Tally::new(), Tally::new());
        tally.jump(-20.0);
        tally.jump(50.0);
        tally.jump(60.0);
        tally.pause(30.0);
        tally.quit(100.0);
        tally.start(0.9, false, 40.0);
        tally.start(1.1, false, 40.0);
        same(tally.back.0, before.back.0 + 1.0);
        same(tally.skip.0, before.skip.0 + 2.0);
        same(tally.pause.0, before.pause.0 + 1.0);
        same(tally.quits[step_of(100.0)], before.quits[step_of(100.0)] + 1.0);
        same(tally.starts, before.starts + 2.0);
        same(tally.from_start, before.from_start + 1.0);
        same(tally.window.0, (60.0 + 40.0 + 40.0) / 3.0);
        assert!(!tally.live);
        tally.start(50.0, true, 40.0);
        same(tally.starts, before.starts + 2.0);
        assert!(tally.live && tally.lag.part(step_of(50.0)) > before.lag.part(step_of(50.0)));
    }

    #[test]
    fn after_a_thousand_hours_half_of_it_is_forgotten() {
        let mut tally = Tally::new();
        tally.jump(-20.0);
        let before = tally.clone();
        tally.play(1e9, MEMORY - before.played);
        same(tally.played, MEMORY);
        tally.play(1e9, 2.0);
        same(tally.played, MEMORY / 2.0 + 1.0);
        for (is, was) in [
            (tally.back.0, before.back.0),
            (tally.skip.0, before.skip.0),
            (tally.pause.0, before.pause.0),
            (tally.quits[20], before.quits[20]),
            (tally.at_age[20], before.at_age[20]),
            (tally.from_start, before.from_start),
            (tally.starts, before.starts),
            (tally.window.1, before.window.1),
        ] {
            same(is, was / 2.0);
        }
        same(tally.window.0, before.window.0);
        // What is seen from now on counts for twice as much as what was.
        let mut once = before.clone();
        tally.jump(-1000.0);
        once.jump(-1000.0);
        let step = step_of(1000.0);
        assert!(tally.back.1.part(step) > 1.5 * once.back.1.part(step));
    }

    #[test]
    fn what_is_never_seen_again_is_forgotten_without_a_trace_of_nonsense() {
        let mut tally = Tally::new();
        tally.start(10.0, true, 40.0);
        // A thousand viewers for two months, none of whom jumps, pauses or starts.
        (0..1500).for_each(|_| tally.play(1e9, MEMORY));
        let habits = Habits::new(&tally, Terms::default());
        assert!(habits.slow < 1.1, "{}", habits.slow);
        assert!((0.0..=1.0).contains(&habits.from_start), "{}", habits.from_start);
        assert!(habits.unskipped.at(100.0) > 0.9 && habits.back.at(10.0) >= 0.0);
        assert!(habits.pause_left(10.0) > 1.0, "{}", habits.pause_left(10.0));
        // The longer it has lasted the longer it will, though nobody was seen to pause for so long.
        let left = [1.0, 2.0, 6.0, 24.0, 200.0].map(|hours| habits.pause_left(3600.0 * hours));
        assert!(left.is_sorted() && left[0] > 300.0, "{left:?}");
        let (part, delay) = habits.live.as_ref().unwrap();
        assert!(part.at(10.0) > 0.0 && delay.at(10.0) > 0.0);
    }

    #[test]
    fn a_hazard_is_averaged_over_neighbours_until_enough_were_seen() {
        let mut tally = Tally::new();
        (tally.quits, tally.at_age) = ([0.0; STEPS], [10.0; STEPS]);
        tally.quits[10] = 3.0;
        same(tally.hazard(10), 0.3);
        same(tally.hazard(12), 3.0 / 50.0);
        same(tally.hazard(0), 3.0 / 110.0);
        tally.quits[8] = 2.0;
        same(tally.hazard(9), 5.0 / 30.0);
    }

    #[test]
    fn what_is_expected_follows_from_what_was_counted() {
        let mut tally = Tally::new();
        for _ in 0..5000 {
            tally.jump(-20.0);
            tally.jump(90.0);
            tally.pause(100.0);
        }
        tally.play(1e9, 1e6 - tally.played);
        let habits = Habits::new(&tally, Terms::default());
        let often = 5002.0 / 1e6;
        let near = |is: f64, should: f64, by: f64| {
            assert!((is / should - 1.0).abs() < by, "{is} {should}");
        };
        near(habits.slow, 1.0 + often * 100.0 + often * 20.0, 0.05);
        // Of jumps by 90 s those from less far away than that skip it.
        near(-habits.unskipped.at(50.0).ln(), often * 50.0, 0.03);
        near(-habits.unskipped.at(300.0).ln(), often * 90.0, 0.08);
        near(habits.pause_left(0.0), 100.0, 0.1);
        near(habits.pause_left(40.0), 60.0, 0.15);
        near(habits.reach.at(0.0), 1.0, 1e-9);
        let at = start(30);
        let reached = habits.stay.at(at) * habits.unskipped.at(at);
        near(habits.reach.at(at), reached, 1e-9);
        near(habits.from_start, 0.9, 1e-9);
        assert!(habits.live.is_none());
    }

    #[test]
    fn jumps_back_hit_what_lies_within_their_reach_for_as_long_as_that_lasts() {
        let mut jumps = Histogram::assumed(&[(100.0, 0.5, 1.0)], 10.0);
        (0..1000).for_each(|n| jumps.add(f64::from(n % 90)));
        let (jumped, area) = (jumps.survival(), jumps.survival().integral());
        let (window, frequency) = (7.0, 0.01);
        let table = back(&jumped, &area, window, frequency);
        for step in 0..30 {
            let y = start(step);
            // Second by second: a jump that lands in front of the piece, or far enough behind it.
            let best = (0..20).map(|n| 2.0 * 1.5f64.powi(n)).map(|until| {
                let within = (area.at(y + until) - area.at(y)) / until;
                within - jumped.at(y + window + until)
            });
            let best = best.fold(jumped.at(y) - jumped.at(y + window), f64::max);
            same(table.at(y), frequency * best);
        }
        assert!(table.at(0.0) > 3.0 * table.at(80.0));
    }

    #[test]
    fn a_piece_is_held_until_it_is_where_jumps_land() {
        // All jumps are by 24 to 28 s.
        let (frequency, step) = (0.01, step_of(24.0));
        let jumped = Curve::new(|at| f64::from(at <= step));
        let table = landing(&jumped, frequency);
        let held =
            |y: f64| times().map(|t| frequency * (1.0 - jumped.at(y + t)) / t).fold(0.0, f64::max);
        for (y, most) in [(0.0, 28.0), (12.0, 16.0), (24.0, 4.0)] {
            let (is, best) = (table.at(y), frequency / most);
            same(is, held(y));
            assert!((0.6 * best..1.001 * best).contains(&is), "{is} {best}");
        }
        same(table.at(28.0), 0.0);
    }

    #[test]
    fn at_a_live_films_end_those_come_by_who_started_further_back() {
        let mut lag = Histogram::assumed(&[(60.0, 1.0, 1.0)], 1e-6);
        lag.add(middle(20));
        lag.add(middle(30));
        let reach = Curve::new(|step| 1.0 / (1.0 + start(step) / 1000.0));
        let (parts, delays) = came_by(&lag, &reach);
        let at = start(25);
        let way = middle(30) - at;
        let near =
            |is: f64, should: f64| assert!((is / should - 1.0).abs() < 1e-3, "{is} {should}");
        near(parts.at(at), 0.5 * reach.at(way));
        near(delays.at(at), way);
        let (one, two) = (middle(20) - start(10), middle(30) - start(10));
        let (a, b) = (0.5 * reach.at(one), 0.5 * reach.at(two));
        near(parts.at(start(10)), a + b);
        near(delays.at(start(10)), (a * one + b * two) / (a + b));
        near(
            parts.at(start(20)),
            0.5 * reach.at(width(20) / 2.0) + 0.5 * reach.at(middle(30) - start(20)),
        );
        assert!(parts.at(start(40)) < 1e-6);
    }
}
