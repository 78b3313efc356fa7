//! A host without HTTP: the real registry with the real plugins. Only the time is simulated.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use plugin_host::driver::InvocationResult;
use plugin_host::driver::handle::Plugin;
use plugin_host::instance::request::{GuestRequest, RequestHead};
use plugin_host::load::loader::Loader;
use plugin_host::metrics::PluginMetrics;
use plugin_host::registry::Registry;
use plugin_host::settings::{Defaults, HeapProfile, Value};
use telemetry::context::TraceContext;
use telemetry::metrics::MetricsRegistry;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

/// Time of the start of each simulation, in milliseconds since 1970: 2026-01-01T00:00:00Z.
pub const START_UNIX_MS: u64 = 1_767_225_600_000;

/// A simulated clock decides, so no call may fail because the machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// A host that has loaded plugins. Each request carries its own time, so hours take seconds, and
/// the same requests lead to the same memory on every machine.
pub struct SimulatedHost {
    registry: Registry,
    _folder: TempDir,
}

/// A call of a plugin that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCall {
    /// The id of the plugin.
    pub plugin: String,
    /// The reason.
    pub reason: String,
}

impl SimulatedHost {
    /// Loads these components. All leaks are disabled.
    ///
    /// # Errors
    ///
    /// When a component cannot be read, or does not load.
    pub async fn start(loader: Loader, components: &[PathBuf]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for component in components {
            let name = component.file_name().context("a file without a name")?;
            std::fs::copy(component, folder.path().join(name))
                .with_context(|| format!("cannot read {}", component.display()))?;
        }
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

    /// The ids of the loaded plugins, sorted.
    pub fn ids(&self) -> Vec<String> {
        let plugins = self.registry.plugins();
        plugins
            .iter()
            .map(|plugin| plugin.id().to_owned())
            .collect()
    }

    /// The plugin with this id.
    ///
    /// # Errors
    ///
    /// When it is not loaded.
    pub fn plugin(&self, id: &str) -> Result<Arc<Plugin>> {
        self.registry.get(id).with_context(|| {
            let ids = self.ids().join(", ");
            format!("there is no plugin {id}; loaded are {ids}")
        })
    }

    /// Enables or disables a leak and changes its settings.
    ///
    /// # Errors
    ///
    /// When a setting is refused, or the plugin does not run.
    pub async fn configure(
        &self,
        plugin: &Plugin,
        enabled: bool,
        settings: Vec<(String, Value)>,
    ) -> Result<()> {
        let updated = self.registry.update(plugin, Some(enabled), settings);
        let updated = updated.await;
        updated.with_context(|| format!("{} refuses its settings", plugin.id()))
    }

    /// Sends a request to every active plugin. `number` names the request, and `time` is that since
    /// the start of the simulation. Returns the calls that failed.
    pub async fn request(&self, number: u64, time: Duration) -> Vec<FailedCall> {
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
        let answers = self.registry.dispatch(request, &trace).await;
        let failed = answers
            .into_iter()
            .filter_map(|answer| match answer.result {
                InvocationResult::Failed(reason) => Some(FailedCall {
                    plugin: answer.plugin.id().to_owned(),
                    reason,
                }),
                _ => None,
            });
        failed.collect()
    }
}
