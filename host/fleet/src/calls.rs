//! One call to each host, many at once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::address::HostAddress;
use crate::client::{self, AdminClient, AskError, Timeouts};
use crate::selection::Selection;
use crate::source::{Source, SourceError};
use crate::summary::HostSummary;

/// Hosts that are asked at once by default.
pub const DEFAULT_CONCURRENCY: usize = 128;

/// Time limit of a call that only reads.
pub const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of a call that changes a host or makes it work. An upload compiles a component, and a
/// first diff reads the symbols of each plugin.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of what a host says of itself, of an answer to a change, and of a diff, which has
/// at most 2,000 rows. An answer without an end stops there.
const MAX_SUMMARY_BYTES: usize = 64 << 10;
const MAX_CHANGE_BYTES: usize = 1 << 20;
const MAX_DIFF_BYTES: usize = 4 << 20;

/// A call of the admin API.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `GET` of this path.
    Get(String),
    /// `GET` of a path that takes the host some work. It has the time limit of a change.
    GetLong(String),
    /// `POST` to this path, with this body.
    Post(String, Value),
    /// `PUT` of these bytes to this path.
    Put(String, Bytes),
}

/// What one host answered.
#[derive(Debug)]
pub struct HostAnswer {
    /// Its address.
    pub address: HostAddress,
    /// What it says of itself, if it answered that.
    pub summary: Option<HostSummary>,
    /// The answer to the call.
    pub answer: Result<Value, AskError>,
}

/// A fleet of hosts.
#[derive(Debug, Clone)]
pub struct Fleet {
    source: Source,
    selection: Selection,
    http: reqwest::Client,
    token: Option<String>,
    timeouts: Timeouts,
    concurrency: usize,
}

/// How a fleet is asked.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Where the addresses come from.
    pub source: Source,
    /// Which hosts are meant.
    pub selection: Selection,
    /// The token of the admin API.
    pub token: Option<String>,
    /// Time limits of a connect and of a call that reads. A call that changes a host has at least
    /// [`CHANGE_TIMEOUT`].
    pub timeouts: Timeouts,
    /// Hosts that are asked at once, from 1.
    pub concurrency: usize,
}

impl Fleet {
    /// A fleet. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AskError::Unreachable`] if this process cannot make connections.
    pub fn new(options: FleetOptions) -> Result<Self, AskError> {
        Ok(Fleet {
            source: options.source,
            selection: options.selection,
            http: client::http(options.timeouts.connect)?,
            token: options.token,
            timeouts: options.timeouts,
            concurrency: options.concurrency.max(1),
        })
    }

    /// The same for these hosts, all of them.
    #[must_use]
    pub fn only(&self, hosts: Vec<HostAddress>) -> Self {
        Fleet {
            source: Source::Hosts(hosts),
            selection: Selection::default(),
            ..self.clone()
        }
    }

    /// The addresses of all hosts now, whether they are selected or not.
    ///
    /// # Errors
    ///
    /// A [`SourceError`].
    pub async fn addresses(&self) -> Result<Vec<HostAddress>, SourceError> {
        self.source.addresses().await
    }

    /// What each selected host says of itself, in the order of the addresses.
    ///
    /// # Errors
    ///
    /// A [`SourceError`] if there are no addresses.
    pub async fn summaries(&self) -> Result<Vec<HostAnswer>, SourceError> {
        let call = Call::Get("/admin/host".to_owned());
        self.call(&call).await
    }

    /// Makes this call to each selected host. The answers are in the order of the addresses.
    ///
    /// With labels in the selection, a host that does not say its labels is in the answers with
    /// its error, because it may be one that is meant.
    ///
    /// # Errors
    ///
    /// A [`SourceError`] if there are no addresses.
    pub async fn call(&self, call: &Call) -> Result<Vec<HostAnswer>, SourceError> {
        let addresses = self.source.addresses().await?;
        if self.selection.labels.is_empty() {
            let count = self.selection.amount.of(addresses.len());
            let addresses: Vec<_> = addresses.into_iter().take(count).collect();
            return Ok(self
                .each(addresses, |address| self.ask(address, call))
                .await);
        }
        let hosts = self
            .each(addresses, |address| self.summary_of(address))
            .await;
        let (answered, mut answers): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|host| host.summary.is_some());
        let has_labels = |host: &HostAnswer| {
            let summary = host.summary.as_ref();
            summary.is_some_and(|host| self.selection.labels.iter().all(|l| l.matches(host)))
        };
        let mut meant: Vec<_> = answered.into_iter().filter(has_labels).collect();
        meant.truncate(self.selection.amount.of(meant.len()));
        answers.extend(self.each(meant, |host| self.ask_known(host, call)).await);
        answers.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(answers)
    }

    /// Runs one future for each item, at most `concurrency` at once. The results have the order of
    /// the items.
    async fn each<T, F: Future<Output = HostAnswer>>(
        &self,
        items: Vec<T>,
        ask: impl Fn(T) -> F,
    ) -> Vec<HostAnswer> {
        let asked = stream::iter(items).map(ask);
        let mut answers: Vec<_> = asked.buffer_unordered(self.concurrency).collect().await;
        answers.sort_by(|a, b| a.address.cmp(&b.address));
        answers
    }

    fn client(&self, address: &HostAddress, time_limit: Duration) -> Result<AdminClient, AskError> {
        let url = format!("http://{address}");
        AdminClient::with_http(self.http.clone(), &url, self.token.clone(), time_limit)
    }

    async fn summary_of(&self, address: HostAddress) -> HostAnswer {
        let answer = match self.client(&address, self.timeouts.call) {
            Ok(client) => {
                let client = client.with_max_answer(MAX_SUMMARY_BYTES);
                let answer = client.get("/admin/host").await;
                // JSON of something else, or of a version that says less, is no calm host.
                answer.and_then(|answer| match summary_in(&answer) {
                    Some(_) => Ok(answer),
                    None => Err(client.no_admin_api()),
                })
            }
            Err(error) => Err(error),
        };
        HostAnswer {
            summary: answer.as_ref().ok().and_then(summary_in),
            address,
            answer,
        }
    }

    /// Asks who the host is, and then makes the call.
    async fn ask(&self, address: HostAddress, call: &Call) -> HostAnswer {
        let host = self.summary_of(address).await;
        // Only a host that has this endpoint and hides it can still answer: one that plays a game.
        match host.answer {
            Err(AskError::Refused { .. }) | Ok(_) => self.ask_known(host, call).await,
            Err(_) => host,
        }
    }

    async fn ask_known(&self, host: HostAnswer, call: &Call) -> HostAnswer {
        let summary_call = Call::Get("/admin/host".to_owned());
        if *call == summary_call {
            return host;
        }
        let HostAnswer {
            address, summary, ..
        } = host;
        let answer = self.make(&address, call).await;
        HostAnswer {
            address,
            summary,
            answer,
        }
    }

    async fn make(&self, address: &HostAddress, call: &Call) -> Result<Value, AskError> {
        let (time_limit, max_bytes) = match call {
            Call::Get(_) => (self.timeouts.call, MAX_CHANGE_BYTES),
            Call::GetLong(_) => (self.timeouts.call.max(CHANGE_TIMEOUT), MAX_DIFF_BYTES),
            Call::Post(..) | Call::Put(..) => {
                (self.timeouts.call.max(CHANGE_TIMEOUT), MAX_CHANGE_BYTES)
            }
        };
        let client = self.client(address, time_limit)?;
        let client = client.with_max_answer(max_bytes);
        match call {
            Call::Get(path) | Call::GetLong(path) => client.get(path).await,
            Call::Post(path, body) => client.post_json(path, body).await,
            Call::Put(path, bytes) => client.put(path, bytes.clone()).await,
        }
    }
}

fn summary_in(answer: &Value) -> Option<HostSummary> {
    let summary: HostSummary = serde_json::from_value(answer.clone()).ok()?;
    (!summary.verdict.severity.is_empty()).then_some(summary)
}

#[cfg(test)]
mod tests;
