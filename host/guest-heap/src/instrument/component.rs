//! Reads the structure of a component: the components inside it, their core modules and core
//! instances, and how each component uses the exports of its core instances.

use std::ops::Range;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeRef, ExternalKind, Parser, Payload,
};

use super::error::Refusal;
use super::interface::HEAP_TABLES;
use super::scan::usize_range;
use super::scope::{InstanceExport, Scope, SectionKind, SectionSpan};

/// The structure of a component and of all components inside it.
#[derive(Default)]
pub(super) struct ComponentStructure {
    /// The core modules in the order of the file, those of nested components included. A module is
    /// known by its position in this list.
    pub(super) modules: Vec<InlineModule>,
    /// The component definitions in the order of the file. The first one is the component itself.
    pub(super) scopes: Vec<Scope>,
}

/// A core module that a component defines.
pub(super) struct InlineModule {
    pub(super) bytes: Range<usize>,
}

/// A module or component whose end the parser has not reached.
enum Open {
    Scope(usize),
    Module,
}

impl ComponentStructure {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut structure = Self {
            scopes: vec![Scope {
                bytes: 0..bytes.len(),
                ..Scope::default()
            }],
            ..Self::default()
        };
        let mut open = vec![Open::Scope(0)];
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            if let Payload::End(_) = payload {
                open.pop();
                continue;
            }
            let Some(Open::Scope(scope)) = open.last() else {
                continue;
            };
            let scope = *scope;
            let kind = structure.payload(scope, &payload)?;
            match kind {
                SectionKind::Module(_) => open.push(Open::Module),
                SectionKind::Component(inner) => open.push(Open::Scope(inner)),
                _ => {}
            }
            let scope = structure.scopes.get_mut(scope);
            if let (Some((id, contents)), Some(scope)) = (payload.as_section(), scope) {
                let contents = usize_range(contents);
                scope.sections.push(SectionSpan { id, contents, kind });
            }
        }
        Ok(structure)
    }

    fn payload(&mut self, scope: usize, payload: &Payload<'_>) -> Result<SectionKind, Refusal> {
        let next_module = self.modules.len();
        match payload {
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(scope, &alias?);
                }
                return Ok(SectionKind::Indexed);
            }
            Payload::ComponentSection {
                unchecked_range, ..
            } => return Ok(self.component(scope, usize_range(unchecked_range.clone()))),
            _ => {}
        }
        let current = self.scopes.get_mut(scope);
        let current = current.ok_or_else(|| Refusal::internal("a section outside a component"))?;
        let mut passed_on = Vec::new();
        let kind = match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                current.modules.push(Some(next_module));
                self.modules.push(InlineModule {
                    bytes: usize_range(unchecked_range.clone()),
                });
                SectionKind::Module(next_module)
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    current.core_instance(instance?);
                }
                SectionKind::CoreInstances
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    current.component_instance(instance?, &mut passed_on);
                }
                SectionKind::Indexed
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    let implemented = import.name.implements.map(str::to_owned);
                    current.imports.push(import.name.name.to_owned());
                    current.imports.extend(implemented);
                    match import.ty {
                        ComponentTypeRef::Module(_) => current.modules.push(None),
                        ComponentTypeRef::Component(_) => current.components.push(None),
                        _ => {}
                    }
                }
                SectionKind::Indexed
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    current.exports.push(export.name.name.to_owned());
                    // An export is an item of its own, with the next index of its kind.
                    match export.kind {
                        ComponentExternalKind::Module => {
                            let module = current.modules.get(export.index as usize);
                            current.modules.push(module.copied().flatten());
                        }
                        ComponentExternalKind::Component => {
                            passed_on.push(export.index);
                            current.components.push(None);
                        }
                        _ => {}
                    }
                }
                SectionKind::Indexed
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    current.canonical(function?);
                }
                SectionKind::Indexed
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types.clone() {
                    if let ComponentType::Resource {
                        dtor: Some(function),
                        ..
                    } = ty?
                    {
                        current.used.destructors.push(function);
                    }
                }
                SectionKind::Indexed
            }
            Payload::CustomSection(section) if section.name() == "component-name" => {
                SectionKind::Names
            }
            _ => SectionKind::Other,
        };
        let of_index = |index: &u32| current.components.get(*index as usize).copied().flatten();
        let passed_on: Vec<usize> = passed_on.iter().filter_map(of_index).collect();
        self.pass_on(&passed_on);
        Ok(kind)
    }

    fn component(&mut self, scope: usize, bytes: Range<usize>) -> SectionKind {
        let inner = self.scopes.len();
        let parent = self.scopes.get_mut(scope);
        parent
            .into_iter()
            .for_each(|it| it.components.push(Some(inner)));
        self.scopes.push(Scope {
            parent: Some(scope),
            bytes,
            ..Scope::default()
        });
        SectionKind::Component(inner)
    }

    /// Whether a component aliases exports of the profiler: an instrumented one does.
    pub(super) fn has_heap_tables(&self) -> bool {
        let functions = self.scopes.iter().flat_map(|scope| &scope.functions);
        functions.flatten().any(|it| it.name == HEAP_TABLES)
    }

    fn pass_on(&mut self, scopes: &[usize]) {
        for scope in scopes {
            let scope = self.scopes.get_mut(*scope);
            scope.into_iter().for_each(|it| it.is_passed_on = true);
        }
    }

    fn alias(&mut self, scope: usize, alias: &ComponentAlias<'_>) {
        let outer = |structure: &Self, count: u32| {
            let parent = |scope: usize| structure.scopes.get(scope)?.parent;
            (0..count).try_fold(scope, |scope, _| parent(scope))
        };
        let (module, component) = match *alias {
            ComponentAlias::Outer { kind, count, index } => {
                let from = outer(self, count).and_then(|from| self.scopes.get(from));
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let module = from.and_then(|it| it.modules.get(index as usize));
                        (Some(module.copied().flatten()), None)
                    }
                    ComponentOuterAliasKind::Component => {
                        let inner = from.and_then(|it| it.components.get(index as usize));
                        (None, Some(inner.copied().flatten()))
                    }
                    _ => (None, None),
                }
            }
            ComponentAlias::InstanceExport { kind, .. } => match kind {
                ComponentExternalKind::Module => (Some(None), None),
                ComponentExternalKind::Component => (None, Some(None)),
                _ => (None, None),
            },
            ComponentAlias::CoreInstanceExport { .. } => (None, None),
        };
        if let Some(Some(inner)) = component {
            self.pass_on(&[inner]);
        }
        let Some(current) = self.scopes.get_mut(scope) else {
            return;
        };
        current.modules.extend(module);
        // An alias of a component is not followed: the definition counts as passed on.
        current.components.extend(component.map(|_| None));
        if let ComponentAlias::CoreInstanceExport {
            kind,
            instance_index,
            name,
        } = alias
        {
            let export = Some(InstanceExport {
                instance: *instance_index,
                name: (*name).to_owned(),
            });
            match kind {
                ExternalKind::Func | ExternalKind::FuncExact => current.functions.push(export),
                ExternalKind::Memory => current.memories.push(export),
                ExternalKind::Table => current.tables.push(export),
                _ => {}
            }
        }
    }
}
