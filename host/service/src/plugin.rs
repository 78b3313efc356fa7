//! Leak plugins: from a file to a component, an instance, and a driver that owns it.
//!
//! One long-lived store per plugin: a store per request would hide the leak. It belongs to the [`driver`], which one
//! task has at a time; everybody else holds a [`handle::Plugin`], which reads what the driver has published without
//! asking it. Nothing in here knows of HTTP.

pub(crate) mod backtrace;
pub(crate) mod board;
pub(crate) mod cache;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod guest_log;
pub(crate) mod handle;
pub(crate) mod instance;
pub(crate) mod journal;
mod lanes;
pub(crate) mod limiter;
pub(crate) mod loader;
pub(crate) mod manifest;
pub(crate) mod registry;
pub(crate) mod request;
pub(crate) mod round;
pub(crate) mod settings;
pub(crate) mod target;
pub(crate) mod watch;
