//! A scenario as a trial: all of its leaks in one process.

use std::path::Path;
use std::time::Duration;

use admin_api::scenario_file::{ScenarioFile, ScenarioLeak};
use anyhow::{Context, anyhow};
use ground_truth::load_shape::LoadShape;
use ground_truth::plan::{Inactive, Plan, PluginPlan};
use ground_truth::time_scale::TimeScale;
use ground_truth::trial::{Trial, load_of};

/// How often a leak that repeats is on, at least.
const MIN_REPETITIONS: u64 = 3;

/// The trials of a scenario: one for each load.
pub(super) fn trials(
    file: &Path,
    loads: &[LoadShape],
    scale: &TimeScale,
    rate: Option<f64>,
) -> anyhow::Result<Vec<Trial>> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let scenario = ScenarioFile::parse(&text);
    let scenario = scenario.map_err(|error| {
        anyhow!(
            "{}: {error}. docs/scenarios.md describes the file",
            file.display()
        )
    })?;
    let rates = scenario
        .leaks
        .iter()
        .filter_map(|leak| leak.requests_per_second);
    let scale = TimeScale {
        requests_per_second: rate
            .or_else(|| rates.reduce(f64::max).filter(|rate| *rate > 0.0))
            .unwrap_or(scale.requests_per_second),
        ..*scale
    };
    let ends = scenario.leaks.iter().map(|leak| end(leak, &scale));
    let seconds = ends.max().unwrap_or_default() + scale.grace_seconds;
    let plugins: Vec<PluginPlan> = scenario
        .leaks
        .iter()
        .map(|leak| PluginPlan {
            plugin: leak.plugin.clone(),
            settings: leak.settings.clone(),
            inactive: Inactive::Off,
            active: phases(leak, seconds),
        })
        .collect();
    let trial = |load: &LoadShape| Trial {
        name: scenario.name.clone(),
        load: *load,
        curve: "linear".to_owned(),
        plan: Plan {
            plugins: plugins.clone(),
            load: load_of(*load, &scale),
            seconds,
            scrape_seconds: scale.scrape_seconds,
        },
        grace_seconds: scale.grace_seconds,
    };
    Ok(loads.iter().map(trial).collect())
}

/// The second until which a leak has to be played.
fn end(leak: &ScenarioLeak, scale: &TimeScale) -> u64 {
    let played = match (leak.duration, leak.repeat) {
        (Some(_), Some(repeat)) => scale.leak_seconds.max(MIN_REPETITIONS * repeat.as_secs()),
        (Some(duration), None) => duration.as_secs(),
        (None, _) => scale.leak_seconds,
    };
    leak.start_after.as_secs() + played
}

/// When a leak is on, in a simulation of this length.
fn phases(leak: &ScenarioLeak, seconds: u64) -> Vec<(u64, u64)> {
    let start = leak.start_after.as_secs();
    let Some(duration) = leak.duration.map(|time| time.as_secs()) else {
        return vec![(start, seconds + 1)];
    };
    let repeat = leak.repeat.as_ref().map(Duration::as_secs);
    let starts = (0_u64..).map_while(|number| match (number, repeat) {
        (0, _) => Some(start),
        (_, None) => None,
        (number, Some(repeat)) => Some(start + number * repeat),
    });
    starts
        .take_while(|from| *from <= seconds)
        .map(|from| (from, from + duration))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(duration: Option<u64>, repeat: Option<u64>) -> ScenarioLeak {
        ScenarioLeak {
            plugin: "cache".to_owned(),
            start_after: Duration::from_secs(60),
            duration: duration.map(Duration::from_secs),
            repeat: repeat.map(Duration::from_secs),
            settings: Vec::new(),
            requests_per_second: None,
        }
    }

    #[test]
    fn phases_follow_the_schedule() {
        assert_eq!(phases(&leak(None, None), 500), [(60, 501)]);
        assert_eq!(phases(&leak(Some(100), None), 500), [(60, 160)]);
        let repeated = phases(&leak(Some(100), Some(200)), 500);
        assert_eq!(repeated, [(60, 160), (260, 360), (460, 560)]);
    }

    #[test]
    fn a_shipped_scenario_becomes_one_process() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/game-day.yaml");
        let trials = trials(&file, &LoadShape::ALL, &TimeScale::LESSON, None).unwrap();
        assert_eq!(trials.len(), 5);
        let plan = &trials[0].plan;
        assert_eq!(
            (trials[0].name.as_str(), plan.plugins.len()),
            ("game-day", 3)
        );
        assert_eq!(plan.load.requests_per_second, 20.0);
        assert_eq!(plan.plugins[1].onset(), Some(600));
        assert!(plan.seconds >= 55 * 60);
    }

    #[test]
    fn a_wrong_scenario_says_where_and_which_page_helps() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wrong.yaml");
        std::fs::write(&file, "name: x\nsteps: []\n").unwrap();
        let error = trials(&file, &LoadShape::ALL, &TimeScale::LESSON, None).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("line 2") && error.contains("docs/scenarios.md"),
            "{error}"
        );
    }
}
