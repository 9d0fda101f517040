//! Time: what the deadlines of waits are measured by, and who wakes the waits.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::{Arc, PoisonError},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use crate::foreign::Guest;
use crate::sync::unmodelled::{Condvar, Mutex, MutexGuard};
use crate::wake::wake;

mod sleep;

pub(crate) use sleep::{Sleep, block_on};

/// How long the timer thread stays when no timer is left.
const IDLE: Duration = Duration::from_secs(5);
/// The longest the timer thread sleeps at a stretch; platforms differ in what they can take.
const LONGEST: Duration = Duration::from_secs(3600);

/// A clock that wakes whoever waits for a point in time.
///
/// The library has no runtime, so that it brings a timer of its own. A *system* clock goes by
/// the monotonic time of the machine. Its one thread, `lookbehind-timer`, starts with the
/// first timer and ends five seconds after it last had one to look after; when timers come
/// again, it starts again. Once every clone of the clock has been dropped, it ends with the last
/// timer. (A timer that is taken back is noticed when its time comes, or within the hour.)
/// Should no thread be had, the timers are woken at once instead of in time: whoever waits then
/// looks at the clock over and over, which costs work, but every deadline holds.
///
/// A *manual* clock stands still until it is told to [`advance`](Self::advance), which suits
/// tests.
///
/// Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use lookbehind::Clock;
///
/// let clock = Clock::manual();
/// assert_eq!(clock.now(), Duration::ZERO);
/// assert!(clock.advance(Duration::from_secs(3)));
/// assert_eq!(clock.clone().now(), Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct Clock {
    handle: Arc<Handle>,
}

/// What all clones share: its drop says that there is none left. Timers and the thread keep
/// [`Shared`] only, and so do not keep the clock.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    time: Time,
    /// Held for steps of the map only. No waker is cloned, woken or dropped under it: all three
    /// run code of others, which may well set a timer, or drop one.
    timers: Mutex<Timers>,
    /// Tells the thread that an earlier timer has come, or that the clock has been dropped.
    changed: Condvar,
}

#[derive(Debug)]
enum Time {
    System {
        origin: Instant,
        /// Starts the timer thread; apart, so that tests can let it fail.
        spawn: fn(Arc<Shared>) -> io::Result<()>,
    },
    Manual,
}

#[derive(Debug, Default)]
struct Timers {
    due: BTreeMap<TimerId, Guest<Waker>>,
    next: u64,
    /// The time of a manual clock.
    manual_now: Duration,
    /// The thread runs or is being started. As long as timers are due it stays so.
    running: bool,
    /// Every clone of the clock has been dropped.
    closed: bool,
}

/// The name of a timer, of use to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId {
    // The order of the fields is the order in which timers fire.
    when: Duration,
    number: u64,
}

impl Clock {
    /// A clock that goes by the machine's monotonic time. This is the default.
    ///
    /// ```
    /// let clock = lookbehind::Clock::system();
    /// let before = clock.now();
    /// assert!(clock.now() >= before);
    /// ```
    #[must_use]
    pub fn system() -> Self {
        Self::new(Time::System { origin: Instant::now(), spawn: start_thread })
    }

    /// A clock that stands still until it is advanced, starting at zero. It has no thread. When
    /// the last clone is dropped, nobody can advance it any more, and what waits for it is
    /// woken and waits no longer.
    ///
    /// ```
    /// let clock = lookbehind::Clock::manual();
    /// assert_eq!(clock.now(), clock.now());
    /// ```
    #[must_use]
    pub fn manual() -> Self {
        Self::new(Time::Manual)
    }

    fn new(time: Time) -> Self {
        let shared = Arc::new(Shared { time, timers: Mutex::default(), changed: Condvar::new() });
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// The time since the clock was made. It never goes back.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.handle.shared.now()
    }

    /// Moves a manual clock forward, and wakes on this thread, before it returns, all whose time
    /// has come, the earliest first. Returns whether the clock could be moved: a system clock
    /// cannot, and nothing happens. A panic in what is woken is caught.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lookbehind::Clock;
    ///
    /// assert!(Clock::manual().advance(Duration::MAX));
    /// assert!(!Clock::system().advance(Duration::from_secs(1)));
    /// ```
    pub fn advance(&self, by: Duration) -> bool {
        let shared = &self.handle.shared;
        if !matches!(shared.time, Time::Manual) {
            return false;
        }
        let due = {
            let mut timers = shared.lock();
            timers.manual_now = timers.manual_now.saturating_add(by);
            let now = timers.manual_now;
            timers.take_due(now)
        };
        // What is woken may set timers that are due already: these are woken as they are set.
        wake_all(due);
        true
    }

    /// Wakes `waker` once `when` has come, at once if it has. It may also be woken too early,
    /// so look at [`now`](Self::now). Not to be called under a lock, for waking runs others'
    /// code.
    #[cfg(test)]
    pub(crate) fn at(&self, when: Duration, waker: &Waker) -> TimerId {
        self.handle.shared.arm(None, when, waker)
    }

    /// Forgets a timer, if it has not fired. Not to be called under a lock, for dropping a waker
    /// runs others' code.
    #[cfg(test)]
    pub(crate) fn cancel(&self, id: TimerId) {
        self.handle.shared.cancel(id);
    }

    /// A future that is ready once `when` has come.
    pub(crate) fn sleep_until(&self, when: Duration) -> Sleep {
        Sleep::new(Arc::clone(&self.handle.shared), when)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let left = {
            let mut timers = self.shared.lock();
            timers.closed = true;
            match self.shared.time {
                // The thread serves what is left and then ends.
                Time::System { .. } => BTreeMap::new(),
                Time::Manual => mem::take(&mut timers.due),
            }
        };
        self.shared.changed.notify_one();
        // The thread is not joined: this may be running on it.
        wake_all(left);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        // Nothing panics under the lock but for want of memory, and then the map is whole.
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        match self.time {
            Time::System { origin, .. } => origin.elapsed(),
            Time::Manual => self.lock().manual_now,
        }
    }

    /// Whether a wait until `when` is over: by the time, or as there is no clock any more.
    fn is_over(&self, when: Duration) -> bool {
        match self.time {
            Time::System { origin, .. } => origin.elapsed() >= when,
            Time::Manual => {
                let timers = self.lock();
                timers.closed || timers.manual_now >= when
            }
        }
    }

    /// Sets a timer. If `old`, a timer for the same time, has not fired yet, it gets the new
    /// waker and stays.
    fn arm(self: &Arc<Self>, old: Option<TimerId>, when: Duration, waker: &Waker) -> TimerId {
        let mut waker = Guest::new(waker.clone());
        let mut timers = self.lock();
        if let Some(old) = old
            && old.when == when
            && let Some(set) = timers.due.get_mut(&old)
        {
            mem::swap(set, &mut waker);
            drop(timers);
            // `waker` is the former one now, and is dropped here, outside the lock.
            return old;
        }
        let id = TimerId { when, number: timers.next };
        // 64 bits do not run out; but if they did, this must not panic.
        timers.next = timers.next.wrapping_add(1);
        let over = match self.time {
            Time::System { origin, .. } => origin.elapsed() >= when,
            Time::Manual => timers.closed || timers.manual_now >= when,
        };
        if over {
            drop(timers);
            wake(waker);
            return id;
        }
        let is_first = timers.due.first_key_value().is_none_or(|(at, _)| id < *at);
        timers.due.insert(id, waker);
        if let Time::System { spawn, .. } = self.time {
            if !mem::replace(&mut timers.running, true) {
                drop(timers);
                self.start(spawn);
            } else if is_first {
                drop(timers);
                self.changed.notify_one();
            }
        }
        id
    }

    /// Starts the thread; if there is none to be had, wakes everybody rather than nobody.
    fn start(self: &Arc<Self>, spawn: fn(Arc<Self>) -> io::Result<()>) {
        if spawn(Arc::clone(self)).is_err() {
            let stranded = {
                let mut timers = self.lock();
                timers.running = false;
                mem::take(&mut timers.due)
            };
            wake_all(stranded);
        }
    }

    fn cancel(&self, id: TimerId) {
        let (removed, ends) = {
            let mut timers = self.lock();
            let removed = timers.due.remove(&id);
            (removed, timers.closed && timers.due.is_empty())
        };
        // Only then: to wake the thread for each wait that ends well would cost more than the
        // thread's waking in vain once the time comes.
        if ends {
            self.changed.notify_one();
        }
        drop(removed);
    }

    /// What the timer thread does.
    fn run(&self) {
        let mut timers = self.lock();
        // Whether a whole idle time has passed without a timer.
        let mut idle = false;
        loop {
            let now = self.now();
            let due = timers.take_due(now);
            if !due.is_empty() {
                drop(timers);
                wake_all(due);
                timers = self.lock();
                idle = false;
                continue;
            }
            let next = timers.due.first_key_value().map(|(id, _)| id.when);
            let wait = match next {
                Some(when) => when.saturating_sub(now).min(LONGEST),
                None if timers.closed || idle => break,
                None => IDLE,
            };
            let (guard, waited) =
                self.changed.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner);
            timers = guard;
            idle = next.is_none() && waited.timed_out();
        }
        // Under the lock: whoever sets the next timer starts the next thread.
        timers.running = false;
    }
}

impl Timers {
    /// Takes out the timers whose time has come.
    fn take_due(&mut self, now: Duration) -> BTreeMap<TimerId, Guest<Waker>> {
        match self.due.first_key_value() {
            Some((id, _)) if id.when <= now => {}
            _ => return BTreeMap::new(),
        }
        let last = TimerId { when: now, number: u64::MAX };
        let later = self.due.split_off(&last);
        mem::replace(&mut self.due, later)
    }
}

fn start_thread(shared: Arc<Shared>) -> io::Result<()> {
    thread::Builder::new().name("lookbehind-timer".into()).spawn(move || shared.run()).map(drop)
}

/// Others' code may panic; the timer thread and the other timers go on.
fn wake_all(wakers: BTreeMap<TimerId, Guest<Waker>>) {
    wakers.into_values().for_each(wake);
}

#[cfg(test)]
mod tests;
