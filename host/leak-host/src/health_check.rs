//! `leak-host health`: the health check of a container that has neither shell nor curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// Time limit of the connect, of each write and of each read.
const IO_TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes of the response that are read.
const MAX_RESPONSE_BYTES: u64 = 64 << 10;

/// Sends `GET /health/ready` to the host that listens on `listen`, or `GET /health` if a host that
/// still loads its plugins counts as healthy.
///
/// # Errors
///
/// When there is no response with status 200 in time.
pub(crate) fn check(listen: SocketAddr, alive: bool) -> anyhow::Result<()> {
    let path = if alive { "/health" } else { "/health/ready" };
    let address = reachable(listen);
    let mut connection = TcpStream::connect_timeout(&address, IO_TIMEOUT)
        .with_context(|| format!("cannot connect to {address}"))?;
    connection.set_read_timeout(Some(IO_TIMEOUT))?;
    connection.set_write_timeout(Some(IO_TIMEOUT))?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = Vec::new();
    connection
        .take(MAX_RESPONSE_BYTES)
        .read_to_end(&mut response)
        .with_context(|| format!("no response from {address}"))?;
    let response = String::from_utf8_lossy(&response);
    let status_line = response.lines().next().unwrap_or_default();
    ensure!(
        status_line.split(' ').nth(1) == Some("200"),
        "unhealthy: the status line of the response is {status_line:?}"
    );
    Ok(())
}

/// The address to connect to: a host that listens on all addresses is asked on the loopback
/// address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_on_all_addresses_is_asked_on_the_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:1", "10.1.2.3:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
