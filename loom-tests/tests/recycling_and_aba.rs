//! Threads take things off a shelf and put them back: nobody has a thing that another one has,
//! and nothing is lost, however often the same thing comes back to the same place.
#![cfg(loom)]

use std::sync::Arc;

use lookbehind::model::{Places, Shelf, Thing};
use loom::thread;
use loom_tests::check;

struct Shared {
    shelf: Shelf,
    things: Box<[Thing]>,
}

fn model(things: usize, threads: usize, rounds: usize) {
    let things: Box<[Thing]> = (0..things).map(|_| Thing::new()).collect();
    let shared = Arc::new(Shared { shelf: Shelf::new(&things), things });
    let work = move |shared: &Shared| {
        let mut uses = 0;
        for _ in 0..rounds {
            if let Some(thing) = shared.shelf.take() {
                // SAFETY: things live as long as what is shared.
                unsafe { &*thing }.with();
                uses += 1;
                assert!(shared.shelf.put(thing), "its place was taken by nobody");
            }
        }
        uses
    };
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared))
        })
        .collect();
    let mut uses = work(&shared);
    for thread in threads {
        uses += thread.join().unwrap();
    }
    for _ in 0..shared.things.len() {
        assert!(shared.shelf.take().is_some(), "a thing was lost");
    }
    assert!(shared.shelf.take().is_none());
    assert_eq!(shared.things.iter().map(Thing::with).sum::<u32>(), uses);
}

/// A thing that does not fit is looked at and put back: who takes it next comes after that look.
#[test]
fn thing_that_does_not_fit() {
    check("recycling_and_aba, a thing that does not fit", 3, || {
        let things: Box<[Thing]> = [Thing::new()].into();
        let shared = Arc::new(Shared { shelf: Shelf::new(&things), things });
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || other.shelf.refuse());
        if let Some(thing) = shared.shelf.take() {
            // SAFETY: things live as long as what is shared.
            unsafe { &*thing }.with();
        }
        other.join().unwrap();
    });
}

#[test]
fn one_thing() {
    check("recycling_and_aba, a thing and two threads", 3, || model(1, 1, 2));
}

#[test]
fn two_things() {
    check("recycling_and_aba, two things and three threads", 2, || model(2, 2, 1));
}

/// A place of a slab is one thread's at a time, and comes with what was done there before.
#[test]
fn places() {
    check("recycling_and_aba, places of a slab and three threads", 3, || {
        let things: Box<[Thing]> = [Thing::new(), Thing::new()].into();
        let shared = Arc::new((Places::new(things.len()), things));
        // Any place, or the one beside one's own.
        let work = |(places, things): &(Places, Box<[Thing]>), this: Option<usize>| {
            let taken = this.map_or_else(|| places.take(), |n| places.take_this(n).then_some(n));
            let Some(place) = taken else { return 0 };
            things[place].with();
            places.put(place);
            1
        };
        let threads = [None, Some(1)].map(|this| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared, this))
        });
        let mut uses = work(&shared, None);
        for thread in threads {
            uses += thread.join().unwrap();
        }
        let (places, things) = &*shared;
        assert_eq!(things.iter().map(Thing::with).sum::<u32>(), uses);
        let taken = std::iter::from_fn(|| places.take()).count();
        assert_eq!(taken, things.len(), "a place was lost");
    });
}
