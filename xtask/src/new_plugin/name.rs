//! The name of a plugin, in each form that it is written in.

use std::str::FromStr;

/// Words with another meaning in the place of an id in the admin API, and names that no crate may
/// have.
const RESERVED: [&str; 13] = [
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

/// Characters of an id. The host has the same limit.
const MAX_CHARS: usize = 40;

/// A plugin's id: kebab-case, 1 to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PluginName(String);

impl FromStr for PluginName {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let kebab = id.len() <= MAX_CHARS
            && id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.split('-').all(is_part);
        if !kebab {
            return Err(format!(
                "a name is kebab-case of 1 to {MAX_CHARS} characters, like session-store"
            ));
        }
        if RESERVED.contains(&id) || KEYWORDS.contains(&id) || id == "leak-plugin-sdk" {
            return Err(format!("{id} has another meaning: choose another name"));
        }
        Ok(Self(id.to_owned()))
    }
}

impl PluginName {
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
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_name_has_four_forms() {
        let name: PluginName = "lru-cache-2".parse().unwrap();
        assert_eq!(name.id(), "lru-cache-2");
        assert_eq!(name.crate_name(), "lru_cache_2");
        assert_eq!(name.type_name(), "LruCache2");
        assert_eq!(name.title(), "Lru cache 2");
    }

    #[test]
    fn a_word_that_cannot_be_an_id_or_a_crate_is_refused() {
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
            assert!(wrong.parse::<PluginName>().is_err(), "{wrong:?}");
        }
        assert!("a".repeat(40).parse::<PluginName>().is_ok());
    }

    /// Collects every `manifest.rs` below a folder.
    fn sources_below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources_below(&path, found);
            } else if path.ends_with("manifest.rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn a_word_that_the_host_reserves_is_refused() {
        let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
        let mut sources = Vec::new();
        sources_below(&host, &mut sources);
        let texts: Vec<String> = sources
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        let line = texts
            .iter()
            .flat_map(|text| text.lines())
            .find(|line| line.starts_with("const RESERVED"))
            .expect("the host's manifest.rs has a list of reserved ids");
        let (_, words) = line.split_once('=').unwrap();
        let reserved: Vec<_> = words.split('"').skip(1).step_by(2).collect();
        assert!(reserved.contains(&"check"), "{reserved:?}");
        for word in reserved {
            assert!(word.parse::<PluginName>().is_err(), "{word:?}");
        }
    }
}
