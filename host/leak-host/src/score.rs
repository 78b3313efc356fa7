//! `leak-host score`: plays leaks and decoys in simulated time through the user's own alert rules.

mod scenario;

use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use ground_truth::load_shape::LoadShape;
use ground_truth::picture;
use ground_truth::promtool::{self, Rules};
use ground_truth::report::Report;
use ground_truth::time_scale::TimeScale;
use ground_truth::trial::{Trial, Trials};
use plugin_host::load::cache::CacheLimits;
use process_memory::byte_size::ByteSize;

use crate::config::{OutputFormat, ScoreArgs, SimulationOptions};
use crate::plugin_loader;
use plugin_host::load::loader::Loader;

/// The exit code if the rules cannot be scored.
const EXIT_NOT_SCORED: u8 = 2;

/// The largest component: the default of serving.
const MAX_PLUGIN_BYTES: u64 = 64 << 20;

/// Scores the rules and prints the report. Exits with 0, or with 2 if they cannot be scored.
pub(crate) fn run(args: &ScoreArgs) -> ExitCode {
    match score(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leak-host score: {error:#}");
            ExitCode::from(EXIT_NOT_SCORED)
        }
    }
}

fn score(args: &ScoreArgs) -> anyhow::Result<()> {
    let promtool = args.promtool().map(PathBuf::as_path);
    let promtool = promtool::find(promtool, &args.promtool_candidates())?;
    let rules = Rules::read(&promtool, &args.rules)?;
    let scale = time_scale(args, &rules)?;
    let interval = match args.evaluation_interval {
        Some(interval) => interval.as_secs(),
        None => {
            let interval = rules.interval_seconds().unwrap_or_default();
            interval.max(scale.scrape_seconds)
        }
    };
    ensure!(interval > 0, "--evaluation-interval takes at least 1s");
    let components = components(&args.simulation.plugins)?;
    let trials = trials(args, &scale, &components)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let all = Trials {
            loader: start_loader(&args.simulation)?,
            components,
            rules: Arc::new(rules),
            interval_seconds: interval,
        };
        let tried = all.run(trials.clone(), progress(trials.len())).await?;
        anyhow::Ok(Report::new(tried, &all.rules, interval, &scale))
    })?;
    if let Some(file) = &args.picture {
        std::fs::write(file, picture::svg(&report))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    match args.format {
        OutputFormat::Human => print!("{}", report.human()),
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}

fn time_scale(args: &ScoreArgs, rules: &Rules) -> anyhow::Result<TimeScale> {
    let scale = args.time_scale;
    let scale = scale.unwrap_or_else(|| TimeScale::for_interval(rules.interval_seconds()));
    let rate = args
        .requests_per_second
        .unwrap_or(scale.requests_per_second);
    ensure!(
        (0.01..=1000.0).contains(&rate),
        "--requests-per-second takes 0.01 to 1000"
    );
    Ok(TimeScale {
        requests_per_second: rate,
        ..scale
    })
}

/// The loader for simulations. Compiled code comes from the user's cache.
pub(crate) fn start_loader(options: &SimulationOptions) -> anyhow::Result<Loader> {
    plugin_loader::start(
        options.cache().map(|cache| cache.join("compiled")),
        CacheLimits::default(),
        ByteSize::from_bytes(MAX_PLUGIN_BYTES),
        options.compile.limits(),
        &options.code,
    )
}

/// The components in a folder, sorted by name.
pub(crate) fn components(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .collect();
    ensure!(
        !files.is_empty(),
        "{} has no plugins (*.wasm): `cargo xtask plugins` builds them",
        folder.display()
    );
    files.sort();
    Ok(files)
}

fn trials(
    args: &ScoreArgs,
    scale: &TimeScale,
    components: &[PathBuf],
) -> anyhow::Result<Vec<Trial>> {
    if let Some(file) = args.scenario() {
        let loads = match args.load.as_slice() {
            [] => &[LoadShape::Steady],
            loads => loads,
        };
        ensure!(
            args.plugin.is_empty(),
            "--plugin is for --scenario all: a scenario names its leaks itself"
        );
        return scenario::trials(file, loads, scale, args.requests_per_second);
    }
    let loads = match args.load.as_slice() {
        [] => &LoadShape::ALL,
        loads => loads,
    };
    // A file has the name of its plugin. Cargo writes underscores, and ids have none.
    let stems = components.iter().filter_map(|file| file.file_stem());
    let known: Vec<String> = stems
        .map(|stem| stem.to_string_lossy().replace('_', "-"))
        .collect();
    for name in &args.plugin {
        ensure!(
            known.contains(name),
            "there is no plugin {name}; the folder has {}",
            known.join(", ")
        );
    }
    let is_chosen = |name: &&String| args.plugin.is_empty() || args.plugin.contains(name);
    let mut trials = Vec::new();
    for plugin in known.iter().filter(is_chosen) {
        for curve in &args.curve {
            let of_load = |load: &LoadShape| Trial::of_plugin(plugin, *load, curve, scale);
            trials.extend(loads.iter().map(of_load));
        }
    }
    Ok(trials)
}

/// Shows progress on a terminal.
fn progress(count: usize) -> impl Fn(&Trial) + Clone + Send + 'static {
    let done = Arc::new(AtomicUsize::new(0));
    move |trial| {
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        if stderr().is_terminal() {
            let end = if number == count { '\n' } else { '\r' };
            eprint!("{number}/{count} {:<30}{end}", trial.name);
        }
    }
}
