//! Demangles function names, and extracts the module, the crate and the last segment of a name.

use std::fmt::{self, Write as _};

use super::layout::{self, Origin};
use super::source_path::SourcePath;

/// The most complete name of a function.
///
/// Line tables give an inlined function a name without a path. For a function of a library, this
/// function derives the path from the source file.
pub(super) fn full_name(
    dwarf: Option<&str>,
    symbol: Option<&str>,
    source: Option<&SourcePath>,
) -> Option<String> {
    let of_symbol = symbol.map(demangle);
    // A symbol that is not mangled can be the name of an export, which is less precise than the
    // function's own name.
    if let Some(function) = of_symbol
        .as_deref()
        .filter(|function| function.contains("::"))
    {
        return Some(without_generics(function).to_owned());
    }
    let Some(name) = dwarf.map(demangle) else {
        return of_symbol;
    };
    let name = without_generics(&name);
    let module = source
        .filter(|_| !name.contains("::"))
        .and_then(|source| match &source.origin {
            Origin::Library(library) => module_of_file(&source.shown, Some(library)),
            Origin::Standard | Origin::Allocator => module_of_file(&source.shown, None),
            Origin::Own | Origin::Generated => None,
        });
    Some(module.map_or_else(|| name.to_owned(), |module| format!("{module}::{name}")))
}

/// Whether a function is wit-bindgen's wrapper of an export of the world itself: `export_run` with
/// the symbol `run`.
pub(super) fn is_lifted(name: &str, symbol: &str) -> bool {
    name.strip_prefix("export_")
        .is_some_and(|rest| rest == symbol.replace('-', "_"))
}

/// Demangles Rust and C++ names. Returns every other name unchanged.
pub(super) fn demangle(raw: &str) -> String {
    // Link-time optimisation appends a suffix to make equal names different. The suffix changes
    // with every build. Linkers that write demangled names put it in parentheses.
    let suffixes = [" (.llvm.", ".llvm."];
    let split = suffixes.iter().find_map(|suffix| raw.split_once(suffix));
    let raw = split.map_or(raw, |(name, _)| name);
    let mut name = BoundedName::default();
    if let Ok(demangled) = rustc_demangle::try_demangle(raw) {
        if write!(name, "{demangled:#}").is_ok() {
            return name.0;
        }
    } else if raw.starts_with("_Z") {
        let options = cpp_demangle::DemangleOptions::new().no_params();
        if let Ok(symbol) = cpp_demangle::Symbol::new(raw)
            && symbol.structured_demangle(&mut name, &options).is_ok()
        {
            return name.0;
        }
    }
    raw.to_owned()
}

/// Bytes of a demangled name. A demangled name can be exponentially longer than the mangled one.
const MAX_NAME_BYTES: usize = 16 << 10;

/// A name of at most [`MAX_NAME_BYTES`]; a write beyond that fails.
#[derive(Default)]
struct BoundedName(String);

impl fmt::Write for BoundedName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_NAME_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The path at the start of a Rust function's name, up to the first generic argument or closure.
///
/// For a method it is the path of the self type, or of the trait if the self type has no path
/// (`<[T] as alloc::…>::to_vec`).
pub(super) fn owner_path(function: &str) -> &str {
    let Some(qualified) = function.strip_prefix('<') else {
        return path_prefix(function);
    };
    let own = path_prefix(
        qualified
            .trim_start_matches(is_type_sigil)
            .trim_start_matches("mut "),
    );
    if own.contains("::") {
        return own;
    }
    qualified
        .split_once(" as ")
        .map_or(own, |(_, of_trait)| path_prefix(of_trait))
}

/// The module of a Rust file by convention: `alloc::raw_vec` for
/// `library/alloc/src/raw_vec/mod.rs`.
///
/// It completes the names in line tables, which have only the last segment for an inlined function.
pub(super) fn module_of_file(shown: &str, crate_name: Option<&str>) -> Option<String> {
    let (package, file) = shown.strip_suffix(".rs")?.split_once("/src/")?;
    let crate_name = crate_name.unwrap_or_else(|| {
        let folder = package.rsplit('/').next().unwrap_or(package);
        layout::versioned(folder).unwrap_or(folder)
    });
    let mut path = crate_name.replace('-', "_");
    for segment in file
        .split('/')
        .filter(|segment| !matches!(*segment, "lib" | "main" | "mod"))
    {
        path.push_str("::");
        path.push_str(segment);
    }
    Some(path)
}

/// The crate of a Rust function. `None` for a name that is not a Rust path.
pub(super) fn owner_crate(function: &str) -> Option<&str> {
    owner_path(function).split_once("::").map(|(name, _)| name)
}

/// The last segment of a path, without generic arguments: `grow_one` of
/// `<alloc::raw_vec::RawVec<T>>::grow_one`.
pub(super) fn last_segment(function: &str) -> &str {
    let plain = without_generics(function);
    let mut depth = 0_i32;
    let mut start = 0;
    let mut previous = ' ';
    for (at, c) in plain.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // The arrow of a function type is not a closing bracket.
            '>' if previous == '-' => {}
            '>' | ')' | ']' => depth -= 1,
            ':' if depth == 0 && previous == ':' => start = at + 1,
            _ => {}
        }
        previous = c;
    }
    plain.get(start..).unwrap_or(plain)
}

/// Removes the generic arguments at the end of a name. DWARF and v0 mangling append them.
pub(super) fn without_generics(function: &str) -> &str {
    if !function.ends_with('>') || function.starts_with("operator") {
        return function;
    }
    let mut depth = 0_i32;
    for (at, c) in function.char_indices().rev() {
        match c {
            '>' if depth == 0
                || !function
                    .get(..at)
                    .is_some_and(|before| before.ends_with('-')) =>
            {
                depth += 1
            }
            '<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let plain = function.get(..at).unwrap_or(function);
            let plain = plain.strip_suffix("::").unwrap_or(plain);
            return if plain.is_empty() { function } else { plain };
        }
    }
    function
}

fn is_type_sigil(c: char) -> bool {
    matches!(c, '&' | '*' | '[' | '(' | '<')
}

fn path_prefix(text: &str) -> &str {
    let end = text
        .find([' ', '<', '>', ',', ';', ')', ']', '&', '{'])
        .unwrap_or(text.len());
    text.get(..end).unwrap_or(text).trim_end_matches("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_and_cpp_names_are_demangled() {
        let cases = [
            (
                "_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$8grow_one17h0123456789abcdefE",
                "alloc::raw_vec::RawVec<T,A>::grow_one",
            ),
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
    fn the_owner_of_a_method_is_its_self_type_or_its_trait() {
        let cases = [
            ("lines::closure::{{closure}}", Some("lines")),
            ("<lines::Greedy as lines::Handler>::handle", Some("lines")),
            (
                "<alloc::vec::Vec<lines::Node> as core::clone::Clone>::clone",
                Some("alloc"),
            ),
            (
                "<[T] as alloc::slice::hack::ConvertVec>::to_vec",
                Some("alloc"),
            ),
            (
                "<&mut F as core::ops::function::FnOnce<A>>::call_once",
                Some("core"),
            ),
            ("<&mut lines::Node as core::fmt::Debug>::fmt", Some("lines")),
            ("alloc::slice::<impl [T]>::to_vec", Some("alloc")),
            ("__rustc::__rust_alloc", Some("__rustc")),
            ("malloc", None),
        ];
        for (function, expected) in cases {
            assert_eq!(owner_crate(function), expected, "{function}");
        }
    }

    #[test]
    fn names_do_not_depend_on_the_build() {
        for (raw, shown) in [
            ("_ZN2js2gc4growEj.llvm.15017134172974177405", "js::gc::grow"),
            ("_ZN2js2gc4growEj", "js::gc::grow"),
            (
                "js::grow(int) (.llvm.15017134172974177405)",
                "js::grow(int)",
            ),
            ("grow", "grow"),
        ] {
            assert_eq!(demangle(raw), shown, "{raw}");
        }
    }

    #[test]
    fn a_file_path_gives_the_module_path() {
        let cases = [
            (
                "library/alloc/src/raw_vec/mod.rs",
                None,
                Some("alloc::raw_vec"),
            ),
            ("library/core/src/fmt/num.rs", None, Some("core::fmt::num")),
            (
                "hashbrown-0.16.1/src/raw/mod.rs",
                None,
                Some("hashbrown::raw"),
            ),
            (
                "serde-json-1.0.1/src/lib.rs",
                Some("serde-json"),
                Some("serde_json"),
            ),
            ("libc-top-half/musl/src/string/strdup.c", None, None),
        ];
        for (file, crate_name, expected) in cases {
            assert_eq!(
                module_of_file(file, crate_name).as_deref(),
                expected,
                "{file}"
            );
        }
    }

    #[test]
    fn the_last_segment_has_no_generics() {
        let cases = [
            ("<alloc::raw_vec::RawVec<T>>::grow_one", "grow_one"),
            (
                "lines::_export_run_cabi::<lines::Lines>",
                "_export_run_cabi",
            ),
            ("lines::_export_run_cabi<lines::Lines>", "_export_run_cabi"),
            ("_export_run_cabi<lines::Lines>", "_export_run_cabi"),
            (
                "map_or_else<&str, fn(&str) -> alloc::string::String>",
                "map_or_else",
            ),
            ("<lines::Cache as lines::Keep<u8>>::keep::<u8>", "keep"),
            ("lines::closure::{closure#0}", "{closure#0}"),
            ("operator->", "operator->"),
            ("malloc", "malloc"),
        ];
        for (function, expected) in cases {
            assert_eq!(last_segment(function), expected, "{function}");
        }
    }

    #[test]
    fn a_name_that_expands_too_much_stays_mangled() {
        // A template with two copies of the previous template as its arguments, nested `levels`
        // times.
        let twice = |levels: u32| {
            let base_36 = |n: u32| char::from_digit(n, 36).unwrap().to_ascii_uppercase();
            let mut name = "_Z1fI1A1BIS0_S0_E".to_owned();
            for level in 2..levels + 2 {
                let last = base_36(level);
                name += &format!("S1_IS{last}_S{last}_E");
            }
            name + "Evv"
        };
        assert!(
            demangle(&twice(3)).contains("B<B<"),
            "{}",
            demangle(&twice(3))
        );
        assert_eq!(demangle(&twice(30)), twice(30));
    }
}
