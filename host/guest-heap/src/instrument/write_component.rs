//! Writes the instrumented component: the original with the rewritten core modules, and with the
//! connectors at the end of each component definition that has such modules.
//!
//! A component inside another one gets the host's interface from the component around it. That one
//! needs the interface before it instantiates the inner one, so it imports the interface at its
//! start. This moves the indices of its component types and component instances by one, and the
//! sections that refer to them are written again. Nothing else of a component changes.

use std::collections::HashMap;

use wasm_encoder::reencode::ReencodeComponent;
use wasm_encoder::{ComponentSection, ComponentSectionId, Encode, InstanceSection, ModuleArg};
use wasmparser::BinaryReader;

use super::assemble::RewrittenModule;
use super::component::ComponentStructure;
use super::connector::{InstrumentedInstance, ScopeCounts, connectors, leading_import};
use super::error::Refusal;
use super::interface;
use super::offset_map::OffsetMap;
use super::reindex::{Reindexing, refusal};
use super::scope::{SectionKind, SectionSpan};

/// What changes in a component definition.
#[derive(Clone, Debug, Default)]
pub(super) struct ScopeChanges {
    /// The instrumented core instances, in the order of their connectors.
    pub(super) instances: Vec<InstrumentedInstance>,
    /// By core instance: the instance whose heap tables it imports.
    pub(super) tables_of: HashMap<u32, u32>,
}

/// The parts of the component to write.
pub(super) struct ComponentWriter<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) structure: &'a ComponentStructure,
    /// By position in the list of all scopes.
    pub(super) counts: &'a [ScopeCounts],
    pub(super) changes: Vec<ScopeChanges>,
    /// By position in the list of all modules.
    pub(super) modules: HashMap<usize, RewrittenModule>,
}

/// A written component definition. Offsets count from its start and from the start of the file.
pub(super) struct WrittenComponent {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
}

impl ComponentWriter<'_> {
    /// Writes the whole component.
    pub(super) fn write(&self) -> Result<WrittenComponent, Refusal> {
        let instrumented = self.instrumented_scopes();
        let passes_host: Vec<bool> = self
            .structure
            .scopes
            .iter()
            .map(|scope| {
                let inner = |index: &u32| scope.component(*index);
                let mut instantiated = scope.instantiated.iter().filter_map(inner);
                instantiated.any(|inner| instrumented.get(inner) == Some(&true))
            })
            .collect();
        let plan = ScopePlan {
            instrumented,
            passes_host,
        };
        self.scope(0, &[], &plan)
    }

    /// For each definition: whether it has instrumented instances, or a component inside it has.
    fn instrumented_scopes(&self) -> Vec<bool> {
        let changes = self.changes.iter();
        let mut instrumented: Vec<bool> = changes.map(|it| !it.instances.is_empty()).collect();
        // A definition comes before those inside it.
        for (position, scope) in self.structure.scopes.iter().enumerate().rev() {
            if instrumented.get(position) == Some(&true)
                && let Some(parent) = scope.parent
            {
                instrumented
                    .get_mut(parent)
                    .into_iter()
                    .for_each(|it| *it = true);
            }
        }
        instrumented
    }

    /// Writes a definition. `shifted` says for each definition around it, from the outermost one,
    /// whether its indices move.
    fn scope(
        &self,
        position: usize,
        around: &[bool],
        plan: &ScopePlan,
    ) -> Result<WrittenComponent, Refusal> {
        let (Some(scope), Some(changes), Some(counts)) = (
            self.structure.scopes.get(position),
            self.changes.get(position),
            self.counts.get(position),
        ) else {
            return Err(Refusal::internal("an unknown component"));
        };
        let passes_host = plan.passes_host.get(position) == Some(&true);
        let mut shifted = around.to_vec();
        shifted.push(passes_host);
        let mut out = DefinitionWriter {
            source: self.bytes,
            copied: scope.bytes.start,
            written: WrittenComponent {
                bytes: Vec::with_capacity(scope.bytes.len()),
                offsets: OffsetMap::default(),
            },
        };
        if passes_host {
            out.copy_to(scope.bytes.start + HEADER)?;
            out.append_profiler(&leading_import());
        }
        let mut next_instance = 0;
        for section in &scope.sections {
            match section.kind {
                SectionKind::Module(module) => {
                    if let Some(module) = self.modules.get(&module) {
                        let id = ComponentSectionId::CoreModule;
                        out.replace(section, id, &module.bytes, &module.offsets, true)?;
                    }
                }
                SectionKind::Component(inner) => {
                    let inner = self.scope(inner, &shifted, plan)?;
                    let id = ComponentSectionId::Component;
                    out.replace(section, id, &inner.bytes, &inner.offsets, false)?;
                }
                SectionKind::CoreInstances => {
                    let first = next_instance;
                    let section_bytes = out.contents(section)?;
                    next_instance =
                        self.instances(section_bytes, first, changes, section, &mut out)?;
                }
                SectionKind::Indexed if shifted.contains(&true) => {
                    let instrumented = |index: u32| {
                        let inner = scope.component(index);
                        inner.is_some_and(|it| plan.instrumented.get(it) == Some(&true))
                    };
                    let mut indices = Reindexing {
                        shifted: shifted.clone(),
                        instrumented: &instrumented,
                    };
                    let bytes = indices.section(section.id, out.contents(section)?)?;
                    out.replace_section(section, &bytes)?;
                }
                SectionKind::Names if passes_host => out.replace_section(section, &[])?,
                SectionKind::Names | SectionKind::Indexed | SectionKind::Other => {}
            }
        }
        out.copy_to(scope.bytes.end)?;
        if !changes.instances.is_empty() {
            let host = passes_host.then_some(0);
            out.append_profiler(&connectors(counts, host, &changes.instances));
        }
        Ok(out.written)
    }

    /// Writes a section of core instances. Those that import heap tables get one more argument.
    /// Returns the index of the first instance behind the section.
    fn instances(
        &self,
        contents: &[u8],
        first: u32,
        changes: &ScopeChanges,
        section: &SectionSpan,
        out: &mut DefinitionWriter<'_>,
    ) -> Result<u32, Refusal> {
        let reader = wasmparser::InstanceSectionReader::new(BinaryReader::new(contents, 0))?;
        let mut instances = InstanceSection::new();
        let mut instance = first;
        let mut is_changed = false;
        let mut same = wasm_encoder::reencode::RoundtripReencoder;
        for item in reader {
            match (item?, changes.tables_of.get(&instance)) {
                (wasmparser::Instance::Instantiate { module_index, args }, Some(owner)) => {
                    is_changed = true;
                    let arguments = args
                        .iter()
                        .map(|argument| (argument.name, ModuleArg::Instance(argument.index)))
                        .chain([(interface::SHARED, ModuleArg::Instance(*owner))]);
                    instances.instantiate(module_index, arguments.collect::<Vec<_>>());
                }
                (item, _) => same.parse_instance(&mut instances, item).map_err(refusal)?,
            }
            instance += 1;
        }
        if is_changed {
            let mut bytes = Vec::new();
            instances.append_to_component(&mut bytes);
            out.replace_section(section, &bytes)?;
        }
        Ok(instance)
    }
}

/// What the definitions do with the host's interface, by position in the list of all scopes.
struct ScopePlan {
    /// Whether it needs the interface.
    instrumented: Vec<bool>,
    /// Whether it passes the interface to components inside it.
    passes_host: Vec<bool>,
}

/// Bytes of the header of a component.
const HEADER: usize = 8;

/// A definition that is being written.
struct DefinitionWriter<'a> {
    source: &'a [u8],
    /// Offset in the source up to which the bytes have been copied.
    copied: usize,
    written: WrittenComponent,
}

impl<'a> DefinitionWriter<'a> {
    fn copy_to(&mut self, end: usize) -> Result<(), Refusal> {
        let range = self.copied..end;
        let bytes = self.source.get(range);
        let bytes = bytes.ok_or_else(|| Refusal::internal("the sections are not in order"))?;
        self.written
            .offsets
            .push_copy(self.written.bytes.len(), self.copied);
        self.written.bytes.extend_from_slice(bytes);
        self.copied = end;
        Ok(())
    }

    fn append_profiler(&mut self, bytes: &[u8]) {
        self.written.offsets.push_profiler(self.written.bytes.len());
        self.written.bytes.extend_from_slice(bytes);
    }

    fn contents(&self, section: &SectionSpan) -> Result<&'a [u8], Refusal> {
        let contents = self.source.get(section.contents.clone());
        contents.ok_or_else(|| Refusal::internal("a section extends beyond the component's end"))
    }

    /// Replaces a section by these bytes with a new header. The offsets count from the start of the
    /// new contents and, if `relative`, from the start of the old ones.
    fn replace(
        &mut self,
        section: &SectionSpan,
        id: ComponentSectionId,
        contents: &[u8],
        offsets: &OffsetMap,
        relative: bool,
    ) -> Result<(), Refusal> {
        self.copy_to(header_of(self.source, self.copied, section.contents.start)?)?;
        self.written.bytes.push(id as u8);
        (contents.len() as u32).encode(&mut self.written.bytes);
        let start = self.written.bytes.len();
        let original = if relative { section.contents.start } else { 0 };
        self.written.offsets.append(offsets, start, original);
        self.written.bytes.extend_from_slice(contents);
        self.copied = section.contents.end;
        Ok(())
    }

    /// Replaces a section without code by these bytes, which include the header.
    fn replace_section(&mut self, section: &SectionSpan, bytes: &[u8]) -> Result<(), Refusal> {
        self.copy_to(header_of(self.source, self.copied, section.contents.start)?)?;
        self.written.bytes.extend_from_slice(bytes);
        self.copied = section.contents.end;
        Ok(())
    }
}

/// Finds the start of the header of the section whose contents start at `contents`. The header is
/// at or after `from`.
fn header_of(bytes: &[u8], from: usize, contents: usize) -> Result<usize, Refusal> {
    // A header is the section's id, then the size in LEB128. Read backwards, it is the last byte of
    // the size, the bytes of the size with the continuation bit, and the id, which has no such bit.
    let header = bytes
        .get(from..contents)
        .map(|before| before.iter().rev())
        .ok_or_else(|| Refusal::internal("the sections are not in order"))?;
    let continued = header.skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    contents
        .checked_sub(1 + continued + 1)
        .ok_or_else(|| Refusal::internal("a section has no header"))
}
