//! The name of a function without its crate, module and types, which would say which plugin it is.

/// The last part of a function's path that is no closure, without generic arguments:
/// `<shop::Cart as Store>::insert::{closure#0}` becomes `insert`.
pub(crate) fn visible_function(path: &str) -> String {
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // The arrow of a function's type is no bracket.
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && rest.peek() == Some(&':') => {
                rest.next();
                parts.push(String::new());
            }
            c if depth == 0 => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
            _ => {}
        }
    }
    let named = |part: &&String| !part.is_empty() && !part.starts_with('{');
    parts.iter().rfind(named).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::visible_function;

    #[test]
    fn crates_modules_types_and_closures_are_left_out() {
        for (path, name) in [
            ("on_request", "on_request"),
            ("leak_cache::Cache::insert", "insert"),
            ("<leak_cache::Cache as lab::Leak>::on_request", "on_request"),
            ("leak_cache::insert::{{closure}}", "insert"),
            ("leak_cache::insert::{closure#0}::{closure#1}", "insert"),
            ("<alloc::vec::Vec<T, A> as Extend<&T>>::extend", "extend"),
            ("cache::keep::<alloc::string::String>", "keep"),
            ("core::ops::function::FnOnce::call_once", "call_once"),
            ("cache_put", "cache_put"),
            ("{{closure}}", ""),
            ("", ""),
        ] {
            assert_eq!(visible_function(path), name, "{path}");
        }
    }
}
