//! A client of one collector for one signal, over gRPC or HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! It connects when it first sends, and every request ends within the endpoint's timeout.
//!
//! The exporters of `opentelemetry-otlp` 0.33 cannot replace it. We tried:
//! - Its metric exporter takes the SDK's `ResourceMetrics`, which only the SDK can fill. The
//!   metrics of this service are Prometheus instruments, and the SDK has no observable histogram
//!   that could copy one. So the client stays for metrics, and a second transport for traces would
//!   replace 20 lines of it and add four crates.
//! - It reads `OTEL_EXPORTER_OTLP_HEADERS` and `_COMPRESSION` from the environment. They override
//!   the headers that the builder was given.
//! - It reports a partial success as `Ok(())`, so rejected spans cannot be counted.
//! - A status of 400 and one of 503 are the same error with another text, so the queue cannot tell
//!   which one to retry. Its own retries end with the timeout of one export, 10 s by default. The
//!   queue retries for a minute, because a collector may need that to restart.
//! - Over HTTP it reports a refused connection as "network error", without the cause.

use std::error::Error;
use std::time::Duration;

use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_client::ProfilesServiceClient;
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
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

/// The client's transport refuses the endpoint.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the telemetry client for {url}: {reason}")]
pub struct OtlpClientError {
    url: Uri,
    reason: String,
}

/// An export failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExportError {
    /// Whether the collector may accept the same request later.
    pub(crate) retryable: bool,
    /// Whether the collector does not know the signal.
    pub(crate) unsupported: bool,
    message: String,
}

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
    /// Creates a client without connecting. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// When the transport refuses the endpoint.
    pub(crate) fn new(endpoint: OtlpEndpoint) -> Result<Self, OtlpClientError> {
        let connect_timeout = CONNECT_TIMEOUT.min(endpoint.timeout);
        let transport = match endpoint.protocol {
            Protocol::Grpc => Endpoint::from(endpoint.url.clone())
                .connect_timeout(connect_timeout)
                .user_agent(USER_AGENT)
                .map(|endpoint| Transport::Grpc(endpoint.connect_lazy()))
                .map_err(|error| with_causes(&error)),
            Protocol::HttpProtobuf => reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(connect_timeout)
                // reqwest takes a proxy from the environment, which only the option parser reads.
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(1)
                .build()
                .map(Transport::Http)
                .map_err(|error| with_causes(&error)),
        };
        match transport {
            Ok(transport) => Ok(Self {
                endpoint,
                transport,
            }),
            Err(reason) => Err(OtlpClientError {
                url: endpoint.url,
                reason,
            }),
        }
    }

    /// The collector's URL, for the log.
    pub(crate) fn url(&self) -> &Uri {
        &self.endpoint.url
    }

    /// Sends spans and returns how many of them the collector rejected.
    ///
    /// # Errors
    /// When the collector does not accept the request within the timeout.
    pub(crate) async fn send_traces(
        &self,
        traces: &ExportTraceServiceRequest,
    ) -> Result<u64, ExportError> {
        self.with_timeout(async {
            let response: ExportTraceServiceResponse = match &self.transport {
                Transport::Grpc(channel) => {
                    let mut client = TraceServiceClient::new(channel.clone());
                    client.export(self.grpc(traces)).await?.into_inner()
                }
                Transport::Http(client) => self.post(client, traces).await?,
            };
            let partial = response.partial_success.unwrap_or_default();
            Ok(partial.rejected_spans)
        })
        .await
    }

    /// Sends metrics and returns how many data points the collector rejected.
    ///
    /// # Errors
    /// When the collector does not accept the request within the timeout.
    pub(crate) async fn send_metrics(
        &self,
        metrics: &ExportMetricsServiceRequest,
    ) -> Result<u64, ExportError> {
        self.with_timeout(async {
            let response: ExportMetricsServiceResponse = match &self.transport {
                Transport::Grpc(channel) => {
                    let mut client = MetricsServiceClient::new(channel.clone());
                    client.export(self.grpc(metrics)).await?.into_inner()
                }
                Transport::Http(client) => self.post(client, metrics).await?,
            };
            let partial = response.partial_success.unwrap_or_default();
            Ok(partial.rejected_data_points)
        })
        .await
    }

    /// Sends profiles and returns how many of them the collector rejected.
    ///
    /// # Errors
    /// When the collector does not accept the request within the timeout.
    pub(crate) async fn send_profiles(
        &self,
        profiles: &ExportProfilesServiceRequest,
    ) -> Result<u64, ExportError> {
        self.with_timeout(async {
            let response: ExportProfilesServiceResponse = match &self.transport {
                Transport::Grpc(channel) => {
                    let mut client = ProfilesServiceClient::new(channel.clone());
                    client.export(self.grpc(profiles)).await?.into_inner()
                }
                Transport::Http(client) => self.post(client, profiles).await?,
            };
            let partial = response.partial_success.unwrap_or_default();
            Ok(partial.rejected_profiles)
        })
        .await
    }

    async fn with_timeout(
        &self,
        export: impl Future<Output = Result<i64, ExportError>>,
    ) -> Result<u64, ExportError> {
        let timeout = self.endpoint.timeout;
        match tokio::time::timeout(timeout, export).await {
            Ok(result) => result.map(|rejected| u64::try_from(rejected).unwrap_or(0)),
            Err(_) => Err(ExportError {
                retryable: true,
                unsupported: false,
                message: format!("no response within {} ms", timeout.as_millis()),
            }),
        }
    }

    fn grpc<M: Clone>(&self, message: &M) -> tonic::Request<M> {
        let metadata = MetadataMap::from_headers(self.endpoint.headers.clone());
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), message.clone())
    }

    async fn post<M: Message, R: Message + Default>(
        &self,
        client: &reqwest::Client,
        message: &M,
    ) -> Result<R, ExportError> {
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
                unsupported: status == StatusCode::NOT_FOUND,
                message: status.to_string(),
            });
        }
        // The collector accepted the request, even if the body of its response cannot be decoded.
        Ok(R::decode(response.bytes().await?).unwrap_or_default())
    }
}

/// Whether the specification lists the status in "OTLP/HTTP Response: Retryable Response Codes".
fn is_retryable_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether the specification lists the code as retryable in "OTLP/gRPC Response: Failures". The
/// specification retries `RESOURCE_EXHAUSTED` only with a retry delay. A collector under pressure
/// sends it without one, and the queue is bounded, so it is always retryable here.
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
        let message = match status.message() {
            "" => status.source().map(with_causes).unwrap_or_default(),
            message => message.to_owned(),
        };
        Self {
            retryable: is_retryable_code(status.code()),
            unsupported: status.code() == Code::Unimplemented,
            message: format!("{:?}: {message}", status.code()),
        }
    }
}

impl From<reqwest::Error> for ExportError {
    fn from(error: reqwest::Error) -> Self {
        Self {
            retryable: !error.is_builder(),
            unsupported: false,
            message: with_causes(&error.without_url()),
        }
    }
}

/// An error with its causes. The outer errors of HTTP clients do not name the reason.
fn with_causes(error: &(dyn Error + 'static)) -> String {
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
