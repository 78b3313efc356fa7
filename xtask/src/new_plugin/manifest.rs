//! The manifest of a new plugin, made of the template's and the workspace's.

use std::path::Path;

use anyhow::{Context, Result};

use super::name::PluginName;
use super::read;

/// The template's name in its manifest.
const TEMPLATE: &str = "\"template\"";

/// The manifest of a member of the plugins' workspace.
pub(super) fn workspace_member(source: &Path, name: &PluginName) -> Result<String> {
    let template = read(&source.join("template/Cargo.toml"))?;
    Ok(renamed(&template, name))
}

fn renamed(template: &str, name: &PluginName) -> String {
    template
        .replace(TEMPLATE, &format!("\"{}\"", name.id()))
        .replace("leak-lab:template", &format!("leak-lab:{}", name.id()))
}

/// The manifest of an independent crate. It writes out every value that the template inherits.
pub(super) fn independent(
    source: &Path,
    name: &PluginName,
    sdk_git: Option<&str>,
) -> Result<String> {
    let template = read(&source.join("template/Cargo.toml"))?;
    let workspace = read(&source.join("Cargo.toml"))?;
    let mut lines = Vec::new();
    for line in renamed(&template, name).lines() {
        match line.strip_suffix(".workspace = true") {
            Some("leak-plugin-sdk") => {
                let sdk = match sdk_git {
                    Some(url) => format!("leak-plugin-sdk = {{ git = {url:?} }}"),
                    None => format!("leak-plugin-sdk = {{ path = {:?} }}", source.join("sdk")),
                };
                lines.push(sdk);
            }
            Some(key) => {
                let sections = ["[workspace.package]", "[workspace.dependencies]"];
                let value = sections
                    .iter()
                    .flat_map(|header| section(&workspace, header))
                    .find(|line| line.starts_with(&format!("{key} = ")));
                let value =
                    value.with_context(|| format!("the plugins' Cargo.toml does not set {key}"))?;
                lines.push(value.to_owned());
            }
            // The lints are written out below.
            None if line == "[lints]" || line == "workspace = true" => {}
            None => lines.push(line.to_owned()),
        }
    }
    let copied = [
        ("[workspace.lints.rust]", "[lints.rust]"),
        ("[workspace.lints.clippy]", "[lints.clippy]"),
        ("[profile.release]", "[profile.release]"),
        ("[profile.dev]", "[profile.dev]"),
    ];
    for (from, to) in copied {
        lines.push(String::new());
        if to == "[profile.release]" {
            lines.push(
                "# Names and line tables stay in: with them the profiler names the line."
                    .to_owned(),
            );
        }
        lines.push(to.to_owned());
        lines.extend(section(&workspace, from).map(str::to_owned));
    }
    lines.push(
        "\n# An empty workspace: this crate is a member of no other.\n[workspace]\n".to_owned(),
    );
    // The sections that were left out leave empty lines.
    let mut text = lines.join("\n");
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    Ok(text)
}

/// The settings under a header, without comments.
fn section<'a>(manifest: &'a str, header: &'a str) -> impl Iterator<Item = &'a str> {
    manifest
        .lines()
        .skip_while(move |line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sdk_git: Option<&str>) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
        independent(&source, &"mine".parse().unwrap(), sdk_git).unwrap()
    }

    #[test]
    fn an_independent_crate_inherits_nothing() {
        let manifest = manifest(None);
        assert!(!manifest.contains("workspace = true"), "{manifest}");
        for line in [
            "name = \"mine\"",
            "edition = \"2024\"",
            "lto = \"fat\"",
            "debug = \"line-tables-only\"",
            "missing_docs = \"deny\"",
            "[workspace]",
        ] {
            assert!(manifest.lines().any(|l| l == line), "{line}: {manifest}");
        }
    }

    #[test]
    fn the_sdk_can_come_from_git() {
        let manifest = manifest(Some("https://example.org/lab.git"));
        let sdk = "leak-plugin-sdk = { git = \"https://example.org/lab.git\" }";
        assert!(manifest.contains(sdk), "{manifest}");
    }
}
