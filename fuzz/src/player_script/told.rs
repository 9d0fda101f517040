//! What the policy is told of players: each open, seek, pause, resume and close once, in order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lookbehind::{Action, Candidate, Density, PlayerEvent, Policy, Reclaim, Scene, StorageId};

use super::world::{Playing, World};
use crate::input::Input;

/// An event, as far as it can be foretold.
#[derive(Debug, PartialEq)]
struct Telling {
    storage: StorageId,
    viewer: u64,
    now: Duration,
    action: Action,
    position: u64,
    ahead: u64,
    film: Range<u64>,
    live: bool,
}

/// The events of a step: what the policy was told, and what it should have been.
#[derive(Default)]
pub(super) struct Told {
    heard: Arc<Heard>,
    expected: Vec<Telling>,
}

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Telling>>,
    /// Calls of the policy that have not come back: the cache survives a policy that panics.
    inside: AtomicUsize,
}

impl Told {
    /// The policy that ships, and an ear at what it is told.
    pub(super) fn policy(&self) -> impl Policy + 'static {
        Listening { policy: Density::new(), heard: Arc::clone(&self.heard) }
    }

    pub(super) fn check(&mut self) {
        assert_eq!(self.heard.inside.load(Ordering::Relaxed), 0, "the policy has panicked");
        let heard = std::mem::take(&mut *self.heard.events.lock().unwrap());
        assert_eq!(heard, std::mem::take(&mut self.expected), "told, and should have been");
    }
}

struct Listening {
    policy: Density,
    heard: Arc<Heard>,
}

impl Listening {
    fn within<T>(&self, call: impl FnOnce(&Density) -> T) -> T {
        self.heard.inside.fetch_add(1, Ordering::Relaxed);
        let result = call(&self.policy);
        self.heard.inside.fetch_sub(1, Ordering::Relaxed);
        result
    }
}

impl Policy for Listening {
    fn worth(&self, candidate: &Candidate) -> f64 {
        self.within(|policy| policy.worth(candidate))
    }

    fn rank(&self, scene: &Scene<'_>, candidates: &[Candidate], worth: &mut Vec<f64>) {
        let before = worth.len();
        self.within(|policy| {
            policy.rank(scene, candidates, worth);
            assert_eq!(worth.len() - before, candidates.len());
            assert!(worth[before..].iter().all(|worth| !worth.is_nan()), "{worth:?}");
        });
    }

    fn notice(&self, event: &PlayerEvent) {
        let PlayerEvent { storage, viewer, now, action, position, ahead, live, .. } = *event;
        let film = event.film.clone();
        let telling = Telling { storage, viewer, now, action, position, ahead, film, live };
        self.heard.events.lock().unwrap().push(telling);
        self.within(|policy| policy.notice(event));
    }

    fn soft_windows(&self) -> bool {
        self.policy.soft_windows()
    }
}

impl<R: Reclaim> World<R> {
    /// The policy must be told that this player has done that, and is where it is now.
    pub(super) fn tells(&mut self, which: usize, action: Action) {
        let Playing { player, ahead, limit, .. } = &self.players[which];
        let position = player.position();
        self.told.expected.push(Telling {
            storage: self.film.id(),
            viewer: player.viewer().id(),
            now: self.clock.now(),
            action,
            position,
            ahead: (*ahead).min(limit.saturating_sub(position)),
            film: 0..self.total,
            live: false,
        });
    }

    /// A player says that its viewer has paused, or plays on: perhaps it has said so before.
    pub(super) fn pause(&mut self, input: &mut Input, paused: bool) {
        let Some(which) = self.pick(input) else { return };
        let playing = &mut self.players[which];
        if paused {
            playing.player.pause();
        } else {
            playing.player.resume();
        }
        if std::mem::replace(&mut playing.paused, paused) != paused {
            self.tells(which, if paused { Action::Pause } else { Action::Resume });
        }
    }

    /// Closes a player. What is done with it afterwards is nothing that anybody watches.
    pub(super) fn close(&mut self, input: &mut Input) {
        let Some(which) = self.pick(input) else { return };
        self.tells(which, Action::Close);
        let mut playing = self.players.swap_remove(which);
        playing.player.close();
        playing.player.pause();
        playing.player.seek_to(input.below(self.total + 1));
        playing.player.resume();
        playing.player.close();
    }
}
