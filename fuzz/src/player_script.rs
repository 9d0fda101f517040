//! To come.
/// Nothing yet.
pub fn run(_: &[u8]) {}
