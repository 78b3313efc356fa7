//! The programs of the stack, started with the configuration files of the containers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use xtask_support::http;
use xtask_support::layout::COMPOSE;
use xtask_support::wait::{INTERVAL, wait_for};
use xtask_support::workspace::Workspace;

use crate::addresses::{Addresses, free_ports};
use crate::process::{Process, Run};
use crate::tools;

/// Where the container has the address of the receiver.
const RECEIVER_URL_FILE: &str = "/etc/alertmanager/receiver-url";

/// Long enough also on a busy machine.
const HEALTHY_TIMEOUT: Duration = Duration::from_secs(60);

/// Each executable, or the reason why there is none.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) prometheus: Result<PathBuf>,
    pub(crate) alertmanager: Result<PathBuf>,
    pub(crate) collector: Result<PathBuf>,
    pub(crate) jaeger: Result<PathBuf>,
}

impl Programs {
    pub(crate) fn obtain() -> Self {
        Self {
            prometheus: tools::PROMETHEUS.obtain(),
            alertmanager: tools::ALERTMANAGER.obtain(),
            collector: tools::COLLECTOR.obtain(),
            jaeger: tools::JAEGER.obtain(),
        }
    }
}

/// The programs that run.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) addresses: Addresses,
    pub(crate) run: Run,
    configuration: PathBuf,
    pub(crate) prometheus: Option<Process>,
    pub(crate) alertmanager: Option<Process>,
    pub(crate) collector: Option<Process>,
    pub(crate) jaeger: Option<Process>,
}

impl Stack {
    /// Starts every available program and waits until each is healthy. Jaeger starts first, because
    /// the collector sends to it.
    ///
    /// # Errors
    /// When one of them does not start or does not become healthy.
    pub(crate) fn start(
        workspace: &Workspace,
        programs: &Programs,
        addresses: Addresses,
        run: Run,
    ) -> Result<Self> {
        let mut stack = Self {
            addresses,
            run,
            configuration: workspace.root().join(COMPOSE),
            prometheus: None,
            alertmanager: None,
            collector: None,
            jaeger: None,
        };
        if let Ok(program) = &programs.jaeger {
            stack.jaeger = Some(stack.start_jaeger(program)?);
        }
        if let Ok(program) = &programs.collector {
            stack.start_collector(program)?;
        }
        if let Ok(program) = &programs.alertmanager {
            stack.alertmanager = Some(stack.start_alertmanager(program)?);
        }
        if let Ok(program) = &programs.prometheus {
            stack.prometheus = Some(stack.start_prometheus(program)?);
        }
        Ok(stack)
    }

    fn start_jaeger(&self, program: &Path) -> Result<Process> {
        // Listeners that the lab does not use get free ports, so that two stacks do not collide.
        let unused: [SocketAddr; 9] = free_ports()?;
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

    /// Starts the collector. A second start uses the same ports.
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

    fn start_alertmanager(&self, program: &Path) -> Result<Process> {
        let folder = self.run.folder().join("alertmanager");
        let source = self.configuration.join("alertmanager");
        fs::create_dir_all(&folder)?;
        // The address of the receiver is the only difference from the container's files.
        let receiver = folder.join("receiver-url");
        let url = format!("{}/admin/alerts", self.addresses.service_url());
        fs::write(&receiver, url)?;
        let configuration = fs::read_to_string(source.join("alertmanager.yml"))?;
        let file = folder.join("alertmanager.yml");
        let receiver = receiver.display().to_string();
        fs::write(&file, configuration.replace(RECEIVER_URL_FILE, &receiver))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!(
                "--web.listen-address={}",
                self.addresses.alertmanager
            ))
            .arg("--cluster.listen-address=")
            .arg("--log.level=warn");
        let process = Process::start("alertmanager", &mut command, &self.run)?;
        healthy(
            "Alertmanager",
            &format!("{}/-/ready", self.addresses.alertmanager_url()),
        )?;
        Ok(process)
    }

    fn start_prometheus(&self, program: &Path) -> Result<Process> {
        let folder = self.run.folder().join("prometheus");
        copy_folder(&self.configuration.join("prometheus"), &folder)?;
        // The targets' addresses are the only difference from the containers' files.
        for (job, address) in [
            ("leaky-service", self.addresses.service),
            ("otel-collector", self.addresses.collector_metrics),
            ("alertmanager", self.addresses.alertmanager),
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
            .arg("--enable-feature=exemplar-storage")
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
    let what = format!("{what} is not healthy");
    wait_for(&what, HEALTHY_TIMEOUT, INTERVAL, || http::text(url))?;
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
    fn a_folder_is_copied_with_its_folders() {
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
