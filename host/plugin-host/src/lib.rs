//! Leak plugins: from a file to a component, to an instance, to a driver that owns the instance.
//!
//! Each plugin has one long-lived store: a store per request would hide the leak. The store belongs
//! to the plugin's [`driver`], which one task uses at a time. All other code holds a
//! [`driver::handle::Plugin`], which reads what the driver has published and sends it commands.
//!
//! Modules use only the ones below them:
//!
//! ```text
//! registry               what is loaded
//! dispatch               the request path: fan-out, batcher, invoke
//! driver    conformance  the owner of an instance; the check of a component
//! load                   cache, loader, manifest, plugins folder
//! instance               a store and its typed calls
//! settings  metrics  error  engine  blocking  clock_reading  guest_text
//! regular_file
//! ```
//!
//! Nothing here knows HTTP.

mod bindings;
pub mod blocking;
pub mod clock_reading;
pub mod conformance;
pub mod dispatch;
pub mod driver;
pub mod engine;
pub mod error;
mod guest_text;
pub mod instance;
pub mod load;
pub mod metrics;
pub mod registry;
pub mod regular_file;
pub mod settings;
