//! The files that are being loaded, for everyone who asks what the host waits for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A file of the plugins folder that is being loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadingFile {
    /// The file's name.
    pub file: String,
    /// `waiting`, `compiling` or `starting`.
    pub stage: &'static str,
    /// Time since the host began to load it.
    pub since: Duration,
}

/// The loads in progress. Two loads of one file count as one.
#[derive(Debug, Default)]
pub(super) struct Loading(Mutex<BTreeMap<PathBuf, (&'static str, Instant)>>);

/// One load in progress. Dropping it ends it.
#[derive(Debug)]
pub(super) struct LoadStage<'a> {
    loading: &'a Loading,
    path: PathBuf,
}

impl Loading {
    /// Begins a load. It waits at first.
    pub(super) fn begin(&self, path: &Path) -> LoadStage<'_> {
        let begun = ("waiting", Instant::now());
        self.lock().insert(path.to_owned(), begun);
        LoadStage {
            loading: self,
            path: path.to_owned(),
        }
    }

    /// The loads in progress, in the order of their files' names.
    pub(super) fn files(&self) -> Vec<LoadingFile> {
        let name = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into()
        };
        let now = Instant::now();
        let loading = self.lock();
        let files = loading.iter().map(|(path, (stage, begun))| LoadingFile {
            file: name(path),
            stage,
            since: now.saturating_duration_since(*begun),
        });
        files.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, (&'static str, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadStage<'_> {
    /// The component is being compiled, or waits for the compiler.
    pub(super) fn compiling(&self) {
        self.set("compiling");
    }

    /// The first instance is being started.
    pub(super) fn starting(&self) {
        self.set("starting");
    }

    fn set(&self, stage: &'static str) {
        if let Some((current, _)) = self.loading.lock().get_mut(&self.path) {
            *current = stage;
        }
    }
}

impl Drop for LoadStage<'_> {
    fn drop(&mut self) {
        self.loading.lock().remove(&self.path);
    }
}
