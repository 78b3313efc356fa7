//! Leaks in simulated time, with the truth about them: for the score of alert rules, for labelled
//! series, and for recordings.
//!
//! | module | what it does |
//! |---|---|
//! | [`simulated_host`] | the real plugins in a real registry, without HTTP and without a clock |
//! | [`load_shape`] | when requests arrive: steady, day and night, bursts, deploys, pauses |
//! | [`plan`], [`simulation`] | which bug is active when; a process that restarts at its limit |
//! | [`scrape`], [`recording`], [`notation`] | what a scrape of that process has |
//! | [`truth`] | what leaks, since when, how much, and when the limit is reached |
//! | [`promtool`] | rules, evaluated by Prometheus's own code over a recording |
//! | [`score`] | judges alerts by the truth; knows neither rules nor simulations |
//! | [`trial`], [`time_scale`], [`report`], [`picture`] | the alert scorer |
//! | [`dataset`] | labelled series for people who research detectors |
//!
//! The memory of a simulated process is that of a host without plugins, which is constant, and the
//! linear memories of its plugins. So it lacks what a real host gains once, such as buffers and the
//! first page of the console, and the noise of its allocator. [`scrape`] lists the series that are
//! left out.

pub mod dataset;
mod floor;
pub mod load_shape;
pub mod notation;
pub mod picture;
pub mod plan;
pub mod promtool;
pub mod recording;
pub mod report;
pub mod score;
pub mod scrape;
pub mod simulated_host;
pub mod simulation;
pub mod time_scale;
pub mod trial;
pub mod truth;
