//! What to do about an import that this program does not provide.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// The versions of WASI that are provided.
const WASI_VERSIONS: [&str; 2] = ["0.2", "0.3"];

/// Packages of WASI that are provided.
const WASI_PACKAGES: [&str; 7] = [
    "cli",
    "clocks",
    "filesystem",
    "http",
    "io",
    "random",
    "sockets",
];

/// The package of the lab's own interfaces.
const LAB_PACKAGE: &str = "leak-lab:plugin/";

/// The next step after an instantiation has failed for an import: an explanation of each import
/// that is not provided. Empty if all are known, so that the failure has another reason.
pub(crate) fn advice(component: &Component, engine: &Engine) -> String {
    let ty = component.component_type();
    let imports = ty.imports(engine);
    let mut lines: Vec<String> = imports
        .filter_map(|(name, item)| {
            let why = explain(name)?;
            let kind = kind(&item.ty);
            Some(format!("  it imports the {kind} `{name}`: {why}"))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.push(
        "guest-heap provides WASI 0.2 and 0.3: the imports of the worlds wasi:cli/command, \
         wasi:http/proxy and wasi:http/service"
            .to_owned(),
    );
    lines.join("\n")
}

fn kind(item: &ComponentItem) -> &'static str {
    match item {
        ComponentItem::ComponentFunc(_) => "function",
        ComponentItem::ComponentInstance(_) => "interface",
        ComponentItem::Resource(_) => "resource",
        ComponentItem::Component(_) => "component",
        ComponentItem::Module(_) => "module",
        ComponentItem::CoreFunc(_) | ComponentItem::Type(_) => "type",
    }
}

/// Why an import is not provided, and what helps. `None` if it is.
fn explain(name: &str) -> Option<String> {
    if name.starts_with(LAB_PACKAGE) {
        return Some("it is a plugin of the leak lab, which runs in the lab".to_owned());
    }
    let Some(wasi) = name.strip_prefix("wasi:") else {
        return Some(
            "a component that exports it can be plugged in: `wac plug app.wasm --plug \
             provider.wasm -o whole.wasm`; your own wasmtime host can show heaps, too: see \
             guest-heap-inspector"
                .to_owned(),
        );
    };
    let (package, version) = wasi.split_once('@').unwrap_or((wasi, ""));
    let package = package.split('/').next().unwrap_or_default();
    let is_version = |known: &str| {
        let rest = version.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !WASI_PACKAGES.contains(&package) {
        return Some(format!(
            "wasi:{package} is not provided; a component that implements it can be plugged in with \
             `wac plug`"
        ));
    }
    if !WASI_VERSIONS.into_iter().any(is_version) {
        return Some(format!(
            "version {version} of WASI is not provided; build the component for WASI {}",
            WASI_VERSIONS.join(" or ")
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice_of(text: &str) -> String {
        let engine = crate::engine::engine().unwrap();
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        advice(&component, &engine)
    }

    #[test]
    fn each_kind_of_unknown_import_has_a_next_step() {
        let text = advice_of(
            r#"(component
                (import "log" (func))
                (import "acme:shop/cart@1.0.0" (instance))
                (import "leak-lab:plugin/host@0.1.0" (instance))
                (import "wasi:keyvalue/store@0.2.0-draft" (instance))
                (import "wasi:cli/stdout@0.4.0" (instance))
                (import "wasi:cli/stdin@0.2.3" (instance))
                (import "handle" (type (sub resource))))"#,
        );
        for line in [
            "the function `log`: a component that exports it can be plugged in",
            "the interface `acme:shop/cart@1.0.0`: a component that exports it",
            "the interface `leak-lab:plugin/host@0.1.0`: it is a plugin of the leak lab",
            "the interface `wasi:keyvalue/store@0.2.0-draft`: wasi:keyvalue is not provided",
            "the interface `wasi:cli/stdout@0.4.0`: version 0.4.0 of WASI is not provided",
            "the resource `handle`: a component that exports it",
            "\nguest-heap provides WASI 0.2 and 0.3",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("wasi:cli/stdin"), "{text}");
    }

    #[test]
    fn known_imports_need_no_advice() {
        let text = r#"(component (import "wasi:http/types@0.3.0" (instance)))"#;
        assert_eq!(advice_of(text), "");
    }
}
