//! The imports of the runtime. Linking replaces each call by a call of a guest function, or by one
//! or two instructions.

#[link(wasm_import_module = "guest")]
unsafe extern "C" {
    // The guest's own bodies of its allocator entry points. Linking replaces a call of one that the
    // guest does not have by a trap; nothing calls the hook of such an entry point.
    pub(crate) safe fn original_malloc(size: u32) -> u32;
    pub(crate) safe fn original_calloc(count: u32, size: u32) -> u32;
    pub(crate) safe fn original_realloc(pointer: u32, size: u32) -> u32;
    pub(crate) safe fn original_free(pointer: u32);
    pub(crate) safe fn original_posix_memalign(out: u32, alignment: u32, size: u32) -> u32;
    pub(crate) safe fn original_aligned_alloc(alignment: u32, size: u32) -> u32;
    pub(crate) safe fn original_memalign(alignment: u32, size: u32) -> u32;
    pub(crate) safe fn original_rust_alloc(size: u32, alignment: u32) -> u32;
    pub(crate) safe fn original_rust_alloc_zeroed(size: u32, alignment: u32) -> u32;
    pub(crate) safe fn original_rust_realloc(
        pointer: u32,
        old_size: u32,
        alignment: u32,
        size: u32,
    ) -> u32;
    pub(crate) safe fn original_rust_dealloc(pointer: u32, size: u32, alignment: u32);

    /// Reads the calling context, from a global or from `SHARED_CONTEXT`.
    pub(crate) safe fn context() -> u64;
    /// Writes the calling context.
    pub(crate) safe fn set_context(context: u64);
    /// Reads a 32-bit word of the guest's own memory.
    pub(crate) safe fn load(address: u32) -> u32;
    /// A constant: 1 when an allocator entry point may call another one, otherwise 0.
    pub(crate) safe fn hooks_nest() -> u32;
    /// A constant: 1 when memory may grow while no entry point runs, otherwise 0.
    pub(crate) safe fn guards() -> u32;
    /// A constant: 1 when memory may grow in an entry point that frees, otherwise 0.
    pub(crate) safe fn frees_grow() -> u32;
    /// A constant: 1 when blocks may be freed where no hook sees it, otherwise 0.
    pub(crate) safe fn misses_frees() -> u32;
    /// Pages of the guest's memories.
    pub(crate) safe fn guest_pages() -> u32;
    /// A constant: 1 when the module defines its memories, 0 when another one does.
    pub(crate) safe fn owns_memory() -> u32;
    /// A constant: pages that the memories of the module have at first.
    pub(crate) safe fn initial_pages() -> u32;
    /// A constant: bytes of static data and stack, at least.
    pub(crate) safe fn static_bytes() -> u32;
    /// A constant: the end of the data segments.
    pub(crate) safe fn segments_end() -> u32;
    /// A constant: 1 when the host captures the stack of every allocation, to check the contexts.
    pub(crate) safe fn report_every_event() -> u32;
    /// A constant: 1 when calls may be suspended on stacks of their own while others run.
    pub(crate) safe fn suspends_calls() -> u32;
    /// Has the host find or capture the call stack of a context, by the instance's number and the
    /// context's index. The host may find the call stack by `context`, unless that is 0; then it
    /// captures the call stack and, for a known index, compares both.
    ///
    /// Index 0 asks the host to fold the call stack. The host returns the index of the record for
    /// it, and 0 if it has none.
    pub(crate) safe fn report_context(instance: u32, index: u32, context: u64) -> u32;
}
