//! Published: the versioned table of one storage.

#[cfg(feature = "validate")]
pub(crate) mod audit;
pub(crate) mod leaf;
mod node;
pub(crate) mod publish;
pub(crate) mod snapshot;
pub(crate) mod sweep;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod version;
