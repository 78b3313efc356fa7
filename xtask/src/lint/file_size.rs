//! A Rust file over [`MAX_LINES`] lines says at its top why it is not split.

use super::finding::Finding;
use super::lexer::Syntax;
use super::source::SourceFile;

/// Lines of a file that needs no reason, tests included.
const MAX_LINES: usize = 400;

/// How the reason begins, on its own line in the `//!` comment.
const REASON: &str = "//! Long because ";

/// The finding for a file that is too long, at its last line.
pub(crate) fn check(source: &SourceFile) -> Option<Finding> {
    let lines = source.text.lines().count();
    let has_reason = || {
        let mut top = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"));
        top.any(|line| line.starts_with(REASON))
    };
    (source.syntax == Syntax::Rust && lines > MAX_LINES && !has_reason()).then(|| Finding {
        file: source.path.clone(),
        line: lines,
        message: format!(
            "{lines} lines: split the file, or begin a line of its `//!` comment with `{REASON}…`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_over(top: &str, syntax: Syntax, lines: usize) -> Option<usize> {
        let source = SourceFile {
            path: "a.rs".into(),
            syntax,
            text: format!(
                "{top}\n{}",
                "fn a() {}\n".repeat(lines - top.lines().count())
            ),
        };
        check(&source).map(|finding| finding.line)
    }

    #[test]
    fn a_long_file_needs_a_reason_at_its_top() {
        assert_eq!(lines_over("//! Top.", Syntax::Rust, 400), None);
        assert_eq!(lines_over("//! Top.", Syntax::Rust, 401), Some(401));
        let reason = "//! Top.\n//!\n//! Long because one table cannot be split.";
        assert_eq!(lines_over(reason, Syntax::Rust, 401), None);
        let late = "//! Top.\nuse a;\n//! Long because it is late.";
        assert_eq!(lines_over(late, Syntax::Rust, 401), Some(401));
        assert_eq!(lines_over("Top", Syntax::Markdown, 401), None);
    }
}
