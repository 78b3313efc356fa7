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

    /// The key of an allocation: the calling context, or that of a known interpreter. `pointer` is
    /// the new block, or 0.
    pub(crate) safe fn key(pointer: u32) -> u64;
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

    // The following imports are for a known interpreter, and all but two are constants. Offsets are
    // in bytes.
    #[allow(non_snake_case, reason = "the names of CPython's functions")]
    pub(crate) safe fn original__Py_NewReference(object: u32);
    /// Like [`report_context`], and passes the host a part of the guest's memory. The highest bit
    /// of the result says that the host wants to read at the address in the lower half.
    pub(crate) safe fn report_window(
        instance: u32,
        index: u32,
        context: u64,
        address: u32,
        bytes: u32,
    ) -> u64;
    /// The address of the pointer to the interpreter's state.
    pub(crate) safe fn py_interpreters() -> u32;
    /// Of the pointer to the thread, in the interpreter's state.
    pub(crate) safe fn py_threads() -> u32;
    /// Of the pointer to the innermost frame, in a thread.
    pub(crate) safe fn py_current_frame() -> u32;
    /// Of the pointer to the next outer frame, in a frame.
    pub(crate) safe fn py_previous() -> u32;
    /// Of the pointer to the code, in a frame.
    pub(crate) safe fn py_executable() -> u32;
    /// Of the pointer to the instruction, in a frame.
    pub(crate) safe fn py_instruction() -> u32;
    /// Of the byte that says whose a frame is, in a frame.
    pub(crate) safe fn py_owner() -> u32;
    /// The first value of that byte for frames of the interpreter's own.
    pub(crate) safe fn py_first_own_frame() -> u32;
    /// The bytes of a frame that hold all of these fields.
    pub(crate) safe fn py_frame_bytes() -> u32;
    /// Of the number of the first line, in code.
    pub(crate) safe fn py_first_line() -> u32;
    /// How many frames make up a key.
    pub(crate) safe fn py_depth() -> u32;
    /// Of the pointer to the type, in an object.
    pub(crate) safe fn py_type() -> u32;
    /// Of the number of items, in an object.
    pub(crate) safe fn py_object_size() -> u32;
    /// Of the flags, in a type.
    pub(crate) safe fn py_type_flags() -> u32;
    /// Of the size of an object without items, in a type.
    pub(crate) safe fn py_basic_size() -> u32;
    /// Of the size of an item, in a type.
    pub(crate) safe fn py_item_size() -> u32;
    /// The end of the data from which the guest starts.
    pub(crate) safe fn py_snapshot_end() -> u32;
}
