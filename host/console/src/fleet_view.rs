//! The fleet view at `/fleet`: every host of a fleet on one page, the odd ones first.
//!
//! A browser may not reach the hosts, and they do not know each other. So this host asks them, with
//! its own admin token, while a page is open. All pages share one reading. A page can change only
//! hosts that the DNS name of `--fleet` has at that moment.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Html;
use fleet::HostAddress;
use fleet::calls::{Call, Fleet, HostAnswer};
use fleet::odd_one_out::{Oddness, rank};
use fleet::summary::HostSummary;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use crate::page;
use admin_api::ApiState;
use admin_api::error::{ApiError, ErrorCode};
use admin_api::path_name::PathName;

/// How old a reading may be before a page makes the host ask again.
const MAX_AGE: Duration = Duration::from_millis(1500);

/// Readings of each host that a page draws: ten minutes, if a page asks every two seconds.
const MAX_POINTS: usize = 300;

/// Readings of all hosts together: 5 MB.
const MAX_POINTS_OF_ALL: usize = 300_000;

/// The most hosts that one page shows, the odd ones first.
const MAX_SHOWN: usize = 200;

/// The fleet, and what it last said.
pub(crate) struct FleetView {
    fleet: Fleet,
    state: Arc<ApiState>,
    last: Mutex<LastReading>,
}

#[derive(Default)]
struct LastReading {
    body: Option<(Instant, Arc<FleetBody>)>,
    history: History,
}

/// What each host was: its name, which it does not say while it does not answer, and its points.
type History = HashMap<HostAddress, (String, VecDeque<Point>)>;

/// Seconds since 1970, and resident bytes then.
type Point = (f64, u64);

/// The whole fleet.
#[derive(Debug, Serialize)]
pub(crate) struct FleetBody {
    /// Seconds since 1970.
    taken_at: f64,
    /// The hosts, the odd ones first.
    hosts: Vec<HostCard>,
    /// Hosts that are not listed, because there are too many.
    more: usize,
    asked: usize,
    leaking: usize,
    failed: usize,
    /// The leaks that can be switched.
    leaks: Vec<String>,
    /// Why there are no hosts.
    error: Option<String>,
}

/// One host.
#[derive(Debug, Serialize)]
struct HostCard {
    address: String,
    /// `none`, `memory`, `growth`, `no_answer`, `leak` or `critical`.
    oddness: &'static str,
    /// What it says of itself.
    #[serde(flatten)]
    summary: HostSummary,
    /// Why it does not answer.
    error: Option<String>,
    points: Vec<Point>,
}

/// Which hosts a switch is for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    enabled: bool,
    /// Addresses; all hosts by default.
    hosts: Option<Vec<String>>,
}

/// What a switch did.
#[derive(Debug, Serialize)]
pub(crate) struct Switched {
    done: usize,
    /// The hosts that did not do it, each with the reason.
    failed: Vec<String>,
}

impl FleetView {
    pub(crate) fn new(state: Arc<ApiState>, fleet: Fleet) -> Self {
        FleetView {
            fleet,
            state,
            last: Mutex::default(),
        }
    }

    async fn read(&self) -> Arc<FleetBody> {
        let mut last = self.last.lock().await;
        if let Some((at, body)) = &last.body
            && at.elapsed() < MAX_AGE
        {
            return body.clone();
        }
        let (answers, error) = match self.fleet.summaries().await {
            Ok(answers) => (answers, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let taken_at = SystemTime::now().duration_since(UNIX_EPOCH);
        let taken_at = taken_at.unwrap_or_default().as_secs_f64();
        // A query that failed says nothing about the hosts.
        if error.is_none() {
            record(&mut last.history, &answers, taken_at);
        }
        let plugins = self.state.registry.plugins();
        let mut body = FleetBody {
            taken_at,
            asked: answers.len(),
            leaking: answers.iter().filter(|host| leaks(host)).count(),
            failed: answers.iter().filter(|host| host.answer.is_err()).count(),
            more: answers.len().saturating_sub(MAX_SHOWN),
            hosts: Vec::new(),
            leaks: plugins
                .iter()
                .map(|plugin| plugin.id().to_owned())
                .collect(),
            error,
        };
        let shown = rank(answers).into_iter().take(MAX_SHOWN);
        body.hosts = shown
            .map(|(odd, host)| card(odd, host, &last.history))
            .collect();
        let body = Arc::new(body);
        last.body = Some((Instant::now(), body.clone()));
        body
    }
}

/// Adds a point for each host that answered, and drops the hosts that are gone.
fn record(history: &mut History, hosts: &[HostAnswer], now: f64) {
    let most = (MAX_POINTS_OF_ALL / hosts.len().max(1)).min(MAX_POINTS);
    for host in hosts {
        let (name, points) = history.entry(host.address.clone()).or_default();
        if let Some(summary) = &host.summary {
            name.clone_from(&summary.name);
            points.push_back((now, summary.rss_bytes));
        }
        while points.len() > most {
            points.pop_front();
        }
    }
    let known: HashSet<&HostAddress> = hosts.iter().map(|host| &host.address).collect();
    history.retain(|address, _| known.contains(address));
}

fn leaks(host: &HostAnswer) -> bool {
    let summary = host.summary.as_ref();
    summary.is_some_and(|summary| summary.verdict.is_leak())
}

fn card(oddness: Oddness, host: HostAnswer, history: &History) -> HostCard {
    let (name, points) = history.get(&host.address).cloned().unwrap_or_default();
    HostCard {
        points: points.into(),
        address: host.address.to_string(),
        oddness: match oddness {
            Oddness::None => "none",
            Oddness::Memory => "memory",
            Oddness::Growth => "growth",
            Oddness::NoAnswer => "no_answer",
            Oddness::Leak => "leak",
            Oddness::Critical => "critical",
        },
        summary: host.summary.unwrap_or_else(|| HostSummary {
            name,
            ..HostSummary::default()
        }),
        error: host.answer.err().map(|error| error.brief()),
    }
}

/// `GET /fleet`. The page has no data.
pub(crate) async fn show() -> Html<String> {
    Html(page::fleet_html())
}

/// `GET /console/fleet`.
pub(crate) async fn read(State(view): State<Arc<FleetView>>) -> Json<Arc<FleetBody>> {
    Json(view.read().await)
}

/// `POST /console/fleet/leaks/{leak}`.
pub(crate) async fn switch(
    State(view): State<Arc<FleetView>>,
    PathName(leak): PathName,
    body: Bytes,
) -> Result<Json<Switched>, ApiError> {
    let switch: Switch = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(
            ErrorCode::MalformedJson,
            error.to_string(),
            "send {\"enabled\": true}, with \"hosts\" for some of them; nothing was changed",
        )
    })?;
    let known = view.state.registry.get(&leak);
    let Some(plugin) = known else {
        let plugins = view.state.registry.plugins();
        let ids: Vec<&str> = plugins.iter().map(|plugin| plugin.id()).collect();
        return Err(ApiError::unknown_leak(&leak, &ids));
    };
    let body = json!({"enabled": switch.enabled});
    let call = Call::Post(format!("/admin/leaks/{}", plugin.id()), body);
    let answers = match &switch.hosts {
        None => view.fleet.call(&call).await,
        Some(hosts) => {
            view.fleet
                .only(members(&view, hosts).await?)
                .call(&call)
                .await
        }
    };
    let answers = answers.map_err(|error| no_hosts(&error.to_string()))?;
    view.last.lock().await.body = None;
    let failed = answers.iter().filter_map(|host| {
        let error = host.answer.as_ref().err()?;
        Some(format!("{}: {}", host.address, error.brief()))
    });
    let failed: Vec<String> = failed.collect();
    Ok(Json(Switched {
        done: answers.len() - failed.len(),
        failed,
    }))
}

/// These hosts, if all of them are in the fleet.
async fn members(view: &FleetView, hosts: &[String]) -> Result<Vec<HostAddress>, ApiError> {
    let all = view.fleet.addresses().await;
    let all = all.map_err(|error| no_hosts(&error.to_string()))?;
    hosts
        .iter()
        .map(|text| {
            let address: Option<HostAddress> = text.parse().ok();
            address
                .filter(|address| all.contains(address))
                .ok_or_else(|| no_hosts("the fleet has no host at one of these addresses"))
        })
        .collect()
}

fn no_hosts(message: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        message,
        "GET /console/fleet lists the hosts; nothing was changed",
    )
}
