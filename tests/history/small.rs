//! The checkers against one that tries everything, on small random histories; and on histories
//! that are wrong.

use rand::Rng;
use rand::rngs::StdRng;

use super::linear::{Step, is_linearizable};
use super::stale::{Found, Life, Piece, Read, wrong};
use crate::common;

/// What happened at some moment between two times.
#[derive(Clone, Copy)]
struct Op {
    start: u64,
    end: u64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Publish(u64),
    Evict(u64),
    See(Found),
}

/// Whether some order explains all of it: each op that none left precedes may be next.
fn explained(ops: &[Op], state: Option<u64>) -> bool {
    if ops.is_empty() {
        return true;
    }
    (0..ops.len()).any(|n| {
        let op = ops[n];
        if ops.iter().enumerate().any(|(m, other)| m != n && other.end <= op.start) {
            return false;
        }
        let next = match (op.what, state) {
            (What::Publish(id), None) => Some(id),
            (What::Evict(id), Some(there)) if id == there => None,
            (What::See(Found::Bytes(id)), Some(there)) if id == there => state,
            (What::See(Found::Something), Some(_)) | (What::See(Found::Nothing), None) => state,
            _ => return false,
        };
        let mut rest = ops.to_vec();
        rest.remove(n);
        explained(&rest, next)
    })
}

fn sees(reads: &[Read], which: impl Fn(&Read) -> bool) -> impl Iterator<Item = Op> {
    let op = |read: &Read| Op { start: read.start, end: read.end, what: What::See(read.found) };
    reads.iter().filter(|read| which(read)).map(op).collect::<Vec<_>>().into_iter()
}

/// The same question as `wrong` answers: reads of bytes together, the others each for itself.
fn explained_by_trying(piece: &Piece) -> bool {
    let mut ops = Vec::new();
    for life in &piece.lives {
        let (start, end) = life.published;
        ops.push(Op { start, end, what: What::Publish(life.id) });
        if let Some((told, end)) = life.evicted {
            let there = What::See(Found::Bytes(life.id));
            ops.push(Op { start: told, end: told, what: there });
            ops.push(Op { start: told, end, what: What::Evict(life.id) });
        }
    }
    let of_bytes = |read: &Read| matches!(read.found, Found::Bytes(_));
    ops.extend(sees(&piece.reads, of_bytes));
    explained(&ops, None)
        && sees(&piece.reads, |read| !of_bytes(read)).all(|read| {
            let mut ops = ops.clone();
            ops.push(read);
            explained(&ops, None)
        })
}

/// A history as it may happen, moments four apart, and calls that reach around them; then perhaps
/// something in it is changed.
fn random_piece(rng: &mut StdRng) -> Piece {
    let mut piece = Piece::default();
    let mut time = 100;
    let mut now = None;
    let reach = |rng: &mut StdRng| rng.random_range(1..12);
    for id in 1..=rng.random_range(1..4) {
        for _ in 0..rng.random_range(0..2) {
            piece.reads.push(Read {
                found: Found::Nothing,
                start: time - reach(rng),
                end: time + reach(rng),
            });
            time += 4;
        }
        let born = (time - reach(rng), time + reach(rng));
        now = Some(id);
        time += 4;
        for _ in 0..rng.random_range(0..2) {
            let found = if rng.random_bool(0.7) { Found::Bytes(id) } else { Found::Something };
            piece.reads.push(Read { found, start: time - reach(rng), end: time + reach(rng) });
            time += 4;
        }
        let told = time;
        let died = (told, told + 1 + reach(rng));
        time += 8;
        piece.lives.push(Life { id, published: born, evicted: Some(died) });
    }
    if rng.random_bool(0.3)
        && let (Some(_), Some(last)) = (now, piece.lives.last_mut())
    {
        last.evicted = None;
    }
    let reads = piece.reads.len();
    if reads > 0 && rng.random_bool(0.7) {
        let read = &mut piece.reads[rng.random_range(0..reads)];
        match rng.random_range(0..3) {
            0 => read.found = Found::Bytes(rng.random_range(1..4)),
            1 => read.found = Found::Nothing,
            _ => {
                let by = rng.random_range(0..60);
                (read.start, read.end) = (read.start + by - 30, read.end + by - 30);
            }
        }
    }
    // Each time but that of the observer is a different one.
    let mut times: Vec<&mut u64> = Vec::new();
    for life in &mut piece.lives {
        times.extend([&mut life.published.0, &mut life.published.1]);
        if let Some((told, end)) = &mut life.evicted {
            times.extend([told, end]);
        }
    }
    for read in &mut piece.reads {
        times.extend([&mut read.start, &mut read.end]);
    }
    for (n, time) in times.into_iter().enumerate() {
        *time = *time * 64 + n as u64;
    }
    piece
}

#[test]
fn the_checker_agrees_with_one_that_tries_every_order() {
    let mut rng = common::rng(common::seed());
    let (mut right, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let piece = random_piece(&mut rng);
        let (says, tried) = (wrong(&piece), explained_by_trying(&piece));
        assert_eq!(says.is_empty(), tried, "{says:?}\n{piece:#?}");
        right += u32::from(tried);
        bad += u32::from(!tried);
    }
    println!("{right} right histories, {bad} wrong ones");
    assert!(right > 2_000 && bad > 2_000, "{right} right, {bad} wrong");
}

fn life(id: u64, published: (u64, u64), evicted: Option<(u64, u64)>) -> Life {
    Life { id, published, evicted }
}

fn verdict(lives: &[Life], reads: &[(Found, u64, u64)]) -> bool {
    let reads =
        reads.iter().map(|(found, start, end)| Read { found: *found, start: *start, end: *end });
    wrong(&Piece { lives: lives.to_vec(), reads: reads.collect(), unknown: Vec::new() }).is_empty()
}

#[test]
fn a_read_of_what_was_evicted_before_or_published_after_is_stale() {
    let lives = [life(1, (10, 20), Some((30, 40))), life(2, (50, 60), None)];
    assert!(verdict(&lives, &[(Found::Bytes(1), 35, 45), (Found::Bytes(2), 55, 56)]));
    assert!(!verdict(&lives, &[(Found::Bytes(1), 41, 45)]), "evicted before");
    assert!(!verdict(&lives, &[(Found::Bytes(2), 45, 49)]), "published after");
    assert!(!verdict(&lives, &[(Found::Nothing, 22, 28)]), "it was there all the time");
    assert!(!verdict(&lives, &[(Found::Something, 42, 48)]), "nothing was there");
    assert!(!verdict(&lives, &[(Found::Bytes(3), 1, 99)]), "nobody wrote it");
    assert!(!verdict(&lives, &[(Found::Nothing, 70, 80)]), "nobody evicted it");
}

#[test]
fn what_one_read_has_seen_the_next_one_cannot_unsee() {
    let lives = [life(1, (10, 50), None)];
    assert!(verdict(&lives, &[(Found::Nothing, 12, 20), (Found::Bytes(1), 22, 30)]));
    assert!(!verdict(&lives, &[(Found::Bytes(1), 12, 20), (Found::Nothing, 22, 30)]));
}

#[test]
fn two_insertions_cannot_be_there_at_once() {
    assert!(!verdict(&[life(1, (10, 20), None), life(2, (30, 40), None)], &[]));
    assert!(!verdict(&[life(1, (10, 20), Some((60, 70))), life(2, (30, 40), None)], &[]));
    let unknown = Piece { unknown: vec![7], ..Piece::default() };
    assert_eq!(wrong(&unknown).len(), 1);
}

#[test]
fn the_search_rejects_what_no_order_explains() {
    let publish = |piece, id| Step::Publish(piece, id);
    let both = |a, b| Step::Read(vec![(0, a), (1, b)]);
    // Two that are published at once: either may be first, but not both.
    let mut steps = vec![(1, 10, publish(0, 1)), (2, 9, publish(1, 2))];
    steps.extend([(3, 4, both(None, Some(2))), (5, 6, both(Some(1), Some(2)))]);
    assert!(is_linearizable(&steps));
    steps[3].2 = both(Some(1), None);
    assert!(!is_linearizable(&steps));
    // Who evicts nothing of what is there must have found it claimed.
    let evicted = vec![(1, 2, publish(0, 1)), (3, 4, Step::NothingToEvict(0))];
    assert!(!is_linearizable(&evicted));
    let mut claimed = evicted;
    claimed.extend([(3, 5, Step::Claim(0, 1)), (5, 6, Step::Unpublish(0, 1))]);
    assert!(is_linearizable(&claimed));
}
