//! `cargo xtask new-plugin NAME`: a new plugin from the template.
//!
//! Inside this repository it becomes one of `plugins/patterns/`, and no other file changes.
//! Elsewhere (`--path`) it is independent: its manifest writes out what it would inherit here, and
//! names the SDK by path or by Git address. The SDK contains the contract.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xtask_support::workspace::{PLUGIN_TARGET, Workspace};

use self::name::PluginName;

mod manifest;
mod name;

/// Arguments of `cargo xtask new-plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The plugin's id, also the name of its crate and folder: kebab-case, like session-store.
    name: PluginName,
    /// Make the plugin in this folder instead of plugins/patterns, as an independent crate.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// With --path: name the SDK by this Git address instead of by the path to this checkout.
    #[arg(long, value_name = "URL", requires = "path")]
    sdk_git: Option<String>,
}

/// # Errors
/// When there is a plugin of this name, or a file cannot be written. No file is left behind then.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let source = workspace.plugins_source();
    let made = make(&source, args)?;
    println!(
        "made {}\n\nnext:\n",
        relative(&made, workspace.root()).display()
    );
    for command in next_commands(&made, &args.name, args.path.is_some()) {
        println!("  {command}");
    }
    println!("\ndocs/authoring.md describes the rest.");
    Ok(ExitCode::SUCCESS)
}

/// Writes the crate and returns its folder.
fn make(source: &Path, args: &Args) -> Result<PathBuf> {
    let name = &args.name;
    for taken in [
        source.join(name.id()),
        source.join("patterns").join(name.id()),
    ] {
        ensure!(
            !taken.exists(),
            "{} exists already: choose another name",
            taken.display()
        );
    }
    let parent = match &args.path {
        None => source.join("patterns"),
        Some(folder) => {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            let folder = folder
                .canonicalize()
                .with_context(|| format!("cannot find {}", folder.display()))?;
            ensure!(
                !folder.starts_with(source),
                "{} belongs to the plugins of this repository: leave out --path",
                folder.display()
            );
            folder
        }
    };
    let folder = parent.join(name.id());
    ensure!(
        !folder.exists(),
        "{} exists already: choose another name or another --path",
        folder.display()
    );
    let mut files = vec![(PathBuf::from("src/lib.rs"), library(source, name)?)];
    if args.path.is_some() {
        let manifest = manifest::independent(source, name, args.sdk_git.as_deref())?;
        files.push(("Cargo.toml".into(), manifest));
        files.push((".gitignore".into(), "/target\n".to_owned()));
        let toolchain = "rust-toolchain.toml";
        let root = source.parent().unwrap_or(source);
        files.push((toolchain.into(), read(&root.join(toolchain))?));
    } else {
        files.push((
            "Cargo.toml".into(),
            manifest::workspace_member(source, name)?,
        ));
    }
    if let Err(error) = write(&folder, &files) {
        // The first error is the reason; the folder may not exist yet.
        let _ignored = fs::remove_dir_all(&folder);
        return Err(error);
    }
    Ok(folder)
}

fn write(folder: &Path, files: &[(PathBuf, String)]) -> Result<()> {
    for (file, text) in files {
        let file = folder.join(file);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The template's source with the plugin's own names.
fn library(source: &Path, name: &PluginName) -> Result<String> {
    const TITLE: &str = "const TITLE: &'static str = \"Template\"";
    let text = read(&source.join("template/src/lib.rs"))?;
    let title = TITLE.replace("Template", &name.title());
    let (before, after) = text
        .split_once(TITLE)
        .context("the template has no title to replace")?;
    // Everywhere else the word is part of a type's name.
    let rename = |part: &str| part.replace("Template", &name.type_name());
    Ok(format!("{}{title}{}", rename(before), rename(after)))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The next three steps, as commands to paste.
fn next_commands(made: &Path, name: &PluginName, independent: bool) -> [String; 3] {
    let id = name.id();
    if !independent {
        return [
            format!("(cd plugins && cargo test -p {id})"),
            "cargo xtask run    # or, if a lab runs already: cargo xtask plugins".to_owned(),
            format!(
                "curl -s -X POST localhost:8080/admin/leaks/{id} -d '{{\"enabled\": true}}' | jq"
            ),
        ];
    }
    let component = format!("target/{PLUGIN_TARGET}/release/{}.wasm", name.crate_name());
    [
        format!("cd {} && cargo test", made.display()),
        format!("cargo build --release --target {PLUGIN_TARGET}"),
        format!(
            "curl -s -X PUT --data-binary @{component} localhost:8080/admin/plugins/{id} | jq    \
             # into a lab that runs"
        ),
    ]
}

fn relative<'a>(path: &'a Path, root: &Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use cargo_metadata::MetadataCommand;

    use super::*;

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../plugins")
            .canonicalize()
            .unwrap()
    }

    fn args(name: &str, path: Option<&Path>) -> Args {
        Args {
            name: name.parse().unwrap(),
            path: path.map(Path::to_owned),
            sdk_git: None,
        }
    }

    #[test]
    fn a_plugin_outside_the_repository_is_an_independent_crate() {
        let temp = tempfile::tempdir().unwrap();
        let made = make(&source(), &args("session-store", Some(temp.path()))).unwrap();
        let metadata = MetadataCommand::new()
            .manifest_path(made.join("Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        assert_eq!(metadata.workspace_root, made.to_str().unwrap());
        let package = &metadata.packages[0];
        assert_eq!(package.name.as_str(), "session-store");
        assert_eq!(
            package.metadata["component"]["package"],
            "leak-lab:session-store"
        );
        let sdk = package
            .dependencies
            .iter()
            .find(|dependency| dependency.name == "leak-plugin-sdk")
            .unwrap();
        let path = sdk.path.as_ref().unwrap();
        assert!(path.join("Cargo.toml").exists(), "{path}");
        assert!(made.join("rust-toolchain.toml").exists());

        let library = fs::read_to_string(made.join("src/lib.rs")).unwrap();
        assert!(library.contains("\"Session store\""), "{library}");
        assert!(library.contains("pub struct SessionStoreSettings"));
        assert!(library.contains("export!(SessionStore)"));
        assert!(!library.to_lowercase().contains("template"), "{library}");
    }

    #[test]
    fn a_taken_name_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["cache", "sessions"] {
            let error = make(&source(), &args(name, Some(temp.path()))).unwrap_err();
            assert!(error.to_string().contains("another name"), "{error}");
        }
        fs::create_dir(temp.path().join("mine")).unwrap();
        let error = make(&source(), &args("mine", Some(temp.path()))).unwrap_err();
        assert!(error.to_string().contains("another name"), "{error}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_next_commands_name_the_component_file_of_cargo() {
        let name = "session-store".parse().unwrap();
        let [_, _, put] = next_commands(Path::new("/elsewhere/session-store"), &name, true);
        assert!(put.contains("release/session_store.wasm"), "{put}");
        assert!(put.contains("/admin/plugins/session-store"), "{put}");
    }
}
