//! The progress of learners through the exercises, judged by what the host has seen.
//!
//! Handlers report the calls that an exercise asks for with [`ApiState::record`]. The requests come
//! from the counters of the plugins, so `/api/data` costs nothing more.
//!
//! [`ApiState::record`]: crate::ApiState

mod progress;
mod recorder;
mod step;

pub(crate) use progress::Action;
pub(crate) use recorder::{DOCUMENT_FIELD, Recorder};
pub use step::Step;

/// The number of exercises.
pub(crate) const EXERCISES: usize = 6;

#[cfg(test)]
mod tests;
