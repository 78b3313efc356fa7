//! The phase of the instance, which decides how a new context gets its call stack or its name.
//!
//! The host captures the call stack of a new context when the runtime calls it. The runtime must
//! not call it while the host lowers arguments or results into the guest, or in a post-return
//! function: the component model traps a call that leaves the component at these times. Blocks
//! that are allocated then belong to one of two contexts:
//!
//! - a *synthetic* context, which has a name instead of a call stack;
//! - the call of the import whose results the host lowers. The host captures its call stack after
//!   the import has returned.

/// The guest runs an export that the host has called. The runtime may call the host.
pub const RUNNING: u32 = 0;

/// The component's instantiation is not complete.
pub const INITIALISING: u32 = 1;

/// No export runs; the host lowers arguments.
pub const ARGUMENTS: u32 = 2;

/// No export runs, or none that the instrumenter knows of.
pub const OUTSIDE: u32 = 3;

/// Number of the synthetic context of results that the host has lowered while no code of the guest
/// ran. It is no phase.
pub const IMPORT_RESULTS: u32 = 4;

/// The phase of the instance.
pub struct Phase {
    /// [`RUNNING`], or the number of a synthetic context: one of the constants above, or one with a
    /// name of its own.
    pub current: u32,
    /// Calls of imports that have not returned.
    pub active_imports: u32,
    /// The last context that was new during a call of an import, plus one; 0 for none.
    pub pending: u32,
    /// The last context that was new during a call of an import and found the context table full;
    /// 0 for none.
    pub pending_fold: u64,
    /// The number that the host has given to the instance.
    pub instance: u32,
}

/// How a new context gets its call stack or its name.
pub enum NewContext {
    /// The host captures the call stack now.
    Capture,
    /// The host captures the call stack when the import returns.
    CaptureAfterImport,
    /// The context is the synthetic one with this number.
    Synthetic(u32),
}

impl Phase {
    /// The phase before instantiation is complete.
    pub const fn new() -> Self {
        Self {
            current: INITIALISING,
            active_imports: 0,
            pending: 0,
            pending_fold: 0,
            instance: 0,
        }
    }

    /// How a context that is new in this phase gets its call stack or its name.
    pub fn new_context(&self) -> NewContext {
        match (self.current, self.active_imports) {
            (RUNNING, 0) => NewContext::Capture,
            (RUNNING, _) => NewContext::CaptureAfterImport,
            (synthetic, _) => NewContext::Synthetic(synthetic),
        }
    }

    /// Enters another phase, unless the instance is still initialising. Returns the previous phase.
    pub fn enter(&mut self, next: u32) -> u32 {
        let before = self.current;
        if before != INITIALISING {
            self.current = next;
        }
        before
    }
}

/// The calling context of a synthetic context. Its upper half is zero, which call stacks hardly
/// ever have.
#[inline(always)]
pub fn synthetic_context(synthetic: u32) -> u64 {
    u64::from(synthetic.wrapping_mul(0x9E37_79B1))
}
