//! The reference cycle.
//!
//! **Symptom.** Memory grows with every request although nothing is stored: every variable goes out of
//! scope, no collection gets longer, and yet nothing is freed.
//!
//! **Cause.** A tree whose nodes are reference-counted. The parent owns its children, and each child
//! holds its parent with a second strong reference, to be able to ask it something. When the request
//! drops the tree, each node is still referenced by the other: the count never comes down to zero.
//!
//! **Fix.** `variant: fixed` lets a child hold its parent with a [`Weak`] reference: who owns is strong,
//! who only looks is weak. Trees that were left behind before the switch are broken up with the next
//! requests, in steps of [`SHRINK_STEP`] per request.
//!
//! In a real program nothing can reach such a tree any more. So that the lab can take it back, the
//! plugin notes a `Weak` reference to each root, which keeps none of them alive.

mod tree;

use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, LeakPlugin, NoSettings, Payload, Retention, SHRINK_STEP,
    Variant,
};

use tree::Node;

/// Requests that are worked on as a tree.
#[derive(Debug, Default)]
pub struct ReferenceCycle {
    /// Not an owner: the trees keep themselves alive.
    roots: VecDeque<Weak<Node>>,
    trees_bytes: usize,
}

impl LeakPlugin for ReferenceCycle {
    const TITLE: &'static str = "Reference cycle";
    const UNIT: &'static str = "trees";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = NoSettings;

    fn on_request(&mut self, call: Call<'_, NoSettings>) -> Result<Effect, Failure> {
        if call.variant == Variant::Fixed {
            for _ in 0..SHRINK_STEP {
                if !self.break_up_oldest() {
                    break;
                }
            }
            self.roots.shrink_sparse();
        }
        let overhead = tree::NODES_BYTES + size_of::<Weak<Node>>();
        let body = call.payload(call.payload_bytes.saturating_sub(overhead));
        self.work_on(body, call.variant);
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.roots.len(),
            self.trees_bytes + self.roots.block_bytes(),
        )
    }

    fn clear(&mut self) {
        while self.break_up_oldest() {}
        *self = Self::default();
    }
}

impl ReferenceCycle {
    /// Puts what was asked into a tree and drops the tree, as far as it can be dropped.
    fn work_on(&mut self, body: Payload, variant: Variant) {
        let root = match variant {
            Variant::Leaky => Node::with_child_that_owns_it(body),
            Variant::Fixed => Node::with_child_that_looks_at_it(body),
        };
        std::hint::black_box(root.child_asks_for_bytes());
        let bytes = root.bytes();
        let noted = Rc::downgrade(&root);
        drop(root);
        // Still there, although its only owner has just let go of it.
        if noted.strong_count() > 0 {
            self.trees_bytes += bytes;
            self.roots.push_back(noted);
        }
    }

    /// Cuts the cycle of the oldest tree, which frees it. Answers whether there was one.
    fn break_up_oldest(&mut self) -> bool {
        let Some(root) = self.roots.pop_front().and_then(|root| root.upgrade()) else {
            return false;
        };
        self.trees_bytes -= root.bytes();
        root.let_go_of_child();
        true
    }
}

leak_plugin_sdk::export!(ReferenceCycle);

#[cfg(test)]
mod tests;
