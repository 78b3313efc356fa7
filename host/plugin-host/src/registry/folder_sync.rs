//! Keeps the loaded plugins in step with the plugins folder.
//!
//! Files are loaded side by side, so that one that takes long delays no other.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::blocking::run_blocking;
use crate::error::PluginError;
use crate::load::compiler::Urgency;
use crate::load::component_source::ComponentSource;
use crate::load::folder::{FileVersion, Folder, Scan};
use crate::load::started_plugin::StartedPlugin;
use crate::load::watch::{FolderWatch, SETTLE_TIME};
use crate::registry::Registry;
use crate::registry::loading::LoadStage;

/// Files that are read and compiled at a time. The compiler itself takes fewer of them.
const MAX_PARALLEL_READS: usize = 4;

/// How long a plugin that is ready waits for the file before it. Two files with the same id are
/// therefore taken in the order of their names, unless the first one takes long.
const ORDER_TIMEOUT: Duration = Duration::from_millis(250);

/// How long removed files wait for the new ones of the same scan: a renamed file is still the same
/// plugin.
const RENAME_TIMEOUT: Duration = Duration::from_secs(2);

impl Registry {
    /// Loads every component in the folder. A component that is refused is logged, kept on record
    /// and left out.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unreadable`] when the folder cannot be read.
    pub async fn load_folder(&self) -> Result<(), PluginError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let scanning = {
            let folder = folder.clone();
            run_blocking(move || {
                folder.remove_abandoned_uploads();
                folder
                    .scan(Duration::ZERO)
                    .map_err(|source| PluginError::Unreadable {
                        path: folder.path().to_owned(),
                        source,
                    })
            })
        };
        let scan = scanning.await?;
        self.load_files(folder, scan.ready).await;
        Ok(())
    }

    /// Follows the folder until `stopping`: loads new components, replaces changed ones and unloads
    /// removed ones. Returns at once without a folder.
    pub async fn follow_folder(self: Arc<Self>, stopping: CancellationToken) {
        let Some(folder) = &self.folder else {
            return;
        };
        let mut watch = FolderWatch::new(folder.clone());
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = watch.scan_due() => {}
            }
            if self.is_masked() {
                // Changes count from the end of the masking: no scan has seen them before.
                continue;
            }
            // After an error the folder has it on record, and nothing changes.
            let scanning = {
                let folder = folder.clone();
                tokio::task::spawn_blocking(move || folder.scan(SETTLE_TIME))
            };
            let scan = scanning.await.ok().and_then(Result::ok).unwrap_or_default();
            watch.scanned(scan.unsettled);
            if scan.ready.is_empty() && scan.removed.is_empty() {
                continue;
            }
            // A task of its own: a file that takes long must not delay later changes.
            let (registry, stopping) = (self.clone(), stopping.clone());
            let folder = folder.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = registry.apply_changes(&folder, scan) => {}
                }
            });
        }
    }

    /// Applies the changes of the folder that have settled: new files first, then removed ones.
    async fn apply_changes(&self, folder: &Folder, scan: Scan) {
        let mut loads = pin!(self.load_files(folder, scan.ready));
        let loaded = timeout(RENAME_TIMEOUT, &mut loads).await.is_ok();
        for path in scan.removed {
            let _changing = self.changing.lock().await;
            if !path.exists() {
                self.remove_plugins_of(&path, None);
            }
            folder.forget(&path);
        }
        if !loaded {
            loads.await;
        }
    }

    /// Loads files side by side. Returns when all of them are loaded or refused.
    async fn load_files(&self, folder: &Folder, ready: Vec<(PathBuf, FileVersion)>) {
        let reads = Semaphore::new(MAX_PARALLEL_READS);
        let mut loads = FuturesUnordered::new();
        let mut before = None;
        for (path, version) in ready {
            let (done, after) = oneshot::channel();
            let stage = self.loading.begin(&path);
            let (reads, before) = (&reads, before.replace(after));
            loads.push(async move {
                let loaded = self
                    .load_one(folder, &path, version, reads, before, &stage)
                    .await;
                if let Err(error) = &loaded {
                    tracing::error!(file = %path.display(), %error, "plugin refused");
                }
                folder.record_outcome(&path, version, loaded.as_ref().copied());
                drop((stage, done));
            });
        }
        while loads.next().await.is_some() {}
    }

    /// Loads one file. `before` is closed when the file before it is done.
    async fn load_one(
        &self,
        folder: &Folder,
        path: &Path,
        version: FileVersion,
        reads: &Semaphore,
        before: Option<oneshot::Receiver<()>>,
        stage: &LoadStage<'_>,
    ) -> Result<(), PluginError> {
        let component = {
            let _permit = reads.acquire().await;
            let profile = {
                let plugins = self.plugins();
                let current = plugins.iter().find(|p| self.was_loaded_from(p, path));
                self.heap_profile_for(current.map(Arc::as_ref))
            };
            stage.compiling();
            self.loader
                .load_file(path, profile, Urgency::Folder)
                .await?
        };
        stage.starting();
        let log_name = path
            .file_stem()
            .map_or("plugin".into(), |s| s.to_string_lossy().into_owned());
        let started = StartedPlugin::start(component, Some(&log_name), &self.defaults).await?;
        if let Some(before) = before {
            // Done, or too slow to wait for.
            let _ = timeout(ORDER_TIMEOUT, before).await;
        }
        let _changing = self.changing.lock().await;
        if !folder.is_current(path, version) || !path.exists() {
            // Changed or removed meanwhile: a later load has the newer version.
            return Ok(());
        }
        self.install_from_file(path, started).await
    }

    /// Installs a component from a file. The caller holds `changing`.
    async fn install_from_file(
        &self,
        path: &Path,
        started: StartedPlugin,
    ) -> Result<(), PluginError> {
        if let Some(plugin) = self.get(started.id()) {
            let owner = plugin.details().source.clone();
            if owner.path == path && owner.in_memory.is_none() {
                if owner.digest == started.source().digest {
                    return Ok(());
                }
            } else if owner.in_memory.is_some() || owner.path.exists() {
                return Err(PluginError::IdTaken {
                    id: started.id().to_owned(),
                    owner: source_of(&owner),
                });
            }
        }
        let installed = self.install(started).await?;
        self.remove_plugins_of(path, Some(installed.plugin.id()));
        Ok(())
    }

    /// Removes the plugins that were loaded from a file, except the one that it has now.
    fn remove_plugins_of(&self, path: &Path, except: Option<&str>) {
        for plugin in self.plugins().iter() {
            if self.was_loaded_from(plugin, path) && Some(plugin.id()) != except {
                self.remove(plugin.id());
            }
        }
    }
}

fn source_of(source: &ComponentSource) -> String {
    match source.in_memory {
        Some(_) => "a component that was uploaded to the admin API".to_owned(),
        None => source.path.display().to_string(),
    }
}
