//! `session.h`, for Rust.

use std::ffi::{CStr, c_char, c_int, c_void};

/// Room for the reason why a call failed.
#[repr(C)]
pub struct Why {
    text: [c_char; 512],
}

impl Why {
    pub fn new() -> Why {
        Why { text: [0; 512] }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: an array of initialised bytes; c_char differs from u8 at most in its sign.
        let bytes = unsafe { &*(&raw const self.text).cast::<[u8; 512]>() };
        let text = CStr::from_bytes_until_nul(bytes).unwrap_or_default();
        f.write_str(&text.to_string_lossy())
    }
}

/// A session of libtorrent, of which only its address is known.
#[repr(C)]
pub struct RawSession {
    _opaque: [u8; 0],
}

/// A seeder, of which only its address is known.
#[repr(C)]
pub struct RawSeeder {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct Settings {
    pub budget: i64,
    pub listen: *const c_char,
    pub dht: bool,
    pub lsd: bool,
    pub upnp: bool,
    pub pex: bool,
    pub trackers: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub rate: i64,
    pub received: i64,
    pub wasted: i64,
    pub peers: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Content {
    pub cache: u64,
    pub storage: u64,
    pub hash: [u8; 32],
    pub hash_length: u32,
}

/// Of `lbt_level`; another number is as good as `LBT_DEBUG`.
pub const INFO: c_int = 1;
pub const WARN: c_int = 2;

/// Of `lbt_progress`; another number is as good as a failure.
pub const NOT_YET: c_int = 0;
pub const READY: c_int = 1;

pub type Told = unsafe extern "C" fn(*mut c_void, c_int, *const c_char);
pub type File = unsafe extern "C" fn(*mut c_void, i32, u64, u64, *const c_char, usize);
pub type Torrent =
    unsafe extern "C" fn(*mut c_void, *const c_char, usize, *const c_char, port: u16);

unsafe extern "C" {
    pub fn lbt_start(settings: *const Settings, why: *mut Why) -> *mut RawSession;
    pub fn lbt_add_file(
        session: *mut RawSession,
        bytes: *const c_char,
        length: usize,
        why: *mut Why,
    ) -> bool;
    pub fn lbt_add_magnet(session: *mut RawSession, link: *const c_char, why: *mut Why) -> bool;
    pub fn lbt_connect(
        session: *mut RawSession,
        address: *const c_char,
        port: u16,
        why: *mut Why,
    ) -> bool;
    pub fn lbt_wait(
        session: *mut RawSession,
        milliseconds: c_int,
        told: Told,
        context: *mut c_void,
    );
    pub fn lbt_state(session: *mut RawSession, figures: *mut Figures, why: *mut Why) -> c_int;
    pub fn lbt_content_of(
        session: *mut RawSession,
        content: *mut Content,
        file: File,
        context: *mut c_void,
        why: *mut Why,
    ) -> bool;
    pub fn lbt_stop(session: *mut RawSession);
    pub fn lbt_seed(
        path: *const c_char,
        address: *const c_char,
        port: u16,
        piece: i32,
        version: i32,
        torrent: Torrent,
        context: *mut c_void,
        why: *mut Why,
    ) -> *mut RawSeeder;
    pub fn lbt_seed_stop(seeder: *mut RawSeeder);
}
