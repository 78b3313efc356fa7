//! What a driver can be asked, and what it answers.

use std::sync::Arc;

use guest_heap::Seen;
use tokio::sync::oneshot;

use super::replace::{Replaced, Replacement};
use crate::error::PluginError;
use crate::instance::{Books, Retained};
use crate::load::loader::{Loaded, Origin};
use crate::settings::Value;

/// What a driver can be asked.
#[derive(Debug)]
pub enum Command {
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
        known: (u64, Seen),
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
pub enum InvocationResult {
    /// The pattern ran.
    Triggered,
    /// It did not: the probability, the cap, or the plugin itself said no.
    Skipped,
    /// It failed, and why.
    Failed(String),
}

/// What a clear removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clearing {
    /// What the pattern held, and holds no more.
    pub removed: Retained,
}

/// What a reset did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resetting {
    /// The number of the fresh instance.
    pub generation: u64,
    /// Linear memory of the dropped instance, in bytes.
    pub linear_before: u64,
    /// Linear memory of the fresh one, in bytes.
    pub linear_after: u64,
}

/// What giving back memory did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recycling {
    /// Whether there is a fresh instance.
    pub recycled: bool,
    /// Linear memory before, in bytes.
    pub linear_before: u64,
    /// Linear memory now, in bytes.
    pub linear_after: u64,
    /// Why, or why not.
    pub reason: String,
}

/// The books of a plugin's heap.
#[derive(Debug)]
pub struct HeapBooks {
    /// Which instance they are of.
    pub generation: u64,
    /// The books.
    pub books: Books,
    /// The contexts that the reader knows now.
    pub seen: Seen,
    /// The component that the contexts' offsets are of.
    pub origin: Arc<Origin>,
}
