//! `/admin/memory`: where the memory is and where it is going.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use guest_heap::snapshot::GroupBy;
use serde::Serialize;
use serde_json::{Map, Value as Json_};
use utoipa::ToSchema;

use super::Lab;
use super::error::ApiError;
use super::leak_status::{LeakStatus, Leaks, attribution_name, attribution_why};
use super::size::{mb, signed_mb};
use lab::forecast::Forecast;
use lab::heap::Selection;
use lab::ledger::Ledger;
use plugin_host::driver::handle::Plugin;
use process_memory::process::ProcessReading;

/// Bytes of one page of linear memory, by the WebAssembly specification.
const PAGE: u64 = 65_536;

/// Lines that the overview shows.
const TOP: usize = 10;

/// The process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Process {
    pid: u32,
    /// Resident MiB.
    rss_mb: f64,
    rss_bytes: u64,
    /// MiB of address space: see `reserved_mb`.
    vms_mb: f64,
    vms_bytes: u64,
    /// Of that, what is not resident: wasm reserves gigabytes for each memory and touches what it uses.
    reserved_mb: f64,
    reserved_bytes: u64,
    /// Resident bytes in percent of the limit that applies, else of the machine's memory.
    percent: f64,
    /// The limit that applies.
    limit_mb: Option<f64>,
    limit_bytes: Option<u64>,
}

/// The memory of one plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PluginMemory {
    /// What the host has given: a high-water mark.
    linear_memory_mb: f64,
    linear_memory_bytes: u64,
    /// The most that any instance has had.
    peak_linear_memory_mb: f64,
    peak_linear_memory_bytes: u64,
    /// Pages of 64 KiB.
    pages: u64,
    /// What the leak pattern itself holds.
    retained_mb: f64,
    retained_bytes: u64,
    /// How many objects that is.
    retained_objects: u64,
    /// What the guest's allocator has handed out and not got back; null without attribution.
    heap_live_mb: Option<f64>,
    heap_live_bytes: Option<u64>,
    /// What the guest's allocator has and has not handed out: linear memory less live bytes; null without attribution.
    heap_free_mb: Option<f64>,
    heap_free_bytes: Option<u64>,
    /// The heap profiler's own memory, which counts neither as the plugin's nor against its limit.
    profiler_mb: f64,
    profiler_bytes: u64,
    /// `running`, `exhausted` or `faulted`.
    state: &'static str,
}

/// One source line that holds memory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopAllocation {
    /// `plugins/cache/src/lib.rs:42`.
    location: String,
    size_kb: f64,
    size_bytes: u64,
    /// Objects.
    count: u64,
    plugin: String,
}

/// The heaps of all plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeapOverview {
    /// Live bytes of all plugins with attribution.
    current_mb: f64,
    current_bytes: u64,
    /// The most of that, plugin by plugin.
    peak_mb: f64,
    peak_bytes: u64,
    /// `exact`, `off` or `partial`.
    attribution: &'static str,
    /// Why it is not `exact`.
    why: Option<String>,
    /// The lines that hold most, of plugins that have served a request.
    top_allocations: Vec<TopAllocation>,
}

/// Growth over the last samples and what it leads to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ForecastBody {
    /// Slope of a regression over the host's one-second samples.
    growth_bytes_per_second: f64,
    /// Slope over requests; null when there were none.
    bytes_per_request: Option<f64>,
    /// Seconds until the limit; null when there is none or memory does not grow.
    seconds_to_limit: Option<f64>,
    /// What the samples span: the last minute, less when instances were replaced within it.
    window_seconds: f64,
    /// 0 to 1: share of the variance that the line explains, times the share of the window that is filled.
    confidence: f64,
    /// Whether the rise stands out of the noise: else the other numbers say nothing.
    significant: bool,
}

/// Everything about memory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Memory {
    /// The process.
    process: Process,
    /// One member per plugin.
    plugins: BTreeMap<String, PluginMemory>,
    /// Live bytes by source line, in short.
    heap: HeapOverview,
    /// Where the resident bytes are: the parts add up to `rss_mb`.
    #[schema(value_type = Object)]
    ledger: Map<String, Json_>,
    /// Growth of the process.
    forecast: ForecastBody,
    /// As in /admin/leaks/status.
    #[schema(value_type = BTreeMap<String, LeakStatus>)]
    leaks: Leaks,
}

/// The process, each plugin, the ledger and the forecast.
#[utoipa::path(get, path = "/admin/memory", tag = "memory", responses((status = 200, body = Memory)))]
pub(super) async fn memory(State(lab): State<Arc<Lab>>) -> Result<Json<Memory>, ApiError> {
    let process = lab.monitor.process().map_err(|e| ApiError::internal(&e))?;
    let ledger = lab.monitor.ledger(&process, &lab.registry, &lab.heaps);
    Ok(Json(Memory {
        process: process_body(&lab, &process),
        plugins: lab
            .registry
            .plugins()
            .iter()
            .map(|p| (p.id().to_owned(), plugin_body(p)))
            .collect(),
        heap: heap_overview(&lab).await?,
        ledger: ledger_body(&ledger),
        forecast: forecast_body(&lab.monitor.process_forecast()),
        leaks: Leaks::of(&lab),
    }))
}

pub(super) fn process_body(lab: &Lab, process: &ProcessReading) -> Process {
    let budget = lab.monitor.budget();
    let limit = budget.limit.map(|l| l.bytes);
    let reserved = process.virtual_bytes.saturating_sub(process.resident_bytes);
    Process {
        pid: process.pid,
        rss_mb: mb(process.resident_bytes),
        rss_bytes: process.resident_bytes,
        vms_mb: mb(process.virtual_bytes),
        vms_bytes: process.virtual_bytes,
        reserved_mb: mb(reserved),
        reserved_bytes: reserved,
        percent: budget.percent(process.resident_bytes),
        limit_mb: limit.map(mb),
        limit_bytes: limit,
    }
}

fn plugin_body(plugin: &Plugin) -> PluginMemory {
    let reading = plugin.reading();
    let free = reading
        .heap_live
        .map(|live| reading.linear.bytes.saturating_sub(live));
    PluginMemory {
        linear_memory_mb: mb(reading.linear.bytes),
        linear_memory_bytes: reading.linear.bytes,
        peak_linear_memory_mb: mb(reading.linear_peak),
        peak_linear_memory_bytes: reading.linear_peak,
        pages: reading.linear.bytes / PAGE,
        retained_mb: mb(reading.retained.bytes),
        retained_bytes: reading.retained.bytes,
        retained_objects: reading.retained.objects,
        heap_live_mb: reading.heap_live.map(mb),
        heap_live_bytes: reading.heap_live,
        heap_free_mb: free.map(mb),
        heap_free_bytes: free,
        profiler_mb: mb(reading.profiler_bytes),
        profiler_bytes: reading.profiler_bytes,
        state: plugin.details().state.name(),
    }
}

async fn heap_overview(lab: &Lab) -> Result<HeapOverview, ApiError> {
    let plugins = lab.registry.plugins();
    // The symbols of a plugin that has done nothing are not worth reading.
    let active: Vec<_> = plugins
        .iter()
        .filter(|p| p.reading().requests > 0)
        .cloned()
        .collect();
    let mut top = Vec::new();
    for heap in lab.heaps.snapshots(&active, Selection::All).await? {
        for group in heap.snapshot.top(GroupBy::Line, TOP) {
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
    top.truncate(TOP);
    let current = plugins.iter().filter_map(|p| p.reading().heap_live).sum();
    let peak = plugins.iter().map(|p| p.reading().heap_peak).sum();
    let (attribution, why) = attribution(&plugins);
    Ok(HeapOverview {
        current_mb: mb(current),
        current_bytes: current,
        peak_mb: mb(peak),
        peak_bytes: peak,
        attribution,
        why,
        top_allocations: top,
    })
}

/// How far all plugins together can be told by source line.
fn attribution(plugins: &[Arc<Plugin>]) -> (&'static str, Option<String>) {
    let mut names = Vec::with_capacity(plugins.len());
    let mut reasons = Vec::new();
    for plugin in plugins {
        let details = plugin.details();
        names.push(attribution_name(&details.attribution));
        if let Some(why) = attribution_why(&details.attribution) {
            reasons.push(format!("{}: {why}", plugin.id()));
        }
    }
    let name = match names.split_first() {
        None => "off",
        Some((first, rest)) if rest.iter().all(|name| name == first) => first,
        Some(_) => "partial",
    };
    let why = if plugins.is_empty() {
        "no plugin is loaded".to_owned()
    } else {
        reasons.join("; ")
    };
    (name, (!why.is_empty()).then_some(why))
}

pub(super) fn ledger_body(ledger: &Ledger) -> Map<String, Json_> {
    let mut body = Map::new();
    for (part, bytes) in ledger.entries() {
        body.insert(format!("{}_mb", part.name()), signed_mb(bytes).into());
        body.insert(format!("{}_bytes", part.name()), bytes.into());
    }
    body.insert("rss_mb".into(), mb(ledger.resident_bytes()).into());
    body.insert("rss_bytes".into(), ledger.resident_bytes().into());
    body
}

pub(super) fn forecast_body(forecast: &Forecast) -> ForecastBody {
    ForecastBody {
        growth_bytes_per_second: forecast.growth.bytes_per_second,
        bytes_per_request: forecast.growth.bytes_per_request,
        seconds_to_limit: forecast.seconds_to_limit,
        window_seconds: forecast.growth.window_seconds,
        confidence: forecast.growth.confidence,
        significant: forecast.growth.is_significant(),
    }
}
