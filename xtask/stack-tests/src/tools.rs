//! The real programs of the stack, built once from their Go modules into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use xtask_support::tools::{Fetch, obtain, on_path, run_quietly};

/// The configuration of the collector's builder: the components that the collector contains.
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
    /// `go get -tool` in an empty module and `go build`, for modules with `replace` lines.
    Build { package: &'static str },
    /// With the collector's own builder.
    Collector,
}

impl Tool {
    /// The programs that `stack tools` builds.
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
            // The last version that is a Go module. The image in compose.yaml is 2.x: it takes the
            // same OTLP, and up to 2.20 it has the calls that the tests and Grafana's data source
            // make.
            Self::Jaeger => "1.62.0",
            Self::Compose => "5.6.0",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::K6 => "k6",
            Self::CollectorBuilder => "otelcol-builder",
            Self::Collector => "otelcol",
            Self::Jaeger => "jaeger",
            Self::Compose => "docker-compose",
        }
    }

    fn recipe(self) -> Recipe {
        // Without the tag the build includes the cloud service discoveries, and a module of theirs
        // is missing.
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

    /// The program's path. If the cache has none, it is built. If it cannot be built, a program of
    /// the same name on `PATH` is used, such as Debian's.
    ///
    /// # Errors
    /// When neither is available.
    pub(crate) fn obtain(self) -> Result<PathBuf> {
        let build = |folder: &Path| {
            on_path("go").context("Go is not installed")?;
            self.build_in(folder).map_err(last_line)
        };
        let version = self.cached_version();
        match obtain(
            Fetch::IfMissing,
            self.folder(),
            &version,
            self.name(),
            build,
        ) {
            Ok(folder) => Ok(folder.join(self.name())),
            Err(error) => on_path(self.name())
                .with_context(|| format!("{error:#}, and {} is not installed", self.name())),
        }
    }

    /// The version in the cache. A collector with other components is another version.
    fn cached_version(self) -> String {
        match self.recipe() {
            Recipe::Collector => format!("{}-{:08x}", self.version(), hash(COLLECTOR_PARTS)),
            Recipe::Install { .. } | Recipe::Build { .. } => self.version().to_owned(),
        }
    }

    /// Builds the program into `folder`.
    fn build_in(self, folder: &Path) -> Result<()> {
        let version = self.version();
        match self.recipe() {
            Recipe::Install { package, tags } => {
                let module = format!("{package}@v{version}");
                go(folder, &["install", "-tags", tags, &module])
            }
            Recipe::Build { package } => {
                go(folder, &["mod", "init", "leak-lab.invalid/tool"])?;
                go(folder, &["get", "-tool", &format!("{package}@v{version}")])?;
                go(folder, &["build", "-o", self.name(), package])
            }
            Recipe::Collector => {
                let builder = Self::CollectorBuilder.obtain()?;
                fs::write(folder.join("builder.yaml"), COLLECTOR_PARTS)?;
                let mut build = Command::new(builder);
                build.args(["--config", "builder.yaml"]);
                go_environment(folder, &mut build);
                run_quietly(&mut build)?;
                fs::rename(
                    folder.join("out").join(self.name()),
                    folder.join(self.name()),
                )?;
                fs::remove_dir_all(folder.join("out")).context("cannot remove the sources")
            }
        }
    }
}

/// FNV-1a, which is the same number with every compiler; the standard library does not promise
/// that.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn go(folder: &Path, args: &[&str]) -> Result<()> {
    let mut go = Command::new("go");
    go_environment(folder, go.args(args));
    run_quietly(&mut go)?;
    Ok(())
}

/// Static programs that need no C compiler.
fn go_environment(folder: &Path, command: &mut Command) {
    command
        .current_dir(folder)
        .env("GOBIN", folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false");
}

/// Of the output of a Go build that fails, the last line is the reason.
fn last_line(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let last = text.lines().next_back().unwrap_or_default().to_owned();
    anyhow!(last)
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
    fn a_collector_with_other_components_is_another_version() {
        // Known values of FNV-1a.
        assert_eq!((hash(""), hash("a")), (0x811c_9dc5, 0xe40c_292c));
        let version = Tool::Collector.version();
        let cached = Tool::Collector.cached_version();
        assert!(cached.starts_with(&format!("{version}-")), "{cached}");
        assert_eq!(Tool::K6.cached_version(), "1.8.1");
    }

    #[test]
    fn the_last_line_of_a_failed_build_is_the_reason() {
        let error = anyhow!("go: downloading a\ngo: no such module");
        assert_eq!(last_line(error).to_string(), "go: no such module");
    }
}
