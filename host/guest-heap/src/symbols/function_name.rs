//! Function names as people write them, and what a name alone tells about the function.

/// Demangles Rust and C++ names; every other name is shown as it stands.
pub(super) fn demangle(raw: &str) -> String {
    if let Ok(name) = rustc_demangle::try_demangle(raw) {
        return format!("{name:#}");
    }
    if raw.starts_with("_Z") {
        let options = cpp_demangle::DemangleOptions::new().no_params();
        if let Ok(symbol) = cpp_demangle::Symbol::new(raw)
            && let Ok(name) = symbol.demangle_with_options(&options)
        {
            return name;
        }
    }
    raw.to_owned()
}

/// The module path that a Rust function belongs to, without generic arguments: that of the self type for a method, that of
/// the trait where the self type has none (`<[T] as alloc::…>::to_vec`).
pub(super) fn owner_path(function: &str) -> &str {
    let Some(qualified) = function.strip_prefix('<') else {
        return path_prefix(function);
    };
    let own = path_prefix(qualified.trim_start_matches(is_type_sigil).trim_start_matches("mut "));
    if own.contains("::") {
        return own;
    }
    qualified.split_once(" as ").map_or(own, |(_, of_trait)| path_prefix(of_trait))
}

/// The crate that a Rust function belongs to; `None` for names that are no Rust path.
pub(super) fn owner_crate(function: &str) -> Option<&str> {
    let (first, _) = owner_path(function).split_once("::")?;
    // Version 0 mangling can leave the crate's disambiguator: `__rustc[5c2…]::__rust_alloc`.
    Some(first.split('[').next().unwrap_or(first))
}

/// The last segment of a path, without generic arguments: `grow_one` of `<alloc::raw_vec::RawVec<T>>::grow_one`.
pub(super) fn last_segment(function: &str) -> &str {
    let plain = function.split("::<").next().unwrap_or(function);
    let plain = plain.rsplit_once("::").map_or(plain, |(_, last)| last);
    plain.split(['<', '(']).next().unwrap_or(plain)
}

fn is_type_sigil(c: char) -> bool {
    matches!(c, '&' | '*' | '[' | '(' | '<')
}

fn path_prefix(text: &str) -> &str {
    let end = text.find([' ', '<', '>', ',', ';', ')', ']', '&', '{']).unwrap_or(text.len());
    text.get(..end).unwrap_or(text).trim_end_matches("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_for_the_language_they_come_from() {
        let cases = [
            ("_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$8grow_one17h0123456789abcdefE", "alloc::raw_vec::RawVec<T,A>::grow_one"),
            ("_ZN5shape6Circle4growEi", "shape::Circle::grow"),
            ("_Znwm", "operator new"),
            ("strdup", "strdup"),
            ("_Znonsense", "_Znonsense"),
        ];
        for (raw, expected) in cases {
            assert_eq!(demangle(raw), expected, "{raw}");
        }
    }

    #[test]
    fn the_owner_of_a_function_is_its_self_type_or_its_trait() {
        let cases = [
            ("lines::closure::{{closure}}", Some("lines")),
            ("<lines::Greedy as lines::Handler>::handle", Some("lines")),
            ("<alloc::vec::Vec<lines::Node> as core::clone::Clone>::clone", Some("alloc")),
            ("<[T] as alloc::slice::hack::ConvertVec>::to_vec", Some("alloc")),
            ("<&mut F as core::ops::function::FnOnce<A>>::call_once", Some("core")),
            ("<&mut lines::Node as core::fmt::Debug>::fmt", Some("lines")),
            ("alloc::slice::<impl [T]>::to_vec", Some("alloc")),
            ("__rustc[5c2]::__rust_alloc", Some("__rustc")),
            ("malloc", None),
        ];
        for (function, expected) in cases {
            assert_eq!(owner_crate(function), expected, "{function}");
        }
    }

    #[test]
    fn the_last_segment_carries_no_generics() {
        let cases = [
            ("<alloc::raw_vec::RawVec<T>>::grow_one", "grow_one"),
            ("lines::_export_run_cabi::<lines::Lines>", "_export_run_cabi"),
            ("lines::_export_run_cabi<lines::Lines>", "_export_run_cabi"),
            ("malloc", "malloc"),
        ];
        for (function, expected) in cases {
            assert_eq!(last_segment(function), expected, "{function}");
        }
    }
}
