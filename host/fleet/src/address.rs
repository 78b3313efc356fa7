//! Addresses of hosts.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// The port of a host without one.
pub const DEFAULT_PORT: u16 = 8080;

/// A name or an IP address, and a port: `10.0.0.7:8080`. Addresses are ordered by number, so that
/// `10.0.0.9` comes before `10.0.0.10`, and names come after them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostAddress {
    name: Name,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Ip(IpAddr),
    Dns(String),
}

/// A text that is no address of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a host: write NAME:PORT, such as 10.0.0.7:8080 or [::1]:8080")]
pub struct AddressError {
    text: String,
}

impl HostAddress {
    /// An IP address and a port.
    #[must_use]
    pub fn of(ip: IpAddr, port: u16) -> Self {
        HostAddress {
            name: Name::Ip(ip.to_canonical()),
            port,
        }
    }

    /// The name or the IP address, without brackets.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.name {
            Name::Ip(ip) => ip.to_string(),
            Name::Dns(name) => name.clone(),
        }
    }

    /// The port, 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is an IPv4 address.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        matches!(self.name, Name::Ip(IpAddr::V4(_)))
    }
}

impl PartialOrd for HostAddress {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostAddress {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.name, self.port).cmp(&(&other.name, other.port))
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Name::Ip(ip) => write!(f, "{ip}:{}", self.port),
            Name::Dns(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for HostAddress {
    type Err = AddressError;

    /// `NAME`, `NAME:PORT` or `http://NAME:PORT`. Without a port it is [`DEFAULT_PORT`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError {
            text: text.chars().take(100).collect(),
        };
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        // An IPv6 address without brackets: its last part is no port.
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(HostAddress::of(ip, DEFAULT_PORT));
        }
        let url = Url::parse(&format!("http://{bare}")).map_err(|_| error())?;
        // What the parser would take as more than a name and a port, or drop.
        let is_extra = |c: char| c.is_whitespace() || c.is_control() || r"/\?#@".contains(c);
        if bare.chars().any(is_extra) {
            return Err(error());
        }
        // The parser of addresses leaves out port 80, because it is that of http.
        let port = match url.port() {
            Some(port) => port,
            None if bare.ends_with(":80") => 80,
            None => DEFAULT_PORT,
        };
        let name = url.host_str().ok_or_else(error)?;
        let bare_ip = name.trim_start_matches('[').trim_end_matches(']');
        let name = match bare_ip.parse::<IpAddr>() {
            Ok(ip) => Name::Ip(ip.to_canonical()),
            Err(_) => Name::Dns(name.to_owned()),
        };
        if port == 0 {
            return Err(error());
        }
        Ok(HostAddress { name, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_name_with_or_without_a_port() {
        let written = |text: &str| text.parse::<HostAddress>().map(|a| a.to_string());
        for (text, expected) in [
            ("10.0.0.7", "10.0.0.7:8080"),
            ("10.0.0.7:9000", "10.0.0.7:9000"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("http://lab:8081/", "lab:8081"),
            ("lab-0.lab-headless", "lab-0.lab-headless:8080"),
            ("LAB", "lab:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]:81", "[::1]:81"),
            ("[::ffff:10.0.0.1]", "10.0.0.1:8080"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            " ",
            "a b",
            "lab:0",
            "lab:99999",
            "lab:port",
            "https://lab",
            "lab/admin",
            "lab?x",
            "lab#x",
            "user@lab",
            "//lab",
            "[::1",
            "lab//",
        ] {
            let error = written(wrong).unwrap_err().to_string();
            assert!(error.contains("NAME:PORT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn addresses_are_ordered_by_number() {
        let mut addresses: Vec<HostAddress> = ["b", "10.0.0.10", "a:2", "10.0.0.9", "a:1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        addresses.sort();
        let sorted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let expected = ["10.0.0.9:8080", "10.0.0.10:8080", "a:1", "a:2", "b:8080"];
        assert_eq!(sorted, expected);
    }
}
