//! A scenario file for a reader that plays it without a host, such as the alert scorer.

use std::time::Duration;

use crate::scenario_run::Scenario;
use crate::setting_value::setting_value;
use plugin_host::settings::Value;

/// A scenario: which leaks are on, when, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioFile {
    /// Its name.
    pub name: String,
    /// Its leaks, at least one.
    pub leaks: Vec<ScenarioLeak>,
}

/// One leak of a scenario. Times count from the start of the scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioLeak {
    /// The id of the plugin.
    pub plugin: String,
    /// When it is on first.
    pub start_after: Duration,
    /// How long it is on; `None` until the end.
    pub duration: Option<Duration>,
    /// Time from one start to the next, longer than `duration`; `None` if it is on once.
    pub repeat: Option<Duration>,
    /// Its settings. They have not been compared with what the plugin declares.
    pub settings: Vec<(String, Value)>,
    /// The load that it is made for.
    pub requests_per_second: Option<f64>,
}

impl ScenarioFile {
    /// Reads a scenario in YAML or JSON.
    ///
    /// # Errors
    ///
    /// The line, the field and what is allowed, as one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario = Scenario::parse(text).map_err(|error| error.to_string())?;
        let leaks = scenario.steps.into_iter().map(|step| ScenarioLeak {
            start_after: step.start_after.unwrap_or_default(),
            duration: step.duration,
            repeat: step.repeat,
            // The file has checked that each is one value.
            settings: step
                .settings
                .into_iter()
                .filter_map(|setting| Some((setting.name, setting_value(setting.value)?)))
                .collect(),
            requests_per_second: step.traffic.and_then(|traffic| traffic.requests_per_second),
            plugin: step.leak,
        });
        Ok(Self {
            leaks: leaks.collect(),
            name: scenario.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scenarios_are_read_with_their_times_and_settings() {
        let text = include_str!("../../../scenarios/burst.yaml");
        let scenario = ScenarioFile::parse(text).unwrap();
        assert_eq!(scenario.name, "burst");
        let leak = &scenario.leaks[0];
        assert_eq!(leak.plugin, "cache");
        assert_eq!(leak.start_after, Duration::from_secs(60));
        assert_eq!(leak.repeat, Some(Duration::from_secs(300)));
        assert_eq!(leak.requests_per_second, Some(10.0));
        let payload = ("payload_bytes".to_owned(), Value::Integer(16_384));
        assert!(leak.settings.contains(&payload));
    }

    #[test]
    fn an_error_names_line_and_field() {
        let error = ScenarioFile::parse("name: x\nsteps:\n  - leak: cache\n    duration: 5\n");
        let error = error.unwrap_err();
        assert!(
            error.contains("line 4") && error.contains("duration"),
            "{error}"
        );
    }
}
