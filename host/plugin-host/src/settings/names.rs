//! Names and values of the settings that every plugin must declare, and the field that no plugin
//! may declare.

/// The field of an update that switches a leak on and off. It is not a setting.
pub(crate) const ENABLED: &str = "enabled";

/// Selects the pattern with the bug or the one without it.
pub(crate) const VARIANT: &str = "variant";

/// The value of [`VARIANT`] that leaks.
pub(crate) const LEAKY: &str = "leaky";

/// The value of [`VARIANT`] that does not leak.
pub(crate) const FIXED: &str = "fixed";

/// Bytes that one request retains.
pub(crate) const PAYLOAD_BYTES: &str = "payload_bytes";
