//! `cargo xtask kubernetes`: the Helm chart, what is generated from it, and the tests of both.
//!
//! The tests need no cluster: Helm renders the chart, kubeconform compares the objects with the
//! schemas of three Kubernetes versions, and a real API server without nodes takes them. A program
//! that this machine cannot run is skipped, and every skip is counted and printed.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xtask_support::report::Report;
use xtask_support::workspace::Workspace;

mod api_server;
mod canary;
mod chart;
mod files;
mod kustomize;
mod refused;
mod schemas;
mod tools;
mod value_sets;

/// The Helm chart and the kustomize base.
#[derive(Debug, Parser)]
#[command(name = "xtask-kubernetes", bin_name = "cargo xtask kubernetes")]
enum Cli {
    /// Generate the kustomize base from the chart.
    Generate,
    /// Test the chart and the kustomize base.
    Test {
        /// Report everything as skipped where Helm cannot be built.
        #[arg(long)]
        skip_if_missing: bool,
    },
}

fn main() -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match Cli::parse() {
        Cli::Generate => {
            let helm = tools::HELM_4.obtain()?;
            kustomize::generate(&workspace, &helm)?;
            Ok(ExitCode::SUCCESS)
        }
        Cli::Test { skip_if_missing } => test(&workspace, skip_if_missing),
    }
}

fn test(workspace: &Workspace, skip_if_missing: bool) -> Result<ExitCode> {
    let mut report = Report::default();
    let helm = match tools::HELM_4.obtain() {
        Ok(helm) => helm,
        Err(reason) if skip_if_missing => {
            report.skip("kubernetes", format_args!("{reason:#}"));
            return Ok(report.finish());
        }
        Err(reason) => return Err(reason),
    };
    let chart = chart::Chart::new(workspace, &helm);
    report.check("helm 4 lint", || chart.lint());
    match tools::HELM_3.obtain() {
        Ok(helm_3) => {
            let other = chart::Chart::new(workspace, &helm_3);
            report.check("helm 3 lint", || other.lint());
            report.check("helm 3 and helm 4 render the same", || {
                chart.compare(&other)
            });
        }
        Err(reason) => report.skip("helm 3", format_args!("{reason:#}")),
    }
    report.check("version of the application", || {
        files::app_version(workspace)
    });
    for case in refused::CASES {
        report.check(&format!("refused: {}", case.name), || case.check(&chart));
    }
    report.check("canary", || canary::check(&chart));
    report.check("rules are those of the stack", || {
        files::rules(workspace, &chart)
    });
    report.check("dashboards are those of the stack", || {
        files::dashboards(workspace, &chart)
    });
    report.check("load scripts are those of the stack", || {
        files::load_scripts(workspace, &chart)
    });
    match tools::PROMTOOL.obtain() {
        Ok(promtool) => {
            report.check("promtool check rules", || {
                files::check_rules(&promtool, &chart)
            });
        }
        Err(reason) => report.skip("promtool check rules", format_args!("{reason:#}")),
    }
    schemas::check(&chart, &mut report);
    report.check("kustomize base is up to date", || {
        kustomize::up_to_date(workspace, &helm)
    });
    match tools::kubectl() {
        Ok(kubectl) => {
            report.check("kustomize builds", || kustomize::build(workspace, &kubectl));
        }
        Err(reason) => report.skip("kustomize builds", format_args!("{reason:#}")),
    }
    api_server::check(workspace, &chart, &mut report);
    Ok(report.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_command() {
        for arguments in [
            "kubernetes generate",
            "kubernetes test",
            "kubernetes test --skip-if-missing",
        ] {
            Cli::try_parse_from(arguments.split(' ')).unwrap();
        }
    }
}
