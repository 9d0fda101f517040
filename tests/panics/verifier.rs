//! Verifiers, and their hashers.

use super::*;

/// Where it panics next. Each call of a user's code has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Nowhere,
    Begin,
    Update,
    Matches,
    Verify,
    Drop,
}

/// A place to panic at, which a test moves on.
#[derive(Clone)]
pub(crate) struct Switch(Arc<AtomicUsize>);

impl Switch {
    pub(crate) fn new(at: At) -> Self {
        Self(Arc::new(AtomicUsize::new(at as usize)))
    }

    pub(crate) fn set(&self, at: At) {
        self.0.store(at as usize, Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, at: At) {
        if self.0.load(Ordering::SeqCst) == at as usize {
            throw();
        }
    }
}

/// Approves of everything, unless it panics.
struct Verdict {
    switch: Switch,
    hashes: bool,
}

impl Verifier for Verdict {
    fn begin(&self, _: u32) -> Option<Box<dyn PieceHasher>> {
        self.switch.pass(At::Begin);
        self.hashes.then(|| Box::new(Hasher(self.switch.clone())) as Box<dyn PieceHasher>)
    }

    fn verify(&self, _: u32, _: &[u8]) -> bool {
        self.switch.pass(At::Verify);
        true
    }
}

pub(crate) struct Hasher(pub(crate) Switch);

impl PieceHasher for Hasher {
    fn update(&mut self, _: &[u8]) {
        self.0.pass(At::Update);
    }

    fn matches(self: Box<Self>) -> bool {
        self.0.pass(At::Matches);
        true
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        // While another panic is on its way a second one ends the program, here as everywhere.
        if !thread::panicking() {
            self.0.pass(At::Drop);
        }
    }
}

/// A film whose verifier panics where the switch says.
fn judged<R: Reclaim>(cache: &Cache<R>, hashes: bool) -> (Storage<R>, Switch) {
    let switch = Switch::new(At::Nowhere);
    let verifier = Arc::new(Verdict { switch: switch.clone(), hashes });
    let options = StorageOptions::default().verifier(verifier);
    (cache.add_storage_with(layout(4000, LEN), options).unwrap(), switch)
}

pub(crate) fn a_verifier_that_panics_refuses_the_piece_and_nothing_else<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let before = assemblies(&cache);
    for hashes in [false, true] {
        let (film, switch) = judged(&cache, hashes);
        let whole = of(0, LEN);
        let blocks = || {
            let half = LEN / 2;
            film.write(0, 0, &whole[..half])
                .and_then(|_| film.write(0, half as u32, &whole[half..]))
        };
        for at in [At::Begin, At::Update, At::Matches, At::Verify, At::Drop] {
            // Once: what panicked in `begin` or `update` may judge the whole piece later.
            for (way, insert) in [("insert", true), ("blocks", false), ("one block", false)] {
                switch.set(at);
                let refused = if insert {
                    film.insert(0, &whole).map(|done| done == Insert::Published)
                } else {
                    let done = if way == "blocks" { blocks() } else { film.write(0, 0, &whole) };
                    done.map(|done| done == Progress::Published)
                };
                let context = format!("{at:?}, {way}, hashes: {hashes}");
                match refused {
                    Ok(published) => assert!(published, "{context}"),
                    Err(error) => {
                        assert_eq!(error, Error::VerifyFailed { piece: 0 }, "{context}");
                        assert!(!film.contains(0), "{context}");
                    }
                }
                assert_eq!(film.stats().assembling_pieces, 0, "{context}");
                // One that arrives in part, and is dropped.
                film.write(1, 0, &[1; 100]).unwrap();
                assert_eq!(film.abandon(1), Ok(true));
                assert_eq!(cache.stats().states.assembling, 0, "{context}");
                switch.set(At::Nowhere);
                film.insert(0, &whole).unwrap();
                assert_eq!(film.get(0).unwrap()[..], whole);
                film.evict(0..1).unwrap();
            }
        }
        // Dropped with the film.
        film.write(2, 0, &[1; 100]).unwrap();
        film.write(3, 0, &[1; 100]).unwrap();
        switch.set(At::Drop);
        film.remove().unwrap();
        assert_eq!(cache.stats().states.assembling, 0);
    }
    assert_eq!(assemblies(&cache), before, "the half for assemblies is whole");
    comes_to_rest(&cache);
}

pub(crate) fn a_verifier_that_panics_at_commit_refuses_the_piece<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let (film, switch) = judged(&cache, false);
    film.write(0, 0, &of(0, LEN)[..100]).unwrap();
    // Handles leave no room for the version in which it would be shown.
    let mut held = Vec::new();
    for len in [LEN, KIB, 16] {
        let other = common::film(&cache, 4000, len);
        while other.insert(held.len() as u32, &of(held.len() as u32, len)).is_ok() {
            held.push(other.get(held.len() as u32).unwrap());
        }
    }
    let last = film.write(0, 100, &of(0, LEN)[100..]);
    assert!(matches!(last, Err(Error::BudgetExhausted { .. })), "{last:?}");
    drop(held);
    switch.set(At::Verify);
    assert_eq!(film.commit(0), Err(Error::VerifyFailed { piece: 0 }));
    assert_eq!(film.commit(0), Err(Error::NotOpen { piece: 0 }));
    switch.set(At::Nowhere);
    assert_eq!(film.write(0, 0, &of(0, LEN)), Ok(Progress::Published));
    comes_to_rest(&cache);
}

pub(crate) fn writers_beside_a_verifier_that_panics_go_on<R: Reclaim>() {
    let cache = cache::<R>(BUDGET);
    let before = assemblies(&cache);
    let (film, switch) = judged(&cache, true);
    let places = [At::Begin, At::Update, At::Matches, At::Verify, At::Drop, At::Nowhere];
    thread::scope(|scope| {
        for n in 0..2 {
            let (film, switch) = (&film, &switch);
            scope.spawn(move || {
                for round in 0..120 {
                    let piece = round % 4;
                    if n == 0 {
                        switch.set(places[round as usize % places.len()]);
                    }
                    let whole = of(piece, LEN);
                    let blocks = whole.chunks(LEN / 4).zip((0..).step_by(LEN / 4));
                    for (block, at) in blocks.skip(n) {
                        match film.write(piece, at, block) {
                            Ok(_) | Err(Error::VerifyFailed { .. } | Error::NotOpen { .. }) => {}
                            Err(error) => panic!("piece {piece}: {error}"),
                        }
                    }
                    if let Ok(held) = film.get(piece) {
                        assert_eq!(held[..], whole);
                    }
                    let _ = film.evict(piece..piece + 1);
                }
            });
        }
    });
    switch.set(At::Nowhere);
    for piece in 0..4 {
        film.write(piece, 0, &of(piece, LEN)).unwrap();
        assert_eq!(film.get(piece).unwrap()[..], of(piece, LEN));
    }
    film.remove().unwrap();
    assert_eq!(assemblies(&cache), before, "the half for assemblies is whole");
    comes_to_rest(&cache);
}
