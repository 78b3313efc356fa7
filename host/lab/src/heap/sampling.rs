//! The histories: one reading of every plugin a second, of what has changed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use guest_heap::snapshot::Snapshot;

use super::{Heaps, Pushed, Unexplained, View, account, read};
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::registry::Registry;
use process_memory::allocator;

/// A plugin that does not answer within this time is left out of one sample.
const PATIENCE: Duration = Duration::from_millis(400);

/// Plugins that are read at the same time.
const AT_ONCE: usize = 8;

/// A history gets a point at least this often, changed or not.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A reading this young answers questions about the history, so that asking often does not fill it.
const FRESH: Duration = Duration::from_millis(100);

/// Why a reading goes into the history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// A second has passed.
    Clock,
    /// Somebody asks what the history says.
    Question,
}

impl Heaps {
    /// Takes one reading of every plugin into its history. Meant to be called once a second.
    pub async fn sample(&self, registry: &Registry) {
        let plugins = registry.plugins();
        self.keep_only(&plugins);
        // Some are waited for, and those behind them are not to be late for that.
        let mut samples = FuturesUnordered::new();
        for plugin in plugins.iter() {
            samples.push(self.sample_or_say(plugin));
            if samples.len() == AT_ONCE {
                samples.next().await;
            }
        }
        while samples.next().await.is_some() {}
        if self.released.swap(false, Ordering::Relaxed) {
            // Some milliseconds, and nobody waits for it.
            tokio::task::spawn_blocking(allocator::release_free_pages);
        }
    }

    async fn sample_or_say(&self, plugin: &Arc<Plugin>) {
        if let Err(error) = self.sample_one(plugin, Occasion::Clock).await {
            tracing::debug!(plugin = plugin.id(), %error, "no sample of its heap");
        }
    }

    /// Brings a plugin's history up to this moment, before it is asked about.
    ///
    /// # Errors
    ///
    /// As [`Heaps::snapshot`].
    pub async fn freshen(&self, plugin: &Arc<Plugin>) -> Result<(), PluginError> {
        self.sample_one(plugin, Occasion::Question).await
    }

    async fn sample_one(
        &self,
        plugin: &Arc<Plugin>,
        occasion: Occasion,
    ) -> Result<(), PluginError> {
        let view = self.view(plugin);
        let asked = occasion == Occasion::Question;
        let mut known = if asked {
            view.books.lock().await
        } else {
            // One that somebody else is reading will be read in a second.
            match view.books.try_lock() {
                Ok(known) => known,
                Err(_) => return Ok(()),
            }
        };
        let now = self.now();
        let published = plugin.reading();
        if asked && known.pushed.is_some_and(|last| now < last.at + FRESH) {
            return Ok(());
        }
        // What the history knows counts here, not what somebody has been told meanwhile.
        let quiet = published.generation == known.generation
            && known.pushed.is_some_and(|last| {
                now < last.at + HEARTBEAT && Some(last.live_bytes) == published.heap_live
            });
        if quiet && !asked {
            // Nobody needs the line tables until something new comes up.
            if let Some((_, symbols)) = &known.symbols {
                if symbols.release_parsed() {
                    self.released.store(true, Ordering::Relaxed);
                }
                account(&view, &known, symbols);
            }
            return Ok(());
        }
        let idle = !asked && known.symbols.is_none() && published.requests == 0;
        let unexplained = known.unexplained.as_ref().map(|u| u.generation);
        if idle && unexplained == Some(published.generation) {
            return Ok(());
        }
        // One that is busy will be read in a second.
        let Ok(answer) = tokio::time::timeout(PATIENCE, read(plugin, &mut known)).await else {
            return Ok(());
        };
        let Some((origin, reading)) = answer? else {
            return Ok(());
        };
        if idle {
            known.unexplained = Some(Unexplained {
                at: now,
                generation: known.generation,
                reading,
            });
            return Ok(());
        }
        // One after the other: each takes a thread, and nobody waits for it.
        let _turn = if asked {
            None
        } else {
            Some(self.explaining.lock().await)
        };
        let current = known.generation;
        let first = known.unexplained.take();
        if let Some(first) = first.filter(|first| first.generation == current) {
            let snapshot = self
                .explain(&view, &mut known, origin.clone(), first.reading)
                .await?;
            push(&view, first.at, &snapshot);
        }
        let snapshot = self.explain(&view, &mut known, origin, reading).await?;
        push(&view, now, &snapshot);
        known.pushed = Some(Pushed {
            at: now,
            live_bytes: snapshot.totals().live_bytes,
        });
        Ok(())
    }
}

fn push(view: &View, at: Duration, snapshot: &Snapshot) {
    let mut history = view.history.lock().unwrap_or_else(PoisonError::into_inner);
    history.push(at, snapshot);
    let bytes = history.memory_bytes() as u64;
    view.history_bytes.store(bytes, Ordering::Relaxed);
}
