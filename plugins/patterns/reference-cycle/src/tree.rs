//! The smallest tree that can contain a cycle: a root and one child.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use leak_plugin_sdk::{HeapSize, Payload};

/// Bytes of the two reference counts in the block of an `Rc`.
const RC_COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// Heap bytes of the two nodes of a tree, without the body.
pub(crate) const NODES_BYTES: usize = 2 * RC_COUNTS_BYTES + size_of::<Node>() + size_of::<Child>();

/// The root. It owns the body and the child.
#[derive(Debug)]
pub(crate) struct Node {
    body: Payload,
    child: RefCell<Option<Rc<Child>>>,
}

/// The child. It holds a reference to its parent, so that it can call it.
#[derive(Debug)]
struct Child {
    parent: OnceCell<Parent>,
}

#[derive(Debug)]
enum Parent {
    /// The bug: the root owns the child, and the child owns the root.
    Strong(Rc<Node>),
    /// The fix: a weak reference is enough to call the parent.
    Weak(Weak<Node>),
}

impl Node {
    /// A tree with a cycle. Dropping the last variable does not free it.
    pub(crate) fn with_strong_parent(body: Payload) -> Rc<Self> {
        Self::with_child(body, |root| Parent::Strong(Rc::clone(root)))
    }

    /// A tree without a cycle. Dropping the last variable frees it.
    pub(crate) fn with_weak_parent(body: Payload) -> Rc<Self> {
        Self::with_child(body, |root| Parent::Weak(Rc::downgrade(root)))
    }

    fn with_child(body: Payload, parent: impl FnOnce(&Rc<Self>) -> Parent) -> Rc<Self> {
        let child = Rc::new(Child {
            parent: OnceCell::new(),
        });
        let root = Rc::new(Self {
            body,
            child: RefCell::new(Some(Rc::clone(&child))),
        });
        // `set` fails only if the cell already has a value; this cell is new.
        let _is_new = child.parent.set(parent(&root));
        root
    }

    /// The size of the body as the child sees it, through its reference to the parent.
    pub(crate) fn body_bytes_seen_by_child(&self) -> usize {
        let child = self.child.borrow();
        let parent = child.as_ref().and_then(|child| child.parent.get());
        match parent {
            Some(Parent::Strong(parent)) => parent.body.heap_bytes(),
            Some(Parent::Weak(parent)) => parent
                .upgrade()
                .map_or(0, |parent| parent.body.heap_bytes()),
            None => 0,
        }
    }

    /// Drops the child, which breaks the cycle if there is one.
    pub(crate) fn drop_child(&self) {
        // Ends the borrow of the cell first, because the drop may free the root as well.
        let child = self.child.take();
        drop(child);
    }

    /// Heap bytes of the whole tree.
    pub(crate) fn bytes(&self) -> usize {
        NODES_BYTES + self.body.heap_bytes()
    }
}
