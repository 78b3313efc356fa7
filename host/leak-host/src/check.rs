//! `leak-host check FILE`: conformance on the command line, without a service.

use std::process::ExitCode;

use anyhow::Context;

use crate::config::CheckArgs;
use admin_api::conformance::ReportBody;
use plugin_host::conformance::{self, CheckOptions, Report};
use plugin_host::engine;
use plugin_host::load::cache::Cache;
use plugin_host::load::loader::Loader;

/// The exit code of a component that could not be checked at all.
const NOT_CHECKED: u8 = 2;

/// Checks a file and prints what was found. Exits with 0 if it conforms, with 1 if not.
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
            ExitCode::from(NOT_CHECKED)
        }
    }
}

fn print_json(report: Report) {
    match serde_json::to_string_pretty(&ReportBody::from(report)) {
        Ok(json) => println!("{json}"),
        Err(error) => eprintln!("leak-host check: {error}"),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<Report> {
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
        let engine = engine::start().map_err(|e| anyhow::anyhow!("{e:#}"))?;
        let cache = Cache::open(None, &engine);
        let loader = Loader::new(engine, cache, args.max_plugin_size.bytes())
            .map_err(|e| anyhow::anyhow!("{e:#}"))?;
        Ok(conformance::check(&loader, component.into(), terms).await?)
    })
}
