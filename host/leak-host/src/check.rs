//! `leak-host check FILE`: the conformance check on the command line, without a service.

use std::process::ExitCode;

use anyhow::Context;

use crate::config::CheckArgs;
use crate::plugin_loader;
use admin_api::conformance::ReportBody;
use plugin_host::conformance::{self, CheckOptions, CheckReport};

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
    let component = std::fs::read(&args.file)
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
            args.max_plugin_size,
            args.compile.limits(),
            &args.code,
        )?;
        Ok(conformance::check(&loader, component.into(), terms).await?)
    })
}
