//! The real programs of the stack, built once from their Go modules into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask_support::go::{environment, go, last_line};
use xtask_support::tools::{Fetch, obtain, on_path, run_quietly};

/// The configuration of the collector's builder: the components that the collector contains.
const COLLECTOR_PARTS: &str = include_str!("collector-builder.yaml");

/// A program of the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// The name of the executable file.
    pub(crate) name: &'static str,
    /// The name of its folder in the cache.
    folder: &'static str,
    /// The version of the Go module, without the `v`.
    pub(crate) version: &'static str,
    recipe: Recipe,
}

/// How a program is built.
#[derive(Debug, Clone, Copy)]
enum Recipe {
    /// `go install` of a package, with build tags.
    Install(&'static str, &'static str),
    /// `go get -tool` in an empty module and `go build`, for modules with `replace` lines.
    Build(&'static str),
    /// With the collector's own builder, from these parts.
    Collector,
}

/// Without the first tag the build includes the cloud service discoveries, and a module of theirs
/// is missing. The second one adds that by DNS.
const DNS_DISCOVERY: &str = "remove_all_sd,enable_dns_sd";

pub(crate) const PROMETHEUS: Tool = Tool {
    name: "prometheus",
    folder: "prometheus-dns",
    // Module 0.316.0 is release 3.16.0.
    version: "0.316.0",
    recipe: Recipe::Install(
        "github.com/prometheus/prometheus/cmd/prometheus",
        DNS_DISCOVERY,
    ),
};
pub(crate) const PROMTOOL: Tool = Tool {
    name: "promtool",
    recipe: Recipe::Install(
        "github.com/prometheus/prometheus/cmd/promtool",
        DNS_DISCOVERY,
    ),
    ..PROMETHEUS
};
pub(crate) const ALERTMANAGER: Tool = Tool {
    name: "alertmanager",
    folder: "alertmanager",
    // From 0.32 on, the module has no files of the web interface, and does not build.
    version: "0.31.1",
    recipe: Recipe::Install("github.com/prometheus/alertmanager/cmd/alertmanager", ""),
};
pub(crate) const AMTOOL: Tool = Tool {
    name: "amtool",
    folder: "amtool",
    recipe: Recipe::Install("github.com/prometheus/alertmanager/cmd/amtool", ""),
    ..ALERTMANAGER
};
pub(crate) const K6: Tool = Tool {
    name: "k6",
    folder: "k6",
    version: "1.8.1",
    recipe: Recipe::Install("go.k6.io/k6", ""),
};
const COLLECTOR_BUILDER: Tool = Tool {
    name: "builder",
    folder: "otelcol-builder",
    version: "0.155.0",
    recipe: Recipe::Install("go.opentelemetry.io/collector/cmd/builder", ""),
};
pub(crate) const COLLECTOR: Tool = Tool {
    name: "otelcol",
    folder: "otelcol",
    version: COLLECTOR_BUILDER.version,
    recipe: Recipe::Collector,
};
pub(crate) const JAEGER: Tool = Tool {
    name: "all-in-one",
    folder: "jaeger",
    // The last version that is a Go module. The image in compose.yaml is 2.x: it takes the same
    // OTLP, and up to 2.20 it has the calls that the tests and Grafana's data source make.
    version: "1.62.0",
    recipe: Recipe::Build("github.com/jaegertracing/jaeger/cmd/all-in-one"),
};
pub(crate) const COMPOSE: Tool = Tool {
    name: "docker-compose",
    folder: "docker-compose",
    version: "5.6.0",
    recipe: Recipe::Build("github.com/docker/compose/v5/cmd"),
};

impl Tool {
    /// The programs that `stack tools` builds.
    pub(crate) const ALL: [Self; 8] = [
        PROMETHEUS,
        PROMTOOL,
        ALERTMANAGER,
        AMTOOL,
        K6,
        COLLECTOR,
        JAEGER,
        COMPOSE,
    ];

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
        match obtain(Fetch::IfMissing, self.folder, &version, self.name, build) {
            Ok(folder) => Ok(folder.join(self.name)),
            Err(error) => on_path(self.name)
                .with_context(|| format!("{error:#}, and {} is not installed", self.name)),
        }
    }

    /// The version in the cache. A collector with other components is another version.
    fn cached_version(self) -> String {
        match self.recipe {
            Recipe::Collector => {
                format!("{}-{:08x}", self.version, hash(COLLECTOR_PARTS.as_bytes()))
            }
            Recipe::Install(..) | Recipe::Build(_) => self.version.to_owned(),
        }
    }

    /// Builds the program into `folder`.
    fn build_in(self, folder: &Path) -> Result<()> {
        let version = self.version;
        match self.recipe {
            Recipe::Install(package, tags) => {
                let module = format!("{package}@v{version}");
                go(folder, &["install", "-tags", tags, &module])
            }
            Recipe::Build(package) => {
                go(folder, &["mod", "init", "leak-lab.invalid/tool"])?;
                go(folder, &["get", "-tool", &format!("{package}@v{version}")])?;
                go(folder, &["build", "-o", self.name, package])
            }
            Recipe::Collector => {
                let builder = COLLECTOR_BUILDER.obtain()?;
                fs::write(folder.join("builder.yaml"), COLLECTOR_PARTS)?;
                let mut build = Command::new(builder);
                build.args(["--config", "builder.yaml"]);
                environment(folder, &mut build);
                run_quietly(&mut build)?;
                fs::rename(folder.join("out").join(self.name), folder.join(self.name))?;
                fs::remove_dir_all(folder.join("out")).context("cannot remove the sources")
            }
        }
    }
}

/// FNV-1a, which is the same number with every compiler; the standard library does not promise
/// that.
pub(crate) fn hash(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_built_from_one_version() {
        let version = format!("v{}", COLLECTOR.version);
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
        assert_eq!((hash(b""), hash(b"a")), (0x811c_9dc5, 0xe40c_292c));
        let version = COLLECTOR.version;
        let cached = COLLECTOR.cached_version();
        assert!(cached.starts_with(&format!("{version}-")), "{cached}");
        assert_eq!(K6.cached_version(), "1.8.1");
    }
}
