//! The hooks: they replace the guest's allocator entry points.
//!
//! An export `hook_NAME` replaces the entry point of that name. The guest's own body is the import
//! `original_NAME`. Nothing calls the hook of an entry point that the guest does not have.

use crate::accounting::{count_allocation, count_free, count_realloc, is_live};
use crate::guest::{
    context, frees_grow, guards, hooks_nest, load, original_aligned_alloc, original_calloc,
    original_free, original_malloc, original_memalign, original_posix_memalign, original_realloc,
    original_rust_alloc, original_rust_alloc_zeroed, original_rust_dealloc, original_rust_realloc,
    set_context,
};
use crate::state::state;

/// Whether another entry point has called this one. The outer one counts the block for both.
#[inline(always)]
fn is_nested() -> bool {
    hooks_nest() != 0 && *state!(HOOK_ACTIVE) != 0
}

/// Runs the guest's own body of an entry point that may grow memory.
///
/// The growths that it causes are the allocator's. With `guards`, code that the entry point shares
/// with others tracks the calling context, so the context is restored.
#[inline(always)]
fn run_original<T>(body: impl FnOnce() -> T) -> T {
    run(body, guards() != 0, true)
}

/// Runs the guest's own body of an entry point that frees. The calls of such entry points do not
/// set the calling context, so a growth there has none.
#[inline(always)]
fn run_original_free(body: impl FnOnce()) {
    run(body, frees_grow() != 0, false);
}

#[inline(always)]
fn run<T>(body: impl FnOnce() -> T, guarded: bool, has_context: bool) -> T {
    let before = if guarded { context() } else { 0 };
    if hooks_nest() != 0 || guarded {
        *state!(HOOK_CONTEXT) = if has_context { context() } else { 0 };
        *state!(HOOK_ACTIVE) = 1;
    }
    let result = body();
    if hooks_nest() != 0 || guarded {
        *state!(HOOK_ACTIVE) = 0;
    }
    if guarded {
        set_context(before);
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn hook_malloc(size: u32) -> u32 {
    if is_nested() {
        return original_malloc(size);
    }
    let pointer = run_original(|| original_malloc(size));
    if pointer != 0 {
        count_allocation(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_calloc(count: u32, size: u32) -> u32 {
    if is_nested() {
        return original_calloc(count, size);
    }
    let pointer = run_original(|| original_calloc(count, size));
    if pointer != 0 {
        count_allocation(pointer, count.wrapping_mul(size));
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_realloc(old: u32, size: u32) -> u32 {
    if is_nested() {
        return original_realloc(old, size);
    }
    let new = run_original(|| original_realloc(old, size));
    if new != 0 {
        count_realloc(old, new, size);
    } else if size == 0 && old != 0 {
        // The block is freed: some allocators free here, and none fails to shrink a block to zero.
        count_free(old);
    }
    new
}

#[unsafe(no_mangle)]
extern "C" fn hook_free(pointer: u32) {
    if is_nested() {
        return original_free(pointer);
    }
    if pointer != 0 {
        count_free(pointer);
    }
    run_original_free(|| original_free(pointer));
}

#[unsafe(no_mangle)]
extern "C" fn hook_posix_memalign(out: u32, alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return original_posix_memalign(out, alignment, size);
    }
    let error = run_original(|| original_posix_memalign(out, alignment, size));
    if error == 0 {
        let pointer = load(out);
        if pointer != 0 {
            count_allocation(pointer, size);
        }
    }
    error
}

#[unsafe(no_mangle)]
extern "C" fn hook_aligned_alloc(alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return original_aligned_alloc(alignment, size);
    }
    let pointer = run_original(|| original_aligned_alloc(alignment, size));
    if pointer != 0 {
        count_allocation(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_memalign(alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return original_memalign(alignment, size);
    }
    let pointer = run_original(|| original_memalign(alignment, size));
    if pointer != 0 {
        count_allocation(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_alloc(size: u32, alignment: u32) -> u32 {
    if is_nested() {
        return original_rust_alloc(size, alignment);
    }
    let pointer = run_original(|| original_rust_alloc(size, alignment));
    if pointer != 0 {
        count_allocation(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_alloc_zeroed(size: u32, alignment: u32) -> u32 {
    if is_nested() {
        return original_rust_alloc_zeroed(size, alignment);
    }
    let pointer = run_original(|| original_rust_alloc_zeroed(size, alignment));
    if pointer != 0 {
        count_allocation(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_realloc(old: u32, old_size: u32, alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return original_rust_realloc(old, old_size, alignment, size);
    }
    let new = run_original(|| original_rust_realloc(old, old_size, alignment, size));
    if new != 0 {
        count_realloc(old, new, size);
    }
    new
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_dealloc(pointer: u32, size: u32, alignment: u32) {
    if is_nested() {
        return original_rust_dealloc(pointer, size, alignment);
    }
    count_free(pointer);
    run_original_free(|| original_rust_dealloc(pointer, size, alignment));
}

// The hooks that the instrumenter writes itself, for functions with other signatures, call these.

/// Whether another entry point has called the current one.
#[unsafe(no_mangle)]
extern "C" fn shaped_is_active() -> u32 {
    u32::from(is_nested())
}

/// Runs before the original body of an entry point.
#[unsafe(no_mangle)]
extern "C" fn shaped_enter() {
    *state!(HOOK_CONTEXT) = context();
    *state!(HOOK_ACTIVE) = 1;
}

/// Runs after the original body of an entry point.
#[unsafe(no_mangle)]
extern "C" fn shaped_leave() {
    *state!(HOOK_ACTIVE) = 0;
}

/// The one of two numbers that is the address of a live block, or else the first.
#[unsafe(no_mangle)]
extern "C" fn shaped_live_of(first: u32, second: u32) -> u32 {
    if is_live(second) && !is_live(first) {
        second
    } else {
        first
    }
}

#[unsafe(no_mangle)]
extern "C" fn shaped_allocated(pointer: u32, size: u32) {
    count_allocation(pointer, size);
}

#[unsafe(no_mangle)]
extern "C" fn shaped_freed(pointer: u32) {
    if pointer != 0 {
        count_free(pointer);
    }
}

#[unsafe(no_mangle)]
extern "C" fn shaped_reallocated(old: u32, new: u32, size: u32) {
    if new != 0 {
        count_realloc(old, new, size);
    } else if size == 0 && old != 0 {
        count_free(old);
    }
}
