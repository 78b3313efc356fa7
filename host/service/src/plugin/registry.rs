//! The plugins that are loaded, and the way of a request to those that are switched on.
//!
//! Readers take the list without a lock. Changes to it are rare and one at a time, so that an id can never be
//! taken twice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, oneshot};
use tokio_util::task::TaskTracker;

use super::driver::{self, Invocation, InvocationResult, Replacement};
use super::error::PluginError;
use super::handle::Plugin;
use super::instance::Request;
use super::loader::{Loaded, Loader, Profile};
use super::settings::Defaults;
use crate::telemetry::context::TraceContext;
use crate::telemetry::metrics::Metrics;

/// How long a request waits for a plugin beyond the deadline of one call, for what is queued before it.
const QUEUE_GRACE: Duration = Duration::from_millis(50);

/// The loaded plugins, in the order of their ids.
pub(crate) struct Registry {
    plugins: ArcSwap<Vec<Arc<Plugin>>>,
    /// Held while the list changes.
    changing: Mutex<()>,
    loader: Loader,
    folder: Option<PathBuf>,
    defaults: Defaults,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
}

/// A plugin and where its answer will come from.
type Asked = (
    Arc<Plugin>,
    Result<oneshot::Receiver<Invocation>, PluginError>,
);

/// What one plugin did with a request.
#[derive(Debug)]
pub(crate) struct Handled {
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    /// How it went.
    pub(crate) result: InvocationResult,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn new(
        loader: Loader,
        folder: Option<PathBuf>,
        defaults: Defaults,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        Registry {
            plugins: ArcSwap::default(),
            changing: Mutex::new(()),
            loader,
            folder,
            defaults,
            metrics,
            tasks,
        }
    }

    /// Reads what components were loaded from.
    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The plugins, in the order of their ids.
    pub(crate) fn plugins(&self) -> Arc<Vec<Arc<Plugin>>> {
        self.plugins.load_full()
    }

    /// The plugin of this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Plugin>> {
        let plugins = self.plugins.load();
        let at = plugins.binary_search_by(|p| p.id().cmp(id)).ok()?;
        plugins.get(at).cloned()
    }

    /// Loads every component in the folder. One that is refused is logged and left out.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(crate) async fn load_folder(&self) -> Result<(), PluginError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let unreadable = |source| PluginError::Unreadable {
            path: folder.clone(),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|e| e == "wasm") {
                files.push(path);
            }
        }
        files.sort();
        let profile = Profile::wanted(self.defaults.heap_profile);
        let compiling: Vec<_> = files
            .iter()
            .map(|path| {
                let (loader, path) = (self.loader.clone(), path.clone());
                blocking(move || loader.load_file(&path, profile))
            })
            .collect();
        for (path, compiled) in files.iter().zip(compiling) {
            let added = match compiled.await {
                Ok(loaded) => self.add(loaded).await,
                Err(error) => Err(error),
            };
            if let Err(error) = added {
                tracing::error!(file = %path.display(), %error, "plugin refused");
            }
        }
        Ok(())
    }

    /// Takes a component in: as a new plugin, or in the place of the one with its id if that came from the
    /// same file.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] and [`PluginError::IdTaken`].
    pub(crate) async fn add(&self, loaded: Loaded) -> Result<Arc<Plugin>, PluginError> {
        let name = loaded
            .origin
            .path
            .file_stem()
            .map_or("plugin".into(), |s| s.to_string_lossy().into_owned());
        let fresh = Replacement::start(loaded, &name, self.defaults).await?;
        self.put(fresh).await
    }

    async fn put(&self, fresh: Replacement) -> Result<Arc<Plugin>, PluginError> {
        let _changing = self.changing.lock().await;
        if let Some(plugin) = self.get(fresh.id()) {
            let owner = plugin.details().origin.path.clone();
            if owner != fresh.path() {
                return Err(PluginError::IdTaken {
                    id: fresh.id().to_owned(),
                    owner: owner.display().to_string(),
                });
            }
            plugin.replace(fresh).await?;
            return Ok(plugin);
        }
        let metrics =
            self.metrics.plugins.for_plugin(fresh.id()).map_err(|e| {
                PluginError::Refused(format!("its metrics cannot be registered: {e}"))
            })?;
        let plugin = driver::spawn(
            fresh,
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
        Ok(plugin)
    }

    /// Hands a request to every plugin that is switched on, all at once, and waits for their answers. The result
    /// is in the order of their ids and empty when no leak is on: then no wasm is entered.
    pub(crate) async fn dispatch(
        &self,
        request: impl FnOnce() -> Request,
        trace: &TraceContext,
    ) -> Vec<Handled> {
        let asked = self.ask_enabled(request, trace);
        let mut handled = Vec::with_capacity(asked.len());
        for (plugin, answer) in asked {
            let result = match answer {
                Err(error) => InvocationResult::Failed(error.to_string()),
                Ok(answer) => {
                    let most = plugin.details().settings.policy().deadline + QUEUE_GRACE;
                    match tokio::time::timeout(most, answer).await {
                        Ok(Ok(invocation)) => invocation.result,
                        Ok(Err(_)) => InvocationResult::Failed(
                            PluginError::Gone(plugin.id().into()).to_string(),
                        ),
                        Err(_) => InvocationResult::Failed(format!(
                            "slow: no answer within {} ms; its call goes on",
                            most.as_millis()
                        )),
                    }
                }
            };
            handled.push(Handled { plugin, result });
        }
        handled
    }

    fn ask_enabled(&self, request: impl FnOnce() -> Request, trace: &TraceContext) -> Vec<Asked> {
        let plugins = self.plugins.load();
        let mut enabled = plugins.iter().filter(|p| p.enabled()).peekable();
        if enabled.peek().is_none() {
            return Vec::new();
        }
        let request = Arc::new(request());
        enabled
            .map(|plugin| {
                (
                    plugin.clone(),
                    plugin.invoke(request.clone(), trace.clone()),
                )
            })
            .collect()
    }

    /// Drops all plugins; their drivers end when the calls in flight are done.
    pub(crate) async fn unload_all(&self) {
        let _changing = self.changing.lock().await;
        for plugin in self.plugins.swap(Arc::default()).iter() {
            self.metrics.plugins.remove_plugin(plugin.id());
            self.metrics.growth.remove_plugin(plugin.id());
        }
    }
}

/// Starts blocking work at once; the future waits for its end.
pub(crate) fn blocking<T: Send + 'static>(
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
