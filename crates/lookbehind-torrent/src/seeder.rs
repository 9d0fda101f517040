//! A seeder, to try the program against: libtorrent as it is, with files on a disk.

use std::ffi::{CStr, c_char, c_void};
use std::net::SocketAddr;
use std::path::Path;
use std::ptr::NonNull;

use crate::ffi::{self, Why};
use crate::session::{Refused, text};

/// A version of BitTorrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// Hashes by SHA-1.
    V1,
    /// Hashes by SHA-256, in a tree for each file.
    V2,
}

/// A session that seeds one torrent. Dropping it ends it, and waits for its threads.
#[derive(Debug)]
pub struct Seeder {
    raw: NonNull<ffi::RawSeeder>,
    /// The content of the torrent's file.
    pub torrent: Vec<u8>,
    /// Its magnet link, which names no peer.
    pub magnet: String,
    /// Where peers may connect.
    pub address: SocketAddr,
}

impl Seeder {
    /// Makes a torrent of a file or folder and seeds it. `piece_len` is in bytes; 0 has it chosen.
    /// `version` is that of BitTorrent; without one the torrent is of both. Reads all of it first.
    ///
    /// # Errors
    /// If there is nothing to read, or it is not possible to listen at that address.
    pub fn start(
        path: &Path,
        listen: SocketAddr,
        piece_len: u32,
        version: Option<Version>,
    ) -> Result<Seeder, Refused> {
        unsafe extern "C" fn note(
            context: *mut c_void,
            bytes: *const c_char,
            length: usize,
            magnet: *const c_char,
            port: u16,
        ) {
            // SAFETY: `lbt_seed` passes on the context that it was given, which nobody else uses.
            let made = unsafe { &mut *context.cast::<(Vec<u8>, String, u16)>() };
            // SAFETY: that many bytes, good for this call.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) };
            // SAFETY: a text that ends with a zero, good for this call.
            let magnet = unsafe { CStr::from_ptr(magnet) };
            *made = (bytes.to_vec(), magnet.to_string_lossy().into_owned(), port);
        }
        let path = path.to_str().ok_or_else(|| Refused::new("the path is not Unicode"))?;
        let (path, address) = (text(path.into())?, text(listen.ip().to_string())?);
        let piece = i32::try_from(piece_len).map_err(|_| Refused::new("pieces are too large"))?;
        let version = match version {
            None => 0,
            Some(Version::V1) => 1,
            Some(Version::V2) => 2,
        };
        let mut made = (Vec::new(), String::new(), 0);
        let (context, mut why) = ((&raw mut made).cast(), Why::new());
        // SAFETY: all of it is good until the call returns.
        let raw = unsafe {
            ffi::lbt_seed(
                path.as_ptr(),
                address.as_ptr(),
                listen.port(),
                piece,
                version,
                note,
                context,
                &raw mut why,
            )
        };
        let raw = NonNull::new(raw).ok_or(why)?;
        let (torrent, magnet, port) = made;
        Ok(Seeder { raw, torrent, magnet, address: SocketAddr::new(listen.ip(), port) })
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        // SAFETY: it lives, and is not used again.
        unsafe { ffi::lbt_seed_stop(self.raw.as_ptr()) }
    }
}
