//! What the guest is doing while it allocates, which decides who may be told of a new context.
//!
//! The host captures the call stack of a new context at once when it may be called. It may not
//! while it lowers arguments or results into the guest, nor in a post-return function: the
//! component model traps a call that leaves the component then. What is allocated meanwhile belongs
//! to a *special* context, which has a name instead of a stack, or to the call of the import whose
//! results are being lowered, whose stack is captured when that has returned.

/// In an export that the host has called: the host may be called.
pub const RUNNING: u32 = 0;

/// Before the component's instantiation is complete.
pub const INITIALISING: u32 = 1;

/// Outside of any export, while the host lowers arguments.
pub const ARGUMENTS: u32 = 2;

/// Outside of any export, by a call that the instrumenter knows nothing about.
pub const OUTSIDE: u32 = 3;

/// The instance's state. Any other value of `now` is a special context with a name of its own.
pub struct Phase {
    /// [`RUNNING`], or the number of a special context.
    pub now: u32,
    /// Calls of imports that have not returned.
    pub imports: u32,
    /// One more than the last context that was new while an import was being called; 0 for none.
    pub pending: u32,
    /// The instance's number, by which the host knows it.
    pub book: u32,
}

/// What to do about a new context.
pub enum Report {
    /// Have its call stack captured.
    Host,
    /// Have that done when the import returns.
    Later,
    /// Write down the number of the special context.
    Special(u32),
}

impl Phase {
    /// Before instantiation is complete.
    pub const fn new() -> Self {
        Self {
            now: INITIALISING,
            imports: 0,
            pending: 0,
            book: 0,
        }
    }

    /// Who is told of a new context.
    pub fn report(&self) -> Report {
        match (self.now, self.imports) {
            (RUNNING, 0) => Report::Host,
            (RUNNING, _) => Report::Later,
            (special, _) => Report::Special(special),
        }
    }

    /// Enters another phase, unless the instance is still being initialised. Returns the phase to
    /// go back to.
    pub fn enter(&mut self, next: u32) -> u32 {
        let before = self.now;
        if before != INITIALISING {
            self.now = next;
        }
        before
    }
}
