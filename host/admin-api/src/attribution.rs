//! How precisely a plugin's heap is attributed to source lines, and what that is based on.

use guest_heap::{Attribution, Coverage, InstrumentedMeta};
use plugin_host::driver::published_state::{PluginDetails, PluginReading};
use serde::Serialize;
use utoipa::ToSchema;

/// The attribution of one plugin's heap. The numbers are of the current instance; they are null
/// without attribution.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributionBody {
    /// How much of the heap is attributed to source lines: `exact`, `partial` or `off`. It is
    /// `exact` only while the unseen bytes, the unknown frees, the lost bytes and the overflow are
    /// zero.
    attribution: &'static str,
    /// Why it is not `exact`, or why the program of an interpreter has no source lines.
    attribution_why: Option<String>,
    /// Live bytes, at least. Equal to the counted live bytes, or 0 if frees may be missed.
    heap_live_at_least_bytes: Option<u64>,
    /// Live bytes, at most; null if there is no bound. Equal to the counted live bytes unless
    /// allocations may be missed, and then the linear memory.
    heap_live_at_most_bytes: Option<u64>,
    /// Bytes of static data and stack, at least: memory that no allocator has handed out.
    static_bytes: Option<u64>,
    /// Bytes of the memory at the start behind these: other static data, or heap.
    initial_heap_bytes: Option<u64>,
    /// Bytes by which linear memory grew for the allocator that the profiler sees.
    heap_seen_bytes: Option<u64>,
    /// Bytes by which linear memory grew otherwise: their blocks are in no line.
    heap_unseen_bytes: Option<u64>,
    /// The allocator's functions that the profiler sees, for each core module that it instruments.
    entry_points: Vec<EntryPoints>,
    /// Frees of blocks whose allocation the profiler did not see.
    unknown_frees: Option<u64>,
    /// Bytes of the blocks for which the profiler got no memory.
    lost_bytes: Option<u64>,
    /// Allocations whose call stack found no room in the profiler, so that it was folded.
    overflowed: Option<u64>,
}

/// The allocator's functions in one core module.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryPoints {
    /// The number of the core module in the component, from 0.
    module: u32,
    /// Such as `malloc` and `free`. Empty if the profiler found none, and counts only growth.
    names: Vec<String>,
}

impl AttributionBody {
    pub(crate) fn of(details: &PluginDetails, reading: &PluginReading) -> Self {
        let attribution = details.attribution(reading);
        let is_off = matches!(attribution, Attribution::Off { .. });
        let coverage = &reading.coverage;
        let known = |number: fn(&Coverage) -> u64| (!is_off).then(|| number(coverage));
        let live = reading.heap_live.unwrap_or_default();
        let range = coverage.live_range(&details.profile, live);
        AttributionBody {
            attribution: name(&attribution),
            heap_live_at_least_bytes: (!is_off).then_some(range.at_least),
            heap_live_at_most_bytes: range.at_most,
            static_bytes: known(|coverage| coverage.static_bytes),
            initial_heap_bytes: known(|coverage| coverage.initial_heap_bytes),
            heap_seen_bytes: known(|coverage| coverage.heap_seen_bytes),
            heap_unseen_bytes: known(|coverage| coverage.heap_unseen_bytes),
            entry_points: entry_points(&details.profile),
            unknown_frees: known(|coverage| coverage.unknown_frees),
            lost_bytes: known(|coverage| coverage.lost_bytes),
            overflowed: known(|coverage| coverage.overflowed),
            attribution_why: why(attribution, details.profile.without_lines()),
        }
    }

    /// `None` if it is `exact`, for answers that mention only what is not.
    pub(crate) fn unless_exact(self) -> Option<Self> {
        (!self.is_exact()).then_some(self)
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.attribution == name(&Attribution::Exact)
    }

    /// `exact`, `partial` or `off`.
    pub(crate) fn name(&self) -> &'static str {
        self.attribution
    }

    /// Why it is not exact.
    pub(crate) fn why(&self) -> Option<&str> {
        self.attribution_why.as_deref()
    }
}

fn entry_points(profile: &InstrumentedMeta) -> Vec<EntryPoints> {
    let modules = profile.modules().iter();
    let modules = modules.map(|module| EntryPoints {
        module: module.index,
        names: module.entry_points.clone(),
    });
    modules.collect()
}

fn name(attribution: &Attribution) -> &'static str {
    match attribution {
        Attribution::Exact => "exact",
        Attribution::Partial { .. } => "partial",
        Attribution::Off { .. } => "off",
    }
}

fn why(attribution: Attribution, without_lines: Option<&str>) -> Option<String> {
    let why = match attribution {
        Attribution::Exact => None,
        Attribution::Partial { why } | Attribution::Off { why } => Some(why),
    };
    let reasons: Vec<&str> = why.as_deref().into_iter().chain(without_lines).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The attribution of all plugins together: sums, and the reasons of all plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TotalAttribution {
    /// `exact` or `off` if all plugins are, otherwise `partial`.
    attribution: &'static str,
    /// Why it is not `exact`, by plugin.
    attribution_why: Option<String>,
    /// The same text as `attribution_why`.
    why: Option<String>,
    /// Live bytes, at least.
    heap_live_at_least_bytes: u64,
    /// Live bytes, at most; null if a plugin has no bound.
    heap_live_at_most_bytes: Option<u64>,
    /// Bytes of static data and stack, at least.
    static_bytes: u64,
    /// Bytes of the memories at the start behind these: other static data, or heap.
    initial_heap_bytes: u64,
    /// Bytes by which linear memory grew for the allocators that the profiler sees.
    heap_seen_bytes: u64,
    /// Bytes by which linear memory grew otherwise: their blocks are in no line.
    heap_unseen_bytes: u64,
    /// The allocator's functions that the profiler sees, by plugin and core module.
    entry_points: Vec<PluginEntryPoints>,
    /// Frees of blocks whose allocation the profiler did not see.
    unknown_frees: u64,
    /// Bytes of the blocks for which the profiler got no memory.
    lost_bytes: u64,
    /// Allocations whose call stack found no room in the profiler, so that it was folded.
    overflowed: u64,
}

/// The attribution of all plugins together, in short where it is exact.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ListedAttribution {
    Complete(TotalAttribution),
    Exact {
        attribution: &'static str,
        attribution_why: Option<String>,
    },
}

/// The allocator's functions in one core module of a plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginEntryPoints {
    plugin: String,
    #[serde(flatten)]
    entry_points: EntryPoints,
}

impl TotalAttribution {
    /// The attribution of these plugins, by their names.
    pub(crate) fn of<'a>(plugins: impl Iterator<Item = (&'a str, AttributionBody)>) -> Self {
        let mut total = TotalAttribution {
            attribution: "off",
            attribution_why: None,
            why: None,
            heap_live_at_least_bytes: 0,
            heap_live_at_most_bytes: Some(0),
            static_bytes: 0,
            initial_heap_bytes: 0,
            heap_seen_bytes: 0,
            heap_unseen_bytes: 0,
            entry_points: Vec::new(),
            unknown_frees: 0,
            lost_bytes: 0,
            overflowed: 0,
        };
        let mut names = Vec::new();
        let mut reasons = Vec::new();
        for (plugin, body) in plugins {
            names.push(body.name());
            reasons.extend(body.why().map(|why| format!("{plugin}: {why}")));
            total.heap_live_at_most_bytes = total
                .heap_live_at_most_bytes
                .zip(body.heap_live_at_most_bytes)
                .map(|(sum, more)| sum.saturating_add(more));
            for (sum, more) in [
                (
                    &mut total.heap_live_at_least_bytes,
                    body.heap_live_at_least_bytes,
                ),
                (&mut total.static_bytes, body.static_bytes),
                (&mut total.initial_heap_bytes, body.initial_heap_bytes),
                (&mut total.heap_seen_bytes, body.heap_seen_bytes),
                (&mut total.heap_unseen_bytes, body.heap_unseen_bytes),
                (&mut total.unknown_frees, body.unknown_frees),
                (&mut total.lost_bytes, body.lost_bytes),
                (&mut total.overflowed, body.overflowed),
            ] {
                *sum = sum.saturating_add(more.unwrap_or(0));
            }
            let entry_points = body.entry_points.into_iter();
            total
                .entry_points
                .extend(entry_points.map(|entry_points| PluginEntryPoints {
                    plugin: plugin.to_owned(),
                    entry_points,
                }));
        }
        total.attribution = match names.split_first() {
            None => "off",
            Some((first, rest)) if rest.iter().all(|name| name == first) => first,
            Some(_) => "partial",
        };
        let why = if names.is_empty() {
            "no plugin is loaded".to_owned()
        } else {
            reasons.join("; ")
        };
        total.attribution_why = (!why.is_empty()).then_some(why);
        total.why.clone_from(&total.attribution_why);
        total
    }

    /// The same in short where it is exact; elsewhere with the entry points of these plugins only.
    pub(crate) fn short(self, shows: impl Fn(&str) -> bool) -> ListedAttribution {
        if self.attribution == name(&Attribution::Exact) {
            return ListedAttribution::Exact {
                attribution: self.attribution,
                attribution_why: self.attribution_why,
            };
        }
        let mut entry_points = self.entry_points;
        entry_points.retain(|of| shows(&of.plugin));
        ListedAttribution::Complete(TotalAttribution {
            entry_points,
            ..self
        })
    }
}
