//! Follows the plugins folder: what appears, changes or vanishes there is loaded, replaced or unloaded.
//!
//! The system's file notifications say when to look. A look now and then on top catches what they miss, on file
//! systems that have none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;

/// How long a file has to be the same before it is loaded.
pub const PATIENCE: Duration = Duration::from_millis(120);
/// Time between two looks while something is unsettled: notifications come in bursts.
const BREATH: Duration = Duration::from_millis(40);
/// Time between two looks when nothing has been heard.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// The same where the system gives no notifications.
const POLL: Duration = Duration::from_millis(400);

/// Follows the folder until `stopping`. Without a folder it returns at once.
pub async fn follow(registry: Arc<Registry>, stopping: CancellationToken) {
    let Some(folder) = registry.folder() else {
        return;
    };
    let changed = folder.changed().clone();
    let mut watching = None;
    let mut warned = false;
    let mut unsettled = true;
    loop {
        if watching.is_none() && folder.is_readable() {
            match watch(folder.path(), changed.clone()) {
                Ok(watcher) => {
                    watching = Some(watcher);
                    // What happened before is not heard of any more.
                    unsettled = true;
                }
                Err(error) if !warned => {
                    warned = true;
                    tracing::warn!(folder = %folder.path().display(), %error,
                        "no file notifications: looking into the plugins folder every {} ms", POLL.as_millis());
                }
                Err(_) => {}
            }
        }
        let calm = if watching.is_some() {
            LOOK_ANYWAY
        } else {
            POLL
        };
        let wait = if unsettled { BREATH } else { calm };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = changed.notified() => tokio::time::sleep(BREATH).await,
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            left = registry.follow_folder(PATIENCE) => unsettled = left,
        }
        // The system watches a folder, not a name: another one in its place has to be watched anew.
        if !folder.is_readable() {
            watching = None;
        }
    }
}

fn watch(folder: &Path, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| matters(event.kind)) {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Reading changes nothing, and the host itself reads there.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
