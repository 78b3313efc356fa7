//! The name of a plugin, in the forms in which it is written.

use std::str::FromStr;

/// Words that stand where an id would in the admin API, and words that no crate may be called.
const TAKEN: [&str; 13] = [
    "all",
    "check",
    "clear",
    "status",
    "sdk",
    "patterns",
    "fixtures",
    "languages",
    "template",
    "test",
    "core",
    "std",
    "alloc",
];

/// Rust's keywords, strict and reserved, in the 2024 edition: no crate can have such a name.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Most characters of an id, as the host has it.
const LONGEST: usize = 40;

/// A plugin's id: kebab-case, 1 to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let kebab = id.len() <= LONGEST
            && id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.split('-').all(is_part);
        if !kebab {
            return Err(format!(
                "a name is kebab-case of 1 to {LONGEST} characters, like session-store"
            ));
        }
        if TAKEN.contains(&id) || KEYWORDS.contains(&id) || id == "leak-plugin-sdk" {
            return Err(format!(
                "{id} is a word with another meaning; choose another name"
            ));
        }
        Ok(Self(id.to_owned()))
    }
}

impl Name {
    /// `session-store`
    pub(super) fn id(&self) -> &str {
        &self.0
    }

    /// `session_store`, as cargo names the file.
    pub(super) fn crate_name(&self) -> String {
        self.0.replace('-', "_")
    }

    /// `SessionStore`
    pub(super) fn type_name(&self) -> String {
        self.0.split('-').map(capitalized).collect()
    }

    /// `Session store`
    pub(super) fn title(&self) -> String {
        capitalized(&self.0.replace('-', " "))
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_four_forms() {
        let name: Name = "lru-cache-2".parse().unwrap();
        assert_eq!(name.id(), "lru-cache-2");
        assert_eq!(name.crate_name(), "lru_cache_2");
        assert_eq!(name.type_name(), "LruCache2");
        assert_eq!(name.title(), "Lru cache 2");
    }

    #[test]
    fn what_cannot_be_an_id_or_a_crate_is_refused() {
        for wrong in [
            "",
            "Cache",
            "a--b",
            "-a",
            "a-",
            "a_b",
            "1a",
            "a b",
            "a/b",
            "../a",
            "fn",
            "self",
            "super",
            "true",
            "try",
            "unsafe",
            "use",
            "while",
            "yield",
            "std",
            &"a".repeat(41),
        ] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?}");
        }
        assert!("a".repeat(40).parse::<Name>().is_ok());
    }
    #[test]
    fn what_the_host_reserves_is_refused() {
        let host = include_str!("../../../host/plugin-host/src/load/manifest.rs");
        let reserved = host
            .lines()
            .find(|line| line.starts_with("const RESERVED"))
            .and_then(|line| line.split_once('='))
            .map(|(_, words)| words.split('"').skip(1).step_by(2));
        let reserved: Vec<_> = reserved.unwrap().collect();
        assert!(reserved.contains(&"check"), "{reserved:?}");
        for word in reserved {
            assert!(word.parse::<Name>().is_err(), "{word:?}");
        }
    }
}
