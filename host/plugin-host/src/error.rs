//! What can go wrong with a plugin. Nothing here knows HTTP; `admin-api` maps errors to statuses.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::guest_text;
use crate::metrics::{InvocationOutcome, TrapReason};

/// Why the host did not do what was asked of a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The component is invalid, or does not fit the contract. The fault is the component's.
    #[error("{0}")]
    Refused(String),
    /// The file of declarations next to the component is wrong.
    #[error("{0}")]
    WrongDeclarations(String),
    /// The host itself failed. The message is for the log, not for a client.
    #[error("internal failure of the host: {0}")]
    Internal(String),
    /// The component exceeds the size limit.
    #[error("the component has {} bytes; the limit is {limit}", .size.map_or("too many".to_owned(), |s| s.to_string()))]
    TooLarge {
        /// Its size in bytes; `None` when the host stopped reading at the limit.
        size: Option<u64>,
        /// The limit in bytes.
        limit: u64,
    },
    /// Compiling the component takes more than the host spends on one component.
    #[error("the component is too costly to compile: {0}")]
    TooCostly(String),
    /// Too many clients wait for a compilation.
    #[error("the host compiles other components")]
    CompilerBusy,
    /// The component has another id than the request named.
    #[error("the component is the plugin {found:?}, not {wanted:?}")]
    IdMismatch {
        /// The id in the request.
        wanted: String,
        /// The id in the component.
        found: String,
    },
    /// Another plugin was loaded from the file that this plugin needs in the plugins folder.
    #[error("{file} in the plugins folder belongs to the plugin {owner:?}")]
    FileTaken {
        /// The file's name.
        file: String,
        /// The id of the plugin that was loaded from it.
        owner: String,
    },
    /// No plugin with this id is loaded.
    #[error("there is no plugin {0:?}")]
    Unknown(String),
    /// The host cannot read the component from disk or from the cache.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another component already has this id.
    #[error("the id {id:?} is taken by {owner}")]
    IdTaken {
        /// The id that both components have.
        id: String,
        /// The source of the other component.
        owner: String,
    },
    /// The plugin has no setting with this name.
    #[error("{plugin} has no setting {name:?}")]
    UnknownSetting {
        /// The plugin's id.
        plugin: String,
        /// The unknown name.
        name: String,
        /// The names of all settings of the plugin.
        known: Vec<String>,
    },
    /// The setting does not accept this value.
    #[error("{name}: {message}")]
    InvalidValue {
        /// The setting's name.
        name: String,
        /// The type and range it accepts.
        message: String,
    },
    /// The plugin is exhausted or faulted.
    #[error("{plugin} is {state}: {reason}")]
    NotRunning {
        /// The plugin's id.
        plugin: String,
        /// `exhausted` or `faulted`.
        state: &'static str,
        /// The reason of its fault.
        reason: String,
    },
    /// Too many calls are queued for the plugin, or this call was queued for too long.
    #[error("too many calls are queued for {0}")]
    Overloaded(String),
    /// Plugins run under other names, and no other plugin can be loaded meanwhile.
    #[error("the plugins run under other names, as in a mystery")]
    Masked,
    /// The plugin was unloaded, or the host is stopping.
    #[error("{0} is being unloaded")]
    Gone(String),
    /// The guest failed during the operation. Its instance is retired.
    #[error("{plugin} failed: {fault}")]
    Failed {
        /// The plugin's id.
        plugin: String,
        /// How the guest ended.
        fault: Fault,
    },
    /// A fresh instance does not start. The old instance goes on.
    #[error("a fresh instance of {plugin} does not start: {fault}")]
    NotStarted {
        /// The plugin's id.
        plugin: String,
        /// How the fresh instance ended.
        fault: Fault,
    },
}

/// How a guest ended. The host never calls its store again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of end.
    pub kind: FaultKind,
    /// One sentence for a person who reads the status.
    pub reason: String,
    /// The guest's call stack, innermost frame first; empty when there was none.
    pub backtrace: Vec<Frame>,
}

/// One frame of a guest's call stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function's demangled name, or its index.
    pub function: String,
    /// Offset in the component before instrumentation, if known.
    pub offset: Option<u32>,
    /// `file:line`, once the symbols have been read.
    pub location: Option<String>,
    /// Whether it is in the plugin's own source: not in a library, not in the SDK.
    pub own: bool,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            None => f.write_str(&self.function),
            Some(location) => write!(f, "{} at {location}", self.function),
        }
    }
}

/// The kinds of end that status and metrics tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The host denied it memory, and it did not survive that.
    MemoryLimit,
    /// It did not return within its deadline.
    Deadline,
    /// It exhausted its call stack.
    StackOverflow,
    /// It panicked or aborted.
    Unreachable,
    /// Any other trap: an access out of bounds, a division by zero.
    Trap,
    /// The host could not instantiate or call it.
    Host,
}

impl FaultKind {
    /// The label value in `leak_plugin_traps_total`.
    pub(crate) fn trap_reason(self) -> TrapReason {
        match self {
            FaultKind::MemoryLimit => TrapReason::MemoryLimit,
            FaultKind::Deadline => TrapReason::Deadline,
            FaultKind::StackOverflow => TrapReason::StackOverflow,
            FaultKind::Unreachable => TrapReason::Unreachable,
            FaultKind::Trap | FaultKind::Host => TrapReason::Other,
        }
    }

    /// The outcome of the call that ended with this fault.
    pub(crate) fn outcome(self) -> InvocationOutcome {
        match self {
            FaultKind::MemoryLimit => InvocationOutcome::MemoryLimit,
            FaultKind::Deadline => InvocationOutcome::Timeout,
            _ => InvocationOutcome::Trap,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// An error of the engine with all its causes, on one line.
pub(crate) fn with_causes(error: &wasmtime::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = guest_text::keep(&cause.to_string().replace('\n', " "));
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    guest_text::keep(&parts.join(": "))
}
