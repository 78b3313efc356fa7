//! Builds the guests as components, and places the shipped ones where the host loads them from.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, Message, MetadataCommand, Package, TargetKind};

use crate::report;
use crate::workspace::{PLUGIN_TARGET, Workspace};

/// The plugins of the README's exercises. Each of their requests retains exactly one object.
pub const EXERCISES: [&str; 3] = ["cache", "history", "listeners"];

/// The plugin that others are copied from. It is not shipped.
const TEMPLATE: &str = "template";

/// The folder in `plugins/` whose members are shipped like those directly in `plugins/`.
const PATTERNS: &str = "patterns";

/// The file in a folder of components that lists those that this module placed there. Any other
/// file came by hand or through the admin API and is never removed here.
const PLACED_LIST: &str = ".shipped";

/// Which members of the plugins' workspace to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// The plugins that the lab offers.
    Shipped,
    /// Also the template and the fixtures.
    All,
}

/// Builds the members for wasm and places the shipped ones into [`Workspace::components`]. Returns
/// each crate's name and component file.
///
/// # Errors
/// When a member does not build, or a component cannot be copied.
pub fn build(workspace: &Workspace, members: Members) -> Result<BTreeMap<String, PathBuf>> {
    let plugins = list(workspace)?;
    let shipped: Vec<&str> = plugins
        .iter()
        .filter(|plugin| plugin.shipped)
        .map(|plugin| plugin.name.as_str())
        .collect();
    if shipped.is_empty() {
        let source = workspace.plugins_source();
        bail!("{} has no plugin to ship", source.display());
    }
    let packages = match members {
        Members::Shipped => {
            let names = shipped.join(", ");
            report::announce(format_args!(
                "building the plugins for {PLUGIN_TARGET}: {names}"
            ));
            Some(shipped.as_slice())
        }
        Members::All => {
            report::announce(format_args!(
                "building all plugins and fixtures for {PLUGIN_TARGET}"
            ));
            None
        }
    };
    let built = compile(workspace, &plugins, packages)?;
    let mut placed = Vec::new();
    for name in shipped {
        let component = built
            .get(name)
            .with_context(|| format!("cargo built no component for {name}"))?;
        placed.push((format!("{name}.wasm"), component.clone()));
    }
    place(&placed, &workspace.components())?;
    Ok(built)
}

/// Builds one member for wasm without shipping it, such as a fixture that misbehaves. Returns its
/// component file.
///
/// # Errors
/// When there is no such member, or it does not build.
pub fn build_one(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    report::announce(format_args!("building {name} for {PLUGIN_TARGET}"));
    compile(workspace, &list(workspace)?, Some(&[name]))?
        .remove(name)
        .with_context(|| format!("cargo built no component for {name}"))
}

/// Copies every component of a folder into another one, which is created.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "wasm") {
            fs::copy(entry.path(), to.join(entry.file_name()))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Builds these packages for wasm, or the whole workspace. Returns each plugin's name and component
/// file.
fn compile(
    workspace: &Workspace,
    plugins: &[Plugin],
    packages: Option<&[&str]>,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = workspace.plugins_wasm_cargo();
    cargo.args(["build", "--release", "--target", PLUGIN_TARGET]);
    match packages {
        Some(names) => cargo.args(names.iter().flat_map(|name| ["--package", name])),
        None => cargo.arg("--workspace"),
    };
    // Cargo reports each component's path, which depends on the profile and the target folder.
    cargo
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = cargo
        .spawn()
        .with_context(|| format!("cannot start {cargo:?}"))?;
    let stdout = child
        .stdout
        .take()
        .context("cargo's messages were not captured")?;
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's messages")?
        else {
            continue;
        };
        let mut files = artifact.filenames.iter();
        let component = files.find(|file| file.extension() == Some("wasm"));
        let owner = plugins
            .iter()
            .find(|plugin| plugin.package == artifact.package_id.repr);
        if let (Some(component), Some(owner)) = (component, owner) {
            built.insert(owner.name.clone(), component.clone().into_std_path_buf());
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the plugins do not build: {status}");
    }
    Ok(built)
}

/// A member of the plugins' workspace that becomes a component.
#[derive(Debug)]
struct Plugin {
    name: String,
    package: String,
    shipped: bool,
}

fn list(workspace: &Workspace) -> Result<Vec<Plugin>> {
    let source = workspace.plugins_source();
    let metadata = MetadataCommand::new()
        .manifest_path(source.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata cannot read the plugins' workspace")?;
    let becomes_component = |package: &&Package| {
        package.targets.iter().any(|target| {
            target.kind.contains(&TargetKind::CDyLib)
                || target.crate_types.contains(&CrateType::CDyLib)
        })
    };
    Ok(metadata
        .workspace_packages()
        .into_iter()
        .filter(becomes_component)
        .map(|package| Plugin {
            name: package.name.to_string(),
            package: package.id.repr.clone(),
            shipped: is_shipped(package.manifest_path.as_std_path(), &source),
        })
        .collect())
}

/// True for a crate directly in `plugins/`, except the template, and for one directly in
/// `plugins/patterns/`.
fn is_shipped(manifest: &Path, source: &Path) -> bool {
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(source).ok());
    folder.is_some_and(|folder| {
        let within = folder.strip_prefix(PATTERNS).unwrap_or(folder);
        within.components().count() == 1 && folder != Path::new(TEMPLATE)
    })
}

/// Places these components into `folder`, and removes those that were placed before and are not
/// among them. Each file is replaced by a rename, so that a host that loads it never reads half a
/// file.
fn place(components: &[(String, PathBuf)], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, component) in components {
        let (new, place) = (folder.join(format!("{name}.new")), folder.join(name));
        fs::copy(component, &new)
            .and_then(|_| fs::rename(&new, &place))
            .with_context(|| {
                format!("cannot copy {} to {}", component.display(), place.display())
            })?;
    }
    let list = folder.join(PLACED_LIST);
    let before = match fs::read_to_string(&list) {
        Ok(before) => before,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(format!("cannot read {}", list.display())),
    };
    for name in before.lines() {
        let path = folder.join(name);
        let kept = components.iter().any(|(kept, _)| name == kept);
        if !kept && path.exists() {
            eprintln!(
                "removing {}: this plugin is no longer shipped",
                path.display()
            );
            fs::remove_file(&path)?;
        }
    }
    let names: Vec<_> = components.iter().map(|(name, _)| name.as_str()).collect();
    fs::write(&list, names.join("\n"))
        .with_context(|| format!("cannot write {}", list.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_directly_in_plugins_and_in_patterns_are_shipped() {
        let source = Path::new("/lab/plugins");
        for (manifest, shipped) in [
            ("/lab/plugins/cache/Cargo.toml", true),
            ("/lab/plugins/patterns/sessions/Cargo.toml", true),
            ("/lab/plugins/patterns/sessions/inner/Cargo.toml", false),
            ("/lab/plugins/template/Cargo.toml", false),
            ("/lab/plugins/fixtures/traps/Cargo.toml", false),
            ("/elsewhere/cache/Cargo.toml", false),
        ] {
            let is_shipped = is_shipped(Path::new(manifest), source);
            assert_eq!(is_shipped, shipped, "{manifest}");
        }
    }

    #[test]
    fn placing_replaces_what_was_placed_and_keeps_other_files() {
        let temp = tempfile::tempdir().unwrap();
        let component = temp.path().join("built.wasm");
        fs::write(&component, "new").unwrap();
        let folder = temp.path().join("plugins");
        fs::create_dir(&folder).unwrap();
        for (name, content) in [
            ("cache.wasm", "old"),
            ("gone.wasm", "old"),
            ("mine.wasm", "mine"),
            (PLACED_LIST, "cache.wasm\ngone.wasm"),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        place(&[("cache.wasm".to_owned(), component)], &folder).unwrap();
        let read = |name| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("cache.wasm"), "new");
        assert_eq!(read(PLACED_LIST), "cache.wasm");
        assert!(!folder.join("gone.wasm").exists(), "no longer shipped");
        assert!(folder.join("mine.wasm").exists(), "not placed from here");
        let files = fs::read_dir(&folder).unwrap().count();
        assert_eq!(files, 3, "no temporary file is left");
    }

    #[test]
    fn only_components_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a.wasm"), b"a").unwrap();
        fs::write(from.join("b.txt"), b"b").unwrap();
        copy_all(&from, &to).unwrap();
        let copied: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(copied, ["a.wasm"]);
        assert!(copy_all(&folder.path().join("missing"), &to).is_err());
    }
}
