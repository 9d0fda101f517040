//! Traces in files: generated, compressed, malformed, replayed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use lookbehind_simulator::find::find_budget;
use lookbehind_simulator::generate::{Generated, Kind, Recipe, generate};
use lookbehind_simulator::measure::{Measure, measure};
use lookbehind_simulator::policies::{Policy, Unbuilt, build};
use lookbehind_simulator::replay::{Run, replay};
use lookbehind_simulator::score::Score;
use lookbehind_simulator::trace::{Error, Event, TraceFile, write};

/// Removed when dropped.
struct File(PathBuf);

impl File {
    fn new(content: &[u8]) -> File {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("trace-{}-{number}.csv", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, content).expect("a file for the test");
        File(path)
    }

    fn trace(&self) -> TraceFile {
        TraceFile::new(&self.0).expect("it is a regular file")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn text(trace: &Generated) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, "a test", &trace.storages, &trace.events).expect("memory takes everything");
    text
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).expect("memory takes everything");
    gzip.finish().expect("memory takes everything")
}

fn events(trace: &TraceFile) -> Result<Vec<Event>, Error> {
    let mut pass = trace.events()?;
    let mut events = Vec::new();
    while let Some(event) = pass.next_event()? {
        events.push(event);
    }
    Ok(events)
}

fn measured(trace: &TraceFile) -> Measure {
    measure(trace, 1 << 30, &mut |_| ()).expect("it is well-formed")
}

fn scores(trace: &TraceFile, measure: &Measure, caches: &[(Policy, usize)]) -> Vec<Score> {
    let build = |&(policy, pieces)| build(policy, measure, pieces, 1).expect("opt may look ahead");
    let mut runs: Vec<Run> = caches.iter().map(build).map(Run::new).collect();
    replay(trace, measure, &mut runs, &mut |_| ()).expect("it is well-formed");
    runs.into_iter().map(|run| run.score).collect()
}

/// All policies but parts of one, and the library itself, which does not take every trace.
fn all(pieces: usize) -> Vec<(Policy, usize)> {
    let not = |policy: &Policy| !matches!(policy, Policy::Library | Policy::Without(_));
    let policies = Policy::all().filter(not);
    policies.map(|policy| (policy, pieces)).collect()
}

/// Two films; viewer 1 sees the first, goes back, viewer 2 comes in between.
const SMALL: &str = "\
# storage,10,20,1000,2,0
# storage,11,20,3000,2,0
t_seconds,viewer,storage,event,piece
0,1,10,open,0
0,1,10,probe,0
0,1,10,probe,19
0,1,10,seek,0
1,1,10,readahead,1
1,1,10,readahead,2
2,1,10,play,1
3,2,11,open,5
3,2,11,seek,5
4,1,10,pause,1
10,1,10,resume,1
3600,1,10,seek,19
3600,1,10,close,19
";

#[test]
fn a_small_trace_is_measured() {
    let file = File::new(SMALL.as_bytes());
    let found = measured(&file.trace());
    assert_eq!((found.events, found.accesses, found.distinct, found.base), (13, 8, 5, 5));
    assert_eq!((found.distinct_bytes, found.largest_piece), (4 * 1000 + 3000, 3000));
    assert_eq!((found.viewers, found.windows.clone()), (2, vec![2, 0]));
    assert_eq!(found.seconds, 3600.0);
    // The second viewer is there to the end, as far as one can know.
    assert_eq!(found.viewer_seconds, 3600.0 + 3597.0);
    let next = found.next.clone().expect("there is memory enough");
    let never = u32::MAX;
    assert_eq!(*next, [2, 7, never, 5, never, never, never, never]);
    // Without memory the rest is the same.
    let short = measure(&file.trace(), 4 * 7, &mut |_| ()).unwrap();
    assert!(short.next.is_none());
    assert_eq!((short.accesses, short.distinct, short.base, short.opt_bytes()), (8, 5, 5, 32));
    assert!(measure(&file.trace(), 4 * 8, &mut |_| ()).unwrap().next.is_some());
}

#[test]
fn the_largest_piece_may_be_of_any_storage() {
    let text = "# storage,0,9,5,1,0\n# storage,1,9,7,1,0\n# storage,2,9,3,1,0\n\
                # storage,3,9,8,1,0\nt_seconds,viewer,storage,event,piece\n\
                0,1,0,seek,0\n0,1,1,seek,0\n0,1,2,seek,0\n0,1,3,open,0\n";
    let found = measured(&File::new(text.as_bytes()).trace());
    assert_eq!((found.distinct_bytes, found.largest_piece), (5 + 7 + 3, 7));
}

#[test]
fn a_live_storage_counts_by_its_window() {
    let text = "# storage,0,1000,1,3,100\n# storage,1,1000,1,3,100\n\
                t_seconds,viewer,storage,event,piece\n5,1,0,seek,4\n";
    let found = measured(&File::new(text.as_bytes()).trace());
    assert_eq!((found.base, found.distinct, found.seconds), (33, 1, 0.0));
}

#[test]
fn misses_refetches_and_stalls() {
    // Nine pieces by turns in a cache of eight: LRU never has the next one.
    let mut text = "# storage,0,20,1000,2,0\nt_seconds,viewer,storage,event,piece\n".to_owned();
    for round in ["seek", "readahead", "play", "probe"] {
        for piece in 0..9 {
            text += &format!("0,1,0,{round},{piece}\n");
        }
    }
    // The piece under the playhead, the last one of these, is in no window's way here: 0 pieces.
    let file = File::new(text.replace("readahead", "probe").as_bytes());
    let (trace, found) = (file.trace(), measured(&file.trace()));
    let score = scores(&trace, &found, &[(Policy::Lru, 8), (Policy::Lru, 9), (Policy::Opt, 8)]);
    assert_eq!(score[1].misses, 9);
    assert_eq!((score[1].refetches, score[1].stalls, score[1].refetched_bytes), (0, 0, 0));
    for score in &score {
        assert_eq!(score.refetches, score.misses - 9);
        assert_eq!(score.stalls, score.refetches);
        assert_eq!(score.refetched_bytes, score.refetches * 1000);
    }
    assert!(score[2].misses < score[0].misses);
}

#[test]
fn nobody_waits_for_what_is_read_ahead() {
    let mut text = "# storage,0,20,1,2,0\nt_seconds,viewer,storage,event,piece\n".to_owned();
    for _ in 0..3 {
        (0..9).for_each(|piece| text += &format!("0,1,0,readahead,{piece}\n"));
    }
    let file = File::new(text.as_bytes());
    let score = scores(&file.trace(), &measured(&file.trace()), &[(Policy::Fifo, 8)])[0];
    assert_eq!((score.misses, score.refetches, score.stalls), (27, 18, 0));
}

#[test]
fn compressed_or_plain_is_the_same() {
    let trace = generate(&Recipe::new(Kind::Solo, 1)).unwrap();
    let text = text(&trace);
    // Two members, as from `cat a.gz b.gz`; the file's name says nothing.
    let (head, tail) = text.split_at(text.len() / 2);
    let (plain, packed) = (File::new(&text), File::new(&[gzip(head), gzip(tail)].concat()));
    let events = events(&plain.trace()).unwrap();
    assert_eq!(events, self::events(&packed.trace()).unwrap());
    assert_eq!(events, trace.events);
    assert_eq!(measured(&plain.trace()).storages, trace.storages);
    let windows = text.iter().flat_map(|byte| match byte {
        b'\n' => vec![b'\r', b'\n'],
        byte => vec![*byte],
    });
    let windows = File::new(&windows.collect::<Vec<_>>());
    assert_eq!(events, self::events(&windows.trace()).unwrap());
}

#[track_caller]
fn refused(content: &[u8], words: &str) {
    for content in [content.to_vec(), gzip(content)] {
        let file = File::new(&content);
        let error = measure(&file.trace(), 0, &mut |_| ()).unwrap_err().to_string();
        let place = error.strip_prefix(&format!("{}: ", file.0.display())).unwrap_or_default();
        assert!(place.starts_with(words), "{error:?} does not say {words:?}");
    }
}

#[test]
fn a_wrong_line_is_named() {
    let with = |line: &str| [SMALL, line].concat().into_bytes();
    refused(&with("4000,1,10,dance,1\n"), "line 17: event: \"dance\"");
    // The last line may lack its end.
    refused(&with("4000,1,10,play"), "line 17: 4 fields instead of 5");
    refused(&with("3599,1,10,play,1\n"), "line 17: 3599 s is earlier than 3600 s");
    refused(&with("4000,1,10,play,20\n"), "line 17: storage 10 has 20 pieces");
    refused(&with(&format!("#{}\n", "x".repeat(2000))), "line 17: longer than 1024 bytes");
    refused(&[SMALL.as_bytes(), b"4000,\xff"].concat(), "line 17: not UTF-8");
    refused(b"", "line 1: the trace ends without a line \"# storage");
    refused(b"\n\nhello\n", "line 3: \"t_seconds");
    refused(&vec![b'x'; 1 << 20], "line 1: longer");
    refused(&[0; 100], "line 1: \"t_seconds");
}

#[test]
fn a_damaged_file_is_named() {
    let mut packed = gzip(SMALL.as_bytes());
    packed.truncate(packed.len() - 12);
    let file = File::new(&packed);
    let error = measure(&file.trace(), 0, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    let error = TraceFile::new("no-such.csv").unwrap_err().to_string();
    assert!(error.starts_with("no-such.csv: "), "{error}");
    let error = TraceFile::new(env!("CARGO_TARGET_TMPDIR")).unwrap_err();
    assert!(matches!(error, Error::NotRegular(_)), "{error}");
}

#[test]
fn no_bytes_make_it_panic() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(seed);
    let parts = [
        "# storage,",
        "t_seconds,viewer,storage,event,piece\n",
        "\n",
        ",",
        "0",
        "1",
        "9",
        "-",
        "e",
        "4294967295",
        "18446744073709551615",
        "1e308",
        "NaN",
        "open",
        "seek",
        "readahead",
        "close",
        "# storage,0,9,1,1,0\n",
        "# storage,1,4294967295,18446744073709551615,1e-300,9e11\n",
        "1,1,0,seek,1\n",
        "1,1,1,play,4294967294\n",
        "2,1,1,readahead,4294967293\n",
        "\0",
        "é",
    ];
    for _ in 0..500 {
        let mut text = String::from(SMALL);
        for _ in 0..rand::Rng::random_range(&mut random, 0..8) {
            text += parts[rand::Rng::random_range(&mut random, 0..parts.len())];
        }
        let file = File::new(text.as_bytes());
        let Ok(found) = measure(&file.trace(), 1 << 20, &mut |_| ()) else { continue };
        scores(&file.trace(), &found, &all(8));
    }
}

#[test]
fn a_file_that_changes_is_noticed() {
    let file = File::new(SMALL.as_bytes());
    let (trace, found) = (file.trace(), measured(&file.trace()));
    let changed = |text: &str| {
        fs::write(&file.0, text).unwrap();
        replay(&trace, &found, &mut [], &mut |_| ()).unwrap_err().to_string()
    };
    assert!(changed(&SMALL.replace(",20,1000", ",21,1000")).contains("changed"));
    assert!(changed(SMALL.trim_end_matches("3600,1,10,close,19\n")).contains("changed"));
    // Of what grows, only what was there counts.
    fs::write(&file.0, [SMALL, "4000,1,10,play,1\n"].concat()).unwrap();
    replay(&trace, &found, &mut [], &mut |_| ()).unwrap();
}

#[test]
fn opt_on_a_generated_trace_is_what_the_plainest_way_gives() {
    let recipe = Recipe { seek_every: 20.0, ..Recipe::new(Kind::Solo, 5) };
    let mut made = generate(&recipe).unwrap();
    made.events.truncate(2500);
    let file = File::new(&text(&made));
    let (trace, found) = (file.trace(), measured(&file.trace()));
    for pieces in [8, 30] {
        let scores = scores(&trace, &found, &all(pieces));
        let misses: Vec<u64> = scores.iter().map(|score| score.misses).collect();
        assert_eq!(misses[0], misses_of_opt(&trace, pieces));
        assert!(misses.iter().all(|others| *others >= misses[0]), "{misses:?}");
        assert!(misses[0] > found.distinct, "there is something to choose");
    }
}

#[test]
fn the_library_misses_what_its_policy_says() {
    for (kind, load) in [(Kind::Party, 1.0), (Kind::Live, 0.3)] {
        let mut made = generate(&Recipe { load, ..Recipe::new(kind, 7) }).unwrap();
        made.events.truncate(20_000);
        let file = File::new(&text(&made));
        let (trace, found) = (file.trace(), measured(&file.trace()));
        let pieces = found.base as usize / 10;
        let policies = [Policy::Opt, Policy::Density, Policy::Library, Policy::Lru];
        let scores = scores(&trace, &found, &policies.map(|policy| (policy, pieces)));
        let misses: Vec<f64> = scores.iter().map(|score| score.misses as f64).collect();
        assert!((misses[2] / misses[1] - 1.0).abs() < 0.01, "{misses:?}");
        // As far as it can be, both know better than what was read last.
        assert!(misses[1] - misses[0] < 0.6 * (misses[3] - misses[0]), "{misses:?}");
    }
}

/// OPT, told in the plainest way: of what is there and the new one, the last needed goes.
fn misses_of_opt(trace: &TraceFile, capacity: usize) -> u64 {
    let keys: Vec<_> = events(trace).unwrap();
    let keys: Vec<_> = keys.iter().filter(|e| e.kind.touches()).map(Event::key).collect();
    let (mut resident, mut misses) = (Vec::new(), 0);
    for (now, key) in keys.iter().enumerate() {
        if resident.contains(key) {
            continue;
        }
        misses += 1;
        resident.push(*key);
        if resident.len() > capacity {
            let next = |key| keys[now + 1..].iter().position(|later| later == key);
            let last =
                (0..resident.len()).max_by_key(|i| next(&resident[*i]).unwrap_or(usize::MAX));
            resident.swap_remove(last.unwrap());
        }
    }
    misses
}

#[test]
fn the_least_budget_is_found() {
    let recipe = Recipe { seek_every: 60.0, ..Recipe::new(Kind::Solo, 2) };
    let mut made = generate(&recipe).unwrap();
    made.events.truncate(4000);
    let file = File::new(&text(&made));
    let (trace, found) = (file.trace(), measured(&file.trace()));
    for factor in [1.01, 1.03, 1.1, 1.2, 1.3, 1.5] {
        let least = find_budget(&trace, &found, Policy::Lru, factor, 1, &mut |_| ());
        let least = least.unwrap().unwrap();
        let enough = (found.distinct as f64 * factor) as u64;
        let around = [(Policy::Lru, least.pieces - 1), (Policy::Lru, least.pieces)];
        let around = scores(&trace, &found, &around);
        assert!(around[0].misses > enough && around[1].misses <= enough, "{factor}: {least:?}");
        assert_eq!(around[1], least.score);
        assert!(least.ratio(&found) <= factor);
    }
    // No more than once each: with room for everything, or what comes to the same.
    let all = find_budget(&trace, &found, Policy::Fifo, 1.0, 1, &mut |_| ()).unwrap().unwrap();
    assert_eq!(all.score.misses, found.distinct);
    // OPT is not there for who cannot look ahead.
    let blind = Measure { next: None, ..found };
    let none = find_budget(&trace, &blind, Policy::Opt, 1.1, 1, &mut |_| ()).unwrap();
    assert!(matches!(none, Err(Unbuilt::TooLong)));
}

#[test]
fn a_time_that_is_rounded_up_to_the_last_one_reads_back() {
    let text = "# storage,0,1,1,1,0\nt_seconds,viewer,storage,event,piece\n\
                999999999999.9999,0,0,play,0\n";
    let file = File::new(text.as_bytes());
    let first = events(&file.trace()).unwrap();
    let mut pass = file.trace().events().unwrap();
    while pass.next_event().unwrap().is_some() {}
    let mut written = Vec::new();
    write(&mut written, "a test", pass.storages(), &first).unwrap();
    let again = events(&File::new(&written).trace()).unwrap();
    assert_eq!(again, [Event { time: 1e12, ..first[0] }]);
}

#[test]
fn a_cache_of_any_size_takes_what_the_trace_needs() {
    let file = File::new(SMALL.as_bytes());
    let (trace, found) = (file.trace(), measured(&file.trace()));
    let caches = all(usize::MAX).into_iter().chain([(Policy::Library, usize::MAX)]);
    for score in scores(&trace, &found, &caches.collect::<Vec<_>>()) {
        assert_eq!((score.misses, score.refetches), (found.distinct, 0));
    }
}
