//! Reads declarations of allocator entry points from TOML.

use toml::{Table, Value};

use super::declared::EntryKind;
use super::options::Options;

/// The most entry points that a file may declare.
const MAX_ENTRY_POINTS: usize = 64;

/// The highest position of a parameter.
const MAX_POSITION: u32 = 15;

/// A file of declarations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeclarationError {
    /// It is not valid TOML.
    #[error("{0}")]
    Malformed(#[from] toml::de::Error),
    /// It declares nothing.
    #[error("it has no [[entry-point]]")]
    Empty,
    /// It declares more than 64 entry points.
    #[error("it has {0} entry points, and at most {MAX_ENTRY_POINTS} are possible")]
    TooMany(usize),
    /// It declares a function twice.
    #[error("it declares the function {0:?} twice")]
    Twice(String),
    /// An entry point names no function.
    #[error("an entry point has no function: its name, as text")]
    Unnamed,
    /// The file has a key at the top that means nothing.
    #[error("{0} is not a key of this file: it has tables [[entry-point]] only")]
    UnknownKey(String),
    /// An entry point has a key or a value that does not fit.
    #[error("the entry point {function:?} is wrong: {what}")]
    Wrong {
        /// The name of the function.
        function: String,
        /// The key, and what its value must be.
        what: String,
    },
}

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
    /// Adds the entry points that a text in TOML declares, one table `[[entry-point]]` each.
    ///
    /// ```
    /// let options = guest_heap::Options::default().declarations(
    ///     r#"
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
        if let Some(key) = file.keys().find(|key| *key != "entry-point") {
            return Err(DeclarationError::UnknownKey(key.clone()));
        }
        let tables = match file.get("entry-point") {
            Some(Value::Array(tables)) if !tables.is_empty() => tables,
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
}
