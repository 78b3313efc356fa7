//! `leak-host dataset`: writes labelled series of leaks, decoys and healthy plugins.

use std::process::ExitCode;

use anyhow::ensure;
use ground_truth::dataset::{self, DatasetOptions, Labels};
use ground_truth::simulated_host::SimulatedHost;

use crate::config::{DatasetArgs, DatasetFormat};
use crate::score::{components, start_loader};

/// The exit code if the dataset cannot be written.
const EXIT_NOT_WRITTEN: u8 = 2;

/// Writes the files and prints what they have. Exits with 0, or with 2 if they cannot be written.
pub(crate) fn run(args: &DatasetArgs) -> ExitCode {
    match write(args) {
        Ok(labels) => {
            println!(
                "{}: {} days with a scrape every {} s, load {}, {} restarts",
                args.out.display(),
                labels.days,
                labels.scrape_seconds,
                labels.load,
                labels.restarts.len()
            );
            for plugin in &labels.plugins {
                let line = plugin.line.as_deref().unwrap_or("-");
                println!("{:<20} {:<8} {line}", plugin.plugin, plugin.role.name());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("leak-host dataset: {error:#}");
            ExitCode::from(EXIT_NOT_WRITTEN)
        }
    }
}

fn write(args: &DatasetArgs) -> anyhow::Result<Labels> {
    let rate = args.requests_per_second;
    ensure!(
        (0.01..=100.0).contains(&rate),
        "--requests-per-second takes 0.01 to 100"
    );
    let options = DatasetOptions {
        seed: args.seed,
        days: args.days,
        scrape_seconds: args.scrape_interval,
        requests_per_second: rate,
        load: args.load,
        openmetrics: args.format.contains(&DatasetFormat::Openmetrics),
        parquet: args.format.contains(&DatasetFormat::Parquet),
    };
    let components = components(&args.simulation.plugins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let loader = start_loader(&args.simulation)?;
        let host = SimulatedHost::start(loader.clone(), &components).await?;
        dataset::write(&loader, &host, &options, &args.out).await
    })
}
