//! Drives one plugin and reads what a scrape would.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use plugin_host::driver::InvocationResult;
use plugin_host::driver::handle::Plugin;
use plugin_host::engine;
use plugin_host::instance::request::{GuestRequest, RequestHead};
use plugin_host::load::cache::{Cache, CacheLimits};
use plugin_host::load::compiler::Compiler;
use plugin_host::load::loader::Loader;
use plugin_host::metrics::PluginMetrics;
use plugin_host::registry::Registry;
use plugin_host::settings::{Defaults, HeapProfile, Value};
use telemetry::context::TraceContext;
use telemetry::metrics::MetricsRegistry;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::load::{Load, Scale};
use crate::pattern::{Pattern, SettingValue};

/// Time of the first request: 2026-01-01T00:00:00Z.
const START_UNIX_MS: u64 = 1_767_225_600_000;

/// The resident memory of a host without plugins, about what a real one has.
pub(crate) const HOST_BYTES: u64 = 30 << 20;

/// The memory limit of the lab.
pub(crate) const PROCESS_LIMIT_BYTES: u64 = 256 << 20;

/// A simulated clock decides, so no call may fail because the machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// The largest component, in bytes: the host's default.
const MAX_PLUGIN_BYTES: u64 = 64 << 20;

/// A host without HTTP that has loaded all plugins.
pub(crate) struct Recorder {
    registry: Registry,
    _folder: TempDir,
}

/// The samples of one recording.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// `leak_plugin_heap_live_bytes`
    pub(crate) live: Vec<u64>,
    /// `leak_plugin_linear_memory_bytes`
    pub(crate) linear: Vec<u64>,
}

impl Recorder {
    /// Loads these components.
    ///
    /// # Errors
    /// When one does not load.
    pub(crate) async fn start(components: &[&PathBuf]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for component in components {
            let name = component.file_name().context("a file without a name")?;
            std::fs::copy(component, folder.path().join(name))?;
        }
        let engine = engine::start().map_err(engine_error)?;
        let cache = Cache::open(None, CacheLimits::default(), &engine);
        let loader = Loader::new(engine, cache, Compiler::in_process(), MAX_PLUGIN_BYTES)
            .map_err(engine_error)?;
        let defaults = Defaults {
            deadline: DEADLINE,
            queue_timeout: DEADLINE,
            memory_limit: None,
            heap_profile: HeapProfile::Exact,
        };
        let metrics = PluginMetrics::register(&MetricsRegistry::default())?;
        let registry = Registry::new(
            loader,
            Some(folder.path().to_owned()),
            defaults,
            Arc::new(metrics),
            TaskTracker::new(),
        );
        registry.load_folder().await?;
        Ok(Self {
            registry,
            _folder: folder,
        })
    }

    /// Records a fresh instance of a plugin under a load, until the memory limit of the process is
    /// reached or the time is over.
    ///
    /// # Errors
    /// When the plugin is not loaded or a call fails.
    pub(crate) async fn record(
        &self,
        pattern: &Pattern,
        scale: &Scale,
        load: Load,
    ) -> Result<Shape> {
        let plugin = self
            .registry
            .get(pattern.component)
            .with_context(|| format!("{} is not loaded", pattern.component))?;
        plugin.reset(true).await?;
        let settings = pattern.settings.iter().map(|(name, value)| {
            let value = match value {
                SettingValue::Text(text) => Value::Text((*text).to_owned()),
                SettingValue::Integer(number) => Value::Integer(*number),
            };
            ((*name).to_owned(), value)
        });
        self.registry
            .update(&plugin, Some(true), settings.collect())
            .await?;
        let shape = self.drive(&plugin, scale, load).await;
        plugin.reset(true).await?;
        shape
    }

    async fn drive(&self, plugin: &Plugin, scale: &Scale, load: Load) -> Result<Shape> {
        let mut shape = Shape::default();
        let mut times = (0_u64..).zip(load.times(scale)).peekable();
        for sample in 0..=scale.seconds / scale.step_seconds {
            let now = Duration::from_secs(sample * scale.step_seconds);
            while let Some((number, time)) = times.next_if(|(_, time)| *time < now) {
                self.request(number, time).await?;
            }
            let reading = plugin.reading();
            if HOST_BYTES + reading.linear.bytes >= PROCESS_LIMIT_BYTES {
                break;
            }
            let live = reading.heap_live.context("the heap is not profiled")?;
            shape.live.push(live);
            shape.linear.push(reading.linear.bytes);
        }
        Ok(shape)
    }

    async fn request(&self, number: u64, time: Duration) -> Result<()> {
        let request = || {
            let head = RequestHead {
                id: &format!("00000000-0000-4000-8000-{number:012x}"),
                time_unix_ms: START_UNIX_MS + u64::try_from(time.as_millis()).unwrap_or_default(),
                method: "GET",
                path: "/api/data",
                query: "",
                body_preview: "",
                status: 200,
                elapsed_us: 100,
                trace_id: &format!("{:032x}", u128::from(number) + 1),
            };
            let headers = [("host", "localhost:8080"), ("user-agent", "k6")];
            let headers = headers.into_iter();
            GuestRequest::new(&head, headers.map(|(name, text)| (name, Cow::from(text))))
        };
        let trace = TraceContext::unrecorded(None);
        for answer in self.registry.dispatch(request, &trace).await {
            if let InvocationResult::Failed(reason) = answer.result {
                bail!("request {number}: {reason}");
            }
        }
        Ok(())
    }
}

/// An error of the engine, which is no [`std::error::Error`].
fn engine_error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error:#}")
}
