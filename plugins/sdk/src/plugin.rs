//! What a leak pattern is made of.

use crate::{Payload, Request, Retention, Settings};

crate::choice! {
    /// Whether the pattern has its bug.
    pub enum Variant {
        /// It retains what it should let go.
        Leaky = "leaky",
        /// The same pattern with the bug mended.
        Fixed = "fixed",
    }
}

/// How many objects a pattern may drop in one request, beyond the one it replaces.
///
/// A pattern that is switched from leaky to fixed can hold hundreds of thousands of objects. Dropped
/// all at once they would take longer than one request is given; in steps they are gone soon enough
/// (100,000 objects after 400 requests) and no request is late.
pub const SHRINK_STEP: usize = 256;

/// One leak pattern: the whole of what a plugin has to write.
///
/// It is created with [`Default`] when the plugin is instantiated.
pub trait LeakPlugin: Default + 'static {
    /// The name of the pattern as a person reads it: "Unbounded cache".
    const TITLE: &'static str;

    /// What it retains, as a plural noun: "entries".
    const UNIT: &'static str;

    /// The default of `payload_bytes`: the bytes that one request retains, up to
    /// [`MAX_PAYLOAD_BYTES`](crate::settings::MAX_PAYLOAD_BYTES).
    const PAYLOAD_BYTES: usize;

    /// What `payload_bytes` is, for a pattern in which it is not what one request retains for good.
    const PAYLOAD_DESCRIPTION: &'static str = "Bytes that one request retains.";

    /// The settings it has beside those of every plugin; [`NoSettings`](crate::NoSettings) if none.
    type Settings: Settings;

    /// Handles one request: this is where the leak happens.
    ///
    /// # Errors
    /// A failure is shown in the lab's status and changes nothing else.
    fn on_request(&mut self, call: Call<'_, Self::Settings>) -> Result<Effect, Failure>;

    /// What the pattern holds now, containers included: measured, and read in constant time.
    fn retained(&self) -> Retention;

    /// Drops everything the pattern holds.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// One request and the settings that hold for it.
///
/// The request is borrowed: what the pattern keeps of it is copied, so that the profile shows the
/// pattern's own line and not the call's arguments.
#[derive(Debug)]
pub struct Call<'a, S> {
    /// What the lab's service was asked.
    pub request: &'a Request,
    /// Which of the two variants runs.
    pub variant: Variant,
    /// How many bytes this request is to retain, as the setting and the curve have it.
    pub payload_bytes: usize,
    /// The plugin's own settings.
    pub settings: &'a S,
    /// The number of this request since the plugin was instantiated, from 1.
    pub sequence: u64,
}

impl<S> Call<'_, S> {
    /// A buffer of `len` bytes whose content no other request's buffer has.
    pub fn payload(&self, len: usize) -> Payload {
        Payload::new(len, self.sequence)
    }
}

/// What one request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The pattern ran.
    Triggered,
    /// The pattern let this request pass.
    Skipped,
}

/// Why the pattern could not handle a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure with this explanation.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Retention {
    /// So many objects that take up so many bytes.
    pub fn of(objects: usize, bytes: usize) -> Self {
        Self {
            objects: objects as u64,
            bytes: bytes as u64,
        }
    }
}
