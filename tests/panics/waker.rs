//! Wakers, wherever tasks wait.

use super::*;

/// A waker that panics where it is told to, out of a table of functions.
struct Foreign {
    clone: AtomicBool,
    wake: AtomicBool,
    drop: AtomicBool,
}

impl Foreign {
    fn new(place: usize) -> Arc<Self> {
        let [clone, wake, drop] = [0, 1, 2].map(|n| AtomicBool::new(n == place));
        Arc::new(Self { clone, wake, drop })
    }

    /// The waker; it works, and is dropped in peace, until it is armed.
    fn waker(self: &Arc<Self>) -> Waker {
        // SAFETY: the functions below keep the contract of `RawWaker`; each owns what it is given.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(Arc::clone(self)).cast(), &TABLE)) }
    }

    fn calm(&self) {
        for place in [&self.clone, &self.wake, &self.drop] {
            place.store(false, Ordering::SeqCst);
        }
    }

    fn copies(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

static TABLE: RawWakerVTable = {
    /// The share behind the pointer, which moves out of the waker.
    unsafe fn taken(data: *const ()) -> Arc<Foreign> {
        // SAFETY: made by `Arc::into_raw` in `waker` or `clone`, and given up once.
        unsafe { Arc::from_raw(data.cast()) }
    }
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the waker is alive.
        let foreign = unsafe { &*data.cast::<Foreign>() };
        if foreign.clone.load(Ordering::SeqCst) {
            throw();
        }
        // SAFETY: as above; the new share is the clone's.
        unsafe { Arc::increment_strong_count(data.cast::<Foreign>()) };
        RawWaker::new(data, &TABLE)
    }
    unsafe fn wake(data: *const ()) {
        // SAFETY: this is called once for a waker, and not `drop`.
        let foreign = unsafe { taken(data) };
        if foreign.wake.load(Ordering::SeqCst) {
            drop(foreign);
            throw();
        }
    }
    unsafe fn wake_by_ref(_: *const ()) {}
    unsafe fn drop_it(data: *const ()) {
        // SAFETY: as for `wake`.
        let foreign = unsafe { taken(data) };
        if foreign.drop.load(Ordering::SeqCst) {
            drop(foreign);
            throw();
        }
    }
    RawWakerVTable::new(clone, wake, wake_by_ref, drop_it)
};

pub(crate) fn a_waker_that_panics_harms_no_other_wait<R: Reclaim>() {
    for place in 0..3 {
        let clock = Clock::manual();
        let cache = built::<R>(Cache::builder().clock(clock.clone()), BUDGET);
        let film = film(&cache, 200, LEN);
        let live = cache.add_storage(Layout::segments()).unwrap();
        let foreign = Foreign::new(place);
        let waker = std::mem::ManuallyDrop::new(foreign.waker());
        let again = std::mem::ManuallyDrop::new(foreign.waker());
        // All that can wait, twice: the second waker takes the first one's place.
        let config = || PlayerConfig::default().ahead(Extent::Bytes(0)).deadline(PATIENCE);
        let mut wait = film.wait(0).deadline(Duration::from_secs(1));
        let mut short = film.wait(1).deadline(Duration::from_secs(1));
        let mut player = film.player(config()).unwrap();
        let mut at_the_end = live.player(config()).unwrap();
        let mut wanted = live.wanted();
        for waker in [&waker, &again] {
            let mut cx = Context::from_waker(waker);
            let mut poll = |call: &mut dyn FnMut(&mut Context<'_>) -> bool| {
                let ended = catch_unwind(AssertUnwindSafe(|| call(&mut cx)));
                match ended.map_err(std::mem::forget) {
                    Ok(pending) => assert!(pending && place != 0, "{place}"),
                    Err(()) => assert_eq!(place, 0, "only the clone panics in a poll"),
                }
            };
            poll(&mut |cx| pin!(&mut wait).as_mut().poll(cx).is_pending());
            poll(&mut |cx| pin!(&mut short).as_mut().poll(cx).is_pending());
            poll(&mut |cx| pin!(common::read(&mut player, &mut [0])).poll(cx).is_pending());
            poll(&mut |cx| pin!(common::read(&mut at_the_end, &mut [0])).poll(cx).is_pending());
            poll(&mut |cx| pin!(common::next(&mut wanted)).poll(cx).is_pending());
        }
        // Others wait beside it, for the same things.
        let woken: [Arc<Woken>; 3] = std::array::from_fn(|_| Arc::default());
        let mut good = film.wait(0);
        assert!(poll_with(&mut good, &woken[0]).is_pending());
        let mut in_time = film.wait(2).deadline(Duration::from_secs(1));
        assert!(poll_with(&mut in_time, &woken[1]).is_pending());
        film.insert(0, &of(0, LEN)).unwrap();
        assert_eq!(woken[0].times(), 1);
        assert!(matches!(poll_with(&mut good, &woken[0]), Poll::Ready(Ok(_))));
        let fetch = film.wanted().try_next().unwrap();
        let mut cancelled = fetch.cancelled();
        let _ = panics(|| pin!(&mut cancelled).poll(&mut Context::from_waker(&waker)));
        clock.advance(Duration::from_secs(1));
        assert!(matches!(poll_with(&mut in_time, &woken[1]), Poll::Ready(Err(Error::TimedOut))));
        live.append_segment(100).unwrap();
        live.insert(0, &of(0, 100)).unwrap();
        drop((wait, short, player, at_the_end, wanted, cancelled, fetch));
        // For memory: everything is held, until one handle goes.
        let mut held = Vec::new();
        for piece in 10..200 {
            if film.insert(piece, &of(piece, LEN)).is_err() {
                break;
            }
            held.push(film.get(piece).unwrap());
        }
        let bytes = of(199, LEN);
        let mut insert = Box::pin(film.insert_async(199, &bytes, None));
        for waker in [&waker, &again] {
            let polled = panics(|| insert.as_mut().poll(&mut Context::from_waker(waker)));
            assert_eq!(polled, place == 0);
        }
        let mut other = Box::pin(film.insert_async(198, &bytes, None));
        assert!(poll_with(&mut other, &woken[2]).is_pending());
        film.evict(0..200).unwrap();
        drop(held);
        assert!(woken[2].times() > 0);
        assert!(matches!(poll_with(&mut other, &woken[2]), Poll::Ready(Ok(_))));
        drop((insert, other, good, in_time));
        foreign.calm();
        assert_eq!(foreign.copies(), 2, "no waker is kept");
        drop([waker, again].map(std::mem::ManuallyDrop::into_inner));
        comes_to_rest(&cache);
    }
}
