//! A reference cycle.
//!
//! **Symptom.** Memory grows with every request, although the program stores nothing: every
//! variable goes out of scope and no collection grows, but nothing is freed.
//!
//! **Cause.** The nodes of a tree are reference-counted. The root owns its child, and the child
//! holds a strong reference to the root, so that it can call it. When the request drops the tree,
//! each node still references the other. Neither count reaches zero.
//!
//! **Fix.** `variant: fixed` gives the child a [`Weak`] reference. Owners hold strong references,
//! all others weak ones. Each request then also breaks up to [`SHRINK_STEP`] leaked cycles.
//!
//! In a real program nothing can reach a leaked tree. This plugin keeps a `Weak` reference to each
//! root, so that the lab can free the trees. It keeps no tree alive.

mod tree;

use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, LeakPlugin, NoSettings, Payload, Retention, SHRINK_STEP,
    Variant,
};

use tree::Node;

/// A service that builds a tree for each request.
#[derive(Debug, Default)]
pub struct ReferenceCycle {
    /// The roots of the leaked trees, oldest first. Weak: the cycles keep themselves alive.
    roots: VecDeque<Weak<Node>>,
    owned_bytes: usize,
}

impl LeakPlugin for ReferenceCycle {
    const TITLE: &'static str = "Reference cycle";
    const UNIT: &'static str = "trees";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = NoSettings;

    fn on_request(&mut self, call: Call<'_, NoSettings>) -> Result<Effect, Failure> {
        if call.variant == Variant::Fixed {
            for _ in 0..SHRINK_STEP {
                if !self.break_oldest_cycle() {
                    break;
                }
            }
            self.roots.shrink_sparse();
        }
        let overhead = tree::NODES_BYTES + size_of::<Weak<Node>>();
        // The largest part of the leak. The bug is in `tree.rs`: the child owns its parent.
        let body = call.payload(call.payload_bytes.saturating_sub(overhead));
        self.build_and_drop_tree(body, call.variant);
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.roots.len(),
            self.owned_bytes + self.roots.block_bytes(),
        )
    }

    fn clear(&mut self) {
        while self.break_oldest_cycle() {}
        *self = Self::default();
    }
}

impl ReferenceCycle {
    /// Builds a tree, uses it and drops it. A tree with a cycle stays in memory.
    fn build_and_drop_tree(&mut self, body: Payload, variant: Variant) {
        let root = match variant {
            Variant::Leaky => Node::with_strong_parent(body),
            Variant::Fixed => Node::with_weak_parent(body),
        };
        std::hint::black_box(root.body_bytes_seen_by_child());
        let bytes = root.bytes();
        let weak_root = Rc::downgrade(&root);
        drop(root);
        // The leak: the only variable that held the tree is gone, but the tree is still alive.
        if weak_root.strong_count() > 0 {
            self.owned_bytes += bytes;
            self.roots.push_back(weak_root);
        }
    }

    /// Breaks the cycle of the oldest leaked tree, which frees the tree. Returns `false` if there
    /// is none.
    fn break_oldest_cycle(&mut self) -> bool {
        let Some(root) = self.roots.pop_front().and_then(|root| root.upgrade()) else {
            return false;
        };
        self.owned_bytes -= root.bytes();
        root.drop_child();
        true
    }
}

leak_plugin_sdk::export!(ReferenceCycle);

#[cfg(test)]
mod tests;
