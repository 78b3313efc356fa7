//! Splits a file into code, comments and text that people read.
//!
//! The lexer knows as much of each language as the checks need: where comments and string literals
//! begin and end. It does not parse expressions.

/// How comments and strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `//`, nested `/* */`, raw strings, lifetimes.
    Rust,
    /// `//`, `/* */`, strings in three kinds of quotes.
    JavaScript,
    /// `//`, `/* */`: C, WIT, CSS. String literals are text too.
    C,
    /// `#` begins a comment; everything else may be read by people: YAML, TOML, Dockerfile, shell, Python.
    Hash,
    /// Text with code between fences.
    Markdown,
    /// Text throughout: HTML, JSON of dashboards, Lua.
    Plain,
}

/// What a piece of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Code outside of comments and string literals.
    Code,
    /// A comment, with its marker.
    Comment,
    /// A string literal's content, prose or configuration.
    Text,
}

/// A piece of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// The file's pieces in order. No piece spans lines.
pub(super) fn pieces(syntax: Syntax, text: &str) -> Vec<Piece<'_>> {
    match syntax {
        Syntax::Rust | Syntax::JavaScript | Syntax::C => Lexer::new(syntax, text).run(),
        Syntax::Hash => lines(text)
            .flat_map(|(line, text)| {
                let (before, comment) = text.split_at(hash_comment(text));
                [(Kind::Text, before), (Kind::Comment, comment)].map(|(kind, text)| Piece {
                    kind,
                    line,
                    text,
                })
            })
            .filter(|piece| !piece.text.trim().is_empty())
            .collect(),
        Syntax::Markdown | Syntax::Plain => lines(text)
            .map(|(line, text)| Piece {
                kind: Kind::Text,
                line,
                text,
            })
            .collect(),
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text))
}

/// Where the comment of a line begins: at a `#` that begins the line or follows a space.
fn hash_comment(line: &str) -> usize {
    if line.trim_start().starts_with('#') {
        return line.len() - line.trim_start().len();
    }
    line.find(" # ").map_or(line.len(), |space| space + 1)
}

/// Splits languages with `//` comments and quoted strings.
struct Lexer<'a> {
    syntax: Syntax,
    text: &'a str,
    at: usize,
    line: usize,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Lexer<'a> {
    fn new(syntax: Syntax, text: &'a str) -> Self {
        Self {
            syntax,
            text,
            at: 0,
            line: 1,
            pieces: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Piece<'a>> {
        let mut code_from = 0;
        while let Some(next) = self.rest().chars().next() {
            let rest = self.rest();
            let (kind, open, close, length) = if rest.starts_with("//") {
                let length = rest.find('\n').unwrap_or(rest.len());
                (Kind::Comment, 0, 0, length)
            } else if rest.starts_with("/*") {
                (Kind::Comment, 0, 0, self.block_comment())
            } else if let Some((open, close, length)) = self.string(next, code_from) {
                (Kind::Text, open, close, length)
            } else {
                self.at += self.code_length(next);
                continue;
            };
            self.emit(Kind::Code, code_from, self.at);
            let end = self.at + length;
            // The quotes belong to no piece.
            self.emit(kind, self.at + open, end.saturating_sub(close));
            self.at = end;
            code_from = end;
        }
        self.emit(Kind::Code, code_from, self.text.len());
        self.pieces
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Adds a range of the file, one piece a line.
    fn emit(&mut self, kind: Kind, from: usize, to: usize) {
        let text = self.text.get(from..to).unwrap_or_default();
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                self.line += 1;
            }
            if !part.trim().is_empty() {
                self.pieces.push(Piece {
                    kind,
                    line: self.line,
                    text: part,
                });
            }
        }
    }

    /// Bytes of the block comment that begins here. Those of Rust may contain others.
    fn block_comment(&self) -> usize {
        let rest = self.rest();
        let (mut at, mut depth) = (0, 0);
        while let Some(here) = rest.get(at..) {
            if here.is_empty() {
                break;
            }
            if here.starts_with("/*") && (depth == 0 || self.syntax == Syntax::Rust) {
                depth += 1;
                at += 2;
            } else if here.starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            } else {
                at += here.chars().next().map_or(1, char::len_utf8);
            }
        }
        rest.len()
    }

    /// The string literal that begins here: bytes of its opening quotes, its closing quotes, and in all.
    fn string(&self, first: char, code_from: usize) -> Option<(usize, usize, usize)> {
        let rest = self.rest();
        match (first, self.syntax) {
            ('r', Syntax::Rust) => {
                let before = self.text.get(code_from..self.at).unwrap_or_default();
                let in_word = before
                    .chars()
                    .next_back()
                    .is_some_and(|c| c != 'b' && is_word(c));
                let hashes = rest.get(1..)?.chars().take_while(|c| *c == '#').count();
                let body = rest.get(1 + hashes..)?.strip_prefix('"')?;
                if in_word {
                    return None;
                }
                let close = format!("\"{}", "#".repeat(hashes));
                let length = body
                    .find(&close)
                    .map_or(rest.len(), |end| hashes + 2 + end + close.len());
                Some((2 + hashes, 1 + hashes, length))
            }
            ('"', _) => Some((1, 1, quoted(rest, '"', self.syntax != Syntax::Rust))),
            ('`', Syntax::JavaScript) => Some((1, 1, quoted(rest, '`', false))),
            ('\'', Syntax::JavaScript) => Some((1, 1, quoted(rest, '\'', true))),
            _ => None,
        }
    }

    /// Bytes of code to step over, of which none begins a string or comment.
    fn code_length(&self, first: char) -> usize {
        let rest = self.rest();
        // A character literal of Rust may be a quote; a lifetime has no second quote mark.
        if first == '\'' && self.syntax == Syntax::Rust {
            let body = rest.get(1..).unwrap_or_default();
            let mut chars = body.chars();
            match (chars.next(), chars.next()) {
                (Some('\\'), _) => {
                    let escaped = body.get(2..).and_then(|tail| tail.find('\''));
                    return escaped.map_or(1, |end| end + 4);
                }
                (Some(c), Some('\'')) => return 2 + c.len_utf8(),
                _ => {}
            }
        }
        first.len_utf8()
    }
}

/// Bytes of the literal at the start of `rest`, with its quotes.
fn quoted(rest: &str, quote: char, ends_with_line: bool) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if ends_with_line && c == '\n' {
            return at;
        }
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(syntax: Syntax, text: &str) -> Vec<(Kind, usize, &str)> {
        pieces(syntax, text)
            .iter()
            .map(|piece| (piece.kind, piece.line, piece.text.trim()))
            .collect()
    }

    #[test]
    fn rust_is_split_into_code_comments_and_strings() {
        let text = "//! Top.\nfn a() { let b = \"c // d\"; } // e\nlet f = r#\"g \"h\" i\"#;\n";
        assert_eq!(
            of(Syntax::Rust, text),
            [
                (Kind::Comment, 1, "//! Top."),
                (Kind::Code, 2, "fn a() { let b ="),
                (Kind::Text, 2, "c // d"),
                (Kind::Code, 2, "; }"),
                (Kind::Comment, 2, "// e"),
                (Kind::Code, 3, "let f ="),
                (Kind::Text, 3, "g \"h\" i"),
                (Kind::Code, 3, ";"),
            ]
        );
    }

    #[test]
    fn a_quote_character_or_a_lifetime_begins_no_string() {
        for text in [
            "let a = '\"'; x",
            "let a = '\\''; x",
            "fn f<'a>(b: &'a str)",
        ] {
            assert_eq!(of(Syntax::Rust, text), [(Kind::Code, 1, text)], "{text}");
        }
    }

    #[test]
    fn a_literal_over_several_lines_keeps_its_line_numbers() {
        let text = "let a = \"one\n    two\";\nlet b = \"three\";";
        let lines: Vec<_> = of(Syntax::Rust, text)
            .into_iter()
            .filter(|(kind, ..)| *kind == Kind::Text)
            .collect();
        assert_eq!(
            lines,
            [
                (Kind::Text, 1, "one"),
                (Kind::Text, 2, "two"),
                (Kind::Text, 3, "three")
            ]
        );
    }

    #[test]
    fn comments_of_rust_nest_and_those_of_c_do_not() {
        let text = "/* a /* b */ c */ d";
        assert_eq!(
            of(Syntax::Rust, text),
            [
                (Kind::Comment, 1, "/* a /* b */ c */"),
                (Kind::Code, 1, "d")
            ]
        );
        assert_eq!(
            of(Syntax::C, text),
            [
                (Kind::Comment, 1, "/* a /* b */"),
                (Kind::Code, 1, "c */ d")
            ]
        );
    }

    #[test]
    fn javascript_has_three_kinds_of_quotes() {
        let text = "a('b', \"c\", `d ${e}`) // f";
        let read: Vec<_> = of(Syntax::JavaScript, text)
            .into_iter()
            .filter(|(kind, ..)| *kind != Kind::Code)
            .map(|(_, _, text)| text)
            .collect();
        assert_eq!(read, ["b", "c", "d ${e}", "// f"]);
    }

    #[test]
    fn a_hash_begins_a_comment_only_at_the_start_or_after_a_space() {
        assert_eq!(
            of(Syntax::Hash, "a: b # c\n  # d\nurl: x#y\n"),
            [
                (Kind::Text, 1, "a: b"),
                (Kind::Comment, 1, "# c"),
                (Kind::Comment, 2, "# d"),
                (Kind::Text, 3, "url: x#y"),
            ]
        );
    }
}
