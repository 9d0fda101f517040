//! Traces that are right but for a line now and then, of small numbers and of large ones.

use std::io::Write;

use crate::input::Input;

/// Lines of events at most.
const EVENTS: usize = 300;
const KINDS: [&str; 8] = ["readahead", "play", "seek", "probe", "open", "pause", "resume", "close"];
const SECONDS: [&str; 6] = ["1", "2.5", "0.001", "+4", "1e-300", "1e300"];
const WINDOWS: [&str; 4] = ["60", "0.5", "999999999999.9999", "1e-300"];

/// The rest of the input as a trace.
pub(super) fn trace(mut input: Input<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let films: Vec<(u64, u64)> =
        (0..=input.below(3)).map(|n| film(&mut text, n, &mut input)).collect();
    if !input.once_in(32) {
        line(&mut text, "t_seconds,viewer,storage,event,piece", &mut input);
    }
    let mut millis = 0;
    let mut piece: u64 = 0;
    for _ in 0..EVENTS {
        if input.is_over() {
            break;
        }
        if input.once_in(32) {
            odd(&mut text, &mut input);
        }
        millis += match input.below(4) {
            0 => input.below(100_000),
            1 if input.once_in(8) => input.hostile() >> 14,
            _ => 0,
        };
        let (id, pieces) = films[input.index(films.len())];
        piece = match input.below(8) {
            0..5 => piece.saturating_add(1),
            5 | 6 => input.below(40),
            _ => input.hostile(),
        };
        // Seldom beyond the end.
        if !input.once_in(64) {
            piece %= pieces;
        }
        let viewer = if input.once_in(16) { input.hostile() } else { input.below(4) };
        let kind = KINDS[input.index(KINDS.len())];
        let time = millis as f64 / 1000.0;
        line(&mut text, &format!("{time},{viewer},{id},{kind},{piece}"), &mut input);
    }
    if input.flag() {
        text.pop();
    }
    text
}

/// Describes a storage; its name and how many pieces it has.
fn film(text: &mut Vec<u8>, number: u64, input: &mut Input<'_>) -> (u64, u64) {
    let id = if input.once_in(8) { input.hostile() } else { number };
    let pieces = match input.once_in(4) {
        true => input.hostile().clamp(1, u64::from(u32::MAX)),
        false => 1 + input.below(100),
    };
    let bytes = if input.once_in(4) { input.hostile() } else { 1000 };
    let seconds = SECONDS[if input.once_in(4) { input.index(SECONDS.len()) } else { 0 }];
    let window = if input.once_in(4) { WINDOWS[input.index(WINDOWS.len())] } else { "0" };
    line(text, &format!("# storage,{id},{pieces},{bytes},{seconds},{window}"), input);
    (id, pieces)
}

fn line(text: &mut Vec<u8>, line: &str, input: &mut Input<'_>) {
    let end = if input.once_in(16) { "\r\n" } else { "\n" };
    write!(text, "{line}{end}").unwrap();
}

/// A line that is no event: a comment, another storage, or one that is wrong.
fn odd(text: &mut Vec<u8>, input: &mut Input<'_>) {
    match input.below(8) {
        0 => text.extend(b"\n"),
        1 => text.extend(b"# a comment\n"),
        2 => drop(film(text, 1000 + input.below(4), input)),
        3 => text.extend([&vec![b'#'; 1020 + input.index(8)][..], b"\n"].concat()),
        4 => text.extend(b"0,0,0,play\n"),
        5 => text.extend(b"# \xff\n"),
        _ => {
            text.extend((0..input.below(12)).map(|_| input.byte()));
            text.push(b'\n');
        }
    }
}
