//! The lab's service under the containers' restart policy: whenever it ends by itself it is started
//! again, as `restart: unless-stopped` would.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::addresses::Addresses;
use super::process::{Process, Run};
use crate::http;

/// Docker waits 100 ms before the first restart and longer before each further one.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// It compiles its plugins on the first start of all.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// Which files the service is made of.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) binary: PathBuf,
    pub(crate) plugins: PathBuf,
    /// Of the sources that the binary was built from, where that is known.
    pub(crate) revision: Option<String>,
}

/// The service and the policy.
#[derive(Debug)]
pub(crate) struct Service {
    files: Files,
    addresses: Addresses,
    arguments: Vec<String>,
    run: Run,
    process: Process,
    exits: Vec<u8>,
    restart_at: Option<Instant>,
}

impl Service {
    /// Starts it and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not start or does not become healthy.
    pub(crate) fn start(
        files: &Files,
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

    /// Looks after it: to be called often. Answers with the exit code when it has just ended.
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
            self.restart_at = Some(Instant::now() + RESTART_AFTER);
        }
        Ok(ended)
    }

    /// Waits for `GET /health`, restarting as the policy says.
    ///
    /// # Errors
    /// When it does not become healthy.
    pub(crate) fn wait_until_healthy(&mut self) -> Result<()> {
        let url = format!("{}/health", self.addresses.service_url());
        http::wait_for("the service is not healthy", HEALTHY_WITHIN, || {
            self.supervise()?;
            http::json(&url)
        })
        .with_context(|| format!("see {}", self.run.folder().join("service.log").display()))?;
        Ok(())
    }

    /// Exit codes, oldest first.
    pub(crate) fn exits(&self) -> &[u8] {
        &self.exits
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// The ids of its plugins, as the leak status lists them.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn plugins(&self) -> Result<Vec<String>> {
        let status = self.get("/admin/leaks/status")?;
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
        http::put(&self.plugin_url(id), component)
    }

    /// Unloads a plugin.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub(crate) fn unload(&self, id: &str) -> Result<Value> {
        http::delete(&self.plugin_url(id))
    }

    fn plugin_url(&self, id: &str) -> String {
        format!("{}/admin/plugins/{id}", self.addresses.service_url())
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let memory = self.get("/admin/memory")?;
        memory
            .pointer("/process/rss_bytes")
            .and_then(Value::as_u64)
            .context("/admin/memory has no process.rss_bytes")
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        http::json(&format!("{}{path}", self.addresses.service_url()))
    }

    /// `POST path`.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        http::post(&format!("{}{path}", self.addresses.service_url()), body)
    }
}

fn spawn(files: &Files, addresses: Addresses, run: &Run, arguments: &[String]) -> Result<Process> {
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
        // The service's default is 15 seconds: a test would wait for the second reading longer than for the first.
        .env("OTEL_METRIC_EXPORT_INTERVAL", "5000");
    if let Some(revision) = &files.revision {
        command.env("LEAK_REVISION", revision);
    }
    Process::start("service", &mut command, run)
}
