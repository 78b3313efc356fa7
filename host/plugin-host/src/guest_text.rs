//! Texts that come from a guest: shortened and escaped before the host keeps, answers or logs them.
//!
//! A guest may answer with megabytes of text, or with line breaks and terminal codes that forge log
//! lines.

/// The longest text of a guest that the host keeps, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 8 << 10;

/// The longest name of a guest's function that the host keeps, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 512;

/// A text of a guest on one line, of at most [`MAX_TEXT_BYTES`]. A shortened text ends with its
/// original length.
pub(crate) fn keep(text: &str) -> String {
    keep_start(text, text.len(), MAX_TEXT_BYTES)
}

/// The name of a guest's function, of at most [`MAX_NAME_BYTES`].
pub(crate) fn keep_name(name: &str) -> String {
    keep_start(name, name.len(), MAX_NAME_BYTES)
}

/// Like [`keep`], for the start of a text of `length` bytes.
pub(crate) fn keep_line(start: &str, length: usize) -> String {
    keep_start(start, length, MAX_TEXT_BYTES)
}

fn keep_start(start: &str, length: usize, max: usize) -> String {
    let kept = head(start, max);
    let mut escaped = String::with_capacity(kept.len());
    for c in kept.chars() {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    if length <= kept.len() && escaped.len() <= max {
        return escaped;
    }
    let note = format!("… ({length} bytes)");
    let kept = head(&escaped, max.saturating_sub(note.len()));
    format!("{kept}{note}")
}

/// The longest start of a text that has at most `max` bytes.
fn head(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Control characters, and those that break lines or turn the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_how_long_it_was() {
        let long = "é".repeat(1 << 20);
        let kept = keep(&long);
        assert!(kept.len() <= MAX_TEXT_BYTES && kept.len() > MAX_TEXT_BYTES - 4);
        assert!(kept.ends_with("é… (2097152 bytes)"), "{kept}");
        let exact = "x".repeat(MAX_TEXT_BYTES);
        assert_eq!(keep(&exact), exact);
        assert!(keep(&format!("{exact}y")).ends_with("(8193 bytes)"));
        assert!(keep(&"\n".repeat(MAX_TEXT_BYTES)).len() <= MAX_TEXT_BYTES);
        assert!(keep_name(&long).len() <= MAX_NAME_BYTES);
        assert!(keep_line("start", 9000).ends_with("start… (9000 bytes)"));
    }

    #[test]
    fn a_text_is_one_line_without_control_characters() {
        let forged = "a\n2026-01-01 ERROR \u{1b}[31mred\r\u{7f}\u{85}\u{202e}b\tc";
        let kept = keep(forged);
        assert_eq!(
            kept,
            "a\\n2026-01-01 ERROR \\u{1b}[31mred\\r\\u{7f}\\u{85}\\u{202e}b\\tc"
        );
        assert_eq!(keep("Grüße, 世界"), "Grüße, 世界");
    }
}
