//! Talking OTLP to a collector, for traces and metrics alike
//! (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! The SDK's own metric exporter can only send what the SDK measured, and the instruments here are
//! Prometheus's; so both signals go through this one client, which sends the protocol's messages as
//! they are. It connects when it first has something to say, says nothing on the log, and every
//! request ends within the endpoint's timeout.

use std::error::Error;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use reqwest::StatusCode;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::settings::{OtlpEndpoint, Protocol};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("leak-host/", env!("CARGO_PKG_VERSION"));

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the telemetry client for {url} could not be made: {reason}")]
pub struct OtlpClientError {
    url: String,
    reason: String,
}

/// An export did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExportError {
    /// Whether the same message may be taken later.
    pub(crate) retryable: bool,
    message: String,
}

/// What the collector said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Delivered {
    /// Spans or data points that it refused.
    pub(crate) rejected: u64,
}

/// A connection to one collector for one signal.
#[derive(Debug)]
pub(crate) struct OtlpClient {
    endpoint: OtlpEndpoint,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Grpc(Channel),
    Http(reqwest::Client),
}

impl OtlpClient {
    /// Prepares a client without connecting; within a Tokio runtime.
    ///
    /// # Errors
    /// When the transport refuses the endpoint.
    pub(crate) fn new(endpoint: OtlpEndpoint) -> Result<Self, OtlpClientError> {
        let failed = |reason: String| OtlpClientError {
            url: endpoint.url.to_string(),
            reason,
        };
        let transport = match endpoint.protocol {
            Protocol::Grpc => {
                let channel = Endpoint::from(endpoint.url.clone())
                    .connect_timeout(CONNECT_TIMEOUT.min(endpoint.timeout))
                    .user_agent(USER_AGENT)
                    .map_err(|error| failed(error.to_string()))?;
                Transport::Grpc(channel.connect_lazy())
            }
            Protocol::HttpProtobuf => {
                let client = reqwest::Client::builder()
                    .user_agent(USER_AGENT)
                    .connect_timeout(CONNECT_TIMEOUT.min(endpoint.timeout))
                    // A proxy would come from the environment, which is read in one place only.
                    .no_proxy()
                    .redirect(reqwest::redirect::Policy::none())
                    .pool_max_idle_per_host(1)
                    .build()
                    .map_err(|error| failed(chain(&error)))?;
                Transport::Http(client)
            }
        };
        Ok(Self {
            endpoint,
            transport,
        })
    }

    /// Where it sends to.
    pub(crate) fn endpoint(&self) -> &OtlpEndpoint {
        &self.endpoint
    }

    /// Sends spans.
    ///
    /// # Errors
    /// When the collector did not take them within the timeout.
    pub(crate) async fn send_traces(
        &self,
        traces: &ExportTraceServiceRequest,
    ) -> Result<Delivered, ExportError> {
        let send = async {
            let answer = match &self.transport {
                Transport::Grpc(channel) => {
                    let mut client = TraceServiceClient::new(channel.clone());
                    client
                        .export(self.grpc_request(traces.clone()))
                        .await?
                        .into_inner()
                }
                Transport::Http(client) => {
                    self.post::<_, ExportTraceServiceResponse>(client, traces)
                        .await?
                }
            };
            Ok(answer
                .partial_success
                .map_or(0, |partial| partial.rejected_spans))
        };
        self.in_time(send).await
    }

    /// Sends metrics.
    ///
    /// # Errors
    /// When the collector did not take them within the timeout.
    pub(crate) async fn send_metrics(
        &self,
        metrics: &ExportMetricsServiceRequest,
    ) -> Result<Delivered, ExportError> {
        let send = async {
            let answer = match &self.transport {
                Transport::Grpc(channel) => {
                    let mut client = MetricsServiceClient::new(channel.clone());
                    client
                        .export(self.grpc_request(metrics.clone()))
                        .await?
                        .into_inner()
                }
                Transport::Http(client) => {
                    self.post::<_, ExportMetricsServiceResponse>(client, metrics)
                        .await?
                }
            };
            Ok(answer
                .partial_success
                .map_or(0, |partial| partial.rejected_data_points))
        };
        self.in_time(send).await
    }

    async fn in_time(
        &self,
        send: impl Future<Output = Result<i64, ExportError>>,
    ) -> Result<Delivered, ExportError> {
        match tokio::time::timeout(self.endpoint.timeout, send).await {
            Ok(sent) => sent.map(|rejected| Delivered {
                rejected: u64::try_from(rejected).unwrap_or(0),
            }),
            Err(_) => {
                let message = format!("no answer within {} ms", self.endpoint.timeout.as_millis());
                Err(ExportError {
                    retryable: true,
                    message,
                })
            }
        }
    }

    fn grpc_request<M>(&self, message: M) -> tonic::Request<M> {
        let metadata = MetadataMap::from_headers(self.endpoint.headers.clone());
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), message)
    }

    async fn post<M: Message, A: Message + Default>(
        &self,
        client: &reqwest::Client,
        message: &M,
    ) -> Result<A, ExportError> {
        let response = client
            .post(self.endpoint.url.to_string())
            .headers(self.endpoint.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(message.encode_to_vec())
            .send()
            .await?;
        let status = response.status();
        if !status.is_success() {
            return Err(ExportError {
                retryable: is_retryable_status(status),
                message: status.to_string(),
            });
        }
        let answer = response.bytes().await?;
        // It has been taken; an answer that is no protobuf has nothing to add.
        Ok(A::decode(answer).unwrap_or_default())
    }
}

/// The statuses of "OTLP/HTTP Response: Retryable Response Codes".
fn is_retryable_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The codes of "OTLP/gRPC Response: Failures". A collector under pressure answers with
/// `RESOURCE_EXHAUSTED`, which is retried too: the queue is bounded anyway.
fn is_retryable_code(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
            | Code::ResourceExhausted
    )
}

impl From<tonic::Status> for ExportError {
    fn from(status: tonic::Status) -> Self {
        let cause = status.source().map(chain).unwrap_or_default();
        let said = if status.message().is_empty() {
            cause
        } else {
            status.message().to_owned()
        };
        Self {
            retryable: is_retryable_code(status.code()),
            message: format!("{:?}: {said}", status.code()),
        }
    }
}

impl From<reqwest::Error> for ExportError {
    fn from(error: reqwest::Error) -> Self {
        Self {
            retryable: !error.is_builder(),
            message: chain(&error.without_url()),
        }
    }
}

/// An error with its causes: the outer ones of HTTP clients say little.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
