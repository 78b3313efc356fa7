//! `cargo xtask plugins`: builds the guests as components and puts the shipped ones where the host
//! looks for them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, Message, MetadataCommand, Package, TargetKind};

use crate::workspace::{PLUGIN_TARGET, Workspace};
use crate::{progress, toolchain};

/// The plugins of the README's exercises, which promise more than others: each request leaves one object behind.
pub(crate) const EXERCISES: [&str; 3] = ["cache", "history", "listeners"];

/// A plugin to copy from, not to ship.
const TEMPLATE: &str = "template";

/// Where patterns lie beside those that lie directly in `plugins/`.
const PATTERNS: &str = "patterns";

/// Arguments of `cargo xtask plugins`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also build the fixtures that the host's tests load.
    #[arg(long)]
    fixtures: bool,
}

/// Which members of the plugins' workspace to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    /// What the lab offers to a learner.
    Shipped,
    /// Everything, with the template and the fixtures.
    All,
}

/// Entry of the subcommand.
///
/// # Errors
/// When a target cannot be added or a plugin does not build.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    toolchain::ensure_wasm_targets(workspace)?;
    let members = if args.fixtures {
        Members::All
    } else {
        Members::Shipped
    };
    let built = build(workspace, members)?;
    for (name, component) in &built {
        println!(
            "{name:<28} {:>6} KiB  {}",
            fs::metadata(component)?.len() / 1024,
            component.display()
        );
    }
    println!(
        "components for the host: {}",
        workspace.components().display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the members for wasm and puts the shipped ones into [`Workspace::components`]. Answers
/// with each crate's name and component file.
///
/// # Errors
/// When a member does not build, or the components cannot be copied.
pub(crate) fn build(workspace: &Workspace, members: Members) -> Result<BTreeMap<String, PathBuf>> {
    let plugins = list(workspace)?;
    let shipped: Vec<&str> = plugins
        .iter()
        .filter(|plugin| plugin.shipped)
        .map(|plugin| plugin.name.as_str())
        .collect();
    if shipped.is_empty() {
        bail!(
            "{} has no plugin to ship",
            workspace.plugins_source().display()
        );
    }

    let packages = match members {
        Members::Shipped => {
            progress::announce(format_args!(
                "building the plugins for {PLUGIN_TARGET}: {}",
                shipped.join(", ")
            ));
            Some(shipped.as_slice())
        }
        Members::All => {
            progress::announce(format_args!(
                "building all plugins and fixtures for {PLUGIN_TARGET}"
            ));
            None
        }
    };
    let built = compile(workspace, &plugins, packages)?;

    let mut ship = Vec::new();
    for name in shipped {
        let component = built
            .get(name)
            .with_context(|| format!("cargo built no component for {name}"))?;
        ship.push((format!("{name}.wasm"), component.clone()));
    }
    put(&ship, &workspace.components())?;
    Ok(built)
}

/// Builds one member for wasm, without shipping it: a fixture, for what needs a plugin that misbehaves.
///
/// # Errors
/// When there is none of this name, or it does not build.
pub(crate) fn build_one(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    progress::announce(format_args!("building {name} for {PLUGIN_TARGET}"));
    compile(workspace, &list(workspace)?, Some(&[name]))?
        .remove(name)
        .with_context(|| format!("cargo built no component for {name}"))
}

/// Builds these packages for wasm, or all of the workspace. Answers with each plugin's name and component file.
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
    // Cargo itself says where it put each component, whatever the profile or the target folder.
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
    for message in Message::parse_stream(std::io::BufReader::new(stdout)) {
        let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's messages")?
        else {
            continue;
        };
        let component = artifact
            .filenames
            .iter()
            .find(|file| file.extension() == Some("wasm"));
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
        .context("cargo metadata does not understand the plugins' workspace")?;
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

/// What lies directly in `plugins/` is shipped, except the template, and so is each of the patterns.
fn is_shipped(manifest: &Path, source: &Path) -> bool {
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(source).ok());
    folder.is_some_and(|folder| {
        let within = folder.strip_prefix(PATTERNS).unwrap_or(folder);
        within.components().count() == 1 && folder != Path::new(TEMPLATE)
    })
}

/// Where a folder of components says which of them were put there by these commands. What else is there was put
/// there by somebody else, by hand or through the admin API, and is theirs to remove.
const SHIPPED: &str = ".shipped";

/// Makes `folder` hold these components, and of those that were put there before, none that is not
/// among them. Each is replaced by a rename, so that a host that is just loading never sees half a file.
fn put(components: &[(String, PathBuf)], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, component) in components {
        let (new, place) = (folder.join(format!("{name}.new")), folder.join(name));
        fs::copy(component, &new)
            .and_then(|_| fs::rename(&new, &place))
            .with_context(|| {
                format!("cannot copy {} to {}", component.display(), place.display())
            })?;
    }
    let list = folder.join(SHIPPED);
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
                "removing {}: no plugin of this name is shipped any more",
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
    fn what_lies_directly_in_plugins_and_the_patterns_are_shipped() {
        let source = Path::new("/lab/plugins");
        for (manifest, shipped) in [
            ("/lab/plugins/cache/Cargo.toml", true),
            ("/lab/plugins/patterns/sessions/Cargo.toml", true),
            ("/lab/plugins/patterns/sessions/inner/Cargo.toml", false),
            ("/lab/plugins/template/Cargo.toml", false),
            ("/lab/plugins/fixtures/traps/Cargo.toml", false),
            ("/elsewhere/cache/Cargo.toml", false),
        ] {
            assert_eq!(
                is_shipped(Path::new(manifest), source),
                shipped,
                "{manifest}"
            );
        }
    }

    #[test]
    fn the_folder_holds_what_is_shipped_and_nothing_older() {
        let temp = tempfile::tempdir().unwrap();
        let component = temp.path().join("built.wasm");
        fs::write(&component, "new").unwrap();
        let folder = temp.path().join("plugins");
        fs::create_dir(&folder).unwrap();
        for (name, content) in [
            ("cache.wasm", "old"),
            ("gone.wasm", "old"),
            ("mine.wasm", "mine"),
            (SHIPPED, "cache.wasm\ngone.wasm"),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        put(&[("cache.wasm".to_owned(), component)], &folder).unwrap();
        assert_eq!(
            fs::read_to_string(folder.join("cache.wasm")).unwrap(),
            "new"
        );
        assert!(!folder.join("gone.wasm").exists(), "not shipped any more");
        assert!(folder.join("mine.wasm").exists(), "not ours to remove");
        assert_eq!(
            fs::read_to_string(folder.join(SHIPPED)).unwrap(),
            "cache.wasm"
        );
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            3,
            "no half-written file is left"
        );
    }
}
