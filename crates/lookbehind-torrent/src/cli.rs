//! The options of the programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use lookbehind_server::cli::{STOPPING, ServerArgs, size};

use crate::seeder::Version;
use crate::session::Settings;

/// Streams the films of a torrent over HTTP, downloading what their viewers are about to see.
#[derive(Clone, Debug, Parser)]
#[command(name = "lookbehind-torrent", version, after_help = STOPPING)]
pub struct Cli {
    /// A torrent file, or a magnet link
    #[arg(value_name = "TORRENT")]
    pub torrent: String,

    /// A peer to download from (can be repeated)
    #[arg(long = "peer", value_name = "HOST:PORT", value_parser = peer)]
    pub peers: Vec<String>,

    /// Ask the torrent's trackers for peers
    #[arg(long)]
    pub trackers: bool,

    /// Find peers by the distributed hash table
    #[arg(long)]
    pub dht: bool,

    /// Find peers on the local network
    #[arg(long)]
    pub lsd: bool,

    /// Learn of peers from peers
    #[arg(long)]
    pub pex: bool,

    /// Ask the router, by UPnP or NAT-PMP, to let peers in
    #[arg(long)]
    pub upnp: bool,

    /// Where peers may connect (can be repeated); by default nowhere, or on all addresses with
    /// --dht, --lsd or --upnp, which need it
    #[arg(long, value_name = "ADDRESS")]
    pub listen_peers: Vec<SocketAddr>,

    /// What does not depend on where the films come from.
    #[command(flatten)]
    pub server: ServerArgs,
}

impl Cli {
    /// How the session is to be made.
    pub fn settings(&self) -> Settings {
        let mut listen = self.listen_peers.clone();
        if listen.is_empty() && (self.dht || self.lsd || self.upnp) {
            let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            listen.extend(any.map(|address| SocketAddr::new(address, 0)));
        }
        Settings {
            budget: self.server.budget,
            listen,
            dht: self.dht,
            lsd: self.lsd,
            upnp: self.upnp,
            pex: self.pex,
            trackers: self.trackers,
        }
    }

    /// Whether there is any way to come by a peer, but for those that a magnet link may name.
    pub fn finds_peers(&self) -> bool {
        !self.peers.is_empty()
            || !self.listen_peers.is_empty()
            || self.trackers
            || self.dht
            || self.lsd
    }
}

/// Seeds a file or a folder as a torrent, to try lookbehind-torrent against.
#[derive(Clone, Debug, Parser)]
#[command(name = "lookbehind-seed", version)]
pub struct SeedCli {
    /// What to seed
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// Where to write the torrent file
    #[arg(value_name = "TORRENT")]
    pub torrent: PathBuf,

    /// Where peers may connect; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6881")]
    pub listen: SocketAddr,

    /// Length of a piece, a power of two of at least 16KiB; chosen by the size if it is not given
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub piece_size: Option<u64>,

    /// Make a torrent of this version of BitTorrent, instead of one that is of both
    #[arg(long, value_name = "VERSION")]
    pub only: Option<Version>,
}

/// A host and a port; whether there is such a host is seen when it is looked up.
fn peer(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(1..) => Ok(text.into()),
        _ => Err("a peer is a host and a port (say 127.0.0.1:6881)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_hosts_with_ports() {
        for good in ["127.0.0.1:6881", "[::1]:1", "seed.example:65535"] {
            assert_eq!(peer(good).as_deref(), Ok(good));
        }
        for bad in ["127.0.0.1", ":6881", "host:", "host:0", "host:65536", "host:x", ""] {
            assert!(peer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_listens_to_peers_unless_it_is_asked_for() {
        let settings = |options: &[&str]| {
            let all = ["lookbehind-torrent", "film.torrent"].iter().chain(options);
            Cli::parse_from(all).settings()
        };
        assert!(settings(&["--peer", "127.0.0.1:1", "--trackers"]).listen.is_empty());
        assert_eq!(settings(&["--dht"]).listen.len(), 2);
        let own = settings(&["--dht", "--listen-peers", "127.0.0.1:5"]).listen;
        assert_eq!(own, ["127.0.0.1:5".parse().unwrap()]);
        let none = settings(&[]);
        assert!(!(none.dht || none.lsd || none.upnp || none.pex || none.trackers));
    }

    #[test]
    fn the_command_lines_hold_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        SeedCli::command().debug_assert();
    }
}
