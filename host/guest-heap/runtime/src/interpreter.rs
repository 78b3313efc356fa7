//! Contexts of a program that an interpreter in the guest runs.
//!
//! While CPython runs Python code, the key of an allocation is made of the innermost instructions
//! of that code instead of the call stack of the interpreter. CPython says where its frames are:
//! all offsets are constants that linking fills in. No load leaves the guest's memory, whatever the
//! guest has written there.
//!
//! Linking drops these functions from modules of components without a known interpreter.

use crate::accounting::{current_context, insert_live, report};
use crate::contexts::NEW;
use crate::guest::{
    context, guest_pages, load, original__Py_NewReference, py_basic_size, py_current_frame,
    py_depth, py_executable, py_first_line, py_first_own_frame, py_frame_bytes, py_instruction,
    py_interpreters, py_item_size, py_object_size, py_owner, py_previous, py_snapshot_end,
    py_threads, py_type, py_type_flags, report_every_event, report_window,
};
use crate::phase::RUNNING;
use crate::state::state;

/// The factor between two frames, as between two calls of a call stack.
const MULTIPLIER: u64 = 0x9E6C_63D0_876A_9A47;

/// Steps through the list of frames for each frame of the key. Between two frames of Python code
/// there is at most one of the interpreter's own.
const STEPS_PER_FRAME: u32 = 4;

/// Bytes of a wasm page, as exponent of two.
const PAGE_LOG2: u32 = 16;

/// Bit in an answer of the host: it wants to read the guest's memory at the address in the lower
/// half.
const WANTS_WINDOW: u64 = 1 << 63;

/// Bytes of the guest's memory that the host reads at once.
const WINDOW_BYTES: u32 = 1024;

/// Flag of a type whose objects have the collector's links in front of them.
const HAS_COLLECTOR_LINKS: u32 = 1 << 14;
/// Flags of a type whose objects have places for a dictionary and weak references in front.
const HAS_PRE_HEADER: u32 = 3 << 3;
/// Flag of `int` and its subtypes.
const IS_INT: u32 = 1 << 24;
/// Bytes of the collector's links, and of the other places in front of an object.
const PREFIX_BYTES: u32 = 8;

/// Items that an object from a free list may have.
const MAX_ITEMS: u32 = 1 << 16;

/// The end of the guest's memory.
#[inline(always)]
fn memory_end() -> u32 {
    let pages = guest_pages();
    if pages >> PAGE_LOG2 != 0 {
        u32::MAX
    } else {
        pages << PAGE_LOG2
    }
}

/// A word at an offset from an address, unless it is outside of the guest's memory.
#[inline(always)]
fn word(address: u32, offset: u32, end: u32) -> Option<u32> {
    (address <= end.saturating_sub(offset + 4)).then(|| load(address + offset))
}

/// The key of an allocation: of the Python code that runs, or else the calling context. `pointer`
/// is the new block.
#[unsafe(no_mangle)]
extern "C" fn interpreter_key(pointer: u32) -> u64 {
    *state!(LAST_BLOCK) = pointer;
    if state!(PHASE).current != RUNNING {
        return context();
    }
    frames_key().unwrap_or_else(|| context())
}

/// `None` when no Python code runs.
#[inline(always)]
fn frames_key() -> Option<u64> {
    let end = memory_end();
    let interpreter = load(py_interpreters());
    if interpreter == 0 {
        return None;
    }
    let thread = word(interpreter, py_threads(), end)?;
    if thread == 0 {
        return None;
    }
    let mut frame = word(thread, py_current_frame(), end)?;
    let last_frame = end.saturating_sub(py_frame_bytes());
    let mut key = 0_u64;
    let mut depth = 0;
    let mut steps = py_depth() * STEPS_PER_FRAME;
    while frame != 0 && frame <= last_frame && depth < py_depth() && steps > 0 {
        steps -= 1;
        if load(frame + py_owner()) & 0xFF < py_first_own_frame() {
            let code = load(frame + py_executable()) & !3;
            let line = word(code, py_first_line(), end).unwrap_or(0);
            let instruction = load(frame + py_instruction());
            let place = u64::from(code ^ line << 4) << 32 | u64::from(instruction);
            key = (key ^ place).wrapping_mul(MULTIPLIER);
            key ^= key >> 29;
            depth += 1;
        }
        frame = load(frame + py_previous());
    }
    if depth == 0 {
        return None;
    }
    key = key.wrapping_mul(MULTIPLIER);
    Some(key ^ key >> 32)
}

/// Has the host find the source lines or the call stack of a context. The host may read the guest's
/// memory for that, window by window.
#[unsafe(no_mangle)]
extern "C" fn report_interpreted(instance: u32, index: u32, context: u64) -> u32 {
    let (mut address, mut bytes) = (0, 0);
    loop {
        let answer = report_window(instance, index, context, address, bytes);
        if answer & WANTS_WINDOW == 0 {
            return answer as u32;
        }
        address = answer as u32;
        bytes = memory_end().saturating_sub(address).min(WINDOW_BYTES);
    }
}

/// CPython has made an object: in a block that it has just allocated, or in one that it had kept
/// for reuse. The latter one now belongs to the code that runs.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "hooks have the names of their functions")]
extern "C" fn hook__Py_NewReference(object: u32) {
    original__Py_NewReference(object);
    if object == *state!(LAST_BLOCK) {
        // The block begins with the object, so nothing is in front of it.
        *state!(LAST_BLOCK) = 0;
        return;
    }
    let end = memory_end();
    let ty = word(object, py_type(), end).unwrap_or(0);
    let flags = word(ty, py_type_flags(), end).unwrap_or(0);
    let mut prefix = 0;
    if flags & HAS_COLLECTOR_LINKS != 0 {
        prefix += PREFIX_BYTES;
    }
    if flags & HAS_PRE_HEADER != 0 {
        prefix += PREFIX_BYTES;
    }
    let pointer = object.wrapping_sub(prefix);
    if pointer == *state!(LAST_BLOCK) {
        // The next object in this block is one that is reused.
        *state!(LAST_BLOCK) = 0;
    } else if pointer != 0 && state!(PHASE).current == RUNNING {
        reuse(object, pointer, ty, flags);
    }
}

/// Moves a block to the current context.
#[inline(always)]
fn reuse(object: u32, pointer: u32, ty: u32, flags: u32) {
    let found = current_context(0);
    let index = found & !NEW;
    let known = state!(LIVE).set_context_of_recent(pointer, index);
    if let Some(block) = known.or_else(|| state!(LIVE).set_context(pointer, index)) {
        if block.context != index {
            state!(CONTEXTS).move_block(block.context, index, block.size);
        }
    } else {
        reuse_slow(object, pointer, ty, flags, index);
    }
    if found != index || report_every_event() != 0 {
        report(found);
    }
}

/// Moves a large block, or adopts a block from before the snapshot.
#[inline(always)]
fn reuse_slow(object: u32, pointer: u32, ty: u32, flags: u32, index: u32) {
    if let Some(block) = state!(LIVE).remove(pointer) {
        state!(CONTEXTS).move_block(block.context, index, block.size);
        insert_live(pointer, block.size, index);
        return;
    }
    if pointer >= py_snapshot_end() {
        return;
    }
    let end = memory_end();
    let field = |offset| word(ty, offset, end).unwrap_or(0);
    let item = field(py_item_size());
    let items = match (item, flags & IS_INT) {
        (0, _) => 0,
        (_, 0) => word(object, py_object_size(), end).unwrap_or(0),
        // The size word of an `int` has other bits, too. Those on the free list have one digit.
        _ => 1,
    };
    let size = object
        .wrapping_sub(pointer)
        .wrapping_add(field(py_basic_size()))
        .wrapping_add(item.wrapping_mul(items.min(MAX_ITEMS)));
    state!(CONTEXTS).allocate(index, size);
    insert_live(pointer, size, index);
}
