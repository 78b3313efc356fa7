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
    enclosing: Option<&str>,
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
    let name = match enclosing {
        Some(function) if !name.contains("::") => format!("{function}::{name}"),
        _ => name.to_owned(),
    };
    Some(match module {
        // The enclosing function can have the whole path.
        Some(module) if !name.starts_with(&format!("{module}::")) => format!("{module}::{name}"),
        _ => name,
    })
}

/// Whether a function is wit-bindgen's wrapper of an export: `export_run` with the symbol `run` or
/// `a:b/c#run`.
pub(super) fn is_lifted(name: &str, symbol: &str) -> bool {
    let export = symbol.rsplit('#').next().unwrap_or(symbol);
    let export = export.replace(|c: char| !c.is_alphanumeric(), "_");
    name.strip_prefix("export_")
        .is_some_and(|rest| rest == export.trim_matches('_'))
}

/// The interface and the function of an export: `leak#on-request` for
/// `leak-lab:plugin/leak@0.1.0#on-request`.
pub(super) fn short_export(export: &str) -> String {
    let Some((interface, function)) = export.rsplit_once('#') else {
        return export.to_owned();
    };
    let interface = interface.rsplit('/').next().unwrap_or(interface);
    let interface = interface.split('@').next().unwrap_or(interface);
    format!("{interface}#{function}")
}

/// A function in a chain of inlined functions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inlined<'a> {
    /// As in the line tables, or the symbol if it has a path.
    pub(super) name: &'a str,
    pub(super) file: Option<&'a str>,
}

/// The function in whose body a closure or an async block is written. `outer` has the functions
/// that it is inlined in, innermost first.
///
/// A generic function that takes the closure names its type with the whole path. Otherwise it is
/// the next function of the same file.
pub(super) fn enclosing_function(
    name: &str,
    file: Option<&str>,
    outer: &[Inlined<'_>],
) -> Option<String> {
    let name = without_generics(name);
    let (kind, number) = name.strip_prefix('{')?.strip_suffix('}')?.split_once('#')?;
    let environment = format!("::{{{kind}_env#{number}}}");
    if let Some(path) = outer
        .iter()
        .find_map(|function| path_before(function.name, &environment))
    {
        return Some(path.to_owned());
    }
    let same_file = |function: &&Inlined<'_>| {
        file.is_some() && function.file == file && !function.name.starts_with('{')
    };
    let function = outer.iter().find(same_file)?;
    Some(without_generics(&demangle(function.name)).to_owned())
}

/// The path that ends before `end`, with generic arguments of its own.
fn path_before<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let (before, _) = text.rsplit_once(end)?;
    let mut depth = 0_i32;
    let start = before.char_indices().rev().find_map(|(at, c)| {
        match c {
            '>' | ')' => depth += 1,
            '<' | '(' => depth -= 1,
            _ => {}
        }
        let is_end = depth < 0 || (depth == 0 && matches!(c, ',' | ' ' | '&' | '*' | '['));
        is_end.then(|| at + c.len_utf8())
    });
    before
        .get(start.unwrap_or(0)..)
        .filter(|path| !path.is_empty())
}

/// Whether line tables and the name section can mean the same function. Without a common name, an
/// optimiser has moved the code and not updated the line tables.
pub(super) fn is_same_function(dwarf: &str, symbol: &str) -> bool {
    let plain = |name: &str| {
        let demangled = demangle(name.trim_end_matches(".command_export"));
        let last = last_segment(&demangled);
        let end = last.match_indices('{').find(|(at, _)| *at > 0);
        let last = end.and_then(|(at, _)| last.get(..at)).unwrap_or(last);
        // Languages with dots: `runtime.alloc`, `c.malloc.free`.
        let last = last.rsplit('.').next().unwrap_or(last);
        let last = last.trim_start_matches('_').trim_start_matches("libc_");
        last.split(['#', '(', '@'])
            .next()
            .unwrap_or(last)
            .to_owned()
    };
    let (dwarf, symbol_name) = (plain(dwarf), plain(symbol));
    dwarf == symbol_name
        || dwarf.ends_with(&symbol_name)
        || symbol_name.ends_with(&dwarf)
        || (dwarf.starts_with('{') && symbol_name.starts_with('{'))
        || (dwarf == "main" && symbol.contains("main"))
}

/// Demangles Rust and C++ names. Returns every other name unchanged.
pub(super) fn demangle(raw: &str) -> String {
    // Link-time optimisation appends a suffix to make equal names different. The suffix changes
    // with every build. Linkers that write demangled names put it in parentheses.
    let suffixes = [" (.llvm.", ".llvm."];
    let split = suffixes.iter().find_map(|suffix| raw.split_once(suffix));
    let raw = split.map_or(raw, |(name, _)| name);
    let raw = without_number(raw);
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

/// Removes the number that link-time optimisation appends to a mangled name: `_RNv….142`.
fn without_number(raw: &str) -> &str {
    match raw.rsplit_once('.') {
        Some((name, number)) if raw.starts_with("_R") || raw.starts_with("_Z") => {
            let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            if is_number { name } else { raw }
        }
        _ => raw,
    }
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
mod tests;
