//! HTTP requests that a guest sends.

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

/// Sends a guest's requests if it may use the network.
pub(crate) struct OutgoingRequests {
    has_network: bool,
}

impl OutgoingRequests {
    pub(crate) fn new(has_network: bool) -> Self {
        Self { has_network }
    }
}

impl WasiHttpHooks for OutgoingRequests {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let has_network = self.has_network;
        Box::new(async move {
            if !has_network {
                return Err(Error::HttpRequestDenied);
            }
            let (response, connection) = default_send_request(request, options).await?;
            let response = response.map(http_body_util::BodyExt::boxed_unsync);
            Ok((response, Box::new(connection) as Box<_>))
        })
    }
}
