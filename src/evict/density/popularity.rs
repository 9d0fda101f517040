//! How often viewers arrive at each film.

use std::sync::Arc;
use std::time::Duration;

use crate::id::StorageId;
use crate::sync::{ArcSwap, Counter};

/// Seconds after which an arrival counts for 1/e.
const MEMORY: f64 = 20_000.0;
/// Seconds that are assumed to have passed before the first event.
const BEFORE: f64 = 300.0;
/// Arrivals that are assumed to have happened until then.
const ASSUMED: f64 = 0.03;
/// How much films are assumed to be alike: the shape of the gamma distribution of their rates.
/// Popularity is skewed, so little is taken from the mean of all (Zipf's law).
const ALIKE: f64 = 0.3;
/// Films that are known by name; beyond them the less popular half is forgotten. The list of them is
/// copied for each that is new, some 10 ns a film.
const FILMS: usize = 1 << 13;

/// Arrivals count from a later moment on when what is counted has grown so much, and from so many
/// seconds before that: long enough for what came earlier to have faded.
const GROWN: f64 = 1e100;
const KEPT: Duration = Duration::from_secs(32 * MEMORY as u64);

/// A film whose arrivals count for less all together has no viewers to speak of.
const FADED: f64 = 0.05;

/// A sum of arrivals: the bits of a float. Written by one thread at a time.
#[derive(Default)]
struct Sum(Counter);

impl Sum {
    fn new(sum: f64) -> Self {
        let this = Self::default();
        this.add(sum);
        this
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.get())
    }

    fn add(&self, arrivals: f64) {
        self.0.set((self.get() + arrivals).to_bits());
    }
}

/// Arrivals so far. Instead of fading each one counts for more than those before it, so that nothing
/// has to be touched as time goes by (forward decay: Cormode et al., ICDE 2009).
#[derive(Default)]
struct Seen {
    /// When the first viewer arrived.
    first: Duration,
    /// When an arrival counts for one.
    epoch: Duration,
    all: Sum,
    /// In their order: an eviction looks each of its films up, and hashing takes longer.
    films: Vec<(StorageId, Arc<Sum>)>,
    /// Films whose viewers have not all faded, as of when the last one was new: those of the past
    /// shall not make today's seem less popular.
    alive: usize,
}

impl Seen {
    fn film(&self, storage: StorageId) -> Option<&Sum> {
        let place = self.films.binary_search_by_key(&storage, |(id, _)| *id).ok()?;
        self.films.get(place).map(|(_, sum)| &**sum)
    }

    /// What an arrival counts for by now.
    fn weight(&self, now: Duration) -> f64 {
        (now.saturating_sub(self.epoch).as_secs_f64() / MEMORY).exp()
    }

    /// The same, counted from a later moment on.
    fn from(&self, epoch: Duration) -> Self {
        let faded = 1.0 / self.weight(epoch);
        let film = |(id, sum): &(StorageId, Arc<Sum>)| (*id, Arc::new(Sum::new(sum.get() * faded)));
        let films = self.films.iter().map(film).collect();
        let all = Sum::new(self.all.get() * faded);
        Self { first: self.first, epoch, all, films, alive: self.alive }
    }

    /// The same, and one more film of which nothing was seen yet. Of too many the less popular half
    /// is forgotten.
    fn with(&self, storage: StorageId, now: Duration) -> Self {
        let mut films = self.films.clone();
        if films.len() >= FILMS {
            let more = |(_, a): &(_, Arc<Sum>), (_, b): &(_, Arc<Sum>)| b.get().total_cmp(&a.get());
            films.select_nth_unstable_by(FILMS / 2, more);
            films.truncate(FILMS / 2);
            films.sort_unstable_by_key(|(id, _)| *id);
        }
        let least = FADED * self.weight(now);
        let alive = 1 + films.iter().filter(|(_, sum)| sum.get() >= least).count();
        let place = films.partition_point(|(id, _)| *id < storage);
        films.insert(place, (storage, Arc::default()));
        let all = Sum::new(self.all.get());
        Self { first: self.first, epoch: self.epoch, all, films, alive }
    }
}

/// The arrivals of all films. Written under the policy's mutex, read by evictions without: the sums
/// may be of two moments then, which makes an estimate a little worse.
#[derive(Default)]
pub(super) struct Popularity {
    seen: ArcSwap<Seen>,
}

impl Popularity {
    pub(super) fn arrived(&self, storage: StorageId, now: Duration) {
        let mut seen = self.seen.load_full();
        if seen.films.is_empty() {
            seen = Arc::new(Seen { first: now, epoch: now, ..Seen::default() });
        }
        if seen.weight(now) > GROWN {
            seen = Arc::new(seen.from(now.saturating_sub(KEPT)));
            self.seen.store(Arc::clone(&seen));
        }
        let weight = seen.weight(now);
        let count = |seen: &Seen, film: &Sum| {
            seen.all.add(weight);
            film.add(weight);
        };
        if let Some(film) = seen.film(storage) {
            return count(&seen, film);
        }
        let seen = seen.with(storage, now);
        seen.film(storage).into_iter().for_each(|film| count(&seen, film));
        self.seen.store(Arc::new(seen));
    }

    /// Arrivals a second to be expected at the film; `None` if no viewer ever arrived there.
    ///
    /// The mean of a gamma distribution, whose prior has the mean of all films. The first arrival
    /// of all says nothing of how often they come, and is left out of that.
    pub(super) fn arrivals(&self, storage: StorageId, now: Duration) -> Option<f64> {
        let seen = self.seen.load();
        let film = seen.film(storage)?.get();
        let faded = 1.0 / seen.weight(now);
        let since = now.saturating_sub(seen.first).as_secs_f64();
        let rest = if seen.epoch == seen.first { faded } else { (-since / MEMORY).exp() };
        let time = MEMORY * (1.0 - rest) + BEFORE;
        let all = (seen.all.get() * faded - 1.0).max(0.0) + ASSUMED;
        let mean = all / time / seen.alive as f64;
        Some((film * faded + ALIKE) / (time + ALIKE / mean))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn film(index: u32) -> StorageId {
        StorageId { index, generation: 0 }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn where_many_arrived_more_will() {
        let seen = Popularity::default();
        assert_eq!(seen.arrivals(film(0), at(0)), None);
        for n in 0..20 {
            seen.arrived(film(0), at(100 * n));
            if n % 10 == 0 {
                seen.arrived(film(1), at(100 * n));
            }
        }
        let rate = |film| seen.arrivals(film, at(2000)).unwrap();
        assert!(rate(film(0)) > 5.0 * rate(film(1)));
        assert!((rate(film(0)) - 1.0 / 100.0).abs() < 0.002, "{}", rate(film(0)));
        let later = seen.arrivals(film(0), at(200_000)).unwrap();
        assert!(later < rate(film(0)) / 50.0, "{later}");
    }

    #[test]
    fn films_are_found_in_whatever_order_they_came() {
        let seen = Popularity::default();
        let films = [5, 1, 9, 3, 7, 0];
        films.iter().for_each(|index| seen.arrived(film(*index), at(100)));
        assert!(films.iter().all(|index| seen.arrivals(film(*index), at(200)).is_some()));
        assert!([2, 4, 6, 8].iter().all(|index| seen.arrivals(film(*index), at(200)).is_none()));
    }

    #[test]
    fn a_lone_viewer_makes_nobody_expected() {
        let seen = Popularity::default();
        seen.arrived(film(0), at(1000));
        assert!(seen.arrivals(film(0), at(1600)).unwrap() < 1.0 / 5000.0);
    }

    #[test]
    fn what_is_counted_from_a_later_moment_is_the_same() {
        let seen = Popularity::default();
        // 231 times as long as an arrival is remembered, e^230 being about 1e100.
        let (year, often) = (at(231 * MEMORY as u64), at(3000));
        seen.arrived(film(0), at(0));
        seen.arrived(film(1), at(0));
        let now = year + 10 * often;
        (0..10).for_each(|n| seen.arrived(film(0), year + n * often));
        let moved = seen.seen.load().epoch;
        assert_eq!(moved, year - KEPT, "the test is too short");
        let sum: f64 = (1..=10).map(|n| (-(f64::from(n) * 3000.0) / MEMORY).exp()).sum();
        let time = MEMORY + BEFORE;
        let mean = (sum - 1.0 + ASSUMED) / time / 2.0;
        let expected = |count: f64| (count + ALIKE) / (time + ALIKE / mean);
        for (index, count) in [(0, sum), (1, 0.0)] {
            let rate = seen.arrivals(film(index), now).unwrap();
            assert!((rate / expected(count) - 1.0).abs() < 1e-9, "{rate} {}", expected(count));
        }
    }

    #[test]
    fn films_of_the_past_do_not_make_those_of_today_less_popular() {
        let (fresh, old) = (Popularity::default(), Popularity::default());
        (0..1000).for_each(|index| old.arrived(film(index), at(u64::from(index))));
        let month = 30 * 86_400;
        for n in 0..200 {
            for seen in [&fresh, &old] {
                seen.arrived(film(2000 + n % 20), at(month + u64::from(n) * 100));
            }
        }
        let rate = |seen: &Popularity| seen.arrivals(film(2000), at(month + 20_000)).unwrap();
        assert!((rate(&old) / rate(&fresh) - 1.0).abs() < 0.5, "{} {}", rate(&old), rate(&fresh));
    }

    #[test]
    fn where_all_films_are_as_popular_half_of_them_are_known_still() {
        // As when a server starts, and all are opened within a tick of the clock.
        let seen = Popularity::default();
        let films = (0..FILMS as u32).map(|index| (film(index), Arc::new(Sum::new(1.0)))).collect();
        seen.seen.store(Arc::new(Seen { films, ..Seen::default() }));
        seen.arrived(film(u32::MAX), at(1));
        let known = seen.seen.load().films.len();
        assert!((FILMS / 2..FILMS).contains(&known), "{known}");
    }

    #[test]
    fn films_that_nobody_opens_any_more_are_forgotten() {
        let seen = Popularity::default();
        let sum = |index: u32| (film(index), Arc::new(Sum::new(1.0 + f64::from(index % 3))));
        let films = (0..FILMS as u32).map(sum).collect();
        seen.seen.store(Arc::new(Seen { films, ..Seen::default() }));
        seen.arrived(film(u32::MAX), at(1));
        assert!(seen.seen.load().films.len() < FILMS);
        assert!(seen.arrivals(film(u32::MAX), at(1)).is_some());
        assert!(seen.arrivals(film(2), at(1)).is_some() && seen.arrivals(film(0), at(1)).is_none());
    }
}
