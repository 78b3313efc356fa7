//! The lab above the plugins: samples, heap histories, forecasts, the ledger and the post-mortem.
//!
//! | module | what it does |
//! |---|---|
//! | [`sampler`] | the task that samples once a second |
//! | [`sample_history`] | the samples of process and plugins, over 15 minutes |
//! | [`forecast`], [`growth`] | growth by regression, and the time until a limit |
//! | `one_time_growth` | takes one-time growth of the host out of the samples |
//! | [`steps`] | growth in steps, such as that of a buffer that doubles |
//! | [`verdict`] | what leaks, where, how fast and until when, in one sentence |
//! | [`ledger`] | resident memory split into parts |
//! | [`monitor`] | the shared handle to all of these |
//! | [`heap`] | heaps by source line: snapshots, histories, baselines |
//! | [`metrics`], [`metrics_refresh`] | the Prometheus families, and the gauges set at scrape time |
//! | [`profiles`] | heap profiles for OTLP |
//! | [`post_mortem`] | the last readings of a host that was killed |

pub mod forecast;
pub mod growth;
pub mod heap;
pub mod ledger;
mod ledger_reader;
mod memory_change;
pub mod metrics;
pub mod metrics_refresh;
pub mod monitor;
mod one_time_growth;
pub mod post_mortem;
pub mod profiles;
pub mod sample_history;
pub mod sampler;
mod samples;
pub mod steps;
pub mod verdict;
