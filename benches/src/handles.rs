//! Owned handles: taking and dropping one, beside an Arc that nobody else touches.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use lookbehind::{Cache, Layout};

use crate::figures::Row;
use crate::rounds::{Plan, Probe, probes};

/// Taking and dropping a handle, in each way that there is; the first one clones an Arc.
///
/// # Panics
/// If a cache cannot be set up.
#[must_use]
pub fn measure(plan: Plan) -> Vec<Row> {
    const LEN: u32 = 64 << 10;
    let cache = Cache::builder().budget(4 << 20).build().expect("a budget");
    let layout = Layout::fixed(u64::from(LEN), LEN).expect("a layout");
    let film = cache.add_storage(layout).expect("room for a table");
    film.insert(0, &[7; LEN as usize]).expect("room for a piece");
    let arc: Arc<[u8]> = Arc::from(vec![7; LEN as usize]);
    let bytes = Bytes::from(vec![7; LEN as usize]);
    // The first clone makes the counter of bytes that come from a Vec.
    drop(bytes.clone());
    let reader = film.reader();
    let snapshot = reader.snapshot();
    let held = film.get(0).expect("just published");
    let list = vec![
        probe("Arc: clone", || Arc::clone(&arc)),
        probe("Bytes: clone", || bytes.clone()),
        probe("Held: clone", || held.clone()),
        probe("Held: from a snapshot that is kept", || snapshot.held(0)),
        probe("Held: from a snapshot per call", || reader.snapshot().held(0)),
        probe("Held: without a reader", || film.get(0)),
        probe("Held: cloned, into Bytes", || Bytes::from(held.clone())),
    ];
    probes(list, plan)
}

fn probe<'a, T>(name: &str, mut take: impl FnMut() -> T + 'a) -> Probe<'a> {
    Probe::new(name, move |times| {
        for _ in 0..times {
            drop(black_box(take()));
        }
    })
}
