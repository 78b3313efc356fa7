//! The cache of resolved frames and sites. It stores every text once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::frame::{Frame, FrameKind, NewFrame, Site};
use crate::reading::Context;
use crate::source_stack::{InterpretedStack, SourceFrame};

/// Distinct stacks in the cache. When it is full, it drops the stacks that nothing else holds; they
/// can be attributed again.
const MAX_CACHED_STACKS: usize = 32_768;
/// The start of the names of contexts for arguments that the host lowers.
pub(super) const ARGUMENTS: &str = "arguments of ";
/// Bytes of the two counters in front of the value of an `Arc`.
const ARC_HEADER: usize = 2 * size_of::<usize>();

/// Resolved frames and sites.
#[derive(Default)]
pub(super) struct SymbolCache {
    /// Frames by offset.
    frames: HashMap<u32, Arc<[Frame]>>,
    /// Sites of call stacks.
    stacks: HashMap<Arc<[u32]>, Arc<Site>>,
    /// Frames of interpreted programs.
    source_frames: HashMap<Arc<SourceFrame>, Arc<[Frame]>>,
    /// Sites of the stacks of interpreted programs.
    interpreted: HashMap<Arc<InterpretedStack>, Arc<Site>>,
    /// Sites of synthetic contexts.
    synthetic: HashMap<Arc<str>, Arc<Site>>,
    texts: HashSet<Arc<str>>,
    sites: HashSet<Arc<Site>>,
    /// Bytes behind the pointers of `frames` and `texts`, which never lose an element.
    pointed_at: usize,
}

impl SymbolCache {
    pub(super) fn frames(&self, offset: u32) -> Option<&Arc<[Frame]>> {
        self.frames.get(&offset)
    }

    /// The site of a cached context, and the cache's copy of the context. Readers share this copy,
    /// because every new instance of a component brings the same stacks again.
    pub(super) fn site(&self, context: &Context) -> Option<(Context, Arc<Site>)> {
        match context {
            Context::Stack(stack) => {
                let (stack, site) = self.stacks.get_key_value(stack)?;
                Some((Context::Stack(Arc::clone(stack)), Arc::clone(site)))
            }
            Context::Interpreted(stack) => {
                let (stack, site) = self.interpreted.get_key_value(stack)?;
                Some((Context::Interpreted(Arc::clone(stack)), Arc::clone(site)))
            }
            Context::Synthetic(text) => {
                let (text, site) = self.synthetic.get_key_value(text)?;
                Some((Context::Synthetic(Arc::clone(text)), Arc::clone(site)))
            }
        }
    }

    /// Adds the frames at an offset. Keeps the frames that another thread has added meanwhile.
    pub(super) fn add_frames(&mut self, offset: u32, chain: Vec<NewFrame>) -> Arc<[Frame]> {
        if let Some(frames) = self.frames.get(&offset) {
            return Arc::clone(frames);
        }
        let frames = self.intern_frames(chain);
        self.pointed_at += ARC_HEADER + size_of_val(&*frames);
        self.frames.insert(offset, Arc::clone(&frames));
        frames
    }

    fn intern_frames(&mut self, chain: Vec<NewFrame>) -> Arc<[Frame]> {
        let frames = chain.into_iter().map(|new| Frame {
            function: self.text(&new.function),
            file: new.file.map(|file| self.text(&file)),
            line: new.line,
            column: new.column,
            kind: new.kind,
        });
        frames.collect()
    }

    /// The frame of a call in an interpreted program.
    pub(super) fn source_frame(&self, source: &SourceFrame) -> Option<&Arc<[Frame]>> {
        self.source_frames.get(source)
    }

    /// Adds the frame of a call in an interpreted program.
    pub(super) fn add_source_frame(
        &mut self,
        source: &Arc<SourceFrame>,
        frame: NewFrame,
    ) -> Arc<[Frame]> {
        let frames = self.intern_frames(vec![frame]);
        self.pointed_at += 2 * ARC_HEADER + size_of::<SourceFrame>() + size_of_val(&*frames);
        self.source_frames
            .insert(Arc::clone(source), Arc::clone(&frames));
        frames
    }

    /// Adds the site of a stack of an interpreted program that is attributed to this frame.
    pub(super) fn add_interpreted(
        &mut self,
        stack: &Arc<InterpretedStack>,
        frame: &Frame,
    ) -> Arc<Site> {
        let site = self.site_of(frame);
        if self.interpreted.len() >= MAX_CACHED_STACKS {
            self.interpreted
                .retain(|stack, _| Arc::strong_count(stack) > 1);
        }
        if self.interpreted.len() < MAX_CACHED_STACKS {
            self.interpreted
                .insert(Arc::clone(stack), Arc::clone(&site));
        }
        site
    }

    /// Adds the site of a stack that is attributed to this frame.
    pub(super) fn add_stack(&mut self, stack: &Arc<[u32]>, frame: &Frame) -> Arc<Site> {
        let site = self.site_of(frame);
        self.remember(stack, site)
    }

    fn site_of(&mut self, frame: &Frame) -> Arc<Site> {
        let line = frame.file.as_ref().zip(frame.line);
        let location = match line {
            Some((file, line)) => self.text(&format!("{file}:{line}")),
            None if frame.kind > FrameKind::Infrastructure => {
                self.text(&format!("{} (library)", frame.function))
            }
            None => Arc::clone(&frame.function),
        };
        self.intern(Site {
            location,
            function: Arc::clone(&frame.function),
            file: line.and(frame.file.clone()),
            line: frame.line,
        })
    }

    /// Adds the site of a stack that belongs to a synthetic context.
    pub(super) fn add_synthetic_stack(&mut self, stack: &Arc<[u32]>, name: &str) -> Arc<Site> {
        let site = self.synthetic_site(name);
        self.remember(stack, site)
    }

    fn remember(&mut self, stack: &Arc<[u32]>, site: Arc<Site>) -> Arc<Site> {
        if self.stacks.len() >= MAX_CACHED_STACKS {
            self.stacks.retain(|stack, _| Arc::strong_count(stack) > 1);
        }
        if self.stacks.len() < MAX_CACHED_STACKS {
            self.stacks.insert(Arc::clone(stack), Arc::clone(&site));
        }
        site
    }

    /// Adds the site of a synthetic context.
    pub(super) fn add_synthetic(&mut self, text: &Arc<str>) -> Arc<Site> {
        let site = self.synthetic_site(text);
        self.synthetic
            .insert(Arc::clone(&site.location), Arc::clone(&site));
        site
    }

    fn synthetic_site(&mut self, name: &str) -> Arc<Site> {
        let location = self.text(name);
        let function = match name.strip_prefix(ARGUMENTS) {
            Some(export) => self.text(&format!(
                "taken by {export}; the line that keeps them cannot be known"
            )),
            None => Arc::clone(&location),
        };
        self.intern(Site {
            location,
            function,
            file: None,
            line: None,
        })
    }

    /// Bytes of memory that the cache takes, including the stacks that it shares with readers.
    pub(super) fn memory_bytes(&self) -> usize {
        let stacks: usize = self
            .stacks
            .keys()
            .map(|stack| ARC_HEADER + size_of_val(&**stack))
            .sum();
        let interpreted = self.interpreted.keys().map(|stack| stack.memory_bytes());
        table_bytes::<(u32, Arc<[Frame]>)>(self.frames.capacity())
            + table_bytes::<(usize, usize)>(self.source_frames.capacity())
            + table_bytes::<(usize, usize)>(self.interpreted.capacity())
            + interpreted.sum::<usize>()
            + table_bytes::<(Arc<[u32]>, Arc<Site>)>(self.stacks.capacity())
            + table_bytes::<(Arc<str>, Arc<Site>)>(self.synthetic.capacity())
            + table_bytes::<Arc<str>>(self.texts.capacity())
            + table_bytes::<Arc<Site>>(self.sites.capacity())
            + self.sites.len() * (ARC_HEADER + size_of::<Site>())
            + self.pointed_at
            + stacks
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.texts.get(text) {
            return Arc::clone(shared);
        }
        let new: Arc<str> = Arc::from(text);
        self.pointed_at += ARC_HEADER + text.len();
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn intern(&mut self, site: Site) -> Arc<Site> {
        if let Some(shared) = self.sites.get(&site) {
            return Arc::clone(shared);
        }
        let new = Arc::new(site);
        self.sites.insert(Arc::clone(&new));
        new
    }
}

/// Bytes of a standard hash table with room for `capacity` elements. The table uses seven eighths
/// of its slots, and one control byte per slot.
fn table_bytes<T>(capacity: usize) -> usize {
    if capacity == 0 {
        0
    } else {
        (capacity * 8 / 7).next_power_of_two() * (size_of::<T>() + 1)
    }
}
