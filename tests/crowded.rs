//! More wishes than room: playback goes on, and nothing hangs.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{KIB, MIB, PATIENCE, block_on, cache, film, of, read, schemes};
use lookbehind::{Error, Extent, PlayerConfig, Reclaim, Storage};

const LEN: usize = 16 * KIB;
const BLOCK: usize = 4 * KIB;
const PIECES: u32 = 120;

schemes!(playback_goes_on_beside_too_many_windows_and_half_filled_assemblies);

/// Fetches block by block what is wanted, until the film is removed.
fn fetch<R: Reclaim>(film: &Storage<R>) {
    let mut wanted = film.wanted();
    while let Some(fetch) = wanted.next_blocking() {
        let piece = fetch.piece();
        let blocks = of(piece, LEN);
        let mut blocks = blocks.chunks(BLOCK).zip((0..).step_by(BLOCK));
        let write = |(block, at)| film.write_wait(piece, at, block, PATIENCE);
        // Dropped for one that is wanted more, before or after its last block: offered again.
        if blocks.all(|block| write(block).is_ok()) {
            match block_on(film.commit_async(piece, Some(PATIENCE))) {
                Ok(()) | Err(Error::NotOpen { .. } | Error::Incomplete { .. }) => {}
                Err(Error::UnknownStorage { .. }) => {}
                Err(other) => panic!("piece {piece}: {other}"),
            }
        }
    }
}

fn playback_goes_on_beside_too_many_windows_and_half_filled_assemblies<R: Reclaim>() {
    let cache = cache::<R>(MIB);
    let played = film(&cache, PIECES, LEN);
    let swarm = film(&cache, 1000, LEN);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let fetchers: Vec<_> = (0..2).map(|_| scope.spawn(|| fetch(&played))).collect();
        // A swarm that begins pieces all over the film, and never ends one: over ten times what
        // the budget could hold.
        let swarming = scope.spawn(|| {
            let mut begun = 0;
            for piece in (0..1000).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                begun += u32::from(swarm.write(piece, 0, &[1; BLOCK]).is_ok());
            }
            begun
        });
        // Each asks for windows of the whole budget on either side.
        let players: Vec<_> = (0..6)
            .map(|number| {
                let extent = Extent::Bytes(MIB as u64);
                let config =
                    PlayerConfig::default().ahead(extent).behind(extent).deadline(PATIENCE);
                let start = number * 10;
                let mut player =
                    played.player(config.position(u64::from(start) * LEN as u64)).unwrap();
                scope.spawn(move || {
                    let mut buffer = vec![0; LEN];
                    for piece in start..start + 50 {
                        let mut got = 0;
                        while got < LEN {
                            got += block_on(read(&mut player, &mut buffer[got..])).unwrap();
                        }
                        assert!(buffer == of(piece, LEN), "piece {piece}");
                    }
                })
            })
            .collect();
        let ended: Vec<_> = players.into_iter().map(|player| player.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(swarming.join().unwrap() > 0);
        played.remove().unwrap();
        fetchers.into_iter().for_each(|fetcher| fetcher.join().unwrap());
        ended.into_iter().for_each(|player| player.unwrap());
    });
    let stats = cache.stats();
    assert!(stats.resident_peak <= stats.budget, "{stats:?}");
}
