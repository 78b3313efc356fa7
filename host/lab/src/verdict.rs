//! The verdict of the lab: what leaks, where, how fast, and when it ends, in one sentence.
//!
//! Once a second every plugin that has served requests is judged by [`guest_heap::verdict`]. The
//! windows are windows of calls, so a pause in the traffic is no evidence. [`LabVerdict::of`] turns
//! the verdicts on the plugins and the forecast of the process into one.

mod log;
mod plugin;
mod sentence;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_heap::verdict::{HostEvidence, Verdict};

use crate::forecast::{Forecast, NextStep};
use crate::heap::Heaps;
use crate::sample_history::{PluginSample, SampleHistory};
use plugin_host::registry::Registry;

use log::VerdictLog;
pub use plugin::PluginVerdict;

/// The end is near when less time is left.
const CRITICAL_SECONDS: f64 = 120.0;

/// What holds the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerdictKind {
    /// Nothing grows.
    #[default]
    None,
    /// The code of a plugin leaks.
    GuestLeak,
    /// The memory of a plugin grows, and it is too early to call it a leak.
    Growing,
    /// An allocator in a plugin holds free memory.
    Allocator,
    /// Garbage waits for a collector.
    Collector,
    /// The process grows, and no plugin does.
    Host,
    /// A cache fills up.
    Filling,
}

impl VerdictKind {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::GuestLeak => "guest_leak",
            Self::Growing => "growing",
            Self::Allocator => "allocator",
            Self::Collector => "collector",
            Self::Host => "host",
            Self::Filling => "filling",
        }
    }

    fn of_plugin(plugin: &PluginVerdict) -> Self {
        match Self::of(&plugin.verdict) {
            Self::GuestLeak if plugin.is_early => Self::Growing,
            kind => kind,
        }
    }

    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Leak { .. } | Verdict::HandlesLeak { .. } | Verdict::UnseenGrowth { .. } => {
                Self::GuestLeak
            }
            Verdict::AllocatorHoldsMemory { .. } => Self::Allocator,
            Verdict::CollectorHasNotRun { .. } => Self::Collector,
            Verdict::FillingCache { .. } => Self::Filling,
            Verdict::HostLeaks { .. } => Self::Host,
            Verdict::NoLeak => Self::None,
        }
    }

    /// The order in which kinds matter, most important first.
    fn rank(self) -> u8 {
        match self {
            Self::GuestLeak => 0,
            Self::Allocator => 1,
            Self::Host => 2,
            Self::Growing => 3,
            Self::Filling => 4,
            Self::Collector => 5,
            Self::None => 6,
        }
    }
}

/// How urgent a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Severity {
    /// Nothing is lost.
    #[default]
    Calm,
    /// Memory is lost.
    Leak,
    /// The limit is reached within two minutes.
    Critical,
}

impl Severity {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Leak => "leak",
            Self::Critical => "critical",
        }
    }
}

/// The verdict on the process and its plugins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabVerdict {
    /// What holds the memory.
    pub kind: VerdictKind,
    /// How urgent it is.
    pub severity: Severity,
    /// One sentence that can be read without anything else.
    pub sentence: String,
    /// The plugin that matters most.
    pub plugin: Option<String>,
    /// Its source line that grows most.
    pub location: Option<Arc<str>>,
    /// Bytes that one request leaves behind, of all plugins that leak.
    pub bytes_per_request: f64,
    /// The present rate of requests.
    pub requests_per_second: f64,
    /// Growth of the process.
    pub growth_bytes_per_second: f64,
    /// Seconds until a limit, of the process or of the plugin; 0 at the limit.
    pub seconds_to_limit: Option<f64>,
    /// The next step, if the memory of a plugin grows in steps.
    pub next_step: Option<NextStep>,
    /// What the verdict is based on, a sentence each.
    pub evidence: Vec<String>,
}

/// What the verdict is made from.
pub(crate) struct Findings {
    /// The plugins that were judged, in any order.
    pub(crate) plugins: Vec<PluginVerdict>,
    /// The forecast of the process.
    pub(crate) process: Forecast,
    /// Growth of the host without the plugins; zero if it does not go on.
    pub(crate) host_bytes_per_second: f64,
    /// The limit of the process.
    pub(crate) limit_bytes: Option<u64>,
}

impl LabVerdict {
    /// The verdict of a host that is to give none.
    fn withheld() -> Self {
        LabVerdict {
            sentence: "A mystery runs: which plugins leak is for you to find out.".to_owned(),
            ..Self::default()
        }
    }

    /// The verdict on these findings.
    pub(crate) fn of(findings: &Findings) -> Self {
        let growth = findings.process.growth;
        let host = Verdict::of_host(HostEvidence {
            resident_bytes_per_second: findings.host_bytes_per_second,
            guests_bytes_per_second: 0.0,
        });
        let guest_kind = |p: &PluginVerdict| VerdictKind::of_plugin(p);
        let kinds = findings.plugins.iter().map(guest_kind);
        let kinds = kinds.chain(host.as_ref().map(VerdictKind::of));
        let kind = kinds.min_by_key(|kind| kind.rank()).unwrap_or_default();
        let plugins = findings.plugins.iter();
        let mut plugins: Vec<&PluginVerdict> = plugins.filter(|p| guest_kind(p) == kind).collect();
        plugins.sort_by_key(|p| Reverse(p.bytes_per_request.round() as i64));
        let worst = plugins.first().filter(|_| kind != VerdictKind::None);
        let mut verdict = LabVerdict {
            kind,
            severity: Severity::Calm,
            sentence: String::new(),
            plugin: worst.map(|p| p.plugin.clone()),
            location: worst.and_then(|p| p.lines.first().map(|line| line.location.clone())),
            bytes_per_request: plugins.iter().fold(0.0, |sum, p| sum + p.bytes_per_request),
            requests_per_second: growth.requests_per_second,
            growth_bytes_per_second: growth.bytes_per_second,
            seconds_to_limit: findings.process.seconds_to_limit,
            next_step: None,
            evidence: Vec::new(),
        };
        let own_limit = plugins.iter().filter_map(|p| {
            let (seconds, bytes) = p.own_limit?;
            Some((seconds, bytes, p.plugin.as_str()))
        });
        let first_own = own_limit.min_by(|a, b| a.0.total_cmp(&b.0));
        let own = first_own.filter(|own| verdict.seconds_to_limit.is_none_or(|all| own.0 < all));
        if let Some((seconds, ..)) = own {
            verdict.seconds_to_limit = Some(seconds);
        }
        let is_near = verdict
            .seconds_to_limit
            .is_some_and(|seconds| seconds < CRITICAL_SECONDS);
        verdict.severity = match kind {
            VerdictKind::GuestLeak | VerdictKind::Allocator | VerdictKind::Host => match is_near {
                true => Severity::Critical,
                false => Severity::Leak,
            },
            // Whatever it is, the limit is near.
            VerdictKind::Growing if is_near => Severity::Critical,
            _ => Severity::Calm,
        };
        let stepping = match own {
            Some((_, _, id)) => plugins.iter().find(|p| p.plugin == id),
            None => plugins.iter().find(|p| p.next_step.is_some()),
        };
        let of_process = findings.process.next_step.map(|step| step.is_refused);
        verdict.next_step = stepping.and_then(|p| p.next_step).map(|step| NextStep {
            is_refused: step.is_refused || own.is_none() && of_process == Some(true),
            ..step
        });
        verdict.sentence = sentence::sentence(&verdict, &plugins, findings, own);
        verdict.evidence = sentence::evidence(&plugins, findings);
        verdict
    }

    /// Whether memory is lost.
    pub fn is_leak(&self) -> bool {
        self.severity != Severity::Calm
    }
}

/// Judges the plugins once a second and keeps the last verdict.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    published: Mutex<Arc<LabVerdict>>,
    known: Mutex<BTreeMap<String, KnownVerdict>>,
    log: Mutex<VerdictLog>,
}

/// A verdict, and the sample that it is of: an idle plugin is not judged again.
#[derive(Debug)]
struct KnownVerdict {
    sample: PluginSample,
    enabled: bool,
    verdict: Option<PluginVerdict>,
}

impl Judge {
    /// The last verdict.
    pub(crate) fn verdict(&self) -> Arc<LabVerdict> {
        lock(&self.published).clone()
    }

    /// Judges every plugin whose sample has changed, and the process. `own_limit` returns the
    /// forecast of a plugin with a limit of its own.
    pub(crate) fn judge(
        &self,
        (registry, heaps, history): (&Registry, &Heaps, &SampleHistory),
        process: Forecast,
        host_bytes_per_second: f64,
        limit_bytes: Option<u64>,
    ) {
        if registry.is_masked() {
            // The plugins run under other names, because somebody is to find the leak without help.
            *lock(&self.published) = Arc::new(LabVerdict::withheld());
            return;
        }
        let mut plugins = Vec::new();
        let mut known = lock(&self.known);
        let loaded = registry.plugins();
        known.retain(|id, _| loaded.binary_search_by(|p| p.id().cmp(id)).is_ok());
        for plugin in loaded.iter() {
            let (sample, enabled) = (PluginSample::of(plugin), plugin.enabled());
            let before = known.get(plugin.id());
            let is_known =
                before.is_some_and(|known| known.sample == sample && known.enabled == enabled);
            if !is_known {
                let before = before.and_then(|known| known.verdict.as_ref());
                let verdict = plugin::judge(plugin, heaps, history, before);
                let judged = KnownVerdict {
                    sample,
                    enabled,
                    verdict,
                };
                known.insert(plugin.id().to_owned(), judged);
            }
            let verdict = known
                .get(plugin.id())
                .and_then(|known| known.verdict.clone());
            plugins.extend(verdict.map(|verdict| verdict.with_forecast(plugin, history)));
        }
        drop(known);
        let verdict = LabVerdict::of(&Findings {
            plugins,
            process,
            host_bytes_per_second,
            limit_bytes,
        });
        lock(&self.log).report(&verdict);
        *lock(&self.published) = Arc::new(verdict);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
