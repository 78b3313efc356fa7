//! The commands that a driver accepts, and its answers.

use std::sync::Arc;

use guest_heap::ContextCursor;
use tokio::sync::oneshot;

use crate::error::PluginError;
use crate::instance::{HeapTables, Retained};
use crate::load::component_source::ComponentSource;
use crate::load::loader::CompiledComponent;
use crate::load::started_plugin::StartedPlugin;
use crate::settings::{SettingReset, Value};

/// A command to a driver. The driver sends its answer through `reply`.
#[derive(Debug)]
pub(crate) enum Command {
    /// Enable or disable the leak, and change settings.
    Update {
        /// The new state of the switch, if it changes.
        enabled: Option<bool>,
        /// New values by setting name.
        changes: Vec<(String, Value)>,
        /// The component compiled for the changed heap profile, if that changes.
        compiled: Option<Box<CompiledComponent>>,
        reply: oneshot::Sender<Result<(), PluginError>>,
    },
    /// Drop what the pattern retains.
    Clear {
        reply: oneshot::Sender<Result<ClearOutcome, PluginError>>,
    },
    /// Start a fresh instance.
    Reset {
        /// Whether the leak is disabled and all settings go back to their defaults too.
        everything: bool,
        reply: oneshot::Sender<Result<ResetOutcome, PluginError>>,
    },
    /// Start a fresh instance if nothing is retained.
    Recycle {
        reply: oneshot::Sender<RecycleOutcome>,
    },
    /// Read the heap tables.
    HeapTables {
        /// The generation that the reader knows, and the contexts that it has of it.
        known: (u64, ContextCursor),
        reply: oneshot::Sender<Option<PluginHeapTables>>,
    },
    /// Go on with another component.
    Replace {
        started: Box<StartedPlugin>,
        reply: oneshot::Sender<Result<ReplaceOutcome, PluginError>>,
    },
}

impl Command {
    /// Whether carrying it out may call the guest.
    pub(crate) fn calls_guest(&self) -> bool {
        !matches!(self, Command::HeapTables { .. })
    }
}

/// The result of one call for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// The pattern ran.
    Triggered,
    /// The pattern did not run: the probability, the cap, the target or the plugin decided so.
    Skipped,
    /// The call failed; with the reason.
    Failed(String),
}

/// The result of a clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearOutcome {
    /// What the pattern retained before.
    pub removed: Retained,
}

/// The result of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetOutcome {
    /// The generation of the fresh instance.
    pub generation: u64,
    /// Linear memory of the dropped instance, in bytes.
    pub linear_before: u64,
    /// Linear memory of the fresh instance, in bytes.
    pub linear_after: u64,
}

/// The result of an attempt to give linear memory back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecycleOutcome {
    /// Whether a fresh instance was started.
    pub recycled: bool,
    /// Linear memory before, in bytes.
    pub linear_before: u64,
    /// Linear memory now, in bytes.
    pub linear_after: u64,
    /// Why a fresh instance was started, or why not.
    pub reason: String,
}

/// The result of a replacement by another component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplaceOutcome {
    /// Settings that are back at their defaults because the new component refuses their values.
    pub(crate) settings_reset: Vec<SettingReset>,
}

/// The heap tables of a plugin.
#[derive(Debug)]
pub struct PluginHeapTables {
    /// The generation of the instance that they belong to.
    pub generation: u64,
    /// The tables.
    pub tables: HeapTables,
    /// The contexts that the reader has now; pass it with the next read.
    pub seen: ContextCursor,
    /// The component that the offsets in the contexts refer to.
    pub source: Arc<ComponentSource>,
}
