//! Calls of exports, written in WAVE: `count(3)` or `my:pkg/api@1.0.0#put("key")`.

use anyhow::{Context, Result, bail};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::{Component, Func, Instance, Type, Val};
use wasmtime::{AsContextMut, Store};

/// An export with arguments, ready to be called.
pub(crate) struct Invocation {
    /// The call as the user wrote it.
    pub(crate) text: String,
    function: Func,
    arguments: Vec<Val>,
    results: usize,
}

impl Invocation {
    /// Finds the export of an instance that `text` names, and reads its arguments.
    ///
    /// # Errors
    /// When there is no such export, or the arguments do not fit. The error lists the exports.
    pub(crate) fn resolve<T>(
        text: &str,
        component: &Component,
        instance: &Instance,
        store: &mut Store<T>,
    ) -> Result<Self> {
        let (interface, call) = split(text)?;
        let call = UntypedFuncCall::parse(call)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("`{text}` is no call: write it like put(\"key\", 3)"))?;
        let parent = match interface {
            Some(name) => Some(
                instance
                    .get_export_index(&mut *store, None, name)
                    .with_context(|| not_found(text, component, store.engine()))?,
            ),
            None => None,
        };
        let function = instance
            .get_export_index(&mut *store, parent.as_ref(), call.name())
            .and_then(|index| instance.get_func(&mut *store, index))
            .with_context(|| not_found(text, component, store.engine()))?;
        let ty = function.ty(&*store);
        let types: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
        let arguments = call
            .to_wasm_params::<Val>(&types)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| {
                format!(
                    "the arguments of `{text}` do not fit {}",
                    signature(call.name(), &ty)
                )
            })?;
        Ok(Self {
            text: text.to_owned(),
            function,
            arguments,
            results: ty.results().len(),
        })
    }

    /// Calls the export.
    ///
    /// # Errors
    /// When the guest traps.
    pub(crate) async fn call(
        &self,
        store: impl AsContextMut<Data: Send>,
    ) -> wasmtime::Result<Vec<Val>> {
        let mut results = vec![Val::Bool(false); self.results];
        self.function
            .call_async(store, &self.arguments, &mut results)
            .await?;
        Ok(results)
    }
}

/// The interface before `#`, if there is one, and the call.
fn split(text: &str) -> Result<(Option<&str>, &str)> {
    let head = text.split_once('(').map_or(text, |(head, _)| head);
    match head.split_once('#') {
        Some(("", _)) => bail!("`{text}` names no interface before the #"),
        Some((interface, _)) => Ok((Some(interface), &text[interface.len() + 1..])),
        None => Ok((None, text)),
    }
}

fn not_found(text: &str, component: &Component, engine: &Engine) -> String {
    let exports = exported_calls(component, engine);
    if exports.is_empty() {
        return format!("the component does not export `{text}`, and no other function");
    }
    format!(
        "the component does not export `{text}`; it exports:\n  {}",
        exports.join("\n  ")
    )
}

/// The functions that a component exports, with their signatures, in the notation of `--invoke`.
pub(crate) fn exported_calls(component: &Component, engine: &Engine) -> Vec<String> {
    let mut calls = Vec::new();
    let ty = component.component_type();
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) => calls.push(signature(name, &function)),
            ComponentItem::ComponentInstance(interface) => {
                for (function, item) in interface.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = item.ty {
                        calls.push(format!("{name}#{}", signature(function, &ty)));
                    }
                }
            }
            _ => {}
        }
    }
    calls
}

fn signature(name: &str, function: &ComponentFunc) -> String {
    let parameters: Vec<String> = function
        .params()
        .map(|(name, ty)| {
            let ty = wasmtime::component::wasm_wave::wasm::DisplayType(&ty);
            format!("{name}: {ty}")
        })
        .collect();
    format!("{name}({})", parameters.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_ends_at_the_number_sign_of_the_name() {
        for (text, wanted) in [
            ("count(3)", Some((None, "count(3)"))),
            (
                "a:b/c@1.0.0#put(\"x#y\")",
                Some((Some("a:b/c@1.0.0"), "put(\"x#y\")")),
            ),
            ("put(\"x#y\")", Some((None, "put(\"x#y\")"))),
            ("#put()", None),
        ] {
            assert_eq!(split(text).ok(), wanted, "{text}");
        }
    }
}
