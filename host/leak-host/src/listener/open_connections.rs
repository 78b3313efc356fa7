//! The connections of one listener, with a limit on their number.
//!
//! At the limit, the host closes the connections that were idle for longest. Refusing new clients
//! would lock out everyone as soon as somebody opens many connections and sends nothing.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinSet};

use super::client_stream::LastActivity;

/// The share of the connections that are closed at the limit: one of this many. Choosing them takes
/// a look at each connection.
const CLOSED_SHARE: usize = 64;

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct OpenConnections {
    max: usize,
    tasks: JoinSet<()>,
    open: HashMap<Id, Connection>,
    /// The number of connections that were ever opened.
    opened: u64,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// Connections that were idle for equally long are closed in the order of their numbers.
    number: u64,
    last_activity: Arc<LastActivity>,
}

impl OpenConnections {
    pub(super) fn new(max: usize) -> Self {
        OpenConnections {
            max: max.max(1),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            opened: 0,
        }
    }

    /// Serves a connection in a task, after it has made room for it.
    pub(super) fn add(
        &mut self,
        last_activity: Arc<LastActivity>,
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        if self.open.len() >= self.max {
            self.close_idle();
        }
        let task = self.tasks.spawn(serving);
        let connection = Connection {
            task: task.clone(),
            number: self.opened,
            last_activity,
        };
        self.opened += 1;
        self.open.insert(task.id(), connection);
    }

    /// Waits for the end of a connection. Pending without connections.
    pub(super) async fn next_ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.open.remove(&id)),
            Some(Err(error)) => drop(self.open.remove(&error.id())),
            None => std::future::pending().await,
        }
    }

    /// Closes the connections that were idle for longest.
    pub(super) fn close_idle(&mut self) {
        let count = (self.open.len() / CLOSED_SHARE).max(1);
        let idle = |(id, connection): (&Id, &Connection)| {
            let idle_since = connection.last_activity.milliseconds();
            ((idle_since, connection.number), *id)
        };
        let mut oldest: Vec<((i64, u64), Id)> = self.open.iter().map(idle).collect();
        if count < oldest.len() {
            oldest.select_nth_unstable_by_key(count, |(age, _)| *age);
        }
        for (_, id) in oldest.into_iter().take(count) {
            if let Some(connection) = self.open.remove(&id) {
                connection.task.abort();
            }
        }
        tracing::warn!(
            closed = count,
            "too many connections: closed those that were idle for longest"
        );
    }
}
