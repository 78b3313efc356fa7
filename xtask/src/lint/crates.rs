//! The arrows between crates point down: each crate depends only on members that are listed for it.
//!
//! Cargo refuses circles itself. This check also refuses an arrow up or sideways, and an external
//! crate that would bring a foreign layer's knowledge, such as HTTP into the plugin host.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, Package};

/// What one member may depend on. Dependencies of tests are free.
struct Rule {
    /// The member's folder, from the root.
    folder: &'static str,
    /// Members that it may depend on. Each has its own rule further down.
    members: &'static [&'static str],
    /// External crates that it must not depend on.
    never: &'static [&'static str],
    /// The reason for `never`.
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        folder: "host/leak-host",
        members: &[
            "host/console",
            "host/admin-api",
            "host/lab",
            "host/plugin-host",
            "host/guest-heap-inspector",
            "host/guest-heap",
            "host/telemetry",
            "host/process-memory",
        ],
        never: &[],
        why: "",
    },
    Rule {
        folder: "host/console",
        members: &[
            "host/admin-api",
            "host/lab",
            "host/plugin-host",
            "host/guest-heap",
            "host/telemetry",
            "host/process-memory",
        ],
        never: &["wasmtime"],
        why: "the wasm engine stays behind plugin-host",
    },
    Rule {
        folder: "host/admin-api",
        members: &[
            "host/lab",
            "host/plugin-host",
            "host/guest-heap-inspector",
            "host/guest-heap",
            "host/telemetry",
            "host/process-memory",
        ],
        never: &["wasmtime"],
        why: "the wasm engine stays behind plugin-host",
    },
    Rule {
        folder: "host/lab",
        members: &[
            "host/plugin-host",
            "host/guest-heap",
            "host/telemetry",
            "host/process-memory",
        ],
        never: &["axum", "wasmtime"],
        why: "HTTP stays in admin-api and console, the wasm engine in plugin-host",
    },
    Rule {
        folder: "host/plugin-host",
        members: &["host/guest-heap", "host/telemetry", "host/process-memory"],
        never: &["axum", "hyper", "serde", "serde_json", "utoipa"],
        why: "domain types know neither JSON nor HTTP; wire types are in admin-api",
    },
    Rule {
        folder: "host/guest-heap-cli",
        members: &["host/guest-heap-inspector", "host/guest-heap"],
        never: &[],
        why: "",
    },
    Rule {
        folder: "host/guest-heap-inspector",
        members: &["host/guest-heap"],
        never: &[],
        why: "",
    },
    Rule {
        folder: "host/guest-heap",
        members: &[],
        never: &["axum", "hyper"],
        why: "guest-heap profiles any component: it knows neither the host nor the leak contract",
    },
    Rule {
        folder: "host/telemetry",
        members: &[],
        never: &["wasmtime"],
        why: "telemetry knows nothing of plugins",
    },
    Rule {
        folder: "host/process-memory",
        members: &[],
        never: &["axum", "hyper", "serde", "serde_json", "wasmtime"],
        why: "domain types know neither JSON nor HTTP; wire types are in admin-api",
    },
    Rule {
        folder: "xtask",
        members: &["xtask/support"],
        never: &[],
        why: "",
    },
    Rule {
        folder: "xtask/bench",
        members: &["xtask/support"],
        never: &[],
        why: "",
    },
    Rule {
        folder: "xtask/stack-tests",
        members: &["xtask/support"],
        never: &[],
        why: "",
    },
    Rule {
        folder: "xtask/support",
        members: &[],
        never: &["clap"],
        why: "each command reads its own arguments",
    },
    Rule {
        folder: "xtask/workspace-hack",
        members: &[],
        never: &[],
        why: "",
    },
];

/// One line for each dependency that no rule allows, and for each member without a rule.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = folder_of(metadata, package);
        let Some(rule) = RULES.iter().find(|rule| rule.folder == folder) else {
            broken.push(format!("{folder}: say in lint/crates.rs what it may use"));
            continue;
        };
        let mut dependencies = BTreeSet::new();
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Development {
                let path = dependency.path.as_ref();
                let member = path.and_then(|path| path.strip_prefix(&metadata.workspace_root).ok());
                dependencies.insert((member.map(ToString::to_string), dependency.name.as_str()));
            }
        }
        for (member, name) in dependencies {
            match member {
                Some(member) if !rule.members.contains(&member.as_str()) => {
                    broken.push(format!("{folder} must not depend on {member}"));
                }
                None if rule.never.contains(&name) => {
                    broken.push(format!("{folder} must not depend on {name}: {}", rule.why));
                }
                _ => {}
            }
        }
    }
    broken
}

fn folder_of(metadata: &Metadata, package: &Package) -> String {
    let folder = package.manifest_path.parent();
    folder
        .and_then(|folder| folder.strip_prefix(&metadata.workspace_root).ok())
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cargo_metadata::MetadataCommand;

    use super::*;

    /// A workspace of empty crates, each with its folder and the lines of its dependencies.
    fn broken(members: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<_> = members.iter().map(|(folder, _)| *folder).collect();
        fs::write(
            root.path().join("Cargo.toml"),
            format!("[workspace]\nresolver = \"3\"\nmembers = {folders:?}\n"),
        )
        .unwrap();
        for (folder, dependencies) in members {
            let name = folder.rsplit('/').next().unwrap();
            let source = root.path().join(folder).join("src");
            fs::create_dir_all(&source).unwrap();
            fs::write(source.join("lib.rs"), "").unwrap();
            fs::write(
                root.path().join(folder).join("Cargo.toml"),
                format!("[package]\nname = {name:?}\nedition = \"2024\"\n{dependencies}"),
            )
            .unwrap();
        }
        let metadata = MetadataCommand::new()
            .manifest_path(root.path().join("Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        check(&metadata)
    }

    #[test]
    fn an_arrow_down_is_allowed_and_an_arrow_up_is_not() {
        let lab = (
            "host/lab",
            "[dependencies]\nplugin-host.path = \"../plugin-host\"",
        );
        assert!(broken(&[lab, ("host/plugin-host", "")]).is_empty());
        let up = "[dependencies]\nlab.path = \"../lab\"";
        assert_eq!(
            broken(&[("host/lab", ""), ("host/plugin-host", up)]),
            ["host/plugin-host must not depend on host/lab"]
        );
    }

    #[test]
    fn a_forbidden_external_crate_is_reported_with_the_reason() {
        let found = broken(&[("host/guest-heap", "[dependencies]\naxum = \"0.8\"")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("knows neither the host"), "{found:?}");
        let only_tests = "[dev-dependencies]\naxum = \"0.8\"";
        assert!(broken(&[("host/guest-heap", only_tests)]).is_empty());
    }

    #[test]
    fn a_member_without_a_rule_is_reported() {
        let found = broken(&[("host/new", "")]);
        assert!(found[0].starts_with("host/new: say"), "{found:?}");
    }

    #[test]
    fn every_rule_points_to_rules_below_it() {
        for (index, rule) in RULES.iter().enumerate() {
            for member in rule.members {
                let below = RULES.iter().skip(index + 1);
                let found = below.clone().any(|other| other.folder == *member);
                assert!(found, "{} -> {member}", rule.folder);
            }
            assert_eq!(
                rule.never.is_empty(),
                rule.why.is_empty(),
                "{}",
                rule.folder
            );
        }
    }
}
