//! SDK for plugins of the leak lab. A plugin is one plain struct that retains memory.
//!
//! To write a plugin:
//!
//! 1. implement [`LeakPlugin`] for a struct,
//! 2. declare the plugin's own settings with [`settings!`], or use [`NoSettings`],
//! 3. export the struct with [`export!`].
//!
//! The SDK provides the manifest, the settings that every plugin has (`variant`, `payload_bytes`,
//! `curve` and `curve_every`), the validation of all settings, and the bindings to the host.
//!
//! ```
//! use leak_plugin_sdk::{
//!     Call, Container, Effect, Failure, HeapSize, LeakPlugin, NoSettings, Payload, Retention,
//!     Variant,
//! };
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
//!         Retention::of(self.kept.len(), self.bytes + self.kept.block_bytes())
//!     }
//! }
//!
//! leak_plugin_sdk::export!(Buffers);
//! # fn main() {}
//! ```
//!
//! # Native tests
//! A plugin also compiles for the development machine, so its tests run natively. Only the code
//! that [`export!`] generates is limited to wasm. [`testing::Driver`] calls a plugin as the lab
//! does, [`testing::check`] has the checks that every plugin should pass, and [`log`] writes to
//! stderr.
//!
//! # Measured numbers
//! A plugin reports the bytes that its values own on the heap: [`HeapSize`] and [`Container`]
//! measure them. It adds and subtracts when an object comes or goes, so that a report takes
//! constant time.

#[doc(hidden)]
pub mod bindings;
mod choice;
mod curve;
#[doc(hidden)]
pub mod export;
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
pub use curve::Curve;
pub use hoard::Hoard;
pub use instance::{Identity, Instance};
pub use measure::{Container, HashMap, HeapSize};
pub use payload::Payload;
pub use plugin::{Call, Effect, Failure, LeakPlugin, SHRINK_STEP, Variant};
pub use settings::{NoSettings, Settings};
