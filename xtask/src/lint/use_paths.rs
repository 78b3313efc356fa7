//! The paths within its own crate that a Rust file names, in `use` declarations and in code.

use super::lexer::{Kind, Syntax, is_word, pieces};

/// One path, such as `crate::driver::Driver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsePath {
    /// The first is `crate`, `self`, `super`, or, in a re-export, may be a child module.
    pub(crate) segments: Vec<String>,
    /// Counted from 1.
    pub(crate) line: usize,
    /// True for a re-export.
    pub(crate) public: bool,
}

/// What [`use_paths`] reads of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FilePaths {
    pub(crate) paths: Vec<UsePath>,
    /// Modules in files of their own that are compiled for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// Reads a file up to its test module.
pub(crate) fn use_paths(text: &str) -> FilePaths {
    let tokens = tokens(text);
    let mut read = FilePaths::default();
    let mut at = 0;
    while let Some((token, _)) = tokens.get(at) {
        let previous = at.checked_sub(1).and_then(|before| tokens.get(before));
        match token.as_str() {
            "#" if is_test_attribute(&tokens, at) => {
                // `# [ cfg ( test ) ] mod name` and `;` or `{`.
                let word = |offset: usize| tokens.get(at + offset).map(|(token, _)| token.as_str());
                if word(7) == Some("mod") {
                    match (word(8), word(9)) {
                        (Some(name), Some(";")) => read.test_modules.push(name.to_owned()),
                        _ => return read,
                    }
                }
                at += 7;
            }
            // `pub use` or `pub(crate) use`.
            "use" if previous.is_some_and(|(token, _)| token == "pub" || token == ")") => {
                at = read_tree(&tokens, at + 1, &[], true, &mut read.paths);
            }
            "crate" | "self" | "super" if tokens.get(at + 1).is_some_and(|(t, _)| t == "::") => {
                at = read_tree(&tokens, at, &[], false, &mut read.paths);
            }
            _ => at += 1,
        }
    }
    read
}

fn is_test_attribute(tokens: &[(String, usize)], at: usize) -> bool {
    let wanted = ["#", "[", "cfg", "(", "test", ")", "]"];
    wanted
        .iter()
        .enumerate()
        .all(|(offset, wanted)| tokens.get(at + offset).is_some_and(|(t, _)| t == wanted))
}

/// Reads a path with its `{}` groups and returns the position after it.
fn read_tree(
    tokens: &[(String, usize)],
    mut at: usize,
    prefix: &[String],
    public: bool,
    paths: &mut Vec<UsePath>,
) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(1, |(_, line)| *line);
    while let Some((token, _)) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|(token, _)| token != "}") {
                let before = at;
                at = read_tree(tokens, at, &segments, public, paths);
                // The comma, the new name after `as`, or anything that is no path.
                let more = |token: &str| token != "}" && token != ",";
                while at > before && tokens.get(at).is_some_and(|(token, _)| more(token)) {
                    at += 1;
                }
                if at == before || tokens.get(at).is_some_and(|(token, _)| token == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !token.starts_with(is_word) {
            break;
        }
        // `self` within a group is the group's own module.
        if token != "self" || segments.is_empty() {
            segments.push(token.clone());
        }
        at += 1;
        if tokens.get(at).is_none_or(|(token, _)| token != "::") {
            break;
        }
        at += 1;
    }
    if segments.len() > prefix.len() || !prefix.is_empty() {
        paths.push(UsePath {
            segments,
            line,
            public,
        });
    }
    at
}

/// Words, `::` and single characters of the code, with their lines.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let mut tokens = Vec::new();
    for piece in pieces(Syntax::Rust, text) {
        if piece.kind != Kind::Code {
            continue;
        }
        let mut rest = piece.text;
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, tail) = rest.split_at(length);
            if !first.is_whitespace() {
                tokens.push((token.to_owned(), piece.line));
            }
            rest = tail;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let paths = use_paths(text).paths;
        paths.iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_are_expanded() {
        assert_eq!(
            read("use crate::a::{self, B, c::{D, E as F}};\nuse super::g::*;\nuse std::fs;"),
            [
                "crate::a",
                "crate::a::B",
                "crate::a::c::D",
                "crate::a::c::E",
                "super::g",
            ]
        );
    }

    #[test]
    fn paths_in_code_are_read_and_values_named_self_are_not() {
        assert_eq!(
            read("fn f(&self) { self.x(); crate::a::b::<u8>(); }"),
            ["crate::a::b"]
        );
    }

    #[test]
    fn a_reexport_may_begin_with_a_child_module() {
        let paths = use_paths("pub use a::{A, B};\npub(crate) use b::C;\nuse c::D;").paths;
        let read: Vec<_> = paths.iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(read, ["a::A", "a::B", "b::C"]);
        assert!(paths.iter().all(|path| path.public));
    }

    #[test]
    fn the_test_module_ends_the_file_and_a_test_file_is_named() {
        let read = use_paths(
            "use crate::a;\n#[cfg(test)]\nmod helper;\n#[cfg(test)]\nmod tests { use crate::b; }",
        );
        assert_eq!(read.paths.len(), 1);
        assert_eq!(read.test_modules, ["helper"]);
    }
}
