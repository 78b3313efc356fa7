//! Waits for changes of the plugins folder.
//!
//! The system's file notifications say when to scan. A periodic scan catches what they miss, on
//! file systems that have none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::load::folder::Folder;

/// Time without a change after which a file is loaded.
pub(crate) const SETTLE_TIME: Duration = Duration::from_millis(120);
/// Time between two scans while a file has not settled: notifications come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(40);
/// Time between two scans without a notification.
const RESCAN_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two scans where the system gives no notifications.
const POLL_INTERVAL: Duration = Duration::from_millis(400);

/// Follows one folder.
pub(crate) struct FolderWatch {
    folder: Arc<Folder>,
    /// Missing while the system gives no notifications, and while the folder cannot be read.
    watcher: Option<RecommendedWatcher>,
    /// Whether the log says already that there are no notifications.
    warned: bool,
    /// Whether a scan is due soon without a notification.
    unsettled: bool,
}

impl FolderWatch {
    /// A watch whose first scan is due at once.
    pub(crate) fn new(folder: Arc<Folder>) -> Self {
        FolderWatch {
            folder,
            watcher: None,
            warned: false,
            unsettled: true,
        }
    }

    /// Waits until the next scan is due.
    pub(crate) async fn scan_due(&mut self) {
        if self.watcher.is_none() && self.folder.is_readable() {
            self.watch();
        }
        let quiet = if self.watcher.is_some() {
            RESCAN_INTERVAL
        } else {
            POLL_INTERVAL
        };
        let interval = if self.unsettled { DEBOUNCE } else { quiet };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = self.folder.changed().notified() => tokio::time::sleep(DEBOUNCE).await,
        }
    }

    /// Records the result of a scan: whether some files have not settled yet.
    pub(crate) fn scanned(&mut self, unsettled: bool) {
        self.unsettled = unsettled;
        // The system watches a folder, not a name: a new folder in its place needs a new watcher.
        if !self.folder.is_readable() {
            self.watcher = None;
        }
    }

    fn watch(&mut self) {
        match watcher(self.folder.path(), self.folder.changed().clone()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                // The new watcher does not report earlier changes.
                self.unsettled = true;
            }
            Err(error) if !self.warned => {
                self.warned = true;
                tracing::warn!(
                    folder = %self.folder.path().display(), %error,
                    "no file notifications: scanning the plugins folder every {} ms",
                    POLL_INTERVAL.as_millis()
                );
            }
            Err(_) => {}
        }
    }
}

fn watcher(folder: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| is_change(event.kind)) {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Ignores reads: the host itself reads in the folder.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
