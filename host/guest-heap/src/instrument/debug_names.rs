//! Names that tell of an allocator whose functions the compiler has inlined.
//!
//! Debug information names a function of the program even if the compiler has inlined all of it.
//! Only allocators that the program defines itself are named there: the default ones come from
//! libraries, whose entry points are left. Without debug information, the functions of the C++
//! library that allocate tell that there was an `operator new`.

/// Functions of the C++ library that always allocate.
const CXX_LIBRARY: [&str; 5] = [
    "__push_back_slow_path",
    "__emplace_back_slow_path",
    "__emplace_unique_key_args",
    "__construct_node",
    "__grow_by",
];

/// The allocators that a program must have by its names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DebugNames {
    /// `#[global_allocator]` defines these functions. For the default allocator, the compiler makes
    /// functions without debug information.
    pub(super) rust_allocator: bool,
    /// `operator new`, which is in debug information also if a library defines it.
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

    /// Adds the name of a function.
    pub(super) fn read_function(&mut self, name: &str) {
        self.cxx_new |= CXX_LIBRARY.iter().any(|part| name.contains(part));
    }
}
