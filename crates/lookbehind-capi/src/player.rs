//! Players.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_io::AsyncRead;
use lookbehind::{Error, Extent, Player, PlayerConfig};

use crate::bell::Bell;
use crate::cache::Shared;
use crate::call::{Failure, Out, Result, guard, lock, timeout};
use crate::handle::{Kind, Table};
use crate::pin::{PinOut, pin_part};
use crate::status::lb_status;
use crate::storage::{FILMS, lb_storage};

/// What a handle on a player stands for. The mutex is held while the player is polled or told
/// something, never while a thread waits: it waits for the bell.
struct Seat {
    player: Mutex<Player>,
    bell: Arc<Bell>,
    _cache: Arc<Shared>,
}

static PLAYERS: Table<Seat> = Table::new(Kind::Player);

impl Seat {
    fn player(&self) -> MutexGuard<'_, Player> {
        lock(&self.player)
    }

    /// Polls the player until something comes; who waits shares one bell with all others. The player
    /// has one wait, at its place: who reads on takes it from those who wait there.
    fn wait_for<T>(
        &self,
        timeout_ms: i64,
        mut poll: impl FnMut(Pin<&mut Player>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Result<T> {
        let polled = |cx: &mut Context<'_>| poll(Pin::new(&mut *self.player()), cx);
        let came = self.bell.wait_for(timeout(timeout_ms), polled).ok_or(Failure::Pending)?;
        self.bell.ring();
        came
    }

    /// Changes something that a read may be waiting for.
    fn change(&self, change: impl FnOnce(&mut Player)) {
        change(&mut self.player());
        self.bell.ring();
    }
}

/// A player: a playhead that reads a film from a position on, and says by that which pieces are
/// wanted next and which should stay. It may be used from several threads; a read that waits on one
/// follows a seek on another, and ends with LB_DROPPED when the player is closed.
pub type lb_player = u64;

/// How a player reads. All zero is a player with the defaults.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct lb_player_options {
    /// The byte of the film at which it starts.
    pub position: u64,
    /// Bytes a second, by which windows in time are measured; 0 if unknown.
    pub bitrate: u64,
    /// How far ahead of the playhead pieces are wanted, and should stay, in bytes; 0 for
    /// `ahead_ms`. As many as fit: in a window shorter than a piece there is none, and a piece is
    /// wanted once the player waits for it. All windows of a cache, ahead and behind, are shrunk alike
    /// to half its budget together: who wants to read far ahead out of a small one asks for little
    /// behind.
    pub ahead_bytes: u64,
    /// The same in time; 0 for a minute.
    pub ahead_ms: u64,
    /// How far behind it pieces should stay, in bytes; 0 for `behind_ms`. What must stay whatever
    /// viewers do is named by lb_lookbehind_set.
    pub behind_bytes: u64,
    /// The same in time; 0 for a minute.
    pub behind_ms: u64,
    /// How long the windows stay after the player is closed.
    pub linger_ms: u64,
    /// Another player of the same viewer, with whom it shares one part of the room; 0 for none.
    pub same_viewer_as: lb_player,
}

/// Opens a player. `options` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_player_open(
    storage: lb_storage,
    options: *const lb_player_options,
    player: *mut lb_player,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(player, "player")? };
        let film = FILMS.get(storage)?;
        // SAFETY: null or readable, by contract.
        let options = unsafe { options.as_ref() }.copied().unwrap_or_default();
        let player = film.storage.player(config(&options)?)?;
        let (player, bell) = (Mutex::new(player), Arc::default());
        out.set(PLAYERS.add(Arc::new(Seat { player, bell, _cache: Arc::clone(&film.cache) })));
        Ok(())
    })
}

fn config(options: &lb_player_options) -> Result<PlayerConfig> {
    let mut config = PlayerConfig::default().position(options.position);
    let extent = |bytes, ms, default| match (bytes, ms) {
        (0, 0) => default,
        (0, ms) => Extent::Time(Duration::from_millis(ms)),
        (bytes, _) => Extent::Bytes(bytes),
    };
    config.ahead = extent(options.ahead_bytes, options.ahead_ms, config.ahead);
    config.behind = extent(options.behind_bytes, options.behind_ms, config.behind);
    config.bitrate = Some(options.bitrate).filter(|rate| *rate > 0);
    config.linger = Duration::from_millis(options.linger_ms);
    if options.same_viewer_as != 0 {
        let viewer = PLAYERS.get(options.same_viewer_as)?.player().viewer().clone();
        config.viewer = Some(viewer);
    }
    Ok(config)
}

/// Reads at the playhead and moves it on: copies up to `capacity` bytes, as many as are there, at
/// least one, and at most to the end of a piece; `count` is how many. LB_END at the end of the film
/// or at the limit, LB_PENDING if nothing came in time, LB_DROPPED if the player was closed
/// meanwhile; LB_REMOVED or LB_UNKNOWN_STORAGE, LB_ABORTED, LB_FETCH_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_player_read(
    player: lb_player,
    buffer: *mut u8,
    capacity: usize,
    timeout_ms: i64,
    count: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(count, "count")? };
        if buffer.is_null() && capacity > 0 {
            return Err(Failure::NullPointer("buffer"));
        }
        let seat = PLAYERS.get(player)?;
        if capacity == 0 {
            out.set(0);
            return Ok(());
        }
        // SAFETY: writable by contract. More bytes than a slice can have are in no memory.
        // Nothing reads what was in them.
        let buffer =
            unsafe { std::slice::from_raw_parts_mut(buffer, capacity.min(isize::MAX as usize)) };
        let read = seat
            .wait_for(timeout_ms, |player, cx| player.poll_read(cx, buffer).map_err(failure_of))?;
        if read == 0 {
            return Err(Failure::End);
        }
        out.set(read);
        Ok(())
    })
}

/// The library's own error comes out of an error of io's as it went in.
fn failure_of(error: io::Error) -> Failure {
    error.downcast::<Error>().unwrap_or(Error::Dropped).into()
}

/// Reads at the playhead without a copy: pins the rest of the piece that it is in, up to the
/// limit, and moves it on. LB_END, LB_PENDING and failures as for lb_player_read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_player_next(
    player: lb_player,
    timeout_ms: i64,
    data: *mut *const u8,
    len: *mut usize,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { PinOut::new(data, len)? };
        let seat = PLAYERS.get(player)?;
        let bytes = seat.wait_for(timeout_ms, |player, cx| {
            player.poll_next(cx).map(|next| Ok(next.ok_or(Failure::End)??))
        })?;
        if bytes.is_empty() {
            return Err(Failure::End);
        }
        out.set(pin_part(bytes));
        Ok(())
    })
}

/// Moves the playhead to a byte of the film; past the end it finds LB_END. What only the old place
/// wanted is fetched no more.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_seek(player: lb_player, position: u64) -> lb_status {
    guard(|| {
        PLAYERS.get(player)?.change(|player| player.seek_to(position));
        Ok(())
    })
}

/// The byte of the film that is read next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_player_position(player: lb_player, position: *mut u64) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(position, "position")? };
        out.set(PLAYERS.get(player)?.player().position());
        Ok(())
    })
}

/// Reads end at this byte of the film, and nothing beyond it is wanted; UINT64_MAX for no limit.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_limit(player: lb_player, end: u64) -> lb_status {
    guard(|| {
        PLAYERS.get(player)?.change(|player| player.limit(end));
        Ok(())
    })
}

/// Says that the viewer has paused: what lies ahead may go before what others need sooner.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_pause(player: lb_player) -> lb_status {
    guard(|| {
        PLAYERS.get(player)?.player().pause();
        Ok(())
    })
}

/// Says that the viewer plays on.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_resume(player: lb_player) -> lb_status {
    guard(|| {
        PLAYERS.get(player)?.player().resume();
        Ok(())
    })
}

/// Sets the bitrate in bytes a second; 0 if it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_set_bitrate(player: lb_player, bitrate: u64) -> lb_status {
    guard(|| {
        PLAYERS.get(player)?.player().set_bitrate(bitrate);
        Ok(())
    })
}

/// Closes a player, and ends what reads of it wait on other threads.
#[unsafe(no_mangle)]
pub extern "C" fn lb_player_close(player: lb_player) -> lb_status {
    guard(|| {
        PLAYERS.remove(player)?.change(Player::close);
        Ok(())
    })
}
