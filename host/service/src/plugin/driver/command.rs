//! What a driver can be asked, and what it answers.

use std::sync::Arc;

use guest_heap::ContextCursor;
use tokio::sync::oneshot;

use super::replace::{Replaced, Replacement};
use crate::plugin::error::PluginError;
use crate::plugin::instance::{Books, Retained};
use crate::plugin::loader::{Loaded, Origin};
use crate::plugin::settings::Value;

/// What a driver can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Switch the leak, change settings.
    Switch {
        /// The switch, if it is to change.
        enabled: Option<bool>,
        /// New values by name.
        changes: Vec<(String, Value)>,
        /// The component as the changes want it compiled, if that is another way.
        compiled: Option<Box<Loaded>>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), PluginError>>,
    },
    /// Drop what the pattern holds.
    Clear {
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Clearing, PluginError>>,
    },
    /// Start a fresh instance.
    Reset {
        /// Whether switch and settings go back too.
        everything: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Resetting, PluginError>>,
    },
    /// Start a fresh instance if nothing is retained.
    Recycle {
        /// Where the answer goes.
        reply: oneshot::Sender<Recycling>,
    },
    /// Read the books of the heap.
    Books {
        /// The generation and the contexts that the reader knows.
        known: (u64, ContextCursor),
        /// Where the answer goes.
        reply: oneshot::Sender<Option<HeapBooks>>,
    },
    /// Go on with another component.
    Replace {
        /// The component, with an instance that has described itself.
        replacement: Box<Replacement>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Replaced, PluginError>>,
    },
}

/// How a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvocationResult {
    /// The pattern ran.
    Triggered,
    /// It did not: the probability, the cap, or the plugin itself said no.
    Skipped,
    /// It failed, and why.
    Failed(String),
}

/// What a clear removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clearing {
    /// What the pattern held, and holds no more.
    pub(crate) removed: Retained,
}

/// What a reset did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resetting {
    /// The number of the fresh instance.
    pub(crate) generation: u64,
    /// Linear memory of the dropped instance, in bytes.
    pub(crate) linear_before: u64,
    /// Linear memory of the fresh one, in bytes.
    pub(crate) linear_after: u64,
}

/// What giving back memory did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recycling {
    /// Whether there is a fresh instance.
    pub(crate) recycled: bool,
    /// Linear memory before, in bytes.
    pub(crate) linear_before: u64,
    /// Linear memory now, in bytes.
    pub(crate) linear_after: u64,
    /// Why, or why not.
    pub(crate) reason: String,
}

/// The books of a plugin's heap.
#[derive(Debug)]
pub(crate) struct HeapBooks {
    /// Which instance they are of.
    pub(crate) generation: u64,
    /// The books.
    pub(crate) books: Books,
    /// The contexts that the reader knows now.
    pub(crate) seen: ContextCursor,
    /// The component that the contexts' offsets are of.
    pub(crate) origin: Arc<Origin>,
}
