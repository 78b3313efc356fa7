//! The closed sets of label values. JSON, logs and spans use the same words.

/// Defines an enum with a label for each value, and the list of its values.
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

            /// The label value.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            /// The index in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

closed_set! {
    /// The state of a plugin.
    PluginState {
        /// The host can call it.
        Running = "running",
        /// It reached its memory limit. A reset starts a fresh instance.
        Exhausted = "exhausted",
        /// It trapped or timed out. A reset starts a fresh instance.
        Faulted = "faulted",
    }
}

closed_set! {
    /// How precisely the heap of a plugin is attributed to source lines.
    AttributionState {
        /// The profiler sees every block.
        Exact = "exact",
        /// The profiler misses some blocks, or attributes some coarsely.
        Partial = "partial",
        /// The profiler sees nothing.
        Off = "off",
    }
}

closed_set! {
    /// How a call of a plugin ended.
    InvocationOutcome {
        /// The plugin answered.
        Ok = "ok",
        /// The plugin answered with an error. Its instance goes on.
        Error = "error",
        /// The deadline passed.
        Timeout = "timeout",
        /// The guest trapped.
        Trap = "trap",
        /// The host denied the guest memory, and its instance was retired.
        MemoryLimit = "memory_limit",
        /// Too many calls were queued, or this one for too long. It did not reach the guest.
        Busy = "busy",
        /// The plugin was not running. The call did not reach the guest.
        Unavailable = "unavailable",
    }
}

closed_set! {
    /// The kind of trap that ended an instance.
    TrapReason {
        /// The instruction `unreachable`, which a panic or an abort compiles to.
        Unreachable = "unreachable",
        /// The guest did not return within its deadline.
        Deadline = "deadline",
        /// The recursion was too deep.
        StackOverflow = "stack_overflow",
        /// The host denied the guest memory, and it did not survive that.
        MemoryLimit = "memory_limit",
        /// Any other trap, or an error of the host.
        Other = "other",
    }
}

closed_set! {
    /// Why a fresh instance replaced an old one.
    RecycleReason {
        /// `POST /admin/leaks/{name}/reset` or `POST /admin/reset`.
        Reset = "reset",
        /// `POST /admin/gc`: the only way for linear memory to shrink.
        Gc = "gc",
        /// The component was loaded again, or with another heap profile.
        Reload = "reload",
    }
}
