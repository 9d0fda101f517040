//! What of a film a `Range` header asks for (RFC 9110, section 14).
//!
//! The rules where the standard leaves a choice:
//! - a unit other than `bytes` is ignored: the answer is the whole film;
//! - a set that is not well-formed, has more than [`MAX_RANGES`] ranges, or whose ranges overlap
//!   so that they ask for more bytes than the film has, is refused with 416 and the reason;
//! - a number too great for 64 bits is a number past the end.
//!
//! No crate is used here: `headers` 0.4 loses suffixes longer than the film, and
//! `http-range-header` 0.4 cannot tell a malformed set from an unsatisfiable one.

use std::ops::Range;

/// Ranges taken from one request. Players ask for one, seldom two.
pub const MAX_RANGES: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole film.
    Whole,
    /// These parts, in this order, none empty, all within the film.
    Parts(Vec<Range<u64>>),
    /// Nothing that could be sent: 416, and why.
    Refused(&'static str),
}

/// Reads the value of a `Range` header for a film of `len` bytes.
pub fn parse(value: &[u8], len: u64) -> Asked {
    const MALFORMED: Asked = Asked::Refused("the Range header is not well-formed");
    let Ok(text) = std::str::from_utf8(value) else {
        return MALFORMED;
    };
    let Some((unit, set)) = text.split_once('=') else {
        return MALFORMED;
    };
    if !unit.trim_matches([' ', '\t']).eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut specs = 0;
    let mut parts = Vec::new();
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        if spec.is_empty() {
            continue; // a list may have empty elements
        }
        specs += 1;
        if specs > MAX_RANGES {
            return Asked::Refused("the Range header has too many ranges");
        }
        match one(spec, len) {
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
            None => return MALFORMED,
        }
    }
    if specs == 0 {
        return MALFORMED;
    }
    if parts.is_empty() {
        return Asked::Refused("no such bytes");
    }
    // No overflow: at most 64 parts, of a film that a file system could hold.
    let total = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.end - part.start));
    if total > len {
        return Asked::Refused("the ranges overlap and ask for more than there is");
    }
    Asked::Parts(parts)
}

/// One range: None if malformed, empty if there are no such bytes.
fn one(spec: &str, len: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(len);
        return Some(len - suffix..len);
    }
    let first = number(first)?;
    let end = match last {
        "" => len,
        last => {
            let last = number(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(len)
        }
    };
    Some(first.min(end)..end)
}

/// Digits only; saturates.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a request with one range is one")]
mod tests {
    use super::*;

    fn parts(value: &str) -> Vec<Range<u64>> {
        match parse(value.as_bytes(), 1000) {
            Asked::Parts(parts) => parts,
            other => panic!("{value}: {other:?}"),
        }
    }

    fn refused(value: &str) {
        let asked = parse(value.as_bytes(), 1000);
        assert!(matches!(asked, Asked::Refused(_)), "{value}: {asked:?}");
    }

    #[test]
    fn the_forms_of_the_standard() {
        assert_eq!(parts("bytes=0-499"), [0..500]);
        assert_eq!(parts("bytes=500-"), [500..1000]);
        assert_eq!(parts("bytes=-300"), [700..1000]);
        assert_eq!(parts("bytes=0-0,-1"), [0..1, 999..1000]);
        assert_eq!(parts("Bytes= 0-0 ,\t5-6,, "), [0..1, 5..7]);
    }

    #[test]
    fn ends_past_the_end_are_clamped() {
        assert_eq!(parts("bytes=900-5000"), [900..1000]);
        assert_eq!(parts("bytes=-5000"), [0..1000]);
        assert_eq!(parts("bytes=0-18446744073709551615"), [0..1000]);
        assert_eq!(parts("bytes=1-99999999999999999999999999"), [1..1000]);
        assert_eq!(parts("bytes=-99999999999999999999999999"), [0..1000]);
        assert_eq!(parts("bytes=2000-3000,10-19"), [10..20], "one that can be satisfied is enough");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for value in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes",
            "bytes=",
            "bytes=,,",
            "bytes=-",
            "bytes=5",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=--1",
            "bytes=0 -5",
            "bytes=\u{661}-2",
        ] {
            refused(value);
        }
        assert!(matches!(parse(b"bytes=0-\xff", 1000), Asked::Refused(_)));
    }

    #[test]
    fn hostile_sets_are_refused() {
        let many = |n: usize| format!("bytes={}", vec!["0-0"; n].join(","));
        assert_eq!(parts(&many(MAX_RANGES)).len(), MAX_RANGES);
        refused(&many(MAX_RANGES + 1));
        refused(&many(5000));
        refused("bytes=0-,0-");
        assert_eq!(parts("bytes=0-499,250-749"), [0..500, 250..750], "some overlap does no harm");
    }

    #[test]
    fn other_units_are_ignored() {
        assert_eq!(parse(b"seconds=1-2", 1000), Asked::Whole);
        assert_eq!(parse(b"=1-2", 1000), Asked::Whole);
        for value in ["\u{b}bytes=1-2", "bytes\u{a0}=1-2"] {
            assert_eq!(parse(value.as_bytes(), 1000), Asked::Whole, "no blank of a header");
        }
    }

    #[test]
    fn nothing_panics() {
        for len in [0, 1, u64::MAX] {
            for value in [
                "bytes=0-",
                "bytes=-1",
                "bytes=0-0",
                "bytes=18446744073709551615-",
                "bytes=0-18446744073709551615,0-18446744073709551615",
            ] {
                if let Asked::Parts(parts) = parse(value.as_bytes(), len) {
                    assert!(parts.iter().all(|part| part.start < part.end && part.end <= len));
                }
            }
        }
    }
}
