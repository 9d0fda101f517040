//! What is wanted.

use std::ffi::{CStr, c_char};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_core::Stream;
use lookbehind::Fetch;

use crate::bell::Bell;
use crate::call::{Failure, Out, guard, lock, timeout};
use crate::handle::{Kind, Table};
use crate::status::lb_status;
use crate::storage::{lb_storage, storage_of};

/// A piece that was taken on to be fetched: nobody else is offered it until the handle is closed.
pub type lb_fetch = u64;

/// Taken out by who ends it; another thread may still be looking at it then.
struct Flight(Mutex<Option<Fetch>>);

static FLIGHTS: Table<Flight> = Table::new(Kind::Fetch);

impl Flight {
    fn take(&self) -> Option<Fetch> {
        lock(&self.0).take()
    }

    fn cancelled(&self) -> bool {
        lock(&self.0).as_ref().is_none_or(Fetch::is_cancelled)
    }
}

/// Takes on the most urgent piece that is missing, that a read or a player needs, and that nobody
/// else fetches; waits for one. `piece` and `len`, each unless null, are its number and its length
/// in bytes. The piece is to be written, or inserted, and then the handle to be closed.
///
/// LB_PENDING if nothing is wanted in time; LB_END when the storage was removed or the cache
/// aborted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_wanted_next(
    storage: lb_storage,
    timeout_ms: i64,
    fetch: *mut lb_fetch,
    piece: *mut u32,
    len: *mut u32,
) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(fetch, "fetch")? };
        let mut wanted = storage_of(storage)?.wanted();
        let bell = Arc::new(Bell::default());
        let next = bell.wait_for(timeout(timeout_ms), |cx| Pin::new(&mut wanted).poll_next(cx));
        let fetch = next.ok_or(Failure::Pending)?.ok_or(Failure::End)?;
        // SAFETY: null or writable, by contract.
        if let Some(out) = unsafe { Out::optional(piece) } {
            out.set(fetch.piece());
        }
        // SAFETY: as above.
        if let Some(out) = unsafe { Out::optional(len) } {
            out.set(fetch.len());
        }
        out.set(FLIGHTS.add(Arc::new(Flight(Mutex::new(Some(fetch))))));
        Ok(())
    })
}

/// Whether nobody needs the piece any more: the player went elsewhere or was closed, the read was
/// cancelled, the storage removed, the cache aborted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_fetch_cancelled(fetch: lb_fetch, cancelled: *mut bool) -> lb_status {
    guard(|| {
        // SAFETY: null or writable, by contract.
        let out = unsafe { Out::new(cancelled, "cancelled")? };
        out.set(FLIGHTS.get(fetch)?.cancelled());
        Ok(())
    })
}

/// Says that the piece cannot be had, and closes the handle: reads that wait for it end with
/// LB_FETCH_FAILED and this reason, a text that may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_fetch_fail(fetch: lb_fetch, reason: *const c_char) -> lb_status {
    guard(|| {
        let reason = if reason.is_null() {
            "no reason was given".into()
        } else {
            // SAFETY: a text that ends with a zero, by contract.
            unsafe { CStr::from_ptr(reason) }.to_string_lossy()
        };
        let flight = FLIGHTS.remove(fetch)?.take();
        if let Some(flight) = flight {
            flight.fail(reason);
        }
        Ok(())
    })
}

/// Closes the handle. Unless the piece has arrived, it is offered again if it is still wanted.
#[unsafe(no_mangle)]
pub extern "C" fn lb_fetch_close(fetch: lb_fetch) -> lb_status {
    guard(|| {
        let flight = FLIGHTS.remove(fetch)?.take();
        // Here, outside the lock.
        drop(flight);
        Ok(())
    })
}
