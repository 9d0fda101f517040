//! Threads that stay where they are, and know when they were interrupted.

use std::sync::OnceLock;

use core_affinity::CoreId;

/// The cores that the process may use. A thread that is bound sees only its own, and so does one
/// that it starts: they are asked for once, and whoever measures binds itself.
fn core_ids() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Binds this thread to the n-th core that the process may use; whether that worked.
pub fn pin(n: usize) -> bool {
    let cores = core_ids();
    cores.get(n % cores.len().max(1)).is_some_and(|core| core_affinity::set_for_current(*core))
}

/// How many cores the process may use.
#[must_use]
pub fn cores() -> usize {
    core_ids().len().max(1)
}

/// How often this thread was made to leave its core so far.
#[must_use]
pub fn preemptions() -> i64 {
    // SAFETY: all zeros is a value of this plain struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to that struct.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(failed, 0, "getrusage of the calling thread cannot fail");
    usage.ru_nivcsw
}
