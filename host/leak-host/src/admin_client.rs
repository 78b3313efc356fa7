//! A client of the admin API of a running host, for the commands that ask one.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

use crate::config::RemoteOptions;

/// Time limit of the connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit of a call, from the connect to the end of the answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a host gave no answer that can be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{url:?} is no address of a host: give one such as --url http://127.0.0.1:8080")]
    InvalidUrl { url: String },
    #[error(
        "no host answers at {url}: start one with `leak-host`, or give the address of its admin \
         API with --url ({reason})"
    )]
    Unreachable { url: Url, reason: String },
    #[error("the host at {url} wants its admin token: give it with --token or in LEAK_ADMIN_TOKEN")]
    TokenMissing { url: Url },
    #[error(
        "the host at {url} refuses this token: give the one that it was started with \
         (--admin-token)"
    )]
    WrongToken { url: Url },
    #[error(
        "there is no admin API at {url}: if the host was started with --admin-listen, give that \
         address with --url"
    )]
    NoAdminApi { url: Url },
    #[error("{message}: {hint}")]
    Refused {
        code: String,
        message: String,
        hint: String,
    },
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
pub(crate) struct AdminClient {
    http: Client,
    url: Url,
    token: Option<String>,
}

impl AdminClient {
    /// A client of the host that the options name. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AskError::InvalidUrl`].
    pub(crate) fn new(remote: &RemoteOptions) -> Result<Self, AskError> {
        let invalid = || AskError::InvalidUrl {
            url: remote.url.clone(),
        };
        let url = Url::parse(&remote.url).map_err(|_| invalid())?;
        if url.scheme() != "http" || !url.has_host() {
            return Err(invalid());
        }
        // A redirect would carry the token to another address.
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| AskError::Unreachable {
                url: url.clone(),
                reason: innermost(&error),
            })?;
        Ok(AdminClient {
            http,
            url,
            token: remote.token.clone(),
        })
    }

    /// The JSON that a GET of this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub(crate) async fn get(&self, path: &str) -> Result<Value, AskError> {
        self.ask(self.request(Method::GET, path)?).await
    }

    /// The JSON that a POST without a body to this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub(crate) async fn post(&self, path: &str) -> Result<Value, AskError> {
        self.ask(self.request(Method::POST, path)?).await
    }

    /// The JSON that a POST of this JSON answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        self.ask(self.request(Method::POST, path)?.json(body)).await
    }

    /// The text that this path answers.
    ///
    /// # Errors
    ///
    /// An [`AskError`].
    pub(crate) async fn text(&self, method: Method, path: &str) -> Result<String, AskError> {
        let body = self.body(self.request(method, path)?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, AskError> {
        let url = self.url.join(path).map_err(|_| AskError::InvalidUrl {
            url: self.url.to_string(),
        })?;
        let request = self.http.request(method, url);
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
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body.to_vec());
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
        let client = |url: &str| {
            AdminClient::new(&RemoteOptions {
                url: url.to_owned(),
                token: None,
            })
        };
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
