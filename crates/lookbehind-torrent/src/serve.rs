//! From a torrent to films on a page, and to an end in good order.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;

use lookbehind_server::app::App;
use lookbehind_server::film::Film;
use lookbehind_server::program::{announce, first_signal};
use lookbehind_server::serve::{Server, StartError, listen};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::cli::Cli;
use crate::session::{Content, File, Refused, Session, Torrent};
use crate::swarm::{Gauge, Swarm};

/// A torrent file of more bytes is none.
const MAX_TORRENT: u64 = 64 << 20;

/// Serves until a signal comes: then first the server ends, and after it the session.
///
/// # Errors
/// If it cannot start: in one line.
pub async fn serve(args: Cli) -> Result<(), StartError> {
    // First of all: from here on a signal ends the program in good order.
    let mut stop = std::pin::pin!(first_signal()?);
    let (server, swarm) = tokio::select! {
        started = start(&args) => started?,
        () = &mut stop => return Ok(()),
    };
    announce(&server);
    server.run(stop).await;
    drop(swarm);
    Ok(())
}

async fn start(args: &Cli) -> Result<(Server, Swarm), StartError> {
    let listening = listen(&args.server).await?;
    let torrent = torrent(&args.torrent)?;
    let peers = look_up(&args.peers).await?;
    if !args.finds_peers() {
        tracing::warn!(
            "no way to find peers was given: --peer, --trackers, --dht, --lsd, --listen-peers"
        );
    }
    let refused = |why: Refused| StartError::new(format!("{}: {why}", args.torrent));
    let session = Session::start(&args.settings(), &torrent).map_err(refused)?;
    let (swarm, arrival) = Swarm::start(session, peers)
        .map_err(|error| StartError::new(format!("no thread: {error}")))?;
    if matches!(torrent, Torrent::Magnet(_)) {
        tracing::info!("waiting for the metadata, which come from peers");
    }
    let gone = |_| StartError::new("the session has ended");
    let content = arrival.await.map_err(gone)?.map_err(refused)?;
    let films = films(&content, args.server.bitrate)?;
    fetch_ends(&content);
    let app = App::given(&args.server, content.cache, films)?;
    let gauge = swarm.gauge();
    let figures: Box<dyn Fn() + Send + Sync> = Box::new(move || record(&gauge));
    Ok((Server::new(App { figures: Some(figures), ..app }, listening), swarm))
}

fn torrent(given: &str) -> Result<Torrent, StartError> {
    if given.starts_with("magnet:") {
        return Ok(Torrent::Magnet(given.into()));
    }
    match read(given) {
        Ok(bytes) => Ok(Torrent::File(bytes)),
        Err(error) => Err(StartError::new(format!("{given}: cannot be read: {error}"))),
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    // To open a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_TORRENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TORRENT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a torrent"));
    }
    Ok(bytes)
}

async fn look_up(peers: &[String]) -> Result<Vec<SocketAddr>, StartError> {
    let mut found = Vec::new();
    for peer in peers {
        let unknown = |error| StartError::new(format!("--peer {peer}: {error}"));
        found.extend(tokio::net::lookup_host(peer).await.map_err(unknown)?);
    }
    Ok(found)
}

fn films(content: &Content, bitrate: u64) -> Result<Vec<Film>, StartError> {
    if content.files.is_empty() {
        return Err(StartError::new("the torrent has no files with bytes"));
    }
    let film = |(index, file): (usize, &File)| {
        // What the hash stands for never changes, and so neither does the file.
        let etag = format!("\"{}-{}\"", content.hash, file.index).parse();
        let etag = etag.map_err(|_| StartError::new("the info-hash makes no entity tag"))?;
        let (name, storage) = (Film::name_of(&file.path), content.storage.clone());
        Ok(Film::given(index, name, storage, file.bytes.clone(), etag, bitrate))
    };
    content.files.iter().enumerate().map(film).collect()
}

/// Fetches what a player looks at first: the beginning of the largest film, and its end, where some
/// films have their index.
fn fetch_ends(content: &Content) {
    let len = |file: &&File| file.bytes.end - file.bytes.start;
    let Some(largest) = content.files.iter().max_by_key(len) else { return };
    let layout = content.storage.layout();
    for at in [largest.bytes.start, largest.bytes.end.saturating_sub(1)] {
        let Some((piece, _)) = layout.piece_at(at) else { continue };
        let storage = content.storage.clone();
        // If it does not come, whoever needs it will say so.
        tokio::spawn(async move { storage.wait(piece).await.map(drop) });
    }
}

/// Further figures for `/metrics`.
fn record(gauge: &Gauge) {
    let figures = gauge.figures();
    describe_gauge!("lookbehind_torrent_peers", "Peers connected");
    describe_gauge!("lookbehind_torrent_bytes_per_second", "Bytes of pieces that arrive");
    describe_counter!(
        "lookbehind_torrent_received_bytes_total",
        Unit::Bytes,
        "Bytes of pieces that arrived"
    );
    describe_counter!(
        "lookbehind_torrent_wasted_bytes_total",
        Unit::Bytes,
        "Bytes of pieces that were wrong, or there already"
    );
    gauge!("lookbehind_torrent_peers").set(figures.peers);
    gauge!("lookbehind_torrent_bytes_per_second").set(figures.rate as f64);
    counter!("lookbehind_torrent_received_bytes_total").absolute(figures.received);
    counter!("lookbehind_torrent_wasted_bytes_total").absolute(figures.wasted);
}
