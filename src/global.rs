//! One cache for the whole process, for those who cannot pass one around.
//!
//! Whoever gets it holds it: taking it out, or putting another one in its place, never pulls it
//! away from under somebody who uses it.
//!
//! ```
//! use lookbehind::{Cache, global};
//!
//! assert!(global::get().is_none());
//! global::set(Cache::builder().budget(1 << 20).build()?);
//! let cache = global::get().unwrap();
//! global::clear();
//! assert_eq!(cache.budget(), 1 << 20); // still there for whoever has it
//! # Ok::<(), lookbehind::Error>(())
//! ```

use std::sync::Arc;

use crate::cache::Cache;
use crate::sync::static_option;

static_option!(GLOBAL: Cache);

/// Makes `cache` the process's; the one before comes back.
pub fn set(cache: Cache) -> Option<Cache> {
    GLOBAL.swap(Some(Arc::new(cache))).map(|old| Cache::clone(&old))
}

/// The process's cache, if there is one.
#[must_use]
pub fn get() -> Option<Cache> {
    GLOBAL.load().as_deref().cloned()
}

/// Takes the process's cache out, and returns it.
pub fn clear() -> Option<Cache> {
    GLOBAL.swap(None).map(|old| Cache::clone(&old))
}
