//! The Rust types of `wit/leak-plugin.wit`. They never leave this crate.
#![allow(missing_docs, reason = "generated; the documentation is in the WIT")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "leak-plugin",
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: false },
});
