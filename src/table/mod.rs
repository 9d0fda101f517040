//! Published: the versioned table of one storage.

pub(crate) mod publish;
pub(crate) mod snapshot;
pub(crate) mod sweep;
pub(crate) mod version;
