//! Connects a plugin to the exports of its component.

use crate::bindings::exports::leak_lab::plugin::leak::Guest;
use crate::{
    Identity, Instance, LeakPlugin, Manifest, Outcome, Request, Retention, Setting, SettingError,
};

/// The plugin that a component exports. [`export!`](crate::export!) implements it.
pub trait Exported: 'static {
    /// The exported plugin.
    type Plugin: LeakPlugin;

    /// Id, version and description, from the crate's `Cargo.toml`.
    const IDENTITY: Identity;

    /// Calls `f` with the component's only instance of the plugin.
    ///
    /// The exclusive borrow cannot fail: a component runs one call at a time, and no import calls
    /// back into it.
    fn with<R>(f: impl FnOnce(&mut Instance<Self::Plugin>) -> R) -> R;
}

impl<E: Exported> Guest for E {
    fn describe() -> Manifest {
        Instance::<E::Plugin>::manifest(E::IDENTITY)
    }

    fn configure(settings: Vec<Setting>) -> Result<(), SettingError> {
        E::with(|instance| instance.configure(&settings))
    }

    fn on_request(request: Request) -> Result<Outcome, String> {
        E::with(|instance| instance.on_request(&request))
    }

    fn retained() -> Retention {
        E::with(|instance| instance.retained())
    }

    fn clear() -> Retention {
        E::with(Instance::clear)
    }
}

/// Exports a [`LeakPlugin`](crate::LeakPlugin) as this crate's plugin. Use it once per crate.
///
/// The plugin's id is the name of the crate. Its version and description come from the crate's
/// `Cargo.toml`. The description should be one sentence for the person who enables the plugin.
///
/// On a native target the macro only checks that the type implements
/// [`LeakPlugin`](crate::LeakPlugin).
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            #[cfg_attr(
                not(target_family = "wasm"),
                allow(dead_code, reason = "used only in the wasm component")
            )]
            struct Component;

            impl $crate::export::Exported for Component {
                type Plugin = $plugin;

                const IDENTITY: $crate::Identity = $crate::Identity {
                    id: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                };

                fn with<R>(f: impl ::core::ops::FnOnce(&mut $crate::Instance<$plugin>) -> R) -> R {
                    ::std::thread_local! {
                        static INSTANCE: ::core::cell::RefCell<$crate::Instance<$plugin>> =
                            ::core::cell::RefCell::default();
                    }
                    INSTANCE.with_borrow_mut(f)
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
