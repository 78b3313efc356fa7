//! The real programs of the stack, built from their modules once and kept in the user's cache folder
//! under a path that carries the version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress;

/// What the collector for these runs is made of.
const COLLECTOR_PARTS: &str = include_str!("collector-builder.yaml");

/// A program of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Prometheus,
    Promtool,
    K6,
    CollectorBuilder,
    Collector,
    Jaeger,
    Compose,
}

/// How a program is built.
enum Recipe {
    /// `go install`, with build tags.
    Install {
        package: &'static str,
        tags: &'static str,
    },
    /// `go get -tool` in an empty module and `go build`: for modules with `replace` lines.
    Build { package: &'static str },
    /// By the collector's own builder.
    Collector,
}

impl Tool {
    /// Every program that somebody may want built ahead of time.
    pub(crate) const ALL: [Self; 6] = [
        Self::Prometheus,
        Self::Promtool,
        Self::K6,
        Self::Collector,
        Self::Jaeger,
        Self::Compose,
    ];

    /// The name of the executable file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::K6 => "k6",
            Self::CollectorBuilder => "builder",
            Self::Collector => "otelcol",
            Self::Jaeger => "all-in-one",
            Self::Compose => "docker-compose",
        }
    }

    /// The version of the Go module, without the `v`.
    pub(crate) fn version(self) -> &'static str {
        match self {
            // Module 0.316.0 is release 3.16.0.
            Self::Prometheus | Self::Promtool => "0.316.0",
            Self::K6 => "1.8.1",
            Self::CollectorBuilder | Self::Collector => "0.155.0",
            // The last one that is a module. The image in compose.yaml is of the 2.x line, which is not: it takes
            // the same OTLP, and up to 2.20 it has the calls that the tests and Grafana's data source make.
            Self::Jaeger => "1.62.0",
            Self::Compose => "5.6.0",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Prometheus | Self::Promtool => "prometheus",
            Self::K6 => "k6",
            Self::CollectorBuilder => "otelcol-builder",
            Self::Collector => "otelcol",
            Self::Jaeger => "jaeger",
            Self::Compose => "docker-compose",
        }
    }

    fn recipe(self) -> Recipe {
        // Without the tag the cloud service discoveries come in, and one of their modules is missing.
        let tags = "remove_all_sd";
        match self {
            Self::Prometheus => Recipe::Install {
                package: "github.com/prometheus/prometheus/cmd/prometheus",
                tags,
            },
            Self::Promtool => Recipe::Install {
                package: "github.com/prometheus/prometheus/cmd/promtool",
                tags,
            },
            Self::K6 => Recipe::Install {
                package: "go.k6.io/k6",
                tags: "",
            },
            Self::CollectorBuilder => Recipe::Install {
                package: "go.opentelemetry.io/collector/cmd/builder",
                tags: "",
            },
            Self::Collector => Recipe::Collector,
            Self::Jaeger => Recipe::Build {
                package: "github.com/jaegertracing/jaeger/cmd/all-in-one",
            },
            Self::Compose => Recipe::Build {
                package: "github.com/docker/compose/v5/cmd",
            },
        }
    }

    /// The program's path, building it first when the cache has none. Where it cannot be built, one
    /// of the same name on `PATH` serves, such as Debian's.
    ///
    /// # Errors
    /// When there is neither: the reason, in one line.
    pub(crate) fn obtain(self) -> Result<PathBuf> {
        let folder = cache()?.join(self.cached_as());
        let program = folder.join(self.name());
        if program.is_file() {
            return Ok(program);
        }
        match self.build_into(&folder) {
            Ok(()) => Ok(program),
            Err(error) => on_path(self.name()).with_context(|| {
                format!(
                    "{} {} cannot be built ({error:#}) and is not installed",
                    self.name(),
                    self.version()
                )
            }),
        }
    }

    /// Its folder in the cache: another version is another program, and so is a collector of other parts.
    fn cached_as(self) -> String {
        let name = format!("{}-{}", self.folder(), self.version());
        match self.recipe() {
            Recipe::Collector => format!("{name}-{:08x}", hash(COLLECTOR_PARTS)),
            Recipe::Install { .. } | Recipe::Build { .. } => name,
        }
    }

    fn build_into(self, folder: &Path) -> Result<()> {
        on_path("go").context("Go is not installed")?;
        progress::announce(format_args!(
            "building {} {} (once; about a minute)",
            self.name(),
            self.version()
        ));
        // Built beside its place and renamed, so that an interrupted build leaves nothing behind.
        let work = cache()?.join(format!("building-{}-{}", self.name(), std::process::id()));
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let built = self.build_in(&work);
        let placed = built.and_then(|program| {
            fs::create_dir_all(folder)?;
            fs::rename(program, folder.join(self.name())).context("cannot put it into the cache")
        });
        // What is left are sources; the next build makes them anew.
        let _left = fs::remove_dir_all(&work);
        placed
    }

    fn build_in(self, work: &Path) -> Result<PathBuf> {
        let version = self.version();
        let program = work.join(self.name());
        match self.recipe() {
            Recipe::Install { package, tags } => {
                go(
                    work,
                    &["install", "-tags", tags, &format!("{package}@v{version}")],
                )?;
            }
            Recipe::Build { package } => {
                go(work, &["mod", "init", "leak-lab.invalid/tool"])?;
                go(work, &["get", "-tool", &format!("{package}@v{version}")])?;
                go(work, &["build", "-o", self.name(), package])?;
            }
            Recipe::Collector => {
                let builder = Self::CollectorBuilder.obtain()?;
                fs::write(work.join("builder.yaml"), COLLECTOR_PARTS)?;
                let mut build = Command::new(builder);
                build.args(["--config", "builder.yaml"]);
                quietly(work, &mut build)?;
                return Ok(work.join("out").join(self.name()));
            }
        }
        Ok(program)
    }
}

/// FNV-1a: the same number on every machine and for every compiler, which the standard library's does not promise.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// `LEAK_LAB_CACHE`, or `leak-lab` in the user's cache folder; the tools are in a folder of their own.
pub(crate) fn cache() -> Result<PathBuf> {
    let user = || {
        env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache")))
            .map(|cache| cache.join("leak-lab"))
    };
    env::var_os("LEAK_LAB_CACHE")
        .map(PathBuf::from)
        .or_else(user)
        .map(|cache| cache.join("tools"))
        .context("there is no home folder to keep tools in; set LEAK_LAB_CACHE")
}

/// The first executable of this name on `PATH`.
///
/// # Errors
/// When there is none.
pub(crate) fn on_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not on PATH"))
}

fn go(folder: &Path, args: &[&str]) -> Result<()> {
    quietly(folder, Command::new("go").args(args))
}

/// Runs a build step whose output only matters when it fails.
fn quietly(folder: &Path, command: &mut Command) -> Result<()> {
    let output = command
        .current_dir(folder)
        .env("GOBIN", folder)
        // Plain static programs that need no C compiler and no writable module cache to remove.
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        bail!("{}", last.unwrap_or("it gave no reason"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_built_from_one_version() {
        let version = format!("v{}", Tool::Collector.version());
        let modules = COLLECTOR_PARTS
            .lines()
            .filter(|line| line.contains("gomod:"));
        assert_eq!(
            modules.clone().count(),
            modules.filter(|line| line.ends_with(&version)).count()
        );
    }

    #[test]
    fn another_list_of_parts_is_another_collector() {
        // The known values of FNV-1a.
        assert_eq!((hash(""), hash("a")), (0x811c_9dc5, 0xe40c_292c));
        assert!(Tool::Collector.cached_as().starts_with("otelcol-0."));
        assert_ne!(
            Tool::Collector.cached_as(),
            format!("otelcol-{}", Tool::Collector.version())
        );
        assert_eq!(Tool::K6.cached_as(), "k6-1.8.1");
    }

    #[test]
    fn a_program_that_nobody_has_is_an_error_that_names_it() {
        let error = on_path("surely-nobody-has-this").unwrap_err();
        assert!(error.to_string().contains("surely-nobody-has-this"));
    }
}
