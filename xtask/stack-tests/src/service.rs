//! The lab's service under the restart policy of the containers, `restart: unless-stopped`: when it
//! ends by itself, it is started again.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use xtask_support::http::{self, Client};
use xtask_support::wait::{INTERVAL, wait_for};

use crate::addresses::Addresses;
use crate::process::{Process, Run};

/// Docker waits 100 ms before the first restart, and longer before each further one.
const RESTART_DELAY: Duration = Duration::from_millis(500);

/// The very first start compiles the plugins.
const HEALTHY_TIMEOUT: Duration = Duration::from_secs(60);

/// The files of the service.
#[derive(Debug, Clone)]
pub(crate) struct ServiceFiles {
    pub(crate) binary: PathBuf,
    pub(crate) plugins: PathBuf,
    /// The commit that the binary was built from, if it is known.
    pub(crate) revision: Option<String>,
}

/// The service and its restart policy.
#[derive(Debug)]
pub(crate) struct Service {
    files: ServiceFiles,
    addresses: Addresses,
    arguments: Vec<String>,
    run: Run,
    process: Process,
    exits: Vec<u8>,
    restart_at: Option<Instant>,
}

impl Service {
    /// Starts the service and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not start or does not become healthy.
    pub(crate) fn start(
        files: &ServiceFiles,
        addresses: Addresses,
        run: &Run,
        arguments: &[&str],
    ) -> Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        let process = spawn(files, addresses, run, &arguments)?;
        let mut service = Self {
            files: files.clone(),
            addresses,
            arguments,
            run: run.clone(),
            process,
            exits: Vec::new(),
            restart_at: None,
        };
        service.wait_until_healthy()?;
        Ok(service)
    }

    /// Applies the restart policy; to be called every 100 ms or so. Returns the exit code when the
    /// service has just ended.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub(crate) fn supervise(&mut self) -> Result<Option<u8>> {
        if let Some(at) = self.restart_at {
            if Instant::now() >= at {
                self.restart_at = None;
                self.process = spawn(&self.files, self.addresses, &self.run, &self.arguments)?;
            }
            return Ok(None);
        }
        let ended = self.process.exited()?;
        if let Some(code) = ended {
            self.exits.push(code);
            self.restart_at = Some(Instant::now() + RESTART_DELAY);
        }
        Ok(ended)
    }

    /// Waits for `GET /health/ready` under the restart policy.
    ///
    /// # Errors
    /// When it does not become healthy.
    pub(crate) fn wait_until_healthy(&mut self) -> Result<()> {
        let url = format!("{}/health/ready", self.addresses.service_url());
        wait_for(
            "the service is not healthy",
            HEALTHY_TIMEOUT,
            INTERVAL,
            || {
                self.supervise()?;
                http::json(&url)
            },
        )
        .with_context(|| format!("see {}", self.run.folder().join("service.log").display()))?;
        Ok(())
    }

    /// Exit codes, oldest first.
    pub(crate) fn exits(&self) -> &[u8] {
        &self.exits
    }

    /// Its log so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// The ids of its plugins.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn plugins(&self) -> Result<Vec<String>> {
        let status = self.get("/admin/leaks/status?all=true")?;
        let leaks = status
            .get("leaks")
            .and_then(Value::as_object)
            .context("the leak status has no leaks")?;
        Ok(leaks.keys().cloned().collect())
    }

    /// Switches a leak on or off.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub(crate) fn switch(&self, plugin: &str, enabled: bool) -> Result<()> {
        self.post(
            &format!("/admin/leaks/{plugin}"),
            &json!({ "enabled": enabled }),
        )?;
        Ok(())
    }

    /// Loads a component under an id.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub(crate) fn load(&self, id: &str, component: &[u8]) -> Result<Value> {
        Client::default().put(&self.plugin_url(id), component)
    }

    /// Unloads a plugin.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub(crate) fn unload(&self, id: &str) -> Result<Value> {
        Client::default().delete(&self.plugin_url(id))
    }

    fn plugin_url(&self, id: &str) -> String {
        format!("{}/admin/plugins/{id}", self.addresses.service_url())
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let memory = self.get("/admin/memory?all=true")?;
        memory
            .pointer("/process/rss_bytes")
            .and_then(Value::as_u64)
            .context("/admin/memory has no process.rss_bytes")
    }

    /// # Errors
    /// When the response is no success.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        http::json(&format!("{}{path}", self.addresses.service_url()))
    }

    /// # Errors
    /// When the response is no success.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        http::post(&format!("{}{path}", self.addresses.service_url()), body)
    }
}

fn spawn(
    files: &ServiceFiles,
    addresses: Addresses,
    run: &Run,
    arguments: &[String],
) -> Result<Process> {
    let mut command = Command::new(&files.binary);
    command
        .arg("--plugins")
        .arg(&files.plugins)
        .arg("--listen")
        .arg(addresses.service.to_string())
        .args(arguments)
        // As in compose.yaml.
        .env("OTEL_SERVICE_NAME", "leaky-service")
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", addresses.collector_grpc),
        )
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        // The default of 15 seconds would make the test wait for a second reading.
        .env("OTEL_METRIC_EXPORT_INTERVAL", "5000");
    if let Some(revision) = &files.revision {
        command.env("LEAK_REVISION", revision);
    }
    Process::start("service", &mut command, run)
}
