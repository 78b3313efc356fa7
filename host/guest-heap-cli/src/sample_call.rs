//! Calls that can be pasted: the exports of a component with arguments that fit.

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Type};

/// Levels of types within types that get a value. A deeper one makes the call impossible.
const MAX_DEPTH: usize = 16;

/// The exports of a component that can be called, in the notation of `--invoke`, each with
/// arguments that fit. Functions that take a resource are left out: it has no text form.
pub(crate) fn sample_calls(component: &Component, engine: &Engine) -> Vec<String> {
    let mut calls = Vec::new();
    let ty = component.component_type();
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) => calls.extend(call(name, &function)),
            ComponentItem::ComponentInstance(interface) => {
                for (function, item) in interface.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = item.ty {
                        let call = call(function, &ty);
                        calls.extend(call.map(|call| format!("{name}#{call}")));
                    }
                }
            }
            _ => {}
        }
    }
    calls
}

fn call(name: &str, function: &ComponentFunc) -> Option<String> {
    // The methods of resources have other names.
    if name.contains('[') && !name.starts_with("[async]") {
        return None;
    }
    let arguments: Option<Vec<String>> = function.params().map(|(_, ty)| value(&ty, 0)).collect();
    Some(format!("{name}({})", arguments?.join(", ")))
}

/// A value of a type in WAVE syntax. `None` if the type has none.
fn value(ty: &Type, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let value = |ty: &Type| value(ty, depth + 1);
    let case = |name: &str, payload: Option<Type>| match payload {
        Some(ty) => Some(format!("{name}({})", value(&ty)?)),
        None => Some(name.to_owned()),
    };
    Some(match ty {
        Type::Bool => "false".to_owned(),
        Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64 => "1".to_owned(),
        Type::Float32 | Type::Float64 => "1.5".to_owned(),
        Type::Char => "'a'".to_owned(),
        Type::String => "\"text\"".to_owned(),
        Type::List(list) => format!("[{}]", value(&list.ty())?),
        Type::Record(record) => {
            let fields = record.fields();
            let fields: Option<Vec<String>> = fields
                .map(|field| Some(format!("{}: {}", field.name, value(&field.ty)?)))
                .collect();
            format!("{{{}}}", fields?.join(", "))
        }
        Type::Tuple(tuple) => {
            let items: Option<Vec<String>> = tuple.types().map(|ty| value(&ty)).collect();
            format!("({})", items?.join(", "))
        }
        Type::Variant(variant) => {
            let mut cases = variant.cases();
            cases.find_map(|it| case(it.name, it.ty))?
        }
        Type::Enum(names) => names.names().next()?.to_owned(),
        Type::Option(option) => match value(&option.ty()) {
            Some(value) => format!("some({value})"),
            None => "none".to_owned(),
        },
        Type::Result(result) => case("ok", result.ok()).or_else(|| case("err", result.err()))?,
        Type::Flags(flags) => {
            let names: Vec<&str> = flags.names().take(1).collect();
            format!("{{{}}}", names.join(", "))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use wasmtime::Store;
    use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
    use wasmtime::component::{Linker, Val};

    use super::*;

    /// A component that exports a function of each kind of type.
    const COMPONENT: &str = r#"(component
        (type $color' (enum "red" "green"))
        (type $pair' (record (field "a-b" u8) (field "name" string)))
        (type $shape' (variant (case "round" f32) (case "none")))
        (type $rights' (flags "read" "write"))
        (export $color "color" (type $color'))
        (export $pair "pair" (type $pair'))
        (export $shape "shape" (type $shape'))
        (export $rights "rights" (type $rights'))
        (core module $m
            (memory (export "memory") 1)
            (func (export "f"))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
            (func (export "g") (param i32 i32 i32 i32 i32 f32 i32 i32 i32 i32 i32)))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (func $g
            (param "color" $color) (param "pair" $pair) (param "shape" $shape)
            (param "rights" $rights) (param "list" (list s64)) (param "maybe" (option char))
            (canon lift (core func $i "g") (memory (core memory $i "memory"))
                (realloc (core func $i "realloc"))))
        (export "f" (func $f))
        (export "g" (func $g)))"#;

    #[test]
    fn the_samples_fit_their_functions() {
        let engine = crate::engine::engine().unwrap();
        let component = wat::parse_str(COMPONENT).unwrap();
        let component = Component::new(&engine, component).unwrap();
        let calls = sample_calls(&component, &engine);
        assert_eq!(
            calls,
            [
                "f()",
                "g(red, {a-b: 1, name: \"text\"}, round(1.5), {read}, [1], some('a'))"
            ]
        );
        let mut store = Store::new(&engine, ());
        let linker: Linker<()> = Linker::new(&engine);
        let instance = linker.instantiate_pre(&component).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let instance = runtime
            .block_on(instance.instantiate_async(&mut store))
            .unwrap();
        for call in calls {
            let call = UntypedFuncCall::parse(&call).unwrap();
            let function = instance.get_func(&mut store, call.name()).unwrap();
            let ty = function.ty(&store);
            let types: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
            call.to_wasm_params::<Val>(&types).unwrap();
        }
    }
}
