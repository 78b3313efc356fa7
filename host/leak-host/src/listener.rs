//! The connections of one listener: accepts them, serves them, and closes them when a client
//! stalls.
//!
//! This module uses hyper directly, because `axum::serve` has no timeouts. The alternative with
//! timeouts and a request count served 20 % fewer requests. This server speaks HTTP/1.1 only, which
//! is enough behind a proxy and in a lab.
//!
//! What bounds a client: the time for its headers and between its requests (`client_timeout`), a
//! minimum rate for reading responses (`client_stream`), and the number of connections
//! (`open_connections`). Bodies have a minimum rate and a budget in `admin-api`.

mod client_stream;
mod open_connections;
mod protocol_error;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use client_stream::ClientStream;
use open_connections::OpenConnections;

/// The pause after a failed accept, for example when the process has no free file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What the kernel keeps of a response for a client that does not read, in bytes. The kernel
/// doubles it.
const SEND_BUFFER_BYTES: usize = 32 << 10;

/// What the host itself keeps of a response before it waits for the client, and the most bytes of
/// a request's headers.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// Files that connections leave to the rest of the host.
const RESERVED_FILES: u64 = 256;

/// What bounds the clients of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    /// The longest time between the end of one request and the headers of the next one.
    pub(crate) timeout: Duration,
    /// The most open connections.
    pub(crate) connections: usize,
}

/// Serves until `stopping` is cancelled, and then finishes the requests in progress.
///
/// Dropping the future closes every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: ClientLimits,
    stopping: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.timeout)
        .max_buf_size(MAX_BUFFER_BYTES)
        // A client may close its sending side and still wait for answers.
        .half_close(true);
    // Connections inherit it.
    if let Err(error) = set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES) {
        tracing::debug!(%error, "cannot limit the send buffer");
    }
    let graceful = GracefulShutdown::new();
    let mut connections = OpenConnections::new(limits.connections.min(file_limit()));
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            () = connections.next_ended() => continue,
            accepted = listener.accept() => accepted,
        };
        // Each response is written at once, so Nagle's algorithm would only delay its last part.
        let stream = accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream));
        let stream = match stream {
            Ok(stream) => ClientStream::new(stream),
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                if is_out_of_files(&error) {
                    connections.close_idle();
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let (probe, last_activity) = (stream.probe(), stream.last_activity());
        let service = routes
            .clone()
            .map_request(move |request: Request<Incoming>| {
                let mut request = request;
                // Only calls that may take long ask for it, and all of them change something.
                if !request.method().is_safe() {
                    request.extensions_mut().insert(probe.clone());
                }
                request
            });
        let service = TowerToHyperService::new(service);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.add(last_activity, async {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "connection ended with an error");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The most connections for which the process may open files.
fn file_limit() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = files.saturating_sub(RESERVED_FILES).max(files / 2);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Whether the process or the system has no free file descriptor.
fn is_out_of_files(error: &std::io::Error) -> bool {
    let errors = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    errors
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}
