//! What the contract in `wit/` becomes in Rust. The only place that generates it.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    reason = "generated from the contract, which has its own documentation"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "leak-plugin",
    pub_export_macro: true,
    default_bindings_module: "leak_plugin_sdk::bindings",
});
