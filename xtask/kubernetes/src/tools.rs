//! The programs that the tests need, built or unpacked once into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::chart::at;
use anyhow::{Context, Result};
use xtask_support::go::{environment, go, last_line};
use xtask_support::tools::{Fetch, obtain, on_path, run_quietly};

/// A program of one Go module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// The name of the executable file.
    name: &'static str,
    /// The name of its folder in the cache.
    folder: &'static str,
    /// The version of the module, without the `v`.
    version: &'static str,
    package: &'static str,
    tags: &'static str,
}

pub(crate) const HELM_4: Tool = Tool {
    name: "helm",
    folder: "helm",
    version: "4.3.2",
    package: "helm.sh/helm/v4/cmd/helm",
    tags: "",
};
pub(crate) const HELM_3: Tool = Tool {
    version: "3.22.0",
    package: "helm.sh/helm/v3/cmd/helm",
    ..HELM_4
};
pub(crate) const KUBECONFORM: Tool = Tool {
    name: "kubeconform",
    folder: "kubeconform",
    version: "0.8.0",
    package: "github.com/yannh/kubeconform/cmd/kubeconform",
    tags: "",
};
/// The program that `cargo xtask stack` builds too, in the same folder.
pub(crate) const PROMTOOL: Tool = Tool {
    name: "promtool",
    folder: "prometheus-dns",
    version: "0.316.0",
    package: "github.com/prometheus/prometheus/cmd/promtool",
    tags: "remove_all_sd,enable_dns_sd",
};

impl Tool {
    /// The program's path. If the cache has none, it is built.
    ///
    /// # Errors
    /// When it cannot be built.
    pub(crate) fn obtain(self) -> Result<PathBuf> {
        let build = |folder: &Path| {
            on_path("go").context("Go is not installed")?;
            let module = format!("{}@v{}", self.package, self.version);
            go(folder, &["install", "-tags", self.tags, &module]).map_err(last_line)
        };
        let folder = obtain(
            Fetch::IfMissing,
            self.folder,
            self.version,
            self.name,
            build,
        )?;
        Ok(folder.join(self.name))
    }
}

/// The version of the API server and of `kubectl`, without the `v1.`: its modules for clients are
/// `v0.` and the same number. 1.38 needs Go 1.27.
const KUBERNETES: &str = "37.2";

/// `kubectl`, which contains kustomize.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn kubectl() -> Result<PathBuf> {
    kubernetes_program("kubectl")
}

/// The API server.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn kube_apiserver() -> Result<PathBuf> {
    kubernetes_program("kube-apiserver")
}

fn kubernetes_program(name: &str) -> Result<PathBuf> {
    let version = format!("1.{KUBERNETES}");
    let build = |folder: &Path| {
        on_path("go").context("Go is not installed")?;
        build_kubernetes(folder, name, &version).map_err(last_line)
    };
    let folder = obtain(Fetch::IfMissing, "kubernetes", &version, name, build)?;
    Ok(folder.join(name))
}

/// Builds a program of `k8s.io/kubernetes`. Its go.mod replaces the client modules by folders that
/// the module does not contain, so each gets its published version.
fn build_kubernetes(folder: &Path, name: &str, version: &str) -> Result<()> {
    let module = format!("k8s.io/kubernetes@v{version}");
    let package = format!("k8s.io/kubernetes/cmd/{name}");
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    go(&source, &["mod", "init", "leak-lab.invalid/tool"])?;
    let mut download = Command::new("go");
    environment(
        &source,
        download.args(["mod", "download", "-json", &module]),
    );
    let answer = run_quietly(&mut download)?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let manifest = at(&answer, "/GoMod")
        .as_str()
        .context("go names no go.mod")?;
    let manifest = fs::read_to_string(manifest)?;
    let mut edit = vec!["mod".to_owned(), "edit".to_owned()];
    edit.push(format!("-require={module}"));
    for client in client_modules(&manifest) {
        edit.push(format!("-replace={client}={client}@v0.{KUBERNETES}"));
    }
    let edit: Vec<&str> = edit.iter().map(String::as_str).collect();
    go(&source, &edit)?;
    let import = format!("package tool\n\nimport _ {:?}\n", format!("{package}/app"));
    let import = match name {
        "kubectl" => "package tool\n\nimport _ \"k8s.io/kubectl/pkg/cmd\"\n".to_owned(),
        _ => import,
    };
    fs::write(source.join("tool.go"), import)?;
    go(&source, &["get", &package])?;
    let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion=v{version}");
    go(
        &source,
        &["build", "-o", name, "-ldflags", &flags, &package],
    )?;
    fs::rename(source.join(name), folder.join(name))?;
    fs::remove_dir_all(source).context("cannot remove the sources")
}

/// The modules that a go.mod replaces by folders of its repository.
fn client_modules(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"))
        .map(|(module, _)| module.trim_start_matches("replace "))
        .collect()
}

/// etcd: on `PATH`, or unpacked from Debian's package.
///
/// # Errors
/// When neither is available.
pub(crate) fn etcd() -> Result<PathBuf> {
    if let Ok(installed) = on_path("etcd") {
        return Ok(installed);
    }
    let folder = obtain(
        Fetch::IfMissing,
        "etcd",
        "debian",
        "usr/bin/etcd",
        |folder| {
            on_path("apt-get").context("etcd is not installed")?;
            let mut download = Command::new("apt-get");
            download
                .args(["download", "etcd-server"])
                .current_dir(folder);
            if run_quietly(&mut download).is_err() {
                // The lists of packages are old, or there are none.
                run_quietly(Command::new("apt-get").arg("update"))?;
                run_quietly(&mut download)?;
            }
            let package = fs::read_dir(folder)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|path| path.extension().is_some_and(|end| end == "deb"))
                .context("apt-get left no package")?;
            run_quietly(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
            Ok(())
        },
    )?;
    Ok(folder.join("usr/bin/etcd"))
}

/// The folder of a Go module's files.
///
/// # Errors
/// When it cannot be fetched.
pub(crate) fn go_module(module: &str) -> Result<PathBuf> {
    on_path("go").context("Go is not installed")?;
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", module]);
    let answer = run_quietly(&mut download)?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let folder = at(&answer, "/Dir").as_str().context("go names no folder")?;
    Ok(PathBuf::from(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_the_repository_are_replaced() {
        let manifest = "require a v1\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                        \tother => elsewhere v2\n)\n";
        assert_eq!(client_modules(manifest), ["k8s.io/api"]);
    }
}
