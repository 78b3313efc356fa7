//! Drives one plugin and reads what a scrape would.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ground_truth::scrape::{HOST_BYTES, PROCESS_LIMIT_BYTES};
use ground_truth::simulated_host::SimulatedHost;
use plugin_host::driver::handle::Plugin;
use plugin_host::engine;
use plugin_host::load::cache::{Cache, CacheLimits};
use plugin_host::load::compiler::Compiler;
use plugin_host::load::loader::Loader;
use plugin_host::settings::Value;

use crate::load::{Load, Scale};
use crate::pattern::{Pattern, SettingValue};

/// The largest component, in bytes: the host's default.
const MAX_PLUGIN_BYTES: u64 = 64 << 20;

/// A host without HTTP that has loaded all plugins.
pub(crate) struct Recorder(SimulatedHost);

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
    pub(crate) async fn start(components: &[PathBuf]) -> Result<Self> {
        let engine = engine::start().map_err(engine_error)?;
        let cache = Cache::open(None, CacheLimits::default(), &engine);
        let loader = Loader::new(engine, cache, Compiler::in_process(), MAX_PLUGIN_BYTES)
            .map_err(engine_error)?;
        Ok(Self(SimulatedHost::start(loader, components).await?))
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
        let plugin = self.0.plugin(pattern.component)?;
        plugin.reset(true).await?;
        let settings = pattern.settings.iter().map(|(name, value)| {
            let value = match value {
                SettingValue::Text(text) => Value::Text((*text).to_owned()),
                SettingValue::Integer(number) => Value::Integer(*number),
            };
            ((*name).to_owned(), value)
        });
        self.0.configure(&plugin, true, settings.collect()).await?;
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
                if let Some(failed) = self.0.request(number, time).await.first() {
                    bail!("request {number}: {}", failed.reason);
                }
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
}

/// An error of the engine, which is no [`std::error::Error`].
fn engine_error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error:#}")
}
