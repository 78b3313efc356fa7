//! Rendering the chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask_support::layout::CHART;
use xtask_support::tools::run_quietly;
use xtask_support::workspace::Workspace;

use crate::value_sets::VALUE_SETS;

/// The release's name, which is also that of the objects.
pub(crate) const RELEASE: &str = "leak-lab";

/// The version of the cluster for which the chart is rendered.
const KUBE_VERSION: &str = "1.37.0";

/// The chart and the Helm that renders it.
#[derive(Debug)]
pub(crate) struct Chart {
    folder: PathBuf,
    helm: PathBuf,
}

impl Chart {
    pub(crate) fn new(workspace: &Workspace, helm: &Path) -> Self {
        Self {
            folder: workspace.root().join(CHART),
            helm: helm.to_owned(),
        }
    }

    /// `helm lint --strict` with every set of values.
    ///
    /// # Errors
    /// With Helm's reason.
    pub(crate) fn lint(&self) -> Result<String> {
        for set in VALUE_SETS {
            let mut lint = Command::new(&self.helm);
            lint.args(["lint", "--strict", "--quiet"]).arg(&self.folder);
            for value in set.values {
                lint.args(["--set-json", value]);
            }
            run_quietly(&mut lint).with_context(|| set.name)?;
        }
        Ok(format!("{} sets of values", VALUE_SETS.len()))
    }

    /// The rendered text, with values as `--set-json` takes them.
    ///
    /// # Errors
    /// With Helm's reason.
    pub(crate) fn template(&self, values: &[&str], more: &[&str]) -> Result<String> {
        let mut template = Command::new(&self.helm);
        template.args(["template", RELEASE]).arg(&self.folder);
        for value in values {
            template.args(["--set-json", value]);
        }
        // A Helm that is built from its module takes the cluster for 1.20.
        if !more.contains(&"--kube-version") {
            template.args(["--kube-version", KUBE_VERSION]);
        }
        run_quietly(template.args(more))
    }

    /// `helm upgrade --install` into a namespace of a cluster.
    ///
    /// # Errors
    /// With Helm's reason.
    pub(crate) fn upgrade(&self, config: &Path, namespace: &str, values: &[&str]) -> Result<()> {
        let mut upgrade = Command::new(&self.helm);
        upgrade
            .args(["upgrade", "--install", RELEASE])
            .arg(&self.folder);
        upgrade
            .args(["--namespace", namespace, "--kubeconfig"])
            .arg(config);
        for value in values {
            upgrade.args(["--set-json", value]);
        }
        run_quietly(&mut upgrade)?;
        Ok(())
    }

    /// The rendered objects.
    ///
    /// # Errors
    /// When Helm refuses the values or an object is no YAML.
    pub(crate) fn objects(&self, values: &[&str]) -> Result<Vec<Value>> {
        documents(&self.template(values, &[])?)
            .into_iter()
            .map(parse)
            .collect()
    }

    /// Both versions of Helm must make the same objects.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) fn compare(&self, other: &Self) -> Result<String> {
        let mut objects = 0;
        for set in VALUE_SETS {
            let (mine, others) = (self.objects(set.values)?, other.objects(set.values)?);
            let named = |objects: &[Value]| {
                let mut named: Vec<_> = objects
                    .iter()
                    // Its token is random.
                    .filter(|object| *at(object, "/kind") != "Secret")
                    .map(|object| format!("{} {object}", title(object)))
                    .collect();
                named.sort();
                named
            };
            ensure!(named(&mine) == named(&others), "they differ: {}", set.name);
            objects += mine.len();
        }
        Ok(format!("{objects} objects"))
    }
}

/// The object of this kind and name.
///
/// # Errors
/// When there is none.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| *at(object, "/kind") == kind && *at(object, "/metadata/name") == name)
        .with_context(|| format!("there is no {kind} {name}"))
}

/// The value at a JSON pointer, or null.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Kind and name.
pub(crate) fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}",
        text(at(object, "/kind")),
        text(at(object, "/metadata/name"))
    )
}

/// The documents of rendered YAML. Scripts and dashboards are indented, so a line of three hyphens
/// is a separator.
pub(crate) fn documents(rendered: &str) -> Vec<&str> {
    let rendered = rendered.strip_prefix("---\n").unwrap_or(rendered);
    rendered
        .split("\n---\n")
        .filter(|document| {
            document
                .lines()
                .any(|line| !line.is_empty() && !line.starts_with('#'))
        })
        .collect()
}

/// Reads one YAML document.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(document: &str) -> Result<Value> {
    match serde_saphyr::from_str(document) {
        Ok(value) => Ok(value),
        Err(error) => bail!("no YAML: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_at_separators_and_empty_ones_are_left_out() {
        let rendered =
            "---\n# Source: a\nkind: A\ntext: |\n  ---\n---\n# Source: b\n\n---\nkind: B\n";
        let documents = documents(rendered);
        assert_eq!(documents.len(), 2);
        assert_eq!(parse(documents[0]).unwrap()["text"], "---\n");
        assert_eq!(parse(documents[1]).unwrap()["kind"], "B");
    }
}
