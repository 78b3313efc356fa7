//! HTTP requests to programs on this machine.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::Agent;

/// A request that takes longer has failed: none of these programs is slow unless it hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a response body that are read.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// Characters of a failed response's body that its error quotes.
const MAX_QUOTED_CHARS: usize = 300;

/// Sends requests over kept connections.
#[derive(Debug, Clone)]
pub struct Client(Agent);

impl Default for Client {
    fn default() -> Self {
        Self::with_timeout(REQUEST_TIMEOUT)
    }
}

impl Client {
    /// A client whose requests fail after `timeout`, body included.
    #[must_use]
    pub fn with_timeout(timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false);
        Self(config.build().into())
    }

    /// The body of `GET url`.
    ///
    /// # Errors
    /// When there is no response, or its status is no success.
    pub fn text(&self, url: &str) -> Result<String> {
        body(url, self.0.get(url).call())
    }

    /// The status of `GET url`.
    ///
    /// # Errors
    /// When there is no response.
    pub fn status(&self, url: &str) -> Result<u16> {
        let response = self.0.get(url).call().with_context(|| url.to_owned())?;
        Ok(response.status().as_u16())
    }

    /// `GET url` as JSON.
    ///
    /// # Errors
    /// When there is no response, its status is no success, or its body is not JSON.
    pub fn json(&self, url: &str) -> Result<Value> {
        parse(url, self.0.get(url).call())
    }

    /// `GET url` as JSON, with a query string that is encoded here.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn query(&self, url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let request = self.0.get(url).query_pairs(parameters.iter().copied());
        parse(url, request.call())
    }

    /// `POST url` with a JSON body.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn post(&self, url: &str, json: &Value) -> Result<Value> {
        parse(url, self.0.post(url).send_json(json))
    }

    /// `PUT url` with the bytes of a file.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn put(&self, url: &str, bytes: &[u8]) -> Result<Value> {
        parse(url, self.0.put(url).send(bytes))
    }

    /// `DELETE url`.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn delete(&self, url: &str) -> Result<Value> {
        parse(url, self.0.delete(url).call())
    }
}

/// [`Client::text`] over a new connection.
///
/// # Errors
/// As [`Client::text`].
pub fn text(url: &str) -> Result<String> {
    Client::default().text(url)
}

/// [`Client::json`] over a new connection.
///
/// # Errors
/// As [`Client::json`].
pub fn json(url: &str) -> Result<Value> {
    Client::default().json(url)
}

/// [`Client::query`] over a new connection.
///
/// # Errors
/// As [`Client::json`].
pub fn query(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    Client::default().query(url, parameters)
}

/// [`Client::post`] over a new connection.
///
/// # Errors
/// As [`Client::json`].
pub fn post(url: &str, json: &Value) -> Result<Value> {
    Client::default().post(url, json)
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn parse(url: &str, response: Response) -> Result<Value> {
    serde_json::from_str(&body(url, response)?).with_context(|| format!("{url} is not JSON"))
}

fn body(url: &str, response: Response) -> Result<String> {
    let mut response = response.with_context(|| url.to_owned())?;
    let status = response.status();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_BODY_BYTES)
        .read_to_string()
        .with_context(|| url.to_owned())?;
    if !status.is_success() {
        let quoted: String = body.chars().take(MAX_QUOTED_CHARS).collect();
        bail!("{url}: {status}: {quoted}");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one response and returns the URL.
    fn serve_once(response: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        });
        url
    }

    fn response(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    #[test]
    fn a_status_that_is_no_success_is_an_error_that_quotes_the_body() {
        let url = serve_once(response("404 Not Found", &"ü".repeat(400)));
        let error = text(&url).unwrap_err().to_string();
        assert!(error.contains("404"), "{error}");
        assert_eq!(error.matches('ü').count(), MAX_QUOTED_CHARS);
    }

    #[test]
    fn a_body_that_is_not_json_is_an_error() {
        assert_eq!(json(&serve_once(response("200 OK", "[1]"))).unwrap()[0], 1);
        let error = json(&serve_once(response("200 OK", "hello"))).unwrap_err();
        assert!(error.to_string().ends_with("is not JSON"), "{error}");
    }

    #[test]
    fn a_port_without_a_server_is_an_error() {
        assert!(text("http://127.0.0.1:1").is_err());
    }
}
