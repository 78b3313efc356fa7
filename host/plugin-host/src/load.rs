//! From a file or an upload to a compiled component.

pub mod cache;
pub mod folder;
pub mod loader;
pub mod manifest;
pub mod watch;
