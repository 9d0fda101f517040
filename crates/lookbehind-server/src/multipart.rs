//! Several ranges in one body: `multipart/byteranges` (RFC 9110, section 14.6).

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;

use crate::body::Stretch;

/// A body of several parts, all known but the film's bytes.
pub struct Multipart {
    /// The media type with the boundary.
    pub content_type: String,
    /// Length in bytes.
    pub len: u64,
    /// Heads and parts in turn, and the end.
    pub stretches: Vec<Stretch>,
}

impl Multipart {
    /// Lays out these parts of a film that is `total` bytes long.
    pub fn new(parts: &[Range<u64>], total: u64, content_type: &str) -> Multipart {
        // Random, so that no film can be made to hold it.
        let random = || RandomState::new().hash_one(total);
        let boundary = format!("lookbehind-{:016x}{:016x}", random(), random());
        let mut stretches = Vec::with_capacity(parts.len() * 2 + 1);
        let mut len = 0;
        let text = |stretches: &mut Vec<Stretch>, text: String| {
            let text = Bytes::from(text);
            let size = text.len() as u64;
            stretches.push(Stretch::Text(text));
            size
        };
        for part in parts {
            let range = content_range(part, total);
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n"
            );
            len += text(&mut stretches, head) + (part.end - part.start);
            stretches.push(Stretch::Film(part.clone()));
        }
        len += text(&mut stretches, format!("\r\n--{boundary}--\r\n"));
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        Multipart { content_type, len, stretches }
    }
}

/// The value of `Content-Range` for a part, which is not empty.
pub fn content_range(part: &Range<u64>, total: u64) -> String {
    format!("bytes {}-{}/{total}", part.start, part.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_stretches() {
        let multipart = Multipart::new(&[0..1, 500..750], 1000, "video/mp4");
        let sum: u64 = multipart
            .stretches
            .iter()
            .map(|stretch| match stretch {
                Stretch::Text(text) => text.len() as u64,
                Stretch::Film(range) => range.end - range.start,
            })
            .sum();
        assert_eq!(multipart.len, sum);
        assert_eq!(multipart.stretches.len(), 5);
    }

    #[test]
    fn boundaries_differ() {
        let one = || Multipart::new(&[0..1, 2..3], 1000, "video/mp4").content_type;
        assert_ne!(one(), one());
    }
}
