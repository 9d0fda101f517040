//! What is kept in memory beside the bytes of the pieces, as the cache accounts for it.

use lookbehind::{Cache, Layout};
use serde_json::{Value, json};

/// One film, all pieces present.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Its pieces.
    pub pieces: u32,
    /// Bytes of each.
    pub len: u32,
    /// Bytes of the table for each piece that the film has, before any is present.
    pub per_slot_empty: f64,
    /// Bytes of the table for each piece that the film has, with all but one present.
    pub per_slot: f64,
    /// Bytes of header, padding and size class for each piece that is present.
    pub per_piece: f64,
}

impl Beside {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "pieces": self.pieces,
            "len": self.len,
            "per_slot_empty": self.per_slot_empty,
            "per_slot": self.per_slot,
            "per_piece": self.per_piece,
        })
    }
}

/// Fills a film of so many pieces of that length.
///
/// # Errors
/// If a cache cannot be set up.
pub fn measure(pieces: u32, len: u32) -> lookbehind::Result<Beside> {
    let budget = (32 << 20) + u64::from(pieces) * (u64::from(len) * 5 / 4 + 512);
    let cache = Cache::builder().budget(budget).build()?;
    let film = cache.add_storage(Layout::fixed(u64::from(pieces) * u64::from(len), len)?)?;
    let slots = f64::from(pieces);
    let empty = cache.stats().states.table;
    let bytes = vec![7; len as usize];
    for piece in 0..pieces {
        film.insert(piece, &bytes)?;
    }
    // An eviction makes a pass: versions that are gone are not the table.
    film.evict(pieces - 1..pieces)?;
    let states = cache.stats().states;
    Ok(Beside {
        pieces,
        len,
        per_slot_empty: empty as f64 / slots,
        per_slot: states.table as f64 / slots,
        per_piece: states.published as f64 / (slots - 1.0) - f64::from(len),
    })
}
