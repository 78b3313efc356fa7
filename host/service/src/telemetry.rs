//! What the service tells the outside: metrics, traces, logs.

pub(crate) mod metrics;
