//! How a plugin becomes the component's export.

use crate::bindings::exports::leak_lab::plugin::leak::Guest;
use crate::{
    Identity, Instance, LeakPlugin, Manifest, Outcome, Request, Retention, Setting, SettingError,
};

/// The one instance of a plugin that a component holds.
pub trait Exported: 'static {
    /// The plugin.
    type Plugin: LeakPlugin;

    /// Who it is.
    const IDENTITY: Identity;

    /// Works on the instance. A component runs one call at a time, and no import calls back into it.
    fn with<R>(work: impl FnOnce(&mut Instance<Self::Plugin>) -> R) -> R;
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

/// Exports a [`LeakPlugin`](crate::LeakPlugin) as the plugin that this crate is. Its id is the name of
/// the crate; version and description are those of its `Cargo.toml`.
///
/// Natively it only checks that the type is a plugin.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            #[cfg_attr(
                not(target_family = "wasm"),
                allow(dead_code, reason = "only a component exports it")
            )]
            struct Component;

            impl $crate::export::Exported for Component {
                type Plugin = $plugin;

                const IDENTITY: $crate::Identity = $crate::Identity {
                    id: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    description: ::core::env!("CARGO_PKG_DESCRIPTION"),
                };

                fn with<R>(
                    work: impl ::core::ops::FnOnce(&mut $crate::Instance<$plugin>) -> R,
                ) -> R {
                    ::std::thread_local! {
                        static INSTANCE: ::core::cell::RefCell<$crate::Instance<$plugin>> =
                            ::core::cell::RefCell::default();
                    }
                    INSTANCE.with_borrow_mut(work)
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
