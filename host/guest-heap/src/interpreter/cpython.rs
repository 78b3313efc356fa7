//! Where CPython keeps its frames.
//!
//! Since 3.13, CPython's state begins with a table of offsets for tools that read it from outside:
//! `_Py_DebugOffsets`. Its order differs between minor versions, and no version is known before it
//! is released.

use crate::numbers::convert_to_numbers;

/// Frames with this owner or a higher one are the interpreter's own: they have no code.
pub(super) const FIRST_OWN_FRAME: u8 = 3;

/// Bytes of a code unit.
pub(super) const UNIT_BYTES: u32 = 2;

/// Offsets beyond this one are damage: no structure is that large.
const MAX_OFFSET: u64 = 1 << 20;

/// Bytes of a frame, a code object and a text at most.
const MAX_SMALL_OFFSET: u64 = 1024;

/// Offsets in CPython's structures, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    /// In the state: the newest interpreter.
    pub(super) interpreters: u32,
    /// In an interpreter: the newest thread.
    pub(super) threads: u32,
    /// In a thread.
    pub(super) current_frame: u32,
    // In a frame.
    pub(super) previous: u32,
    pub(super) executable: u32,
    pub(super) instruction: u32,
    pub(super) owner: u32,
    // In a code object.
    pub(super) file_name: u32,
    pub(super) qualified_name: u32,
    pub(super) line_table: u32,
    pub(super) first_line: u32,
    pub(super) instructions: u32,
    /// In an object.
    pub(super) ob_type: u32,
    // In a type.
    pub(super) type_name: u32,
    pub(super) type_flags: u32,
    // In an object with bytes.
    pub(super) bytes_size: u32,
    pub(super) bytes_start: u32,
    // In a text.
    pub(super) text_state: u32,
    pub(super) text_length: u32,
    /// Size of a text's header. ASCII characters follow it.
    pub(super) text_header: u32,
}

/// The positions of the groups in the table, in words.
struct Groups {
    interpreter: usize,
    thread: usize,
    frame: usize,
    code: usize,
    object: usize,
    ty: usize,
    bytes: usize,
    text: usize,
}

/// The groups of a minor version. The first six words are the same in all versions: the cookie, the
/// version, whether the build is free-threaded, and three words about the state.
fn groups(version: u32) -> Option<Groups> {
    match version >> 16 {
        0x030D => Some(Groups {
            interpreter: 6,
            thread: 19,
            frame: 28,
            code: 34,
            object: 44,
            ty: 46,
            bytes: 64,
            text: 67,
        }),
        0x030E => Some(Groups {
            interpreter: 6,
            thread: 22,
            frame: 31,
            code: 39,
            object: 50,
            ty: 52,
            bytes: 74,
            text: 77,
        }),
        _ => None,
    }
}

impl Offsets {
    /// Reads the table at the start of CPython's state. The error is the reason why it cannot be
    /// used, as a clause whose subject is the interpreter.
    pub(super) fn read(table: &[u8]) -> Result<(u32, Self), String> {
        let (words, _) = table.as_chunks::<8>();
        let word = |at: usize| words.get(at).copied().map(u64::from_le_bytes);
        let version = word(1).and_then(|version| u32::try_from(version).ok());
        let version = version.ok_or("has a damaged table of offsets")?;
        let Some(groups) = groups(version) else {
            return Err(format!(
                "is {}, whose frames this profiler does not know",
                name(version)
            ));
        };
        if word(2) != Some(0) {
            return Err(format!(
                "is a free-threaded build of {}, which keeps copies of its code for each thread",
                name(version)
            ));
        }
        let up_to = |at: usize, most: u64| {
            let offset = word(at).filter(|offset| *offset <= most);
            let offset = offset.and_then(|offset| u32::try_from(offset).ok());
            offset.ok_or("has a damaged table of offsets")
        };
        let large = |at| up_to(at, MAX_OFFSET);
        let small = |at| up_to(at, MAX_SMALL_OFFSET);
        let offsets = Self {
            interpreters: large(5)?,
            threads: large(groups.interpreter + 3)?,
            current_frame: small(groups.thread + 4)?,
            previous: small(groups.frame + 1)?,
            executable: small(groups.frame + 2)?,
            instruction: small(groups.frame + 3)?,
            owner: small(groups.frame + 5)?,
            file_name: small(groups.code + 1)?,
            qualified_name: small(groups.code + 3)?,
            line_table: small(groups.code + 4)?,
            first_line: small(groups.code + 5)?,
            instructions: small(groups.code + 9)?,
            ob_type: small(groups.object + 1)?,
            type_name: small(groups.ty + 1)?,
            type_flags: small(groups.ty + 3)?,
            bytes_size: small(groups.bytes + 1)?,
            bytes_start: small(groups.bytes + 2)?,
            text_state: small(groups.text + 1)?,
            text_length: small(groups.text + 2)?,
            text_header: small(groups.text + 3)?,
        };
        Ok((version, offsets))
    }

    /// The bytes of a frame that hold all of its fields.
    pub(super) fn frame_bytes(&self) -> u32 {
        let fields = [self.previous, self.executable, self.instruction, self.owner];
        fields.into_iter().max().unwrap_or(0) + 4
    }
}

/// `CPython 3.14.0` for 0x030E00F0.
pub(super) fn name(version: u32) -> String {
    let [major, minor, micro, _] = version.to_be_bytes();
    format!("CPython {major}.{minor}.{micro}")
}

// The side data of a component stores them.
convert_to_numbers!(pub(super) Offsets: u32,
    interpreters threads current_frame previous executable instruction owner file_name
    qualified_name line_table first_line instructions ob_type type_name type_flags bytes_size
    bytes_start text_state text_length text_header
);
