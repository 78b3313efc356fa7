//! The options of `leak-host dataset`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ground_truth::load_shape::LoadShape;

use super::SimulationOptions;
use super::score::load_shape;

/// A format of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatasetFormat {
    /// One text file with timestamps, for Prometheus
    Openmetrics,
    /// Two tables, for pandas and others
    Parquet,
}

#[derive(Debug, Args)]
pub(crate) struct DatasetArgs {
    /// Chooses the plugins, their bugs and the times: the same seed gives the same files
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: u64,

    /// Length of the series in days, 1 to 60
    #[arg(long, value_name = "COUNT", default_value_t = 7)]
    pub(crate) days: u64,

    /// Folder to write into; it is created
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// Formats of the series, separated by commas
    #[arg(
        long,
        value_name = "FORMAT,…",
        value_enum,
        value_delimiter = ',',
        default_values = ["openmetrics", "parquet"]
    )]
    pub(crate) format: Vec<DatasetFormat>,

    /// Seconds between two scrapes, 1 to 300
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=300)
    )]
    pub(crate) scrape_interval: u64,

    /// Mean of the requests per second, 0.01 to 100
    #[arg(long, value_name = "RATE", default_value_t = 0.5)]
    pub(crate) requests_per_second: f64,

    /// Shape of the load [default: the seed chooses]
    #[arg(long, value_name = "SHAPE", value_parser = load_shape())]
    pub(crate) load: Option<LoadShape>,

    /// Where plugins and compiled plugins are.
    #[command(flatten)]
    pub(crate) simulation: SimulationOptions,
}
