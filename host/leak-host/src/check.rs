//! `leak-host check FILE`: the conformance check on the command line, without a service.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::CheckArgs;
use crate::plugin_loader;
use admin_api::conformance::ReportBody;
use plugin_host::conformance::{self, CheckOptions, CheckReport};
use plugin_host::load::cache::CacheLimits;

/// The exit code if the component cannot be checked.
const EXIT_NOT_CHECKED: u8 = 2;

/// Checks a component and prints the report. Exits with 0 if the component conforms, else with 1.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    match check(args) {
        Ok(report) => {
            let passed = report.passed();
            if args.json {
                print_json(report);
            } else {
                print!("{}", report.table());
            }
            if passed {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("leak-host check: {error:#}");
            ExitCode::from(EXIT_NOT_CHECKED)
        }
    }
}

fn print_json(report: CheckReport) {
    match serde_json::to_string_pretty(&ReportBody::from(report)) {
        Ok(json) => println!("{json}"),
        Err(error) => eprintln!("leak-host check: {error}"),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<CheckReport> {
    let component = read(&args.file, args.max_plugin_size.bytes())
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let terms = CheckOptions {
        requests: args.requests,
        deadline: args.plugin_deadline,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let loader = plugin_loader::start(
            None,
            CacheLimits::default(),
            args.max_plugin_size,
            args.compile.limits(),
            &args.code,
        )?;
        Ok(conformance::check(&loader, component.into(), terms).await?)
    })
}

/// Reads a component, which may come through a pipe. One byte more than the limit is enough for the
/// host to refuse it.
fn read(file: &Path, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(file)?;
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
