//! The clock: nothing is lost, nothing is left behind, and no foreign code does harm.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

/// A waker that does something.
fn doing(what: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Doing<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Doing<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Waker::from(Arc::new(Doing(what)))
}

fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

fn set(clock: &Clock) -> usize {
    clock.handle.shared.lock().due.len()
}

/// Waits for what another thread is bound to do, however long that takes it.
fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_manual_clock_fires_what_is_due_in_order_and_nothing_else() {
    let clock = Clock::manual();
    let fired = Arc::new(Mutex::new(Vec::new()));
    for second in [3, 1, 2, 4] {
        let fired = Arc::clone(&fired);
        clock.at(SECOND * second, &doing(move || fired.lock().unwrap().push(second)));
    }
    clock.advance(SECOND / 2);
    assert!(fired.lock().unwrap().is_empty());
    clock.advance(SECOND * 5 / 2);
    assert_eq!(*fired.lock().unwrap(), [1, 2, 3]);
    assert_eq!(set(&clock), 1);
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), Duration::MAX, "time stops rather than overflows");
    assert_eq!(*fired.lock().unwrap(), [1, 2, 3, 4]);
}

#[test]
fn a_timer_at_the_end_of_time_is_still_a_timer() {
    let clock = Clock::manual();
    let (count, waker) = counted();
    clock.at(Duration::MAX, &waker);
    clock.advance(SECOND);
    assert_eq!(count.get(), 0);
    clock.advance(Duration::MAX);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_time_that_has_come_wakes_at_once() {
    let (count, waker) = counted();
    Clock::manual().at(Duration::ZERO, &waker);
    Clock::system().at(Duration::ZERO, &waker);
    assert_eq!(count.get(), 2);
}

#[test]
fn a_cancelled_timer_does_not_fire_and_leaves_nothing() {
    let clock = Clock::manual();
    let (count, waker) = counted();
    let gone = clock.at(SECOND, &waker);
    clock.at(SECOND, &waker);
    clock.cancel(gone);
    clock.cancel(gone);
    clock.advance(SECOND);
    assert_eq!(count.get(), 1);
    assert_eq!(set(&clock), 0);
}

#[test]
fn a_sleep_wakes_the_task_that_polled_last() {
    let clock = Clock::manual();
    let mut sleep = clock.sleep_until(SECOND);
    let ((old, old_waker), (new, new_waker)) = (counted(), counted());
    assert!(poll(&mut sleep, &old_waker).is_pending());
    assert!(poll(&mut sleep, &new_waker).is_pending());
    assert!(poll(&mut sleep, &new_waker).is_pending());
    assert_eq!(set(&clock), 1, "one timer, however often it is polled");
    clock.advance(SECOND);
    assert_eq!((old.get(), new.get()), (0, 1));
    assert!(poll(&mut sleep, &new_waker).is_ready());
}

#[test]
fn a_dropped_sleep_leaves_neither_timer_nor_waker() {
    let clock = Clock::manual();
    let (count, waker) = counted();
    let mut sleep = clock.sleep_until(SECOND);
    assert!(poll(&mut sleep, &waker).is_pending());
    drop((sleep, waker));
    assert_eq!(set(&clock), 0);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_sleep_ends_when_nobody_can_advance_its_clock_any_more() {
    let clock = Clock::manual();
    let (count, waker) = counted();
    let mut sleep = clock.sleep_until(SECOND);
    assert!(poll(&mut sleep, &waker).is_pending());
    drop(clock);
    assert_eq!(count.get(), 1);
    assert!(poll(&mut sleep, &waker).is_ready());
}

#[test]
fn a_waker_may_use_the_clock_when_woken_and_when_dropped() {
    // Its drop takes a timer back, as that of the last handle on a task does.
    struct Task(Clock, Mutex<Option<Sleep>>);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.at(self.0.now() + SECOND, Waker::noop());
        }
    }
    let clock = Clock::manual();
    let other = clock.sleep_until(SECOND * 9);
    let task = Arc::new(Task(clock.clone(), Mutex::new(Some(other))));
    if let Some(other) = task.1.lock().unwrap().as_mut() {
        assert!(poll(other, Waker::noop()).is_pending());
    }
    let id = clock.at(SECOND, &Waker::from(Arc::clone(&task)));
    clock.at(SECOND * 2, &Waker::from(task));
    assert_eq!(set(&clock), 3);
    clock.cancel(id);
    clock.advance(SECOND * 2);
    assert_eq!(set(&clock), 1, "only the timer that the waker has set");
}

#[test]
fn a_panic_in_one_waker_does_not_keep_the_next_from_being_woken() {
    let (count, waker) = counted();
    for clock in [Clock::manual(), Clock::system()] {
        let before = count.get();
        let when = clock.now() + Duration::from_millis(20);
        clock.at(when, &doing(|| panic!("expected by the test")));
        clock.at(when, &waker);
        clock.advance(SECOND);
        until(|| count.get() > before);
        block_on(clock.sleep_until(when + Duration::from_millis(1)));
    }
}

#[test]
fn a_system_clock_fires_an_earlier_timer_that_was_set_later() {
    let clock = Clock::system();
    let (count, waker) = counted();
    let late = clock.at(Duration::MAX, &waker);
    let when = clock.now() + Duration::from_millis(5);
    block_on(clock.sleep_until(when));
    assert!(clock.now() >= when);
    assert_eq!((count.get(), set(&clock)), (0, 1));
    clock.cancel(late);
}

#[test]
fn the_thread_ends_with_the_clock_and_its_last_timer() {
    let clock = Clock::system();
    let shared: Weak<Shared> = Arc::downgrade(&clock.handle.shared);
    let late = clock.sleep_until(clock.now() + Duration::from_millis(10));
    block_on(clock.sleep_until(clock.now() + Duration::from_millis(1)));
    drop(clock);
    block_on(late);
    until(|| shared.strong_count() == 0);
}

#[test]
fn the_thread_ends_when_its_last_timer_is_taken_back_after_the_clock() {
    let clock = Clock::system();
    let shared: Weak<Shared> = Arc::downgrade(&clock.handle.shared);
    let mut sleep = clock.sleep_until(Duration::MAX);
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
    drop(clock);
    drop(sleep);
    until(|| shared.strong_count() == 0);
}

#[test]
fn without_a_thread_a_deadline_holds_all_the_same() {
    let clock = Clock::new(Time::System {
        origin: Instant::now(),
        spawn: |_| Err(io::Error::from(io::ErrorKind::WouldBlock)),
    });
    let when = clock.now() + Duration::from_millis(5);
    block_on(clock.sleep_until(when));
    assert!(clock.now() >= when);
    let (count, waker) = counted();
    clock.at(Duration::MAX, &waker);
    assert_eq!((count.get(), set(&clock)), (1, 0), "woken, not stranded");
}

#[test]
fn blocking_polls_again_for_wakes_and_for_nothing_else() {
    let mut polls = 0;
    let output = block_on(poll_fn(|cx| {
        polls += 1;
        match polls {
            // An unpark that is no wake, and then the wake from elsewhere.
            1 => {
                thread::current().unpark();
                let waker = cx.waker().clone();
                thread::spawn(move || waker.wake());
                Poll::Pending
            }
            // A wake during the poll, whose token is used up by a park.
            2 => {
                cx.waker().wake_by_ref();
                thread::park();
                Poll::Pending
            }
            _ => Poll::Ready(7),
        }
    }));
    assert_eq!((output, polls), (7, 3));
}
