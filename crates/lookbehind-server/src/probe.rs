//! How fast a film plays: its length over its duration, where its container tells that simply.
//!
//! Windows in seconds need a bit rate. MP4 and its kin say their duration in one box, `mvhd`,
//! which is found by walking over a few headers. Other containers fall back to `--bitrate`.

use std::io;

use crate::source::Opened;

/// Boxes to look at on one level before giving up: a hostile file may hold millions.
const MAX_BOXES: usize = 256;

/// Bytes per second of the film, if it tells. Blocks on the file system.
pub fn bytes_per_second(source: &Opened, len: u64) -> Option<u64> {
    let (start, end) = find(source, 0, len, b"moov").ok()??;
    let (start, end) = find(source, start, end, b"mvhd").ok()??;
    let seconds = duration(source, start, end).ok()??;
    // Casts of floats saturate; what is absurd is clamped to a sensible span.
    let rate = (len as f64 / seconds) as u64;
    Some(rate.clamp(1_000, 1_000_000_000))
}

/// The content of the first box of this kind between two offsets.
fn find(source: &Opened, start: u64, end: u64, kind: &[u8; 4]) -> io::Result<Option<(u64, u64)>> {
    let mut at = start;
    for _ in 0..MAX_BOXES {
        if end.saturating_sub(at) < 8 {
            break;
        }
        let mut head = [0; 8];
        source.read_exact_at(&mut head, at)?;
        let [a, b, c, d, found @ ..] = head;
        let (content, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (at + 8, end - at),
            1 => {
                let mut long = [0; 8];
                source.read_exact_at(&mut long, at + 8)?;
                (at + 16, u64::from_be_bytes(long))
            }
            short => (at + 8, u64::from(short)),
        };
        let next = match at.checked_add(size) {
            Some(next) if next <= end && next >= content => next,
            _ => break,
        };
        if &found == kind {
            return Ok(Some((content, next)));
        }
        at = next;
    }
    Ok(None)
}

/// Seconds that an `mvhd` box gives.
fn duration(source: &Opened, start: u64, end: u64) -> io::Result<Option<f64>> {
    // version and flags 4; times 2 x 4 or 2 x 8; time scale 4; duration 4 or 8
    let mut head = [0; 32];
    let len = (end - start).min(32) as usize;
    source.read_exact_at(&mut head[..len], start)?;
    let short =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (scale, ticks) = match head[0] {
        0 => (short(12), u64::from(short(16))),
        _ => (short(20), u64::from(short(24)) << 32 | u64::from(short(28))),
    };
    let seconds = ticks as f64 / f64::from(scale);
    // All ones mean unknown; a scale of zero makes no number.
    let known = ticks != u64::from(u32::MAX) && ticks != u64::MAX;
    Ok((known && seconds.is_finite() && seconds > 0.0).then_some(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = (content.len() as u32 + 8).to_be_bytes().to_vec();
        out.extend(kind);
        out.extend(content);
        out
    }

    fn film(mvhd: &[u8]) -> Opened {
        let mut film = boxed(b"ftyp", b"isom");
        film.extend(boxed(b"mdat", &[7; 100_000]));
        film.extend(boxed(b"moov", &boxed(b"mvhd", mvhd)));
        Opened::Memory(film.leak())
    }

    fn rate(opened: &Opened) -> Option<u64> {
        bytes_per_second(opened, opened.stamp().unwrap().len)
    }

    #[test]
    fn both_versions_of_the_header() {
        let mut short = [0; 100];
        short[12..16].copy_from_slice(&1000_u32.to_be_bytes());
        short[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
        assert_eq!(rate(&film(&short)), Some(100_136 / 20));
        let mut long = [0; 112];
        long[0] = 1;
        long[20..24].copy_from_slice(&1000_u32.to_be_bytes());
        long[24..32].copy_from_slice(&20_000_u64.to_be_bytes());
        assert_eq!(rate(&film(&long)), Some(100_148 / 20));
    }

    #[test]
    fn nonsense_is_no_rate() {
        assert_eq!(rate(&film(&[0; 100])), None);
        assert_eq!(rate(&film(&[0xff; 100])), None);
        assert_eq!(rate(&film(&[])), None);
        assert_eq!(rate(&Opened::Memory(b"")), None);
        assert_eq!(rate(&Opened::Memory(&[0xff; 4096])), None);
        // boxes of size 8 without end, a box that ends before it begins, one past the end
        assert_eq!(rate(&Opened::Memory([0, 0, 0, 8, 1, 1, 1, 1].repeat(100_000).leak())), None);
        assert_eq!(rate(&Opened::Memory(b"\0\0\0\x04moov\0\0\0\0")), None);
        assert_eq!(rate(&Opened::Memory(b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff")), None);
    }

    #[test]
    fn the_clip_tells_its_rate() {
        let clip = Opened::Memory(crate::app::CLIP);
        let rate = rate(&clip).expect("the clip is an MP4");
        assert!((10_000..100_000).contains(&rate), "{rate} bytes per second");
    }
}
