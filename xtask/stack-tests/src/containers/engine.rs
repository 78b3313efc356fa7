//! A Docker engine from Debian's packages, for machines that have none or reach no registry.
//!
//! It runs in mount, network and process namespaces of its own. So its ports, networks and mounts
//! meet nothing of this machine, and the kernel removes everything when it ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use xtask_support::components;
use xtask_support::report::Report;
use xtask_support::tools::{self, Fetch, obtain, on_path, run_quietly};
use xtask_support::workspace::Workspace;

use crate::tools::Tool;
use crate::{ServiceArgs, runs_folder};

/// The release of Debian. Its engine is 26.1 and its compose 2.26.
const RELEASE: &str = "trixie";

/// What the folder tree of the engine contains, besides Debian's minimum. The last three are for
/// the exercises and for the network.
const PACKAGES: &str = "ca-certificates,docker.io,docker-cli,docker-buildx,docker-compose,\
iptables,busybox-static,tzdata,curl,jq,iproute2";

const ENGINE: &str = include_str!("engine.sh");
const STAND_INS: &str = include_str!("stand-ins.sh");

/// The memory controller, in control groups of version 1 and 2.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup/*", "/sys/fs/cgroup"];

/// Programs that are in no image: they only check files.
const UNUSED: [&str; 3] = ["docker-compose", "promtool", "amtool"];

/// The folder of a run has this name and the id of its process.
const RUN_PREFIX: &str = "containers-";

/// Arguments of the program that runs next to the engine.
#[derive(Debug, clap::Args)]
pub(crate) struct Inside {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// The folder of this run.
    work: PathBuf,
}

/// Starts the engine, and next to it this program with `containers-inside`.
///
/// # Errors
/// When something is missing on this machine. Failed checks are in the report.
pub(super) fn run(workspace: &Workspace, service: &ServiceArgs, report: &mut Report) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "an own engine needs root"
    );
    for program in ["unshare", "setpriv", "bash"] {
        on_path(program)?;
    }
    let namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child"];
    run_quietly(Command::new("unshare").args(namespaces).arg("true"))
        .context("this machine allows no namespaces")?;
    let files = service.find(workspace)?;
    let mut programs = Vec::new();
    for tool in Tool::ALL.iter().filter(|tool| !UNUSED.contains(&tool.name)) {
        programs.push((variable(tool.name), tool.obtain()?));
    }
    let version = format!("{RELEASE}-{}", PACKAGES.split(',').count());
    let tree = obtain(
        Fetch::IfMissing,
        "docker-engine",
        &version,
        "usr/sbin/dockerd",
        install,
    )?;

    let runs = runs_folder(workspace);
    remove_interrupted_runs(&runs);
    let work = Work(runs.join(format!("{RUN_PREFIX}{}", std::process::id())));
    // The folders that `compose/Dockerfile` copies from its other stages.
    let built = work.0.join("stages/build/lab");
    let plugins = work.0.join("stages/plugins/lab/plugins/components");
    fs::create_dir_all(built.join("cache"))?;
    fs::copy(&files.binary, built.join("leak-host")).context("cannot copy the service")?;
    components::copy_all(&files.plugins, &plugins)?;
    fs::write(work.0.join("engine.sh"), ENGINE)?;
    fs::write(work.0.join("stand-ins.sh"), STAND_INS)?;
    fs::write(work.0.join("override.yaml"), stages(&work.0))?;

    let this = std::env::current_exe().context("cannot find this program")?;
    let program_folder = this.parent().context("this program is in no folder")?;
    let shared = [workspace.root(), &work.0, program_folder, &tools::cache()?];
    let shared: Vec<String> = shared.map(|path| path.display().to_string()).to_vec();
    let cgroup = format!("/leak-lab-{}", std::process::id());
    let compose_files = [
        workspace.root().join("compose.yaml"),
        work.0.join("override.yaml"),
    ];
    let compose_files = compose_files.map(|file| file.display().to_string());
    // The kernel ends the engine too if a signal ends this program.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(namespaces)
        .args(["--propagation", "private", "bash"])
        .arg(work.0.join("engine.sh"))
        .arg(&tree)
        .arg(&work.0)
        .arg(&this)
        .arg("containers-inside")
        .arg(workspace.root())
        .arg(&work.0)
        .env("SHARED", shared.join(":"))
        .env("CGROUP", &cgroup)
        .env("COMPOSE_FILE", compose_files.join(":"))
        .envs(programs);
    let outcome = report.tests("the lab in containers", &mut command);
    remove_control_groups(&cgroup);
    outcome?;
    let reason = work.0.join("cannot-start");
    if reason.exists() {
        bail!(
            "the engine does not start: {}",
            fs::read_to_string(reason)?.trim()
        );
    }
    Ok(())
}

/// Fills `folder` with the folder tree of the engine.
fn install(folder: &Path) -> Result<()> {
    let (debootstrap, scripts) = match on_path("debootstrap") {
        Ok(program) => (program, None),
        Err(_) => {
            let package = folder.join("debootstrap");
            fs::create_dir_all(&package)?;
            // The lists of a fresh container are empty. If they cannot be fetched, old ones do.
            let _offline = run_quietly(Command::new("apt-get").arg("update"));
            let mut download = Command::new("apt-get");
            run_quietly(
                download
                    .args(["download", "debootstrap"])
                    .current_dir(&package),
            )
            .context("there is no debootstrap")?;
            run_quietly(
                Command::new("sh")
                    .args(["-c", "dpkg-deb -x debootstrap_*.deb ."])
                    .current_dir(&package),
            )?;
            (
                package.join("usr/sbin/debootstrap"),
                Some(package.join("usr/share/debootstrap")),
            )
        }
    };
    let mut command = Command::new(debootstrap);
    command
        .args(["--variant=minbase", "--force-check-gpg"])
        .arg(format!("--include={PACKAGES}"))
        .arg(RELEASE)
        .arg(folder);
    if let Some(scripts) = scripts {
        command.env("DEBOOTSTRAP_DIR", scripts);
    }
    let installed = run_quietly(&mut command);
    // It leaves what it mounted.
    for mounted in ["proc", "sys"] {
        let _absent = run_quietly(Command::new("umount").arg(folder.join(mounted)));
    }
    installed?;
    for unused in [
        "debootstrap",
        "var/cache/apt",
        "var/lib/apt/lists",
        "usr/share/doc",
    ] {
        let _absent = fs::remove_dir_all(folder.join(unused));
    }
    Ok(())
}

/// The compose file that gives the service's image finished stages in place of those that compile.
/// Docker asks for the image of `toolchain` although no command of it runs.
fn stages(work: &Path) -> String {
    let stages = work.join("stages");
    let stages = stages.display();
    format!(
        "services:\n  lab16-leaky-service:\n    build:\n      additional_contexts:\n        \
         build: {stages}/build\n        plugins: {stages}/plugins\n        \
         toolchain: {stages}/build\n"
    )
}

/// Builds the images that no registry gives. True when all are built.
pub(super) fn build_stand_ins(inside: &Inside, report: &mut Report) -> bool {
    println!(
        "  Grafana is a stand-in that answers its health check: its pictures are not seen here."
    );
    println!(
        "  Prometheus, the collector, Jaeger and k6 are the programs of `cargo xtask stack tools`."
    );
    println!("  The service is this machine's build, in the last stage of compose/Dockerfile.");
    report.check("stand-ins for the published images", || {
        let script = inside.work.join("stand-ins.sh");
        let mut bash = Command::new("bash");
        run_quietly(bash.arg(script).arg(&inside.work).current_dir(&inside.root))?;
        Ok("built".to_owned())
    })
}

/// The kernel keeps the control groups of containers that ended with the engine.
fn remove_control_groups(cgroup: &str) {
    let paths = CGROUP_ROOTS.map(|root| format!("{root}{cgroup}")).join(" ");
    let script = format!("find {paths} -depth -type d -exec rmdir {{}} + 2> /dev/null");
    let _nothing_left = Command::new("sh").args(["-c", &script]).status();
}

/// The variable of `stand-ins.sh` with the path of a program.
fn variable(program: &str) -> String {
    program.to_uppercase().replace('-', "_")
}

/// A run that a signal ended has left its folder.
fn remove_interrupted_runs(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN_PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _left_behind = fs::remove_dir_all(entry.path());
        }
    }
}

/// The folder of a run. Dropping it removes it.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_override_names_the_stages_that_the_dockerfile_copies_from() {
        let dockerfile = include_str!("../../../../compose/Dockerfile");
        let text = stages(Path::new("/lab"));
        for stage in ["build", "plugins"] {
            assert!(dockerfile.contains(&format!(" AS {stage}\n")), "{stage}");
            assert!(
                text.contains(&format!("{stage}: /lab/stages/{stage}")),
                "{text}"
            );
        }
        // What is copied from them is what `run` puts there.
        for path in ["/lab/leak-host ", "/lab/cache ", "/lab/plugins/components "] {
            assert!(dockerfile.contains(path), "{path}");
        }
    }

    #[test]
    fn folders_of_runs_that_have_ended_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let folder = |name: &str| temp.path().join(name);
        let own = format!("{RUN_PREFIX}{}", std::process::id());
        // The largest process id is below 2^22.
        let ended = format!("{RUN_PREFIX}4194305");
        for name in [own.as_str(), &ended, "test-4194305"] {
            fs::create_dir(folder(name)).unwrap();
        }
        remove_interrupted_runs(temp.path());
        assert!(folder(&own).exists() && folder("test-4194305").exists());
        assert!(!folder(&ended).exists());
    }

    #[test]
    fn each_image_of_the_compose_files_has_a_stand_in() {
        let compose = include_str!("../../../../compose/compose.yaml");
        let images = compose
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: "))
            .filter(|image| !image.starts_with("leak-lab/"));
        for image in images {
            let name = image.split(':').next().unwrap();
            assert!(STAND_INS.contains(&format!("$(tag {name})")), "{image}");
        }
        for tool in Tool::ALL.iter().filter(|tool| !UNUSED.contains(&tool.name)) {
            let path = format!("${{{}%/*}}", variable(tool.name));
            assert!(STAND_INS.contains(&path), "{path}");
        }
    }
}
