//! Numbers and escaped text, as both text formats write them.

use std::fmt::{self, Write};

/// Appends the text with escaped backslashes, quotes and newlines.
pub(super) fn push_escaped(page: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            '"' => page.push_str("\\\""),
            character => page.push(character),
        }
    }
}

/// Appends the value of a sample. Almost all values are whole numbers, which `itoa` formats.
pub(super) fn write_number(page: &mut String, value: f64) -> fmt::Result {
    // 2^53: below it, a float holds every whole number exactly.
    const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < MAX_EXACT_INTEGER {
        page.push_str(itoa::Buffer::new().format(value as i64));
        return Ok(());
    }
    match value {
        f64::INFINITY => page.write_str("+Inf"),
        f64::NEG_INFINITY => page.write_str("-Inf"),
        // Rust writes `NaN`, as both formats do.
        value => write!(page, "{value}"),
    }
}
