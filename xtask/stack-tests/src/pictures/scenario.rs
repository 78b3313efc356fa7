//! The life of a service that the pictures show: idle, leaking, killed at its limit, started again.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, ensure};
use xtask_support::components::EXERCISES;
use xtask_support::report;
use xtask_support::workspace::Workspace;

use super::Moment;
use super::load::Load;
use crate::addresses::Addresses;
use crate::process::Run;
use crate::prometheus::now;
use crate::runs_folder;
use crate::service::{Service, ServiceFiles};
use crate::stack::{Programs, Stack};

const MEMORY_LIMIT: &str = "256MiB";

/// Requests a second before a leak is on.
const IDLE_RATE: u32 = 20;

const IDLE: Duration = Duration::from_secs(100);

/// Long enough that `HostDown` fires.
const DEAD: Duration = Duration::from_secs(45);

/// Long enough for every window of a minute.
const RESTARTED: Duration = Duration::from_secs(75);

const KILL_TIMEOUT: Duration = Duration::from_secs(900);

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The last scrape of a service that is killed: the interval, and a second for the scrape.
const LAST_SCRAPE_SECONDS: u64 = 6;

/// The time range of a picture, in seconds.
const RANGE_SECONDS: u64 = 300;

/// The stack that the service runs in.
pub(super) struct Scenario {
    stack: Stack,
}

impl Scenario {
    /// Starts the stack, or says why this machine has no Prometheus.
    ///
    /// # Errors
    /// When a program does not start.
    pub(super) fn start(
        workspace: &Workspace,
        files: &ServiceFiles,
    ) -> Result<std::result::Result<Self, Error>> {
        let programs = Programs::obtain();
        if let Err(reason) = programs.prometheus {
            return Ok(Err(reason.context("there is no Prometheus")));
        }
        let name = format!("pictures-{}", std::process::id());
        let run = Run::new(runs_folder(workspace).join(name))?;
        run.end_on_signals()?;
        announce(&files.binary, run.folder());
        let stack = Stack::start(workspace, &programs, Addresses::free()?, run)?;
        Ok(Ok(Self { stack }))
    }

    pub(super) fn prometheus_url(&self) -> String {
        self.stack.addresses.prometheus_url()
    }

    /// Lets the service live and die, and returns the moments to draw.
    ///
    /// # Errors
    /// When the service does not start, or is not killed in time.
    pub(super) fn play(&self, files: &ServiceFiles, rate: u32) -> Result<Vec<Moment>> {
        let addresses = self.stack.addresses;
        let arguments = ["--memory-limit", MEMORY_LIMIT];
        let mut service = Service::start(files, addresses, &self.stack.run, &arguments)?;
        let load = Load::start(&addresses.service_url(), IDLE_RATE);
        report::announce(format_args!("idle for {} s", IDLE.as_secs()));
        sleep(IDLE);
        let mut moments = vec![moment("idle", now())];

        report::announce(format_args!("leaking until the limit of {MEMORY_LIMIT}"));
        for plugin in EXERCISES {
            service.switch(plugin, true)?;
        }
        load.set_rate(rate);
        let started = Instant::now();
        while service.supervise()?.is_none() {
            ensure!(
                started.elapsed() < KILL_TIMEOUT,
                "the service still runs after {} s; try a higher --rate",
                KILL_TIMEOUT.as_secs()
            );
            sleep(POLL_INTERVAL);
        }
        moments.push(moment("leaking", now() - LAST_SCRAPE_SECONDS));

        report::announce(format_args!(
            "killed after {} s; down for {} s",
            started.elapsed().as_secs(),
            DEAD.as_secs()
        ));
        sleep(DEAD);
        moments.push(moment("dead", now()));

        report::announce(format_args!("restarted, for {} s", RESTARTED.as_secs()));
        load.set_rate(IDLE_RATE);
        service.wait_until_healthy()?;
        sleep(RESTARTED);
        moments.push(moment("restarted", now()));
        Ok(moments)
    }
}

fn announce(service: &Path, logs: &Path) {
    report::announce(format_args!("{} under load", service.display()));
    eprintln!("logs in {}", logs.display());
}

fn moment(name: &'static str, to: u64) -> Moment {
    Moment {
        name,
        from: to - RANGE_SECONDS,
        to,
    }
}
