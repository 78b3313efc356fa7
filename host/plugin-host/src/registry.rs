//! The plugins that are loaded, and the way of a request to those that are switched on.
//!
//! Readers take the list without a lock. Changes to it are rare and one at a time, so that an id can never be
//! taken twice.

mod loading;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::dispatch::batcher::Lanes;
use crate::dispatch::fan_out::{Handled, Round};
use crate::dispatch::request::Request;
use crate::driver::handle::Plugin;
use crate::driver::{self, Replacement};
use crate::error::PluginError;
use crate::load::folder::Folder;
use crate::load::loader::{Loader, Profile};
use crate::metrics::PluginMetrics;
use crate::settings::{Defaults, SettingReset, Value};
use telemetry::context::TraceContext;

/// The loaded plugins, in the order of their ids.
pub struct Registry {
    plugins: ArcSwap<Vec<Arc<Plugin>>>,
    /// Held while the list changes.
    changing: Mutex<()>,
    loader: Loader,
    folder: Option<Arc<Folder>>,
    defaults: Defaults,
    metrics: Arc<PluginMetrics>,
    lanes: Lanes,
    tasks: TaskTracker,
    /// Plugins that have been loaded so far, those that are gone included.
    lives: AtomicU64,
}

/// A component that has been taken in.
#[derive(Debug)]
pub struct Placed {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Whether it is in the place of one that was there.
    pub replaced: bool,
    /// Settings whose values the new component does not take: they are at their defaults.
    pub settings_reset: Vec<SettingReset>,
}

impl Registry {
    /// An empty registry.
    pub fn new(
        loader: Loader,
        folder: Option<PathBuf>,
        defaults: Defaults,
        metrics: Arc<PluginMetrics>,
        tasks: TaskTracker,
    ) -> Self {
        Registry {
            plugins: ArcSwap::default(),
            changing: Mutex::new(()),
            loader,
            folder: folder.map(|path| Arc::new(Folder::new(path))),
            defaults,
            metrics,
            lanes: Lanes::new(tasks.clone()),
            tasks,
            lives: AtomicU64::new(0),
        }
    }

    /// Reads what components were loaded from.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The plugins, in the order of their ids.
    pub fn plugins(&self) -> Arc<Vec<Arc<Plugin>>> {
        self.plugins.load_full()
    }

    /// The plugin of this id.
    pub fn get(&self, id: &str) -> Option<Arc<Plugin>> {
        let plugins = self.plugins.load();
        let at = plugins.binary_search_by(|p| p.id().cmp(id)).ok()?;
        plugins.get(at).cloned()
    }

    /// The folder that plugins are loaded from.
    pub fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// Takes a component in: as a new plugin, or in the place of the one with its id. The caller holds `changing`.
    async fn put(&self, fresh: Replacement) -> Result<Placed, PluginError> {
        if let Some(plugin) = self.get(fresh.id()) {
            let done = plugin.replace(fresh).await?;
            return Ok(Placed {
                plugin,
                replaced: true,
                settings_reset: done.settings_reset,
            });
        }
        let metrics = self
            .metrics
            .for_plugin(fresh.id())
            .map_err(|e| PluginError::Refused(format!("its metrics cannot be registered: {e}")))?;
        let plugin = driver::spawn(
            fresh,
            self.lives.fetch_add(1, Ordering::Relaxed),
            self.defaults,
            self.loader.clone(),
            metrics,
            &self.tasks,
        );
        let mut plugins = Vec::clone(&self.plugins.load());
        let at = plugins.partition_point(|p| p.id() < plugin.id());
        plugins.insert(at, plugin.clone());
        self.plugins.store(Arc::new(plugins));
        let details = plugin.details();
        tracing::info!(
            plugin = plugin.id(),
            version = details.manifest.version,
            compile_ms = details.origin.compile_time.as_secs_f64() * 1e3,
            cached = details.origin.cached,
            "plugin loaded"
        );
        drop(details);
        Ok(Placed {
            plugin,
            replaced: false,
            settings_reset: Vec::new(),
        })
    }

    /// Takes a plugin off the list, with everything that is kept under its name. Its driver ends when the calls in
    /// flight are done. The caller holds `changing`.
    fn take_out(&self, id: &str) {
        let mut plugins = Vec::clone(&self.plugins.load());
        plugins.retain(|p| p.id() != id);
        self.plugins.store(Arc::new(plugins));
        self.metrics.remove_plugin(id);
        tracing::info!(plugin = id, "plugin unloaded");
        if let Some(folder) = &self.folder {
            folder.retry_waiting();
        }
    }

    /// Hands a request to every plugin that is switched on and waits for their answers. The result is in the order of
    /// their ids and empty when no leak is on: then no wasm is entered.
    pub async fn dispatch(
        &self,
        request: impl FnOnce() -> Request,
        trace: &TraceContext,
    ) -> Vec<Handled> {
        let plugins: Arc<[Arc<Plugin>]> = {
            let plugins = self.plugins.load();
            let mut enabled = plugins.iter().filter(|p| p.enabled()).cloned().peekable();
            if enabled.peek().is_none() {
                return Vec::new();
            }
            enabled.collect()
        };
        let round = Arc::new(Round::new(request(), trace.clone(), plugins.len()));
        self.lanes.enter(round.clone(), plugins.clone()).await;
        round.handled(&plugins).await
    }

    /// Switches a leak and changes its settings: all or nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with a setting, or [`PluginError::NotRunning`] when the guest would have to be told.
    pub async fn switch(
        &self,
        plugin: &Plugin,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
    ) -> Result<(), PluginError> {
        let (settings, origin) = {
            let details = plugin.details();
            (details.settings.clone(), details.origin.clone())
        };
        let heap_profile = settings.with(changes.clone())?.policy().heap_profile;
        let compiled = if heap_profile == settings.policy().heap_profile {
            None
        } else {
            // Before the plugin is asked, so that no request waits for it.
            let (loader, profile) = (self.loader.clone(), Profile::wanted(heap_profile));
            Some(blocking(move || loader.reload(&origin, profile)).await?)
        };
        plugin.switch(enabled, changes, compiled).await
    }

    /// Drops all plugins; their drivers end when the calls in flight are done.
    pub async fn unload_all(&self) {
        let _changing = self.changing.lock().await;
        for plugin in self.plugins.swap(Arc::default()).iter() {
            self.metrics.remove_plugin(plugin.id());
        }
    }
}

/// Tells of one id after the other, in their order, whether it is among these plugins, which are in that order too.
pub fn still_loaded(plugins: &[Arc<Plugin>]) -> impl FnMut(&str) -> bool {
    let mut rest = plugins.iter().map(|plugin| plugin.id()).peekable();
    move |id| {
        while rest.next_if(|next| *next < id).is_some() {}
        rest.peek().is_some_and(|next| *next == id)
    }
}

/// Starts blocking work at once; the future waits for its end.
pub fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginError> + Send + 'static,
) -> impl Future<Output = Result<T, PluginError>> {
    let working = tokio::task::spawn_blocking(work);
    async move {
        let inside = |e| {
            Err(PluginError::Refused(format!(
                "loading it failed inside the host: {e}"
            )))
        };
        working.await.unwrap_or_else(inside)
    }
}
