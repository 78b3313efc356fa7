//! A scenario for the leaks that are loaded: every change is checked before the first one.

use std::sync::Arc;

use super::fields::ScenarioError;
use super::file::{SCHEDULE, Scenario, Step};
use crate::setting_value::setting_value;
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::registry::Registry;
use plugin_host::settings::{Settings, Value};

/// A leak that a scenario enables, and the settings that change with it.
pub(super) struct PlannedStep {
    pub(super) plugin: Arc<Plugin>,
    pub(super) changes: Vec<(String, Value)>,
}

/// What a scenario changes: for each step, all settings that it does not name go back to their
/// defaults, so that the same file has the same effect on every host.
///
/// # Errors
///
/// A [`ScenarioError`] for a leak that is not loaded or does not run, and for a setting that it
/// does not accept.
pub(super) fn plan(
    scenario: &Scenario,
    registry: &Registry,
) -> Result<Vec<PlannedStep>, ScenarioError> {
    scenario
        .steps
        .iter()
        .map(|step| plan_step(step, registry))
        .collect()
}

fn plan_step(step: &Step, registry: &Registry) -> Result<PlannedStep, ScenarioError> {
    let at_leak = |message: String| ScenarioError::new(step.line, &step.path, message);
    let Some(plugin) = registry.get(&step.leak) else {
        let plugins = registry.plugins();
        let loaded: Vec<&str> = plugins.iter().map(|plugin| plugin.id()).collect();
        return Err(at_leak(format!(
            "no such leak is loaded; loaded are {}",
            loaded.join(", ")
        )));
    };
    let details = plugin.details();
    if let Some(fault) = details.state.fault() {
        let (leak, state) = (&step.leak, details.state.name());
        return Err(at_leak(format!(
            "{leak} is {state}: {}; POST /admin/leaks/{leak}/reset starts a fresh instance",
            fault.reason
        )));
    }
    let named = step.settings.iter().map(|setting| {
        // The file has checked that it is one value.
        let value = setting_value(setting.value.clone()).unwrap_or(Value::Unset);
        (setting.name.clone(), value)
    });
    let scheduled = step.schedule().into_iter().filter_map(|(name, time)| {
        let seconds = i64::try_from(time?.as_secs()).ok()?;
        Some((name.to_owned(), Value::Integer(seconds)))
    });
    let mut changes = to_defaults(&details.settings);
    changes.extend(named.chain(scheduled));
    let checked = details.settings.with(changes.clone());
    if let Err(error) = checked {
        return Err(setting_error(step, error));
    }
    drop(details);
    Ok(PlannedStep { plugin, changes })
}

/// The settings that a step can name, without those of its schedule.
fn own(known: &[String]) -> String {
    let is_own = |name: &&str| SCHEDULE.iter().all(|(_, setting)| setting != name);
    let own: Vec<&str> = known.iter().map(String::as_str).filter(is_own).collect();
    own.join(", ")
}

/// The changes that bring all settings back to their defaults.
fn to_defaults(settings: &Settings) -> Vec<(String, Value)> {
    let changed = settings
        .iter()
        .filter(|(spec, value)| **value != spec.default);
    changed
        .map(|(spec, _)| (spec.name.clone(), spec.default.clone()))
        .collect()
}

/// An error of the settings with the line of the field that caused it.
fn setting_error(step: &Step, error: PluginError) -> ScenarioError {
    let (name, message) = match error {
        PluginError::InvalidValue { name, message } => (name, message),
        PluginError::UnknownSetting {
            plugin,
            name,
            known,
        } => {
            let message = format!("{plugin} has no such setting; it has {}", own(&known));
            (name, message)
        }
        other => (String::new(), other.to_string()),
    };
    match step.settings.iter().find(|setting| setting.name == name) {
        Some(setting) => ScenarioError::new(setting.line, &setting.path, message),
        None => ScenarioError::new(step.line, &step.path, format!("{name}: {message}")),
    }
}
