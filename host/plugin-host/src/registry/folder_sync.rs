//! The ways in and out: the plugins folder, and components that are sent to the admin API.
//!
//! What is in the folder is what is loaded. A component that is sent is written there too, so that it is still there
//! after a restart; where that cannot be done it is kept in memory, and the answer says so.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Placed, Registry, Replacement, blocking};
use crate::driver::handle::Plugin;
use crate::error::PluginError;
use crate::load::folder::{Folder, Staged, Stamp};
use crate::load::loader::{Loaded, Origin, Profile};

/// Calls in flight get so long before an unload is answered without waiting for them.
const FAREWELL: Duration = Duration::from_secs(5);

/// A component that was sent.
#[derive(Debug)]
pub struct Sent {
    /// What became of it.
    pub placed: Placed,
    /// Why it is in memory only, and gone after a restart; none when it is in the folder.
    pub not_persisted: Option<String>,
}

/// A plugin that was unloaded.
#[derive(Debug)]
pub struct Unloaded {
    /// Whether there was a file in the folder, and it is gone.
    pub file_removed: bool,
    /// Why its file is still there: it will be loaded again at the next start.
    pub file_kept: Option<String>,
}

impl Registry {
    /// Loads every component in the folder. One that is refused is logged, kept on record and left out.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub async fn load_folder(&self) -> Result<(), PluginError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let look = folder
            .look(Duration::ZERO)
            .map_err(|source| PluginError::Unreadable {
                path: folder.path().to_owned(),
                source,
            })?;
        self.take_in(folder, look.ready).await;
        Ok(())
    }

    /// Loads, replaces and unloads what has changed in the folder and has rested for `patience`. Answers whether
    /// something is still changing.
    pub(crate) async fn follow_folder(&self, patience: Duration) -> bool {
        let Some(folder) = &self.folder else {
            return false;
        };
        // An error is on record in the folder, and changes nothing.
        let looking = {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || folder.look(patience))
        };
        let Ok(Ok(look)) = looking.await else {
            return false;
        };
        // First what is there, then what is gone: a file with a new name is still the same plugin.
        self.take_in(folder, look.ready).await;
        for path in look.vanished {
            let _changing = self.changing.lock().await;
            if !path.exists() {
                self.take_out_of_file(&path, None);
            }
            folder.forget(&path);
        }
        look.unsettled
    }

    /// Compiles several files at a time and takes them in, in the order of their names.
    async fn take_in(&self, folder: &Folder, ready: Vec<(PathBuf, Stamp)>) {
        let at_once = std::thread::available_parallelism().map_or(2, usize::from);
        let mut waiting = ready.into_iter();
        let mut compiling = VecDeque::with_capacity(at_once);
        loop {
            while compiling.len() < at_once
                && let Some((path, stamp)) = waiting.next()
            {
                let (loader, profile) = (self.loader.clone(), self.profile_of_file(&path));
                let file = path.clone();
                let loaded = blocking(move || loader.load_file(&file, profile));
                compiling.push_back((path, stamp, loaded));
            }
            let Some((path, stamp, loaded)) = compiling.pop_front() else {
                return;
            };
            let added = match loaded.await {
                Ok(loaded) => self.add(loaded).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &added {
                tracing::error!(file = %path.display(), %error, "plugin refused");
            }
            folder.settle(&path, stamp, added.as_ref().map(drop));
        }
    }

    /// Takes a component from a file in.
    async fn add(&self, loaded: Loaded) -> Result<(), PluginError> {
        let path = loaded.origin.path.clone();
        let name = path
            .file_stem()
            .map_or("plugin".into(), |s| s.to_string_lossy().into_owned());
        let fresh = Replacement::start(loaded, &name, self.defaults).await?;
        let _changing = self.changing.lock().await;
        if !path.exists() {
            // Unloaded while it was compiled.
            return Ok(());
        }
        if let Some(plugin) = self.get(fresh.id()) {
            let owner = plugin.details().origin.clone();
            if owner.path == path && owner.kept.is_none() {
                if owner.digest == fresh.origin().digest {
                    return Ok(());
                }
            } else if owner.kept.is_some() || owner.path.exists() {
                return Err(PluginError::IdTaken {
                    id: fresh.id().to_owned(),
                    owner: shown(&owner),
                });
            }
        }
        let placed = self.put(fresh).await?;
        self.take_out_of_file(&path, Some(placed.plugin.id()));
        Ok(())
    }

    /// Takes out the plugins that were loaded from a file, but for the one that is there now.
    fn take_out_of_file(&self, path: &Path, but: Option<&str>) {
        for plugin in self.plugins().iter() {
            let of_file = self.in_folder(plugin).is_some_and(|file| file == path);
            if of_file && Some(plugin.id()) != but {
                self.take_out(plugin.id());
            }
        }
    }

    /// Loads a component under an id, in the place of the plugin that has it, and keeps it in the folder.
    ///
    /// # Errors
    ///
    /// [`PluginError::IdMismatch`], [`PluginError::FileTaken`], [`PluginError::TooLarge`] and
    /// [`PluginError::Refused`]; then nothing has changed.
    pub async fn send(self: &Arc<Self>, id: &str, bytes: Arc<[u8]>) -> Result<Sent, PluginError> {
        self.loader.check_size(bytes.len() as u64)?;
        let (path, staged) = self.stage(id, bytes.clone()).await?;
        let profile = self
            .get(id)
            .map_or(Profile::wanted(self.defaults.heap_profile), profile_of);
        let loaded = {
            let (loader, bytes, path) = (self.loader.clone(), bytes.clone(), path.clone());
            blocking(move || loader.load(&bytes, &path, profile))
        };
        let mut loaded = loaded.await?;
        if staged.is_err() {
            loaded.origin.kept = Some(bytes);
        }
        let fresh = Replacement::start(loaded, id, self.defaults).await?;
        if fresh.id() != id {
            return Err(PluginError::IdMismatch {
                wanted: id.to_owned(),
                found: fresh.id().to_owned(),
            });
        }
        // From here on it is done to the end, or the plugin would not be what its file is if the client goes away.
        let registry = self.clone();
        let placing = async move { registry.place(fresh, &path, staged).await };
        let placed = self.tasks.spawn(placing).await;
        placed.unwrap_or_else(|_| Err(PluginError::Gone(id.to_owned())))
    }

    /// Takes in a component that was sent, and gives its file its name.
    async fn place(
        &self,
        fresh: Replacement,
        path: &Path,
        staged: io::Result<Staged>,
    ) -> Result<Sent, PluginError> {
        let _changing = self.changing.lock().await;
        self.check_file_free(path, fresh.id())?;
        let placed = self.put(fresh).await?;
        let committed = staged.and_then(Staged::commit);
        if let Some(folder) = self.folder.as_ref().filter(|_| committed.is_ok()) {
            folder.settle_now(path);
        }
        let not_persisted = committed.err().map(|error| error.to_string());
        if let Some(why) = &not_persisted {
            tracing::warn!(
                plugin = placed.plugin.id(),
                why,
                "kept in memory only: gone after a restart"
            );
        }
        Ok(Sent {
            placed,
            not_persisted,
        })
    }

    /// Writes a component beside its place in the folder; if that cannot be done, says why.
    async fn stage(
        &self,
        id: &str,
        bytes: Arc<[u8]>,
    ) -> Result<(PathBuf, io::Result<Staged>), PluginError> {
        let Some(folder) = &self.folder else {
            let none = io::Error::other("the host was started without a plugins folder");
            return Ok((PathBuf::from(format!("{id}.wasm")), Err(none)));
        };
        let current = self.get(id).and_then(|plugin| self.in_folder(&plugin));
        let path = current.unwrap_or_else(|| folder.file_of(id));
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
        match others.find(|p| self.in_folder(p).is_some_and(|file| file == path)) {
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

    /// Reads a plugin's file again and goes on with what is in it now, or with the same component where it has no
    /// file: a fresh instance with the same settings either way.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unknown`], [`PluginError::Unreadable`], [`PluginError::IdMismatch`] when the file has another
    /// plugin now, and [`PluginError::Refused`]; then nothing has changed.
    pub async fn reload(&self, id: &str) -> Result<Placed, PluginError> {
        loop {
            let plugin = self.find(id)?;
            let origin = plugin.details().origin.clone();
            let (loader, profile) = (self.loader.clone(), profile_of(plugin));
            let of = origin.clone();
            let loaded = blocking(move || match &of.kept {
                Some(_) => loader.reload(&of, profile),
                None => loader.load_file(&of.path, profile),
            });
            let fresh = Replacement::start(loaded.await?, id, self.defaults).await?;
            if fresh.id() != id {
                return Err(PluginError::IdMismatch {
                    wanted: id.to_owned(),
                    found: fresh.id().to_owned(),
                });
            }
            let _changing = self.changing.lock().await;
            // It may have been unloaded while this was compiled, or replaced by what is older now than that.
            if self.find(id)?.details().origin.is_of(&origin) {
                return self.put(fresh).await;
            }
        }
    }

    /// Unloads a plugin and removes its file from the folder. Waits for the calls in flight, not for long.
    ///
    /// # Errors
    ///
    /// [`PluginError::Unknown`].
    pub async fn unload(&self, id: &str) -> Result<Unloaded, PluginError> {
        let (unloaded, ended) = {
            let _changing = self.changing.lock().await;
            let plugin = self.find(id)?;
            let file = self.in_folder(&plugin);
            let removed = file.as_ref().map(fs::remove_file);
            self.take_out(id);
            if let (Some(folder), Some(file)) = (&self.folder, &file) {
                folder.settle_now(file);
            }
            let kept = removed.as_ref().and_then(|r| r.as_ref().err());
            let kept = kept.filter(|e| e.kind() != io::ErrorKind::NotFound);
            let unloaded = Unloaded {
                file_removed: matches!(removed, Some(Ok(()))),
                file_kept: kept.map(ToString::to_string),
            };
            (unloaded, plugin.ended())
        };
        // A call that does not end in time has a deadline of its own.
        let _ = tokio::time::timeout(FAREWELL, ended.cancelled()).await;
        Ok(unloaded)
    }

    fn find(&self, id: &str) -> Result<Arc<Plugin>, PluginError> {
        self.get(id)
            .ok_or_else(|| PluginError::Unknown(id.to_owned()))
    }

    /// The file in the folder that a plugin comes from, if it comes from one.
    fn in_folder(&self, plugin: &Plugin) -> Option<PathBuf> {
        let origin = &plugin.details().origin;
        (self.folder.is_some() && origin.kept.is_none()).then(|| origin.path.clone())
    }

    fn profile_of_file(&self, path: &Path) -> Profile {
        let plugins = self.plugins();
        let current = plugins
            .iter()
            .find(|p| self.in_folder(p).is_some_and(|file| file == path));
        current.map_or(Profile::wanted(self.defaults.heap_profile), |plugin| {
            profile_of(plugin.clone())
        })
    }
}

fn profile_of(plugin: Arc<Plugin>) -> Profile {
    Profile::wanted(plugin.details().settings.policy().heap_profile)
}

fn shown(origin: &Origin) -> String {
    match origin.kept {
        Some(_) => "a component that was sent to the admin API".to_owned(),
        None => origin.path.display().to_string(),
    }
}
