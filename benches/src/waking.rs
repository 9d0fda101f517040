//! Waking: from the publication of a piece to the task that waited for it, beside tokio's
//! Notify; and what ten thousand who wait for other pieces cost a publication.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use lookbehind::{Cache, Layout, Storage, WaitPiece};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::figures::{Row, Samples, rows};
use crate::rounds::{Plan, Probe, probes};
use crate::thread::{pin, preemptions};

const LEN: u32 = 64;

fn film(pieces: u32) -> Storage {
    let budget = (16 << 20) + u64::from(pieces) * 1024;
    let cache = Cache::builder().budget(budget).build().expect("a budget");
    let layout = Layout::fixed(u64::from(pieces) * u64::from(LEN), LEN).expect("a layout");
    cache.add_storage(layout).expect("room for a table")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime needs no more than memory")
}

fn publish(film: &Storage, piece: u32) {
    film.insert(piece, &[7; LEN as usize]).expect("room for a piece");
}

/// Waker and task on one thread: neither the kernel nor another core has a part in it. Beside
/// Notify and a wait stands a publication that nobody waits for, which the wait contains.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn on_one_thread(times: u32) -> Vec<Row> {
    pin(0);
    let film = film(2 * times);
    let notify = Arc::new(Notify::new());
    let mut samples: Vec<Samples> = vec![Vec::new(); 3];
    runtime().block_on(async {
        for piece in 0..times {
            let before = preemptions();
            let task = tokio::spawn({
                let notify = Arc::clone(&notify);
                async move {
                    notify.notified().await;
                    Instant::now()
                }
            });
            // The task runs until it waits.
            tokio::task::yield_now().await;
            let begin = Instant::now();
            notify.notify_one();
            let notified = task.await.expect("it does not panic") - begin;

            let task = tokio::spawn({
                let wait = film.wait(piece);
                async move {
                    wait.await.expect("published");
                    Instant::now()
                }
            });
            tokio::task::yield_now().await;
            let begin = Instant::now();
            publish(&film, piece);
            let published = task.await.expect("it does not panic") - begin;

            // After the same, so that it is as warm.
            let task = tokio::spawn({
                let notify = Arc::clone(&notify);
                async move { notify.notified().await }
            });
            tokio::task::yield_now().await;
            let begin = Instant::now();
            publish(&film, times + piece);
            let alone = begin.elapsed();
            notify.notify_one();
            task.await.expect("it does not panic");
            let clean = preemptions() == before;
            for (samples, time) in samples.iter_mut().zip([notified, published, alone]) {
                samples.push(clean.then_some(time.as_nanos() as f64));
            }
        }
    });
    rows(&names(), &samples)
}

fn names() -> [String; 3] {
    ["Notify", "wait for a piece", "publication that nobody waits for"].map(str::to_owned)
}

/// Waker on one core, task on another: what counts is how long the kernel takes.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn across_threads(times: u32) -> Vec<Row> {
    let film = film(2 * times);
    let notify = Notify::new();
    let (turn, woken) = (AtomicU32::new(0), AtomicU64::new(0));
    let epoch = Instant::now();
    let mut samples: Vec<Samples> = vec![Vec::new(); 3];
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            let woke = || woken.store(epoch.elapsed().as_nanos() as u64, Ordering::Release);
            runtime().block_on(async {
                for piece in 0..times {
                    turn.fetch_add(1, Ordering::Release);
                    notify.notified().await;
                    woke();
                    turn.fetch_add(1, Ordering::Release);
                    film.wait(piece).await.expect("published");
                    woke();
                }
            });
        });
        pin(0);
        // From when the other thread surely sleeps until its task runs.
        let time = |turns: u32, wake: &dyn Fn()| {
            while turn.load(Ordering::Acquire) < turns {
                std::hint::spin_loop();
            }
            thread::sleep(Duration::from_micros(100));
            woken.store(0, Ordering::Relaxed);
            let begin = epoch.elapsed();
            wake();
            loop {
                match woken.load(Ordering::Acquire) {
                    0 => std::hint::spin_loop(),
                    nanos => return nanos as f64 - begin.as_nanos() as f64,
                }
            }
        };
        for piece in 0..times {
            let before = preemptions();
            let notified = time(2 * piece + 1, &|| notify.notify_one());
            let published = time(2 * piece + 2, &|| publish(&film, piece));
            let begin = Instant::now();
            publish(&film, times + piece);
            let alone = begin.elapsed().as_nanos() as f64;
            let clean = preemptions() == before;
            for (samples, nanos) in samples.iter_mut().zip([notified, published, alone]) {
                samples.push(clean.then_some(nanos));
            }
        }
    });
    rows(&names(), &samples)
}

/// Publishing and evicting a piece that nobody waits for: alone, and beside so many who wait for
/// others.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn beside_waiters(waiters: u32, plan: Plan) -> Vec<Row> {
    const OTHERS: u32 = 64;
    let films = [film(OTHERS + waiters), film(OTHERS + waiters)];
    let mut waits: Vec<Pin<Box<WaitPiece>>> =
        (OTHERS..OTHERS + waiters).map(|piece| Box::pin(films[1].wait(piece))).collect();
    for wait in &mut waits {
        let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "registered");
    }
    let name = |film: usize| match film {
        0 => "nobody waits".to_owned(),
        _ => format!("{waiters} wait for other pieces"),
    };
    let probe = |film: usize| {
        let film_of = &films[film];
        let mut piece = 0;
        Probe::new(name(film), move |times| {
            for _ in 0..times {
                publish(film_of, piece);
                film_of.evict(piece..piece + 1).expect("room for a version");
                piece = (piece + 1) % OTHERS;
            }
        })
    };
    probes(vec![probe(0), probe(1)], plan)
}
