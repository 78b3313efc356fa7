//! Clients that go on with their requests while the host works on something hostile.
//!
//! A busy machine delays every server. So one of the clients talks to a server of this program that
//! does nothing, at the same time: what that one waits is the machine's, not the host's.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use xtask_support::http::Client;

/// The pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(5);

/// The answer of the server that does nothing.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that does nothing, as long as this program runs.
#[derive(Debug)]
pub(crate) struct IdleServer {
    url: String,
}

/// Clients that send requests until they are stopped.
#[derive(Debug)]
pub(crate) struct Clients {
    stopping: Arc<AtomicBool>,
    health: JoinHandle<Requests>,
    data: Vec<JoinHandle<Requests>>,
    idle: JoinHandle<Requests>,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Requests {
    times: Vec<Duration>,
    failed: usize,
}

/// What all clients saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The time within which 99 of 100 requests to `/health` were answered.
    pub(crate) health: Duration,
    /// The same for `/api/data`.
    pub(crate) data: Duration,
    /// The same for the server that does nothing.
    pub(crate) idle: Duration,
    /// Requests to the host.
    pub(crate) requests: usize,
    /// Requests without an answer, or with an error.
    pub(crate) failed: usize,
}

impl IdleServer {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that has gone ends it.
                thread::spawn(move || answer_all(&stream));
            }
        });
        Ok(IdleServer { url })
    }
}

fn answer_all(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.is_empty() {
            stream.write_all(ANSWER)?;
        }
    }
    Ok(())
}

impl Clients {
    /// Starts one client of `/health`, some of `/api/data`, and one of the server that does
    /// nothing.
    pub(crate) fn start(base: &str, idle: &IdleServer, data_clients: usize) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let client = |url: String| {
            let stopping = stopping.clone();
            thread::spawn(move || send_requests(&url, &stopping))
        };
        Clients {
            health: client(format!("{base}/health")),
            data: (0..data_clients)
                .map(|_| client(format!("{base}/api/data")))
                .collect(),
            idle: client(idle.url.clone()),
            stopping,
        }
    }

    /// Stops all clients.
    ///
    /// # Errors
    /// When a client panicked.
    pub(crate) fn stop(self) -> Result<Times> {
        self.stopping.store(true, Ordering::SeqCst);
        let join =
            |client: JoinHandle<Requests>| client.join().map_err(|_| anyhow!("a client panicked"));
        let (health, idle) = (join(self.health)?, join(self.idle)?);
        let mut data = Requests::default();
        for client in self.data {
            let requests = join(client)?;
            data.times.extend(requests.times);
            data.failed += requests.failed;
        }
        Ok(Times {
            requests: health.times.len() + data.times.len(),
            failed: health.failed + data.failed,
            health: health.p99(),
            data: data.p99(),
            idle: idle.p99(),
        })
    }
}

fn send_requests(url: &str, stopping: &AtomicBool) -> Requests {
    let client = Client::default();
    let mut requests = Requests::default();
    loop {
        let started = Instant::now();
        if client.text(url).is_err() {
            requests.failed += 1;
        }
        requests.times.push(started.elapsed());
        if stopping.load(Ordering::SeqCst) {
            return requests;
        }
        thread::sleep(PAUSE);
    }
}

impl Requests {
    /// The slowest of few requests.
    fn p99(mut self) -> Duration {
        self.times.sort();
        let index = (self.times.len() * 99).div_ceil(100).saturating_sub(1);
        self.times.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_of_a_hundred_may_be_slow() {
        let p99 = |count: u64| {
            let times = (1..=count).map(Duration::from_millis).collect();
            Requests { times, failed: 0 }.p99().as_millis()
        };
        assert_eq!(
            (p99(0), p99(1), p99(10), p99(100), p99(300)),
            (0, 1, 10, 99, 297)
        );
    }

    #[test]
    fn the_server_that_does_nothing_answers_again_and_again() {
        let server = IdleServer::start().unwrap();
        let base = server.url.trim_end_matches('/').to_owned();
        let clients = Clients::start(&base, &server, 2);
        thread::sleep(Duration::from_millis(100));
        let times = clients.stop().unwrap();
        assert_eq!(times.failed, 0);
        assert!(times.requests >= 3, "{times:?}");
    }
}
