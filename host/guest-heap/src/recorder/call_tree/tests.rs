//! Tests of the call tree with call stacks of a made-up program.

use super::*;

/// Frames of a call stack at most.
const MAX_FRAMES: usize = 10;

const LIMIT: usize = 100_000;

/// The call at `site` in `function`.
fn frame(function: u32, site: u32) -> Frame {
    Frame {
        site,
        function,
        id: Some((site.wrapping_mul(0x9E37_79B9) >> 1) as i32 - (1 << 29)),
    }
}

/// The context of a call stack, innermost frame first, whose outermost function begins in `root`.
fn context(root: u64, frames: &[Frame]) -> u64 {
    let step = |entry, frame: &Frame| context_of(entry, frame.id);
    frames.iter().rev().fold(root, step)
}

/// A recursive function 1 with the call sites 11 and 12, which function 0 calls at site 1. Function
/// 2 allocates at site 21; function 1 calls it at site 13.
fn recursion(path: &[u32]) -> Vec<Frame> {
    let calls = path.iter().map(|site| frame(1, *site));
    [frame(2, 21), frame(1, 13)]
        .into_iter()
        .chain(calls)
        .chain([frame(0, 1)])
        .collect()
}

fn sites(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| frame.site).collect()
}

/// A tree that knows these recursions.
fn tree(known: &[&[u32]]) -> CallTree {
    let mut tree = CallTree::new(MAX_FRAMES);
    for path in known {
        let frames = recursion(path);
        let position = tree.insert(context(7, &frames), &frames, false, LIMIT);
        assert_eq!(tree.sites(position.unwrap()), sites(&frames));
    }
    tree
}

#[test]
fn a_call_stack_of_known_calls_is_found() {
    let mut tree = tree(&[&[11, 12], &[12]]);
    for path in [&[11, 11, 12][..], &[12, 12], &[11, 12], &[]] {
        let frames = recursion(path);
        let found = tree.search(context(7, &frames)).unwrap();
        let functions: Vec<_> = frames.iter().map(|f| (f.site, f.function)).collect();
        assert_eq!(tree.frames(&found), functions);
        let position = tree.keep(&found, LIMIT).unwrap();
        assert_eq!(tree.sites(position), sites(&frames));
    }
}

#[test]
fn a_call_stack_with_calls_that_leave_the_context_is_found() {
    let mut tree = CallTree::new(MAX_FRAMES);
    // The functions 3 and 4 are between the allocating call and the allocator.
    let stack = |path: &[u32]| -> Vec<Frame> {
        let pass_through = [(4, 41), (3, 31)].map(|(function, site)| Frame {
            id: None,
            ..frame(function, site)
        });
        pass_through.into_iter().chain(recursion(path)).collect()
    };
    for path in [&[11, 12][..], &[12]] {
        let frames = stack(path);
        let position = tree.insert(context(7, &frames), &frames, false, LIMIT);
        assert_eq!(tree.sites(position.unwrap()), sites(&frames));
    }
    // The context of a function that it passes through is that of its caller, and both are known.
    let known = context(7, &stack(&[12]));
    assert!(tree.known(known, 3).is_some() && tree.known(known, 4).is_some());
    for path in [&[11, 11, 12][..], &[12, 12], &[]] {
        let frames = stack(path);
        let found = tree.search(context(7, &frames)).unwrap();
        let position = tree.keep(&found, LIMIT).unwrap();
        assert_eq!(tree.sites(position), sites(&frames));
    }
}

#[test]
fn an_unknown_call_or_root_is_not_found() {
    let mut tree = tree(&[&[11, 12], &[12]]);
    assert!(tree.search(context(7, &recursion(&[14, 12]))).is_none());
    assert!(tree.search(context(8, &recursion(&[11, 12]))).is_none());
    assert!(tree.search(0).is_none());
}

#[test]
fn a_call_stack_that_a_backtrace_would_cut_is_captured() {
    let mut tree = CallTree::new(MAX_FRAMES);
    let deep = recursion(&[11; 20]);
    let captured = &deep[..MAX_FRAMES];
    let inserted = tree.insert(context(7, &deep), captured, true, LIMIT);
    assert_eq!(tree.sites(inserted.unwrap()), sites(captured));
    // The activation of one call less is in the tree, but its outermost frame is not.
    let less = recursion(&[11; 19]);
    assert!(tree.search(context(7, &less)).is_none());
    // One call more has enough known frames.
    let more = recursion(&[11; 21]);
    let found = tree.search(context(7, &more)).unwrap();
    assert_eq!(tree.frames(&found).len(), MAX_FRAMES);
    // The missing frames are added when they are known.
    let inserted = tree.insert(context(7, &less), &less[..MAX_FRAMES], true, LIMIT);
    assert_eq!(tree.sites(inserted.unwrap()), sites(&less[..MAX_FRAMES]));
}

#[test]
fn a_context_with_two_call_stacks_is_kept_once() {
    let mut tree = tree(&[&[11]]);
    let frames = recursion(&[11]);
    // The same values as those of the known call stack, but another caller.
    let mut other = frames.clone();
    other[2].site = 15;
    assert!(
        tree.insert(context(7, &frames), &other, false, LIMIT)
            .is_none()
    );
    let found = tree.search(context(7, &frames)).unwrap();
    assert_eq!(tree.frames(&found).len(), frames.len());
}

#[test]
fn the_tree_is_bounded_and_drops_only_temporary_activations() {
    let mut tree = tree(&[&[11], &[12]]);
    let limit = MIN_TEMPORARY + tree.activations.len();
    let kept = tree.search(context(7, &recursion(&[12, 11]))).unwrap();
    let kept = tree.keep(&kept, limit).unwrap();
    let path = |number: u32| -> Vec<u32> { (0..14).map(|bit| 11 + (number >> bit & 1)).collect() };
    for number in 0..1 << 14 {
        let frames = recursion(&path(number)[..6]);
        if let Some(found) = tree.search(context(7, &frames)) {
            tree.keep_temporarily(&found, limit);
        }
        assert!(tree.activations.len() <= limit && tree.by_entry.len() <= limit);
    }
    assert_eq!(tree.sites(kept), sites(&recursion(&[12, 11])));
    assert!(tree.memory_bytes() < limit * 128);
    // No room at all: nothing is kept.
    let frames = recursion(&[12, 12, 12]);
    assert!(
        tree.insert(context(7, &frames), &frames, false, 1)
            .is_none()
    );
}
