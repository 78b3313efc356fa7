//! `/debug/pprof/heap` and `/debug/pprof/allocs`, with the parameters of Go's `net/http/pprof`.
//!
//! | parameter | meaning |
//! |---|---|
//! | `seconds` | wait for so many seconds, and answer what has changed in them |
//! | `debug` | 0: the protobuf format, gzipped. Other numbers: text |
//! | `gc` | accepted. The collector of a guest, if it has one, belongs to the guest |
//!
//! A parameter with an empty value counts as missing, as in Go. Unlike Go, which reads a malformed
//! number as 0, this refuses it, and `seconds` has a maximum.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
pub use guest_heap::pprof::ProfileKind;
use guest_heap::pprof::{ProfileBuilder, text};
use guest_heap::snapshot::Snapshot;
use tokio::sync::Semaphore;

use crate::query::InvalidParameter;

/// The largest `seconds`.
const MAX_SECONDS: u64 = 900;

/// Profiles with `seconds` at a time. Each keeps a snapshot of the guests while it waits.
const MAX_WAITING: usize = 8;

/// The guests' heaps by name.
pub type NamedSnapshots = Vec<(String, Arc<Snapshot>)>;

/// Why a profile cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A parameter is out of range.
    #[error(transparent)]
    Invalid(#[from] InvalidParameter),
    /// Too many profiles with `seconds` are being made.
    #[error("{MAX_WAITING} profiles with seconds are being made already")]
    TooMany,
    /// The encoder has failed.
    #[error("{0}")]
    Internal(String),
}

/// What a request for a profile asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileRequest {
    kind: ProfileKind,
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Protobuf,
    Text,
    /// The changes within this time, as protobuf.
    Change(Duration),
}

impl ProfileRequest {
    /// Reads the three parameters.
    ///
    /// # Errors
    ///
    /// When one of them is out of range, or when `seconds` and `debug` are combined.
    pub fn new(
        kind: ProfileKind,
        seconds: Option<&str>,
        debug: Option<&str>,
        gc: Option<&str>,
    ) -> Result<Self, InvalidParameter> {
        let number = |name, value: Option<&str>| match value {
            None | Some("") => Ok(0),
            Some(value) => value.parse::<i64>().map_err(|_| InvalidParameter {
                name,
                accepts: "takes a whole number",
            }),
        };
        number("gc", gc)?;
        let is_text = number("debug", debug)? != 0;
        let output = match seconds {
            None | Some("") if is_text => Output::Text,
            None | Some("") => Output::Protobuf,
            Some(_) if is_text => {
                return Err(InvalidParameter {
                    name: "seconds",
                    accepts: "cannot be combined with debug",
                });
            }
            Some(seconds) => match seconds.parse() {
                Ok(seconds) if (1..=MAX_SECONDS).contains(&seconds) => {
                    Output::Change(Duration::from_secs(seconds))
                }
                _ => {
                    return Err(InvalidParameter {
                        name: "seconds",
                        accepts: "takes a whole number from 1 to 900",
                    });
                }
            },
        };
        Ok(Self { kind, output })
    }
}

/// Makes profiles, and bounds how many wait at a time.
#[derive(Debug)]
pub struct Profiles {
    waiting: Semaphore,
}

impl Default for Profiles {
    fn default() -> Self {
        Self {
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

impl Profiles {
    /// Answers a request. `read` reads the guests: once, or twice for a change.
    ///
    /// # Errors
    ///
    /// Those of `read`, and [`ProfileError`].
    pub async fn respond<E, F>(
        &self,
        request: ProfileRequest,
        read: impl Fn() -> F,
    ) -> Result<Response, E>
    where
        E: From<ProfileError>,
        F: Future<Output = Result<NamedSnapshots, E>>,
    {
        let kind = request.kind;
        match request.output {
            Output::Text => {
                let guests = read().await?;
                let text = blocking(move || text::live_bytes(&borrowed(&guests))).await?;
                let headers = [
                    (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                ];
                Ok((headers, text).into_response())
            }
            Output::Protobuf => {
                let guests = read().await?;
                let encoded = blocking(move || {
                    let mut profile = ProfileBuilder::of_kind(kind, SystemTime::now());
                    for (name, snapshot) in &guests {
                        profile.add(name, snapshot);
                    }
                    profile.encode()
                });
                let file = format!("{}.pb.gz", kind.name());
                Ok((attachment(&file), encoded.await?).into_response())
            }
            Output::Change(window) => {
                let permit = self.waiting.try_acquire();
                let _permit = permit.map_err(|_| ProfileError::TooMany)?;
                let earlier = read().await?;
                let began = Instant::now();
                tokio::time::sleep(window).await;
                let guests = read().await?;
                let covered = began.elapsed();
                let encoded = blocking(move || change(kind, covered, &earlier, &guests));
                let file = format!("{}-delta.pb.gz", kind.name());
                Ok((attachment(&file), encoded.await?).into_response())
            }
        }
    }
}

/// What has changed in the guests that run at the end. A guest that was not there at the begin
/// held nothing then.
fn change(
    kind: ProfileKind,
    covered: Duration,
    earlier: &NamedSnapshots,
    now: &NamedSnapshots,
) -> Vec<u8> {
    let mut profile = ProfileBuilder::of_kind(kind, SystemTime::now());
    profile.set_duration(covered);
    for (name, snapshot) in now {
        match earlier.iter().find(|(known, _)| known == name) {
            Some((_, before)) => profile.add_difference(name, before, snapshot),
            None => profile.add(name, snapshot),
        }
    }
    profile.encode()
}

fn borrowed(guests: &NamedSnapshots) -> Vec<(&str, &Snapshot)> {
    let guests = guests.iter();
    guests
        .map(|(name, snapshot)| (name.as_str(), &**snapshot))
        .collect()
}

fn attachment(file: &str) -> [(HeaderName, String); 3] {
    [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{file}\""),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]
}

/// Runs work that takes long where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProfileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ProfileError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(seconds: &str, debug: &str, gc: &str) -> Result<Output, &'static str> {
        ProfileRequest::new(ProfileKind::Heap, Some(seconds), Some(debug), Some(gc))
            .map(|request| request.output)
            .map_err(|error| error.name)
    }

    #[test]
    fn the_parameters_are_those_of_go() {
        assert_eq!(output("", "", ""), Ok(Output::Protobuf));
        assert_eq!(output("", "0", "1"), Ok(Output::Protobuf));
        for text in ["1", "2", "-1"] {
            assert_eq!(output("", text, "0"), Ok(Output::Text), "{text}");
        }
        let five = Output::Change(Duration::from_secs(5));
        assert_eq!(output("5", "", ""), Ok(five));
        assert_eq!(output("5", "0", ""), Ok(five));
        for wrong in ["0", "-1", "901", "x", "1.5", "99999999999999999999"] {
            assert_eq!(output(wrong, "", ""), Err("seconds"), "{wrong}");
        }
        assert_eq!(output("5", "1", ""), Err("seconds"));
        assert_eq!(output("", "x", ""), Err("debug"));
        assert_eq!(output("", "", "yes"), Err("gc"));
    }
}
