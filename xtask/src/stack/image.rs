//! `stack image-steps`: the steps of `compose/Dockerfile`, run without a container engine.
//!
//! A stage is a folder, an image's root file system is empty, and the machine's own toolchain stands for
//! that of the base image. What the last stage holds must serve like the service built in the checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::addresses::Addresses;
use super::dockerfile::{self, Instruction};
use super::process::Run;
use super::service::{Files, Service};
use super::{HostFiles, runs, tools};
use crate::plugins::EXERCISES;
use crate::progress;
use crate::workspace::Workspace;

/// Arguments of `stack image-steps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build from nothing, as an engine without a cache would. It compiles the wasm engine anew.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    host: HostFiles,
}

/// A build stage.
#[derive(Debug, Clone, Default)]
struct Stage {
    root: PathBuf,
    workdir: PathBuf,
    variables: Vec<(String, String)>,
}

impl Stage {
    /// Where a path of the container is on this machine.
    fn place(&self, path: &str) -> PathBuf {
        let inside = self.workdir.join(path);
        let relative = inside.strip_prefix("/").unwrap_or(&inside);
        self.root.join(relative.components().as_path())
    }
}

impl Stage {
    /// The value of an `ENV`, which may be that of an argument.
    fn value(&self, written: &str) -> String {
        let argument = written.strip_prefix('$').and_then(|name| {
            let mut variables = self.variables.iter().rev();
            variables.find(|(key, _)| key == name)
        });
        argument.map_or_else(|| written.to_owned(), |(_, value)| value.clone())
    }
}

/// Entry of the subcommand.
///
/// # Errors
/// When a step fails, or what the steps make does not serve.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let folder = tools::cache()?.with_file_name("image-steps");
    if args.fresh && folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let text = fs::read_to_string(workspace.root().join("compose/Dockerfile"))?;
    let image = build(workspace.root(), &dockerfile::parse(&text)?, &folder)?;
    let files = Files {
        binary: image.place("/leak-host"),
        plugins: image.place("/plugins"),
        revision: None,
    };
    let size = fs::metadata(&files.binary)?.len();
    let version = version_of(&files.binary)?;
    println!(
        "\nthe image's service: {version}, {:.1} MiB",
        size as f64 / 1_048_576.0
    );
    let plugins = serves(workspace, &files)?;
    if let Ok(own) = args.host.find(workspace) {
        let own_version = version_of(&own.binary)?;
        ensure!(
            version == own_version,
            "the checkout's own is {own_version}"
        );
        same(&plugins, &serves(workspace, &own)?)?;
        println!("the same version and the same plugins as the checkout's own");
    }
    Ok(ExitCode::SUCCESS)
}

fn build(context: &Path, instructions: &[Instruction], folder: &Path) -> Result<Stage> {
    let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
    let mut stage: Option<Stage> = None;
    let mut name = String::new();
    for instruction in instructions {
        if let Instruction::From { base, stage: next } = instruction {
            if let Some(done) = stage.take() {
                stages.insert(std::mem::take(&mut name), done);
            }
            name = next.clone().unwrap_or_else(|| "image".to_owned());
            let mut begun = stages.get(base).cloned().unwrap_or_default();
            let root = folder.join(&name);
            fs::create_dir_all(&root)
                .with_context(|| format!("cannot create {}", root.display()))?;
            if !begun.root.as_os_str().is_empty() {
                copy_tree(&begun.root, &root)?;
            }
            begun.root = root;
            if begun.workdir.as_os_str().is_empty() {
                begun.workdir = PathBuf::from("/");
            }
            stage = Some(begun);
            continue;
        }
        let current = stage.as_mut().context("a Dockerfile begins with FROM")?;
        match instruction {
            Instruction::From { .. } => {}
            Instruction::Workdir(path) => {
                current.workdir = current.workdir.join(path);
                fs::create_dir_all(current.place("."))?;
            }
            // The caller's environment stands for --build-arg.
            Instruction::Arg(key, default) => {
                let value = env::var(key).unwrap_or_else(|_| default.clone());
                current.variables.push((key.clone(), value));
            }
            Instruction::Env(key, value) => {
                let value = current.value(value);
                current.variables.push((key.clone(), value));
            }
            Instruction::Run(command) => step(&name, current, command)?,
            Instruction::Copy {
                from,
                sources,
                destination,
            } => {
                for source in sources {
                    let to = current.place(destination);
                    match from {
                        Some(from) => {
                            let from = stages
                                .get(from)
                                .with_context(|| format!("no stage {from}"))?;
                            copy_tree(&from.place(source), &to)?;
                        }
                        None => copy_context(context, source, &to)?,
                    }
                }
            }
        }
    }
    stage.context("the Dockerfile is empty")
}

fn step(stage: &str, current: &Stage, line: &str) -> Result<()> {
    progress::announce(format_args!("{stage}: {line}"));
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(current.place("."))
        .envs(current.variables.iter().map(|(key, value)| (key, value)));
    // What the outer cargo says of its own package and target folder is not for these.
    for (key, _) in env::vars_os() {
        let key = key.to_string_lossy();
        let users = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR"];
        if key.starts_with("CARGO") && !users.iter().any(|user| key.starts_with(user)) {
            command.env_remove(key.as_ref());
        }
    }
    let status = command.status().context("cannot start sh")?;
    ensure!(status.success(), "{stage}: {line}: {status}");
    Ok(())
}

/// Copies what Git knows or would take, without what .dockerignore names.
fn copy_context(context: &Path, source: &str, to: &Path) -> Result<()> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
        ])
        .arg(source)
        .current_dir(context)
        .stdin(Stdio::null())
        .output()
        .context("git is not installed")?;
    ensure!(list.status.success(), "git does not know {source}");
    let ignored = fs::read_to_string(context.join(".dockerignore"))?;
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.is_empty()).collect();
    if let Some(glob) = ignored
        .iter()
        .find(|line| line.contains(['*', '!', '#', '?']))
    {
        bail!(".dockerignore: {glob} is more than a plain path");
    }
    let files = String::from_utf8(list.stdout).context("a file name is not UTF-8")?;
    let mut copied = 0_u32;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let path = Path::new(file);
        let from = context.join(path);
        // A file that was deleted and not yet committed is still in the index.
        if ignored.iter().any(|ignored| path.starts_with(ignored)) || !from.is_file() {
            continue;
        }
        let inside = path.strip_prefix(source).unwrap_or(path);
        copy_file(&from, &to.join(inside.components().as_path()))?;
        copied += 1;
    }
    ensure!(copied > 0, "COPY {source}: there is nothing to copy");
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        return copy_file(from, to);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Leaves a file alone that is the same already: its time tells cargo whether to compile it again.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let same = fs::read(to).is_ok_and(|old| fs::read(from).is_ok_and(|new| old == new));
    if !same {
        fs::copy(from, to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

fn version_of(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    ensure!(
        output.status.success(),
        "{} --version: {}",
        binary.display(),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts it, asks it for its health as the image's health check does, and has every plugin handle a request. What its
/// plugins say of themselves, by id.
fn serves(workspace: &Workspace, files: &Files) -> Result<BTreeMap<String, Value>> {
    let addresses = Addresses::free()?;
    let run = Run::new(runs(workspace).join("image"))?;
    run.end_on_signals()?;
    let service = Service::start(files, addresses, &run, &[])?;
    let health = Command::new(&files.binary)
        .arg("health")
        .arg("--listen")
        .arg(addresses.service.to_string())
        .status()
        .context("cannot start the health check")?;
    ensure!(health.success(), "its health check says {health}");
    let described = described(&service.get("/admin/plugins")?)?;
    let plugins = service.plugins()?;
    for plugin in &plugins {
        service.switch(plugin, true)?;
    }
    let answer = service.get("/api/data")?;
    let named = |field: &str| answer.get(field).and_then(Value::as_array);
    let triggered = named("leaks_triggered").map_or(&[][..], Vec::as_slice);
    let failed = named("leaks_failed").map_or(&[][..], Vec::as_slice);
    // A decoy may let a request pass.
    ensure!(
        failed.is_empty()
            && EXERCISES
                .iter()
                .all(|leak| triggered.iter().any(|t| t == leak)),
        "not all of {plugins:?} leaked: {answer}"
    );
    println!(
        "{} is healthy and serves, with {}",
        files.binary.display(),
        plugins.join(", ")
    );
    Ok(described)
}

/// Of each plugin what its source decides: not its digest, as a component's line tables name the folder that it was
/// built in, and not what a setting is now.
fn described(answer: &Value) -> Result<BTreeMap<String, Value>> {
    let plugins = answer.get("plugins").and_then(Value::as_array);
    let mut described = BTreeMap::new();
    for plugin in plugins.context("the service lists no plugins")? {
        let id = plugin.get("id").and_then(Value::as_str);
        let id = id.context("a plugin has no id")?;
        let fields = ["version", "title", "description", "unit", "imports"];
        let mut kept: Map<String, Value> = fields
            .iter()
            .map(|&field| (field.to_owned(), plugin[field].clone()))
            .collect();
        let mut settings = plugin["settings"].clone();
        for setting in settings.as_array_mut().into_iter().flatten() {
            if let Some(setting) = setting.as_object_mut() {
                setting.remove("value");
            }
        }
        kept.insert("settings".to_owned(), settings);
        described.insert(id.to_owned(), Value::Object(kept));
    }
    ensure!(!described.is_empty(), "the service has no plugins");
    Ok(described)
}

/// Whether two hosts have the same plugins.
fn same(image: &BTreeMap<String, Value>, own: &BTreeMap<String, Value>) -> Result<()> {
    let differing: Vec<&str> = image
        .keys()
        .chain(own.keys())
        .filter(|&id| image.get(id) != own.get(id))
        .map(String::as_str)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    ensure!(
        differing.is_empty(),
        "the image and the checkout differ in {}",
        differing.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_reaches_the_environment() {
        let temp = tempfile::tempdir().unwrap();
        let text =
            "FROM any\nARG WORD=yes\nENV SAID=$WORD\nENV PRICE=$5\nRUN echo $SAID $PRICE > word\n";
        let image = build(temp.path(), &dockerfile::parse(text).unwrap(), temp.path()).unwrap();
        assert_eq!(
            fs::read_to_string(image.place("/word")).unwrap(),
            "yes $5\n"
        );
    }

    #[test]
    fn plugins_differ_in_what_they_are_and_not_in_how_they_are_set() {
        let of = |version: &str, value: u32, digest: &str| {
            described(
                &json!({"plugins": [{"id": "cache", "version": version, "digest": digest,
                "settings": [{"name": "live_mb", "default": 4, "value": value}]}]}),
            )
            .unwrap()
        };
        same(&of("1", 4, "a"), &of("1", 5, "b")).unwrap();
        let error = same(&of("1", 4, "a"), &of("2", 4, "a")).unwrap_err();
        assert!(error.to_string().contains("cache"), "{error}");
        assert!(same(&of("1", 4, "a"), &BTreeMap::new()).is_err());
        assert!(described(&json!({"plugins": []})).is_err());
    }

    #[test]
    fn stages_are_folders_and_steps_run_in_them() {
        let temp = tempfile::tempdir().unwrap();
        let text = "FROM any AS one\nWORKDIR /lab\nENV WORD=yes\nRUN mkdir out && echo $WORD > out/word\n\
                    FROM one AS two\nWORKDIR /lab/out\nRUN cat word > more\n\
                    FROM other\nCOPY --from=two /lab/out /data\n";
        let image = build(temp.path(), &dockerfile::parse(text).unwrap(), temp.path()).unwrap();
        for file in ["/data/word", "/data/more"] {
            assert_eq!(
                fs::read_to_string(image.place(file)).unwrap(),
                "yes\n",
                "{file}"
            );
        }
        assert!(
            !image.place("/lab").exists(),
            "only what was copied is in the image"
        );
    }

    #[test]
    fn a_step_that_fails_ends_the_build() {
        let temp = tempfile::tempdir().unwrap();
        let steps = dockerfile::parse("FROM any\nRUN exit 3\n").unwrap();
        assert!(build(temp.path(), &steps, temp.path()).is_err());
    }
}
