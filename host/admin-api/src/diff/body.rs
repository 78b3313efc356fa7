//! The answer of a diff.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use guest_heap::diff::{Change, Diff};
use guest_heap_inspector::stack::{ResizedBlocks, TraceFrame};
use serde::Serialize;
use utoipa::ToSchema;

use crate::attribution::AttributionBody;
use crate::heap_query::Rows;
use crate::units::{difference, signed_mib};
use lab::heap::baselines::LabBaseline;
use lab::sample_history::PluginSample;
use plugin_host::driver::handle::Plugin;

/// The change of one line, function, file or call stack.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeRow {
    /// `plugins/cache/src/lib.rs:42`.
    location: String,
    plugin: String,
    function: String,
    /// Growth of the live bytes, in KiB.
    size_diff_kb: f64,
    /// The same in bytes.
    size_diff_bytes: i64,
    /// Growth of the number of live objects.
    count_diff: i64,
    /// Live KiB now.
    current_size_kb: f64,
    /// The same in bytes.
    current_size_bytes: u64,
    /// Set if it has resized blocks that live now, as in the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    resized: Option<ResizedBlocks>,
    /// The call stack, innermost frame first; only with `group_by=trace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<TraceFrame>,
}

impl ChangeRow {
    fn of(plugin: &str, change: &Change) -> Self {
        ChangeRow {
            location: change.location.to_string(),
            plugin: plugin.to_owned(),
            function: change.site.function.to_string(),
            size_diff_kb: change.bytes as f64 / 1024.0,
            size_diff_bytes: change.bytes,
            count_diff: change.objects,
            current_size_kb: change.current_bytes as f64 / 1024.0,
            current_size_bytes: change.current_bytes,
            resized: change.resized.as_ref().map(ResizedBlocks::from),
            trace: TraceFrame::stack(&change.frames),
        }
    }
}

/// The change of one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginChange {
    linear_memory_diff_mb: f64,
    linear_memory_diff_bytes: i64,
    heap_live_diff_mb: f64,
    heap_live_diff_bytes: i64,
    retained_objects_diff: i64,
    /// Requests since the baseline, or since the plugin's last restart if that was later.
    requests: u64,
    /// Whether the plugin got a fresh instance since the baseline. Left out if not, unless the
    /// answer has all fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted: Option<bool>,
    /// Left out while it is `exact`, unless the answer has all fields.
    #[serde(flatten)]
    #[schema(ignore)]
    attribution: Option<AttributionBody>,
}

impl PluginChange {
    pub(super) fn since(then: &LabBaseline, plugin: &Plugin, is_complete: bool) -> Self {
        let now = PluginSample::of(plugin);
        let then = then.of(plugin).map(|p| p.sample).unwrap_or_default();
        let restarted = now.generation != then.generation;
        let linear = difference(now.linear_bytes, then.linear_bytes);
        let live = difference(now.heap_live_bytes, then.heap_live_bytes);
        let attribution = AttributionBody::of(&plugin.details(), &plugin.reading());
        PluginChange {
            linear_memory_diff_mb: signed_mib(linear),
            linear_memory_diff_bytes: linear,
            heap_live_diff_mb: signed_mib(live),
            heap_live_diff_bytes: live,
            retained_objects_diff: difference(now.retained_objects, then.retained_objects),
            requests: if restarted {
                now.requests
            } else {
                now.requests.saturating_sub(then.requests)
            },
            restarted: (restarted || is_complete).then_some(restarted),
            attribution: match is_complete {
                true => Some(attribution),
                false => attribution.unless_exact(),
            },
        }
    }

    /// Whether the plugin's memory changed.
    pub(super) fn is_change(&self) -> bool {
        self.linear_memory_diff_bytes != 0 || self.heap_live_diff_bytes != 0
    }
}

/// The answer to the first call: the present is the baseline of the next call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BaselineSet {
    /// `baseline_set`.
    pub(super) status: &'static str,
    pub(super) message: &'static str,
    /// Live MiB of all plugins now.
    pub(super) baseline_size_mb: f64,
    /// The same in bytes.
    pub(super) baseline_size_bytes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffComputed {
    /// `diff_computed`.
    pub(super) status: &'static str,
    /// What the heap is compared with: `the last diff`, `the named baseline NAME` or `the host's
    /// history`.
    pub(super) baseline: String,
    /// That the window of `since` is shorter than asked for, because it begins after the last clear
    /// of a plugin that the answer shows; or that it spans a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<String>,
    /// Rows that grew, largest growth first. Without a `limit`, only the rows that changed most
    /// are listed, of both lists together.
    pub(super) growing_allocations: Vec<ChangeRow>,
    /// Rows that shrank, largest loss first.
    pub(super) shrinking_allocations: Vec<ChangeRow>,
    /// The plugins of the exercises, and those that are in use or changed.
    pub(super) plugins: BTreeMap<String, PluginChange>,
    /// Growth of the live bytes of all rows, also those that are not listed, in MiB.
    pub(super) total_growth_mb: f64,
    /// The same in bytes.
    pub(super) total_growth_bytes: i64,
    /// Requests to `/api/data` since the baseline.
    pub(super) requests_since_baseline: u64,
    /// Growth per request; null without a request.
    pub(super) bytes_per_request: Option<f64>,
    /// How to list the rows that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<&'static str>,
    pub(super) tip: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DiffBody {
    Set(BaselineSet),
    Computed(DiffComputed),
}

impl DiffComputed {
    /// The answer without its plugins.
    pub(super) fn of(
        baseline: String,
        diffs: &[(String, Diff)],
        rows: Rows,
        requests: u64,
    ) -> Self {
        let total = diffs.iter().map(|(_, diff)| diff.bytes).sum();
        let of_all = |changes: fn(&Diff) -> &[Change]| {
            let changes = diffs
                .iter()
                .flat_map(|(plugin, diff)| changes(diff).iter().map(|c| ChangeRow::of(plugin, c)));
            let mut changes: Vec<ChangeRow> = changes.collect();
            changes.sort_by_key(|row| Reverse(row.size_diff_bytes.unsigned_abs()));
            changes
        };
        let mut growing = of_all(|diff| &diff.growing);
        let mut shrinking = of_all(|diff| &diff.shrinking);
        let found = growing.len() + shrinking.len();
        growing.truncate(rows.of_list());
        shrinking.truncate(rows.of_list());
        if rows == Rows::Largest {
            // Both lists together have the rows of one list.
            while growing.len() + shrinking.len() > rows.of_list() {
                let smallest =
                    |rows: &[ChangeRow]| rows.last().map(|r| r.size_diff_bytes.unsigned_abs());
                match (smallest(&growing), smallest(&shrinking)) {
                    (Some(grown), Some(shrunk)) if grown <= shrunk => growing.pop(),
                    (_, Some(_)) => shrinking.pop(),
                    _ => growing.pop(),
                };
            }
        }
        DiffComputed {
            status: "diff_computed",
            baseline,
            window: None,
            more: rows.hint(found, growing.len() + shrinking.len()),
            growing_allocations: growing,
            shrinking_allocations: shrinking,
            plugins: BTreeMap::new(),
            total_growth_mb: signed_mib(total),
            total_growth_bytes: total,
            requests_since_baseline: requests,
            bytes_per_request: (requests > 0).then(|| total as f64 / requests as f64),
            tip: "a line that grows with every request is the leak: compare its count_diff with \
                  requests_since_baseline",
        }
    }
}
