//! The check against DNS rebinding.
//!
//! A page that a user visits can make its own name resolve to 127.0.0.1 and then reads this
//! server's answers as its own. Its requests still bear its name. So only requests are
//! answered whose host is a loopback name or address, the address that was connected to, or one
//! that `--allow-host` names.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri, Version, header};

/// The names under which the server answers.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    allowed: Vec<String>,
}

impl Hosts {
    /// The loopback names, and these.
    pub fn new(allowed: &[String]) -> Hosts {
        let name = |host: &String| match Authority::try_from(host.as_str()) {
            // A port is no part of the name: any will do.
            Ok(authority) if host.parse::<IpAddr>().is_err() => canonical(authority.host()),
            _ => canonical(host),
        };
        Hosts { allowed: allowed.iter().map(name).collect() }
    }

    /// Whether a request may be answered that came in at the address `local`; else the status
    /// and the reason.
    pub fn check(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
        local: IpAddr,
    ) -> Result<(), (StatusCode, &'static str)> {
        const BAD: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "one Host header is needed");
        // Where a target in absolute form and the header differ, neither may be foreign.
        if let Some(authority) = uri.authority() {
            self.known(authority, local)?;
        }
        let mut values = headers.get_all(header::HOST).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => {
                let authority = Authority::try_from(value.as_bytes()).map_err(|_| BAD)?;
                self.known(&authority, local)
            }
            // No browser speaks HTTP/1.0, so there is no page behind this.
            (None, None) if version < Version::HTTP_11 => Ok(()),
            _ => Err(BAD),
        }
    }

    fn known(&self, host: &Authority, local: IpAddr) -> Result<(), (StatusCode, &'static str)> {
        let name = canonical(host.host());
        let known = match name.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || address == local.to_canonical()
            }
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        };
        if (known || self.allowed.contains(&name)) && !host.as_str().contains('@') {
            return Ok(());
        }
        Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not answer under that name; --allow-host allows one",
        ))
    }
}

/// A host as it is compared: the same address may be written in several ways.
fn canonical(host: &str) -> String {
    let name = plain(host).to_ascii_lowercase();
    name.parse().map_or(name, |address: IpAddr| address.to_canonical().to_string())
}

/// A host without the brackets of an address and the dot of a full name.
fn plain(host: &str) -> &str {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str) -> Result<(), StatusCode> {
        let hosts = Hosts::new(&["films.example".into(), "[2001:db8::1]".into()]);
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        let local = IpAddr::from([192, 168, 1, 5]);
        hosts.check(Version::HTTP_11, &"/".parse().unwrap(), &headers, local).map_err(|e| e.0)
    }

    #[test]
    fn loopback_and_what_was_allowed() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "films.localhost:1",
            "localhost.",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:8080",
            "192.168.1.5:8080",
            "films.example",
            "FILMS.example:99",
            "[2001:db8::1]:8080",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(status(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn foreign_names_are_turned_away() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.168.1.6",
            "notlocalhost",
            "films.example.evil",
            "me@localhost",
            "evil.example:127",
            "2130706433",
        ] {
            assert_eq!(status(host), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        for host in ["", "a b", "/", "local host:80"] {
            assert!(status(host).is_err(), "{host}");
        }
    }

    #[test]
    fn what_was_allowed_may_be_written_in_several_ways() {
        for (allowed, host) in [
            ("films.example:8080", "films.example"),
            ("films.example:8080", "films.example:8080"),
            ("Films.Example.", "films.example:1"),
            ("10.1.2.3:80", "10.1.2.3"),
            ("2001:db8::1", "[2001:db8::1]:80"),
            ("[2001:db8:0:0::1]:80", "[2001:DB8::1]"),
        ] {
            let hosts = Hosts::new(&[allowed.into()]);
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            let local = IpAddr::from([127, 0, 0, 1]);
            let checked = hosts.check(Version::HTTP_11, &"/".parse().unwrap(), &headers, local);
            assert_eq!(checked, Ok(()), "{allowed}: {host}");
        }
    }

    #[test]
    fn no_host_or_two() {
        let hosts = Hosts::default();
        let local = IpAddr::from([127, 0, 0, 1]);
        let check = |version, uri: &str, names: &[&str]| {
            let names = names.iter().map(|name| (header::HOST, name.parse().unwrap()));
            hosts.check(version, &uri.parse().unwrap(), &names.collect(), local).map_err(|e| e.0)
        };
        assert_eq!(check(Version::HTTP_11, "/", &[]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(check(Version::HTTP_10, "/", &[]), Ok(()));
        let twice = check(Version::HTTP_11, "/", &["localhost", "localhost"]);
        assert_eq!(twice, Err(StatusCode::BAD_REQUEST));
        let absolute = check(Version::HTTP_11, "http://evil.example/", &["localhost"]);
        assert_eq!(absolute, Err(StatusCode::MISDIRECTED_REQUEST));
    }
}
