//! `stack test --only profiles`: heap profiles over OTLP, as the real collector reads them.

mod printed;

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask_support::report::Report;
use xtask_support::tools::{on_path, run_quietly};
use xtask_support::wait::wait_for;
use xtask_support::workspace::Workspace;

use crate::addresses::{Addresses, free_ports};
use crate::process::{Process, Run};
use crate::service::{Service, ServiceFiles};
use crate::{ServiceArgs, runs_folder, tools};

/// The plugin that leaks, and its code on the line that holds the memory.
const PLUGIN: &str = "cache";
const SOURCE: &str = "plugins/cache/src/lib.rs";
const LEAKING_CODE: &str = "call.payload(";

/// What the service logs of a collector that does not know the signal.
const WARNING: &str = "the collector does not take profiles";

const REQUESTS: u32 = 50;

/// From the start of the collector until it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// The shortest interval of exports is 10 seconds.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(200);

/// # Errors
/// When the service is not built, or an available program does not start.
pub(crate) fn check(
    workspace: &Workspace,
    service: &ServiceArgs,
    report: &mut Report,
) -> Result<()> {
    println!("\nprofiles over OTLP");
    let files = service.find(workspace)?;
    let collector = match tools::COLLECTOR.obtain() {
        Ok(collector) => collector,
        Err(reason) => {
            report.skip("profiles in the collector", format_args!("{reason:#}"));
            return Ok(());
        }
    };
    let line = leaking_line(workspace)?;
    let addresses = Addresses::free()?;
    let configuration = workspace.root().join("compose/collector/profiles.yaml");
    let run = |name: String| {
        let name = format!("{name}-{}", std::process::id());
        let run = Run::new(runs_folder(workspace).join(name))?;
        run.end_on_signals()?;
        Ok::<_, anyhow::Error>(run)
    };
    for (protocol, short) in [("grpc", "grpc"), ("http/protobuf", "http")] {
        let with = run(format!("profiles-{short}"))?;
        report.check(&format!("profiles over {protocol}"), || {
            let mut start = Command::new(&collector);
            start.arg("--config").arg(&configuration);
            start.arg("--feature-gates=service.profilesSupport");
            let (collector, endpoint) = start_collector(&mut start, protocol, &with)?;
            let _service = leaking_service(&files, addresses, &with, [protocol, &endpoint])?;
            wait_for("the line does not arrive", EXPORT_TIMEOUT, INTERVAL, || {
                find_line(&collector.output()?, line)
            })
        });
        let without = run(format!("no-profiles-{short}"))?;
        report.check(&format!("a collector without profiles, {protocol}"), || {
            // The same receiver in a pipeline of another signal.
            let text = fs::read_to_string(&configuration)?;
            let file = without.folder().join("traces.yaml");
            fs::write(&file, text.replace("    profiles:\n", "    traces:\n"))?;
            let mut start = Command::new(&collector);
            start.arg("--config").arg(file);
            let (_collector, endpoint) = start_collector(&mut start, protocol, &without)?;
            let service = leaking_service(&files, addresses, &without, [protocol, &endpoint])?;
            wait_for("there is no warning", EXPORT_TIMEOUT, INTERVAL, || {
                let log = service.log()?;
                let count = log.matches(WARNING).count();
                ensure!(count == 1, "{count} warnings");
                Ok("one warning".to_owned())
            })
        });
    }
    let scraped = run("scraped-profiles".to_owned())?;
    match on_path("go") {
        Ok(go) => report.check("go tool pprof reads the endpoint", || {
            // Nothing listens there, and no profile is sent within the ten seconds.
            let nowhere = addresses.collector_http.to_string();
            let endpoint = ["http/protobuf", nowhere.as_str()];
            let _service = leaking_service(&files, addresses, &scraped, endpoint)?;
            let url = format!("{}/debug/pprof/heap", addresses.service_url());
            let mut pprof = Command::new(&go);
            pprof.args(["tool", "pprof", "-top", "-lines", "-show", PLUGIN, &url]);
            let printed = run_quietly(pprof.env("PPROF_TMPDIR", scraped.folder()))?;
            let place = format!("{SOURCE}:{line}");
            ensure!(printed.contains(&place), "no {place} in {printed}");
            Ok(place)
        }),
        Err(reason) => {
            report.skip("go tool pprof", format_args!("{reason:#}"));
            true
        }
    };
    Ok(())
}

/// The number of the line that leaks, from 1.
fn leaking_line(workspace: &Workspace) -> Result<u32> {
    let source = fs::read_to_string(workspace.root().join(SOURCE))
        .with_context(|| format!("cannot read {SOURCE}"))?;
    let line = source.lines().position(|line| line.contains(LEAKING_CODE));
    let line = line.with_context(|| format!("{SOURCE} has no `{LEAKING_CODE}`"))?;
    Ok(u32::try_from(line)? + 1)
}

/// Starts a collector. Returns its endpoint for the protocol, too.
fn start_collector(command: &mut Command, protocol: &str, run: &Run) -> Result<(Process, String)> {
    let [grpc, http] = free_ports()?;
    command
        .env("PROFILES_OTLP_GRPC", grpc.to_string())
        .env("PROFILES_OTLP_HTTP", http.to_string());
    let collector = Process::start("collector", command, run)?;
    let timeout = READY_TIMEOUT;
    wait_for("the collector does not start", timeout, INTERVAL, || {
        let log = collector.output()?;
        ensure!(log.contains("Everything is ready"), "{log}");
        Ok(())
    })?;
    let endpoint = if protocol == "grpc" { grpc } else { http };
    Ok((collector, endpoint.to_string()))
}

/// The service with a plugin that has leaked, exporting only profiles.
fn leaking_service(
    files: &ServiceFiles,
    addresses: Addresses,
    run: &Run,
    [protocol, endpoint]: [&str; 2],
) -> Result<Service> {
    let endpoint = format!("--otlp-endpoint=http://{endpoint}");
    let protocol = format!("--otlp-protocol={protocol}");
    let arguments = [
        endpoint.as_str(),
        &protocol,
        "--otlp-profiles=10s",
        "--traces-exporter=none",
        "--metrics-exporter=none",
    ];
    let service = Service::start(files, addresses, run, &arguments)?;
    service.switch(PLUGIN, true)?;
    for _ in 0..REQUESTS {
        service.get("/api/data")?;
    }
    Ok(service)
}

/// Finds the plugin's profile with its leaking line in what the collector has printed.
fn find_line(output: &str, line: u32) -> Result<String> {
    let profiles = printed::profiles(output);
    ensure!(!profiles.is_empty(), "no profile has arrived");
    let of_plugin = profiles.iter().filter(|p| p.strings.contains(&PLUGIN));
    let found = of_plugin.filter(|p| p.has_line(SOURCE, line)).count();
    ensure!(
        found > 0,
        "{} profiles have no line {SOURCE}:{line}",
        profiles.len()
    );
    let sums = profiles.first().map_or(0, |p| p.profile_count);
    ensure!(sums == 2, "{sums} profiles in a request");
    Ok(format!("{SOURCE}:{line}"))
}
