//! The closed sets of label values. Each is also the word for it in JSON, logs and spans.

/// Gives a closed set its words and its list.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The word in labels.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

closed_set! {
    /// What a plugin can do at the moment.
    PluginState {
        /// It answers.
        Running = "running",
        /// Its memory limit was reached; a reset revives it.
        Exhausted = "exhausted",
        /// It trapped or ran out of time; a reset revives it.
        Faulted = "faulted",
    }
}

closed_set! {
    /// How a call of a plugin ended.
    InvocationOutcome {
        /// The plugin answered.
        Ok = "ok",
        /// The plugin answered with an error; its instance goes on.
        Error = "error",
        /// The deadline passed.
        Timeout = "timeout",
        /// The guest trapped.
        Trap = "trap",
        /// The guest asked for more memory than it may have, and ended.
        MemoryLimit = "memory_limit",
        /// Too many calls waited for it, or this one for too long: it never reached it.
        Busy = "busy",
        /// It was not running: the call never reached it.
        Unavailable = "unavailable",
    }
}

closed_set! {
    /// Why an instance was ended by a trap.
    TrapReason {
        /// `unreachable`: what a panic or an abort compiles to.
        Unreachable = "unreachable",
        /// The epoch deadline.
        Deadline = "deadline",
        /// Too deep a recursion.
        StackOverflow = "stack_overflow",
        /// Growth of memory was refused, which the guest did not survive.
        MemoryLimit = "memory_limit",
        /// Any other trap or an error of the host's.
        Other = "other",
    }
}

closed_set! {
    /// Why a fresh instance replaced one.
    RecycleReason {
        /// `POST /admin/leaks/{name}/reset` or `POST /admin/reset`.
        Reset = "reset",
        /// `POST /admin/gc`: the only way for linear memory to shrink.
        Gc = "gc",
        /// The plugin was loaded anew.
        Reload = "reload",
    }
}
