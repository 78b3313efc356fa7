//! Reads label sets as Prometheus prints them: `{name="value", …}`, with the escapes of Go.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// All label sets of a line.
pub(super) fn label_sets(line: &str) -> Vec<BTreeMap<String, String>> {
    let mut sets = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(next) = rest.next() {
        if next == '{' {
            sets.push(labels(&mut rest));
        }
    }
    sets
}

/// The labels up to the closing brace.
fn labels(rest: &mut Peekable<Chars<'_>>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut name = String::new();
    while let Some(next) = rest.next() {
        match next {
            '}' => break,
            ',' | ' ' => {}
            '=' => {
                rest.next_if_eq(&'"');
                labels.insert(std::mem::take(&mut name), quoted(rest));
            }
            // A name that is not a plain word is quoted.
            '"' => name = quoted(rest),
            other => name.push(other),
        }
    }
    labels
}

/// A quoted text, after its first quote.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => text.extend(escape(rest)),
            other => text.push(other),
        }
    }
    text
}

/// The character of an escape, after its backslash.
fn escape(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'x' => code(rest, 2),
        'u' => code(rest, 4),
        'U' => code(rest, 8),
        other => Some(other),
    }
}

fn code(rest: &mut Peekable<Chars<'_>>, digits: usize) -> Option<char> {
    let text: String = rest.by_ref().take(digits).collect();
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_contain_what_separates_labels() {
        let sets = label_sets(r#"{a="1, {x}", b="\"\\\n\u00e9"} 1E+00, {} 2, {"my label"="3"} 4"#);
        assert_eq!(sets.len(), 3);
        assert_eq!(sets[0]["a"], "1, {x}");
        assert_eq!(sets[0]["b"], "\"\\\né");
        assert!(sets[1].is_empty());
        assert_eq!(sets[2]["my label"], "3");
    }
}
