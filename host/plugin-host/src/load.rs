//! From a file or an upload to a compiled component, and to an instance that has described itself.

pub mod cache;
pub mod compiler;
pub mod component_source;
mod declarations;
pub mod folder;
pub mod loader;
pub mod manifest;
mod prepared;
pub(crate) mod staged_file;
pub(crate) mod started_plugin;
pub mod symbol_options;
pub(crate) mod watch;
