//! Read: handles, waits, players, and what they want fetched.

pub(crate) mod held;
pub(crate) mod player;
pub(crate) mod wait;
pub(crate) mod wanted;
