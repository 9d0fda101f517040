//! The `Range` header, read as RFC 9110 has it in section 14, one character at a time.
//!
//! ```text
//! Range            = range-unit "=" range-set
//! range-unit       = token
//! range-set        = 1#range-spec         ; a recipient accepts [ element ] *( OWS "," OWS [ element ] )
//! range-spec       = int-range / suffix-range / other-range
//! int-range        = 1*DIGIT "-" [ 1*DIGIT ]
//! suffix-range     = "-" 1*DIGIT
//! other-range      = 1*( %x21-2B / %x2D-7E )
//! ```
//!
//! Where the standard leaves a choice the model knows what the server says that it does: other
//! units are ignored, what is not well-formed is refused, a number past 64 bits is past the end,
//! more than 64 ranges or more bytes than the film has are refused. Around the unit and the
//! set blanks are let pass: the standard's own example has one behind the "=".

use std::ops::Range;

use lookbehind_server::range::{Asked, MAX_RANGES, parse};

use crate::input::Input;

/// What the answer has to be.
#[derive(Debug, PartialEq)]
enum Expected {
    Whole,
    Parts(Vec<Range<u64>>),
    Refused,
    /// A header that is not well-formed and has another unit: it may be ignored or refused.
    NotParts,
}

/// A header as it comes.
pub(super) fn raw(mut input: Input) {
    let len = length(&mut input);
    check(input.rest(), len);
}

/// A header made by the grammar, with a flaw at times.
pub(super) fn generated(input: &mut Input) {
    let len = length(input);
    let mut header: Vec<u8> = match input.below(8) {
        0 => b"seconds".to_vec(),
        1 => b"BYTES".to_vec(),
        2 => b" bytes ".to_vec(),
        _ => b"bytes".to_vec(),
    };
    header.push(b'=');
    let many = input.once_in(16);
    let count = if many {
        input.between(MAX_RANGES as u64 - 1, MAX_RANGES as u64 + 2)
    } else {
        input.between(0, 5)
    };
    for number in 0..count {
        if number > 0 {
            blanks(input, &mut header);
            header.push(b',');
            blanks(input, &mut header);
        }
        if many {
            header.extend(format!("{number}-{number}").into_bytes());
            continue;
        }
        match input.below(6) {
            0 => {}
            1 => {
                header.push(b'-');
                header.extend(position(input, len));
            }
            2 => {
                header.extend(position(input, len));
                header.push(b'-');
            }
            _ => {
                header.extend(position(input, len));
                header.push(b'-');
                header.extend(position(input, len));
            }
        }
    }
    for _ in 0..input.below(6).saturating_sub(3) {
        let at = input.index(header.len() + 1);
        match input.below(4) {
            0 if at < header.len() => drop(header.remove(at)),
            1 if at < header.len() => header[at] = input.byte(),
            2 => {
                let flaws = b" \t-,=0x+\x0b\xc2\xa0\"";
                header.insert(at, flaws[input.index(flaws.len())]);
            }
            _ => {
                let again = header.split_off(at);
                header.extend_from_slice(&again);
                header.extend(again);
            }
        }
    }
    check(&header, len);
}

/// Bytes of a film: no file system has longer ones.
fn length(input: &mut Input) -> u64 {
    if input.flag() { input.between(1, 1000) } else { input.hostile() & i64::MAX as u64 }
}

fn blanks(input: &mut Input, header: &mut Vec<u8>) {
    let some: [&[u8]; 4] = [b"", b" ", b"\t", b" \t "];
    header.extend(some[input.index(4)]);
}

fn position(input: &mut Input, len: u64) -> Vec<u8> {
    let number = match input.below(4) {
        0 => input.hostile(),
        1 => len.wrapping_add(input.below(4)).wrapping_sub(2),
        _ => input.below(len.max(1)),
    };
    let text = match input.below(8) {
        0 => format!("000{number}"),
        1 => format!("{number}0000000000000"),
        _ => format!("{number}"),
    };
    text.into_bytes()
}

fn check(value: &[u8], len: u64) {
    let expected = read(value, len);
    let asked = parse(value, len);
    let agrees = match (&asked, &expected) {
        (Asked::Whole, Expected::Whole | Expected::NotParts)
        | (Asked::Refused(_), Expected::Refused | Expected::NotParts) => true,
        (Asked::Parts(parts), Expected::Parts(expected)) => parts == expected,
        _ => false,
    };
    let text = String::from_utf8_lossy(value);
    assert!(agrees, "{text:?} of {len} bytes: {asked:?}, not {expected:?}");
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

fn is_token(text: &[u8]) -> bool {
    let tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(tchar)
}

fn read(value: &[u8], len: u64) -> Expected {
    let Some(equals) = value.iter().position(|byte| *byte == b'=') else {
        return Expected::Refused;
    };
    let unit = without_blanks(&value[..equals]);
    let elements: Vec<&[u8]> =
        value[equals + 1..].split(|byte| *byte == b',').map(without_blanks).collect();
    let specs: Vec<&[u8]> = elements.into_iter().filter(|spec| !spec.is_empty()).collect();
    if !unit.eq_ignore_ascii_case(b"bytes") {
        let visible = |spec: &&[u8]| spec.iter().all(|byte| (0x21..=0x7E).contains(byte));
        let well_formed = is_token(unit) && !specs.is_empty() && specs.iter().all(visible);
        return if well_formed { Expected::Whole } else { Expected::NotParts };
    }
    if specs.is_empty() || specs.len() > MAX_RANGES {
        return Expected::Refused;
    }
    let mut parts = Vec::new();
    let mut total: u128 = 0;
    for spec in specs {
        match range(spec, len) {
            None => return Expected::Refused,
            Some(None) => {}
            Some(Some((first, last))) => {
                total += u128::from(last) - u128::from(first) + 1;
                parts.push(first..last + 1);
            }
        }
    }
    if parts.is_empty() || total > u128::from(len) {
        return Expected::Refused;
    }
    Expected::Parts(parts)
}

/// The first and the last byte that a range asks for: `None` if it is not well-formed,
/// `Some(None)` if it cannot be satisfied.
fn range(spec: &[u8], len: u64) -> Option<Option<(u64, u64)>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (before, after) = (&spec[..dash], &spec[dash + 1..]);
    if before.is_empty() {
        // suffix-range: satisfiable if its length is not zero and there is a byte at all.
        let suffix = number(after)?;
        let count = if suffix > u128::from(len) { len } else { suffix as u64 };
        return Some((count > 0).then(|| (len - count, len - 1)));
    }
    let first = number(before)?;
    let last = if after.is_empty() { None } else { Some(number(after)?) };
    if last.is_some_and(|last| last < first) {
        return None;
    }
    if first >= u128::from(len) {
        return Some(None);
    }
    let end = u128::from(len) - 1;
    let last = last.filter(|last| *last < end).unwrap_or(end);
    Some(Some((first as u64, last as u64)))
}

/// 1*DIGIT; what is past 64 bits is one number.
fn number(text: &[u8]) -> Option<u128> {
    if text.is_empty() {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u128::from(byte - b'0');
        if value > u128::from(u64::MAX) {
            value = u128::from(u64::MAX);
        }
    }
    Some(value)
}
