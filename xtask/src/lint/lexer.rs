//! Splits a file into code, comments and text that people read.
//!
//! The lexer knows only where comments and string literals begin and end. It does not parse
//! expressions, so a regular expression literal with a quote misleads it up to the end of the line.

/// How comments and strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `//`, nested `/* */`, raw strings, lifetimes.
    Rust,
    /// `//`, `/* */`, strings in three kinds of quotes.
    JavaScript,
    /// `//`, `/* */`, strings in double quotes: C, WIT, CSS.
    C,
    /// `#` begins a comment: YAML, TOML, Dockerfile, shell, Python. Everything else may be read.
    Hash,
    /// Text with code between fences.
    Markdown,
    /// Text throughout: HTML, JSON of dashboards, Lua.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// Outside of comments and string literals.
    Code,
    /// With its marker.
    Comment,
    /// The content of a string literal, prose or configuration.
    Text,
}

/// A piece of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: PieceKind,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The pieces of a file in order. Blank pieces are left out.
pub(super) fn pieces(syntax: Syntax, text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Pieces {
        line: 1,
        found: Vec::new(),
    };
    match syntax {
        Syntax::Rust | Syntax::JavaScript | Syntax::C => lex(syntax, text, &mut pieces),
        Syntax::Hash => {
            for line in text.split_inclusive('\n') {
                let (before, comment) = line.split_at(hash_comment(line));
                pieces.add(PieceKind::Text, before);
                pieces.add(PieceKind::Comment, comment);
            }
        }
        Syntax::Markdown | Syntax::Plain => pieces.add(PieceKind::Text, text),
    }
    pieces.found
}

struct Pieces<'a> {
    line: usize,
    found: Vec<Piece<'a>>,
}

impl<'a> Pieces<'a> {
    /// Adds the next part of the file, one piece for each line.
    fn add(&mut self, kind: PieceKind, text: &'a str) {
        for line in text.split_inclusive('\n') {
            if !line.trim().is_empty() {
                self.found.push(Piece {
                    kind,
                    line: self.line,
                    text: line.trim_end_matches('\n'),
                });
            }
            self.line += usize::from(line.ends_with('\n'));
        }
    }
}

/// Where the comment of a line begins: at a `#` at its beginning or after a space.
fn hash_comment(line: &str) -> usize {
    if line.trim_start().starts_with('#') {
        return line.len() - line.trim_start().len();
    }
    line.find(" # ").map_or(line.len(), |space| space + 1)
}

fn lex<'a>(syntax: Syntax, text: &'a str, pieces: &mut Pieces<'a>) {
    // The code before the comment or string that is looked for.
    let (mut rest, mut code) = (text, 0);
    while let Some(first) = rest.get(code..).and_then(|tail| tail.chars().next()) {
        let (before, tail) = rest.split_at(code);
        let Some((kind, open, close, length)) = literal(syntax, before, tail, first) else {
            code += code_length(syntax, tail, first);
            continue;
        };
        let (token, after) = tail.split_at(length.min(tail.len()));
        pieces.add(PieceKind::Code, before);
        // The quotes belong to no piece.
        let inside = token.get(open..token.len().saturating_sub(close));
        pieces.add(kind, inside.unwrap_or_default());
        (rest, code) = (after, 0);
    }
    pieces.add(PieceKind::Code, rest);
}

/// The comment or string that begins `tail`: bytes of its opening mark, of its closing mark, in
/// all.
fn literal(
    syntax: Syntax,
    before: &str,
    tail: &str,
    first: char,
) -> Option<(PieceKind, usize, usize, usize)> {
    let string = |length| Some((PieceKind::Text, 1, 1, length));
    match (first, syntax) {
        ('/', _) if tail.starts_with("//") => {
            let length = tail.find('\n').unwrap_or(tail.len());
            Some((PieceKind::Comment, 0, 0, length))
        }
        ('/', _) if tail.starts_with("/*") => {
            let length = block_comment(tail, syntax == Syntax::Rust);
            Some((PieceKind::Comment, 0, 0, length))
        }
        ('r', Syntax::Rust) if !before.ends_with(|c| c != 'b' && is_word(c)) => {
            let hashes = tail.chars().skip(1).take_while(|c| *c == '#').count();
            let body = tail.get(1 + hashes..)?.strip_prefix('"')?;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = body.find(&close).unwrap_or(body.len());
            let (open, close) = (hashes + 2, close.len());
            Some((PieceKind::Text, open, close, open + end + close))
        }
        ('"', Syntax::Rust) => string(quoted(tail, '"', false)),
        ('"', _) => string(quoted(tail, '"', true)),
        ('`', Syntax::JavaScript) => string(quoted(tail, '`', false)),
        ('\'', Syntax::JavaScript) => string(quoted(tail, '\'', true)),
        _ => None,
    }
}

/// Bytes of a block comment. Those of Rust may contain others.
fn block_comment(tail: &str, nested: bool) -> usize {
    let mut depth = 0;
    let marks = tail.match_indices(['/', '*']).filter_map(|(at, _)| {
        let mark = tail.get(at..at + 2)?;
        ["/*", "*/"].contains(&mark).then_some((at, mark == "/*"))
    });
    let mut end = 0;
    for (at, opens) in marks {
        // `*/*` closes before it opens.
        if at < end {
            continue;
        }
        end = at + 2;
        match opens {
            true if depth == 0 || nested => depth += 1,
            true => {}
            false => depth -= 1,
        }
        if depth == 0 {
            return end;
        }
    }
    tail.len()
}

/// Bytes of a string literal with its quotes.
fn quoted(tail: &str, quote: char, ends_with_line: bool) -> usize {
    let mut escaped = false;
    for (at, c) in tail.char_indices().skip(1) {
        if ends_with_line && c == '\n' {
            return at;
        }
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    tail.len()
}

/// Bytes of code in which no comment or string begins.
fn code_length(syntax: Syntax, tail: &str, first: char) -> usize {
    // A character literal of Rust may be a quote. A lifetime has no closing quote.
    if first == '\'' && syntax == Syntax::Rust {
        let mut chars = tail.chars().skip(1);
        match (chars.next(), chars.next()) {
            (Some('\\'), _) => {
                let end = tail.get(3..).and_then(|escaped| escaped.find('\''));
                return end.map_or(1, |end| end + 4);
            }
            (Some(c), Some('\'')) => return 2 + c.len_utf8(),
            _ => {}
        }
    }
    first.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::PieceKind::{Code, Comment, Text};
    use super::*;

    fn check(syntax: Syntax, text: &str, expected: &[(PieceKind, usize, &str)]) {
        let found: Vec<_> = pieces(syntax, text)
            .iter()
            .map(|piece| (piece.kind, piece.line, piece.text.trim()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn rust_is_split_into_code_comments_and_strings() {
        let text = "//! Top.\nfn a() { let b = \"c // d\"; } // e\nlet f = r#\"g \"h\" i\"#;\n";
        let expected = [
            (Comment, 1, "//! Top."),
            (Code, 2, "fn a() { let b ="),
            (Text, 2, "c // d"),
            (Code, 2, "; }"),
            (Comment, 2, "// e"),
            (Code, 3, "let f ="),
            (Text, 3, "g \"h\" i"),
            (Code, 3, ";"),
        ];
        check(Syntax::Rust, text, &expected);
        for text in [
            "let a = '\"'; x",
            "let a = '\\''; x",
            "fn f<'a>(b: &'a str)",
        ] {
            check(Syntax::Rust, text, &[(Code, 1, text)]);
        }
    }

    #[test]
    fn a_literal_over_several_lines_keeps_its_line_numbers() {
        let text = "\"one\n    two\\\"\"b\n\"three\"";
        let expected = [
            (Text, 1, "one"),
            (Text, 2, "two\\\""),
            (Code, 2, "b"),
            (Text, 3, "three"),
        ];
        check(Syntax::Rust, text, &expected);
    }

    #[test]
    fn block_comments_nest_in_rust_only() {
        let text = "/* a /* b */ c */ d";
        let expected = [(Comment, 1, "/* a /* b */ c */"), (Code, 1, "d")];
        check(Syntax::Rust, text, &expected);
        let expected = [(Comment, 1, "/* a /* b */"), (Code, 1, "c */ d")];
        check(Syntax::C, text, &expected);
    }

    #[test]
    fn javascript_has_three_kinds_of_quotes() {
        let text = "'b' \"c\" `d ${e}` // f";
        let expected = [
            (Text, 1, "b"),
            (Text, 1, "c"),
            (Text, 1, "d ${e}"),
            (Comment, 1, "// f"),
        ];
        check(Syntax::JavaScript, text, &expected);
    }

    #[test]
    fn a_hash_begins_a_comment_only_at_the_start_or_after_a_space() {
        let expected = [
            (Text, 1, "a: b"),
            (Comment, 1, "# c"),
            (Comment, 2, "# d"),
            (Text, 3, "url: x#y"),
        ];
        check(Syntax::Hash, "a: b # c\n  # d\nurl: x#y\n", &expected);
    }
}
