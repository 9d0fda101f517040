//! A queue of pieces out of whose middle one can be taken.

use crate::trace::Key;

/// Where in a [`Queue`] something is; good until it is removed.
pub type Place = u32;

const NONE: Place = u32::MAX;

struct Node<T> {
    key: Key,
    value: T,
    newer: Place,
    older: Place,
}

/// A list from the newest to the oldest.
pub struct Queue<T> {
    nodes: Vec<Node<T>>,
    free: Vec<Place>,
    newest: Place,
    oldest: Place,
}

impl<T: Copy> Queue<T> {
    pub fn new() -> Queue<T> {
        Queue { nodes: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds it as the newest.
    pub fn push(&mut self, key: Key, value: T) -> Place {
        let node = Node { key, value, newer: NONE, older: self.newest };
        let place = match self.free.pop() {
            Some(place) => {
                self.nodes[place as usize] = node;
                place
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as Place
            }
        };
        match self.newest {
            NONE => self.oldest = place,
            newest => self.nodes[newest as usize].newer = place,
        }
        self.newest = place;
        place
    }

    /// Takes it out.
    pub fn remove(&mut self, place: Place) -> (Key, T) {
        let Node { key, value, newer, older } = self.nodes[place as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        self.free.push(place);
        (key, value)
    }

    /// Makes it the newest.
    pub fn renew(&mut self, place: Place) -> Place {
        let (key, value) = self.remove(place);
        // What was freed last is used first: it stays in its place.
        self.push(key, value)
    }

    pub fn oldest(&self) -> Option<Place> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The one that came after it.
    pub fn newer(&self, place: Place) -> Option<Place> {
        let newer = self.nodes[place as usize].newer;
        (newer != NONE).then_some(newer)
    }

    pub fn key(&self, place: Place) -> Key {
        self.nodes[place as usize].key
    }

    pub fn value(&mut self, place: Place) -> &mut T {
        &mut self.nodes[place as usize].value
    }

    /// The oldest of which this is so.
    pub fn oldest_that(&self, is_so: impl Fn(Key) -> bool) -> Option<Place> {
        let mut at = self.oldest();
        while let Some(place) = at {
            if is_so(self.key(place)) {
                return at;
            }
            at = self.newer(place);
        }
        None
    }
}

impl<T: Copy> Clone for Node<T> {
    fn clone(&self) -> Node<T> {
        *self
    }
}

impl<T: Copy> Copy for Node<T> {}
