//! Blocks and whole pieces in, a new version out.

use std::sync::Arc;
use std::time::Duration;

use super::assembly::{Assembly, Step, overhead};
use super::block_range;
use super::verify::Verifier;
use crate::error::{Error, Result};
use crate::evict::Need;
use crate::evict::observe::Reason;
use crate::evict::protect::Protection;
use crate::evict::roster::Entry;
use crate::film::Film;
use crate::foreign;
use crate::memory::piece::size_for;
use crate::memory::{Buffer, Purpose, Refused, State};
use crate::retire::Reclaim;
use crate::shared::Shared;
use crate::storage::{Insert, Progress, Storage};
use crate::table::publish::Published;

/// Without progress for so long an assembly expires, unless its storage says otherwise.
const ASSEMBLY_LIMIT: Duration = Duration::from_secs(60);

impl<R: Reclaim> Film<R> {
    fn need<'a>(self: &'a Arc<Self>, bytes: usize, patient: bool) -> Need<'a, R> {
        Need { bytes, only: None, reason: Reason::Room, patient }
    }

    /// Room in the storage's share, made from its own pieces.
    fn fit_share(self: &Arc<Self>, size: usize) -> Result<()> {
        let Some(share) = self.options.share else { return Ok(()) };
        loop {
            let arriving: usize = self.assemblies.list().iter().map(|a| a.size()).sum();
            // An eviction may be counted just before the publication that it undoes.
            let published = (self.published.get() as i64).max(0) as u64;
            let used = published + arriving as u64;
            if used + size as u64 <= share {
                return Ok(());
            }
            let own = Need { only: Some(self), ..self.need(size, true) };
            if size as u64 > share || self.shared.evict_one(&own, true, false)? == 0 {
                return Err(Error::ShareExhausted { needed: size as u64, share, used });
            }
        }
    }

    /// A buffer for the piece; makes room, but does not wait.
    fn buffer(self: &Arc<Self>, piece: u32, len: u32, patient: bool) -> Result<Buffer> {
        let size = size_for(len as usize);
        self.fit_share(size)?;
        let (alike, _) = self.layout.load().alike();
        let memory = &self.shared.memory;
        self.shared.obtain(&self.need(size, patient), || memory.buffer(piece, len, piece < alike))
    }

    /// Publishes a piece that is written whole: new version, waits, fetches. The buffer comes
    /// back if there was no memory for the new version.
    fn publish(&self, piece: u32, buffer: Buffer) -> Result<Insert, (Error, Option<Buffer>)> {
        let size = buffer.size() as u64;
        let bytes = self.table.node_bytes();
        let need = Need { bytes, only: None, reason: Reason::Room, patient: false };
        let nodes = match self.shared.obtain(&need, || self.table.nodes(Purpose::Publish)) {
            Ok(nodes) => nodes,
            Err(error) => return Err((error, Some(buffer))),
        };
        let domain = &self.table.domain;
        let seat = self.shared.seat(Entry { film: self.id.index, piece }, buffer.piece());
        buffer.set_seat(seat);
        // Counted before it is seen, lest its eviction be counted first.
        self.published.add(size);
        self.present.add(1);
        self.shared.resident.add(1);
        let published = domain.with_lane(|lane| self.table.publish(lane, nodes, piece, buffer));
        if !matches!(published, Published::Done(_)) {
            self.published.sub(size);
            self.present.sub(1);
            self.shared.resident.sub(1);
            self.shared.roster.give_back(seat);
        }
        self.shared.limbo.mark(self.id.index as usize);
        // Old nodes gather version by version; a piece's worth of them is swept up.
        if self.table.pass_is_due(size as usize) {
            self.table.pass();
        }
        match published {
            Published::Done(held) => {
                self.shared.published.add(1);
                self.waits.published(&held);
                // Behind the fence in there: see `Assemblies::open`.
                self.abandon_if_shown(piece);
                self.demand.arrived(self, piece);
                // The segment may have fallen out of the window since the caller looked.
                self.evict_range(piece..self.layout().pieces().start, Reason::Window).ok();
                Ok(Insert::Published)
            }
            Published::Present => Ok(Insert::AlreadyPresent),
            Published::Closed => Err((Error::UnknownStorage { id: self.id }, None)),
            Published::OutOfWindow => {
                let pieces = self.layout().pieces();
                let (first, end) = (pieces.start, pieces.end);
                Err((Error::PieceOutOfRange { piece, first, end }, None))
            }
        }
    }

    /// The open assembly of the piece, or a new one.
    fn assembly(self: &Arc<Self>, piece: u32, len: u32, patient: bool) -> Result<Arc<Assembly>> {
        if let Some(open) = self.assemblies.get(piece) {
            return Ok(open);
        }
        self.shared.expire_assemblies();
        let memory = &self.shared.memory;
        let (beside, size) = (overhead(len), size_for(len as usize));
        let half = memory.budget.limit() / 2;
        while !memory.budget.open_assembly(size + beside) {
            // None is dropped for one that cannot fit.
            let fits = (size + beside) as u64 <= half;
            if !fits || !self.shared.drop_least_wanted(self, piece) {
                return Err(Error::AssembliesFull {
                    needed: (size + beside) as u64,
                    limit: half,
                    assembling: memory.budget.assemblies(),
                });
            }
        }
        // What is beside the piece first: it is little, and given back without waking anyone.
        let reserve = || {
            let reserved = memory.budget.reserve(beside, State::Assembling);
            reserved.then_some(()).ok_or(Refused::Budget)
        };
        let made = self.shared.obtain(&self.need(beside, patient), reserve).and_then(|()| {
            let buffer = self.buffer(piece, len, patient);
            buffer.inspect_err(|_| memory.budget.release(beside, State::Assembling))
        });
        let buffer = made.inspect_err(|_| memory.budget.close_assembly(size + beside))?;
        // A verifier that panics here judges when the piece is complete, or refuses it then.
        let begin =
            |verifier: &Arc<dyn Verifier>| foreign::call(|| verifier.begin(piece)).flatten();
        let hasher = self.options.verifier.as_ref().and_then(begin);
        let now = self.shared.now_millis();
        let assembly = Assembly::new(piece, len, buffer, hasher, memory, now)
            .inspect_err(|_| memory.budget.close_assembly(size + beside))?;
        let (open, ours) = self.assemblies.open(assembly);
        // Also another thread's, who may not have come so far yet.
        self.shared.arriving.mark(self.id.index as usize);
        if !ours {
            memory.budget.close_assembly(size + beside);
        } else if self.removed() || self.piece_len(piece).is_err() {
            // Since the caller looked removal may have emptied the map, or the segment fallen out
            // of the window.
            self.assemblies.abandon(piece, memory);
        } else {
            // Or another thread published the piece, and looked before this was open.
            self.abandon_if_shown(piece);
        }
        Ok(open)
    }

    /// Drops what is open of a piece that is shown, whoever opened it: nobody can complete it any
    /// more. Looks under the mutex: if the piece is gone again, somebody may be writing it anew.
    /// Model: `blocks_against_insert`.
    fn abandon_if_shown(&self, piece: u32) {
        let memory = &self.shared.memory;
        if let Some(open) = self.assemblies.take_if(piece, memory, |_| self.contains(piece)) {
            open.drop_buffer();
        }
    }

    /// What is said of a piece whose assembly is another's to publish, or was dropped.
    fn shown(&self, piece: u32) -> Result<()> {
        self.known()?;
        if self.contains(piece) { Ok(()) } else { Err(Error::NotOpen { piece }) }
    }

    /// Judges a complete assembly, if there is a verifier, and publishes it.
    fn finish(&self, assembly: &Arc<Assembly>) -> Result<()> {
        let memory = &self.shared.memory;
        if let Some(verifier) = &self.options.verifier
            && !assembly.verify(&**verifier)
        {
            self.assemblies.drop_one(assembly, memory);
            self.shared.verify_failures.add(1);
            return Err(Error::VerifyFailed { piece: assembly.piece });
        }
        // Whoever has the buffer publishes; another one, or whoever dropped it, was first.
        let Some(buffer) = assembly.take_buffer() else {
            // It may yet fail for want of memory, and be put back: only what is there is published.
            return self.shown(assembly.piece);
        };
        match self.publish(assembly.piece, buffer) {
            Ok(_) => {
                self.assemblies.close(assembly, memory);
                Ok(())
            }
            Err((error, Some(buffer))) => {
                assembly.put_back(buffer);
                let open = self.assemblies.get(assembly.piece);
                if !open.is_some_and(|open| Arc::ptr_eq(&open, assembly)) {
                    // Abandoned meanwhile, or another one has published the piece: nobody can
                    // commit it any more.
                    assembly.drop_buffer();
                    return self.shown(assembly.piece);
                }
                Err(error)
            }
            Err((error, None)) => {
                self.assemblies.close(assembly, memory);
                Err(error)
            }
        }
    }
}

impl<R: Reclaim> Shared<R> {
    /// Drops assemblies that made no progress for their storage's limit; whether there were any.
    /// Waits for nobody who has a map of assemblies: there will be another time.
    pub(crate) fn expire_assemblies(&self) -> bool {
        let now = self.now_millis();
        let mut any = false;
        self.visit(
            &self.arriving,
            |film| film.assemblies.count() > 0,
            |film| {
                let limit = film.options.assembly_limit.unwrap_or(ASSEMBLY_LIMIT).as_millis();
                for assembly in film.assemblies.try_list() {
                    if u128::from(now.saturating_sub(assembly.progress.get())) >= limit {
                        any |= film.assemblies.drop_one(&assembly, &self.memory);
                    }
                }
            },
        );
        any
    }

    /// Drops the assembly that is wanted least, if it is wanted less than `piece` of `film`.
    fn drop_least_wanted(&self, film: &Arc<Film<R>>, piece: u32) -> bool {
        let wanted = |film: &Film<R>, piece: u32| -> (bool, Protection) {
            let (layout, now) = (film.layout(), self.clock.now());
            let view = film.protections.view(&layout, now, true, !film.ended(), Vec::new());
            (film.waits.contains(piece), view.class(piece))
        };
        let this = wanted(film, piece);
        let directory = self.directory.load();
        let open =
            directory.films().filter(|film| !film.options.keep_assemblies).flat_map(|film| {
                let list = film.assemblies.list().into_iter();
                list.map(|assembly| (wanted(film, assembly.piece), assembly, Arc::clone(film)))
            });
        let least = open.min_by_key(|(wanted, assembly, _)| (*wanted, assembly.progress.get()));
        match least {
            Some((wanted, assembly, film)) if wanted < this => {
                film.assemblies.drop_one(&assembly, &self.memory);
                true
            }
            _ => false,
        }
    }
}

impl<R: Reclaim> Storage<R> {
    /// Writes a block of a piece, of any size and in any order, from any thread. Never waits.
    ///
    /// The first block opens an assembly and reserves memory for the whole piece; later ones do
    /// not fail for memory. Bytes that were written before are left as they are. With a verifier
    /// the block that completes the piece also verifies and publishes it.
    ///
    /// ```
    /// # use lookbehind::{Cache, Layout, Progress};
    /// # let cache = Cache::builder().budget(1 << 20).build()?;
    /// # let film = cache.add_storage(Layout::fixed(100, 100)?)?;
    /// assert_eq!(film.write(0, 50, &[2; 50])?, Progress::Partial { written: 50 });
    /// assert_eq!(film.write(0, 0, &[1; 60])?, Progress::Complete); // the first writer wins
    /// film.commit(0)?;
    /// assert_eq!(film.get(0)?[50], 2);
    /// # Ok::<(), lookbehind::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::PieceOutOfRange`], [`Error::BlockOutOfRange`] for what the film does not have.
    /// - [`Error::BudgetExhausted`], [`Error::AssembliesFull`], [`Error::ShareExhausted`] from the
    ///   first block, if there is no room.
    /// - [`Error::TooFragmented`] if the piece would lie in too many disjoint parts: 128 can
    ///   always be, and one for each 8 KiB of the piece, up to 1,024.
    /// - [`Error::VerifyFailed`] if the piece is complete and wrong: it was dropped.
    /// - [`Error::NotOpen`] if the piece was abandoned or dropped while this block was written.
    /// - [`Error::BudgetExhausted`] from the last block if stalled snapshots leave no room for a
    ///   new version: the piece stays complete, and [`commit`](Self::commit) tries again.
    pub fn write(&self, piece: u32, offset: u32, block: &[u8]) -> Result<Progress> {
        self.try_write(piece, offset, block, false)
    }

    pub(super) fn try_write(
        &self,
        piece: u32,
        offset: u32,
        block: &[u8],
        patient: bool,
    ) -> Result<Progress> {
        let film = &self.film;
        let _call = film.shared.call()?;
        film.usable()?;
        let len = film.piece_len(piece)?;
        block_range(piece, offset, block.len(), len)?;
        if film.contains(piece) {
            return Ok(Progress::Published);
        }
        let assembly = film.assembly(piece, len, patient)?;
        let before = assembly.prefix();
        let step = assembly.write(offset, block)?;
        assembly.progress.set(film.shared.now_millis());
        if assembly.dropped() && !film.contains(piece) {
            // Abandoned, expired or dropped for another one meanwhile.
            film.known()?;
            return Err(Error::NotOpen { piece });
        }
        match step {
            Step::Partial(written) => {
                if assembly.prefix() > before {
                    assembly.hash();
                    if film.options.readable_prefix {
                        film.demand.grew();
                    }
                }
                Ok(Progress::Partial { written })
            }
            Step::Complete if film.options.verifier.is_none() => {
                if film.options.readable_prefix {
                    film.demand.grew();
                }
                Ok(Progress::Complete)
            }
            Step::Complete => {
                film.finish(&assembly)?;
                Ok(Progress::Published)
            }
        }
    }

    /// Publishes a piece whose blocks are all written. With a verifier this happens by itself;
    /// then `commit` is only needed after the last block found no memory.
    ///
    /// # Errors
    /// [`Error::NotOpen`] without an assembly, [`Error::Incomplete`] if bytes are missing,
    /// [`Error::VerifyFailed`], and [`Error::BudgetExhausted`] as for [`write`](Self::write). A
    /// piece that is published already is no error.
    pub fn commit(&self, piece: u32) -> Result<()> {
        let film = &self.film;
        let _call = film.shared.call()?;
        film.usable()?;
        let piece_len = film.piece_len(piece)?;
        let Some(assembly) = film.assemblies.get(piece) else {
            return film.shown(piece);
        };
        if !assembly.is_complete() {
            return Err(Error::Incomplete { piece, written: assembly.written(), piece_len });
        }
        film.finish(&assembly)
    }

    /// Drops what has arrived of a piece; whether anything had.
    ///
    /// # Errors
    /// If the storage was removed.
    pub fn abandon(&self, piece: u32) -> Result<bool> {
        self.film.known()?;
        Ok(self.film.assemblies.abandon(piece, &self.film.shared.memory))
    }

    /// Publishes a whole piece. Never waits; see also [`insert_wait`](Self::insert_wait).
    ///
    /// With a verifier the bytes are judged first.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::PieceOutOfRange`], [`Error::VerifyFailed`], and
    /// [`Error::BudgetExhausted`] or [`Error::ShareExhausted`] if there is no room.
    pub fn insert(&self, piece: u32, bytes: &[u8]) -> Result<Insert> {
        self.try_insert(piece, bytes, false)
    }

    pub(super) fn try_insert(&self, piece: u32, bytes: &[u8], patient: bool) -> Result<Insert> {
        let film = &self.film;
        let _call = film.shared.call()?;
        film.usable()?;
        let expected = film.piece_len(piece)?;
        if bytes.len() != expected as usize {
            return Err(Error::WrongLength { piece, given: bytes.len() as u64, expected });
        }
        if film.contains(piece) {
            return Ok(Insert::AlreadyPresent);
        }
        if let Some(verifier) = &film.options.verifier
            && !foreign::call(|| verifier.verify(piece, bytes)).unwrap_or(false)
        {
            film.shared.verify_failures.add(1);
            return Err(Error::VerifyFailed { piece });
        }
        let buffer = film.buffer(piece, expected, patient)?;
        // SAFETY: the buffer is not shared, and as long as the piece.
        unsafe { buffer.fill(0, bytes) };
        let failed = |(error, buffer): (Error, Option<Buffer>)| {
            buffer.into_iter().for_each(Buffer::drop_quietly);
            error
        };
        film.publish(piece, buffer).map_err(failed)
    }
}
