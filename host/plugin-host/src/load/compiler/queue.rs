//! How many components are compiled at a time, and how many callers wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::PluginError;

/// Compilations for clients at a time.
const CLIENT_SLOTS: usize = 1;

/// Clients that wait for a slot. With the default time limit, the last one waits two minutes at
/// most.
const MAX_WAITING_CLIENTS: usize = 4;

/// Compilations of files in the plugins folder at a time. Two, so that one file that takes long
/// does not delay the others. Not one per core: a first start must take no more memory on a large
/// machine.
const FOLDER_SLOTS: usize = 2;

/// Who waits for a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A client of the admin API.
    Client,
    /// The host itself, for a file in the plugins folder.
    Folder,
}

/// Hands out the slots, first come, first served.
#[derive(Debug)]
pub(super) struct CompileQueue {
    clients: Arc<Semaphore>,
    waiting_clients: AtomicUsize,
    folder: Arc<Semaphore>,
}

/// Counts a client that waits. Dropping it ends the wait.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CompileQueue {
    pub(super) fn new() -> Self {
        CompileQueue {
            clients: Arc::new(Semaphore::new(CLIENT_SLOTS)),
            waiting_clients: AtomicUsize::new(0),
            folder: Arc::new(Semaphore::new(FOLDER_SLOTS)),
        }
    }

    /// Waits for a slot. Dropping the permit frees it.
    ///
    /// # Errors
    ///
    /// [`PluginError::CompilerBusy`] when [`MAX_WAITING_CLIENTS`] clients wait already.
    pub(super) async fn turn(&self, urgency: Urgency) -> Result<OwnedSemaphorePermit, PluginError> {
        let slots = match urgency {
            Urgency::Client => &self.clients,
            Urgency::Folder => &self.folder,
        };
        if let Ok(permit) = slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = match urgency {
            Urgency::Folder => None,
            Urgency::Client => {
                let before = self.waiting_clients.fetch_add(1, Ordering::Relaxed);
                let waiting = Waiting(&self.waiting_clients);
                if before >= MAX_WAITING_CLIENTS {
                    return Err(PluginError::CompilerBusy);
                }
                Some(waiting)
            }
        };
        let acquired = slots.clone().acquire_owned().await;
        acquired.map_err(|e| PluginError::Internal(format!("the compile queue: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn clients_wait_in_a_short_queue_and_files_do_not_wait_for_clients() {
        let queue = CompileQueue::new();
        let first = queue.turn(Urgency::Client).await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING_CLIENTS)
            .map(|_| Box::pin(queue.turn(Urgency::Client)))
            .collect();
        for turn in &mut waiting {
            let waits = tokio::time::timeout(Duration::from_millis(1), turn);
            assert!(waits.await.is_err(), "one client at a time");
        }
        let one_more = queue.turn(Urgency::Client).await;
        assert!(matches!(one_more, Err(PluginError::CompilerBusy)));
        assert!(queue.turn(Urgency::Folder).await.is_ok());
        // A client that leaves makes room for another one.
        drop(waiting.pop());
        let last = tokio::time::timeout(Duration::from_millis(1), queue.turn(Urgency::Client));
        assert!(last.await.is_err(), "it waits");
        drop(first);
        assert!(waiting.remove(0).await.is_ok());
    }
}
