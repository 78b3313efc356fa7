//! Patterns that select code by path, crate or function.

use super::function_name::{last_segment, owner_path, without_generics};

/// Bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 512;

/// Endings of source files, by which a pattern without a slash is known to be a path.
const SOURCE_ENDINGS: &[&str] = &[
    ".c", ".cc", ".cpp", ".cxx", ".go", ".h", ".hpp", ".inl", ".rs", ".swift", ".zig",
];

/// A pattern is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing, or nothing but stars, so it would select everything.
    #[error("a pattern needs more than stars")]
    SelectsEverything,
    /// A pattern has at most 512 bytes.
    #[error("a pattern has at most 512 bytes")]
    TooLong,
    /// It has a control character.
    #[error("a pattern has no control characters")]
    ControlCharacter,
    /// A path begins at the root of a file system, but shown paths are relative.
    #[error("a path is relative, as reports show it, such as `src/pool` (not `{0}`)")]
    AbsolutePath(String),
    /// Something other than `path:`, `crate:` or `function:` is in front.
    #[error("`{0}:` is unknown; a pattern begins with `path:`, `crate:` or `function:`")]
    UnknownPrefix(String),
    /// It is not the name of a crate.
    #[error("`{0}` is no name of a crate: it may have letters, digits, `-`, `_` and `*`")]
    InvalidCrate(String),
}

/// What a pattern is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selects {
    Path,
    Crate,
    Function,
}

/// A pattern. `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodePattern {
    selects: Selects,
    text: String,
}

/// The names of a frame that a pattern can select it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeNames<'a> {
    /// Demangled.
    pub(super) function: &'a str,
    /// As reports show it.
    pub(super) path: Option<&'a str>,
    pub(super) crate_name: Option<&'a str>,
}

impl CodePattern {
    /// Reads a pattern: `path:…`, `crate:…` or `function:…`. Without one of these, a text with a
    /// slash or the ending of a source file is a path, one with `::` a function, and any other is
    /// `plain`.
    pub(super) fn parse(text: &str, plain: Selects) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(PatternError::ControlCharacter);
        }
        let (selects, text) = match split_prefix(text) {
            Some(("path", rest)) => (Selects::Path, rest),
            Some(("crate", rest)) => (Selects::Crate, rest),
            Some(("function", rest)) => (Selects::Function, rest),
            Some((prefix, _)) => return Err(PatternError::UnknownPrefix(prefix.to_owned())),
            None => (without_prefix(text, plain), text),
        };
        if text.chars().all(|c| matches!(c, '*' | '/' | ':' | '.')) {
            return Err(PatternError::SelectsEverything);
        }
        let text = match selects {
            Selects::Path => relative_path(text)?,
            Selects::Crate => crate_name(text)?,
            Selects::Function => without_generics(text.trim_end_matches("()")).to_owned(),
        };
        Ok(Self { selects, text })
    }

    /// Whether it selects a frame.
    pub(super) fn selects(&self, names: CodeNames<'_>) -> bool {
        match self.selects {
            Selects::Path => names.path.is_some_and(|path| is_below(&self.text, path)),
            Selects::Crate => names
                .crate_name
                .is_some_and(|name| matches(&self.text, &name.replace('-', "_"))),
            Selects::Function => self.selects_function(names),
        }
    }

    fn selects_function(&self, names: CodeNames<'_>) -> bool {
        let last = last_segment(names.function);
        // A method without its type's brackets: `pool::Counting::alloc`.
        let path = format!("{}::{last}", owner_path(names.function));
        if ends_with(&self.text, without_generics(names.function)) || ends_with(&self.text, &path) {
            return true;
        }
        // Line tables name an inlined function of own code without its path. Then its crate has to
        // match.
        let (Some((pattern_path, pattern_last)), Some(crate_name)) =
            (self.text.rsplit_once("::"), names.crate_name)
        else {
            return false;
        };
        !names.function.contains("::")
            && matches(pattern_last, last)
            && matches(
                pattern_path.split("::").next().unwrap_or_default(),
                &crate_name.replace('-', "_"),
            )
    }
}

fn split_prefix(text: &str) -> Option<(&str, &str)> {
    let (prefix, rest) = text.split_once(':')?;
    let is_word = prefix.bytes().all(|byte| byte.is_ascii_lowercase());
    (is_word && !prefix.is_empty() && !rest.starts_with(':')).then_some((prefix, rest))
}

fn without_prefix(text: &str, plain: Selects) -> Selects {
    if text.contains("::") {
        Selects::Function
    } else if text.contains(['/', '\\']) || SOURCE_ENDINGS.iter().any(|end| text.ends_with(end)) {
        Selects::Path
    } else {
        plain
    }
}

fn relative_path(text: &str) -> Result<String, PatternError> {
    let path = text.replace('\\', "/");
    if path.starts_with('/') || path.get(1..3) == Some(":/") {
        return Err(PatternError::AbsolutePath(text.to_owned()));
    }
    let path = path.trim_start_matches("./").trim_end_matches('/');
    Ok(path.to_owned())
}

fn crate_name(text: &str) -> Result<String, PatternError> {
    let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '*');
    if text.chars().all(is_allowed) {
        Ok(text.replace('-', "_"))
    } else {
        Err(PatternError::InvalidCrate(text.to_owned()))
    }
}

/// Whether a path or one of the folders above it matches.
fn is_below(pattern: &str, path: &str) -> bool {
    matches(pattern, path)
        || path.match_indices('/').any(|(at, _)| {
            path.get(..at)
                .is_some_and(|folder| matches(pattern, folder))
        })
}

/// Whether a function or the end of its path, from the start of a segment on, matches.
fn ends_with(pattern: &str, function: &str) -> bool {
    matches(pattern, function)
        || function.match_indices("::").any(|(at, _)| {
            function
                .get(at + 2..)
                .is_some_and(|end| matches(pattern, end))
        })
}

/// Whether a text is a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> CodeNames<'_> {
        CodeNames {
            function: name,
            path: Some("src/pool/mod.rs"),
            crate_name: Some("my-app"),
        }
    }

    #[test]
    fn patterns_select_functions_paths_and_crates() {
        let cases = [
            ("xmalloc", "xmalloc", true),
            ("xmalloc", "xmalloc_array", false),
            ("x*alloc", "xrealloc", true),
            ("*_alloc", "pool_alloc", true),
            ("*_alloc", "pool_alloc_more", false),
            ("copy_of", "my_app::util::copy_of", true),
            ("util::copy_of", "my_app::util::copy_of", true),
            ("til::copy_of", "my_app::util::copy_of", false),
            ("my_app::util::*", "my_app::util::copy_of", true),
            // An inlined function has no path, so its crate has to match.
            ("my_app::util::copy_of", "copy_of", true),
            ("other::util::copy_of", "copy_of", false),
            (
                "Counting::alloc",
                "<my_app::Counting as core::alloc::global::GlobalAlloc>::alloc",
                true,
            ),
            ("grow", "my_app::Pool<u8>::grow::<u16>", true),
            ("src/pool", "anything", true),
            ("path:src/*", "anything", true),
            ("src/poo", "anything", false),
            ("src/pool/mod.rs", "anything", true),
            ("mod.rs", "anything", false),
            ("crate:my_app", "anything", true),
            ("crate:my-*", "anything", true),
            ("crate:app", "anything", false),
            ("function:my_app", "my_app", true),
        ];
        for (pattern, name, expected) in cases {
            let parsed = CodePattern::parse(pattern, Selects::Function).unwrap();
            assert_eq!(parsed.selects(function(name)), expected, "{pattern} {name}");
        }
        let plain = CodePattern::parse("my-app", Selects::Crate).unwrap();
        assert!(plain.selects(function("anything")));
    }

    #[test]
    fn wrong_patterns_are_refused_with_the_reason() {
        let cases = [
            ("", PatternError::SelectsEverything),
            (" ** ", PatternError::SelectsEverything),
            ("path:*/*", PatternError::SelectsEverything),
            ("function:", PatternError::SelectsEverything),
            ("a\nb", PatternError::ControlCharacter),
            (
                "/home/ann/src",
                PatternError::AbsolutePath("/home/ann/src".to_owned()),
            ),
            (
                "C:\\app\\src",
                PatternError::AbsolutePath("C:\\app\\src".to_owned()),
            ),
            (
                "file:src/a.rs",
                PatternError::UnknownPrefix("file".to_owned()),
            ),
            (
                "crate:my app",
                PatternError::InvalidCrate("my app".to_owned()),
            ),
        ];
        for (pattern, error) in cases {
            let parsed = CodePattern::parse(pattern, Selects::Function);
            assert_eq!(parsed, Err(error), "{pattern}");
        }
        let long = "a".repeat(513);
        assert_eq!(
            CodePattern::parse(&long, Selects::Function),
            Err(PatternError::TooLong)
        );
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("*a*", "xay", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
