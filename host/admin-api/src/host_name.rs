//! The names under which clients reach the host.
//!
//! A page can make a browser resolve the page's own name to the address of this host (DNS
//! rebinding). The browser then takes the host for a part of the page, and the page can read and
//! change everything. Only the name in the request shows it. So the admin API answers under
//! `localhost`, IP addresses and the names of `--allowed-host`. A page cannot have the first two as
//! its own name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::extract::Request;
use axum::http::{HeaderMap, Uri, Version, header};

use crate::error::{ApiError, ErrorCode, shorten};

/// The longest name that DNS has, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// A name under which the admin API may be reached, with one port or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// In lower case, without the final dot.
    name: String,
    port: Option<u16>,
}

/// Why a text is not an [`AllowedHost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedHostError;

impl fmt::Display for AllowedHostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be the name of a host, with or without a port, and without scheme, path and \
             wildcard: lab.example or lab.example:8080",
        )
    }
}

impl std::error::Error for AllowedHostError {}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let Some(Authority {
            host: Host::Name(name),
            port,
        }) = Authority::parse(text.trim().as_bytes())
        else {
            return Err(AllowedHostError);
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_name) {
            return Err(AllowedHostError);
        }
        Ok(AllowedHost {
            name: name.to_ascii_lowercase(),
            port,
        })
    }
}

/// `host:port` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host<'a> {
    /// An IP address.
    Address,
    /// A name without its final dot; empty if the request has none.
    Name(&'a str),
}

impl<'a> Authority<'a> {
    /// Parses the value of a `Host` header. `None` if RFC 9110 does not allow it.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':')?),
                };
                (Host::Address, port)
            }
            None => {
                let (name, port) = match text.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (text, None),
                };
                let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&c);
                if !name.bytes().all(is_name) {
                    return None;
                }
                let is_address = name.parse::<Ipv4Addr>().is_ok();
                let host = if is_address {
                    Host::Address
                } else {
                    Host::Name(name.strip_suffix('.').unwrap_or(name))
                };
                (host, port)
            }
        };
        // An empty port is the default of the scheme.
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) if port.bytes().all(|c| c.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        Some(Authority { host, port })
    }

    fn is_allowed(&self, allowed: &[AllowedHost]) -> bool {
        let Host::Name(name) = self.host else {
            return true;
        };
        name.eq_ignore_ascii_case("localhost")
            || allowed.iter().any(|allowed| {
                name.eq_ignore_ascii_case(&allowed.name)
                    && (allowed.port.is_none() || allowed.port == self.port)
            })
    }
}

/// Checks that a request names one host, as RFC 9110 requires: HTTP/1.1 has exactly one `Host`
/// header, later versions have `:authority`, and the value is well formed.
///
/// # Errors
///
/// 400 `invalid_host`.
pub(crate) fn require_one_host(request: &Request) -> Result<(), ApiError> {
    let invalid = |message: &str| {
        ApiError::new(
            ErrorCode::InvalidHost,
            message,
            "send one Host header with the name or the address of this host",
        )
    };
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(invalid("the request has more than one Host header"));
    }
    match host {
        Some(host) if Authority::parse(host.as_bytes()).is_none() => {
            Err(invalid("the Host header has no valid value"))
        }
        None if request.version() == Version::HTTP_11 => {
            Err(invalid("the request has no Host header"))
        }
        _ => Ok(()),
    }
}

/// Checks that a request reaches the host under a name that the admin API accepts. If the request
/// has both an authority in its target and a `Host` header, both must be accepted.
///
/// # Errors
///
/// 421 `unknown_host`.
pub(crate) fn require_known_host(
    uri: &Uri,
    headers: &HeaderMap,
    allowed: &[AllowedHost],
) -> Result<(), ApiError> {
    let target = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    let mut named = target.into_iter().chain(host).peekable();
    if named.peek().is_none() {
        return Err(unknown_host(b""));
    }
    let is_unknown = |text: &&[u8]| {
        let authority = Authority::parse(text);
        !authority.is_some_and(|authority| authority.is_allowed(allowed))
    };
    named
        .find(is_unknown)
        .map_or(Ok(()), |name| Err(unknown_host(name)))
}

fn unknown_host(name: &[u8]) -> ApiError {
    let name = shorten(&String::from_utf8_lossy(name));
    ApiError::new(
        ErrorCode::UnknownHost,
        if name.is_empty() {
            "the admin API must be called by a name, and the request has none".to_owned()
        } else {
            format!("the admin API is not served under the name {name:?}")
        },
        "use localhost or the IP address of the host; to use another name, start the host with \
         --allowed-host NAME or LEAK_ALLOWED_HOST=NAME",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(names: &[&str]) -> Vec<AllowedHost> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn accepts(host: &str, names: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        require_known_host(&Uri::from_static("/admin"), &headers, &allowed(names)).is_ok()
    }

    #[test]
    fn localhost_and_addresses_are_accepted_and_other_names_are_not() {
        for host in [
            "localhost",
            "localhost:8080",
            "LocalHost:1",
            "localhost.",
            "localhost.:80",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.168.1.5:80",
            "[::1]",
            "[::1]:8080",
            "[fe80::1:2]:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(accepts(host, &[]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:8080:80",
            "localhost:80a",
            "localhost:99999",
            "localhost/",
            "localhost evil.example",
            "::1",
            "[::1",
            "[::1]8080",
            "[localhost]",
            "127.0.0.256",
            "127.1",
            "0x7f.0.0.1",
            "1.2.3.4.",
            "",
            ":8080",
            ".",
            "*",
        ] {
            assert!(!accepts(host, &[]), "{host}");
        }
    }

    #[test]
    fn names_of_the_option_are_accepted_with_their_port() {
        let names = ["leak-lab", "Lab.Example:8000"];
        for (host, expected) in [
            ("leak-lab", true),
            ("leak-lab:8000", true),
            ("LEAK-LAB.:1", true),
            ("lab.example:8000", true),
            ("lab.example:8001", false),
            ("lab.example", false),
            ("leak-lab.evil.example", false),
            ("xleak-lab", false),
            ("localhost", true),
        ] {
            assert_eq!(accepts(host, &names), expected, "{host}");
        }
    }

    #[test]
    fn a_target_with_an_authority_must_be_accepted_too() {
        let mut headers = HeaderMap::new();
        let check = |target: &'static str, headers: &HeaderMap| {
            require_known_host(&Uri::from_static(target), headers, &[]).is_ok()
        };
        assert!(!check("/admin", &headers), "no name at all");
        assert!(check("http://localhost:80/admin", &headers));
        assert!(!check("http://evil.example/admin", &headers));
        headers.insert(header::HOST, "localhost".parse().unwrap());
        assert!(!check("http://evil.example/admin", &headers));
        headers.insert(header::HOST, "evil.example".parse().unwrap());
        assert!(!check("http://localhost/admin", &headers));
    }

    #[test]
    fn an_option_is_one_name() {
        for wrong in [
            "",
            " ",
            "*",
            "*.example",
            "http://lab.example",
            "lab.example/",
            "lab example",
            "lab.example:http",
            "127.0.0.1",
            "[::1]",
            "läb.example",
            &"a".repeat(254),
        ] {
            assert_eq!(
                wrong.parse::<AllowedHost>(),
                Err(AllowedHostError),
                "{wrong}"
            );
        }
    }
}
