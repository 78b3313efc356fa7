//! Components that are made to hurt the host: what they do, as text, made into components here.

mod bombs;
mod mutations;
mod plugin;

pub use bombs::{many_functions, module, nested_loops, slow_to_compile};
pub use mutations::Mutations;
pub use plugin::Plugin;
