//! Resolves one offset to frames: names from the name section and the line tables, lines from the
//! line tables, and whose code each frame is.

use std::collections::HashSet;

use super::classify::Classifier;
use super::dwarf::{DwarfFrame, ParsedDwarf};
use super::frame::{FrameKind, NewFrame};
use super::function_name::{self, Inlined};
use super::interpreted;
use super::module::ModuleSymbols;
use crate::source_stack::SourceFrame;

/// Turns the symbols of a module into frames.
#[derive(Debug)]
pub(super) struct Resolver {
    classifier: Classifier,
}

impl Resolver {
    pub(super) fn new(classifier: Classifier) -> Self {
        Self { classifier }
    }

    /// The frame of a call in an interpreted program.
    pub(super) fn source_frame(&self, source: &SourceFrame) -> NewFrame {
        interpreted::new_frame(source, &self.classifier)
    }

    /// The frames at an offset in the code of a module, innermost first. There is at least one.
    pub(super) fn frames(
        &self,
        module: &ModuleSymbols,
        dwarf: Option<&mut ParsedDwarf>,
        offset: u32,
    ) -> Vec<NewFrame> {
        let symbol = module.function_name(offset);
        let Some(dwarf) = dwarf else {
            return vec![self.frame_without_line(symbol, offset, false)];
        };
        let chain = dwarf.frames(u64::from(offset - module.code.start));
        let Some(outermost) = chain.last() else {
            return vec![self.frame_without_line(symbol, offset, dwarf.packages.has_own())];
        };
        if !dwarf.fits || contradicts(outermost, symbol, module) {
            return vec![self.frame_without_line(symbol, offset, false)];
        }
        if dwarf.generated.is_none() {
            dwarf.generated = Some(self.generated_places(module, dwarf));
        }
        let mut frames = self.chain(&chain, symbol, dwarf, offset);
        // What the allocator calls is a part of it, such as a global allocator that counts.
        let mut is_allocator = false;
        for frame in frames.iter_mut().rev() {
            if is_allocator {
                frame.kind = FrameKind::Allocator;
            }
            is_allocator |= frame.kind == FrameKind::Allocator;
        }
        frames
    }

    fn chain(
        &self,
        chain: &[DwarfFrame],
        symbol: Option<&str>,
        dwarf: &mut ParsedDwarf,
        offset: u32,
    ) -> Vec<NewFrame> {
        // The symbol names the outermost frame; the others are inlined in it.
        let outermost = chain.len().saturating_sub(1);
        let inlined: Vec<Inlined<'_>> = chain
            .iter()
            .enumerate()
            .map(|(position, frame)| Inlined {
                name: frame
                    .function
                    .as_deref()
                    .or(symbol.filter(|_| position == outermost))
                    .unwrap_or_default(),
                file: frame.file.as_deref(),
            })
            .collect();
        let frames = chain.iter().enumerate();
        frames
            .map(|(position, frame)| {
                let outer = inlined.get(position + 1..).unwrap_or_default();
                let symbol = symbol.filter(|_| position == outermost);
                self.frame(frame, outer, symbol, offset, dwarf)
            })
            .collect()
    }

    fn frame(
        &self,
        frame: &DwarfFrame,
        outer: &[Inlined<'_>],
        symbol: Option<&str>,
        offset: u32,
        dwarf: &mut ParsedDwarf,
    ) -> NewFrame {
        let source = frame
            .file
            .as_deref()
            .map(|file| dwarf.source(file, self.classifier.options()));
        let enclosing = frame
            .function
            .as_deref()
            .and_then(|name| function_name::enclosing_function(name, frame.file.as_deref(), outer));
        let Some(function) = function_name::full_name(
            frame.function.as_deref(),
            symbol,
            source.as_ref(),
            enclosing.as_deref(),
        ) else {
            return NewFrame::nameless(offset);
        };
        let is_generated = is_lifted(frame, symbol) || dwarf.is_generated(frame);
        let mut kind = self
            .classifier
            .kind(&function, source.as_ref(), dwarf.packages.has_own());
        if is_generated && kind == FrameKind::User {
            kind = FrameKind::Bindings;
        }
        NewFrame {
            function,
            file: source.map(|source| source.shown),
            line: frame.line,
            column: frame.column,
            kind,
        }
    }

    fn frame_without_line(&self, symbol: Option<&str>, offset: u32, has_lines: bool) -> NewFrame {
        let Some(function) = symbol.map(function_name::demangle) else {
            return NewFrame::nameless(offset);
        };
        let kind = self.classifier.kind(&function, None, has_lines);
        NewFrame {
            function,
            file: None,
            line: None,
            column: None,
            kind,
        }
    }

    /// The places of generated bindings: the line of the macro that expands to them, or the whole
    /// file that a tool has written.
    ///
    /// Not every function there has a name that shows it, but those that the exports call have.
    fn generated_places(
        &self,
        module: &ModuleSymbols,
        dwarf: &ParsedDwarf,
    ) -> HashSet<(String, Option<u32>)> {
        let mut places = HashSet::new();
        for address in &module.entry_points {
            let symbol = module.function_name(address + module.code.start);
            let chain = dwarf.frames(u64::from(*address));
            let outermost = chain.len().saturating_sub(1);
            for (position, frame) in chain.iter().enumerate() {
                let symbol = symbol.filter(|_| position == outermost);
                let name = frame.function.as_deref().or(symbol).unwrap_or_default();
                let is_bindings = is_lifted(frame, symbol)
                    || self.classifier.is_bindings(&function_name::demangle(name));
                let Some(file) = frame.file.as_ref().filter(|_| is_bindings) else {
                    continue;
                };
                // A macro gives all code that it generates its own line.
                let is_file = !file.ends_with(".rs") || file.ends_with("/bindings.rs");
                places.insert((file.clone(), frame.line.filter(|_| !is_file)));
            }
        }
        places
    }
}

fn is_lifted(frame: &DwarfFrame, symbol: Option<&str>) -> bool {
    frame
        .function
        .as_deref()
        .zip(symbol)
        .is_some_and(|(name, symbol)| function_name::is_lifted(name, symbol))
}

/// Whether the line tables say that the code belongs to another function than the name section
/// says. The name of an export says nothing about the function.
fn contradicts(outermost: &DwarfFrame, symbol: Option<&str>, module: &ModuleSymbols) -> bool {
    outermost
        .function
        .as_deref()
        .zip(symbol)
        .is_some_and(|(name, symbol)| {
            let is_export = symbol.starts_with("cabi_") || module.is_export(symbol);
            !is_export && !function_name::is_same_function(name, symbol)
        })
}
