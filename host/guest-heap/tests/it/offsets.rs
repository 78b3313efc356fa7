//! The way back from the instrumented component's offsets to the original's.

use std::collections::{HashMap, HashSet};

use guest_heap::{InstrumentedMeta, Options, instrument};
use wasmparser::{Parser, Payload};

use crate::fixtures;

/// Each instruction of a component's core modules, by offset.
fn instructions(component: &[u8]) -> HashMap<u32, String> {
    let mut instructions = HashMap::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let mut operators = body.get_operators_reader().unwrap();
            while !operators.eof() {
                let at = operators.original_position() as u32;
                instructions.insert(at, format!("{:?}", operators.read().unwrap()));
            }
        }
    }
    instructions
}

fn check(name: &str, component: &[u8]) {
    let instrumented = instrument(component, &Options::default()).unwrap();
    let offsets = instrumented.meta.offsets();
    let before = instructions(component);
    let mut reached = HashSet::new();
    for (at, instruction) in instructions(&instrumented.component) {
        let Some(original) = offsets.original(at) else {
            continue;
        };
        let expected = before
            .get(&original)
            .unwrap_or_else(|| panic!("{name}: {at:#x} has no original"));
        if *expected == instruction {
            reached.insert(original);
        }
    }
    let missing: Vec<_> = before
        .iter()
        .filter(|(at, _)| !reached.contains(at))
        .collect();
    // A tail call of an import is a call and a return.
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|(_, it)| !it.starts_with("ReturnCall"))
        .collect();
    assert!(
        missing.is_empty(),
        "{name}: {} of {} have no place: {:?}",
        missing.len(),
        before.len(),
        missing.first()
    );
}

#[test]
fn every_instruction_of_the_original_has_its_place() {
    for name in ["workout", "bump"] {
        check(name, &fixtures::rust(name));
    }
}

#[test]
fn the_side_data_survives_a_cache_and_damage_is_noticed() {
    let instrumented = instrument(&fixtures::rust("workout"), &Options::default()).unwrap();
    let bytes = instrumented.meta.to_bytes();
    assert_eq!(
        InstrumentedMeta::from_bytes(&bytes).unwrap(),
        *instrumented.meta
    );
    for at in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        InstrumentedMeta::from_bytes(&damaged).expect_err("a flipped bit");
        InstrumentedMeta::from_bytes(&bytes[..at]).expect_err("a part");
    }
    let started = std::time::Instant::now();
    InstrumentedMeta::from_bytes(&bytes).unwrap();
    println!("{} bytes read in {:?}", bytes.len(), started.elapsed());
}
