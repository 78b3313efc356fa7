//! Clients that go on with their requests while the host works on something hostile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use xtask_support::http::Client;

/// The pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients that send requests until they are stopped.
#[derive(Debug)]
pub(crate) struct Clients {
    stopping: Arc<AtomicBool>,
    health: JoinHandle<Requests>,
    data: JoinHandle<Requests>,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Requests {
    times: Vec<Duration>,
    failed: usize,
}

/// What all clients saw.
#[derive(Debug)]
pub(crate) struct Times {
    /// The time within which 99 of 100 requests to `/health` were answered.
    pub(crate) health: Duration,
    /// The same for `/api/data`.
    pub(crate) data: Duration,
    /// Requests without an answer, or with an error.
    pub(crate) failed: usize,
}

impl Clients {
    pub(crate) fn start(base: &str) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let client = |path: &str| {
            let (url, stopping) = (format!("{base}{path}"), stopping.clone());
            thread::spawn(move || send_requests(&url, &stopping))
        };
        Clients {
            health: client("/health"),
            data: client("/api/data"),
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
        let (health, data) = (join(self.health)?, join(self.data)?);
        Ok(Times {
            failed: health.failed + data.failed,
            health: health.p99(),
            data: data.p99(),
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
}
