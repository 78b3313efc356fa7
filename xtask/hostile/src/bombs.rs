//! Components that fit no contract, but cost much to compile.

use std::fmt::Write as _;

/// A component with one core module, from the text of the module's fields.
///
/// # Panics
///
/// If the text is not valid.
#[must_use]
#[allow(
    clippy::expect_used,
    reason = "the text comes from this crate and its tests"
)]
pub fn module(fields: &str) -> Vec<u8> {
    let text = format!("(component (core module {fields}))");
    wat::parse_str(text).expect("the text is valid")
}

/// This many functions that do nothing. A compiler needs some kilobytes for each.
#[must_use]
pub fn many_functions(count: usize) -> Vec<u8> {
    module(&"(func)".repeat(count))
}

/// Functions in which each of `depth` nested loops passes on each of `locals` locals. The time to
/// compile one grows faster than the product of both.
#[must_use]
pub fn nested_loops(functions: usize, depth: usize, locals: usize) -> Vec<u8> {
    let mut function = format!("(func (param i32) (local {})", "i32 ".repeat(locals));
    function.push_str(&"loop ".repeat(depth));
    for n in 1..=locals {
        let (left, right, to) = (n, n % locals + 1, n * 3 % locals + 1);
        let sum = format!("(i32.add (local.get {left}) (local.get {right}))");
        // Writing to a string does not fail.
        let _ = write!(function, "(local.set {to} {sum}) ");
    }
    function.push_str(&"(br_if 0 (local.get 0)) end ".repeat(depth));
    function.push(')');
    module(&function.repeat(functions))
}

/// A component that is below each limit of the structure and takes minutes to compile.
#[must_use]
pub fn slow_to_compile() -> Vec<u8> {
    nested_loops(40, 4, 4900)
}
