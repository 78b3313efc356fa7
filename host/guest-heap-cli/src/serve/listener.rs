//! The clients: their connections, and the answers that they get when the guest gives none.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use wasmtime::WasmBacktrace;
use wasmtime_wasi_http::handler::Response;

use crate::one_request::{ADVICE, RequestEnd};
use crate::serve::job::{Job, Started};
use crate::serve::server::Server;

/// Connections that are open at a time. Further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;

/// Time after which an accept that has failed is tried again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Time within which a client must send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts connections until the server stops.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener, queue: mpsc::Sender<Job>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = server.stop.subscribe();
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = stream else {
            // The process has too many open files, or the client has left already.
            tokio::time::sleep(ACCEPT_BACKOFF).await;
            continue;
        };
        let (server, queue) = (server.clone(), queue.clone());
        tokio::spawn(async move {
            serve_connection(server, stream, queue).await;
            drop(permit);
        });
    }
}

async fn serve_connection(server: Arc<Server>, stream: TcpStream, queue: mpsc::Sender<Job>) {
    // Without it the answers are slower and the same.
    stream.set_nodelay(true).ok();
    let mut stop = server.stop.subscribe();
    let service = service_fn(|request| {
        let (server, queue) = (server.clone(), queue.clone());
        async move { Ok::<_, Infallible>(answer(&server, request, &queue).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // An error is the client's: it has left, or it does not speak HTTP.
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await.ok();
}

/// Has the guest answer a request.
async fn answer(
    server: &Server,
    request: http::Request<Incoming>,
    queue: &mpsc::Sender<Job>,
) -> Response {
    if request.uri().authority().is_none() && !request.headers().contains_key(http::header::HOST) {
        return message(StatusCode::BAD_REQUEST, "the request has no Host header");
    }
    let (answer, answered) = oneshot::channel();
    let started = Arc::new(OnceLock::new());
    let name = format!("{} {}", request.method(), request.uri().path());
    let job = Job {
        request: request.map(|body| body.map_err(wasmtime_wasi_http::Error::from).boxed_unsync()),
        name: name.into(),
        answer,
        started: started.clone(),
    };
    let asked = Instant::now();
    if queue.try_send(job).is_err() {
        let mut refused = message(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests wait for the guest: see --max-queued",
        );
        let headers = refused.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return refused;
    }
    let note = |end| server.note_end(started.get(), end);
    match tokio::time::timeout(server.timeout, answered).await {
        Ok(Ok(Ok(response))) => {
            note(RequestEnd::Answered);
            response
        }
        Ok(Ok(Err(error))) => {
            let end = match error.is::<WasmBacktrace>() {
                true => RequestEnd::Trapped,
                false => RequestEnd::Silent,
            };
            let (cause, advice) = (error.root_cause(), note(end));
            let text = format!("the guest has trapped or gives no answer: {cause}{advice}");
            message(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        // An instance that is ended at the timeout can be seen before the timeout itself.
        Ok(Err(_canceled)) if asked.elapsed() < server.timeout => {
            let advice = note(RequestEnd::Trapped);
            let text = "the instance has ended, because of this request or another one";
            message(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("{text}{advice}"),
            )
        }
        Ok(Err(_)) | Err(_) if started.get().is_some() => message(
            StatusCode::GATEWAY_TIMEOUT,
            "the guest has not answered within --timeout",
        ),
        Ok(Err(_)) | Err(_) => message(
            StatusCode::SERVICE_UNAVAILABLE,
            "the guest was busy with other requests for --timeout",
        ),
    }
}

impl Server {
    /// Counts a request that has ended. Returns advice for an answer, with a line break before it;
    /// empty if there is none.
    fn note_end(&self, started: Option<&Started>, end: RequestEnd) -> String {
        let Some(started) = started else {
            return String::new();
        };
        let signs = self.one_request_signs.lock();
        let mut signs = signs.unwrap_or_else(PoisonError::into_inner);
        let was_clear = signs.are_clear();
        signs.add(started.is_first, end);
        if !signs.are_clear() {
            return String::new();
        }
        if !was_clear {
            stderr_line!("{ADVICE}");
        }
        format!("\n{ADVICE}")
    }
}

/// An answer of the server itself.
fn message(status: StatusCode, text: &str) -> Response {
    let body = Full::new(Bytes::from(format!("guest-heap: {text}\n")));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
