//! How much is measured.

use std::time::Duration;

use crate::rounds::Plan;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Only to see that it runs.
    pub quick: bool,
    /// Hits, and whatever takes nanoseconds.
    pub hits: Plan,
    /// Publications.
    pub publications: Plan,
    /// Copies of a mebibyte.
    pub copies: Plan,
    /// Bytes of a piece where all pieces together exceed every cache of the machine.
    pub piece_len: usize,
    /// Turns of each contender in tails, and how long each takes.
    pub tails: (usize, Duration),
    /// How long a reader stalls, and the budget in which it does.
    pub stall: (Duration, u64),
    /// Wake-ups.
    pub wakes: u32,
    /// Sizes of tables, in pieces; powers of two.
    pub tables: Vec<u32>,
    /// Numbers of storages.
    pub storages: Vec<u32>,
    /// Numbers of readers who are there and do nothing.
    pub readers: Vec<u32>,
}

impl Effort {
    /// For figures to be published: about a quarter of an hour.
    #[must_use]
    pub fn full() -> Self {
        Self {
            quick: false,
            hits: Plan { rounds: 121, operations: 20_000 },
            publications: Plan { rounds: 61, operations: 2_000 },
            copies: Plan { rounds: 121, operations: 8 },
            piece_len: 64 << 10,
            tails: (20, Duration::from_millis(500)),
            stall: (Duration::from_secs(10), 256 << 20),
            wakes: 5_000,
            tables: vec![1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20],
            storages: vec![1, 10, 100, 1_000, 10_000],
            readers: vec![0, 10, 100, 1_000, 10_000],
        }
    }

    /// To see that everything runs.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            quick: true,
            hits: Plan { rounds: 3, operations: 2_000 },
            publications: Plan { rounds: 3, operations: 200 },
            copies: Plan { rounds: 3, operations: 2 },
            piece_len: 1 << 10,
            tails: (1, Duration::from_millis(20)),
            stall: (Duration::from_millis(400), 8 << 20),
            wakes: 50,
            tables: vec![1 << 10, 1 << 12],
            storages: vec![1, 10, 100],
            readers: vec![0, 10, 100],
        }
    }
}
