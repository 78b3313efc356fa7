//! Plain language: no phrase and no name of `language.txt` in anything that people read.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::finding::Finding;
use super::lexer::{Piece, PieceKind, Syntax, is_word};
use super::source::SourceFile;

/// The list, with what to write instead.
const LIST: &str = include_str!("language.txt");

/// The list itself is the one file that may contain every phrase.
const LIST_FILE: &str = "xtask/src/lint/language.txt";

/// The parsed list.
#[derive(Debug, Default)]
pub(crate) struct PhraseList {
    /// By the first word, which most words of a text are not.
    phrases: HashMap<String, Vec<Phrase>>,
    /// Those whose first word ends with `*`.
    open_phrases: Vec<Phrase>,
    names: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
struct Phrase {
    /// In lower case. One that ends with `*` matches each word with this beginning.
    words: Vec<String>,
    text: &'static str,
    instead: &'static str,
}

/// A word of a text that people read, or the punctuation that ends a phrase.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    line: usize,
    /// In lower case; empty for the end of a phrase.
    text: String,
}

impl PhraseList {
    /// Parses the list.
    ///
    /// # Errors
    /// When a line of the list has no replacement or belongs to no section.
    pub(crate) fn load() -> Result<Self> {
        Self::parse(LIST)
    }

    fn parse(list: &'static str) -> Result<Self> {
        let mut language = Self::default();
        let mut section = "";
        for line in list.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let (old, instead) = line
                .split_once('=')
                .with_context(|| format!("{LIST_FILE}: `{line}` has no replacement"))?;
            let (old, instead) = (old.trim(), instead.trim());
            match section {
                "[phrases]" => language.add(Phrase {
                    words: old.split_whitespace().map(str::to_lowercase).collect(),
                    text: old,
                    instead,
                }),
                "[names]" => language.names.push((old, instead)),
                _ => bail!("{LIST_FILE}: `{line}` is in no section"),
            }
        }
        Ok(language)
    }

    fn add(&mut self, phrase: Phrase) {
        match phrase.words.first() {
            Some(first) if !first.ends_with('*') => {
                let same = self.phrases.entry(first.clone()).or_default();
                same.push(phrase);
            }
            _ => self.open_phrases.push(phrase),
        }
    }

    /// Every phrase and name of the list in one file.
    pub(crate) fn check(&self, source: &SourceFile) -> Vec<Finding> {
        if source.path == Path::new(LIST_FILE) {
            return Vec::new();
        }
        let pieces = source.pieces();
        let mut found: Vec<(usize, &str, &str)> = Vec::new();
        for words in streams(&pieces) {
            for start in 0..words.len() {
                let Some(tail @ [word, ..]) = words.get(start..) else {
                    continue;
                };
                let same = self.phrases.get(&word.text).into_iter().flatten();
                for phrase in same.chain(&self.open_phrases) {
                    if phrase.begins(tail) {
                        found.push((word.line, phrase.text, phrase.instead));
                    }
                }
            }
        }
        let code = matches!(source.syntax, Syntax::Rust | Syntax::JavaScript);
        for piece in &pieces {
            for (name, instead) in &self.names {
                let used = match piece.kind {
                    PieceKind::Code => code && has_name(piece.text, name),
                    PieceKind::Comment | PieceKind::Text => code_spans(piece.text)
                        .iter()
                        .any(|span| has_name(span, name)),
                };
                if used {
                    found.push((piece.line, name, instead));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
            .into_iter()
            .map(|(line, old, instead)| Finding {
                file: source.path.clone(),
                line,
                message: format!("`{old}`: write instead: {instead}"),
            })
            .collect()
    }
}

impl Phrase {
    fn begins(&self, words: &[Word]) -> bool {
        self.words.len() <= words.len()
            && self
                .words
                .iter()
                .zip(words)
                .all(|(wanted, word)| match wanted.strip_suffix('*') {
                    Some(beginning) => word.text.starts_with(beginning),
                    None => word.text == *wanted,
                })
    }
}

/// The words of a file: comments and prose in one stream, so that a line break does not hide a
/// phrase, and the words of identifiers in another.
fn streams(pieces: &[Piece<'_>]) -> [Vec<Word>; 2] {
    let (mut prose, mut identifiers) = (Vec::new(), Vec::new());
    let mut last = (PieceKind::Code, 0);
    for piece in pieces {
        match piece.kind {
            PieceKind::Code => {
                end_phrase(&mut prose, piece.line);
                for token in piece.text.split(|c| !is_word(c)) {
                    add_words(&mut identifiers, piece.line, token);
                    end_phrase(&mut identifiers, piece.line);
                }
            }
            kind => {
                // An empty line or code between two pieces ends a phrase.
                if last.0 != kind || piece.line > last.1 + 1 {
                    end_phrase(&mut prose, piece.line);
                }
                last = (kind, piece.line);
                let without_marker = piece.text.trim_start().trim_start_matches(['/', '!', '*']);
                for (index, part) in without_marker.split(is_break).enumerate() {
                    if index > 0 {
                        end_phrase(&mut prose, piece.line);
                    }
                    add_words(&mut prose, piece.line, part);
                }
                if without_marker.trim().is_empty() {
                    end_phrase(&mut prose, piece.line);
                }
            }
        }
    }
    [prose, identifiers]
}

fn is_break(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '(' | ')' | '|')
}

/// Adds the words of a text without punctuation. An underscore separates words.
fn add_words(words: &mut Vec<Word>, line: usize, text: &str) {
    let parts = text.split(|c: char| !(c.is_alphanumeric() || c == '\''));
    words.extend(parts.filter(|part| !part.is_empty()).map(|part| Word {
        line,
        text: part.to_lowercase(),
    }));
}

fn end_phrase(words: &mut Vec<Word>, line: usize) {
    words.push(Word {
        line,
        text: String::new(),
    });
}

/// True when `name` occurs in `code` as a whole identifier or path.
fn has_name(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code
            .get(at + name.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The texts between backticks.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "# A comment.\n[phrases]\nin jest = as a joke\ncobbl* = repair\n\
                         [names]\nGASP = PAUSE\nContext::Special = Context::Synthetic\n";

    fn check(path: &str, syntax: Syntax, text: &str) -> Vec<String> {
        let source = SourceFile {
            path: path.into(),
            syntax,
            text: text.to_owned(),
        };
        let language = PhraseList::parse(SMALL).unwrap();
        let findings = language.check(&source);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_phrase_is_found_in_comments_strings_and_test_names() {
        let text = "/// It waits in jest.\nfn waits_in_jest() {\n    log(\"In jest\");\n}\n";
        let message = "`in jest`: write instead: as a joke";
        assert_eq!(
            check("a.rs", Syntax::Rust, text),
            [1, 2, 3].map(|line| format!("a.rs:{line}: {message}"))
        );
    }

    #[test]
    fn a_line_break_does_not_hide_a_phrase() {
        for (syntax, text) in [
            (Syntax::Rust, "// It waits in\n// jest for it.\n"),
            (Syntax::Markdown, "It waits in\njest for it.\n"),
            (Syntax::Hash, "# It waits in\n# jest for it.\n"),
            (Syntax::JavaScript, "/* It waits in\n * jest for it. */\n"),
        ] {
            assert_eq!(check("a", syntax, text).len(), 1, "{syntax:?}");
        }
    }

    #[test]
    fn punctuation_and_empty_lines_end_a_phrase() {
        for text in ["It goes in, jest as it is.", "Come in\n\nJest"] {
            assert!(check("a.md", Syntax::Markdown, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_star_matches_longer_words_but_not_other_words() {
        assert_eq!(check("a.md", Syntax::Markdown, "a cobbled leak").len(), 1);
        assert!(check("a.md", Syntax::Markdown, "we hobble").is_empty());
    }

    #[test]
    fn a_name_is_found_as_a_whole_identifier_in_code_and_between_backticks() {
        let rust = |text| check("a.rs", Syntax::Rust, text).len();
        assert_eq!(rust("const GASP: u64 = 1;"), 1);
        assert_eq!(rust("const GASP_TAKEN: u64 = 1;"), 0);
        assert_eq!(rust("let a = Context::Special(1);"), 1);
        assert_eq!(rust("// As long as [`GASP`] lasts."), 1);
        assert_eq!(rust("// HOLD YOUR GASP"), 0);
        assert_eq!(check("a.md", Syntax::Markdown, "Set `GASP`.").len(), 1);
    }

    #[test]
    fn every_entry_of_the_list_names_a_replacement() {
        let language = PhraseList::load().unwrap();
        let phrases: Vec<_> = language.phrases.values().flatten().collect();
        assert!(phrases.len() > 30, "{}", phrases.len());
        assert!(language.names.len() > 20, "{}", language.names.len());
        assert!(phrases.iter().all(|phrase| !phrase.instead.is_empty()));
        assert!(
            language
                .names
                .iter()
                .all(|(_, instead)| !instead.is_empty())
        );
    }

    #[test]
    fn a_line_of_the_list_without_a_replacement_is_an_error() {
        let error = PhraseList::parse("[phrases]\nin jest\n").unwrap_err();
        assert!(error.to_string().contains("has no replacement"), "{error}");
        assert!(PhraseList::parse("in jest = x\n").is_err());
    }
}
