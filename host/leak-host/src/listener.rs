//! The connections of one listener: taken, answered, and let go when their clients do not go on.
//!
//! By hyper itself: `axum::serve` has no time limits, and a server that has them and counts each request cost a fifth of
//! the requests that this one answers. HTTP/1.1 only, as before a proxy and in a lab.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Time between two tries while no connection can be taken, as when all files are open.
const BREATH: Duration = Duration::from_millis(50);

/// Answers until `stopping`, and then those requests that have begun. A client has `client_timeout` for the headers of a
/// request, counted from the end of the one before. Dropped, it closes every connection.
pub(crate) async fn answer(
    listener: TcpListener,
    routes: Router,
    client_timeout: Duration,
    stopping: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(client_timeout);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let taken = tokio::select! {
            () = stopping.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            taken = listener.accept() => taken,
        };
        // Answers are written whole, so nothing is won by holding a part of one back.
        let stream = match taken.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection was not taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
