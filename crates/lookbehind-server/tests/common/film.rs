//! Films to serve, and folders for them.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Fills the buffer with the bytes that a film of this kind has at the offset.
pub fn fill(kind: u64, offset: u64, mut buffer: &mut [u8]) {
    let mut at = offset;
    while !buffer.is_empty() {
        // splitmix64 of the word's number
        let mut x = ((at / 8) ^ (kind << 48)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (x ^ (x >> 31)).to_le_bytes();
        let part = &word[(at % 8) as usize..];
        let size = part.len().min(buffer.len());
        buffer[..size].copy_from_slice(&part[..size]);
        buffer = &mut buffer[size..];
        at += size as u64;
    }
}

/// The bytes of a range of a film of this kind.
pub fn bytes(kind: u64, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    fill(kind, range.start, &mut bytes);
    bytes
}

/// A folder for one test; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a film of this kind and length.
    pub fn film(&self, name: &str, kind: u64, len: u64) -> PathBuf {
        let path = self.path(name);
        let mut file = File::create(&path).expect("a file for the test");
        let mut block = vec![0; 1 << 20];
        for start in (0..len).step_by(block.len()) {
            let size = (len - start).min(block.len() as u64) as usize;
            fill(kind, start, &mut block[..size]);
            file.write_all(&block[..size]).expect("room on the disk");
        }
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
