//! The arrows between crates point down: each member depends only on members that are listed for
//! it.
//!
//! Cargo refuses circles itself. This check also refuses an arrow up or sideways, and an external
//! crate that belongs to another layer, such as an HTTP server in the plugin host.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata};

/// What one member may depend on. Dependencies of tests are free.
struct Rule {
    /// The member's folder, from the root.
    folder: &'static str,
    /// Folders of the members that it may depend on. Each has its own rule further down.
    members: &'static [&'static str],
    /// External crates that it must not depend on, and the reason.
    never: (&'static [&'static str], &'static str),
}

const CONSOLE: &str = "host/console";
const ADMIN_API: &str = "host/admin-api";
const LAB: &str = "host/lab";
const GROUND_TRUTH: &str = "host/ground-truth";
const PLUGIN_HOST: &str = "host/plugin-host";
const INSPECTOR: &str = "host/guest-heap-inspector";
const GUEST_HEAP: &str = "host/guest-heap";
const TELEMETRY: &str = "host/telemetry";
const PROCESS_MEMORY: &str = "host/process-memory";
const MYSTERY: &str = "host/mystery";
const FLEET: &str = "host/fleet";
const SUPPORT: &str = "xtask/support";
const WORKSPACE_HACK: &str = "xtask/workspace-hack";

const ANY: (&[&str], &str) = (&[], "");
const NO_ENGINE: (&[&str], &str) = (&["wasmtime"], "the wasm engine stays in plugin-host");
const NO_WIRE_TYPES: (&[&str], &str) = (
    &["axum", "hyper", "serde", "serde_json", "utoipa"],
    "domain types know neither JSON nor HTTP; wire types are in admin-api",
);

#[rustfmt::skip] // One line for each member.
const RULES: &[Rule] = &[
    Rule { folder: "host/leak-host", never: ANY, members: &[CONSOLE, ADMIN_API, GROUND_TRUTH, LAB, PLUGIN_HOST, INSPECTOR, GUEST_HEAP, TELEMETRY, PROCESS_MEMORY, MYSTERY, FLEET] },
    Rule { folder: "host/test-support", never: ANY, members: &[ADMIN_API, LAB, PLUGIN_HOST, TELEMETRY, PROCESS_MEMORY] },
    Rule { folder: CONSOLE, never: NO_ENGINE, members: &[ADMIN_API, LAB, PLUGIN_HOST, GUEST_HEAP, TELEMETRY, PROCESS_MEMORY, MYSTERY, FLEET] },
    Rule { folder: ADMIN_API, never: NO_ENGINE, members: &[GROUND_TRUTH, LAB, PLUGIN_HOST, INSPECTOR, GUEST_HEAP, TELEMETRY, PROCESS_MEMORY, MYSTERY] },
    Rule { folder: "xtask/shapes", never: ANY, members: &[SUPPORT, GROUND_TRUTH, PLUGIN_HOST] },
    Rule { folder: GROUND_TRUTH, never: (&["axum", "hyper", "wasmtime"], "it plays plugins without HTTP, through plugin-host"), members: &[LAB, PLUGIN_HOST, GUEST_HEAP, TELEMETRY] },
    Rule { folder: LAB, never: (&["axum", "wasmtime"], "HTTP stays in admin-api and console, the wasm engine in plugin-host"), members: &[PLUGIN_HOST, GUEST_HEAP, TELEMETRY, PROCESS_MEMORY] },
    Rule { folder: PLUGIN_HOST, never: NO_WIRE_TYPES, members: &[GUEST_HEAP, TELEMETRY, PROCESS_MEMORY] },
    Rule { folder: "host/guest-heap-cli", never: ANY, members: &[INSPECTOR, GUEST_HEAP] },
    Rule { folder: INSPECTOR, never: ANY, members: &[GUEST_HEAP] },
    Rule { folder: "xtask/python", never: ANY, members: &[SUPPORT, GUEST_HEAP] },
    Rule { folder: "xtask/toolchains", never: ANY, members: &[SUPPORT, GUEST_HEAP] },
    Rule { folder: GUEST_HEAP, never: (&["axum", "hyper"], "guest-heap profiles any component: it knows neither the host nor the leak contract"), members: &[] },
    Rule { folder: TELEMETRY, never: NO_ENGINE, members: &[] },
    Rule { folder: PROCESS_MEMORY, never: NO_WIRE_TYPES, members: &[] },
    Rule { folder: MYSTERY, never: (&["axum", "hyper", "jiff", "rand", "tokio", "wasmtime"], "a game is pure: no HTTP, no clock, no random device"), members: &[] },
    Rule { folder: FLEET, never: (&["axum", "hyper", "wasmtime"], "it asks hosts over HTTP and serves nothing"), members: &[] },
    Rule { folder: "xtask", never: ANY, members: &[SUPPORT] },
    Rule { folder: "xtask/bench", never: ANY, members: &[SUPPORT] },
    Rule { folder: "xtask/hostile", never: ANY, members: &[SUPPORT] },
    Rule { folder: "xtask/kubernetes", never: ANY, members: &[SUPPORT] },
    Rule { folder: "xtask/stack-tests", never: ANY, members: &[SUPPORT] },
    Rule { folder: SUPPORT, never: (&["clap"], "each command reads its own arguments"), members: &[] },
    Rule { folder: WORKSPACE_HACK, never: ANY, members: &[] },
];

/// One line for each dependency that no rule allows, and for each member without a rule.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let root = &metadata.workspace_root;
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent();
        let folder = folder.and_then(|folder| folder.strip_prefix(root).ok());
        let folder = folder.map(ToString::to_string).unwrap_or_default();
        let Some(rule) = RULES.iter().find(|rule| rule.folder == folder) else {
            broken.push(format!("{folder}: add its rule to lint/crates.rs"));
            continue;
        };
        let mut forbidden = BTreeSet::new();
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let name = dependency.name.as_str();
            let path = dependency.path.as_ref();
            match path.and_then(|path| path.strip_prefix(root).ok()) {
                // It has no code: it unites the features of dependencies.
                Some(member) if member == WORKSPACE_HACK => {}
                Some(member) if !rule.members.contains(&member.as_str()) => {
                    forbidden.insert(format!("{folder} must not depend on {member}"));
                }
                None if rule.never.0.contains(&name) => {
                    let why = rule.never.1;
                    forbidden.insert(format!("{folder} must not depend on {name}: {why}"));
                }
                _ => {}
            }
        }
        broken.extend(forbidden);
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cargo_metadata::MetadataCommand;

    use super::*;

    /// Checks a workspace of empty crates, each with its folder and the lines of its dependencies.
    fn check_members(members: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<_> = members.iter().map(|(folder, _)| *folder).collect();
        let manifest = root.path().join("Cargo.toml");
        let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = {folders:?}\n");
        fs::write(&manifest, workspace).unwrap();
        for (folder, dependencies) in members {
            let name = folder.rsplit('/').next().unwrap();
            let source = root.path().join(folder).join("src");
            fs::create_dir_all(&source).unwrap();
            fs::write(source.join("lib.rs"), "").unwrap();
            let package = format!("[package]\nname = {name:?}\nedition = \"2024\"\n{dependencies}");
            fs::write(root.path().join(folder).join("Cargo.toml"), package).unwrap();
        }
        let mut command = MetadataCommand::new();
        check(&command.manifest_path(manifest).no_deps().exec().unwrap())
    }

    #[test]
    fn an_arrow_down_is_allowed_and_an_arrow_up_is_not() {
        let down = "[dependencies]\nplugin-host.path = \"../plugin-host\"";
        assert!(check_members(&[(LAB, down), (PLUGIN_HOST, "")]).is_empty());
        let up = "[dependencies]\nlab.path = \"../lab\"";
        let found = check_members(&[(LAB, ""), (PLUGIN_HOST, up)]);
        assert_eq!(found, ["host/plugin-host must not depend on host/lab"]);
    }

    #[test]
    fn a_forbidden_external_crate_is_reported_with_the_reason() {
        let found = check_members(&[(GUEST_HEAP, "[dependencies]\naxum = \"0.8\"")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("knows neither the host"), "{found:?}");
        let only_tests = "[dev-dependencies]\naxum = \"0.8\"";
        assert!(check_members(&[(GUEST_HEAP, only_tests)]).is_empty());
    }

    #[test]
    fn a_member_without_a_rule_is_reported() {
        let found = check_members(&[("host/new", "")]);
        assert_eq!(found, ["host/new: add its rule to lint/crates.rs"]);
    }

    #[test]
    fn every_rule_points_to_rules_below_it() {
        for (index, rule) in RULES.iter().enumerate() {
            for member in rule.members {
                let mut below = RULES.iter().skip(index + 1);
                let found = below.any(|other| other.folder == *member);
                assert!(found, "{} -> {member}", rule.folder);
            }
        }
    }
}
