//! The smallest tree that can have a cycle: a root and one child.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use leak_plugin_sdk::{HeapSize, Payload};

/// The two counts that stand before what an `Rc` points to.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// What the two nodes of a tree take up without the body.
pub(crate) const NODES_BYTES: usize = 2 * COUNTS_BYTES + size_of::<Node>() + size_of::<Child>();

/// The root: what was asked, and the child that works on it.
#[derive(Debug)]
pub(crate) struct Node {
    body: Payload,
    child: RefCell<Option<Rc<Child>>>,
}

/// Works for its parent, and has to be able to ask it.
#[derive(Debug)]
struct Child {
    parent: OnceCell<Parent>,
}

#[derive(Debug)]
enum Parent {
    /// The bug: one more owner, which is owned by what it owns.
    Owned(Rc<Node>),
    /// Enough to ask.
    LookedAt(Weak<Node>),
}

impl Node {
    /// A tree that is a cycle.
    pub(crate) fn with_child_that_owns_it(body: Payload) -> Rc<Self> {
        Self::with_child(body, |root| Parent::Owned(Rc::clone(root)))
    }

    /// A tree that goes when its root does.
    pub(crate) fn with_child_that_looks_at_it(body: Payload) -> Rc<Self> {
        Self::with_child(body, |root| Parent::LookedAt(Rc::downgrade(root)))
    }

    fn with_child(body: Payload, parent: impl FnOnce(&Rc<Self>) -> Parent) -> Rc<Self> {
        let child = Rc::new(Child {
            parent: OnceCell::new(),
        });
        let root = Rc::new(Self {
            body,
            child: RefCell::new(Some(Rc::clone(&child))),
        });
        // Fails only where there is a parent already.
        let _new = child.parent.set(parent(&root));
        root
    }

    /// What the child was made for.
    pub(crate) fn child_asks_for_bytes(&self) -> usize {
        let child = self.child.borrow();
        let parent = child.as_ref().and_then(|child| child.parent.get());
        match parent {
            Some(Parent::Owned(parent)) => parent.body.heap_bytes(),
            Some(Parent::LookedAt(parent)) => parent
                .upgrade()
                .map_or(0, |parent| parent.body.heap_bytes()),
            None => 0,
        }
    }

    /// Ends the cycle, if there is one.
    pub(crate) fn let_go_of_child(&self) {
        // Taken out first: the child's end may be the root's.
        let child = self.child.take();
        drop(child);
    }

    /// What the whole tree takes up on the heap.
    pub(crate) fn bytes(&self) -> usize {
        NODES_BYTES + self.body.heap_bytes()
    }
}
