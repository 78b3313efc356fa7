//! The lab above the plugins: samples, heap histories, forecast, ledger and the post-mortem.

pub mod growth;
pub mod heap;
pub mod ledger;
pub mod metrics;
pub mod metrics_refresh;
pub mod monitor;
pub mod post_mortem;
pub mod samples;
