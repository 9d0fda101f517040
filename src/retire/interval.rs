//! Reclamation by version interval: the default.
//!
//! A snapshot knows what it can reach: one version. So a node that was published in version b
//! and unpublished in version e is free as soon as no live snapshot of its storage has a version
//! in [b, e). A stalled reader keeps what its own snapshot shows, and delays nothing else. (Kin:
//! hazard eras, Ramalhete and Correia 2017; interval-based reclamation, Wen et al. 2018; Steam,
//! Boettcher et al. 2019. The announcement is that of hazard pointers, Michael 2004.)
//!
//! Steps and orderings, by the names that the models use:
//!
//! - R1 load the root. R2 announce it, Release. R3 fence, SeqCst. R4 load the root, Acquire; again
//!   from R2 until it is what was announced. Leaving stores null, Release.
//! - W7 the pass loads the root, Acquire, and takes what the versions up to it unpublished. W8
//!   fence, SeqCst; scan the lanes, Acquire.
//!
//! Why it is enough: either R3 is before W8 in the order of the fences, then the scan sees R2 (or
//! something later of that lane, and the snapshot is gone or newer); or W8 is before R3, then R4
//! sees the root of W7 or a newer one, and nothing that the pass frees is reachable from it.
//! R2's and leave's Release with the scan's Acquire order a snapshot's last look before the free,
//! and carry the span along. The span itself is stored with Release and loaded with Acquire as
//! well: a scan that finds the root of one snapshot and already the span of the next one on that
//! lane goes by the latter, and must come after the former's last look. Models:
//! `publish_against_snapshot`, `retire_against_snapshot`.
//!
//! An announced address is compared, never followed: it may be one that was never validated, and
//! then names no root, or one of a later life of the same memory, which keeps a little too much
//! for a moment. Roots come from a pool per storage, so it is never another living storage's.
//!
//! Limits: several windowed snapshots of the same version count as the hull of their windows.

use super::{Lines, List, Outlook, Record, Scheme, Span};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, fence};
use crate::table::version::{Root, RootRef};

/// Reclamation by version interval: a stalled snapshot keeps what it shows, and nothing else.
///
/// The default scheme of a [`Cache`](crate::Cache).
#[derive(Debug)]
pub struct Interval(());

pub(crate) struct Announced {
    root: AtomicPtr<Root>,
    /// Which pieces the snapshot may look at; written before the root is announced.
    span: AtomicU64,
}

/// Retired roots that a snapshot announces; what it keeps hangs on each.
#[derive(Default)]
pub(crate) struct Limbo {
    roots: List,
    outlook: Outlook,
}

/// Announcements that are looked up together.
const CHUNK: usize = 64;

impl Scheme for Interval {
    type Announcement = Announced;
    type Limbo = Limbo;

    const PRECISE: bool = true;

    fn new() -> Self {
        Self(())
    }

    fn announcement(&self) -> Announced {
        Announced { root: AtomicPtr::new(std::ptr::null_mut()), span: AtomicU64::new(0) }
    }

    #[inline(always)]
    fn is_idle(lane: &Announced) -> bool {
        // Acquire: pairs with the Release in `leave`, for a snapshot may be dropped elsewhere.
        // Model: `retire_against_snapshot`, sent.
        lane.root.load(Ordering::Acquire).is_null()
    }

    #[inline(always)]
    unsafe fn enter(&self, lane: &Announced, root: &AtomicPtr<Root>, span: Span) -> RootRef {
        // Release: pairs with the Acquire of the scan. Model: `retire_against_snapshot`, another
        // window.
        lane.span.store(span.packed(), Ordering::Release);
        // SAFETY: the caller's contract.
        unsafe { self.renew(lane, root) }
    }

    #[inline(always)]
    unsafe fn renew(&self, lane: &Announced, root: &AtomicPtr<Root>) -> RootRef {
        let mut seen = root.load(Ordering::Relaxed); // R1
        loop {
            // R2, Release: pairs with the scan's Acquire.
            lane.root.store(seen, Ordering::Release);
            // R3: pairs with the fence of W8.
            fence(Ordering::SeqCst);
            // R4, Acquire: pairs with W4.
            let now = root.load(Ordering::Acquire);
            if now == seen {
                // SAFETY: a table's root is never null.
                return unsafe { RootRef::from_ptr(now).unwrap_unchecked() };
            }
            seen = now;
        }
    }

    #[inline(always)]
    unsafe fn leave(lane: &Announced) {
        // Release: pairs with the Acquires of the scan and of `is_idle`.
        lane.root.store(std::ptr::null_mut(), Ordering::Release);
    }

    unsafe fn collect(
        &self,
        lines: &Lines<Self>,
        limbo: &mut Limbo,
        mut fresh: List,
        free: &mut dyn FnMut(Record),
    ) {
        let mut loose = List::default();
        // SAFETY: here and below: the caller is the one reclaimer, and what is on the lists is
        // alive until it is passed to `free`.
        unsafe {
            fresh.drain(|record| match record {
                Record::Root(_) => limbo.roots.push(record),
                _ => loose.push(record),
            });
        }
        // W8: pairs with R3.
        fence(Ordering::SeqCst);
        // SAFETY: as above.
        unsafe {
            look_up(lines, &limbo.roots);
            // Roots that nobody announces are free, and what hung on them is loose again.
            let mut roots = std::mem::take(&mut limbo.roots);
            limbo.outlook = Outlook::default();
            roots.drain(|record| {
                let Record::Root(root) = record else { return };
                let (seen, mut hanging) = root.head().keeps.with(|keeps| {
                    let seen = keeps.seen.take();
                    let unchanged = seen.is_some() && seen == keeps.hull;
                    keeps.hull = seen;
                    let none = List::default();
                    (seen, if unchanged { none } else { std::mem::take(&mut keeps.hanging) })
                });
                hanging.drain(|kept| loose.push(kept));
                match seen {
                    None => free(record),
                    Some(hull) => {
                        limbo.roots.push(record);
                        limbo.outlook.add(root.head().number, hull);
                    }
                }
            });
            loose.drain(|record| match holder(&limbo.roots, record) {
                Some(root) => root.head().keeps.with(|keeps| keeps.hanging.push(record)),
                None => free(record),
            });
        }
    }

    fn outlook(limbo: &Limbo) -> Outlook {
        limbo.outlook
    }

    #[cfg(feature = "validate")]
    unsafe fn each(limbo: &Limbo, see: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe {
            limbo.roots.each(|record| {
                see(record);
                if let Record::Root(root) = record {
                    root.head().keeps.with(|keeps| keeps.hanging.each(&mut *see));
                }
            });
        }
    }

    unsafe fn surrender(limbo: &mut Limbo, free: &mut dyn FnMut(Record)) {
        // SAFETY: the caller's contract.
        unsafe {
            limbo.roots.drain(|record| {
                if let Record::Root(root) = record {
                    let mut hanging = root.head().keeps.with(|k| std::mem::take(&mut k.hanging));
                    hanging.drain(&mut *free);
                }
                free(record);
            });
        }
    }
}

/// Notes on each root of the list what the snapshots that announce it may look at.
///
/// # Safety
/// The caller is the one reclaimer, and the roots are alive.
unsafe fn look_up(lines: &Lines<Interval>, roots: &List) {
    if roots.is_empty() {
        return;
    }
    let mut chunk = [(std::ptr::null_mut::<Root>(), Span::NONE); CHUNK];
    let mut lanes = lines.lanes();
    loop {
        let mut count = 0;
        for lane in lanes.by_ref() {
            let announced = &lane.announcement;
            // Acquire, here and of the span: pairs with the Releases of `enter`, R2 and `leave`.
            let root = announced.root.load(Ordering::Acquire);
            if root.is_null() {
                continue;
            }
            chunk[count] = (root, Span::unpacked(announced.span.load(Ordering::Acquire)));
            count += 1;
            if count == CHUNK {
                break;
            }
        }
        let found = &mut chunk[..count];
        found.sort_unstable_by_key(|(root, _)| *root);
        // SAFETY: the caller's contract.
        unsafe {
            each_root(roots, |root| {
                let start = found.partition_point(|(address, _)| *address < root.as_ptr());
                for (_, span) in found[start..].iter().take_while(|(a, _)| *a == root.as_ptr()) {
                    root.head().keeps.with(|keeps| {
                        keeps.seen = Some(keeps.seen.map_or(*span, |seen| seen.hull(*span)));
                    });
                }
                false
            });
        }
        if count < CHUNK {
            return;
        }
    }
}

/// The announced root that keeps `record` alive, if any: the rule of the interval.
///
/// # Safety
/// The caller is the one reclaimer, and the nodes are alive.
unsafe fn holder(roots: &List, record: Record) -> Option<RootRef> {
    // SAFETY: the caller's contract.
    unsafe {
        let (born, span) = record.born();
        let died = record.link().with(|link| link.died);
        each_root(roots, |root| {
            let hull = root.head().keeps.with(|keeps| keeps.hull);
            (born..died).contains(&root.head().number)
                && hull.is_some_and(|hull| hull.overlaps(span))
        })
    }
}

/// Walks the roots until one satisfies `wanted`.
///
/// # Safety
/// The caller is the one reclaimer, and the roots are alive.
unsafe fn each_root(roots: &List, mut wanted: impl FnMut(RootRef) -> bool) -> Option<RootRef> {
    let mut next = roots.0;
    while let Some(record @ Record::Root(root)) = next {
        if wanted(root) {
            return Some(root);
        }
        // SAFETY: the caller's contract.
        next = unsafe { record.link().with(|link| link.next) };
    }
    None
}
