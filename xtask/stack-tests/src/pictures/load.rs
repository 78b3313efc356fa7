//! A steady load on `/api/data`, at a rate that can change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xtask_support::http::Client;

/// They share the rate. Each waits for its answers, so a slow service gets fewer requests.
const SENDERS: u32 = 4;

/// A request that takes longer has failed, and so has one to a service that is down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Dropping it ends the load.
#[derive(Debug)]
pub(super) struct Load {
    /// Requests a second of all senders. At 0 they end.
    rate: Arc<AtomicU32>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(service: &str, rate: u32) -> Self {
        let rate = Arc::new(AtomicU32::new(rate));
        let start = |_| {
            let (rate, url) = (Arc::clone(&rate), format!("{service}/api/data"));
            thread::spawn(move || send(&rate, &url))
        };
        let senders = (0..SENDERS).map(start).collect();
        Self { rate, senders }
    }

    /// Changes the rate, which is at least 1.
    pub(super) fn set_rate(&self, rate: u32) {
        self.rate.store(rate.max(1), Ordering::Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.rate.store(0, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            // A sender that panicked has printed why.
            let _panic = sender.join();
        }
    }
}

fn send(rate: &AtomicU32, url: &str) {
    let client = Client::with_timeout(REQUEST_TIMEOUT);
    let mut next = Instant::now();
    loop {
        let rate = rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        // While the service is down, every request fails.
        let _answer = client.status(url);
        // Requests that a slow answer delayed are left out, not sent in a burst.
        next = Instant::now().max(next + Duration::from_secs(1) * SENDERS / rate);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn it_sends_until_it_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let load = Load::start(&format!("http://{}", listener.local_addr().unwrap()), 1000);
        for _ in 0..8 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 13];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"GET /api/data");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
        }
        drop(listener);
        drop(load);
    }
}
