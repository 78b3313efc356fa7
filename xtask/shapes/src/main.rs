//! `cargo xtask record-shapes`: the memory of each pattern as a scrape sees it, at four request
//! rates, with and without pauses of the load.
//!
//! The plugins are the real ones, in the real host's registry and behind its request path. Only the
//! time is simulated: each request carries its own, and hours take seconds. So a recording is the
//! same on every machine. `cargo xtask stack test` tests the alert rules on the recordings.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use ground_truth::notation::Samples;
use xtask_support::components::{self, Members};
use xtask_support::layout::RECORDED_SHAPES;
use xtask_support::workspace::Workspace;

mod load;
mod pattern;
mod recorder;

use load::{Load, SCALES, Scale};
use pattern::PATTERNS;
use recorder::Recorder;

/// Record what a scrape sees of each pattern, for the tests of the alert rules.
#[derive(Debug, Parser)]
#[command(name = "xtask-shapes", bin_name = "cargo xtask record-shapes")]
struct Cli {
    /// Write nothing, and fail if the committed recordings differ.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let workspace = Workspace::find()?;
    let built = components::build(&workspace, Members::All)?;
    let files: Vec<_> = PATTERNS
        .iter()
        .filter_map(|pattern| built.get(pattern.component).cloned())
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = workspace.root().join(RECORDED_SHAPES);
    let mut same = true;
    runtime.block_on(async {
        let recorder = Recorder::start(&files).await?;
        for scale in SCALES {
            let text = record(&recorder, scale).await?;
            same &= write(&folder.join(scale.file), &text, cli.check)?;
        }
        anyhow::Ok(())
    })?;
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All recordings of a scale, three lines for each.
async fn record(recorder: &Recorder, scale: &Scale) -> Result<String> {
    let mut text = format!(
        "# Recorded by `cargo xtask record-shapes`: one sample every {} s, in the notation of \
         promtool.\n",
        scale.step_seconds
    );
    for pattern in PATTERNS {
        for load in Load::all() {
            let shape = recorder.record(pattern, scale, load).await?;
            text.push_str(&format!(
                "shape {} {} {}\nlive {}\nlinear {}\n",
                pattern.name,
                load.requests_per_second,
                if load.pauses { "pauses" } else { "steady" },
                Samples(&shape.live),
                Samples(&shape.linear),
            ));
        }
        println!("{} {}", scale.file, pattern.name);
    }
    Ok(text)
}

/// Writes a recording, or only compares. Returns whether the file had this text already or has it
/// now.
fn write(file: &Path, text: &str, check: bool) -> Result<bool> {
    if check {
        let committed = fs::read_to_string(file).unwrap_or_default();
        let same = committed == text;
        if !same {
            println!("{} differs from what the plugins do", file.display());
        }
        return Ok(same);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}
