//! The scenario that runs: start, end, and what a failed start leaves behind, which is nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::file::Scenario;
use super::plan::{PlannedStep, plan};
use crate::error::{ApiError, ErrorCode};
use plugin_host::driver::handle::Plugin;
use plugin_host::error::PluginError;
use plugin_host::registry::Registry;
use plugin_host::settings::Value;

/// The scenario of a host; at most one runs.
#[derive(Debug, Default)]
pub(crate) struct RunningScenario(Mutex<Option<Running>>);

/// A scenario that was started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) scenario: Scenario,
    pub(crate) started_at: Timestamp,
    pub(crate) since: Instant,
    /// The leaks that it has enabled, in the order of its steps.
    pub(crate) leaks: Vec<ChangedLeak>,
}

/// A leak as it was before the scenario.
#[derive(Debug)]
pub(crate) struct ChangedLeak {
    id: String,
    incarnation: u64,
    was_enabled: bool,
    settings: Vec<(String, Value)>,
}

/// What became of the leaks at the end of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) restored: Vec<String>,
    /// The reason by leak.
    pub(crate) failed: BTreeMap<String, String>,
}

impl ChangedLeak {
    fn of(plugin: &Plugin) -> Self {
        let details = plugin.details();
        let settings = details.settings.iter();
        ChangedLeak {
            id: plugin.id().to_owned(),
            incarnation: plugin.incarnation(),
            was_enabled: plugin.enabled(),
            settings: settings
                .map(|(spec, value)| (spec.name.clone(), value.clone()))
                .collect(),
        }
    }

    /// The plugin, unless it was unloaded since.
    pub(crate) fn plugin(&self, registry: &Registry) -> Option<Arc<Plugin>> {
        let plugin = registry.get(&self.id)?;
        (plugin.incarnation() == self.incarnation).then_some(plugin)
    }

    /// Brings the switch and the settings back. A plugin that was unloaded needs nothing.
    async fn restore(&self, registry: &Registry) -> Result<(), PluginError> {
        let Some(plugin) = self.plugin(registry) else {
            return Ok(());
        };
        let details = plugin.details();
        // A new version of the plugin may have other settings.
        let differs = |(name, value): &&(String, Value)| {
            details.settings.get(name).is_some_and(|now| now != value)
        };
        let changes = self.settings.iter().filter(differs).cloned().collect();
        drop(details);
        // Only a change of the settings, if the leak can no longer be called.
        registry
            .update(&plugin, Some(self.was_enabled), changes)
            .await
    }
}

impl RunningScenario {
    /// Starts a scenario. Everything is checked before the first leak changes, and a leak that
    /// fails all the same undoes the changes of the others.
    ///
    /// # Errors
    ///
    /// 409 if a scenario runs, 422 for a scenario that the loaded leaks cannot run, and the error
    /// of the leak that failed.
    pub(crate) async fn start(
        &self,
        scenario: Scenario,
        registry: &Registry,
    ) -> Result<(), ApiError> {
        let mut running = self.0.lock().await;
        if let Some(running) = running.as_ref() {
            return Err(ApiError::new(
                ErrorCode::ScenarioRunning,
                format!("the scenario {:?} runs", running.scenario.name),
                "DELETE /admin/scenario ends it; nothing was changed",
            ));
        }
        let steps = plan(&scenario, registry)?;
        let mut leaks = Vec::with_capacity(steps.len());
        for PlannedStep { plugin, changes } in steps {
            let leak = ChangedLeak::of(&plugin);
            let updated = registry.update(&plugin, Some(true), changes).await;
            leaks.push(leak);
            if let Err(error) = updated {
                undo(&leaks, registry).await;
                return Err(error.into());
            }
        }
        tracing::info!(
            name = scenario.name,
            leaks = leaks.len(),
            "scenario started"
        );
        *running = Some(Running {
            scenario,
            started_at: Timestamp::now(),
            since: Instant::now(),
            leaks,
        });
        Ok(())
    }

    /// Ends the scenario: its leaks go back to the switch and the settings that they had before.
    ///
    /// # Errors
    ///
    /// 404 if no scenario runs.
    pub(crate) async fn end(&self, registry: &Registry) -> Result<Ended, ApiError> {
        let mut running = self.0.lock().await;
        let ended = running.take().ok_or_else(|| {
            ApiError::new(
                ErrorCode::NoScenario,
                "no scenario runs",
                "POST /admin/scenario starts one",
            )
        })?;
        let mut outcome = Ended {
            name: ended.scenario.name,
            ..Ended::default()
        };
        for leak in &ended.leaks {
            match leak.restore(registry).await {
                Ok(()) => outcome.restored.push(leak.id.clone()),
                Err(error) => drop(outcome.failed.insert(leak.id.clone(), error.to_string())),
            }
        }
        tracing::info!(name = outcome.name, "scenario ended");
        Ok(outcome)
    }

    /// Forgets the scenario after everything was reset.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }

    /// Reads the scenario that runs.
    pub(crate) async fn read<T>(&self, read: impl FnOnce(Option<&Running>) -> T) -> T {
        read(self.0.lock().await.as_ref())
    }
}

async fn undo(leaks: &[ChangedLeak], registry: &Registry) {
    for leak in leaks.iter().rev() {
        if let Err(error) = leak.restore(registry).await {
            tracing::warn!(leak = leak.id, %error, "not restored after a failed scenario");
        }
    }
}
