//! `GET /admin/memory`: the memory of the process and of each plugin, its ledger and its growth.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use guest_heap::snapshot::GroupBy;
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;

use crate::attribution::{AttributionBody, ListedAttribution, TotalAttribution};
use crate::catalogue::ListingQuery;
use crate::error::{ApiError, ErrorBody};
use crate::exercise_progress::Action;
use crate::leak_status::{Leaks, ListedLeak, Listing};
use crate::query::ApiQuery;
use crate::state::ApiState;
use crate::units::mib;
use crate::verdict::{NextStepBody, VerdictBody};
use lab::forecast::Forecast;
use lab::heap::Selection;
use lab::ledger::Ledger;
use plugin_host::driver::handle::Plugin;
use process_memory::process::ProcessReading;

/// The size of one page of linear memory, from the WebAssembly specification.
const PAGE_BYTES: u64 = 65_536;

/// Rows of `top_allocations`.
const TOP_ROWS: usize = 10;

/// Rows of `top_allocations` in an answer without `all=true`.
const SHORT_TOP_ROWS: usize = 4;

/// The memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Process {
    pid: u32,
    /// Resident memory in MiB.
    rss_mb: f64,
    rss_bytes: u64,
    /// Address space in MiB: see `reserved_mb`.
    vms_mb: f64,
    vms_bytes: u64,
    /// Address space that is not resident, in MiB. Wasm reserves gigabytes for each memory and
    /// touches only the pages that it uses.
    reserved_mb: f64,
    reserved_bytes: u64,
    /// Resident memory in percent of the limit, or of the machine's memory without a limit.
    percent: f64,
    /// The memory limit in MiB, of the cgroup or from `--memory-limit`; null without a limit.
    limit_mb: Option<f64>,
    limit_bytes: Option<u64>,
}

/// The memory of one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginMemory {
    /// MiB of linear memory. It never shrinks within one instance.
    linear_memory_mb: f64,
    linear_memory_bytes: u64,
    /// The largest linear memory of any instance, in MiB.
    peak_linear_memory_mb: f64,
    peak_linear_memory_bytes: u64,
    /// Linear memory in pages of 64 KiB.
    pages: u64,
    /// MiB that the pattern retains, measured by the plugin.
    retained_mb: f64,
    retained_bytes: u64,
    /// Objects that the pattern retains.
    retained_objects: u64,
    /// MiB that the guest's allocator has allocated and not freed; null without attribution.
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    /// Linear memory minus the live heap, in MiB; null without attribution.
    heap_free_mb: Option<f64>,
    heap_free_bytes: Option<u64>,
    /// MiB of the heap profiler in this plugin. They count neither as the plugin's memory nor
    /// against its limit.
    profiler_mb: f64,
    profiler_bytes: u64,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
    /// The next step of the memory. Left out unless it grows in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<NextStepBody>,
}

/// A source line with live memory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopAllocation {
    /// `plugins/cache/src/lib.rs:42`.
    location: String,
    size_kb: f64,
    size_bytes: u64,
    /// Live objects.
    count: u64,
    plugin: String,
}

/// The heaps of all plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeapOverview {
    /// Live MiB of all plugins with attribution.
    current_mb: f64,
    current_bytes: u64,
    /// The sum of the plugins' peaks, in MiB.
    peak_mb: f64,
    peak_bytes: u64,
    #[serde(flatten)]
    attribution: ListedAttribution,
    /// The lines with the most live bytes, of plugins that have served a request: four, or ten with
    /// `all=true`.
    top_allocations: Vec<TopAllocation>,
}

/// The growth of the process's memory, and when it reaches the limit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForecastBody {
    /// Growth at the present request rate, from a regression over the host's one-second samples;
    /// 0 if it does not exceed the noise.
    growth_bytes_per_second: f64,
    /// Resident bytes of the process per request; null without a request, and if it does not grow.
    /// `bytes_per_request` of a leak is what the plugin retains.
    process_bytes_per_request: Option<f64>,
    /// Seconds until the limit, 0 at the limit; null without a limit, or if memory does not grow.
    seconds_to_limit: Option<f64>,
    /// The time that the samples span: the last minute, or less if an instance was replaced in it.
    window_seconds: f64,
    /// 0 to 1: the share of the variance that the regression explains, times the share of the
    /// window that has samples.
    confidence: f64,
    /// Whether the growth exceeds the noise. If not, the other numbers mean nothing.
    significant: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Memory {
    verdict: VerdictBody,
    process: Process,
    /// One field per plugin that is in use; with `all=true`, per loaded plugin.
    plugins: BTreeMap<String, PluginMemory>,
    heap: HeapOverview,
    /// The resident memory by part, as `PART_mb` and `PART_bytes`. The parts add up to `rss_mb`.
    #[schema(value_type = Object)]
    ledger: Map<String, Json_>,
    forecast: ForecastBody,
    /// The same as `leaks` in `/admin/leaks/status`, for the plugins that are in use.
    #[schema(value_type = BTreeMap<String, ListedLeak>)]
    leaks: Leaks,
    /// How many plugins are left out, and where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
}

/// The verdict, the memory of the process and of each plugin that is in use, the ledger and the
/// forecast.
#[utoipa::path(get, path = "/admin/memory", tag = "memory", params(ListingQuery),
    responses((status = 200, body = Memory), (status = 422, body = ErrorBody)))]
pub(crate) async fn memory(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<ListingQuery>,
) -> Result<Json<Memory>, ApiError> {
    let listing = if query.all {
        Listing::All
    } else {
        Listing::InUse
    };
    let memory = read(&state, listing).await?;
    state.record(&Action::ReadMemory);
    Ok(Json(memory))
}

pub(crate) async fn read(state: &ApiState, listing: Listing) -> Result<Memory, ApiError> {
    let (process, ledger) = state.process_and_ledger()?;
    let plugins = state.registry.plugins();
    let leaks = Leaks::of(state, listing);
    Ok(Memory {
        verdict: VerdictBody::of(state),
        process: process_body(state, &process),
        plugins: plugins
            .iter()
            .filter(|plugin| listing.shows(plugin))
            .map(|plugin| (plugin.id().to_owned(), plugin_body(state, plugin)))
            .collect(),
        heap: heap_overview(state, listing).await?,
        ledger: ledger_body(&ledger),
        forecast: forecast_body(&state.monitor.process_forecast()),
        more: leaks.left_out(),
        leaks,
    })
}

pub(crate) fn process_body(state: &ApiState, process: &ProcessReading) -> Process {
    let budget = state.monitor.budget();
    let limit = budget.limit.map(|l| l.bytes);
    let reserved = process.virtual_bytes.saturating_sub(process.resident_bytes);
    Process {
        pid: process.pid,
        rss_mb: mib(process.resident_bytes),
        rss_bytes: process.resident_bytes,
        vms_mb: mib(process.virtual_bytes),
        vms_bytes: process.virtual_bytes,
        reserved_mb: mib(reserved),
        reserved_bytes: reserved,
        percent: budget.percent(process.resident_bytes),
        limit_mb: limit.map(mib),
        limit_bytes: limit,
    }
}

fn plugin_body(state: &ApiState, plugin: &Plugin) -> PluginMemory {
    let reading = plugin.reading();
    let limit = plugin.details().settings.policy().memory_limit;
    let forecast = state.monitor.plugin_forecast(plugin, limit);
    let free = reading
        .heap_live
        .map(|live| reading.linear.bytes.saturating_sub(live));
    PluginMemory {
        linear_memory_mb: mib(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        peak_linear_memory_mb: mib(reading.linear_peak),
        peak_linear_memory_bytes: reading.linear_peak,
        pages: reading.linear.bytes / PAGE_BYTES,
        retained_mb: mib(reading.retained.bytes),
        retained_bytes: reading.retained.bytes,
        retained_objects: reading.retained.objects,
        heap_live_mb: reading.heap_live.map(mib),
        heap_live_bytes: reading.heap_live,
        heap_free_mb: free.map(mib),
        heap_free_bytes: free,
        profiler_mb: mib(reading.profiler_bytes),
        profiler_bytes: reading.profiler_bytes,
        state: plugin.details().state.name(),
        next_step: forecast
            .and_then(|forecast| forecast.next_step)
            .map(NextStepBody::from),
    }
}

async fn heap_overview(state: &ApiState, listing: Listing) -> Result<HeapOverview, ApiError> {
    let plugins = state.registry.plugins();
    // A plugin that has served no request is not worth the cost of reading its symbols.
    let active: Vec<_> = plugins
        .iter()
        .filter(|p| p.reading().requests > 0)
        .cloned()
        .collect();
    let mut top = Vec::new();
    for heap in state.heaps.snapshots(&active, Selection::All).await? {
        for group in heap.snapshot.top(GroupBy::Line, TOP_ROWS) {
            top.push(TopAllocation {
                location: group.location.to_string(),
                size_kb: group.usage.live_bytes as f64 / 1024.0,
                size_bytes: group.usage.live_bytes,
                count: group.usage.live_objects,
                plugin: heap.plugin.id().to_owned(),
            });
        }
    }
    top.sort_by_key(|row| std::cmp::Reverse(row.size_bytes));
    top.truncate(match listing {
        Listing::All => TOP_ROWS,
        Listing::Exercises | Listing::InUse => SHORT_TOP_ROWS,
    });
    let attribution = TotalAttribution::of(plugins.iter().map(|plugin| {
        let body = AttributionBody::of(&plugin.details(), &plugin.reading());
        (plugin.id(), body)
    }));
    let current = plugins.iter().filter_map(|p| p.reading().heap_live).sum();
    let peak = plugins.iter().map(|p| p.reading().heap_peak).sum();
    Ok(HeapOverview {
        current_mb: mib(current),
        current_bytes: current,
        peak_mb: mib(peak),
        peak_bytes: peak,
        attribution: match listing {
            Listing::All => ListedAttribution::Complete(attribution),
            Listing::Exercises | Listing::InUse => attribution.short(|id| {
                let shown = plugins.iter().find(|plugin| plugin.id() == id);
                shown.is_some_and(|plugin| listing.shows(plugin))
            }),
        },
        top_allocations: top,
    })
}

pub(crate) fn ledger_body(ledger: &Ledger) -> Map<String, Json_> {
    let mut body = Map::new();
    for (part, bytes) in ledger.entries() {
        body.insert(format!("{}_mb", part.name()), mib(bytes).into());
        body.insert(format!("{}_bytes", part.name()), bytes.into());
    }
    body.insert("rss_mb".into(), mib(ledger.resident_bytes()).into());
    body.insert("rss_bytes".into(), ledger.resident_bytes().into());
    body
}

pub(crate) fn forecast_body(forecast: &Forecast) -> ForecastBody {
    ForecastBody {
        growth_bytes_per_second: forecast.growth.bytes_per_second,
        process_bytes_per_request: forecast.growth.bytes_per_request,
        seconds_to_limit: forecast.seconds_to_limit,
        window_seconds: forecast.growth.window_seconds,
        confidence: forecast.growth.confidence,
        significant: forecast.growth.is_significant(),
    }
}
