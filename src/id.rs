//! The name of a storage.

use std::fmt;

/// The name of a storage within its cache.
///
/// `index` is a slot in the cache's directory and is used again once its storage has been
/// removed. `generation` counts how often that has happened, so that a stale id never reaches
/// the film which has moved in since: it fails with
/// [`Error::UnknownStorage`](crate::Error::UnknownStorage).
///
/// ```
/// use lookbehind::StorageId;
///
/// let id = StorageId { index: 3, generation: 1 };
/// assert_eq!(id.to_string(), "3.1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageId {
    /// The slot in the cache's directory of storages.
    pub index: u32,
    /// How many storages had this slot before.
    pub generation: u32,
}

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_same_slot_differs_by_its_generation() {
        let old = StorageId { index: 3, generation: 0 };
        let new = StorageId { index: 3, generation: 1 };
        assert_ne!(old, new);
        assert_eq!((old.to_string(), new.to_string()), ("3.0".into(), "3.1".into()));
    }
}
