//! Typed settings: declared once, shown in the manifest, checked on entry.

mod field;

pub use field::{Field, apply, spec};

use crate::{SettingError, SettingSpec, Value};

/// The largest `payload_bytes`: 16 MiB, so that a handful of requests cannot end the lab.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// The settings of one plugin. Made by [`settings!`](crate::settings!); its [`Default`] is what the
/// plugin starts with.
pub trait Settings: Clone + std::fmt::Debug + Default + 'static {
    /// What there is to set, with the defaults.
    fn specs() -> Vec<SettingSpec>;

    /// Takes one new value. Answers `None` when it knows no setting of that name.
    fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), SettingError>>;
}

/// For a plugin without settings of its own.
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

/// Names that every plugin has already, from this crate or from the host.
const RESERVED: [&str; 13] = [
    "enabled",
    "variant",
    "payload_bytes",
    "curve",
    "curve_every",
    "probability",
    "max_mb",
    "ttl_seconds",
    "deadline_ms",
    "memory_limit_mb",
    "heap_profile",
    "target_mb",
    "target_minutes",
];

/// Whether a plugin must not call a setting of its own like this. Constant, so that
/// [`settings!`](crate::settings!) refuses such a name when the plugin is compiled.
pub const fn is_reserved(name: &str) -> bool {
    let mut rest: &[&str] = &RESERVED;
    while let [first, others @ ..] = rest {
        if same(first.as_bytes(), name.as_bytes()) {
            return true;
        }
        rest = others;
    }
    false
}

const fn same(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([l, left_rest @ ..], [r, right_rest @ ..]) = (left, right) {
        if *l != *r {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

/// Makes a plugin's settings: a struct with a field for each, its defaults, and its part of the
/// manifest, in which the doc comment of a field is the description of the setting.
///
/// A field is a `bool`, an integer, an `f64` or a [`choice!`](crate::choice); integers and numbers say
/// in which range they lie.
///
/// ```
/// leak_plugin_sdk::settings! {
///     /// What a queue can be told.
///     pub struct QueueSettings {
///         /// Most jobs that wait at a time.
///         pub max_jobs: u32 = 100, in 1..=10_000;
///         /// Whether a job that does not fit is refused.
///         pub refuse: bool = false;
///     }
/// }
/// # fn main() {
/// assert_eq!(QueueSettings::default().max_jobs, 100);
/// # }
/// ```
///
/// A name that every plugin has already does not compile:
/// ```compile_fail
/// leak_plugin_sdk::settings! {
///     /// Fails.
///     pub struct Wrong {
///         /// Is the host's.
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
            "every plugin has a setting of this name already",
        );)+
    };
    (@range $range:expr) => { $range };
    (@range) => { () };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_told_from_names_like_them() {
        for name in RESERVED {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["", "max_m", "max_mbs", "entry_ttl_seconds", "payload"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
