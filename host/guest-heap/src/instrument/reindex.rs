//! Writes sections of a component again, for indices of component types and component instances
//! that have moved.

use std::convert::Infallible;

use wasm_encoder::reencode::{Reencode, ReencodeComponent};
use wasm_encoder::{ComponentExportKind, ComponentSection, ComponentSectionId};
use wasmparser::BinaryReader;

use super::error::Refusal;
use super::interface;

pub(super) fn refusal(error: wasm_encoder::reencode::Error<Infallible>) -> Refusal {
    Refusal::internal(&format!("a component cannot be written again: {error}"))
}

/// The indices that have moved, and where the host's interface is passed on.
pub(super) struct Reindexing<'a> {
    /// For each enclosing definition, from the outermost one: whether its indices have moved.
    pub(super) shifted: Vec<bool>,
    /// Whether the component with this index needs the host's interface.
    pub(super) instrumented: &'a dyn Fn(u32) -> bool,
}

impl Reindexing<'_> {
    /// The section with this id, with its header. `contents` are its old contents.
    pub(super) fn section(&mut self, id: u8, contents: &[u8]) -> Result<Vec<u8>, Refusal> {
        let reader = BinaryReader::new(contents, 0);
        let mut bytes = Vec::new();
        macro_rules! again {
            ($new:ident, $reader:ident, $parse:ident) => {{
                let mut new = wasm_encoder::$new::new();
                let old = wasmparser::$reader::new(reader)?;
                self.$parse(&mut new, old).map_err(refusal)?;
                new.append_to_component(&mut bytes);
            }};
        }
        const INSTANCE: u8 = ComponentSectionId::Instance as u8;
        const ALIAS: u8 = ComponentSectionId::Alias as u8;
        const TYPE: u8 = ComponentSectionId::Type as u8;
        const CANONICAL: u8 = ComponentSectionId::CanonicalFunction as u8;
        const IMPORT: u8 = ComponentSectionId::Import as u8;
        const EXPORT: u8 = ComponentSectionId::Export as u8;
        match id {
            INSTANCE => again!(
                ComponentInstanceSection,
                ComponentInstanceSectionReader,
                parse_component_instance_section
            ),
            ALIAS => again!(
                ComponentAliasSection,
                ComponentAliasSectionReader,
                parse_component_alias_section
            ),
            TYPE => again!(
                ComponentTypeSection,
                ComponentTypeSectionReader,
                parse_component_type_section
            ),
            CANONICAL => again!(
                CanonicalFunctionSection,
                ComponentCanonicalSectionReader,
                parse_component_canonical_section
            ),
            IMPORT => again!(
                ComponentImportSection,
                ComponentImportSectionReader,
                parse_component_import_section
            ),
            EXPORT => again!(
                ComponentExportSection,
                ComponentExportSectionReader,
                parse_component_export_section
            ),
            _ => return Err(Refusal::internal("an unknown section with indices")),
        }
        Ok(bytes)
    }

    fn moved(&self, count: u32, index: u32) -> u32 {
        let mut definitions = self.shifted.iter().rev();
        index + u32::from(definitions.nth(count as usize) == Some(&true))
    }
}

impl Reencode for Reindexing<'_> {
    type Error = Infallible;
}

impl ReencodeComponent for Reindexing<'_> {
    fn component_type_index(&mut self, ty: u32) -> u32 {
        self.moved(0, ty)
    }

    fn component_instance_index(&mut self, instance: u32) -> u32 {
        self.moved(0, instance)
    }

    fn outer_component_type_index(&mut self, count: u32, ty: u32) -> u32 {
        self.moved(count, ty)
    }

    // The types inside a component type or instance type have indices of their own.
    fn push_depth(&mut self) {
        self.shifted.push(false);
    }

    fn pop_depth(&mut self) {
        self.shifted.pop();
    }

    fn parse_component_instance(
        &mut self,
        instances: &mut wasm_encoder::ComponentInstanceSection,
        instance: wasmparser::ComponentInstance<'_>,
    ) -> Result<(), wasm_encoder::reencode::Error<Infallible>> {
        match instance {
            wasmparser::ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let mut arguments: Vec<_> = args
                    .iter()
                    .map(|argument| {
                        let index = self.component_external_index(argument.kind, argument.index);
                        (argument.name, argument.kind.into(), index)
                    })
                    .collect();
                if (self.instrumented)(component_index) {
                    arguments.push((interface::HOST, ComponentExportKind::Instance, 0));
                }
                instances.instantiate(component_index, arguments);
            }
            wasmparser::ComponentInstance::FromExports(exports) => {
                let exports: Vec<_> = exports
                    .iter()
                    .map(|export| {
                        let index = self.component_external_index(export.kind, export.index);
                        (export.name, export.kind.into(), index)
                    })
                    .collect();
                instances.export_items(exports);
            }
        }
        Ok(())
    }
}
