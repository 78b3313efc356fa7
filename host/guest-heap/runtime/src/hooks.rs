//! What stands in the place of the guest's allocator, and what instrumented code calls besides.
//!
//! Exports whose names begin with `hook_` replace the allocator entry point of that name; the
//! guest's own body is the import `raw_` of that name. The linking resolves every import: to a
//! function of the guest, or to one or two instructions. A hook that the guest has no entry point
//! for is never called.
//!
//! There is one thread and no re-entrance: a wasm core instance runs one function at a time, and no
//! function here is interrupted by another while it holds a reference to the books.

use crate::arguments::Arguments;
use crate::contexts::{Contexts, LAYOUT, MAX_CONTEXTS, NEW};
use crate::live::{Bucket, LiveTable, Region, Spill};
use crate::phase::{ARGUMENTS, INITIALISING, OUTSIDE, Phase, RUNNING, Report};

const WASM_PAGE: usize = 65_536;

#[link(wasm_import_module = "guest")]
unsafe extern "C" {
    safe fn raw_malloc(size: u32) -> u32;
    safe fn raw_calloc(count: u32, size: u32) -> u32;
    safe fn raw_realloc(pointer: u32, size: u32) -> u32;
    safe fn raw_free(pointer: u32);
    safe fn raw_posix_memalign(out: u32, alignment: u32, size: u32) -> u32;
    safe fn raw_aligned_alloc(alignment: u32, size: u32) -> u32;
    safe fn raw_memalign(alignment: u32, size: u32) -> u32;
    safe fn raw_rust_alloc(size: u32, alignment: u32) -> u32;
    safe fn raw_rust_alloc_zeroed(size: u32, alignment: u32) -> u32;
    safe fn raw_rust_realloc(pointer: u32, old_size: u32, alignment: u32, size: u32) -> u32;
    safe fn raw_rust_dealloc(pointer: u32, size: u32, alignment: u32);

    /// The calling context: reads or writes a global.
    safe fn context() -> u64;
    safe fn set_context(context: u64);
    /// A word of the guest's own memory.
    safe fn load(address: u32) -> u32;
    /// A constant: whether an allocator entry point may call another one.
    safe fn hooks_nest() -> u32;
    /// A constant: whether the host wants every allocation's stack, to check the contexts.
    safe fn report_every_event() -> u32;
    /// Tells the host of a context.
    safe fn report_context(book: u32, index: u32);
}

unsafe extern "C" {
    static __heap_base: u8;
}

/// All of the memory behind the runtime's own data.
struct Tail;

// SAFETY: memory from the heap base on is used by nothing else, since there is no allocator; the
// instrumenter gives the memory a page more than the linker asked for, which holds FIRST_BYTES.
unsafe impl Region for Tail {
    #[inline(always)]
    fn base(&self) -> *mut Bucket {
        let heap = (&raw const __heap_base).cast_mut();
        heap.wrapping_add(heap.align_offset(align_of::<Bucket>()))
            .cast()
    }

    fn ensure(&mut self, bytes: usize) -> bool {
        let end = self.base() as usize + bytes;
        let have = core::arch::wasm32::memory_size(0) * WASM_PAGE;
        end <= have
            || core::arch::wasm32::memory_grow(0, (end - have).div_ceil(WASM_PAGE)) != usize::MAX
    }
}

static mut CONTEXTS: Contexts = Contexts::new();
static mut SPILL: Spill = Spill::new();
// SAFETY: SPILL is only used here.
static mut LIVE: LiveTable<Tail> = unsafe { LiveTable::new(Tail, &raw mut SPILL) };
static mut ARGUMENT_BLOCKS: Arguments = Arguments::new();
static mut PHASE: Phase = Phase::new();
/// Not 0 while an allocator entry point runs.
static mut DEPTH: u32 = 0;

macro_rules! own {
    ($place:ident) => {
        // SAFETY: one thread, and no call leaves this module while the reference lives.
        unsafe { &mut *(&raw mut $place) }
    };
}

/// Whether an outer entry point is at work, which counts for both.
#[inline(always)]
fn is_nested() -> bool {
    hooks_nest() != 0 && *own!(DEPTH) != 0
}

/// Runs the guest's own body.
#[inline(always)]
fn raw<T>(body: impl FnOnce() -> T) -> T {
    if hooks_nest() != 0 {
        *own!(DEPTH) = 1;
    }
    let result = body();
    if hooks_nest() != 0 {
        *own!(DEPTH) = 0;
    }
    result
}

#[inline(always)]
fn keep(pointer: u32, size: u32, index: u32) {
    if !own!(LIVE).insert(pointer, size, index) {
        keep_slowly(pointer, size, index);
    }
}

#[cold]
#[inline(never)]
fn keep_slowly(pointer: u32, size: u32, index: u32) {
    let live = own!(LIVE);
    let contexts = own!(CONTEXTS);
    let kept = live.insert_slowly(pointer, size, index);
    contexts.header.table_bytes = live.bytes() as u64;
    contexts.header.lost_objects += live.take_dropped();
    if !kept {
        contexts.header.lost_objects += 1;
        contexts.header.lost_bytes += u64::from(size);
        contexts.free(index, size);
    }
}

#[inline(always)]
fn allocated(pointer: u32, size: u32) {
    let found = own!(CONTEXTS).find(context());
    let index = found & !NEW;
    own!(CONTEXTS).allocate(index, size);
    keep(pointer, size, index);
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

#[inline(always)]
fn freed(pointer: u32) {
    match own!(LIVE).remove(pointer) {
        Some(block) => own!(CONTEXTS).free(block.context, block.size),
        None => own!(CONTEXTS).header.unknown_frees += 1,
    }
}

#[cold]
#[inline(never)]
fn report(found: u32) {
    let index = found & !NEW;
    match own!(PHASE).report() {
        Report::Host => report_context(own!(PHASE).book, index),
        Report::Later => {
            let pending = &mut own!(PHASE).pending;
            *pending = (*pending).max(index + 1);
        }
        Report::Special(special) if found != index => {
            own!(CONTEXTS).record(index).special = u64::from(special);
        }
        Report::Special(_) => {}
    }
}

/// A block has moved from `old`, which may be null, to `new`, which is not.
#[inline(always)]
fn moved(old: u32, new: u32, size: u32) {
    let found = own!(CONTEXTS).find(context());
    let index = found & !NEW;
    own!(CONTEXTS).allocate(index, size);
    let in_place = if old == new {
        own!(LIVE).replace(new, size, index)
    } else {
        if old != 0 {
            freed(old);
        }
        None
    };
    match in_place {
        Some(block) => own!(CONTEXTS).free(block.context, block.size),
        None => {
            if old == new
                && let Some(block) = own!(LIVE).remove(new)
            {
                own!(CONTEXTS).free(block.context, block.size);
            }
            keep(new, size, index);
        }
    }
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

#[unsafe(no_mangle)]
extern "C" fn hook_malloc(size: u32) -> u32 {
    if is_nested() {
        return raw_malloc(size);
    }
    let pointer = raw(|| raw_malloc(size));
    if pointer != 0 {
        allocated(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_calloc(count: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_calloc(count, size);
    }
    let pointer = raw(|| raw_calloc(count, size));
    if pointer != 0 {
        allocated(pointer, count.wrapping_mul(size));
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_realloc(old: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_realloc(old, size);
    }
    let new = raw(|| raw_realloc(old, size));
    if new != 0 {
        moved(old, new, size);
    } else if size == 0 && old != 0 {
        // Some allocators free then; one that cannot shrink a block to nothing does not exist.
        freed(old);
    }
    new
}

#[unsafe(no_mangle)]
extern "C" fn hook_free(pointer: u32) {
    if is_nested() {
        return raw_free(pointer);
    }
    if pointer != 0 {
        freed(pointer);
    }
    raw(|| raw_free(pointer));
}

#[unsafe(no_mangle)]
extern "C" fn hook_posix_memalign(out: u32, alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_posix_memalign(out, alignment, size);
    }
    let error = raw(|| raw_posix_memalign(out, alignment, size));
    if error == 0 {
        let pointer = load(out);
        if pointer != 0 {
            allocated(pointer, size);
        }
    }
    error
}

#[unsafe(no_mangle)]
extern "C" fn hook_aligned_alloc(alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_aligned_alloc(alignment, size);
    }
    let pointer = raw(|| raw_aligned_alloc(alignment, size));
    if pointer != 0 {
        allocated(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_memalign(alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_memalign(alignment, size);
    }
    let pointer = raw(|| raw_memalign(alignment, size));
    if pointer != 0 {
        allocated(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_alloc(size: u32, alignment: u32) -> u32 {
    if is_nested() {
        return raw_rust_alloc(size, alignment);
    }
    let pointer = raw(|| raw_rust_alloc(size, alignment));
    if pointer != 0 {
        allocated(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_alloc_zeroed(size: u32, alignment: u32) -> u32 {
    if is_nested() {
        return raw_rust_alloc_zeroed(size, alignment);
    }
    let pointer = raw(|| raw_rust_alloc_zeroed(size, alignment));
    if pointer != 0 {
        allocated(pointer, size);
    }
    pointer
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_realloc(old: u32, old_size: u32, alignment: u32, size: u32) -> u32 {
    if is_nested() {
        return raw_rust_realloc(old, old_size, alignment, size);
    }
    let new = raw(|| raw_rust_realloc(old, old_size, alignment, size));
    if new != 0 {
        moved(old, new, size);
    }
    new
}

#[unsafe(no_mangle)]
extern "C" fn hook_rust_dealloc(pointer: u32, size: u32, alignment: u32) {
    if is_nested() {
        return raw_rust_dealloc(pointer, size, alignment);
    }
    freed(pointer);
    raw(|| raw_rust_dealloc(pointer, size, alignment));
}

/// Where the host finds the books.
#[unsafe(no_mangle)]
extern "C" fn books() -> u32 {
    let contexts = own!(CONTEXTS);
    contexts.header.layout = LAYOUT;
    contexts.header.table_bytes = own!(LIVE).bytes() as u64;
    &raw const *contexts as u32
}

/// How many 64-bit words the host reads.
#[unsafe(no_mangle)]
extern "C" fn book_words() -> u32 {
    Contexts::SHARED_WORDS as u32
}

/// The host has taken the books and given the instance its number: instantiation is complete.
#[unsafe(no_mangle)]
extern "C" fn announced(book: u32) {
    let phase = own!(PHASE);
    phase.book = book;
    phase.now = OUTSIDE;
    phase.imports = 0;
    // It was another one before, so that what is allocated now by the same way is told from that.
    set_context(0);
    own!(ARGUMENT_BLOCKS).take();
}

/// The host has called an export, whose arguments are the special context `arguments`.
#[unsafe(no_mangle)]
extern "C" fn export_begins(arguments: u32) {
    let phase = own!(PHASE);
    if phase.enter(RUNNING) == OUTSIDE {
        // An import that was left by an exception has not returned.
        phase.imports = 0;
    }
    if !own!(ARGUMENT_BLOCKS).is_empty() {
        name_arguments(arguments);
    }
}

#[cold]
#[inline(never)]
fn name_arguments(special: u32) {
    let found = own!(CONTEXTS).find(special_context(special));
    let index = found & !NEW;
    if index != 0 {
        // 0 is what finds no place, and has a name of its own.
        own!(CONTEXTS).record(index).special = u64::from(special);
    }
    for &pointer in own!(ARGUMENT_BLOCKS).take() {
        if let Some(block) = own!(LIVE).set_context_of_recent(pointer, index) {
            own!(CONTEXTS).move_block(block.context, index, block.size);
        } else if let Some(block) = own!(LIVE).remove(pointer) {
            own!(CONTEXTS).move_block(block.context, index, block.size);
            keep(pointer, block.size, index);
        }
    }
}

/// The calling context under which a special context is found. Call stacks hardly ever get one of
/// these, which have a zero upper half.
#[inline(always)]
fn special_context(special: u32) -> u64 {
    u64::from(special.wrapping_mul(0x9E37_79B1))
}

/// Enters the special context of a post-return function, or of an export that is not the
/// component's. Returns the phase for [`phase_ends`].
#[unsafe(no_mangle)]
extern "C" fn phase_begins(special: u32) -> u32 {
    own!(PHASE).enter(special)
}

/// As [`phase_begins`], but only where the instrumenter knows nothing of what is running.
#[unsafe(no_mangle)]
extern "C" fn entry_begins(special: u32) -> u32 {
    let phase = own!(PHASE);
    if phase.now == OUTSIDE {
        phase.now = special;
        return OUTSIDE;
    }
    phase.now
}

/// Goes back.
#[unsafe(no_mangle)]
extern "C" fn phase_ends(before: u32) {
    own!(PHASE).now = before;
}

/// An export has returned to the host.
#[unsafe(no_mangle)]
extern "C" fn export_ends() {
    own!(PHASE).enter(OUTSIDE);
}

/// An import is about to be called.
#[unsafe(no_mangle)]
extern "C" fn import_begins() {
    own!(PHASE).imports += 1;
}

/// It has returned: whatever its results were lowered into belongs to its call.
#[unsafe(no_mangle)]
extern "C" fn import_ends() {
    let phase = own!(PHASE);
    phase.imports = phase.imports.wrapping_sub(1);
    if phase.pending != 0 && phase.imports == 0 {
        let index = core::mem::take(&mut phase.pending) - 1;
        report_context(phase.book, index);
    }
}

/// What [`lowering_begins`] found: results of an import that is known to be called, or what belongs to a phase with a name.
const RESULTS: u32 = 0;
/// Arguments.
const FOR_ARGUMENTS: u32 = 1;
/// Results of an import that is called in a way that the instrumenter could not see.
const UNSEEN_RESULTS: u32 = 2;

/// `cabi_realloc` is about to run for the host. Returns what for, for [`lowering_ends`].
#[unsafe(no_mangle)]
extern "C" fn lowering_begins() -> u32 {
    let phase = own!(PHASE);
    match (phase.now, phase.imports) {
        (OUTSIDE, _) => {
            phase.now = ARGUMENTS;
            set_context(special_context(ARGUMENTS));
            FOR_ARGUMENTS
        }
        (RUNNING, 0) => {
            // The host may not be called now, so that what is new has a name instead of a stack.
            phase.now = ARGUMENTS;
            UNSEEN_RESULTS
        }
        _ => RESULTS,
    }
}

/// It has returned the block at `pointer`, which may be null for an argument without bytes.
#[unsafe(no_mangle)]
extern "C" fn lowering_ends(pointer: u32, what_for: u32) {
    match what_for {
        FOR_ARGUMENTS => {
            own!(PHASE).now = OUTSIDE;
            // The live table takes null for the mark of a free lane.
            if pointer != 0 {
                own!(ARGUMENT_BLOCKS).push(pointer);
            }
        }
        UNSEEN_RESULTS => own!(PHASE).now = RUNNING,
        _ => {}
    }
}

const _: () = assert!(MAX_CONTEXTS <= u16::MAX as usize);
const _: () = assert!(INITIALISING != OUTSIDE);
