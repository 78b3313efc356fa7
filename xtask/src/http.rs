//! Questions to the programs of the stack, all on this machine and none of them slow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// No program of the stack takes this long for an answer unless it hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How often something that is being waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 64 << 20;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        .build()
        .into()
}

/// The body of `GET url`, whatever the program's format.
///
/// # Errors
/// When there is no answer, or its status is not a success.
pub(crate) fn text(url: &str) -> Result<String> {
    body(url, agent().get(url).call())
}

/// `GET url` as JSON.
///
/// # Errors
/// When there is no answer, its status is not a success, or it is not JSON.
pub(crate) fn json(url: &str) -> Result<Value> {
    answer(url, agent().get(url).call())
}

/// `GET url` with a query string, encoded, as JSON.
///
/// # Errors
/// As [`json`].
pub(crate) fn query(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let response = agent()
        .get(url)
        .query_pairs(parameters.iter().copied())
        .call();
    answer(url, response)
}

/// `POST url` with a JSON body.
///
/// # Errors
/// As [`json`].
pub(crate) fn post(url: &str, body: &Value) -> Result<Value> {
    answer(url, agent().post(url).send_json(body))
}

/// `PUT url` with a file's bytes.
///
/// # Errors
/// As [`json`].
pub(crate) fn put(url: &str, bytes: &[u8]) -> Result<Value> {
    answer(url, agent().put(url).send(bytes))
}

/// `DELETE url`.
///
/// # Errors
/// As [`json`].
pub(crate) fn delete(url: &str) -> Result<Value> {
    answer(url, agent().delete(url).call())
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The JSON of an answer that is a success.
fn answer(url: &str, response: Response) -> Result<Value> {
    serde_json::from_str(&body(url, response)?).with_context(|| format!("{url} is not JSON"))
}

/// The body of an answer that is a success.
fn body(url: &str, response: Response) -> Result<String> {
    let mut response = response.with_context(|| url.to_owned())?;
    let status = response.status();
    let body = response
        .body_mut()
        .with_config()
        .limit(ANSWER_MAX)
        .read_to_string()
        .with_context(|| url.to_owned())?;
    if !status.is_success() {
        bail!("{url}: {status}: {}", shortened(&body));
    }
    Ok(body)
}

/// Asks again and again until `ready` has an answer.
///
/// # Errors
/// When it has none in time: the last error it gave.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    mut ready: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match ready() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what} within {} s", within.as_secs())));
            }
            Err(_not_yet) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn shortened(body: &str) -> &str {
    let end = body
        .char_indices()
        .nth(300)
        .map_or(body.len(), |(at, _)| at);
    body.get(..end).unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_last_reason() {
        let mut asked = 0;
        let error = wait_for("an answer", Duration::from_millis(300), || -> Result<()> {
            asked += 1;
            bail!("reason {asked}")
        })
        .unwrap_err();
        assert!(asked >= 2);
        assert_eq!(
            format!("{error:#}"),
            format!("an answer within 0 s: reason {asked}")
        );
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        assert_eq!(shortened(&"ü".repeat(400)).chars().count(), 300);
        assert_eq!(shortened("short"), "short");
    }
}
