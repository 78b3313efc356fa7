//! Heaps that a collector divides itself.
//!
//! An engine such as SpiderMonkey requests its heap from `malloc` in chunks and divides them into
//! cells for objects, without a call for each. The profiler sees the chunks only. They have a name
//! of their own in every report, so that nobody takes the line that needed a new chunk for the one
//! that holds its memory.

/// The name of a collected heap in reports.
pub const JAVASCRIPT_HEAP: &str = "JavaScript heap (chunks; the objects in them are not seen)";

/// Why a module with such a heap is attributed partially: a clause whose subject is the module.
pub(crate) const GAP: &str = "has a JavaScript engine whose collector divides its heap itself: it \
                              is counted in chunks, and the objects in them are not seen by line";

/// Innermost frames among which the function is that takes a chunk.
pub(crate) const MAX_DEPTH: usize = 8;

/// Whether a function, by its name in the name section, takes a chunk of memory for the heap of
/// SpiderMonkey's collector. The nursery's chunks come from there as well.
pub(crate) fn takes_chunk(function: &str) -> bool {
    let name = function.strip_prefix("js::gc::GCRuntime::getOrAllocChunk");
    name.is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_function_that_takes_chunks_is_recognised() {
        let real =
            "js::gc::GCRuntime::getOrAllocChunk(js::gc::StallAndRetry, js::AutoLockGCBgAlloc&)";
        assert!(takes_chunk(real));
        assert!(!takes_chunk("js::gc::GCRuntime::getOrAllocChunkPool(int)"));
        assert!(!takes_chunk("malloc"));
    }
}
