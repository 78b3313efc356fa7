//! The call tree of an instance, by which the recorder finds most call stacks without a backtrace.
//!
//! A calling context is `V = E · K + id`: `E` is the context in which the innermost function was
//! entered, and `id` belongs to the call site. `K` is odd, so `E` can be computed from `V` for each
//! call site that may be the innermost one. If the tree has an activation with that `E`, the call
//! stack is known. If not, the same step leads from `E` to the callers of the function.
//!
//! A captured call stack adds its activations and call sites. So a call stack is found if it
//! consists of known calls, in any combination, and starts with a known part. Wrong values of `E`
//! match nothing: they are 64-bit hashes. In particular, the outer activations of a call stack get
//! wrong values if one of its call sites does not set the context. They stay unused.
//!
//! For a pass-through call, `V = E`. The instrumenter lists these calls.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::context_steps::{ContextHasher, context_of, entry_of, spread};

/// Call sites that one search tries at most, in a few microseconds.
const MAX_STEPS: usize = 256;

/// Callers of one function that a search tries at most: the most recently used ones.
const MAX_CALLERS: usize = 64;

/// The numbers of calls above the last known activation that a search tries in turn.
const SEARCH_DEPTHS: [usize; 5] = [1, 2, 4, 8, 16];

/// Activations that are dropped at once. With less room than that, the tree keeps none.
const MIN_TEMPORARY: usize = 4096;

/// Stands for the allocator, which is no function of the tree.
const ALLOCATOR: u32 = u32::MAX;

/// Parent of the activation in which a complete call stack begins.
const ROOT: u32 = u32::MAX;

/// Parent of the outermost activation of a call stack that was cut.
const CUT: u32 = u32::MAX - 1;

/// A call in a captured call stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Offset of the call site in the original component.
    pub(super) site: u32,
    /// The function that contains it, by any number that is its own.
    pub(super) function: u32,
    /// What the call site adds to the context; `None` if it leaves the context as it is.
    pub(super) id: Option<i32>,
}

/// A call stack of the tree: a call site, and the activation of the function that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    activation: u32,
    site: u32,
}

/// A call stack that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Call sites above the known activation, innermost first.
    calls: Vec<Caller>,
    activation: u32,
}

/// A function that is called in a certain context.
#[derive(Clone, Copy)]
struct Activation {
    /// The context in which the function was entered.
    entry: u64,
    function: u32,
    /// The activation that called it, or [`ROOT`], or [`CUT`].
    parent: u32,
    /// The call site in the parent.
    site: u32,
}

impl Activation {
    fn key(&self) -> u64 {
        activation_key(self.entry, self.function)
    }
}

/// The key of an activation. Functions whose callers leave the context as it is have the same
/// context as their callers.
fn activation_key(entry: u64, function: u32) -> u64 {
    entry ^ spread(function)
}

/// A call site in a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caller {
    site: u32,
    function: u32,
    id: Option<i32>,
}

/// The activations and call sites of one instance.
pub(super) struct CallTree {
    activations: Vec<Activation>,
    /// By [`Activation::key`].
    by_entry: HashMap<u64, u32, BuildHasherDefault<ContextHasher>>,
    /// By function, the call sites that have called it, the most recently used one first.
    callers: HashMap<u32, Vec<Caller>, BuildHasherDefault<ContextHasher>>,
    /// Activations below this number belong to a [`Position`] that is in use.
    permanent: usize,
    /// Frames of a call stack at most; further outer ones are omitted.
    max_frames: usize,
}

impl CallTree {
    /// An empty tree, whose call stacks have at most `max_frames` frames.
    pub(super) fn new(max_frames: usize) -> Self {
        Self {
            activations: Vec::new(),
            by_entry: HashMap::default(),
            callers: HashMap::default(),
            permanent: 0,
            max_frames,
        }
    }

    /// Searches the call stack of a context.
    pub(super) fn search(&mut self, context: u64) -> Option<Found> {
        let mut steps = MAX_STEPS;
        let mut calls = Vec::new();
        for depth in SEARCH_DEPTHS {
            calls.clear();
            let found = self.search_callers(ALLOCATOR, context, depth, &mut calls, &mut steps);
            if let Some(activation) = found {
                self.prefer(&calls);
                let found = Found { calls, activation };
                return self.is_complete(&found).then_some(found);
            }
        }
        None
    }

    fn search_callers(
        &self,
        callee: u32,
        context: u64,
        depth: usize,
        calls: &mut Vec<Caller>,
        steps: &mut usize,
    ) -> Option<u32> {
        for caller in self.callers.get(&callee)? {
            *steps = steps.checked_sub(1)?;
            let entry = entry_of(context, caller.id);
            calls.push(*caller);
            let known = self.known(entry, caller.function);
            let found = match known {
                None if depth > 1 => {
                    self.search_callers(caller.function, entry, depth - 1, calls, steps)
                }
                known => known,
            };
            if found.is_some() {
                return found;
            }
            calls.pop();
        }
        None
    }

    /// Puts the call sites that a search has used in front of the other callers.
    fn prefer(&mut self, calls: &[Caller]) {
        let mut callee = ALLOCATOR;
        for caller in calls {
            self.add_caller(callee, *caller);
            callee = caller.function;
        }
    }

    fn add_caller(&mut self, callee: u32, caller: Caller) {
        let callers = self.callers.entry(callee).or_default();
        if callers.first() == Some(&caller) {
            return;
        }
        callers.retain(|known| *known != caller);
        callers.truncate(MAX_CALLERS - 1);
        callers.insert(0, caller);
    }

    /// The call sites of a call stack with their functions, innermost first.
    pub(super) fn frames(&self, found: &Found) -> Vec<(u32, u32)> {
        let calls = found
            .calls
            .iter()
            .map(|caller| (caller.site, caller.function));
        let outer = self.outer_frames(found.activation);
        calls.chain(outer).take(self.max_frames).collect()
    }

    /// The call sites of a call stack, innermost first.
    pub(super) fn sites(&self, position: Position) -> Vec<u32> {
        let outer = self.outer_frames(position.activation).map(|(site, _)| site);
        let sites = std::iter::once(position.site).chain(outer);
        sites.take(self.max_frames).collect()
    }

    /// The call sites outside of an activation, with their functions.
    fn outer_frames(&self, activation: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut current = self.activations.get(activation as usize);
        std::iter::from_fn(move || {
            let site = current?.site;
            let parent = self.activations.get(current?.parent as usize);
            current = parent;
            Some((site, parent?.function))
        })
    }

    /// Whether a backtrace would have the same frames.
    fn is_complete(&self, found: &Found) -> bool {
        let mut frames = found.calls.len();
        let mut current = self.activations.get(found.activation as usize);
        while let Some(activation) = current {
            if frames >= self.max_frames || activation.parent == ROOT {
                return true;
            }
            frames += 1;
            current = self.activations.get(activation.parent as usize);
        }
        frames > self.max_frames
    }

    /// Keeps a call stack that a search has found. The tree has at most `limit` activations; `None`
    /// if there is no room.
    pub(super) fn keep(&mut self, found: &Found, limit: usize) -> Option<Position> {
        let position = self.keep_temporarily(found, limit)?;
        self.permanent = self.activations.len();
        Some(position)
    }

    /// Like [`keep`](Self::keep), but the position is valid only until the next call.
    pub(super) fn keep_temporarily(&mut self, found: &Found, limit: usize) -> Option<Position> {
        self.make_room(found.calls.len(), limit)?;
        let mut calls = found.calls.iter().rev();
        let mut activation = found.activation;
        let mut outer = calls.next()?;
        for inner in calls {
            let entry = self.activations.get(activation as usize)?.entry;
            let entry = context_of(entry, outer.id);
            activation = self.add(Activation {
                entry,
                function: inner.function,
                parent: activation,
                site: outer.site,
            });
            outer = inner;
        }
        Some(Position {
            activation,
            site: outer.site,
        })
    }

    /// Adds a captured call stack, innermost frame first. It is cut if outer frames may be missing.
    /// `None`, and nothing is added, if there is no room or if the tree has another call stack with
    /// the same contexts.
    pub(super) fn insert(
        &mut self,
        context: u64,
        frames: &[Frame],
        is_cut: bool,
        limit: usize,
    ) -> Option<Position> {
        let position = self.insert_temporarily(context, frames, is_cut, limit)?;
        self.permanent = self.activations.len();
        Some(position)
    }

    /// Like [`insert`](Self::insert), but the position is valid only until the next call.
    pub(super) fn insert_temporarily(
        &mut self,
        context: u64,
        frames: &[Frame],
        is_cut: bool,
        limit: usize,
    ) -> Option<Position> {
        self.make_room(frames.len(), limit)?;
        let mut callee = ALLOCATOR;
        let mut entries = Vec::with_capacity(frames.len());
        let mut entry = context;
        for frame in frames {
            entry = entry_of(entry, frame.id);
            entries.push(entry);
            let caller = Caller {
                site: frame.site,
                function: frame.function,
                id: frame.id,
            };
            self.add_caller(callee, caller);
            callee = frame.function;
        }
        let mut outer: Option<(u32, u32)> = None;
        for (frame, entry) in frames.iter().zip(&entries).rev() {
            let activation = match outer {
                Some((parent, site)) => self.link(*entry, frame.function, parent, site),
                None => self.begin(*entry, frame.function, is_cut),
            };
            outer = Some((activation?, frame.site));
        }
        let (activation, site) = outer?;
        Some(Position { activation, site })
    }

    /// The activation of a function in this context.
    fn known(&self, entry: u64, function: u32) -> Option<u32> {
        let known = *self.by_entry.get(&activation_key(entry, function))?;
        let activation = self.activations.get(known as usize)?;
        ((activation.entry, activation.function) == (entry, function)).then_some(known)
    }

    /// The outermost activation of a captured call stack.
    fn begin(&mut self, entry: u64, function: u32, is_cut: bool) -> Option<u32> {
        let parent = if is_cut { CUT } else { ROOT };
        let Some(known) = self.known(entry, function) else {
            return Some(self.add(Activation {
                entry,
                function,
                parent,
                site: 0,
            }));
        };
        let activation = self.activations.get_mut(known as usize)?;
        (is_cut || activation.parent == ROOT).then_some(known)
    }

    /// An inner activation of a captured call stack.
    fn link(&mut self, entry: u64, function: u32, parent: u32, site: u32) -> Option<u32> {
        let Some(known) = self.known(entry, function) else {
            return Some(self.add(Activation {
                entry,
                function,
                parent,
                site,
            }));
        };
        let activation = self.activations.get_mut(known as usize)?;
        if activation.parent == CUT && parent != known {
            activation.parent = parent;
            activation.site = site;
        }
        ((activation.parent, activation.site) == (parent, site)).then_some(known)
    }

    fn add(&mut self, activation: Activation) -> u32 {
        let number = self.activations.len() as u32;
        self.by_entry.insert(activation.key(), number);
        self.activations.push(activation);
        number
    }

    /// Drops the activations of temporary positions if there is no room for `count` more.
    fn make_room(&mut self, count: usize, limit: usize) -> Option<()> {
        if self.activations.len() + count > limit && self.permanent + MIN_TEMPORARY <= limit {
            self.activations.truncate(self.permanent);
            let permanent = self.permanent;
            self.by_entry
                .retain(|_, number| (*number as usize) < permanent);
        }
        (self.activations.len() + count <= limit).then_some(())
    }

    /// Bytes of memory that the tree takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let callers = self.callers.values().map(|callers| {
            callers.capacity() * size_of::<Caller>() + size_of::<(u32, Vec<Caller>)>()
        });
        self.activations.capacity() * size_of::<Activation>()
            + self.by_entry.capacity() * (size_of::<(u64, u32)>() + 1)
            + callers.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
