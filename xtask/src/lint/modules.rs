//! No circle of modules: siblings in a crate do not import each other, directly or through others.
//!
//! A module and its own children count as one unit, so a child may use an item of its parent. Tests
//! may import everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::lexer::{PieceKind, Syntax, is_word, pieces};
use super::source::SourceFile;

/// The path of a module in its crate; empty for the root.
type Module = Vec<String>;

/// The imports of each sibling from the others, with the first place of each.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

/// The paths that a module names.
#[derive(Debug, Default)]
struct Named {
    /// With the place in the file.
    paths: Vec<(Module, String)>,
    /// Targets of `pub use`.
    reexports: Vec<Module>,
}

/// One line for each circle.
pub(crate) fn check(sources: &[SourceFile]) -> Vec<String> {
    let mut crates: BTreeMap<PathBuf, BTreeMap<Module, Named>> = BTreeMap::new();
    let mut only_tests = BTreeSet::new();
    for source in sources.iter().filter(|s| s.syntax == Syntax::Rust) {
        let Some((folder, module)) = place(&source.path) else {
            continue;
        };
        for name in test_modules(&source.text) {
            only_tests.insert((folder.clone(), child(&module, name)));
        }
        let modules = crates.entry(folder).or_default();
        read(source, &module, modules.entry(module.clone()).or_default());
    }
    for (folder, test) in &only_tests {
        if let Some(modules) = crates.get_mut(folder) {
            modules.retain(|module, _| !module.starts_with(test));
        }
    }
    let circles = crates
        .iter()
        .map(|(folder, modules)| circles(folder, modules));
    circles.flatten().collect()
}

/// The crate's folder, and the module of a file below its `src/`.
fn place(path: &Path) -> Option<(PathBuf, Module)> {
    let (folder, inside) = path.to_str()?.split_once("src/")?;
    let mut module: Module = inside.split('/').map(str::to_owned).collect();
    let file = module.pop()?;
    match file.strip_suffix(".rs")? {
        "main" | "lib" | "mod" => {}
        name => module.push(name.to_owned()),
    }
    Some((folder.trim_end_matches('/').into(), module))
}

/// Modules in separate files that are compiled for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]\nmod ")
        .skip(1)
        .filter_map(|rest| rest.split_once(';'))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(is_word))
}

/// Reads a file up to its test module.
fn read(source: &SourceFile, module: &Module, named: &mut Named) {
    let text = &source.text;
    let end = text.find("#[cfg(test)]\nmod tests {");
    let mut code = String::new();
    let mut line = 1;
    for piece in pieces(
        Syntax::Rust,
        text.get(..end.unwrap_or(text.len())).unwrap_or(text),
    ) {
        while line < piece.line {
            code.push('\n');
            line += 1;
        }
        if piece.kind == PieceKind::Code {
            code += piece.text;
        }
    }
    for (line, start, public) in path_starts(&code) {
        let mut found = Vec::new();
        expand(start, &[], &mut found);
        for path in found.iter().map(|path| absolute(module, path)) {
            if public {
                named.reexports.push(path.clone());
            }
            let place = format!("{}:{line}", source.path.display());
            named.paths.push((path, place));
        }
    }
}

/// Where paths begin: the line, the text from there, and whether it is a re-export.
fn path_starts(code: &str) -> Vec<(usize, &str, bool)> {
    let mut starts = Vec::new();
    let (mut line, mut before) = (1, "");
    for (at, word) in words(code) {
        line += code
            .get(before.len()..at)
            .map_or(0, |t| t.matches('\n').count());
        before = code.get(..at).unwrap_or_default();
        let after = code.get(at + word.len()..).unwrap_or_default();
        let public = word == "use" && before.trim_end().ends_with(['b', ')']);
        let local = ["crate", "super", "self"].contains(&word) && after.starts_with("::");
        if public {
            starts.push((line, after, true));
        } else if local
            && !before.ends_with("::")
            && !starts.last().is_some_and(|s| s.2 && s.0 == line)
        {
            starts.push((line, code.get(at..).unwrap_or_default(), false));
        }
    }
    starts
}

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - code.as_ptr().addr(), word))
}

/// Expands a path with `{}` groups. Returns the text after it.
fn expand<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Module>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = group.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
                match group.strip_prefix('}') {
                    Some(after) => return after,
                    None if group.is_empty() => return group,
                    None => group = expand(group, &path, found),
                }
                // The new name after `as`.
                group = group.trim_start_matches(|c| c != ',' && c != '}');
            }
        }
        let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        // `self` within a group is the group's own module.
        if !word.is_empty() && (word != "self" || path.is_empty()) {
            path.push(word.to_owned());
        }
        match after.strip_prefix("::") {
            Some(next) => rest = next,
            None => {
                found.push(path);
                return after;
            }
        }
    }
}

/// The path from the crate's root.
fn absolute(module: &Module, path: &[String]) -> Module {
    let mut full = module.clone();
    let mut segments = path.iter().map(String::as_str).peekable();
    if segments.next_if_eq(&"crate").is_some() {
        full.clear();
    }
    let _this_module = segments.next_if_eq(&"self");
    while segments.next_if_eq(&"super").is_some() {
        full.pop();
    }
    full.extend(segments.map(str::to_owned));
    full
}

fn child(module: &Module, name: &str) -> Module {
    let mut path = module.clone();
    path.push(name.to_owned());
    path
}

fn circles(folder: &Path, modules: &BTreeMap<Module, Named>) -> Vec<String> {
    let mut levels: BTreeMap<&[String], Siblings> = BTreeMap::new();
    for (module, named) in modules {
        for (path, place) in &named.paths {
            let target = owner(modules, path);
            let shared = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let level = shared.count();
            if let (Some(from), Some(to), Some(parent)) =
                (module.get(level), target.get(level), module.get(..level))
            {
                let imports = levels.entry(parent).or_default().entry(from.clone());
                let place = || place.clone();
                imports.or_default().entry(to.clone()).or_insert_with(place);
            }
        }
    }
    let mut found = Vec::new();
    for (parent, siblings) in &levels {
        let parent: String = parent.iter().map(|name| format!("::{name}")).collect();
        let circles = circles_of(siblings).into_iter();
        found.extend(circles.map(|circle| format!("{}{parent}: {circle}", folder.display())));
    }
    found
}

/// The module that owns a path's item. An item that is re-exported belongs to its origin.
fn owner(modules: &BTreeMap<Module, Named>, path: &Module) -> Module {
    let mut path = path.clone();
    let mut seen = BTreeSet::new();
    loop {
        let depth = (0..=path.len()).rev().find(|&depth| {
            let module = path.get(..depth).map(<[String]>::to_vec);
            module.is_some_and(|module| modules.contains_key(&module))
        });
        let (module, item) = path.split_at(depth.unwrap_or(0));
        let origin = modules.get(&module.to_vec()).and_then(|named| {
            let mut reexports = named.reexports.iter();
            reexports.find(|origin| !item.is_empty() && origin.last() == item.first())
        });
        match origin {
            Some(origin) if seen.insert(origin) => path = origin.clone(),
            _ => return module.to_vec(),
        }
    }
}

/// For each import the shortest way back, every circle once.
fn circles_of(siblings: &Siblings) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (from, imports) in siblings {
        for to in imports.keys() {
            let mut queue = VecDeque::from([vec![from, to]]);
            let mut seen = BTreeSet::from([to]);
            while let Some(way) = queue.pop_front() {
                let last = way.last().copied();
                if last == Some(from) {
                    found.insert(describe(siblings, &way));
                    break;
                }
                let next = last.and_then(|last| siblings.get(last));
                for next in next.into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(next) {
                        queue.push_back(way.iter().copied().chain([next]).collect());
                    }
                }
            }
        }
    }
    found
}

/// The circle from its first name in the alphabet, and the places of its imports.
fn describe(siblings: &Siblings, way: &[&String]) -> String {
    let mut names = way.to_vec();
    names.pop();
    let first = (0..names.len()).min_by_key(|&index| names.get(index));
    names.rotate_left(first.unwrap_or(0));
    names.extend(names.first().copied());
    let pairs = names.iter().zip(names.iter().skip(1));
    let places = pairs.filter_map(|(from, to)| Some(siblings.get(*from)?.get(*to)?.as_str()));
    let places: Vec<&str> = places.collect();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    format!("{} ({})", names.join(" -> "), places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_files(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| SourceFile {
            path: path.into(),
            syntax: Syntax::Rust,
            text: (*text).to_owned(),
        });
        check(&files.collect::<Vec<_>>())
    }

    #[test]
    fn two_siblings_that_import_each_other_are_a_circle() {
        let found = check_files(&[
            ("host/x/src/lib.rs", "mod a;\nmod b;\n"),
            ("host/x/src/b.rs", "use crate::a::A;\n"),
            ("host/x/src/a.rs", "\nfn f() { super::b::f() }\n"),
        ]);
        let circle = "a -> b -> a (host/x/src/a.rs:2, host/x/src/b.rs:1)";
        assert_eq!(found, [format!("host/x: {circle}")]);
    }

    #[test]
    fn a_circle_over_three_siblings_is_found_below_a_module() {
        let found = check_files(&[
            ("x/src/m/a.rs", "use super::b::{self, B};\n"),
            (
                "x/src/m/b/inner.rs",
                "use crate::m::{self as m, d, c::C as D};\n",
            ),
            ("x/src/m/b.rs", "mod inner;\n"),
            ("x/src/m/c.rs", "use crate::m::{d::D, a::{A, C}};\n"),
            ("x/src/m/d.rs", ""),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("x::m: a -> b -> c -> a"), "{found:?}");
    }

    #[test]
    fn every_circle_of_a_module_is_found() {
        let found = check_files(&[
            ("x/src/a.rs", "use crate::{b::B, c::C};\n"),
            ("x/src/b.rs", "use crate::a::A;\n"),
            ("x/src/c.rs", "use crate::a::A;\n"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_parent_and_its_child_are_one_unit() {
        let found = check_files(&[
            ("x/src/lib.rs", "mod a;\npub use a::A;\n"),
            ("x/src/a.rs", "mod b;\nuse self::b::B;\npub struct A;\n"),
            ("x/src/a/b.rs", "use super::A;\n"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_reexport_does_not_hide_a_circle() {
        for reexport in ["pub use a::A;", "pub(crate) use self::a::{A, B};"] {
            let found = check_files(&[
                ("x/src/lib.rs", &format!("mod a;\nmod b;\n{reexport}\n")),
                ("x/src/a.rs", "use crate::b::B;\n"),
                ("x/src/b.rs", "use crate::A;\n"),
            ]);
            assert_eq!(found.len(), 1, "{reexport}: {found:?}");
        }
    }

    #[test]
    fn tests_comments_and_strings_import_nothing() {
        let test = "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n";
        for text in [test, "// crate::a::A\nconst T: &str = \"crate::a\";\n"] {
            let found = check_files(&[
                (
                    "x/src/lib.rs",
                    "mod a;\nmod b;\n#[cfg(test)]\nmod helper;\n",
                ),
                ("x/src/a.rs", "use crate::b::B;\n"),
                ("x/src/b.rs", text),
                ("x/src/helper.rs", "use crate::a::A;\nuse crate::b::B;\n"),
            ]);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}
