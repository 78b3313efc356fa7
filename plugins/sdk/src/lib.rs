//! What every plugin of the leak lab needs, so that the plugin itself is one plain struct.
//!
//! A plugin implements [`LeakPlugin`], names its own settings with [`settings!`] and is exported with
//! [`export!`]. Everything else is here: the manifest, the settings that every plugin has (`variant`,
//! `payload_bytes`, `curve` and `curve_every`), their validation, and the bindings to the host.
//!
//! ```
//! use leak_plugin_sdk::{Call, Effect, Failure, HeapSize, LeakPlugin, NoSettings, Payload, Retention, Variant};
//!
//! /// Keeps one buffer per request.
//! #[derive(Default)]
//! pub struct Buffers {
//!     kept: Vec<Payload>,
//!     bytes: usize,
//! }
//!
//! impl LeakPlugin for Buffers {
//!     const TITLE: &'static str = "Buffers";
//!     const UNIT: &'static str = "buffers";
//!     const PAYLOAD_BYTES: usize = 4096;
//!     type Settings = NoSettings;
//!
//!     fn on_request(&mut self, call: Call<'_, NoSettings>) -> Result<Effect, Failure> {
//!         let buffer = call.payload(call.payload_bytes);
//!         if call.variant == Variant::Leaky {
//!             self.bytes += buffer.heap_bytes();
//!             self.kept.push(buffer);
//!         }
//!         Ok(Effect::Triggered)
//!     }
//!
//!     fn retained(&self) -> Retention {
//!         Retention::of(self.kept.len(), self.bytes + self.kept.capacity() * size_of::<Payload>())
//!     }
//! }
//!
//! leak_plugin_sdk::export!(Buffers);
//! # fn main() {}
//! ```
//!
//! # On the host's own target
//! A plugin compiles and is tested natively: only what [`export!`] makes is for wasm alone.
//! [`testing::Driver`] calls a plugin the way the lab does, [`testing::check`] has the checks that every
//! plugin should pass, and [`log`] writes to stderr.
//!
//! # Honest numbers
//! What a plugin reports as retained is measured from what its containers really own, see
//! [`HeapSize`] and [`Container`], and costs constant time to read.

#[doc(hidden)]
pub mod bindings;
mod choice;
#[doc(hidden)]
pub mod export;
mod growth;
mod hoard;
mod instance;
pub mod log;
mod measure;
mod payload;
mod plugin;
pub mod settings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::exports::leak_lab::plugin::leak::{
    IntegerRange, Manifest, NumberRange, Outcome, Request, Retention, Setting, SettingError,
    SettingSpec, SettingType, Value,
};
pub use choice::Choice;
pub use growth::Curve;
pub use hoard::Hoard;
pub use instance::{Identity, Instance};
pub use measure::{Container, HashMap, HeapSize};
pub use payload::Payload;
pub use plugin::{Call, Effect, Failure, LeakPlugin, SHRINK_STEP, Variant};
pub use settings::{NoSettings, Settings};
