//! Who is compared.

mod caches;
mod floor;
mod lookbehind;
mod maps;
mod replaced;
mod slots;

use std::sync::Arc;

use ::lookbehind::{Epoch, Hyaline, Interval, Reclaim};

pub use self::caches::{Foyer, Moka, QuickCache};
pub use self::floor::{DrawAlone, Floor};
pub use self::lookbehind::{Convenience, Films, HeldHandle, Kept, PerCall, scheme};
pub use self::maps::{Dash, Papaya, PapayaKept, SccIndex, SccMap};
pub use self::replaced::{MutexEach, OneMutex, ThreadLocal};
pub use self::slots::{ArcSwaps, Hazards, LeftRight, LeftRightKept};
use crate::contender::Case;
use crate::stock::Stock;

/// A list of them; the first one is what the others are compared with.
pub type Cases = Vec<Box<dyn Case>>;

/// Everyone.
#[must_use]
pub fn all(stock: &Stock) -> Cases {
    let mut cases: Cases = vec![Box::new(Floor::new(stock)), Box::new(DrawAlone)];
    readers::<Interval>(&mut cases, stock);
    let huge = Films::<Interval>::on_huge_pages(stock);
    cases.push(Box::new(Kept(Arc::clone(&huge))));
    cases.push(Box::new(PerCall(huge)));
    readers::<Epoch>(&mut cases, stock);
    readers::<Hyaline>(&mut cases, stock);
    cases.push(Box::new(OneMutex::new(stock)));
    cases.push(Box::new(MutexEach::new(stock)));
    cases.push(Box::new(ThreadLocal::new(stock)));
    cases.push(Box::new(Moka::new(stock)));
    cases.push(Box::new(QuickCache::new(stock)));
    cases.push(Box::new(Foyer::s3_fifo(stock)));
    cases.push(Box::new(Foyer::lru(stock)));
    let (papaya, left_right) = (Papaya::new(stock), LeftRight::new(stock));
    cases.push(Box::new(PapayaKept(papaya.clone())));
    cases.push(Box::new(papaya));
    cases.push(Box::new(Dash::new(stock)));
    cases.push(Box::new(SccMap::new(stock)));
    cases.push(Box::new(SccIndex::new(stock)));
    cases.push(Box::new(LeftRightKept(left_right.clone())));
    cases.push(Box::new(left_right));
    cases.push(Box::new(ArcSwaps::new(stock)));
    cases.push(Box::new(Hazards::new(stock)));
    cases
}

/// Those who see what is replaced, and are fit for it.
#[must_use]
pub fn watching(stock: &Stock) -> Cases {
    all(stock).into_iter().filter(|case| !case.kept()).collect()
}

/// Those whose writing is compared: one for each table.
#[must_use]
pub fn writing(stock: &Stock) -> Cases {
    vec![
        Box::new(PerCall(Films::<Interval>::new(stock))),
        Box::new(PerCall(Films::<Epoch>::new(stock))),
        Box::new(PerCall(Films::<Hyaline>::new(stock))),
        Box::new(OneMutex::new(stock)),
        Box::new(QuickCache::new(stock)),
        Box::new(Foyer::s3_fifo(stock)),
        Box::new(Moka::new(stock)),
        Box::new(Papaya::new(stock)),
        Box::new(Dash::new(stock)),
        Box::new(SccMap::new(stock)),
        Box::new(LeftRight::new(stock)),
        Box::new(ArcSwaps::new(stock)),
        Box::new(Hazards::new(stock)),
    ]
}

/// The ways to read this crate, with one scheme, out of one cache.
fn readers<R: Reclaim>(cases: &mut Cases, stock: &Stock) {
    let films = Films::<R>::new(stock);
    cases.push(Box::new(Kept(Arc::clone(&films))));
    cases.push(Box::new(PerCall(Arc::clone(&films))));
    cases.push(Box::new(Convenience(Arc::clone(&films))));
    cases.push(Box::new(HeldHandle(films)));
}
