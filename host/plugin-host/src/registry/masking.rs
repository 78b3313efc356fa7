//! Loads some plugins under other ids and puts all others away: the host no longer tells which
//! plugins it runs.
//!
//! The components are loaded again: a plugin under another id has its own metrics, history and
//! heap, and nothing of it carries the old name. Meanwhile the plugins folder is not followed, and
//! uploads are refused.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::error::PluginError;
use crate::load::component_source::ComponentSource;
use crate::load::started_plugin::StartedPlugin;
use crate::registry::Registry;

/// A plugin, and the id that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The id of a loaded plugin.
    pub id: String,
    /// The id under which it is loaded again.
    pub alias: String,
}

/// Plugins that could not be loaded again.
#[derive(Debug, Default)]
pub struct Unmasked {
    /// The number of plugins that are loaded again.
    pub loaded: usize,
    /// The file of a plugin that is not, and why.
    pub failed: Vec<(String, PluginError)>,
}

impl Registry {
    /// Whether plugins are loaded under other ids.
    pub fn is_masked(&self) -> bool {
        self.masked.load(Ordering::SeqCst)
    }

    /// Loads these plugins under other ids, each as a fresh instance with its leak off and the
    /// default settings, and puts away all plugins that were loaded.
    ///
    /// # Errors
    ///
    /// [`PluginError::Masked`] if plugins are masked already, [`PluginError::Unknown`], and the
    /// errors of loading. Nothing has changed then.
    pub async fn mask(&self, masks: &[Mask]) -> Result<(), PluginError> {
        let mut started = Vec::with_capacity(masks.len());
        for mask in masks {
            started.push(self.start_masked(mask).await?);
        }
        let _changing = self.changing.lock().await;
        if self.masked.swap(true, Ordering::SeqCst) {
            return Err(PluginError::Masked);
        }
        let sources: Vec<_> = self
            .plugins()
            .iter()
            .map(|plugin| plugin.details().source.clone())
            .collect();
        self.remove_all();
        *self.put_away() = sources;
        tracing::info!(plugins = started.len(), "plugins run under other names");
        for plugin in started {
            if let Err(error) = self.install_unchecked(plugin).await {
                self.remove_all();
                self.restore().await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the masking: unloads the masked plugins and loads those again that were put away, with
    /// their leaks off. Does nothing if no plugin is masked.
    pub async fn unmask(&self) -> Unmasked {
        let _changing = self.changing.lock().await;
        if !self.is_masked() {
            return Unmasked::default();
        }
        self.remove_all();
        let unmasked = self.restore().await;
        tracing::info!(
            plugins = unmasked.loaded,
            "plugins run under their own names"
        );
        unmasked
    }

    async fn start_masked(&self, mask: &Mask) -> Result<StartedPlugin, PluginError> {
        let source = self.find(&mask.id)?.details().source.clone();
        let profile = self.defaults.heap_profile;
        let component = self.loader.reload(&source, profile).await?;
        let mut started = StartedPlugin::start(component, None, &self.defaults).await?;
        started.mask(&mask.alias)?;
        Ok(started)
    }

    /// Loads the plugins again that were put away. The caller holds `changing`.
    async fn restore(&self) -> Unmasked {
        let mut unmasked = Unmasked::default();
        let sources = std::mem::take(&mut *self.put_away());
        for source in sources {
            match self.start_again(&source).await {
                Ok(()) => unmasked.loaded += 1,
                Err(error) => {
                    let file = source.path.display().to_string();
                    tracing::error!(file, %error, "plugin not loaded again");
                    unmasked.failed.push((file, error));
                }
            }
        }
        self.masked.store(false, Ordering::SeqCst);
        if let Some(folder) = &self.folder {
            folder.changed().notify_one();
        }
        unmasked
    }

    async fn start_again(&self, source: &Arc<ComponentSource>) -> Result<(), PluginError> {
        let profile = self.defaults.heap_profile;
        let component = self.loader.reload(source, profile).await?;
        let name = source.path.file_stem().unwrap_or_default();
        let name = name.to_string_lossy();
        let started = StartedPlugin::start(component, Some(&name), &self.defaults).await?;
        self.install_unchecked(started).await?;
        Ok(())
    }

    fn put_away(&self) -> MutexGuard<'_, Vec<Arc<ComponentSource>>> {
        self.put_away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
