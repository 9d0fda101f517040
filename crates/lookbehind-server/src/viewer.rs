//! On whose behalf a request reads.
//!
//! Players seek by a new request, often over a new connection. So that they find again what lies
//! behind them, requests are gathered into viewers: by the `viewer=` parameter of the query, else
//! by the connection, else by film, peer address and User-Agent. A viewer is forgotten when it
//! has no response under way and its last one ended a minute ago; the cache lets its windows
//! linger for the same time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lookbehind::Viewer;

/// How long a viewer's windows stay after its last request.
pub const LINGER: Duration = Duration::from_secs(60);
/// Viewers remembered at most; beyond, each request is a viewer of its own.
const MAX_KEYS: usize = 4096;
/// Bytes of a parameter or a User-Agent that count.
const MAX_TEXT: usize = 256;

/// What a request tells about who reads.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Number of the film.
    pub film: usize,
    /// The `viewer=` parameter.
    pub named: Option<&'a str>,
    /// Number of the connection.
    pub connection: u64,
    /// Address of the peer.
    pub peer: IpAddr,
    /// The User-Agent header.
    pub agent: &'a [u8],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Named(usize, String),
    Connection(usize, u64),
    Agent(usize, IpAddr, Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    viewer: Viewer,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    seats: usize,
    left: Instant,
}

/// The viewers of late.
#[derive(Debug, Default)]
pub struct Viewers {
    known: Mutex<HashMap<Key, Arc<Entry>>>,
}

/// A viewer's place at one response.
#[derive(Debug)]
pub struct Seat(Arc<Entry>);

impl Seat {
    /// The viewer who sits here.
    pub fn viewer(&self) -> Viewer {
        self.0.viewer.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.seats -= 1;
        last.left = Instant::now();
    }
}

impl Entry {
    fn new() -> Arc<Entry> {
        let last = Mutex::new(Last { seats: 0, left: Instant::now() });
        Arc::new(Entry { viewer: Viewer::new(), last })
    }

    fn is_remembered(&self, now: Instant) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.seats > 0 || now.saturating_duration_since(last.left) < LINGER
    }

    fn sit(self: Arc<Entry>) -> Seat {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).seats += 1;
        Seat(self)
    }
}

impl Viewers {
    /// Seats the viewer of a request.
    pub fn seat(&self, who: Who<'_>) -> Seat {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = match who.named.filter(|name| name.len() <= MAX_TEXT) {
            Some(name) => vec![Key::Named(who.film, name.to_owned())],
            None => {
                let agent = &who.agent[..who.agent.len().min(MAX_TEXT)];
                let connection = Key::Connection(who.film, who.connection);
                vec![connection, Key::Agent(who.film, who.peer, agent.to_owned())]
            }
        };
        let found = keys.iter().find_map(|key| known.get(key).filter(|e| e.is_remembered(now)));
        let entry = found.map_or_else(Entry::new, Arc::clone);
        if known.len() + keys.len() > MAX_KEYS {
            known.retain(|_, entry| entry.is_remembered(now));
        }
        if known.len() + keys.len() <= MAX_KEYS {
            for key in keys {
                known.insert(key, Arc::clone(&entry));
            }
        }
        entry.sit()
    }

    /// Forgets a connection that has closed: its number does not come again.
    pub fn closed(&self, connection: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| !matches!(key, Key::Connection(_, number) if *number == connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ME: Who<'_> = Who { film: 0, named: None, connection: 1, peer: HERE, agent: b"player" };

    fn id(viewers: &Viewers, who: Who<'_>) -> u64 {
        viewers.seat(who).viewer().id()
    }

    #[test]
    fn a_new_connection_of_the_same_player_is_the_same_viewer() {
        let viewers = Viewers::default();
        let first = id(&viewers, ME);
        assert_eq!(id(&viewers, ME), first);
        assert_eq!(id(&viewers, Who { connection: 2, ..ME }), first);
        viewers.closed(1);
        assert_eq!(id(&viewers, Who { connection: 3, ..ME }), first);
    }

    #[test]
    fn others_are_others() {
        let viewers = Viewers::default();
        let first = id(&viewers, ME);
        assert_ne!(id(&viewers, Who { connection: 2, agent: b"other", ..ME }), first);
        assert_ne!(id(&viewers, Who { connection: 3, film: 1, ..ME }), first);
        let peer = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
        assert_ne!(id(&viewers, Who { connection: 4, peer, ..ME }), first);
        let named = id(&viewers, Who { named: Some("a"), ..ME });
        assert_ne!(named, first);
        assert_ne!(id(&viewers, Who { named: Some("b"), ..ME }), named);
        let far = Who { named: Some("a"), peer, connection: 5, agent: b"other", ..ME };
        assert_eq!(id(&viewers, far), named, "a name joins what nothing else does");
    }

    #[test]
    fn a_connection_keeps_its_viewer() {
        let viewers = Viewers::default();
        let first = id(&viewers, ME);
        assert_eq!(id(&viewers, Who { agent: b"other", ..ME }), first);
    }

    #[test]
    fn many_names_are_not_remembered() {
        let viewers = Viewers::default();
        let names: Vec<String> = (0..MAX_KEYS + 10).map(|n| n.to_string()).collect();
        let seats: Vec<Seat> =
            names.iter().map(|name| viewers.seat(Who { named: Some(name), ..ME })).collect();
        assert_eq!(viewers.known.lock().unwrap().len(), MAX_KEYS);
        let mut ids: Vec<u64> = seats.iter().map(|seat| seat.viewer().id()).collect();
        ids.dedup();
        assert_eq!(ids.len(), names.len());
    }
}
