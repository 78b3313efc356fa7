//! The content of a scenario file, checked as far as that is possible without the loaded leaks.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json_;
use utoipa::ToSchema;

use super::document::Node;
use super::fields::{Field, Fields, ScenarioError};

/// The most steps of a scenario.
const MAX_STEPS: usize = 100;

/// The longest name of a scenario or of a leak, in characters.
const MAX_NAME_CHARS: usize = 60;

/// The longest description or note, in characters.
const MAX_TEXT_CHARS: usize = 1000;

/// The highest rate that a hint about traffic may name.
const MAX_REQUESTS_PER_SECOND: f64 = 1_000_000.0;

/// The fields of a step that become settings, with the names of the settings.
pub(crate) const SCHEDULE: [(&str, &str); 3] = [
    ("start_after", "start_after_seconds"),
    ("duration", "duration_seconds"),
    ("repeat", "repeat_seconds"),
];

/// A scenario: which leaks are on, when, and how.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// One leak of a scenario.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) leak: String,
    /// The line and the path of the field `leak`.
    pub(crate) line: u64,
    pub(crate) path: String,
    pub(crate) start_after: Option<Duration>,
    pub(crate) duration: Option<Duration>,
    pub(crate) repeat: Option<Duration>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) traffic: Option<Traffic>,
}

/// A setting of a step.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Json_,
    pub(crate) line: u64,
    pub(crate) path: String,
}

/// The load that a step is made for. The host sends no traffic by itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Traffic {
    /// Requests to `/api/data` per second.
    pub(crate) requests_per_second: Option<f64>,
    /// What to do, in words.
    pub(crate) note: Option<String>,
}

impl Scenario {
    /// Reads a scenario in YAML or JSON.
    ///
    /// # Errors
    ///
    /// A [`ScenarioError`] with the line, the field and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, ScenarioError> {
        let node = Node::parse(text).map_err(|reason| ScenarioError::not_yaml(&reason))?;
        let document = Field::new(String::new(), node);
        let mut fields = document.into_fields(&["name", "description", "steps"])?;
        let name = fields.require("name", "a name for the scenario")?;
        let description = fields.take("description");
        let steps = fields.require("steps", "a list of leaks")?;
        let (steps_line, steps_path) = (steps.line, steps.path.clone());
        let steps = steps.into_list()?;
        if steps.is_empty() || steps.len() > MAX_STEPS {
            let message = format!("takes 1 to {MAX_STEPS} steps");
            return Err(ScenarioError::new(steps_line, steps_path, message));
        }
        let steps: Vec<Step> = steps.into_iter().map(Step::of).collect::<Result<_, _>>()?;
        for (index, step) in steps.iter().enumerate() {
            let earlier = steps
                .iter()
                .take(index)
                .position(|other| other.leak == step.leak);
            if let Some(earlier) = earlier {
                let message = format!(
                    "{} is the leak of steps[{earlier}] already; \
                     a leak has one schedule, repeat starts it again",
                    step.leak
                );
                return Err(ScenarioError::new(step.line, &step.path, message));
            }
        }
        Ok(Scenario {
            name: name.text(MAX_NAME_CHARS)?,
            description: description.map(|d| d.text(MAX_TEXT_CHARS)).transpose()?,
            steps,
        })
    }
}

impl Step {
    fn of(field: Field) -> Result<Self, ScenarioError> {
        let allowed = [
            "leak",
            "start_after",
            "duration",
            "repeat",
            "settings",
            "traffic",
        ];
        let mut fields = field.into_fields(&allowed)?;
        let leak = fields.require("leak", "the name of a leak")?;
        let start_after = time(&mut fields, "start_after", Duration::ZERO)?;
        let duration = time(&mut fields, "duration", Duration::from_secs(1))?;
        let repeat = repeat(&mut fields, duration)?;
        let settings = match fields.take("settings") {
            Some(settings) => settings
                .into_any_fields()?
                .rest()
                .map(Setting::of)
                .collect(),
            None => Ok(Vec::new()),
        };
        Ok(Step {
            leak: leak.text(MAX_NAME_CHARS)?,
            line: leak.line,
            path: leak.path,
            start_after,
            duration,
            repeat,
            settings: settings?,
            traffic: fields.take("traffic").map(Traffic::of).transpose()?,
        })
    }

    /// The schedule as settings of the leak, with `None` for those that the step does not have.
    pub(crate) fn schedule(&self) -> [(&'static str, Option<Duration>); 3] {
        let [(_, start_after), (_, duration), (_, repeat)] = SCHEDULE;
        [
            (start_after, self.start_after),
            (duration, self.duration),
            (repeat, self.repeat),
        ]
    }
}

fn time(fields: &mut Fields, name: &str, min: Duration) -> Result<Option<Duration>, ScenarioError> {
    fields.take(name).map(|field| field.time(min)).transpose()
}

fn repeat(
    fields: &mut Fields,
    duration: Option<Duration>,
) -> Result<Option<Duration>, ScenarioError> {
    let Some(field) = fields.take("repeat") else {
        return Ok(None);
    };
    let repeat = field.time(Duration::from_secs(1))?;
    match duration {
        Some(duration) if repeat > duration => Ok(Some(repeat)),
        Some(duration) => {
            let seconds = duration.as_secs();
            Err(field.error(format!("takes more than duration, which is {seconds}s")))
        }
        None => Err(field.error("needs duration: without it, the leak stays on")),
    }
}

impl Setting {
    fn of((name, field): (String, Field)) -> Result<Self, ScenarioError> {
        if let Some((step_field, _)) = SCHEDULE.iter().find(|(_, setting)| *setting == name) {
            return Err(field.error(format!("is the field {step_field} of the step")));
        }
        Ok(Setting {
            value: field.scalar()?,
            name,
            line: field.line,
            path: field.path,
        })
    }
}

impl Traffic {
    fn of(field: Field) -> Result<Self, ScenarioError> {
        let mut fields = field.into_fields(&["requests_per_second", "note"])?;
        let rate = fields.take("requests_per_second");
        let note = fields.take("note");
        Ok(Traffic {
            requests_per_second: rate
                .map(|rate| rate.number(0.0, MAX_REQUESTS_PER_SECOND))
                .transpose()?,
            note: note.map(|note| note.text(MAX_TEXT_CHARS)).transpose()?,
        })
    }
}
