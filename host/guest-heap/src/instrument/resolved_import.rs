//! What linking puts in the place of the imports of the runtime.

/// What replaces a call of an import of the runtime.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResolvedImport {
    /// A call of the function with this index.
    Function(u32),
    /// A read of the calling context in the global with this index.
    GetContext(u32),
    /// A write of the calling context in the global with this index.
    SetContext(u32),
    /// A read of the calling context that modules with the same heap tables share.
    GetSharedContext,
    /// A write of the shared calling context.
    SetSharedContext,
    /// The calling context as the key of an allocation, without regard to the new block.
    ContextAsKey(u32),
    /// The same for the shared calling context.
    SharedContextAsKey,
    /// A call of the function that the runtime exports under this name.
    Runtime(&'static str),
    /// A 32-bit load from the guest's memory, which is the first memory of the module.
    Load,
    /// The sum of the sizes of the guest's memories, in pages.
    Pages,
    /// A constant.
    Constant(i32),
}
