//! A client of the admin API of one host.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

/// The most bytes of an answer by default.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of the connect.
    pub connect: Duration,
    /// Of a call, from the connect to the end of the answer.
    pub call: Duration,
}

impl Default for Timeouts {
    /// Those of the commands that ask one host.
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(30),
        }
    }
}

/// Why a host gave no answer that can be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The text is no address.
    #[error("{url:?} is no address of a host: give one such as --url http://127.0.0.1:8080")]
    InvalidUrl {
        /// The text.
        url: String,
    },
    /// The host cannot be reached, or does not answer in time.
    #[error(
        "no host answers at {url}: start one with `leak-host`, or give the address of its admin \
         API with --url ({reason})"
    )]
    Unreachable {
        /// Its address.
        url: Url,
        /// Why not.
        reason: String,
    },
    /// The call needs a token.
    #[error("the host at {url} wants its admin token: give it with --token or in LEAK_ADMIN_TOKEN")]
    TokenMissing {
        /// Its address.
        url: Url,
    },
    /// The token is not that of the host.
    #[error(
        "the host at {url} refuses this token: give the one that it was started with \
         (--admin-token)"
    )]
    WrongToken {
        /// Its address.
        url: Url,
    },
    /// Something else answers there.
    #[error(
        "there is no admin API at {url}: if the host was started with --admin-listen, give that \
         address with --url"
    )]
    NoAdminApi {
        /// Its address.
        url: Url,
    },
    /// The host answered with an error of the admin API.
    #[error("{message}: {hint}")]
    Refused {
        /// Its code, such as `unknown_leak`.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl AskError {
    /// A short name: the code of the admin API's error, or one of `unreachable`, `token_missing`,
    /// `wrong_token`, `no_admin_api` and `invalid_address`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            AskError::InvalidUrl { .. } => "invalid_address",
            AskError::Unreachable { .. } => "unreachable",
            AskError::TokenMissing { .. } => "token_missing",
            AskError::WrongToken { .. } => "wrong_token",
            AskError::NoAdminApi { .. } => "no_admin_api",
            AskError::Refused { code, .. } => code,
        }
    }

    /// What is wrong, for the row of a host in a table that names its address already.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            AskError::Unreachable { reason, .. } => format!("no answer: {reason}"),
            AskError::TokenMissing { .. } => {
                "wants its admin token: give it with --token or in LEAK_ADMIN_TOKEN".to_owned()
            }
            AskError::WrongToken { .. } => "refuses this token".to_owned(),
            AskError::NoAdminApi { .. } => {
                "has no admin API of this version: is it on another port (--admin-listen)?"
                    .to_owned()
            }
            AskError::InvalidUrl { .. } | AskError::Refused { .. } => self.to_string(),
        }
    }
}

/// The body of an error of the admin API.
#[derive(Debug, Deserialize)]
struct ErrorAnswer {
    error: ErrorFields,
}

#[derive(Debug, Deserialize)]
struct ErrorFields {
    code: String,
    message: String,
    hint: String,
}

/// A client of one host.
#[derive(Debug)]
pub struct AdminClient {
    http: Client,
    url: Url,
    token: Option<String>,
    call_timeout: Duration,
    max_answer_bytes: usize,
}

/// What makes the connections of one client or of many.
///
/// # Errors
///
/// [`AskError::Unreachable`] if this process cannot make connections.
pub fn http(connect_timeout: Duration) -> Result<Client, AskError> {
    // A redirect would carry the token to another address.
    Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| AskError::Refused {
            code: "no_client".to_owned(),
            message: format!(
                "this process cannot make connections ({})",
                innermost(&error)
            ),
            hint: "raise its limit of open files, and try again".to_owned(),
        })
}

impl AdminClient {
    /// A client of the host at this address, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AskError::InvalidUrl`].
    pub fn new(url: &str, token: Option<String>) -> Result<Self, AskError> {
        let Timeouts { connect, call } = Timeouts::default();
        AdminClient::with_http(http(connect)?, url, token, call)
    }

    /// The same, with the connections of other clients and another time limit.
    ///
    /// # Errors
    ///
    /// [`AskError::InvalidUrl`].
    pub fn with_http(
        http: Client,
        url: &str,
        token: Option<String>,
        call_timeout: Duration,
    ) -> Result<Self, AskError> {
        let invalid = || AskError::InvalidUrl {
            url: url.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|_| invalid())?;
        if parsed.scheme() != "http" || !parsed.has_host() {
            return Err(invalid());
        }
        Ok(AdminClient {
            http,
            url: parsed,
            token,
            call_timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
        })
    }

    /// The same client with another limit for the size of an answer. A longer answer is an
    /// [`AskError::Unreachable`].
    #[must_use]
    pub fn with_max_answer(self, max_answer_bytes: usize) -> Self {
        AdminClient {
            max_answer_bytes,
            ..self
        }
    }

    /// The JSON that a GET of this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub async fn get(&self, path: &str) -> Result<Value, AskError> {
        self.ask(self.request(Method::GET, path)?).await
    }

    /// The JSON that a POST without a body to this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub async fn post(&self, path: &str) -> Result<Value, AskError> {
        self.ask(self.request(Method::POST, path)?).await
    }

    /// The JSON that a POST of this JSON answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        self.ask(self.request(Method::POST, path)?.json(body)).await
    }

    /// The JSON that a PUT of these bytes to this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<Value, AskError> {
        self.ask(self.request(Method::PUT, path)?.body(bytes)).await
    }

    /// The text that this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub async fn text(&self, method: Method, path: &str) -> Result<String, AskError> {
        let body = self.body(self.request(method, path)?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The error of an answer that is not that of a host.
    pub(crate) fn no_admin_api(&self) -> AskError {
        AskError::NoAdminApi {
            url: self.url.clone(),
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, AskError> {
        let url = self.url.join(path).map_err(|_| AskError::InvalidUrl {
            url: self.url.to_string(),
        })?;
        let request = self.http.request(method, url).timeout(self.call_timeout);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value, AskError> {
        let body = self.body(request).await?;
        // Only the lab answers these paths with JSON.
        serde_json::from_slice(&body).map_err(|_| AskError::NoAdminApi {
            url: self.url.clone(),
        })
    }

    /// The body of an answer that is no error.
    async fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, AskError> {
        let url = || self.url.clone();
        let unreachable = |error: reqwest::Error| AskError::Unreachable {
            url: url(),
            reason: innermost(&error),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > self.max_answer_bytes {
                return Err(AskError::Unreachable {
                    url: url(),
                    reason: format!("its answer has more than {} bytes", self.max_answer_bytes),
                });
            }
            body.extend_from_slice(&part);
        }
        if status.is_success() {
            return Ok(body);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(match self.token {
                Some(_) => AskError::WrongToken { url: url() },
                None => AskError::TokenMissing { url: url() },
            });
        }
        let answer = serde_json::from_slice::<ErrorAnswer>(&body);
        Err(match answer.map(|answer| answer.error) {
            Ok(error) if error.code != "not_found" => AskError::Refused {
                code: error.code,
                message: error.message,
                hint: error.hint,
            },
            _ => AskError::NoAdminApi { url: url() },
        })
    }
}

/// The cause at the end of the chain: `Connection refused`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_hosts_are_accepted() {
        let client = |url: &str| AdminClient::new(url, None);
        assert!(client("http://127.0.0.1:8080").is_ok());
        assert!(client("http://lab.example:80/").is_ok());
        for wrong in [
            "",
            "127.0.0.1:8080",
            "localhost:8080",
            "https://lab",
            "ftp://lab",
            "http://",
        ] {
            let error = client(wrong).unwrap_err().to_string();
            assert!(error.contains("--url http://127.0.0.1:8080"), "{error}");
        }
    }
}
