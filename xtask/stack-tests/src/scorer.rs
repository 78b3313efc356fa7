//! Tests `leak-host score` and `leak-host dataset` with the real promtool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::layout::COMPOSE;
use xtask_support::report::Report;
use xtask_support::tools::{python_environment, run_quietly};
use xtask_support::workspace::Workspace;

use crate::service::ServiceFiles;
use crate::{ServiceArgs, runs_folder, tools};

/// The plugins of the test: two leaks that reach the limit in time, and two decoys.
const PLUGINS: &str = "cache,unbounded-queue,sawtooth,warm-up";

/// The shapes of the load: those in which no process is replaced, so that each leak reaches the
/// limit.
const LOADS: &str = "steady,burst";

/// Requests per second at which these leaks reach the limit within the lesson.
const RATE: &str = "40";

/// The library that reads the tables.
const PANDAS: &str = "pandas[parquet]==3.1.1";

/// Reads both tables and prints their rows, and those that are labelled as leaking.
const READ_TABLES: &str = "
import sys, pandas
process = pandas.read_parquet(sys.argv[1] + '/process.parquet')
plugins = pandas.read_parquet(sys.argv[1] + '/plugins.parquet')
assert str(process.time.dt.tz) == 'UTC', process.time.dtype
assert process.time.is_monotonic_increasing
assert process.process_resident_memory_bytes.max() <= 300 << 20
assert plugins.groupby('plugin').size().nunique() == 1
leaks = plugins[plugins.leaking].plugin.unique()
assert 1 <= len(leaks) <= 3, leaks
print(len(process), len(plugins), int(process.leaking.sum()))
";

/// Makes every check.
///
/// # Errors
/// When the service is not built.
pub(crate) fn check(
    workspace: &Workspace,
    service: &ServiceArgs,
    report: &mut Report,
) -> Result<()> {
    println!("\nscorer and dataset");
    let files = service.find(workspace)?;
    let promtool = match tools::PROMTOOL.obtain() {
        Ok(promtool) => promtool,
        Err(reason) => {
            report.skip("scorer", format_args!("{reason:#}"));
            return Ok(());
        }
    };
    let prometheus = workspace.root().join(COMPOSE).join("prometheus");
    let scorer = Scorer {
        files: &files,
        promtool: &promtool,
    };
    let bad = |name: &str| prometheus.join("tests/bad-rules").join(name);
    let ours = [
        prometheus.join("rules/leaks-lab.yml"),
        prometheus.join("rules/service.yml"),
    ];
    let mut lead = 0;
    report.check(
        "the lab's rules find each leak in time, without a false alarm",
        || {
            let score = scorer.score(&ours)?;
            ensure!(number(&score, "leaks") == 4, "{score}");
            ensure!(
                number(&score, "missed") + number(&score, "late") == 0,
                "{score}"
            );
            ensure!(number(&score, "false_alarms") == 0, "{score}");
            lead = number(&score, "median_lead_seconds");
            Ok(format!("median lead time {lead} s"))
        },
    );
    report.check("rules that fire on any growth have false alarms", || {
        let score = scorer.score(&[bad("any-growth.yml")])?;
        // One per decoy and load, at least.
        ensure!(number(&score, "false_alarms") >= 4, "{score}");
        ensure!(number(&score, "missed") == 0, "{score}");
        Ok(format!("{} false alarms", number(&score, "false_alarms")))
    });
    report.check("rules that never fire miss every leak", || {
        let score = scorer.score(&[bad("never.yml")])?;
        ensure!(
            number(&score, "missed") == number(&score, "leaks"),
            "{score}"
        );
        ensure!(number(&score, "false_alarms") == 0, "{score}");
        Ok(format!("{} missed", number(&score, "missed")))
    });
    report.check("rules that fire too late have no lead time", || {
        let score = scorer.score(&[bad("too-late.yml")])?;
        let of_alert = number(&score, "median_lead_seconds");
        let found = number(&score, "found");
        let is_late = found == 0 || of_alert * 10 < lead;
        ensure!(is_late, "{score}");
        ensure!(number(&score, "false_alarms") == 0, "{score}");
        Ok(format!("{found} found in time"))
    });
    report.check(
        "rules that promtool refuses are shown with its message",
        || {
            let folder = runs_folder(workspace);
            fs::create_dir_all(&folder)?;
            let file = folder.join("refused.yml");
            fs::write(
                &file,
                "groups:\n  - name: x\n    rules:\n      - alert: A\n        expr: up >\n",
            )?;
            let output = scorer.command(&[file]).output()?;
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(2), "{message}");
            ensure!(message.contains("parse error"), "{message}");
            Ok("refused".to_owned())
        },
    );
    dataset(workspace, &files, &promtool, report);
    Ok(())
}

struct Scorer<'a> {
    files: &'a ServiceFiles,
    promtool: &'a Path,
}

impl Scorer<'_> {
    fn command(&self, rules: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.files.binary);
        command.arg("score").arg("--rules").args(rules);
        command.arg("--plugins").arg(&self.files.plugins);
        command.arg("--promtool").arg(self.promtool);
        command.args(["--plugin", PLUGINS, "--requests-per-second", RATE]);
        command.args(["--load", LOADS, "--format", "json"]);
        command
    }

    /// The score of all alerts together.
    fn score(&self, rules: &[PathBuf]) -> Result<Value> {
        let report: Value = serde_json::from_str(&run_quietly(&mut self.command(rules))?)?;
        let together = report.get("together");
        Ok(together.context("a report without a summary")?.clone())
    }
}

fn number(score: &Value, field: &str) -> i64 {
    score.get(field).and_then(Value::as_i64).unwrap_or(-1)
}

fn dataset(workspace: &Workspace, files: &ServiceFiles, promtool: &Path, report: &mut Report) {
    let folder = runs_folder(workspace).join(format!("dataset-{}", std::process::id()));
    let write = |name: &str| {
        let out = folder.join(name);
        let mut command = Command::new(&files.binary);
        command.args(["dataset", "--seed", "1", "--days", "1", "--out"]);
        command.arg(&out).arg("--plugins").arg(&files.plugins);
        run_quietly(&mut command)?;
        anyhow::Ok(out)
    };
    let written = report.check("dataset: the same seed gives the same bytes", || {
        let (one, other) = (write("one")?, write("other")?);
        let mut bytes = 0;
        for file in [
            "metrics.om",
            "process.parquet",
            "plugins.parquet",
            "labels.json",
            "README.md",
        ] {
            let (a, b) = (fs::read(one.join(file))?, fs::read(other.join(file))?);
            ensure!(a == b, "{file} differs");
            bytes += a.len();
        }
        Ok(format!("{} MB", bytes >> 20))
    });
    if written {
        report.check("dataset: Prometheus imports and reads it", || {
            let blocks = folder.join("blocks");
            let mut import = Command::new(promtool);
            import.args(["tsdb", "create-blocks-from", "openmetrics"]);
            run_quietly(import.arg(folder.join("one/metrics.om")).arg(&blocks))?;
            // The dump expects the folder of a server.
            fs::create_dir_all(blocks.join("wal"))?;
            let mut dump = Command::new(promtool);
            dump.args(["tsdb", "dump", "--match", "process_resident_memory_bytes"]);
            let text = run_quietly(dump.arg(&blocks))?;
            let samples = text.lines().count();
            ensure!((15_000..=17_281).contains(&samples), "{samples} samples");
            Ok(format!("{samples} samples of the resident memory"))
        });
        match python_environment(PANDAS) {
            Ok(bin) => {
                report.check("dataset: pandas reads it", || {
                    let mut python = Command::new(bin.join("python"));
                    python.args(["-c", READ_TABLES]).arg(folder.join("one"));
                    Ok(format!("rows: {}", run_quietly(&mut python)?.trim()))
                });
            }
            Err(reason) => report.skip("dataset: pandas reads it", format_args!("{reason:#}")),
        }
    }
    // What is left of it is removed with the other runs.
    let _ignored = fs::remove_dir_all(&folder);
}
