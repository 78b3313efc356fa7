//! The rendered objects against the schemas of Kubernetes and of the operators' own objects.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use xtask_support::report::Report;
use xtask_support::tools::python_environment;

use crate::chart::{Chart, at, parse};
use crate::tools::{KUBECONFORM, go_module};
use crate::value_sets::VALUE_SETS;

/// A Python package with the schemas of many versions of Kubernetes.
const KUBERNETES_SCHEMAS: &str = "kubernetes-validate==1.37.0";

/// The versions that the objects must fit.
const VERSIONS: [&str; 3] = ["1.35.0", "1.36.0", "1.37.0"];

/// The kinds of the chart's objects. A missing one is an error of kubeconform.
const KINDS: [&str; 6] = [
    "configmap-",
    "deployment-",
    "networkpolicy-",
    "poddisruptionbudget-",
    "secret-",
    "service-",
];

/// The module whose files contain the definitions of PodMonitor and PrometheusRule.
const PROMETHEUS_OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";

/// TestRun, with the fields that k6-operator's documentation names and the chart uses. Its own
/// definition is in no registry that builds may use.
const TEST_RUN: &str = include_str!("testrun.yaml");

/// The definitions of the objects that are no part of Kubernetes.
///
/// # Errors
/// When they cannot be fetched.
pub(crate) fn definitions() -> Result<Vec<String>> {
    let folder = go_module(PROMETHEUS_OPERATOR)?.join("example/prometheus-operator-crd");
    let mut definitions = vec![TEST_RUN.to_owned()];
    for name in ["podmonitors", "prometheusrules"] {
        let file = folder.join(format!("monitoring.coreos.com_{name}.yaml"));
        let text = fs::read_to_string(&file);
        definitions.push(text.with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(definitions)
}

/// Runs kubeconform with every set of values and every version.
pub(crate) fn check(chart: &Chart, report: &mut Report) {
    let name = "kubeconform";
    let found = KUBECONFORM
        .obtain()
        .and_then(|program| Ok((program, kubernetes_schemas()?, definitions()?)));
    let (program, kubernetes, definitions) = match found {
        Ok(found) => found,
        Err(reason) => return report.skip(name, format_args!("{reason:#}")),
    };
    for version in VERSIONS {
        report.check(&format!("{name} -strict, Kubernetes {version}"), || {
            let folder = tempfile::tempdir()?;
            write_schemas(&definitions, folder.path())?;
            let strict = kubernetes.join(format!("v{version}-local-strict"));
            copy_schemas(&strict, folder.path())?;
            let mut objects = 0;
            for set in VALUE_SETS {
                let rendered = chart.template(set.values, &["--kube-version", version])?;
                let locations = [
                    "{{.ResourceKind}}{{.KindSuffix}}.json",
                    "{{.ResourceKind}}.json",
                ]
                .map(|name| folder.path().join(name));
                objects +=
                    validate(&program, version, &locations, &rendered).with_context(|| set.name)?;
            }
            Ok(format!("{objects} objects"))
        });
    }
}

/// The folder of the schemas.
fn kubernetes_schemas() -> Result<PathBuf> {
    let bin = python_environment(KUBERNETES_SCHEMAS)?;
    let lib = bin.with_file_name("lib");
    let python = fs::read_dir(&lib)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("site-packages").is_dir())
        .with_context(|| format!("{} has no packages", lib.display()))?;
    Ok(python.join("site-packages/kubernetes_validate/kubernetes-json-schema"))
}

/// Copies the schemas of one version of Kubernetes. The package resolves references by an address
/// of its own; kubeconform needs them relative to the file.
fn copy_schemas(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("there is no {}", from.display()))?;
    for entry in entries {
        let file = entry?.path();
        let name = file.file_name().context("a file without a name")?;
        let used = name.to_str().is_some_and(|name| {
            name == "_definitions.json" || KINDS.iter().any(|kind| name.starts_with(kind))
        });
        if !used {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let text = text.replace("\"/api/_definitions.json#", "\"_definitions.json#");
        let mut schema: Value = serde_json::from_str(&text)?;
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("$id");
        }
        fs::write(to.join(name), schema.to_string())?;
    }
    Ok(())
}

/// Returns the number of valid objects.
fn validate(program: &Path, version: &str, locations: &[PathBuf], rendered: &str) -> Result<u64> {
    let mut kubeconform = Command::new(program);
    kubeconform.args(["-strict", "-summary", "-output", "json"]);
    kubeconform.args(["-kubernetes-version", version]);
    for location in locations {
        kubeconform.arg("-schema-location").arg(location);
    }
    let mut child = kubeconform
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start kubeconform")?;
    let mut stdin = child.stdin.take().context("kubeconform has no input")?;
    // It reads everything before it writes its summary.
    stdin.write_all(rendered.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&text)
        .with_context(|| format!("no answer: {}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(output.status.success(), "{}", at(&answer, "/resources"));
    let summary = at(&answer, "/summary");
    ensure!(
        *at(summary, "/skipped") == 0,
        "objects without a schema: {text}"
    );
    let valid = at(summary, "/valid").as_u64().unwrap_or_default();
    ensure!(valid > 0, "no objects");
    Ok(valid)
}

/// Writes a strict JSON Schema for each definition: a field that it does not name is an error.
fn write_schemas(definitions: &[String], folder: &Path) -> Result<()> {
    for definition in definitions {
        let definition = parse(definition)?;
        let kind = at(&definition, "/spec/names/kind").as_str();
        let kind = kind.context("a definition without a kind")?;
        let mut schema = at(&definition, "/spec/versions/0/schema/openAPIV3Schema").clone();
        ensure!(schema.is_object(), "{kind} has no schema");
        forbid_unknown_fields(&mut schema);
        // The API server knows these two by itself.
        if let Some(metadata) = schema.pointer_mut("/properties/metadata") {
            *metadata = serde_json::json!({"type": "object"});
        }
        let file = folder.join(format!("{}.json", kind.to_lowercase()));
        fs::write(file, schema.to_string())?;
    }
    Ok(())
}

fn forbid_unknown_fields(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let open = fields.contains_key("additionalProperties")
                || fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            // `properties` is also the name of a field somewhere: there it is no map of schemas.
            let named = fields.get("properties").is_some_and(Value::is_object);
            if named && !open {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            if fields.remove("x-kubernetes-int-or-string") == Some(Value::Bool(true)) {
                fields.insert("type".to_owned(), serde_json::json!(["integer", "string"]));
                fields.remove("anyOf");
            }
            for name in ["properties", "items", "additionalProperties"] {
                if let Some(inner) = fields.get_mut(name) {
                    if name == "properties" {
                        let schemas = inner.as_object_mut().map(Map::values_mut);
                        schemas
                            .into_iter()
                            .flatten()
                            .for_each(forbid_unknown_fields);
                    } else {
                        forbid_unknown_fields(inner);
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_unknown_fields),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_no_definition_names_is_an_error() {
        let mut schema = json!({"properties": {
            "a": {"type": "object", "properties": {"b": {}}},
            "c": {"type": "object", "additionalProperties": {"type": "string"}},
            "d": {"properties": {}, "x-kubernetes-preserve-unknown-fields": true},
            "e": {"anyOf": [], "x-kubernetes-int-or-string": true},
        }});
        forbid_unknown_fields(&mut schema);
        assert_eq!(schema["additionalProperties"], false);
        let fields = &schema["properties"];
        assert_eq!(fields["a"]["additionalProperties"], false);
        assert_eq!(fields["c"]["additionalProperties"]["type"], "string");
        assert_eq!(fields["d"].get("additionalProperties"), None);
        assert_eq!(fields["e"]["type"], json!(["integer", "string"]));
    }
}
