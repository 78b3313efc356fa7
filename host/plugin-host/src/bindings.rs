//! What `wit/leak-plugin.wit` becomes in Rust. Nothing but [`crate`] sees these types.
#![allow(missing_docs, reason = "generated; the documentation is in the WIT")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "leak-plugin",
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: false },
});
