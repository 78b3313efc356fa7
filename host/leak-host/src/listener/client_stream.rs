//! The socket of one client, with a minimum rate for reading responses.
//!
//! A client that does not read makes the host keep the response. So once the socket is full, the
//! client has to take [`MIN_BYTES`] within [`WINDOW`]; otherwise the connection ends. The kernel
//! tells the host only that its buffers are full: what the client's kernel has accepted counts as
//! read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use admin_api::ClientProbe;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Sleep, sleep};

use super::protocol_error::Replacement;

/// Time in which a client has to take [`MIN_BYTES`] of a response that fills the socket.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Bytes that a client has to take within [`WINDOW`]: 1 KiB per second.
pub(super) const MIN_BYTES: usize = 10 << 10;

/// When a client last sent or took something, in milliseconds of the coarse monotonic clock.
#[derive(Debug)]
pub(super) struct LastActivity(AtomicI64);

impl LastActivity {
    fn now() -> Self {
        LastActivity(AtomicI64::new(coarse_milliseconds()))
    }

    fn record(&self) {
        self.0.store(coarse_milliseconds(), Ordering::Relaxed);
    }

    pub(super) fn milliseconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A clock without a system call. It advances every few milliseconds.
fn coarse_milliseconds() -> i64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// The socket of one client.
pub(super) struct ClientStream {
    reader: OwnedReadHalf,
    writer: Arc<OwnedWriteHalf>,
    last_activity: Arc<LastActivity>,
    /// Set while the socket is full.
    stall: Option<Pin<Box<Stall>>>,
    /// What is sent in place of an answer that hyper made.
    replacement: Option<Replacement>,
}

/// What a client has taken since the socket was full.
struct Stall {
    window: Pin<Box<Sleep>>,
    taken: usize,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        ClientStream {
            reader,
            writer: Arc::new(writer),
            last_activity: Arc::new(LastActivity::now()),
            stall: None,
            replacement: None,
        }
    }

    pub(super) fn last_activity(&self) -> Arc<LastActivity> {
        self.last_activity.clone()
    }

    /// Tells whether the client has closed its sending side. It does not keep the socket open.
    pub(super) fn probe(&self) -> ClientProbe {
        let writer = Arc::downgrade(&self.writer);
        ClientProbe::new(move || {
            let Some(writer) = writer.upgrade() else {
                return true;
            };
            let stream: &TcpStream = (*writer).as_ref();
            let mut events = [PollFd::new(stream, PollFlags::RDHUP)];
            let now = Timespec::default();
            poll(&mut events, Some(&now)).is_ok_and(|ready| ready > 0)
        })
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        wanted: usize,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let stream: &TcpStream = (*self.writer).as_ref();
            if stream.poll_write_ready(context)?.is_pending() {
                return self.poll_stalled(context).map(Err);
            }
            match send(stream) {
                Ok(sent) => {
                    self.record_sent(sent, wanted);
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends the rest of an answer that replaces the one that hyper writes.
    fn poll_replacement(
        &mut self,
        context: &mut Context<'_>,
        mut answer: Replacement,
    ) -> Poll<io::Result<usize>> {
        while !answer.rest().is_empty() {
            let rest = answer.rest();
            match self.poll_send(context, rest.len(), |stream| stream.try_write(rest)) {
                Poll::Ready(sent) => answer.add_sent(sent?),
                Poll::Pending => {
                    self.replacement = Some(answer);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(answer.replaces()))
    }

    fn record_sent(&mut self, sent: usize, wanted: usize) {
        self.last_activity.record();
        if sent == wanted {
            self.stall = None;
        } else if let Some(stall) = &mut self.stall {
            stall.taken += sent;
        }
    }

    /// Waits while the socket is full. Ready when the client has taken too little.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let stall = self.stall.get_or_insert_with(|| {
            Box::pin(Stall {
                window: Box::pin(sleep(WINDOW)),
                taken: 0,
            })
        });
        loop {
            ready!(stall.window.as_mut().poll(context));
            if stall.taken < MIN_BYTES {
                // A reset: the kernel would keep what the client has not taken for minutes.
                let stream: &TcpStream = (*self.writer).as_ref();
                let _closes_later = set_socket_linger(stream, Some(Duration::ZERO));
                let reason = "the client does not read the response";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            stall.taken = 0;
            stall.window.set(sleep(WINDOW));
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.reader).poll_read(context, buffer);
        if read.is_ready() {
            self.last_activity.record();
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let replacement = self.replacement.take();
        if let Some(answer) = replacement.or_else(|| Replacement::of(bytes)) {
            return self.poll_replacement(context, answer);
        }
        self.poll_send(context, bytes.len(), |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let replacement = self.replacement.take();
        // hyper writes its errors in one piece.
        let first = slices.iter().find(|slice| !slice.is_empty());
        let is_error = || first.and_then(|head| Replacement::of(head));
        if let Some(answer) = replacement.or_else(is_error) {
            return self.poll_replacement(context, answer);
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(context, wanted, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The host writes to the socket directly.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.writer).as_ref();
        Poll::Ready(rustix::net::shutdown(stream, rustix::net::Shutdown::Write).map_err(Into::into))
    }
}
