//! The kustomize base: the objects of the chart without Helm's own labels and without a namespace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask_support::layout::KUSTOMIZE;
use xtask_support::tools::run_quietly;
use xtask_support::workspace::Workspace;

use crate::chart::{Chart, at, documents, find, parse};

/// The overlay that shows how to use the base.
const EXAMPLE: &str = "overlays/example";

/// A Secret of the user's: a token in a file of the repository would be no secret.
const VALUES: [&str; 1] = [r#"admin.token.existingSecret="leak-lab-admin""#];

/// Lines of the chart that mean nothing without Helm.
const HELM_LINES: [&str; 3] = [
    "app.kubernetes.io/managed-by: ",
    "helm.sh/chart: ",
    "namespace: default",
];

const HEADER: &str =
    "# Generated from deploy/helm/leak-lab by `cargo xtask kubernetes generate`.\n";

/// Writes the base.
///
/// # Errors
/// When Helm fails or a file cannot be written.
pub(crate) fn generate(workspace: &Workspace, helm: &Path) -> Result<()> {
    let root = workspace.root().join(KUSTOMIZE);
    let files = expected(&Chart::new(workspace, helm))?;
    for old in generated(&root)? {
        if !files.contains_key(&old) {
            fs::remove_file(root.join(old))?;
        }
    }
    for (name, text) in &files {
        let file = root.join(name);
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{} files in {}", files.len(), root.display());
    Ok(())
}

/// Every generated file is as [`generate`] writes it, and there are no others.
///
/// # Errors
/// With the first file that differs.
pub(crate) fn up_to_date(workspace: &Workspace, helm: &Path) -> Result<String> {
    let root = workspace.root().join(KUSTOMIZE);
    let files = expected(&Chart::new(workspace, helm))?;
    let command = "run cargo xtask kubernetes generate";
    for (name, text) in &files {
        let found = fs::read_to_string(root.join(name)).unwrap_or_default();
        ensure!(
            found == *text,
            "{KUSTOMIZE}/{name} is not up to date: {command}"
        );
    }
    for name in generated(&root)? {
        let known = files.contains_key(&name);
        ensure!(known, "{KUSTOMIZE}/{name} is not up to date: {command}");
    }
    Ok(format!("{} files", files.len()))
}

/// The names and texts of the files. The Prometheus Operator's objects are a component, because a
/// cluster without the operator refuses them.
fn expected(chart: &Chart) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut resources: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for document in documents(&chart.template(&VALUES, &[])?) {
        let object = parse(document)?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_lowercase();
        let (kind, name) = (
            text(at(&object, "/kind")),
            text(at(&object, "/metadata/name")),
        );
        let operator = *at(&object, "/apiVersion") == "monitoring.coreos.com/v1";
        let folder = if operator {
            "components/prometheus-operator"
        } else {
            "base"
        };
        let short = name.trim_start_matches("leak-lab").trim_start_matches('-');
        let separator = if short.is_empty() { "" } else { "-" };
        let file = format!("{kind}{separator}{short}.yaml");
        files.insert(format!("{folder}/{file}"), without_helm(document));
        resources.entry(folder).or_default().push(file);
    }
    for (folder, mut names) in resources {
        names.sort();
        let kind = if folder == "base" {
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        } else {
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        };
        let mut text = format!("{HEADER}{kind}resources:\n");
        for name in names {
            text.push_str(&format!("  - {name}\n"));
        }
        files.insert(format!("{folder}/kustomization.yaml"), text);
    }
    Ok(files)
}

fn without_helm(document: &str) -> String {
    let mut text = HEADER.to_owned();
    for line in document.lines() {
        let start = line.trim_start();
        let indented = line.len() - start.len();
        let helm = HELM_LINES.iter().any(|prefix| start.starts_with(prefix)) && indented <= 4;
        // Comments are in the chart and in the files of the stack.
        if !helm && !start.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    format!("{}\n", text.trim_end())
}

/// The generated files, relative to the folder.
fn generated(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["base", "components/prometheus-operator"] {
        // Before the first run there is no folder.
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let name = entry?.file_name();
            found.push(format!("{folder}/{}", name.to_string_lossy()));
        }
    }
    Ok(found)
}

/// Kustomize must build the base and the example, and the example must change what it says.
///
/// # Errors
/// With kustomize's reason.
pub(crate) fn build(workspace: &Workspace, kubectl: &Path) -> Result<String> {
    let root = workspace.root().join(KUSTOMIZE);
    let objects = |folder: &str| -> Result<Vec<serde_json::Value>> {
        let text = example_text(kubectl, &root.join(folder))?;
        documents(&text).into_iter().map(parse).collect()
    };
    let base = objects("base")?;
    let example = objects(EXAMPLE)?;
    let deployment = find(&example, "Deployment", "leak-lab")?;
    ensure!(
        *at(deployment, "/metadata/namespace") == "leak-lab",
        "{deployment}"
    );
    ensure!(*at(deployment, "/spec/replicas") == 3, "{deployment}");
    ensure!(find(&base, "PodMonitor", "leak-lab").is_err());
    find(&example, "PodMonitor", "leak-lab")?;
    Ok(format!("{} and {} objects", base.len(), example.len()))
}

/// The example as kustomize builds it.
///
/// # Errors
/// With kustomize's reason.
pub(crate) fn example(workspace: &Workspace, kubectl: &Path) -> Result<String> {
    example_text(kubectl, &workspace.root().join(KUSTOMIZE).join(EXAMPLE))
}

fn example_text(kubectl: &Path, folder: &Path) -> Result<String> {
    run_quietly(Command::new(kubectl).arg("kustomize").arg(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_helm_is_left_out() {
        let document = "# Source: a\nkind: A\nmetadata:\n  # A comment.\n  namespace: default\n  labels:\n    \
                        helm.sh/chart: a-1\n    a: b\ndata:\n  text: |\n      namespace: default\n";
        let expected = format!(
            "{HEADER}kind: A\nmetadata:\n  labels:\n    a: b\ndata:\n  text: |\n      \
             namespace: default\n"
        );
        assert_eq!(without_helm(document), expected);
    }
}
