//! Typed settings: a plugin declares them once; the SDK puts them into the manifest and checks new
//! values.

mod field;

pub use field::{Field, apply, spec};

use crate::{SettingError, SettingSpec, Value};

/// The upper bound of the setting `payload_bytes`: 16 MiB. It prevents a few requests from using up
/// the lab's memory.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// The settings of one plugin. [`settings!`](crate::settings!) implements it. [`Default`] gives the
/// values that the plugin starts with.
pub trait Settings: Clone + std::fmt::Debug + Default + 'static {
    /// The settings with their types, ranges and defaults.
    fn specs() -> Vec<SettingSpec>;

    /// Sets one new value. Returns `None` if there is no setting of this name, and `Some(Err(_))`
    /// if the value has the wrong type or is out of range. The setting does not change then.
    fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), SettingError>>;
}

/// The [`Settings`] of a plugin that has no settings of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoSettings;

impl Settings for NoSettings {
    fn specs() -> Vec<SettingSpec> {
        Vec::new()
    }

    fn set(&mut self, _name: &str, _value: &Value) -> Option<Result<(), SettingError>> {
        None
    }
}

/// Names of settings that every plugin has, from this crate or from the host.
const RESERVED: [&str; 16] = [
    "enabled",
    "variant",
    "payload_bytes",
    "curve",
    "curve_every",
    "probability",
    "max_mb",
    "ttl_seconds",
    "start_after_seconds",
    "duration_seconds",
    "repeat_seconds",
    "deadline_ms",
    "memory_limit_mb",
    "heap_profile",
    "target_mb",
    "target_minutes",
];

/// Whether this name is reserved for a setting of the SDK or of the host. The function is `const`,
/// so [`settings!`](crate::settings!) rejects reserved names at compile time.
pub const fn is_reserved(name: &str) -> bool {
    let mut rest: &[&str] = &RESERVED;
    while let [first, others @ ..] = rest {
        if bytes_eq(first.as_bytes(), name.as_bytes()) {
            return true;
        }
        rest = others;
    }
    false
}

/// `==` for slices, which is not available in `const` functions.
const fn bytes_eq(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([l, left_rest @ ..], [r, right_rest @ ..]) = (left, right) {
        if *l != *r {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

/// Declares a plugin's own settings: a struct with one field for each setting.
///
/// The macro implements [`Default`] and [`Settings`](crate::Settings) for the struct. The doc
/// comment of a field is the description of the setting, 1 to 300 characters.
///
/// A field is a `bool`, an integer, an `f64` or a [`choice!`](crate::choice). Integers and `f64`
/// need an inclusive range. The plugin rejects a value outside of the range with an error that
/// names the setting and the range.
///
/// ```
/// leak_plugin_sdk::settings! {
///     /// The settings of a queue.
///     pub struct QueueSettings {
///         /// Maximum number of queued jobs.
///         pub max_jobs: u32 = 100, in 1..=10_000;
///         /// Whether a full queue rejects new jobs.
///         pub reject: bool = false;
///     }
/// }
/// # fn main() {
/// assert_eq!(QueueSettings::default().max_jobs, 100);
/// # }
/// ```
///
/// A name that is reserved for the SDK or the host does not compile:
/// ```compile_fail
/// leak_plugin_sdk::settings! {
///     /// Does not compile.
///     pub struct Wrong {
///         /// The host has a setting of this name.
///         pub max_mb: u32 = 100, in 1..=10_000;
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field_visibility:vis $field:ident: $type:ty = $default:expr $(, in $range:expr)?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $doc])+ $field_visibility $field: $type,)+
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::Settings for $name {
            fn specs() -> ::std::vec::Vec<$crate::SettingSpec> {
                let default = Self::default();
                ::std::vec![$(
                    $crate::settings::spec(
                        ::core::stringify!($field),
                        ::core::concat!($($doc),+),
                        &default.$field,
                        &$crate::settings!(@range $($range)?),
                    )
                ),+]
            }

            fn set(
                &mut self,
                name: &str,
                value: &$crate::Value,
            ) -> ::core::option::Option<::core::result::Result<(), $crate::SettingError>> {
                match name {
                    $(::core::stringify!($field) => ::core::option::Option::Some(
                        $crate::settings::apply(&mut self.$field, name, value, &$crate::settings!(@range $($range)?))
                    ),)+
                    _ => ::core::option::Option::None,
                }
            }
        }

        $(const _: () = ::core::assert!(
            !$crate::settings::is_reserved(::core::stringify!($field)),
            "this setting name is reserved for the SDK or the host",
        );)+
    };
    (@range $range:expr) => { $range };
    (@range) => { () };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_reserved() {
        for name in RESERVED {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["", "max_m", "max_mbs", "entry_ttl_seconds", "payload"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
