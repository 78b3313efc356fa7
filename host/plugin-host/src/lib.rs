//! Leak plugins: from a file to a component, an instance, and a driver that owns it.
//!
//! One long-lived store per plugin: a store per request would hide the leak. It belongs to the [`driver`], which one
//! task has at a time; everybody else holds a [`handle::Plugin`], which reads what the driver has published without
//! asking it. Nothing in here knows of HTTP.

mod bindings;
pub mod conformance;
pub mod dispatch;
pub mod driver;
pub mod engine;
pub mod error;
pub mod instance;
pub mod load;
pub mod metrics;
pub mod registry;
pub mod settings;
pub mod timestamp;
