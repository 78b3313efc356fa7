//! The loaded plugins.
//!
//! Readers take the list without a lock. Changes to it are rare and run one at a time, so two
//! plugins never get the same id.

mod admin_changes;
mod folder_sync;
mod loading;
pub mod masking;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use telemetry::context::TraceContext;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::dispatch::Dispatcher;
use crate::dispatch::fan_out::PluginAnswer;
use crate::driver::handle::Plugin;
use crate::error::PluginError;
use crate::instance::request::GuestRequest;
use crate::load::component_source::ComponentSource;
use crate::load::folder::Folder;
use crate::load::loader::Loader;
use crate::load::started_plugin::StartedPlugin;
use crate::metrics::PluginMetrics;
use crate::registry::loading::Loading;
use crate::settings::{Defaults, HeapProfile, SettingReset, Value};

pub use self::loading::LoadingFile;

/// The loaded plugins, in the order of their ids.
pub struct Registry {
    plugins: ArcSwap<Vec<Arc<Plugin>>>,
    /// Locked while the list changes.
    changing: Mutex<()>,
    loader: Loader,
    folder: Option<Arc<Folder>>,
    loading: Loading,
    defaults: Defaults,
    metrics: Arc<PluginMetrics>,
    dispatcher: Dispatcher,
    tasks: TaskTracker,
    /// The number of plugins loaded so far, including unloaded ones.
    incarnations: AtomicU64,
    /// Whether plugins are loaded under other ids.
    masked: AtomicBool,
    /// The plugins that are put away meanwhile.
    put_away: std::sync::Mutex<Vec<Arc<ComponentSource>>>,
}

/// A component that was installed.
#[derive(Debug)]
pub struct Installed {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Whether it replaced the component of a loaded plugin.
    pub replaced: bool,
    /// Settings that are back at their defaults because the new component refuses their values.
    pub settings_reset: Vec<SettingReset>,
}

/// An uploaded component.
#[derive(Debug)]
pub struct Uploaded {
    /// The result of its installation.
    pub installed: Installed,
    /// Why it is only in memory, and gone after a restart; `None` when it is in the folder.
    pub not_persisted: Option<String>,
}

/// A plugin that was unloaded.
#[derive(Debug)]
pub struct Unloaded {
    /// Whether its file was removed from the folder.
    pub file_removed: bool,
    /// Why its file is still there: the next start loads it again.
    pub file_kept: Option<String>,
}

impl Registry {
    /// An empty registry. Drivers run on `tasks`.
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
            loading: Loading::default(),
            defaults,
            metrics,
            dispatcher: Dispatcher::new(tasks.clone(), defaults.queue_timeout),
            tasks,
            incarnations: AtomicU64::new(0),
            masked: AtomicBool::new(false),
            put_away: std::sync::Mutex::default(),
        }
    }

    /// The loader that compiles the plugins.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The plugins, in the order of their ids.
    pub fn plugins(&self) -> Arc<Vec<Arc<Plugin>>> {
        self.plugins.load_full()
    }

    /// The plugin with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Plugin>> {
        let plugins = self.plugins.load();
        let index = plugins.binary_search_by(|p| p.id().cmp(id)).ok()?;
        plugins.get(index).cloned()
    }

    fn find(&self, id: &str) -> Result<Arc<Plugin>, PluginError> {
        self.get(id)
            .ok_or_else(|| PluginError::Unknown(id.to_owned()))
    }

    /// The files of the plugins folder that are being loaded.
    pub fn loading(&self) -> Vec<LoadingFile> {
        self.loading.files()
    }

    /// The plugins folder.
    pub fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// Sends a request to every active plugin and waits for their answers, in the order of their
    /// ids. Without an active plugin the answer is empty, and `request` is not called.
    pub async fn dispatch(
        &self,
        request: impl FnOnce() -> GuestRequest,
        trace: &TraceContext,
    ) -> Vec<PluginAnswer> {
        let plugins: Arc<[Arc<Plugin>]> = {
            let plugins = self.plugins.load();
            let mut active = plugins.iter().filter(|p| p.active()).cloned().peekable();
            if active.peek().is_none() {
                return Vec::new();
            }
            active.collect()
        };
        self.dispatcher
            .dispatch(plugins, request(), trace.clone())
            .await
    }

    /// Enables or disables a leak and changes its settings: all or nothing.
    ///
    /// # Errors
    ///
    /// A refused setting, or [`PluginError::NotRunning`] when the guest would have to be called.
    pub async fn update(
        &self,
        plugin: &Plugin,
        enabled: Option<bool>,
        changes: Vec<(String, Value)>,
    ) -> Result<(), PluginError> {
        let (settings, source) = {
            let details = plugin.details();
            (details.settings.clone(), details.source.clone())
        };
        let heap_profile = settings.with(changes.clone())?.policy().heap_profile;
        let compiled = if heap_profile == settings.policy().heap_profile {
            None
        } else {
            // Compiled before the driver gets the command, so that no request waits for it.
            Some(self.loader.reload(&source, heap_profile).await?)
        };
        plugin.update(enabled, changes, compiled).await
    }

    /// Removes all plugins. Their drivers end after the calls in progress.
    pub async fn unload_all(&self) {
        let _changing = self.changing.lock().await;
        self.remove_all();
    }

    /// Removes all plugins from the list, and everything that the host keeps under their ids. The
    /// caller holds `changing`.
    fn remove_all(&self) {
        for plugin in self.plugins.swap(Arc::default()).iter() {
            self.metrics.remove_plugin(plugin.id());
        }
    }

    /// Installs a component as a new plugin, or as the new component of the plugin with its id. The
    /// caller holds `changing`.
    async fn install(&self, started: StartedPlugin) -> Result<Installed, PluginError> {
        if self.is_masked() {
            return Err(PluginError::Masked);
        }
        self.install_unchecked(started).await
    }

    async fn install_unchecked(&self, started: StartedPlugin) -> Result<Installed, PluginError> {
        if let Some(plugin) = self.get(started.id()) {
            let outcome = plugin.replace(started).await?;
            return Ok(Installed {
                plugin,
                replaced: true,
                settings_reset: outcome.settings_reset,
            });
        }
        let metrics = self
            .metrics
            .for_plugin(started.id())
            .map_err(|e| PluginError::Internal(format!("cannot register metrics: {e}")))?;
        let plugin = Plugin::spawn(
            started,
            self.incarnations.fetch_add(1, Ordering::Relaxed),
            self.defaults,
            self.loader.clone(),
            metrics,
            &self.tasks,
        );
        let mut plugins = Vec::clone(&self.plugins.load());
        let index = plugins.partition_point(|p| p.id() < plugin.id());
        plugins.insert(index, plugin.clone());
        self.plugins.store(Arc::new(plugins));
        let details = plugin.details();
        tracing::info!(
            plugin = plugin.id(),
            version = details.manifest.version,
            compile_ms = details.source.compile_time.as_secs_f64() * 1e3,
            cached = details.source.cached,
            "plugin loaded"
        );
        drop(details);
        Ok(Installed {
            plugin,
            replaced: false,
            settings_reset: Vec::new(),
        })
    }

    /// Removes a plugin from the list, and everything that the host keeps under its id. Its driver
    /// ends after the calls in progress. The caller holds `changing`.
    fn remove(&self, id: &str) {
        let mut plugins = Vec::clone(&self.plugins.load());
        plugins.retain(|p| p.id() != id);
        self.plugins.store(Arc::new(plugins));
        self.metrics.remove_plugin(id);
        tracing::info!(plugin = id, "plugin unloaded");
        if let Some(folder) = &self.folder {
            folder.retry_taken_ids();
        }
    }

    /// The file in the folder that a plugin was loaded from, if there is one.
    fn loaded_file(&self, plugin: &Plugin) -> Option<PathBuf> {
        let source = &plugin.details().source;
        (self.folder.is_some() && source.in_memory.is_none()).then(|| source.path.clone())
    }

    fn was_loaded_from(&self, plugin: &Plugin, file: &Path) -> bool {
        self.loaded_file(plugin).is_some_and(|path| path == file)
    }

    /// The heap profile for a component that replaces `current`, or that is new.
    fn heap_profile_for(&self, current: Option<&Plugin>) -> HeapProfile {
        current.map_or(self.defaults.heap_profile, |plugin| {
            plugin.details().settings.policy().heap_profile
        })
    }
}

/// Returns a function that tells whether an id is among these plugins. The plugins are in the order
/// of their ids, and the calls must be in that order too.
pub fn contains_in_order(plugins: &[Arc<Plugin>]) -> impl FnMut(&str) -> bool {
    let mut rest = plugins.iter().map(|plugin| plugin.id()).peekable();
    move |id| {
        while rest.next_if(|next| *next < id).is_some() {}
        rest.peek().is_some_and(|next| *next == id)
    }
}
