//! A collector in the test's process. It receives OTLP over gRPC or HTTP and keeps every request.
//!
//! The tests of the crate `lab` include this file too: their metrics and spans come from crates
//! that build on this one.

use std::iter::once;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clap::builder::Resettable;
use clap::{Args, Command, FromArgMatches};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use telemetry::TelemetrySettings;
use telemetry::options::TelemetryOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Settings for this collector with short intervals. A later flag in `flags` overrides an earlier
/// one.
pub(super) fn settings(
    protocol: Protocol,
    address: SocketAddr,
    flags: &[&str],
) -> TelemetrySettings {
    let endpoint = format!("--otlp-endpoint=http://{address}");
    let protocol = match protocol {
        Protocol::Grpc => "--otlp-protocol=grpc",
        Protocol::HttpProtobuf => "--otlp-protocol=http/protobuf",
    };
    let defaults = [
        endpoint.as_str(),
        protocol,
        "--otlp-headers=x-lab=leak%20lab",
        "--otlp-timeout=1000",
        "--resource-attributes=deployment.environment.name=test,service.name=ignored",
        "--bsp-schedule-delay=20",
        "--metric-export-interval=20",
    ];
    parse(&[&defaults, flags].concat())
}

/// Settings from flags alone: the environment of the test must not decide its outcome.
pub(super) fn parse(flags: &[&str]) -> TelemetrySettings {
    let command = TelemetryOptions::augment_args(Command::new("test").args_override_self(true))
        .mut_args(|option| option.env(Resettable::Reset));
    let matches = command.get_matches_from(once(&"test").chain(flags));
    let options = TelemetryOptions::from_arg_matches(&matches).unwrap();
    options.settings().unwrap()
}

/// Every request that the collector received, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) traces: Vec<ExportTraceServiceRequest>,
    pub(super) metrics: Vec<ExportMetricsServiceRequest>,
    pub(super) headers: Vec<HeaderMap>,
}

#[derive(Debug, Clone, Default)]
struct Inbox(Arc<Mutex<Received>>);

/// A running collector. It stops when it is dropped.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    inbox: Inbox,
    server: JoinHandle<()>,
}

impl Collector {
    pub(super) async fn start(protocol: Protocol) -> Self {
        Self::start_on(protocol, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn start_on(protocol: Protocol, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Inbox::default();
        let server = match protocol {
            Protocol::Grpc => {
                let server = Server::builder()
                    .add_service(TraceServiceServer::new(inbox.clone()))
                    .add_service(MetricsServiceServer::new(inbox.clone()))
                    .serve_with_incoming(TcpIncoming::from(listener));
                tokio::spawn(async move { server.await.unwrap() })
            }
            Protocol::HttpProtobuf => {
                let routes = Router::new()
                    .route("/v1/traces", post(http_traces))
                    .route("/v1/metrics", post(http_metrics))
                    .with_state(inbox.clone());
                tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() })
            }
        };
        Self {
            address,
            inbox,
            server,
        }
    }

    /// Waits for at most ten seconds until `enough` accepts the received requests.
    pub(super) async fn wait_until(&self, enough: impl Fn(&Received) -> bool) {
        for _ in 0..1000 {
            if enough(&self.inbox.0.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not enough arrived: {:?}", self.inbox.0.lock().unwrap());
    }

    /// Reads the requests that arrived so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.inbox.0.lock().unwrap())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    pub(super) fn spans(&self) -> Vec<Span> {
        let resources = self.traces.iter().flat_map(|traces| &traces.resource_spans);
        resources
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

/// The value of an attribute as text.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap();
        received
            .headers
            .push(request.metadata().clone().into_headers());
        received.traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Inbox {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap();
        received
            .headers
            .push(request.metadata().clone().into_headers());
        received.metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn http_traces(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = inbox.0.lock().unwrap();
    received.headers.push(headers);
    received
        .traces
        .push(ExportTraceServiceRequest::decode(body).unwrap());
    StatusCode::OK
}

async fn http_metrics(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = inbox.0.lock().unwrap();
    received.headers.push(headers);
    received
        .metrics
        .push(ExportMetricsServiceRequest::decode(body).unwrap());
    StatusCode::OK
}
