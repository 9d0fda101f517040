//! Which piece goes next: the one of the lowest rank in a sample.
//!
//! The sample is drawn from the [roster](super::roster), with the [runners-up](super::shortlist) of
//! the last one. A storage that must make room within its own share has its pieces looked at from its
//! hand on. If all of a sample is protected or futile, everything is looked at.
//!
//! Candidates are looked at film by film, each piece under an announcement of its own: a thread that
//! is parked here keeps one piece at most, and the policy, which is a user's code, none.

use std::sync::Arc;
use std::time::Duration;

use super::policy::{self, Candidate, Scene, Watcher};
use super::protect::{Protection, View};
use super::roster::{Entry, below};
use super::shortlist;
use crate::film::Film;
use crate::foreign;
use crate::layout::Layout;
use crate::memory::piece::PieceRef;
use crate::retire::{Lane, Reclaim, Span};
use crate::shared::{Directory, Shared};
use crate::sync::Ordering;
use crate::table::leaf::{leaf_of, nodes_of};

/// Candidates that an eviction draws, beside the runners-up of the last one.
const SAMPLE: usize = 40;
/// And where a few watch: what they need makes few evictions, and a miss is one of few. A lone viewer
/// who jumps about has two refetches less in a hundred.
const SAMPLE_FOR_FEW: usize = 128;
const FEW: std::ops::RangeInclusive<u64> = 1..=8;
/// Pieces that are all looked at where a draw finds few, for there were many once and most seats are
/// free: it takes no longer than the draw.
const SOME: u64 = 1024;

/// The least valuable piece that was found.
pub(super) struct Victim<R: Reclaim> {
    pub(super) film: Arc<Film<R>>,
    pub(super) piece: u32,
    pub(super) shown: PieceRef,
    pub(super) size: usize,
    rank: Rank,
}

pub(super) enum Choice<R: Reclaim> {
    Victim(Victim<R>),
    /// The films changed while they were looked at: there may be others now.
    Gone,
    Nothing,
}

/// What there is to know of a candidate. Only numbers, and an address to compare: the piece may be
/// gone by now.
struct Seen {
    shown: PieceRef,
    size: usize,
    born: u64,
    version: u64,
    visited: bool,
    /// Versions since it was read last, or published.
    idle: u64,
    pinned: bool,
}

/// The order in which pieces go.
#[derive(Clone, Copy)]
struct Rank {
    class: u8,
    worth: f64,
}

impl Rank {
    /// Evicting it frees nothing now.
    const FUTILE: u8 = 16;
    /// Evicting in its film may free nothing until another thread ends its pass.
    const HELD_UP: u8 = 8;

    fn new(futile: bool, held_up: bool, protection: Protection, worth: f64) -> Self {
        let when = (u8::from(futile) * Self::FUTILE) | (u8::from(held_up) * Self::HELD_UP);
        Self { class: when | protection as u8, worth }
    }

    fn is_futile(&self) -> bool {
        self.class & Self::FUTILE != 0
    }

    /// Neither protected nor futile nor held up.
    fn is_good(&self) -> bool {
        self.class == 0
    }

    /// Which goes first: worths are numbers, and so are in order.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.class.cmp(&other.class).then(self.worth.total_cmp(&other.worth))
    }
}

/// A candidate, and what was found.
type Ranked = (Rank, Entry);

/// A search for a victim.
struct Search<'a, R: Reclaim> {
    shared: &'a Shared<R>,
    now: Duration,
    /// Pieces may go whose memory comes back later.
    futile: bool,
    /// Evicting was in vain: films come last in which another thread makes a pass, for it may be
    /// parked there.
    again: bool,
    /// The policy weighs windows by itself.
    soft: bool,
    /// The pieces of one film only may go.
    alone: bool,
    best: Option<Victim<R>>,
    /// Nothing was found in a film that changed meanwhile.
    gone: bool,
    /// What may be remembered for the next eviction.
    ranked: Vec<Ranked>,
    /// What is looked at together, of one film: used again for the next.
    found: Vec<(u32, Seen)>,
    candidates: Vec<Candidate>,
    worths: Vec<f64>,
    watchers: Vec<Watcher>,
}

impl<R: Reclaim> Shared<R> {
    /// Looks for the least valuable piece, of one film or of all.
    pub(super) fn choose(
        &self,
        only: Option<&Arc<Film<R>>>,
        futile: bool,
        again: bool,
    ) -> Choice<R> {
        let directory = self.directory.load();
        let now = self.clock.now();
        let soft = foreign::call(|| self.policy.soft_windows()).unwrap_or(false);
        let mut search = Search {
            shared: self,
            now,
            futile,
            again,
            soft,
            alone: only.is_some() || directory.films().take(2).count() == 1,
            best: None,
            gone: false,
            ranked: Vec::new(),
            found: Vec::new(),
            candidates: Vec::new(),
            worths: Vec::new(),
            watchers: Vec::new(),
        };
        match only {
            Some(film) => search.in_film(film),
            None => search.in_all(&directory),
        }
        match search.best {
            Some(victim) => Choice::Victim(victim),
            None if search.gone => Choice::Gone,
            None => Choice::Nothing,
        }
    }
}

impl<R: Reclaim> Search<'_, R> {
    fn in_film(&mut self, film: &Arc<Film<R>>) {
        if film.present() > 0 {
            self.walk(film, SAMPLE);
            if film.present() as usize > SAMPLE && !self.found_good() {
                self.walk(film, usize::MAX);
            }
        }
    }

    fn in_all(&mut self, directory: &Directory<R>) {
        let shared = self.shared;
        if shared.lingering.get() > 0 {
            for film in directory.films().filter(|film| film.removed() && film.present() > 0) {
                self.walk(film, SAMPLE);
                if self.found_good() {
                    return;
                }
            }
        }
        // An eviction may be counted just before the publication that it undoes.
        let resident = (shared.resident.get() as i64).max(0) as u64;
        if resident == 0 {
            return;
        }
        let (found, sparse) = self.sample(directory, resident);
        let look_at_all = sparse && resident <= SOME;
        if found as u64 >= resident || (self.found_good() && !look_at_all) {
            return;
        }
        self.ranked.clear();
        for film in directory.films().filter(|film| film.present() > 0) {
            self.walk(film, usize::MAX);
        }
        // Few are good: the next eviction should not have to look for them.
        if !self.ranked.is_empty() {
            self.remember();
        }
    }

    fn found_good(&self) -> bool {
        self.best.as_ref().is_some_and(|victim| victim.rank.is_good())
    }

    /// Looks at a sample and at the runners-up of the last one; how many were there, and whether the
    /// draw found few of those that there are.
    fn sample(&mut self, directory: &Directory<R>, resident: u64) -> (usize, bool) {
        let shared = self.shared;
        let mut words = Vec::with_capacity(SAMPLE_FOR_FEW + shortlist::LEN);
        let few = FEW.contains(&shared.playheads.get());
        let count = if few { SAMPLE_FOR_FEW } else { SAMPLE };
        let whole = shared.roster.sample(count, resident, &mut words);
        let sparse = !whole && words.len() < count / 2;
        if !whole {
            words.extend(shared.shortlist.words());
        }
        // By film, and in order of pieces.
        words.sort_unstable();
        words.dedup();
        if !whole {
            // Of candidates that are worth the same the first goes: no film shall always be it.
            let films = directory.slots.len() as u32;
            let first = shared.roster.draw(1).next().map_or(0, |number| below(number, films));
            let first = Entry { film: first, piece: 0 }.packed();
            let middle = words.partition_point(|word| *word < first);
            words.rotate_left(middle);
        }
        self.ranked.clear();
        self.ranked.reserve(words.len());
        shared.domain.with_lane(|lane| {
            for group in words.chunk_by(|a, b| a >> 32 == b >> 32) {
                let first = group.first().and_then(|word| Entry::unpacked(*word));
                if let Some(film) = first.and_then(|entry| directory.at(entry.film as usize)) {
                    self.look_at(lane, film, group);
                }
            }
        });
        let found = self.ranked.len();
        if !whole {
            self.remember();
        }
        (found, sparse)
    }

    /// What is protected in a film now. Its list of watchers is to be put back.
    fn view(&mut self, film: &Film<R>, layout: &Layout) -> View {
        let watchers = std::mem::take(&mut self.watchers);
        film.protections.view(layout, self.now, !self.soft, !film.ended(), watchers)
    }

    /// Looks at candidates of one film, as seats have them, and notes their ranks.
    fn look_at(&mut self, lane: &Lane<R>, film: &Arc<Film<R>>, words: &[u64]) {
        let layout = film.layout.load();
        let view = self.view(film, &layout);
        // A seat is taken before its piece comes, and given back after it went.
        let entries = words.iter().filter_map(|word| Entry::unpacked(*word));
        let see = |entry: Entry| Some((entry.piece, film.see(lane, entry.piece, true)?));
        self.found.clear();
        self.found.reserve(words.len());
        self.found.extend(entries.filter_map(see));
        let version = self.found.first().map(|(_, seen)| seen.version);
        self.consider(film, &layout, &view);
        if self.best.is_none() {
            // SAFETY: announced.
            let now = film.look(lane, Span::NONE, |root| unsafe { root.head() }.number);
            self.gone |= version.is_some_and(|version| now != version);
        }
        self.watchers = view.watchers;
    }

    /// Keeps the lowest of these ranks for the next eviction, but for the victim's.
    fn remember(&mut self) {
        let victim = self.best.as_ref().map(|v| Entry { film: v.film.id.index, piece: v.piece });
        self.ranked.retain(|(rank, entry)| !rank.is_futile() && Some(*entry) != victim);
        lowest(&mut self.ranked);
        self.shared.shortlist.set(self.ranked.iter().map(|(_, entry)| entry.packed()));
    }

    /// Looks at up to `count` pieces of one film, from its hand on; of the ranks it notes, if that is
    /// all of them, some of the lowest that are good.
    ///
    /// A leaf's numbers are copied under an announcement of its nodes, and then each piece is
    /// looked at under one of its own.
    fn walk(&mut self, film: &Arc<Film<R>>, count: usize) {
        let layout = film.layout.load();
        let view = self.view(film, &layout);
        let hand = film.hand.load(Ordering::Relaxed);
        let (version, leaves) = film.with_version(Span::NONE, |root| {
            // SAFETY: announced; only the root is looked at.
            unsafe { (root.head().number, root.leaf_numbers()) }
        });
        let middle = leaf_of(hand).clamp(leaves.start, leaves.end);
        let before = hand.checked_sub(1).map_or(Span::NONE, |last| Span { first: 0, last });
        // The hand's own leaf comes twice: from the hand on, and at the end what lies before it.
        let after = (middle..leaves.end).map(|leaf| (leaf, Span { first: hand, last: u32::MAX }));
        let around = (leaves.start..leaves.end.min(middle + 1)).map(|leaf| (leaf, before));
        let (mut left, all) = (count, count == usize::MAX);
        film.table.domain.with_lane(|lane| {
            let mut numbers = Vec::with_capacity(count.min(SAMPLE));
            for (leaf, part) in after.chain(around) {
                film.look(lane, nodes_of(leaf), |root| {
                    numbers.clear();
                    // SAFETY: the leaf is announced; no piece is looked into.
                    let pieces = unsafe { root.leaf(leaf).map(|leaf| leaf.pieces_in(part)) };
                    let pieces = pieces.into_iter().flatten().map(|(piece, _)| piece);
                    numbers.extend(pieces.take(left));
                });
                self.found.clear();
                for &piece in &numbers {
                    film.hand.store(piece.wrapping_add(1), Ordering::Relaxed);
                    self.found.extend(film.see(lane, piece, !all).map(|seen| (piece, seen)));
                }
                self.consider(film, &layout, &view);
                self.ranked.retain(|(rank, _)| all && rank.is_good());
                lowest(&mut self.ranked);
                left -= numbers.len();
                if left == 0 {
                    break;
                }
            }
        });
        self.gone |= self.best.is_none() && film.version() != version;
        self.watchers = view.watchers;
    }

    /// Notes the ranks of what was found in one film, and compares them with the best so far.
    fn consider(&mut self, film: &Arc<Film<R>>, layout: &Layout, view: &View) {
        let candidate = |(piece, seen): &(u32, Seen)| Candidate {
            storage: film.id,
            piece: *piece,
            bytes: layout.byte_range(*piece).unwrap_or(0..0),
            size: seen.size,
            protection: view.class(*piece),
            next_use: if view.watched() { view.next_use(*piece) } else { None },
            last_use: if view.watched() { view.last_use(*piece) } else { None },
            visited: seen.visited,
            age: seen.version.saturating_sub(seen.born),
            idle: seen.idle,
        };
        self.candidates.clear();
        self.candidates.extend(self.found.iter().map(candidate));
        let scene = Scene { alone: self.alone, ..view.scene(film.id) };
        policy::rank(&**self.shared.policy, &scene, &self.candidates, &mut self.worths);
        let held_up = self.again && film.table.pass_is_under_way();
        let removed = film.removed();
        let said = self.candidates.iter().zip(&self.worths);
        for (&(piece, ref seen), (candidate, worth)) in self.found.iter().zip(said) {
            let futile = seen.pinned || film.table.shown_by_stalled(piece, seen.born);
            let (protection, worth) = if removed || !view.known(piece) {
                (Protection::None, f64::NEG_INFINITY)
            } else {
                (candidate.protection, *worth)
            };
            let rank = Rank::new(futile, held_up, protection, worth);
            self.ranked.push((rank, Entry { film: film.id.index, piece }));
            let worse = |best: &Victim<R>| rank.order(&best.rank).is_lt();
            if (self.futile || !rank.is_futile()) && self.best.as_ref().is_none_or(worse) {
                let Seen { shown, size, .. } = *seen;
                self.best = Some(Victim { film: Arc::clone(film), piece, shown, size, rank });
            }
        }
    }
}

/// Keeps the lowest ranks, as many as are remembered.
fn lowest(ranked: &mut Vec<Ranked>) {
    if ranked.len() > shortlist::LEN {
        ranked.select_nth_unstable_by(shortlist::LEN, |a, b| a.0.order(&b.0));
        ranked.truncate(shortlist::LEN);
    }
}

impl<R: Reclaim> Film<R> {
    /// Looks at a candidate, and takes its mark if `unmark`; `None` if it is gone, or somebody is
    /// evicting it already.
    fn see(&self, lane: &Lane<R>, piece: u32, unmark: bool) -> Option<Seen> {
        // SAFETY: announced for this piece, so it and the version are alive.
        self.look(lane, Span::one(piece), |root| unsafe {
            let shown = root.get(piece)?;
            let header = shown.header();
            header.canary.sing();
            if header.claimed() {
                return None;
            }
            let visited = header.visited();
            if visited && unmark {
                header.clear_visited();
            }
            let (born, version) = (header.born(), root.head().number);
            let (size, pinned) = (header.size(), header.pinned());
            let idle = version.saturating_sub(header.last_visit().max(born));
            Some(Seen { shown, size, born, version, visited, idle, pinned })
        })
    }
}
