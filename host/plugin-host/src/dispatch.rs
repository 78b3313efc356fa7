//! The path of one request to the plugins that are on.

pub(crate) mod batcher;
pub mod fan_out;
pub mod invocation_span;
pub mod request;
