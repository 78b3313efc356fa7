//! The map from offsets in the instrumented component to offsets in the original.

use std::collections::{HashMap, HashSet};

use guest_heap::{InstrumentedMeta, Options, instrument};
use wasmparser::{Parser, Payload};

use crate::fixtures;

/// The instructions of a component's core modules, by offset.
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

/// The most functions that a core module imports.
fn imports(component: &[u8]) -> u32 {
    let payloads = Parser::new(0).parse_all(component);
    let counts = payloads.map(|payload| match payload.unwrap() {
        Payload::ImportSection(imports) => {
            let imports = imports.into_imports().map(Result::unwrap);
            let is_function =
                |import: &wasmparser::Import<'_>| matches!(import.ty, wasmparser::TypeRef::Func(_));
            imports.filter(is_function).count() as u32
        }
        _ => 0,
    });
    counts.max().unwrap()
}

/// Checks that every instruction of the original is the image of an equal instruction.
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
    // A tail call of an import becomes a call and a return. The call of an import that gives or
    // ends handles becomes a call of its wrapper.
    let wrapped: HashSet<String> = (0..imports(component))
        .map(|function| format!("Call {{ function_index: {function} }}"))
        .filter(|_| instrumented.meta.handles().are_counted)
        .collect();
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|(_, it)| !it.starts_with("ReturnCall") && !wrapped.contains(*it))
        .collect();
    assert!(
        missing.is_empty(),
        "{name}: {} of {} instructions are missing: {:?}",
        missing.len(),
        before.len(),
        missing.first()
    );
}

#[test]
fn every_instruction_of_the_original_has_an_instrumented_offset() {
    for name in ["workload", "free_lists"] {
        check(name, &fixtures::rust(name));
    }
}

#[test]
fn the_side_data_can_be_encoded_and_damage_is_detected() {
    let instrumented = instrument(&fixtures::rust("workload"), &Options::default()).unwrap();
    let bytes = instrumented.meta.to_bytes();
    assert_eq!(
        InstrumentedMeta::from_bytes(&bytes).unwrap(),
        *instrumented.meta
    );
    for at in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        InstrumentedMeta::from_bytes(&damaged).expect_err("a flipped bit");
        InstrumentedMeta::from_bytes(&bytes[..at]).expect_err("a cut");
    }
    let started = std::time::Instant::now();
    InstrumentedMeta::from_bytes(&bytes).unwrap();
    println!("{} bytes read in {:?}", bytes.len(), started.elapsed());
}
