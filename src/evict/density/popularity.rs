//! How often viewers arrive at each film.

use std::collections::HashMap;
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
/// Films that are known by name; beyond them the least popular are forgotten.
const FILMS: usize = 1 << 16;

/// Arrivals, each fading with time.
#[derive(Default)]
struct Arrivals {
    /// The bits of a float.
    count: Counter,
    /// Milliseconds on the cache's clock.
    last: Counter,
}

impl Arrivals {
    fn count(&self, now: Duration) -> f64 {
        let since = now.saturating_sub(Duration::from_millis(self.last.get())).as_secs_f64();
        f64::from_bits(self.count.get()) * (-since / MEMORY).exp()
    }

    fn add(&self, now: Duration) {
        let count = self.count(now) + 1.0;
        self.last.set(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        self.count.set(count.to_bits());
    }
}

/// The arrivals of all films. Written under the policy's mutex, read by evictions without: count and
/// time of a film may be of two moments then, which makes an estimate a little worse.
#[derive(Default)]
pub(super) struct Popularity {
    films: ArcSwap<HashMap<StorageId, Arc<Arrivals>>>,
    all: Arrivals,
    /// Milliseconds at the first arrival, and one: 0 before.
    first: Counter,
}

impl Popularity {
    pub(super) fn arrived(&self, storage: StorageId, now: Duration) {
        if self.first.get() == 0 {
            self.first.set(u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
        }
        self.all.add(now);
        let films = self.films.load();
        if let Some(known) = films.get(&storage) {
            return known.add(now);
        }
        let mut films = HashMap::clone(&films);
        if films.len() >= FILMS {
            let mut counts: Vec<_> = films.values().map(|film| film.count(now)).collect();
            let (_, middle, _) = counts.select_nth_unstable_by(FILMS / 2, f64::total_cmp);
            let middle = *middle;
            films.retain(|_, film| film.count(now) > middle);
        }
        let film = Arc::<Arrivals>::default();
        film.add(now);
        films.insert(storage, film);
        self.films.store(Arc::new(films));
    }

    /// Arrivals a second to be expected at the film; `None` if no viewer ever arrived there.
    ///
    /// The mean of a gamma distribution, whose prior has the mean of all films. The first arrival
    /// of all says nothing of how often they come, and is left out of that.
    pub(super) fn arrivals(&self, storage: StorageId, now: Duration) -> Option<f64> {
        let films = self.films.load();
        let film = films.get(&storage)?.count(now);
        let first = Duration::from_millis(self.first.get().saturating_sub(1));
        let since = now.saturating_sub(first).as_secs_f64();
        let time = MEMORY * -(-since / MEMORY).exp_m1() + BEFORE;
        let all = (self.all.count(now) - 1.0).max(0.0) + ASSUMED;
        let mean = all / time / films.len() as f64;
        Some((film + ALIKE) / (time + ALIKE / mean))
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
    fn a_lone_viewer_makes_nobody_expected() {
        let seen = Popularity::default();
        seen.arrived(film(0), at(1000));
        assert!(seen.arrivals(film(0), at(1600)).unwrap() < 1.0 / 5000.0);
    }

    #[test]
    fn films_that_nobody_opens_any_more_are_forgotten() {
        let seen = Popularity::default();
        let mut films: HashMap<_, Arc<Arrivals>> = HashMap::new();
        for index in 0..FILMS as u32 {
            let arrivals = Arc::<Arrivals>::default();
            (0..=index % 3).for_each(|_| arrivals.add(at(0)));
            films.insert(film(index), arrivals);
        }
        seen.films.store(Arc::new(films));
        seen.arrived(film(u32::MAX), at(1));
        assert!(seen.films.load().len() < FILMS);
        assert!(seen.arrivals(film(u32::MAX), at(1)).is_some());
        assert!(seen.arrivals(film(2), at(1)).is_some() && seen.arrivals(film(0), at(1)).is_none());
    }
}
