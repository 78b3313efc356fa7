//! `cargo xtask bench` and `cargo xtask soak`: measurements of the running lab and of the heap
//! profiler, each printed next to its limit. A number over its limit is exit code 1.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask_support::components::{self, Members};
use xtask_support::host_process;
use xtask_support::toolchain;
use xtask_support::workspace::Workspace;

mod console;
mod fleet;
mod heap;
mod http;
mod measured_host;
mod measurement;
mod reload;
mod scale;
mod serve;
mod soak;
mod startup;
mod wrk;

#[derive(Debug, Parser)]
#[command(name = "xtask-bench", bin_name = "cargo xtask")]
enum Cli {
    /// Measure the running lab and the heap profiler, and compare with their limits.
    #[command(subcommand)]
    Bench(Bench),
    /// Load for minutes or days: the host itself must not leak. Needs `wrk`.
    Soak(soak::Args),
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// From start to healthy with compiled plugins cached, and the memory of an idle host.
    Startup(startup::Args),
    /// Requests a second and latency, against a plain axum service. Needs `wrk`.
    Http(http::Args),
    /// What the heap profile costs an HTTP service that `guest-heap serve` runs. Needs `wrk`.
    Serve(serve::Args),
    /// What open pages of the console cost the host.
    Console(console::Args),
    /// What heap tracking costs guests: time by kind of work, and bytes for each live block.
    Heap,
    /// A thousand different plugins at once: memory of each, and the calls that list all.
    Scale(scale::Args),
    /// A hundred hosts at once: what `leak-host fleet` takes, also with a host that is stopped.
    Fleet(fleet::Args),
    /// A thousand loads and unloads under load: no request fails, and no memory is left behind.
    Reload(reload::Args),
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let workspace = Workspace::find()?;
    toolchain::ensure_wasm_targets(&workspace)?;
    if !matches!(cli, Cli::Bench(Bench::Heap | Bench::Serve(_))) {
        components::build(&workspace, Members::Shipped)?;
    }
    let needs_host = match &cli {
        Cli::Bench(Bench::Heap | Bench::Serve(_)) => false,
        Cli::Bench(Bench::Http(args)) => args.needs_host(),
        _ => true,
    };
    if needs_host {
        host_process::build(&workspace)?;
    }
    let within = match &cli {
        Cli::Bench(Bench::Heap) => heap::run(&workspace)?,
        Cli::Bench(Bench::Startup(args)) => {
            measurement::print(&startup::measure(&workspace, args)?)
        }
        Cli::Bench(Bench::Console(args)) => {
            measurement::print(&console::measure(&workspace, args)?)
        }
        Cli::Bench(Bench::Fleet(args)) => measurement::print(&fleet::measure(&workspace, args)?),
        Cli::Bench(Bench::Http(args)) => http::compare(&workspace, args)?,
        Cli::Bench(Bench::Scale(args)) => measurement::print(&scale::measure(&workspace, args)?),
        Cli::Bench(Bench::Reload(args)) => measurement::print(&reload::measure(&workspace, args)?),
        Cli::Bench(Bench::Serve(args)) => serve::compare(&workspace, args)?,
        Cli::Soak(args) => soak::run(&workspace, args)?,
    };
    Ok(ExitCode::from(u8::from(!within)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_commands() {
        for arguments in [
            "xtask bench startup --starts 3",
            "xtask bench http --connections 128",
            "xtask bench http --host a --against b --turns 1 --seconds 1",
            "xtask bench heap",
            "xtask bench serve --turns 1 --path /x app.wasm",
            "xtask bench console --many 10",
            "xtask bench scale --plugins 10",
            "xtask bench fleet --hosts 10 --plugins all",
            "xtask bench reload --loads 10 --clients 1",
            "xtask soak --minutes 0.5 --seed 2",
        ] {
            Cli::try_parse_from(arguments.split(' ')).unwrap();
        }
        assert!(Cli::try_parse_from(["xtask", "bench", "startup", "--starts", "0"]).is_err());
    }
}
