//! Names of allocator functions in debug information.
//!
//! Debug information names a function of the program even if the compiler has inlined all of it.
//! Only allocators that the program defines itself are named there: the default ones come from
//! libraries, whose entry points are left.

/// The allocators of the program that its debug information names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DebugNames {
    /// `#[global_allocator]` defines these functions. For the default allocator, the compiler makes
    /// functions without debug information.
    pub(super) rust_allocator: bool,
    /// `operator new`.
    pub(super) cxx_new: bool,
}

impl DebugNames {
    /// Adds the names of a section `.debug_str`: texts that end with a zero byte.
    pub(super) fn read(&mut self, section: &[u8]) {
        for name in section.split(|byte| *byte == 0) {
            self.rust_allocator |= matches!(name, b"__rust_alloc" | b"__rg_alloc");
            self.cxx_new |= matches!(name, b"_Znwm" | b"_Znwj" | b"_Znam" | b"_Znaj");
        }
    }
}
