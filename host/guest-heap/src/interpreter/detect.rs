//! Finds an interpreter in the data of a component.

use wasmparser::{DataKind, Operator, Parser, Payload};

use super::cpython::Offsets;
use super::{DEFAULT_DEPTH, Interpreter};

/// The first bytes of CPython's state, since 3.13.
const COOKIE: &[u8; 8] = b"xdebugpy";

/// What is known about the interpreter of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detection {
    /// There is no sign of an interpreter in the data.
    Nothing,
    /// There is one whose frames cannot be read. The reason is a clause whose subject is the
    /// interpreter.
    Unusable(String),
    /// There is one, and its frames can be read.
    Found(Interpreter),
}

/// Searches the data of these core modules. A snapshot of an initialised program has its data at
/// constant addresses.
pub(super) fn find<'a>(modules: impl Iterator<Item = &'a [u8]>) -> Detection {
    let mut unusable = None;
    for module in modules {
        match in_module(module) {
            Detection::Found(interpreter) => return Detection::Found(interpreter),
            Detection::Unusable(why) => {
                unusable.get_or_insert(why);
            }
            Detection::Nothing => {}
        }
    }
    unusable.map_or(Detection::Nothing, Detection::Unusable)
}

fn in_module(module: &[u8]) -> Detection {
    let mut found = None;
    let mut end = 0;
    let mut unplaced = false;
    for payload in Parser::new(0).parse_all(module) {
        let Ok(Payload::DataSection(segments)) = payload else {
            continue;
        };
        for segment in segments.into_iter().flatten() {
            let address = constant_address(&segment.kind);
            if let Some(address) = address {
                end = end.max(address.saturating_add(segment.data.len() as u32));
            }
            let Some(at) = position(segment.data) else {
                continue;
            };
            let table = segment.data.get(at..).unwrap_or_default();
            match address.and_then(|address| address.checked_add(at as u32)) {
                Some(address) if found.is_none() => found = Some((address, Offsets::read(table))),
                Some(_) => {}
                None => unplaced = true,
            }
        }
    }
    match found {
        Some((runtime, Ok((version, offsets)))) => Detection::Found(Interpreter {
            version,
            runtime,
            snapshot_end: end,
            depth: DEFAULT_DEPTH,
            offsets,
        }),
        Some((_, Err(why))) => Detection::Unusable(why),
        None if unplaced => Detection::Unusable(
            "keeps its state in data whose address is not constant: the component is no snapshot \
             of an initialised program"
                .to_owned(),
        ),
        None => Detection::Nothing,
    }
}

/// The position of CPython's state in data. It is aligned as in memory, relative to the segment's
/// start or not.
fn position(data: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(rest) = data.get(from..) {
        let first = rest.iter().position(|byte| *byte == COOKIE[0])?;
        if rest.get(first..first + COOKIE.len()) == Some(COOKIE) {
            return Some(from + first);
        }
        from += first + 1;
    }
    None
}

/// The address of an active segment, if it is a constant in the first memory.
fn constant_address(kind: &DataKind<'_>) -> Option<u32> {
    let DataKind::Active {
        memory_index: 0,
        offset_expr,
    } = kind
    else {
        return None;
    };
    let mut operators = offset_expr.get_operators_reader().into_iter();
    match (operators.next(), operators.next()) {
        (Some(Ok(Operator::I32Const { value })), Some(Ok(Operator::End))) => Some(value as u32),
        _ => None,
    }
}
