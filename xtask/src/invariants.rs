//! The invariants of ARCHITECTURE.md that the compiler cannot keep: what must *not* be found where.
//!
//! A plain search through the sources is enough, because each invariant is the absence of a name. A
//! line that is only a comment may say the name.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One absence.
struct Invariant {
    /// Folder or file, from the root. One that does not exist holds nothing forbidden.
    place: &'static str,
    /// Places within it where the names are allowed.
    except: &'static [&'static str],
    extension: &'static str,
    names: &'static [&'static str],
    why: &'static str,
}

const INVARIANTS: &[Invariant] = &[
    Invariant {
        place: "host/service/src/api",
        except: &[],
        extension: "rs",
        names: &["wasmtime"],
        why: "api/ knows plugins by their handles; the wasm engine stays behind plugin/",
    },
    Invariant {
        place: "host/service/src",
        except: &["host/service/src/config.rs", "host/service/src/config"],
        extension: "rs",
        names: &["std::env", "env::var"],
        why: "only config reads the environment",
    },
    Invariant {
        place: "host/service/src",
        except: &[],
        extension: "rs",
        names: &[
            "LazyLock",
            "lazy_static",
            "default_registry()",
            "prometheus::register",
        ],
        why: "no metric and no other state is a global: parts get what they need passed in",
    },
    Invariant {
        place: "host/service/src/plugin",
        except: &[],
        extension: "rs",
        names: &["derive(Serialize", ", Serialize", "axum::", "StatusCode"],
        why: "domain types know neither JSON nor HTTP; wire types live in api/",
    },
    Invariant {
        place: "host/service/src/memory",
        except: &[],
        extension: "rs",
        names: &["derive(Serialize", ", Serialize", "axum::", "StatusCode"],
        why: "domain types know neither JSON nor HTTP; wire types live in api/",
    },
    Invariant {
        place: "host/guest-heap",
        except: &[
            "host/guest-heap/tests",
            "host/guest-heap/benches",
            "host/guest-heap/runtime",
        ],
        extension: "rs",
        names: &["axum", "bindgen!", "leak_lab"],
        why: "guest-heap profiles any component: it knows neither the service nor the leak contract",
    },
    Invariant {
        place: "host/guest-heap/Cargo.toml",
        except: &[],
        extension: "toml",
        names: &["axum", "leak-host"],
        why: "guest-heap profiles any component: it knows neither the service nor the leak contract",
    },
];

/// A line that breaks an invariant.
#[derive(Debug)]
pub(crate) struct Finding {
    file: PathBuf,
    line: usize,
    name: &'static str,
    why: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: `{}` does not belong here: {}",
            self.file.display(),
            self.line,
            self.name,
            self.why
        )
    }
}

/// Looks through the checkout.
///
/// # Errors
/// When a source cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for invariant in INVARIANTS {
        let mut sources = Vec::new();
        for file in files(&root.join(invariant.place), invariant.extension)? {
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            sources.push((file, text));
        }
        let test_modules: Vec<PathBuf> = sources
            .iter()
            .flat_map(|(file, text)| test_modules(file, text))
            .collect();
        for (file, text) in &sources {
            let relative = file.strip_prefix(root).unwrap_or(file);
            let excepted = invariant
                .except
                .iter()
                .any(|except| relative.starts_with(except));
            if excepted || test_modules.contains(file) {
                continue;
            }
            findings.extend(
                search(production(text), invariant.names).map(|(line, name)| Finding {
                    file: relative.to_path_buf(),
                    line,
                    name,
                    why: invariant.why,
                }),
            );
        }
    }
    Ok(findings)
}

/// What comes before the tests, which stand at the end of a file. They may do what they like.
fn production(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {")
        .map_or(text, |end| text.get(..end).unwrap_or(text))
}

/// The files of modules that `file` declares for tests only.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    // The modules of `foo.rs` are in `foo/`, those of a crate's root beside it.
    let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("main" | "lib") | None => file.with_file_name(""),
        Some(_) => file.with_extension(""),
    };
    text.split("#[cfg(test)]\nmod ")
        .skip(1)
        .filter_map(|rest| rest.split_once(';'))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .map(|(name, _)| folder.join(format!("{name}.rs")))
        .collect()
}

fn search<'a>(
    text: &'a str,
    names: &'a [&'static str],
) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !["//", "#"].iter().any(|comment| is_comment(line, comment)))
        .flat_map(|(number, line)| {
            names
                .iter()
                .filter(|name| line.contains(**name))
                .map(move |name| (number + 1, *name))
        })
}

/// An attribute begins with the same sign as a TOML comment.
fn is_comment(line: &str, sign: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(sign) && !line.starts_with("#[") && !line.starts_with("#!")
}

fn files(place: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    if place.is_file() {
        return Ok(vec![place.to_path_buf()]);
    }
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = place
        .is_dir()
        .then(|| place.to_path_buf())
        .into_iter()
        .collect();
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_name_in_the_wrong_place_is_found_with_its_line() {
        let root = checkout(&[(
            "host/service/src/api/leaks.rs",
            "use axum::Json;\nuse wasmtime::Store;\n",
        )]);
        let findings = check(root.path()).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        let text = findings[0].to_string();
        assert!(
            text.starts_with("host/service/src/api/leaks.rs:2: `wasmtime`"),
            "{text}"
        );
    }

    #[test]
    fn comments_and_exceptions_may_say_the_name() {
        let root = checkout(&[
            (
                "host/service/src/api/leaks.rs",
                "//! Nothing of wasmtime is seen here.\n",
            ),
            (
                "host/service/src/config.rs",
                "let home = std::env::var(\"HOME\");\n",
            ),
        ]);
        assert!(check(root.path()).unwrap().is_empty());
    }

    #[test]
    fn tests_may_do_what_they_like() {
        let root = checkout(&[
            (
                "host/service/src/memory.rs",
                "mod ledger;\n\n#[cfg(test)]\nmod alone;\n",
            ),
            (
                "host/service/src/memory/alone.rs",
                "let child = std::env::var(\"CHILD\");\n",
            ),
            (
                "host/service/src/memory/ledger.rs",
                "#[cfg(test)]\nmod tests {\n    use std::env;\n}\n",
            ),
            ("host/service/src/memory/limit.rs", "use std::env;\n"),
        ]);
        let findings = check(root.path()).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].file.ends_with("limit.rs"), "{findings:?}");
    }

    #[test]
    fn an_attribute_is_not_a_comment() {
        let root = checkout(&[(
            "host/service/src/memory/ledger.rs",
            "#[derive(Serialize)]\nstruct Ledger;\n",
        )]);
        assert_eq!(check(root.path()).unwrap().len(), 1);
    }

    #[test]
    fn this_checkout_keeps_its_invariants() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let findings = check(root).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
