//! Loads, reloads and unloads on request of the admin API.
//!
//! The folder and the loaded plugins stay the same: an uploaded component is written to the folder,
//! so that it survives a restart. Where that is not possible the host keeps it in memory, and the
//! answer says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::driver::handle::Plugin;
use crate::error::PluginError;
use crate::load::compiler::Urgency;
use crate::load::staged_file::StagedFile;
use crate::load::started_plugin::StartedPlugin;
use crate::registry::{Installed, Registry, Unloaded, Uploaded};

/// The longest that an unload waits for the calls in progress before it answers.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(5);

impl Registry {
    /// Loads a component under an id, replaces the plugin that has the id, and writes the component
    /// to the folder.
    ///
    /// # Errors
    ///
    /// [`PluginError::IdMismatch`], [`PluginError::FileTaken`], [`PluginError::TooLarge`] and
    /// [`PluginError::Refused`]. Nothing has changed then.
    pub async fn upload(
        self: &Arc<Self>,
        id: &str,
        bytes: Arc<[u8]>,
    ) -> Result<Uploaded, PluginError> {
        self.loader.check_size(bytes.len() as u64)?;
        let (path, staged) = self.stage(id, bytes.clone()).await?;
        let profile = self.heap_profile_for(self.get(id).as_deref());
        let compiling = self
            .loader
            .load(bytes.clone(), &path, profile, Urgency::Client);
        let mut component = compiling.await?;
        if staged.is_err() {
            component.source.in_memory = Some(bytes);
        }
        let started = StartedPlugin::start(component, Some(id), &self.defaults).await?;
        check_id_matches(&started, id)?;
        // A task of its own: if the client goes away now, plugin and file still stay the same.
        let registry = self.clone();
        let installing = async move { registry.install_upload(started, &path, staged).await };
        let uploaded = self.tasks.spawn(installing).await;
        uploaded.unwrap_or_else(|_| Err(PluginError::Gone(id.to_owned())))
    }

    /// Installs an uploaded component and moves its file into place.
    async fn install_upload(
        &self,
        started: StartedPlugin,
        path: &Path,
        staged: io::Result<StagedFile>,
    ) -> Result<Uploaded, PluginError> {
        let _changing = self.changing.lock().await;
        self.check_file_free(path, started.id())?;
        let installed = self.install(started).await?;
        let committing =
            tokio::task::spawn_blocking(move || staged.and_then(StagedFile::commit_durably));
        let committed = committing
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e)));
        if let Some(folder) = self.folder.as_ref().filter(|_| committed.is_ok()) {
            folder.mark_current(path);
        }
        let not_persisted = committed.err().map(|error| error.to_string());
        if let Some(why) = &not_persisted {
            tracing::warn!(
                plugin = installed.plugin.id(),
                why,
                "kept in memory only: gone after a restart"
            );
        }
        Ok(Uploaded {
            installed,
            not_persisted,
        })
    }

    /// Writes a component to a hidden file in the folder. The inner error says why that is not
    /// possible.
    async fn stage(
        &self,
        id: &str,
        bytes: Arc<[u8]>,
    ) -> Result<(PathBuf, io::Result<StagedFile>), PluginError> {
        let Some(folder) = &self.folder else {
            let none = io::Error::other("the host was started without a plugins folder");
            return Ok((PathBuf::from(format!("{id}.wasm")), Err(none)));
        };
        let current = self.get(id).and_then(|plugin| self.loaded_file(&plugin));
        let path = current.unwrap_or_else(|| folder.upload_path(id));
        self.check_file_free(&path, id)?;
        let staging = {
            let (folder, target) = (folder.clone(), path.clone());
            tokio::task::spawn_blocking(move || folder.stage(target, &bytes))
        };
        let staged = staging.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        Ok((path, staged))
    }

    fn check_file_free(&self, path: &Path, id: &str) -> Result<(), PluginError> {
        let plugins = self.plugins();
        let mut others = plugins.iter().filter(|p| p.id() != id);
        match others.find(|p| self.was_loaded_from(p, path)) {
            None => Ok(()),
            Some(owner) => Err(PluginError::FileTaken {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                owner: owner.id().to_owned(),
            }),
        }
    }

    /// Reads a plugin's file again and goes on with its current content. A plugin without a file
    /// goes on with the same component. Either way it gets a fresh instance with the same settings.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unknown`], [`PluginError::Unreadable`], [`PluginError::IdMismatch`] when the
    /// file has another plugin now, and [`PluginError::Refused`]. Nothing has changed then.
    pub async fn reload(&self, id: &str) -> Result<Installed, PluginError> {
        loop {
            let plugin = self.find(id)?;
            let source = plugin.details().source.clone();
            let profile = self.heap_profile_for(Some(&plugin));
            drop(plugin);
            let (loader, path) = (&self.loader, &source.path);
            let compiled = match &source.in_memory {
                Some(_) => loader.reload(&source, profile).await?,
                None => loader.load_file(path, profile, Urgency::Client).await?,
            };
            let started = StartedPlugin::start(compiled, Some(id), &self.defaults).await?;
            check_id_matches(&started, id)?;
            let _changing = self.changing.lock().await;
            // Tries again if the plugin was replaced during the compilation: this component may be
            // older than the one that it has now.
            if self.find(id)?.details().source.is_same(&source) {
                return self.install(started).await;
            }
        }
    }

    /// Unloads a plugin and removes its file from the folder, also that of an earlier version if
    /// the last upload could not be stored. Waits at most 5 seconds for
    /// the calls in progress.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unknown`].
    pub async fn unload(&self, id: &str) -> Result<Unloaded, PluginError> {
        let (unloaded, ended) = {
            let _changing = self.changing.lock().await;
            let plugin = self.find(id)?;
            let file = self.loaded_file(&plugin);
            let file = file.or_else(|| self.older_file(&plugin));
            let removed = file.as_ref().map(fs::remove_file);
            self.remove(id);
            if let (Some(folder), Some(file)) = (&self.folder, &file) {
                folder.mark_current(file);
            }
            let error = removed.as_ref().and_then(|r| r.as_ref().err());
            let error = error.filter(|e| e.kind() != io::ErrorKind::NotFound);
            let unloaded = Unloaded {
                file_removed: matches!(removed, Some(Ok(()))),
                file_kept: error.map(ToString::to_string),
            };
            (unloaded, plugin.ended())
        };
        // A call that is still in progress then ends by its own deadline.
        let _ = tokio::time::timeout(UNLOAD_TIMEOUT, ended.cancelled()).await;
        Ok(unloaded)
    }
}

impl Registry {
    /// The file of an earlier version of a plugin that is only in memory: an upload that could not
    /// be stored left it as it was, and the next start would load it.
    fn older_file(&self, plugin: &Plugin) -> Option<PathBuf> {
        let source = plugin.details().source.clone();
        let is_left = self.folder.is_some() && source.in_memory.is_some() && source.path.is_file();
        let plugins = self.plugins();
        let mut others = plugins.iter().filter(|other| other.id() != plugin.id());
        let is_free = others.all(|other| !self.was_loaded_from(other, &source.path));
        (is_left && is_free).then(|| source.path.clone())
    }
}

fn check_id_matches(started: &StartedPlugin, wanted: &str) -> Result<(), PluginError> {
    if started.id() == wanted {
        return Ok(());
    }
    Err(PluginError::IdMismatch {
        wanted: wanted.to_owned(),
        found: started.id().to_owned(),
    })
}
