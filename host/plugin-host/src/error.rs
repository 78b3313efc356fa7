//! What can go wrong with a plugin, without a word of HTTP.

use std::path::PathBuf;

use crate::metrics::{InvocationOutcome, TrapReason};

/// Why something asked of a plugin was not done.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The bytes are no component of this contract.
    #[error("{0}")]
    Refused(String),
    /// The component is larger than the host takes.
    #[error("the component has {} bytes; {limit} is the most", .size.map_or("too many".to_owned(), |s| s.to_string()))]
    TooLarge {
        /// Its size in bytes, if it arrived whole.
        size: Option<u64>,
        /// The most that is taken, in bytes.
        limit: u64,
    },
    /// The component is another plugin than the one that was named.
    #[error("the component is the plugin {found:?}, not {wanted:?}")]
    IdMismatch {
        /// The id that was named.
        wanted: String,
        /// The id in the component.
        found: String,
    },
    /// The file that a plugin would have in the plugins folder is another plugin's.
    #[error("{file} in the plugins folder is the plugin {owner:?}")]
    FileTaken {
        /// The file's name.
        file: String,
        /// The id of the plugin that was loaded from it.
        owner: String,
    },
    /// No plugin of this id is loaded.
    #[error("there is no plugin {0:?}")]
    Unknown(String),
    /// The component could not be read from disk or from the cache.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another component has this id already.
    #[error("the id {id:?} is taken by {owner}")]
    IdTaken {
        /// The id that both want.
        id: String,
        /// Where the other one comes from.
        owner: String,
    },
    /// A setting that the plugin does not have.
    #[error("{plugin} has no setting {name:?}")]
    UnknownSetting {
        /// The plugin's id.
        plugin: String,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A value that the setting does not take.
    #[error("{name}: {message}")]
    InvalidValue {
        /// The setting's name.
        name: String,
        /// The type and range it takes.
        message: String,
    },
    /// The plugin is exhausted or faulted.
    #[error("{plugin} is {state}: {reason}")]
    NotRunning {
        /// The plugin's id.
        plugin: String,
        /// `exhausted` or `faulted`.
        state: &'static str,
        /// What happened to it.
        reason: String,
    },
    /// No more calls may wait for it.
    #[error("{0} has too many calls waiting")]
    Overloaded(String),
    /// The plugin was unloaded, or the host is stopping.
    #[error("{0} is being unloaded")]
    Gone(String),
    /// The guest failed while it did what was asked; it has been retired.
    #[error("{plugin} failed: {fault}")]
    Failed {
        /// The plugin's id.
        plugin: String,
        /// How it failed.
        fault: Fault,
    },
    /// A fresh instance did not start; the plugin is as it was.
    #[error("a fresh instance of {plugin} does not start: {fault}")]
    NotStarted {
        /// The plugin's id.
        plugin: String,
        /// How it failed.
        fault: Fault,
    },
}

/// How a guest ended. The store it ran in is never called again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of end it was.
    pub kind: FaultKind,
    /// One sentence for the person who reads the status.
    pub reason: String,
    /// The guest's call stack, innermost first, when there was one.
    pub backtrace: Vec<Frame>,
}

/// One frame of a guest's call stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function's demangled name, or its index.
    pub function: String,
    /// Offset in the component as it was loaded, if known.
    pub offset: Option<u32>,
    /// `file:line`, once the symbols have been read.
    pub location: Option<String>,
    /// Whether it is the plugin's own source: no library, no SDK.
    pub own: bool,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.location {
            None => f.write_str(&self.function),
            Some(location) => write!(f, "{} at {location}", self.function),
        }
    }
}

/// The kinds of end that status and metrics tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It was refused more memory and did not survive that.
    MemoryLimit,
    /// It did not return within its deadline.
    Deadline,
    /// Its stack was used up.
    StackOverflow,
    /// It gave up: a panic or an abort.
    Unreachable,
    /// Any other trap: an access out of bounds, a division by zero.
    Trap,
    /// The host could not instantiate or call it.
    Host,
}

impl FaultKind {
    /// The word for it in the metrics.
    pub(crate) fn trap_reason(self) -> TrapReason {
        match self {
            FaultKind::MemoryLimit => TrapReason::MemoryLimit,
            FaultKind::Deadline => TrapReason::Deadline,
            FaultKind::StackOverflow => TrapReason::StackOverflow,
            FaultKind::Unreachable => TrapReason::Unreachable,
            FaultKind::Trap | FaultKind::Host => TrapReason::Other,
        }
    }

    /// What became of the call that ended so.
    pub(crate) fn outcome(self) -> InvocationOutcome {
        match self {
            FaultKind::MemoryLimit => InvocationOutcome::MemoryLimit,
            FaultKind::Deadline => InvocationOutcome::Timeout,
            _ => InvocationOutcome::Trap,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}
