//! Leak plugins: from a file to a component, an instance, and a driver that owns it.
//!
//! One long-lived store per plugin: a store per request would hide the leak. It belongs to the [`driver`], which one
//! task has at a time; everybody else holds a [`handle::Plugin`], which reads what the driver has published without
//! asking it. Nothing in here knows of HTTP.

pub mod backtrace;
mod bindings;
pub mod board;
pub mod cache;
pub mod conformance;
pub mod driver;
pub mod engine;
pub mod error;
pub mod folder;
pub(crate) mod guest_log;
pub mod handle;
pub mod instance;
pub(crate) mod invocation_span;
pub mod journal;
mod lanes;
pub(crate) mod limiter;
pub mod loader;
pub mod manifest;
pub mod metrics;
pub mod registry;
pub mod request;
pub mod round;
pub mod settings;
pub mod target;
pub mod timestamp;
pub mod watch;
