//! The manifest of a new plugin, out of the template's and that of the workspace.

use std::path::Path;

use anyhow::{Context, Result};

use super::name::Name;
use super::read;

/// What the template is called in its manifest.
const TEMPLATE: &str = "\"template\"";

/// For a member of the plugins' workspace: what the template has.
pub(super) fn of_the_workspace(source: &Path, name: &Name) -> Result<String> {
    let template = read(&source.join("template/Cargo.toml"))?;
    Ok(renamed(&template, name))
}

fn renamed(template: &str, name: &Name) -> String {
    template
        .replace(TEMPLATE, &format!("\"{}\"", name.id()))
        .replace("leak-lab:template", &format!("leak-lab:{}", name.id()))
}

/// For a crate that stands alone: whatever the template inherits is written out.
pub(super) fn standing_alone(source: &Path, name: &Name, sdk_git: Option<&str>) -> Result<String> {
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
                    value.with_context(|| format!("the plugins' Cargo.toml does not say {key}"))?;
                lines.push(value.to_owned());
            }
            // The lints follow, written out.
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
                "# Names and line tables stay in, or nobody could say which line holds the memory."
                    .to_owned(),
            );
        }
        lines.push(to.to_owned());
        lines.extend(section(&workspace, from).map(str::to_owned));
    }
    lines.push("\n# It belongs to no other workspace.\n[workspace]\n".to_owned());
    // What was left out has left its empty lines.
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

    fn alone(sdk_git: Option<&str>) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
        standing_alone(&source, &"mine".parse().unwrap(), sdk_git).unwrap()
    }

    #[test]
    fn nothing_is_inherited_when_it_stands_alone() {
        let manifest = alone(None);
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
        let manifest = alone(Some("https://example.org/lab.git"));
        let sdk = "leak-plugin-sdk = { git = \"https://example.org/lab.git\" }";
        assert!(manifest.contains(sdk), "{manifest}");
    }
}
