//! Reads what a component declares for the profiler, from TOML: its allocator, and how many calls
//! of its interpreted program identify a context.

use std::borrow::Cow;

use toml::{Table, Value};
use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};

use super::declared::EntryKind;
use super::error::{DeclarationError, MAX_ENTRY_POINTS, MAX_POSITION};
use super::options::Options;
use crate::interpreter::MAX_DEPTH;

/// The custom section of a component that holds its declarations.
const SECTION: &str = "guest-heap.entry-points";

/// The key of the tables that declare an allocator.
const ENTRY_POINT: &str = "entry-point";

/// The key of the number of interpreted frames.
const INTERPRETED_FRAMES: &str = "interpreted-frames";

/// Reads one table `[[entry-point]]`.
fn declaration(table: &Table) -> Result<(String, EntryKind), DeclarationError> {
    let function = match table.get("function") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(DeclarationError::Unnamed),
    };
    let wrong = |what: String| DeclarationError::Wrong {
        function: function.clone(),
        what,
    };
    let position = |key: &str| {
        let value = table.get(key).and_then(Value::as_integer);
        let position = value.and_then(|value| u32::try_from(value).ok());
        position
            .filter(|position| *position <= MAX_POSITION)
            .ok_or_else(|| wrong(format!("{key} must be a position from 0 to {MAX_POSITION}")))
    };
    let kind = table
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (kind, keys): (_, &[&str]) = match kind {
        "allocate" => (
            EntryKind::Allocate {
                size: position("size")?,
            },
            &["size"],
        ),
        "allocate-array" => (
            EntryKind::AllocateArray {
                count: position("count")?,
                size: position("size")?,
            },
            &["count", "size"],
        ),
        "reallocate" => (
            EntryKind::Reallocate {
                pointer: position("pointer")?,
                size: position("size")?,
            },
            &["pointer", "size"],
        ),
        "free" => (
            EntryKind::Free {
                pointer: position("pointer")?,
            },
            &["pointer"],
        ),
        _ => {
            return Err(wrong(
                "kind must be allocate, allocate-array, reallocate or free".to_owned(),
            ));
        }
    };
    let known = |key: &str| ["function", "kind"].contains(&key) || keys.contains(&key);
    if let Some(key) = table.keys().find(|key| !known(key)) {
        return Err(wrong(format!("{key} is not a key of this kind")));
    }
    let (first, second) = positions(kind);
    if Some(first) == second {
        return Err(wrong("two positions are the same".to_owned()));
    }
    Ok((function, kind))
}

/// The positions that a kind uses.
fn positions(kind: EntryKind) -> (u32, Option<u32>) {
    match kind {
        EntryKind::Allocate { size } => (size, None),
        EntryKind::AllocateArray { count, size } => (count, Some(size)),
        EntryKind::Reallocate { pointer, size } => (pointer, Some(size)),
        EntryKind::Free { pointer } => (pointer, None),
    }
}

impl Options {
    /// Adds what a text in TOML declares: entry points, one table `[[entry-point]]` each, and the
    /// number of [`interpreted_frames`](Self::interpreted_frames).
    ///
    /// ```
    /// let options = guest_heap::Options::default().declarations(
    ///     r#"
    ///     interpreted-frames = 16
    ///
    ///     [[entry-point]]
    ///     function = "pool_alloc"
    ///     kind = "allocate"        # or allocate-array, reallocate, free
    ///     size = 0                 # positions of parameters: size, count, pointer
    ///
    ///     [[entry-point]]
    ///     function = "pool_free"
    ///     kind = "free"
    ///     pointer = 0
    ///     "#,
    /// )?;
    /// # Ok::<(), guest_heap::DeclarationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The text is not TOML of this form, or a value is out of range.
    pub fn declarations(mut self, toml: &str) -> Result<Self, DeclarationError> {
        let file: Table = toml.parse()?;
        let known = [ENTRY_POINT, INTERPRETED_FRAMES];
        if let Some(key) = file.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(DeclarationError::UnknownKey(key.clone()));
        }
        if let Some(frames) = file.get(INTERPRETED_FRAMES) {
            let frames = frames.as_integer().and_then(|it| u32::try_from(it).ok());
            let frames = frames.filter(|frames| *frames <= MAX_DEPTH);
            self = self.interpreted_frames(frames.ok_or(DeclarationError::Frames)?);
        }
        let tables = match file.get(ENTRY_POINT) {
            Some(Value::Array(tables)) if !tables.is_empty() => tables,
            None if file.contains_key(INTERPRETED_FRAMES) => return Ok(self),
            _ => return Err(DeclarationError::Empty),
        };
        if tables.len() > MAX_ENTRY_POINTS {
            return Err(DeclarationError::TooMany(tables.len()));
        }
        for table in tables {
            let table = table.as_table().ok_or(DeclarationError::Empty)?;
            let (function, kind) = declaration(table)?;
            if self.entry_points.declares(&function) {
                return Err(DeclarationError::Twice(function));
            }
            self = self.entry_point(function, kind);
        }
        Ok(self)
    }

    /// These options with the declarations that the component itself has: see
    /// [`embed_declarations`].
    pub(super) fn with_embedded(
        &self,
        component: &[u8],
    ) -> Result<Cow<'_, Self>, DeclarationError> {
        match embedded(component) {
            Some(toml) => Ok(Cow::Owned(self.clone().declarations(&toml)?)),
            None => Ok(Cow::Borrowed(self)),
        }
    }
}

/// The component with declarations in a custom section, where
/// [`instrument()`](super::instrument()) finds them. Nothing else in the component changes.
#[must_use]
pub fn embed_declarations(component: &[u8], toml: &str) -> Vec<u8> {
    let mut out = component.to_vec();
    let section = CustomSection {
        name: SECTION.into(),
        data: toml.as_bytes().into(),
    };
    section.append_to_component(&mut out);
    out
}

/// The declarations in the component's own custom sections, not in those of its modules.
fn embedded(component: &[u8]) -> Option<String> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                return Some(String::from_utf8_lossy(section.data()).into_owned());
            }
            _ => {}
        }
    }
    None
}
