//! The Rust bindings of the contract in `wit/`. No other module generates them.
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
