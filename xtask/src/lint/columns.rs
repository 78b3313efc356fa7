//! Comments and Markdown prose are at most [`MAX_COLUMNS`] wide. Rustfmt does not wrap them.

use super::finding::Finding;
use super::lexer::{PieceKind, Syntax};
use super::source::SourceFile;

/// Characters of a line, indentation included.
const MAX_COLUMNS: usize = 100;

/// Every comment or line of prose that is too wide.
pub(crate) fn check(source: &SourceFile) -> Vec<Finding> {
    let wide: Vec<usize> = match source.syntax {
        Syntax::Markdown => in_prose(&source.text),
        Syntax::Plain => Vec::new(),
        Syntax::Rust | Syntax::JavaScript | Syntax::C | Syntax::Hash => in_comments(source),
    };
    wide.into_iter()
        .map(|line| Finding {
            file: source.path.clone(),
            line,
            message: format!("wrap at {MAX_COLUMNS} columns"),
        })
        .collect()
}

fn in_comments(source: &SourceFile) -> Vec<usize> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut wide = Vec::new();
    let mut fenced = false;
    for piece in source.pieces() {
        if piece.kind != PieceKind::Comment {
            continue;
        }
        let text = piece.text.trim_start();
        let body = text.trim_start_matches(['/', '!', '*', '#']).trim_start();
        if body.starts_with("```") {
            fenced = !fenced;
        }
        let line = lines.get(piece.line - 1).copied().unwrap_or_default();
        if !fenced && !body.starts_with('|') && is_too_wide(line) {
            wide.push(piece.line);
        }
    }
    wide.dedup();
    wide
}

fn in_prose(text: &str) -> Vec<usize> {
    let mut fence: Option<&str> = None;
    let mut wide = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let body = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|m| body.starts_with(m));
        match (fence, marker) {
            (None, Some(_)) => fence = marker,
            (Some(open), Some(_)) if body.starts_with(open) => fence = None,
            (None, None) if !body.starts_with('|') && is_too_wide(line) => wide.push(index + 1),
            _ => {}
        }
    }
    wide
}

/// True when a line is too wide and could be broken: the word that crosses the limit is no address.
fn is_too_wide(line: &str) -> bool {
    let Some((limit, _)) = line.char_indices().nth(MAX_COLUMNS) else {
        return false;
    };
    let (before, after) = line.split_at(limit);
    let start = before.rfind(' ').map_or(0, |space| space + 1);
    let end = after.find(' ').map_or(line.len(), |space| limit + space);
    let word = line.get(start..end).unwrap_or_default();
    let only_word = before
        .get(..start)
        .unwrap_or_default()
        .chars()
        .all(|c| !c.is_alphanumeric());
    let address = word.contains("://") || word.contains("](");
    !address && !only_word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(syntax: Syntax, text: &str) -> Vec<usize> {
        let source = SourceFile {
            path: "a".into(),
            syntax,
            text: text.to_owned(),
        };
        check(&source).iter().map(|finding| finding.line).collect()
    }

    fn words(count: usize) -> String {
        "word ".repeat(count).trim_end().to_owned()
    }

    #[test]
    fn a_comment_is_measured_with_its_indentation_and_code() {
        let text = format!("// {}\n    // {}\n", words(18), words(18));
        assert_eq!(check_text(Syntax::Rust, &text), [] as [usize; 0]);
        let text = format!("let a = 1; // {}\n", words(19));
        assert_eq!(check_text(Syntax::Rust, &text), [1]);
        let text = format!("{}let a = 1;\n# {}\n", " ".repeat(100), words(21));
        assert_eq!(check_text(Syntax::Hash, &text), [2]);
    }

    #[test]
    fn code_and_string_literals_are_not_measured() {
        let text = format!("let a = \"{}\";\n", words(30));
        assert!(check_text(Syntax::Rust, &text).is_empty());
    }

    #[test]
    fn tables_and_code_blocks_may_be_wide() {
        let wide = words(30);
        let text = format!("| {wide} |\n```\n{wide}\n```\n{wide}\n");
        assert_eq!(check_text(Syntax::Markdown, &text), [5]);
        let text = format!("/// | {wide} |\n/// ```\n/// {wide}\n/// ```\n/// {wide}\n");
        assert_eq!(check_text(Syntax::Rust, &text), [5]);
    }

    #[test]
    fn an_address_that_crosses_the_limit_may_stay() {
        let long = format!("https://example.org/{}", "a".repeat(90));
        for line in [
            format!("See {long} there"),
            format!("See [it]({long})."),
            format!("- {}", "a".repeat(120)),
        ] {
            assert!(check_text(Syntax::Markdown, &line).is_empty(), "{line}");
        }
        let line = format!("See https://example.org and {}", words(30));
        assert_eq!(check_text(Syntax::Markdown, &line), [1]);
    }
}
