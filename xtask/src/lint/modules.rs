//! No circle of modules: siblings in a crate do not import each other, directly or through others.
//!
//! A module and its own children count as one unit, so a child may use an item of its parent. Tests
//! may import what they like.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};

use super::lexer::Syntax;
use super::source::Source;
use super::use_paths::{UsePath, use_paths};

/// The path of a module in its crate; empty for the root.
type Module = Vec<String>;

/// The siblings below one module, and the places where one imports another.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

/// One line for each circle.
pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let mut crates: BTreeMap<PathBuf, Vec<(Module, &Source)>> = BTreeMap::new();
    for source in sources {
        if source.syntax == Syntax::Rust
            && let Some((folder, module)) = place(&source.path)
        {
            crates.entry(folder).or_default().push((module, source));
        }
    }
    crates
        .iter()
        .flat_map(|(folder, files)| circles(folder, files))
        .collect()
}

/// The crate's folder and the module of a file below its `src/`.
fn place(path: &Path) -> Option<(PathBuf, Module)> {
    let parts: Vec<&str> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let src = parts.iter().position(|part| *part == "src")?;
    let (folder, inside) = parts.split_at(src);
    let mut module: Module = inside.iter().skip(1).map(|&part| part.to_owned()).collect();
    let file = module.pop()?;
    match file.strip_suffix(".rs")? {
        "main" | "lib" | "mod" => {}
        name => module.push(name.to_owned()),
    }
    Some((folder.iter().collect(), module))
}

fn circles(folder: &Path, files: &[(Module, &Source)]) -> Vec<String> {
    let mut paths: BTreeMap<&Module, Vec<UsePath>> = BTreeMap::new();
    let mut only_tests: BTreeSet<Module> = BTreeSet::new();
    for (module, source) in files {
        let read = use_paths(&source.text);
        paths.entry(module).or_default().extend(read.paths);
        only_tests.extend(read.test_modules.into_iter().map(|name| {
            let mut child = module.clone();
            child.push(name);
            child
        }));
    }
    let mut levels: BTreeMap<Module, Siblings> = BTreeMap::new();
    for (module, source) in files {
        if only_tests.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        for path in paths.get(module).into_iter().flatten() {
            let target = resolve(&paths, module, path);
            let shared = module.iter().zip(&target).take_while(|(a, b)| a == b);
            let level = shared.count();
            if let (Some(from), Some(to)) = (module.get(level), target.get(level)) {
                let parent = module.iter().take(level).cloned().collect();
                levels
                    .entry(parent)
                    .or_default()
                    .entry(from.clone())
                    .or_default()
                    .entry(to.clone())
                    .or_insert_with(|| format!("{}:{}", source.path.display(), path.line));
            }
        }
    }
    let mut found = Vec::new();
    for (parent, siblings) in &levels {
        let mut place = vec![folder.display().to_string()];
        place.extend(parent.iter().cloned());
        for circle in shortest_circles(siblings) {
            found.push(format!("{}: {circle}", place.join("::")));
        }
    }
    found
}

/// The module that a path names. A name that another module re-exports belongs to its origin.
fn resolve(paths: &BTreeMap<&Module, Vec<UsePath>>, module: &Module, path: &UsePath) -> Module {
    let mut full = absolute(module, path);
    // As many re-exports in a row as any crate here has.
    for _ in 0..4 {
        let depth = (0..=full.len())
            .rev()
            .find(|&depth| {
                full.get(..depth)
                    .is_some_and(|m| paths.contains_key(&m.to_vec()))
            })
            .unwrap_or(0);
        let (owner, rest) = full.split_at(depth);
        let owner = owner.to_vec();
        let Some(item) = rest.first() else {
            return owner;
        };
        let origin = paths
            .get(&owner)
            .into_iter()
            .flatten()
            .find(|reexport| reexport.public && reexport.segments.last() == Some(item));
        match origin.map(|origin| absolute(&owner, origin)) {
            Some(origin) if origin != full => full = origin,
            _ => return owner,
        }
    }
    full
}

/// A path from the crate's root.
fn absolute(module: &Module, path: &UsePath) -> Module {
    let mut full = module.clone();
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    match segments.peek() {
        Some(&"crate") => {
            full.clear();
            segments.next();
        }
        Some(&"self") => {
            segments.next();
        }
        _ => {}
    }
    while segments.next_if_eq(&"super").is_some() {
        full.pop();
    }
    full.extend(segments.map(str::to_owned));
    full
}

/// The shortest circle through each sibling, every circle once.
fn shortest_circles(siblings: &Siblings) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in siblings.keys() {
        let mut queue = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = queue.pop_front() {
            let next = way.last().and_then(|last| siblings.get(*last));
            for (to, _) in next.into_iter().flatten() {
                if to == start {
                    // Reported once, from the sibling that is first in the alphabet.
                    if way.iter().all(|name| *name >= start) {
                        found.insert(describe(siblings, &way));
                    }
                    queue.clear();
                    break;
                }
                if seen.insert(to) {
                    let mut longer = way.clone();
                    longer.push(to);
                    queue.push_back(longer);
                }
            }
        }
    }
    found
}

fn describe(siblings: &Siblings, way: &[&String]) -> String {
    let mut text = String::new();
    let mut places = Vec::new();
    for (index, from) in way.iter().enumerate() {
        let to = way.get(index + 1).or(way.first());
        let place = to.and_then(|to| siblings.get(*from)?.get(*to));
        text += &format!("{from} -> ");
        places.extend(place.map(String::as_str));
    }
    let first = way.first().map_or("", |first| first.as_str());
    format!("{text}{first} ({})", places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_files(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source {
                path: path.into(),
                syntax: Syntax::Rust,
                text: (*text).to_owned(),
            })
            .collect();
        check(&sources)
    }

    #[test]
    fn two_siblings_that_import_each_other_are_a_circle() {
        let found = check_files(&[
            ("host/x/src/lib.rs", "mod a;\nmod b;\n"),
            ("host/x/src/a.rs", "use crate::b::B;\n"),
            ("host/x/src/b.rs", "\nfn f() { super::a::f() }\n"),
        ]);
        assert_eq!(
            found,
            ["host/x: a -> b -> a (host/x/src/a.rs:1, host/x/src/b.rs:2)"]
        );
    }

    #[test]
    fn a_circle_over_three_siblings_is_found_below_a_module() {
        let found = check_files(&[
            ("x/src/m/a.rs", "use super::b::{self, B};\n"),
            ("x/src/m/b/inner.rs", "use crate::m::c;\n"),
            ("x/src/m/c.rs", "use crate::m::{d::D, a::{A, C}};\n"),
            ("x/src/m/b.rs", "mod inner;\n"),
            ("x/src/m/d.rs", ""),
            ("x/src/m.rs", ""),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("x::m: a -> b -> c -> a"), "{found:?}");
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
        let found = check_files(&[
            ("x/src/lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
            ("x/src/a.rs", "use crate::b::B;\n"),
            ("x/src/b.rs", "use crate::A;\n"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn tests_may_import_what_they_like() {
        let found = check_files(&[
            (
                "x/src/lib.rs",
                "mod a;\nmod b;\n#[cfg(test)]\nmod helper;\n",
            ),
            ("x/src/a.rs", "use crate::b::B;\n"),
            (
                "x/src/b.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
            ("x/src/helper.rs", "use crate::a::A;\nuse crate::b::B;\n"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_name_in_a_comment_or_a_string_is_no_import() {
        let found = check_files(&[
            ("x/src/a.rs", "use crate::b::B;\n"),
            (
                "x/src/b.rs",
                "// crate::a::A\nconst T: &str = \"crate::a\";\n",
            ),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }
}
