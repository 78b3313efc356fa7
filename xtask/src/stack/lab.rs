//! The programs of the stack, started on the very configuration files that the containers use.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::addresses::Addresses;
use super::process::{Process, Run};
use super::tools::Tool;
use crate::http;
use crate::workspace::Workspace;

/// A program of the stack answers its health check within this, also on a busy machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// The executables, or why there is none.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) prometheus: Result<PathBuf>,
    pub(crate) collector: Result<PathBuf>,
    pub(crate) jaeger: Result<PathBuf>,
}

impl Programs {
    /// Finds or builds each.
    pub(crate) fn obtain() -> Self {
        Self {
            prometheus: Tool::Prometheus.obtain(),
            collector: Tool::Collector.obtain(),
            jaeger: Tool::Jaeger.obtain(),
        }
    }
}

/// What runs, and where.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) addresses: Addresses,
    pub(crate) run: Run,
    configuration: PathBuf,
    pub(crate) prometheus: Option<Process>,
    pub(crate) collector: Option<Process>,
    pub(crate) jaeger: Option<Process>,
}

impl Lab {
    /// Starts every program that there is, Jaeger first, as the collector sends to it, and waits
    /// until each is healthy.
    ///
    /// # Errors
    /// When one of them does not start or does not become healthy.
    pub(crate) fn start(
        workspace: &Workspace,
        programs: &Programs,
        addresses: Addresses,
        run: Run,
    ) -> Result<Self> {
        let mut lab = Self {
            addresses,
            run,
            configuration: workspace.root().join("compose"),
            prometheus: None,
            collector: None,
            jaeger: None,
        };
        if let Ok(program) = &programs.jaeger {
            lab.jaeger = Some(lab.start_jaeger(program)?);
        }
        if let Ok(program) = &programs.collector {
            lab.start_collector(program)?;
        }
        if let Ok(program) = &programs.prometheus {
            lab.prometheus = Some(lab.start_prometheus(program)?);
        }
        Ok(lab)
    }

    fn start_jaeger(&self, program: &Path) -> Result<Process> {
        // Ports that nobody here uses get free ones, so that two labs do not meet.
        let unused: [SocketAddr; 9] = super::addresses::free()?;
        let listeners = [
            "collector.grpc-server",
            "collector.http-server",
            "collector.otlp.http",
            "query.grpc-server",
            "http-server",
        ]
        .map(|name| format!("--{name}.host-port"))
        .into_iter()
        .chain(
            ["jaeger-binary", "jaeger-compact", "zipkin-compact"]
                .map(|name| format!("--processor.{name}.server-host-port")),
        );
        let mut command = Command::new(program);
        command
            .arg(format!(
                "--query.http-server.host-port={}",
                self.addresses.jaeger_query
            ))
            .arg(format!(
                "--collector.otlp.grpc.host-port={}",
                self.addresses.jaeger_otlp
            ))
            .arg(format!(
                "--admin.http.host-port={}",
                self.addresses.jaeger_health
            ))
            .args(
                listeners
                    .zip(unused)
                    .map(|(flag, address)| format!("{flag}={address}")),
            );
        let process = Process::start("jaeger", &mut command, &self.run)?;
        healthy(
            "Jaeger",
            &format!("http://{}/", self.addresses.jaeger_health),
        )?;
        Ok(process)
    }

    /// Starts the collector, again if need be: what it listens on stays the same.
    ///
    /// # Errors
    /// When it does not start or does not become healthy.
    pub(crate) fn start_collector(&mut self, program: &Path) -> Result<()> {
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(self.configuration.join("collector/config.yaml"))
            .env(
                "COLLECTOR_OTLP_GRPC",
                self.addresses.collector_grpc.to_string(),
            )
            .env(
                "COLLECTOR_OTLP_HTTP",
                self.addresses.collector_http.to_string(),
            )
            .env(
                "COLLECTOR_PROMETHEUS",
                self.addresses.collector_metrics.to_string(),
            )
            .env(
                "COLLECTOR_HEALTH",
                self.addresses.collector_health.to_string(),
            )
            .env("COLLECTOR_JAEGER", self.addresses.jaeger_otlp.to_string());
        self.collector = Some(Process::start("collector", &mut command, &self.run)?);
        healthy(
            "the collector",
            &format!("http://{}/", self.addresses.collector_health),
        )
    }

    fn start_prometheus(&self, program: &Path) -> Result<Process> {
        let folder = self.run.folder().join("prometheus");
        copy_folder(&self.configuration.join("prometheus"), &folder)?;
        // The only files that differ from those of the containers: where the targets are.
        for (job, address) in [
            ("leaky-service", self.addresses.service),
            ("otel-collector", self.addresses.collector_metrics),
        ] {
            fs::write(
                folder.join("targets").join(format!("{job}.yml")),
                format!("- targets: [\"{address}\"]\n"),
            )?;
        }
        let mut command = Command::new(program);
        command
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                self.run.folder().join("prometheus-data").display()
            ))
            .arg(format!(
                "--web.listen-address={}",
                self.addresses.prometheus
            ))
            .arg("--log.level=warn");
        let process = Process::start("prometheus", &mut command, &self.run)?;
        healthy(
            "Prometheus",
            &format!("{}/-/ready", self.addresses.prometheus_url()),
        )?;
        Ok(process)
    }
}

fn healthy(what: &str, url: &str) -> Result<()> {
    http::wait_for(&format!("{what} is not healthy"), HEALTHY_WITHIN, || {
        http::text(url)
    })?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_whole() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("to"));
        fs::create_dir_all(from.join("rules")).unwrap();
        fs::write(from.join("a.yml"), "a").unwrap();
        fs::write(from.join("rules/b.yml"), "b").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a.yml")).unwrap(), "a");
        assert_eq!(fs::read_to_string(to.join("rules/b.yml")).unwrap(), "b");
    }
}
