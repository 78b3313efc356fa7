//! Whose code the frames of plugins are.

use guest_heap::symbols::SymbolOptions;

/// How the lab attributes source lines: the plugin SDK is infrastructure, so no leak is in it.
pub fn symbol_options() -> SymbolOptions {
    SymbolOptions::default()
        .keep_folder("plugins")
        .infrastructure_path("plugins/sdk")
        .infrastructure_crate("leak-plugin-sdk")
}
