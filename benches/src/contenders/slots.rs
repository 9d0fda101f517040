//! Tables of protected slots, as one would build them from a crate for reclamation. All take
//! storage and piece as indices, without a hash; none has a bound, or shows a point in time.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use haphazard::{AtomicPtr, HazardPointer};
use left_right::{Absorb, ReadHandleFactory, WriteHandle};

use crate::contender::{Body, Contender};
use crate::stock::{Key, Piece, Stock, touch};

/// A slot per piece in arc-swap. A slot there holds a thin pointer, so one more than elsewhere
/// lies between it and the bytes.
pub struct ArcSwaps(Vec<Vec<ArcSwap<Piece>>>);

impl ArcSwaps {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let film = |film: Vec<Piece>| film.into_iter().map(ArcSwap::from_pointee).collect();
        Self(stock.table().into_iter().map(film).collect())
    }

    fn slot(&self, key: Key) -> Option<&ArcSwap<Piece>> {
        self.0.get(key.storage as usize)?.get(key.piece as usize)
    }
}

impl Contender for ArcSwaps {
    fn name(&self) -> String {
        "arc-swap slots".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        body.run(|key| self.slot(key).map_or(0, |slot| touch(&slot.load())))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        slot.store(Arc::new(Piece::from(bytes)));
        true
    }
}

/// A slot per piece in haphazard, a hazard pointer kept by each thread. Here too a slot holds a
/// thin pointer.
pub struct Hazards(Vec<Vec<AtomicPtr<Piece>>>);

impl Hazards {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let slot = |piece| AtomicPtr::from(Box::new(piece));
        let film = |film: Vec<Piece>| film.into_iter().map(slot).collect();
        Self(stock.table().into_iter().map(film).collect())
    }

    fn slot(&self, key: Key) -> Option<&AtomicPtr<Piece>> {
        self.0.get(key.storage as usize)?.get(key.piece as usize)
    }
}

impl Drop for Hazards {
    fn drop(&mut self) {
        for slot in self.0.drain(..).flatten() {
            // SAFETY: nobody reads the slot any more, and it was not retired before.
            unsafe { slot.retire() };
        }
    }
}

impl Contender for Hazards {
    fn name(&self) -> String {
        "haphazard slots".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let mut hazard = HazardPointer::new();
        body.run(|key| {
            let Some(slot) = self.slot(key) else { return 0 };
            slot.safe_load(&mut hazard).map_or(0, |piece| touch(piece))
        })
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        if let Some(old) = slot.swap(Box::new(Piece::from(bytes))) {
            // SAFETY: unlinked just now, by this thread alone, and loaded by way of the same domain.
            unsafe { old.retire() };
        }
        true
    }
}

#[derive(Clone)]
struct Table(Vec<Vec<Piece>>);

struct Replace(Key, Piece);

impl Table {
    fn hit(&self, key: Key) -> u64 {
        let piece = self.0.get(key.storage as usize).and_then(|film| film.get(key.piece as usize));
        piece.map_or(0, |piece| touch(piece))
    }

    fn put(&mut self, Replace(key, piece): &Replace) {
        self.0[key.storage as usize][key.piece as usize] = Arc::clone(piece);
    }
}

impl Absorb<Replace> for Table {
    fn absorb_first(&mut self, replace: &mut Replace, _: &Self) {
        self.put(replace);
    }

    fn sync_with(&mut self, first: &Self) {
        self.clone_from(first);
    }
}

/// left-right over a plain table: the table twice, the view entered for each hit.
#[derive(Clone)]
pub struct LeftRight {
    readers: Arc<ReadHandleFactory<Table>>,
    writer: Arc<Mutex<WriteHandle<Table, Replace>>>,
}

impl LeftRight {
    /// With all pieces.
    #[must_use]
    pub fn new(stock: &Stock) -> Self {
        let (writer, reader) = left_right::new_from_empty(Table(stock.table()));
        Self { readers: Arc::new(reader.factory()), writer: Arc::new(Mutex::new(writer)) }
    }
}

impl Contender for LeftRight {
    fn name(&self) -> String {
        "left-right, entered per call".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let handle = self.readers.handle();
        body.run(|key| handle.enter().map_or(0, |table| table.hit(key)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.append(Replace(key, Piece::from(bytes))).publish();
        true
    }
}

/// The same, the view kept; the writer would wait for it.
pub struct LeftRightKept(pub LeftRight);

impl Contender for LeftRightKept {
    const KEPT: bool = true;

    fn name(&self) -> String {
        "left-right, view kept".into()
    }

    fn read<B: Body>(&self, body: B) -> B::Output {
        let handle = self.0.readers.handle();
        let view = handle.enter();
        body.run(|key| view.as_ref().map_or(0, |table| table.hit(key)))
    }

    fn replace(&self, key: Key, bytes: &[u8]) -> bool {
        self.0.replace(key, bytes)
    }
}
