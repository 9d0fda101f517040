//! Pins: bytes of pieces, where they lie.
//!
//! A pin is an address and nothing else, so that whoever is given one need not be told where it
//! comes from. The table knows for each address what keeps its bytes, and how many pins of it are
//! out. One owner is enough for all of them: as long as it lives nothing else can lie there.

use std::ffi::c_void;
use std::sync::LazyLock;

use bytes::Bytes;
use dashmap::{DashMap, Entry};
use lookbehind::{Error, Held};

use crate::call::{Failure, Out, Result, guard};
use crate::status::lb_status;
use crate::storage::{FILMS, lb_storage};

/// What keeps the bytes at an address.
#[expect(dead_code, reason = "kept for their drop")]
enum Owner {
    Piece(Held),
    Part(Bytes),
}

struct Pin {
    owner: Owner,
    count: u64,
}

static PINS: LazyLock<DashMap<usize, Pin>> = LazyLock::new(DashMap::new);

/// Where pinned bytes lie, to be given to a caller.
#[derive(Clone, Copy)]
pub(crate) struct Pinned {
    pub(crate) data: *const u8,
    pub(crate) len: usize,
}

/// Pins a piece, from an offset to its end.
pub(crate) fn pin_piece(held: Held, offset: u32) -> Result<Pinned> {
    let rest = held.get(offset as usize..).unwrap_or_default();
    if rest.is_empty() {
        let (piece, piece_len) = (held.piece(), held.len() as u32);
        return Err(Error::BlockOutOfRange { piece, offset, len: 1, piece_len }.into());
    }
    let pinned = Pinned { data: rest.as_ptr(), len: rest.len() };
    pin(pinned, Owner::Piece(held));
    Ok(pinned)
}

/// Pins bytes that are not empty.
pub(crate) fn pin_part(bytes: Bytes) -> Pinned {
    let pinned = Pinned { data: bytes.as_ptr(), len: bytes.len() };
    pin(pinned, Owner::Part(bytes));
    pinned
}

fn pin(pinned: Pinned, owner: Owner) {
    let spare = match PINS.entry(pinned.data.addr()) {
        Entry::Vacant(vacant) => {
            vacant.insert(Pin { owner, count: 1 });
            None
        }
        Entry::Occupied(mut known) => {
            known.get_mut().count += 1;
            Some(owner)
        }
    };
    // Outside the lock.
    drop(spare);
}

/// Gives a pin to whoever asked for it.
pub(crate) struct PinOut {
    data: Out<*const u8>,
    len: Out<usize>,
}

impl PinOut {
    /// # Safety
    /// Each pointer is null, or good for writing until the call returns.
    pub(crate) unsafe fn new(data: *mut *const u8, len: *mut usize) -> Result<Self> {
        // SAFETY: by contract.
        unsafe { Ok(Self { data: Out::new(data, "data")?, len: Out::new(len, "len")? }) }
    }

    pub(crate) fn set(self, pinned: Pinned) {
        self.data.set(pinned.data);
        self.len.set(pinned.len);
    }
}

/// Pins a piece that is there: `data` is where its bytes lie from `offset` on, `len` how many they
/// are, to the end of the piece. Nothing is copied.
///
/// The bytes stay as they are until lb_release, whatever becomes of the piece, its storage and its
/// cache; until then they count against the budget. A pin and another one of the same address are
/// two, each to be released.
///
/// LB_MISSING if the piece is not there, LB_BLOCK_OUT_OF_RANGE unless `offset` lies within it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_get(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    data: *mut *const u8,
    len: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { PinOut::new(data, len)? };
        let held = FILMS.get(storage)?.storage.get(piece)?;
        out.set(pin_piece(held, offset)?);
        Ok(())
    })
}

/// Pins `len` bytes of a piece from `offset` on that have been written, whether the piece is
/// published or still arriving, judged or not: for engines that must read back what they wrote.
/// Nothing is copied, and whatever becomes of the piece, the bytes stay until lb_release.
///
/// LB_MISSING unless all of them are written, LB_BLOCK_OUT_OF_RANGE beyond the end of the piece,
/// LB_INVALID_ARGUMENT for no bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_read_back(
    storage: lb_storage,
    piece: u32,
    offset: u32,
    len: u32,
    data: *mut *const u8,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(data, "data")? };
        let bytes = FILMS.get(storage)?.storage.read_back(piece, offset, len)?;
        if bytes.is_empty() {
            return Err(Failure::InvalidArgument("no bytes cannot be pinned"));
        }
        out.set(pin_part(bytes).data);
        Ok(())
    })
}

/// Pins an address once more that is pinned.
#[unsafe(no_mangle)]
pub extern "C" fn lb_retain(data: *const c_void) -> lb_status {
    guard(|| {
        let mut pin = PINS.get_mut(&data.addr()).ok_or_else(|| not_pinned(data))?;
        pin.count += 1;
        Ok(())
    })
}

/// Releases one pin, on any thread. The address is the one that was given, which need not be the
/// start of the piece. Null is no failure, and nothing happens. LB_NOT_PINNED for any other address
/// of which no pin is out.
#[unsafe(no_mangle)]
pub extern "C" fn lb_release(data: *const c_void) -> lb_status {
    guard(|| {
        if data.is_null() {
            return Ok(());
        }
        let last = match PINS.entry(data.addr()) {
            Entry::Vacant(_) => return Err(not_pinned(data)),
            Entry::Occupied(pin) if pin.get().count == 1 => Some(pin.remove()),
            Entry::Occupied(mut pin) => {
                pin.get_mut().count -= 1;
                None
            }
        };
        // Outside the lock.
        drop(last.map(|pin| pin.owner));
        Ok(())
    })
}

/// How many addresses are pinned now, in all caches: for finding leaks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_pins(count: *mut usize) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(count, "count")? };
        out.set(PINS.len());
        Ok(())
    })
}

fn not_pinned(data: *const c_void) -> Failure {
    Failure::NotPinned { address: data.addr() }
}
