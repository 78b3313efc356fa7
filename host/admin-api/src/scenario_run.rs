//! A scenario: its file, its plan for the loaded leaks, and its run.

mod document;
mod fields;
mod file;
mod plan;
mod running;
#[cfg(test)]
mod tests;

pub(crate) use self::fields::{ScenarioError, parse_time};
pub(crate) use self::file::{Scenario, Step, Traffic};
pub(crate) use self::running::{ChangedLeak, Running, RunningScenario};
