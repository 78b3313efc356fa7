//! Clients that are made to hurt the host: what they do, and how it must end.
//!
//! They speak HTTP over plain sockets, because no client library sends half a request or reads
//! nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::rows::{Row, Target};

/// A client that is made to hurt the host, or many of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Attacks the host at this address, until it is over. Returns how it ended.
    pub(crate) run: fn(&str) -> Result<String>,
    /// How it must end.
    pub(crate) expected: &'static str,
}

/// Runs an attack as a row of the table.
pub(crate) fn row(target: &Target, attack: &Attack) -> Result<Row> {
    target.try_row(attack.name, &[attack.expected.to_owned()], |target| {
        let address = target.base.trim_start_matches("http://");
        let ended = (attack.run)(address);
        Ok(ended.unwrap_or_else(|error| format!("{error:#}")))
    })
}

/// Clients of one attack.
const CLIENTS: usize = 32;

/// The time in which the host must end a slow client: the window of its rate, and some for a busy
/// machine.
const SLOW_TIMEOUT: Duration = Duration::from_secs(25);

/// All attacks.
pub(crate) const ATTACKS: [Attack; 7] = [
    Attack {
        name: "rebinding",
        run: rebinding,
        expected: "all 421",
    },
    Attack {
        name: "cross-site",
        run: cross_site,
        expected: "all 403",
    },
    Attack {
        name: "slow-bodies",
        run: slow_bodies,
        expected: "all 408",
    },
    Attack {
        name: "slow-readers",
        run: slow_readers,
        expected: "all disconnected",
    },
    Attack {
        name: "silent-streams",
        run: silent_streams,
        expected: "a reader is served",
    },
    Attack {
        name: "uploads-over-budget",
        run: uploads_over_budget,
        expected: "503, others are served",
    },
    Attack {
        name: "half-closed",
        run: half_closed,
        expected: "all answered",
    },
];

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SLOW_TIMEOUT))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// The status of the next answer.
fn status(stream: &mut TcpStream) -> Result<String> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).context("no answer")?;
    let start = String::from_utf8_lossy(&start);
    Ok(start.trim_start_matches("HTTP/1.1 ").to_owned())
}

fn send(address: &str, request: &str) -> Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    status(&mut stream)
}

/// `all STATUS` if the answers to all requests have the same status.
fn all_have(address: &str, requests: &[String]) -> Result<String> {
    let mut found = Vec::new();
    for request in requests {
        found.push(send(address, request)?);
    }
    found.sort();
    found.dedup();
    Ok(format!("all {}", found.join(", ")))
}

fn rebinding(address: &str) -> Result<String> {
    let request = |line: &str, host: &str| format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut requests = Vec::new();
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
    ] {
        for line in [
            "GET /admin/leaks/status",
            "GET /admin/memory/diff",
            "GET /console/events",
            "GET /",
            "POST /admin/reset",
            "DELETE /admin/plugins/cache",
        ] {
            requests.push(request(line, host));
        }
    }
    all_have(address, &requests)
}

fn cross_site(address: &str) -> Result<String> {
    let mut requests = Vec::new();
    for site in ["cross-site", "same-site"] {
        for line in [
            "GET /admin/memory/diff",
            "GET /console/events",
            "POST /admin/reset",
            "POST /admin/leaks/cache",
            "PUT /admin/memory/baselines/x",
            "DELETE /admin/plugins/cache",
        ] {
            requests.push(format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: {site}\r\n\r\n"
            ));
        }
    }
    all_have(address, &requests)
}

/// Runs `attack` in many threads, and returns the different ways in which they ended.
fn many(address: &str, attack: fn(&str, usize) -> Result<String>) -> Result<String> {
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let address = address.to_owned();
            thread::spawn(move || attack(&address, number))
        })
        .collect();
    let mut ends = Vec::new();
    for thread in threads {
        let end = thread
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))?;
        ends.push(end.unwrap_or_else(|error| format!("{error:#}")));
    }
    ends.sort();
    ends.dedup();
    Ok(format!("all {}", ends.join(", ")))
}

/// Bodies that bring one byte now and then.
fn slow_bodies(address: &str) -> Result<String> {
    many(address, |address, number| {
        let mut stream = connect(address)?;
        let (line, length) = match number % 3 {
            0 => ("POST /admin/leaks/cache", 60_000),
            1 => ("GET /api/data", 60_000),
            _ => ("PUT /admin/plugins/x", 10_000_000),
        };
        let head =
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let started = Instant::now();
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        loop {
            match status(&mut stream) {
                Ok(status) => return Ok(status),
                Err(_) if started.elapsed() < SLOW_TIMEOUT => {
                    let _closed = stream.write_all(b"x");
                }
                Err(error) => return Err(error),
            }
        }
    })
}

/// Clients that ask for more than the buffers hold and read nothing.
fn slow_readers(address: &str) -> Result<String> {
    many(address, |address, _| {
        let mut stream = connect(address)?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let started = Instant::now();
        // The host stops to read requests whose answers nobody takes, and then closes.
        while started.elapsed() < SLOW_TIMEOUT {
            match stream.write(request.as_bytes()) {
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok("disconnected".to_owned()),
            }
        }
        Ok("still connected".to_owned())
    })
}

/// Streams of the console that nobody reads, and a page.
fn silent_streams(address: &str) -> Result<String> {
    let open = "GET /console/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(address)?;
        stream.write_all(open.as_bytes())?;
        silent.push(stream);
    }
    let mut page = connect(address)?;
    page.write_all(open.as_bytes())?;
    let (mut text, mut buffer) = (String::new(), [0; 16 << 10]);
    let started = Instant::now();
    while text.matches("event: update").count() < 3 {
        ensure!(started.elapsed() < SLOW_TIMEOUT, "no update: {text}");
        let read = page.read(&mut buffer)?;
        ensure!(read > 0, "the stream has ended");
        text += &String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
    }
    Ok("a reader is served".to_owned())
}

/// More bytes of unfinished uploads than the host takes.
fn uploads_over_budget(address: &str) -> Result<String> {
    const MIB: usize = 1 << 20;
    let mut held = Vec::new();
    let part = vec![0; 60 * MIB];
    let head = format!(
        "PUT /admin/plugins/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        62 * MIB
    );
    for _ in 0..2 {
        let mut stream = connect(address)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(&part)?;
        held.push(stream);
    }
    let mut last = connect(address)?;
    last.write_all(head.as_bytes())?;
    let _refused = last.write_all(&part);
    let refused = status(&mut last)?;
    let served = send(
        address,
        "POST /admin/gc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    )?;
    ensure!(served == "200", "another call gets {served}");
    Ok(format!("{refused}, others are served"))
}

/// Pipelines whose client closes its sending side.
fn half_closed(address: &str) -> Result<String> {
    const REQUESTS: usize = 50;
    let ended = many(address, |address, _| {
        let mut stream = connect(address)?;
        let request = "GET /api/data HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.repeat(REQUESTS).as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers)?;
        let answers = String::from_utf8_lossy(&answers);
        match answers.matches("HTTP/1.1 200").count() {
            REQUESTS => Ok("answered".to_owned()),
            fewer => Ok(format!("{fewer} answers")),
        }
    })?;
    Ok(ended)
}
