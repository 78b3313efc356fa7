//! Keeps the loaded plugins in step with the plugins folder.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::blocking::run_blocking;
use crate::error::PluginError;
use crate::load::folder::{FileVersion, Folder};
use crate::load::loader::{CompiledComponent, ComponentSource};
use crate::load::started_plugin::StartedPlugin;
use crate::load::watch::{FolderWatch, SETTLE_TIME};
use crate::registry::Registry;

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
        let scan = folder
            .scan(Duration::ZERO)
            .map_err(|source| PluginError::Unreadable {
                path: folder.path().to_owned(),
                source,
            })?;
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
            tokio::select! {
                () = stopping.cancelled() => return,
                unsettled = self.apply_changes(folder) => watch.scanned(unsettled),
            }
        }
    }

    /// Applies the changes of the folder that have settled. Returns whether other files have not
    /// settled yet.
    async fn apply_changes(&self, folder: &Arc<Folder>) -> bool {
        // After an error the folder has it on record, and nothing changes.
        let scanning = {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || folder.scan(SETTLE_TIME))
        };
        let Ok(Ok(scan)) = scanning.await else {
            return false;
        };
        // New files first, then removed ones: a renamed file is still the same plugin.
        self.load_files(folder, scan.ready).await;
        for path in scan.removed {
            let _changing = self.changing.lock().await;
            if !path.exists() {
                self.remove_plugins_of(&path, None);
            }
            folder.forget(&path);
        }
        scan.unsettled
    }

    /// Compiles several files at a time, and installs them in the order of their names.
    async fn load_files(&self, folder: &Folder, ready: Vec<(PathBuf, FileVersion)>) {
        let max_parallel = std::thread::available_parallelism().map_or(2, usize::from);
        let mut waiting = ready.into_iter();
        let mut compiling = VecDeque::with_capacity(max_parallel);
        loop {
            while compiling.len() < max_parallel
                && let Some((path, version)) = waiting.next()
            {
                let (loader, file) = (self.loader.clone(), path.clone());
                let profile = {
                    let plugins = self.plugins();
                    let current = plugins.iter().find(|p| self.was_loaded_from(p, &path));
                    self.heap_profile_for(current.map(Arc::as_ref))
                };
                let compiled = run_blocking(move || loader.load_file(&file, profile));
                compiling.push_back((path, version, compiled));
            }
            let Some((path, version, compiled)) = compiling.pop_front() else {
                return;
            };
            let installed = match compiled.await {
                Ok(component) => self.install_from_file(component).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &installed {
                tracing::error!(file = %path.display(), %error, "plugin refused");
            }
            folder.mark_handled(&path, version, installed.as_ref().map(drop));
        }
    }

    async fn install_from_file(&self, component: CompiledComponent) -> Result<(), PluginError> {
        let path = component.source.path.clone();
        let log_name = path
            .file_stem()
            .map_or("plugin".into(), |s| s.to_string_lossy().into_owned());
        let started = StartedPlugin::start(component, &log_name, &self.defaults).await?;
        let _changing = self.changing.lock().await;
        if !path.exists() {
            // Removed during the compilation.
            return Ok(());
        }
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
        self.remove_plugins_of(&path, Some(installed.plugin.id()));
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
