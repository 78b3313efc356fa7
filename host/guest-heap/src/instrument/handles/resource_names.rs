//! The names of the resource types of a component definition.

use std::collections::HashMap;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::TypesRef;

use super::super::scope::Scope;

/// The names of the resource types of a component: of imports first, then of exports.
pub(super) fn resources(scope: &Scope, types: TypesRef<'_>) -> HashMap<ResourceId, String> {
    let mut names = HashMap::new();
    let imports = scope.imports.iter().map(|name| {
        let item = types.component_item_for_import(name);
        (name, item)
    });
    let exports = scope.exports.iter().map(|name| {
        let item = types.component_item_for_export(name);
        (name, item)
    });
    for (name, item) in imports.chain(exports) {
        match item.map(|item| &item.ty) {
            Some(ComponentEntityType::Instance(instance)) => {
                let instance = types.get(*instance);
                for (resource, item) in instance.iter().flat_map(|it| &it.exports) {
                    if let Some(id) = resource_id(&item.ty) {
                        let name = format!("{}.{resource}", without_version(name));
                        names.entry(id).or_insert(name);
                    }
                }
            }
            Some(ty) => {
                if let Some(id) = resource_id(ty) {
                    names.entry(id).or_insert_with(|| name.clone());
                }
            }
            None => {}
        }
    }
    names
}

fn resource_id(ty: &ComponentEntityType) -> Option<ResourceId> {
    match ty {
        ComponentEntityType::Type {
            created: ComponentAnyTypeId::Resource(id),
            ..
        } => Some(id.resource()),
        _ => None,
    }
}

/// `wasi:io/poll@0.2.12` → `wasi:io/poll`.
fn without_version(interface: &str) -> &str {
    interface
        .split_once('@')
        .map_or(interface, |(name, _)| name)
}
