//! The plugins that are loaded, and the way of a request to those that are switched on.
//!
//! Readers take the list without a lock. Changes to it are rare and one at a time, so that an id can never be
//! taken twice.

mod loading;

use std::future::poll_fn;
use std::hint;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::driver::{self, Answer, InvocationResult, Replacement};
use super::error::PluginError;
use super::folder::Folder;
use super::handle::Plugin;
use super::loader::Loader;
use super::request::Request;
use super::settings::{Defaults, SettingReset};
use crate::telemetry::context::TraceContext;
use crate::telemetry::metrics::Metrics;

/// How long a request waits for a plugin beyond the deadline of one call, for what is queued before it.
const QUEUE_GRACE: Duration = Duration::from_millis(50);

/// A plugin that is busy is tried so often before the request is put into its mailbox. Most calls are over within that
/// time, which is some microseconds; being woken by the answer takes longer.
const SPINS: u32 = 64;

/// The loaded plugins, in the order of their ids.
pub(crate) struct Registry {
    plugins: ArcSwap<Vec<Arc<Plugin>>>,
    /// Held while the list changes.
    changing: Mutex<()>,
    loader: Loader,
    folder: Option<Arc<Folder>>,
    defaults: Defaults,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    /// Plugins that have been loaded so far, those that are gone included.
    lives: AtomicU64,
}

/// A component that has been taken in.
#[derive(Debug)]
pub(crate) struct Placed {
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    /// Whether it is in the place of one that was there.
    pub(crate) replaced: bool,
    /// Settings whose values the new component does not take: they are at their defaults.
    pub(crate) settings_reset: Vec<SettingReset>,
}

/// A plugin and its answer, if it has been asked yet.
type Asked = (Arc<Plugin>, Option<Result<Answer, PluginError>>);

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
            folder: folder.map(|path| Arc::new(Folder::new(path))),
            defaults,
            metrics,
            tasks,
            lives: AtomicU64::new(0),
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

    /// The folder that plugins are loaded from.
    pub(crate) fn folder(&self) -> Option<&Arc<Folder>> {
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
        let metrics =
            self.metrics.plugins.for_plugin(fresh.id()).map_err(|e| {
                PluginError::Refused(format!("its metrics cannot be registered: {e}"))
            })?;
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

    /// Hands a request to every plugin that is switched on and waits for their answers: those that are free first, one
    /// after the other on this task; those that are busy, or have to wait, side by side. The result is in the order of
    /// their ids and empty when no leak is on: then no wasm is entered.
    pub(crate) async fn dispatch(
        &self,
        request: impl FnOnce() -> Request,
        trace: &TraceContext,
    ) -> Vec<Handled> {
        let mut asked: Vec<Asked> = {
            let plugins = self.plugins.load();
            let enabled = plugins.iter().filter(|p| p.enabled());
            enabled.map(|p| (p.clone(), None)).collect()
        };
        if asked.is_empty() {
            return Vec::new();
        }
        let request = Arc::new(request());
        poll_fn(|context| {
            ask(&mut asked, &request, trace, context);
            Poll::Ready(())
        })
        .await;
        // Of its own memory: what is seldom waited for is not to make every request larger.
        Box::pin(answers(asked)).await
    }

    /// Drops all plugins; their drivers end when the calls in flight are done.
    pub(crate) async fn unload_all(&self) {
        let _changing = self.changing.lock().await;
        for plugin in self.plugins.swap(Arc::default()).iter() {
            self.metrics.remove_plugin(plugin.id());
        }
    }
}

/// Asks every plugin: those that are free first, then those that were busy a moment ago.
fn ask(
    asked: &mut [Asked],
    request: &Arc<Request>,
    trace: &TraceContext,
    context: &mut Context<'_>,
) {
    for (plugin, answer) in asked.iter_mut() {
        *answer = plugin.try_invoke(request, trace, context).transpose();
    }
    for (plugin, answer) in asked {
        for _ in 0..SPINS {
            if answer.is_some() {
                break;
            }
            hint::spin_loop();
            *answer = plugin.try_invoke(request, trace, context).transpose();
        }
        answer.get_or_insert_with(|| plugin.queue(request, trace));
    }
}

/// Waits for those answers that are not there yet.
async fn answers(asked: Vec<Asked>) -> Vec<Handled> {
    // One timer for all of them, which is set again only for one that is slow.
    let mut patience = pin!(None);
    let mut handled = Vec::with_capacity(asked.len());
    for (plugin, answer) in asked {
        let gone = || InvocationResult::Failed(PluginError::Gone(plugin.id().into()).to_string());
        let result = match answer {
            None => gone(),
            Some(Err(error)) => InvocationResult::Failed(error.to_string()),
            Some(Ok(Answer::Now(invocation))) => invocation.result,
            Some(Ok(Answer::Later(answer))) => {
                let most = plugin.details().settings.policy().deadline + QUEUE_GRACE;
                match answer_within(most, answer, patience.as_mut()).await {
                    Some(Ok(invocation)) => invocation.result,
                    Some(Err(_)) => gone(),
                    None => InvocationResult::Failed(format!(
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

/// The answer, or none when it takes longer than `most` from now. The timer may be set to any time up to then; there is
/// one from the first wait on.
async fn answer_within<T>(
    most: Duration,
    mut answer: oneshot::Receiver<T>,
    mut timer: Pin<&mut Option<Sleep>>,
) -> Option<Result<T, RecvError>> {
    let until = Instant::now() + most;
    if timer.is_none() {
        timer.set(Some(tokio::time::sleep(QUEUE_GRACE)));
    }
    let mut timer = timer.as_pin_mut()?;
    loop {
        tokio::select! {
            biased;
            answered = &mut answer => return Some(answered),
            () = &mut timer => {
                if Instant::now() >= until {
                    return None;
                }
                timer.as_mut().reset(until);
            }
        }
    }
}

/// Tells of one id after the other, in their order, whether it is among these plugins, which are in that order too.
pub(crate) fn still_loaded(plugins: &[Arc<Plugin>]) -> impl FnMut(&str) -> bool {
    let mut rest = plugins.iter().map(|plugin| plugin.id()).peekable();
    move |id| {
        while rest.next_if(|next| *next < id).is_some() {}
        rest.peek().is_some_and(|next| *next == id)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_answer_has_its_time_from_when_it_is_waited_for() {
        let most = QUEUE_GRACE * 4;
        let started = Instant::now();
        let mut timer = pin!(None);
        let (slow, answer) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(QUEUE_GRACE * 2).await;
            let _ = slow.send(1);
        });
        let answered = answer_within(most, answer, timer.as_mut()).await;
        assert_eq!(answered, Some(Ok(1)));
        let (too_slow, answer) = oneshot::channel::<u8>();
        let answered = answer_within(most, answer, timer.as_mut()).await;
        assert_eq!(answered, None);
        assert!(started.elapsed() >= QUEUE_GRACE * 6);
        assert!(too_slow.is_closed());
        let (gone, answer) = oneshot::channel::<u8>();
        drop(gone);
        assert!(answer_within(most, answer, timer).await.unwrap().is_err());
    }
}
