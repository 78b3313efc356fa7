//! The trait [`LeakPlugin`] and the types of its methods.

use crate::{Payload, Request, Retention, Settings};

crate::choice! {
    /// Whether the pattern runs with its bug: the setting `variant`.
    pub enum Variant {
        /// The pattern with the bug: it retains memory that it should free.
        Leaky = "leaky",
        /// The same pattern with the bug fixed.
        Fixed = "fixed",
    }
}

/// The maximum number of objects that a pattern drops in one request, in addition to the one that
/// the request replaces.
///
/// A pattern that is switched from leaky to fixed can hold hundreds of thousands of objects. To
/// drop them all at once would exceed the deadline of a request. In steps, no request is late, and
/// 100,000 objects are gone after 400 requests.
pub const SHRINK_STEP: usize = 256;

/// A leak pattern. This is the only trait that a plugin implements.
///
/// The SDK creates the struct with [`Default`] when the host instantiates the plugin. It creates
/// two: the curve `sawtooth` retains some requests in the second one and clears it at the end of
/// each tooth. So keep all state in the struct, not in a `static` or a `thread_local!`.
pub trait LeakPlugin: Default + 'static {
    /// The name that people see, such as "Unbounded cache". 1 to 100 characters.
    const TITLE: &'static str;

    /// What the pattern retains, as a plural noun, such as "entries". 1 to 24 characters of `a-z`
    /// and `_`.
    const UNIT: &'static str;

    /// The default of the setting `payload_bytes`: the bytes that one request retains, 0 to
    /// [`MAX_PAYLOAD_BYTES`](crate::settings::MAX_PAYLOAD_BYTES).
    const PAYLOAD_BYTES: usize;

    /// The description of the setting `payload_bytes`, 1 to 300 characters. Override it if a
    /// request does not retain `payload_bytes` permanently.
    const PAYLOAD_DESCRIPTION: &'static str = "Bytes that one request retains.";

    /// The plugin's own settings, or [`NoSettings`](crate::NoSettings).
    type Settings: Settings;

    /// Handles one request: the leak happens here. The call must return within its deadline, 250 ms
    /// by default.
    ///
    /// # Errors
    /// The lab's status shows the text of the [`Failure`]. It has no other effect.
    fn on_request(&mut self, call: Call<'_, Self::Settings>) -> Result<Effect, Failure>;

    /// The objects and bytes that the pattern holds now, including its containers.
    ///
    /// The SDK calls this after each request, so it must take constant time. The number of bytes
    /// is a measurement, never an estimate; [`HeapSize`](crate::HeapSize) and
    /// [`Container`](crate::Container) provide it.
    fn retained(&self) -> Retention;

    /// Drops everything that the pattern holds. Override this if dropping the struct does not free
    /// all of it.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// One request and the settings that apply to it.
///
/// The request is borrowed. A pattern copies what it keeps, so the profile shows the pattern's own
/// line and not the arguments of the call.
#[derive(Debug)]
pub struct Call<'a, S> {
    /// The request to the lab's service.
    pub request: &'a Request,
    /// The variant that runs.
    pub variant: Variant,
    /// The bytes that this request retains. The value already includes the curve.
    pub payload_bytes: usize,
    /// The plugin's own settings.
    pub settings: &'a S,
    /// The number of this request since the plugin was instantiated, starting at 1.
    pub sequence: u64,
}

impl<S> Call<'_, S> {
    /// Allocates a buffer of `len` bytes. Its content differs from the buffers of all other
    /// requests.
    pub fn payload(&self, len: usize) -> Payload {
        Payload::new(len, self.sequence)
    }
}

/// What one request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The pattern ran.
    Triggered,
    /// The pattern skipped this request.
    Skipped,
}

/// The reason why the pattern could not handle a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure with this text, which the lab's status shows.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Retention {
    /// A report of this many objects and bytes.
    pub fn of(objects: usize, bytes: usize) -> Self {
        Self {
            objects: objects as u64,
            bytes: bytes as u64,
        }
    }
}
