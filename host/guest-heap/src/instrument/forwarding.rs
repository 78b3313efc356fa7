//! Functions that only forward their arguments to another function.

use wasm_encoder::InstructionSink;
use wasmparser::Operator;

use super::calls::{Callee, Calls};
use super::scan::{CoreModule, usize_range};

const END: u8 = 0x0B;

/// Whether a function does nothing but call a function in a table with its own arguments. The
/// module with the memory of dynamically linked components exports such functions for functions of
/// modules that are instantiated later, under the same names.
pub(super) fn forwards_through_table(module: &CoreModule<'_>, function: u32) -> bool {
    let body = function
        .checked_sub(module.first_defined())
        .and_then(|defined| module.bodies.get(defined as usize));
    let Some(Ok(operators)) = body.map(|body| body.get_operators_reader()) else {
        return false;
    };
    let mut calls = 0;
    for operator in operators {
        match operator {
            Ok(Operator::CallIndirect { .. } | Operator::ReturnCallIndirect { .. }) => calls += 1,
            Ok(
                Operator::LocalGet { .. }
                | Operator::I32Const { .. }
                | Operator::GlobalGet { .. }
                | Operator::I32Add
                | Operator::Return
                | Operator::End,
            ) => {}
            _ => return false,
        }
    }
    calls == 1
}

/// The function that an entry point forwards to: its body only calls that function with its own
/// arguments.
pub(super) fn forwards_to(module: &CoreModule<'_>, calls: &[Calls], function: u32) -> Option<u32> {
    let defined = function.checked_sub(module.first_defined())? as usize;
    let [site] = calls.get(defined)?.sites.as_slice() else {
        return None;
    };
    let Callee::Function(callee) = site.callee else {
        return None;
    };
    let params = module.signature(function)?.params().len() as u32;
    let mut expected = Vec::new();
    let mut code = InstructionSink::new(&mut expected);
    for param in 0..params {
        code.local_get(param);
    }
    let body = usize_range(module.bodies.get(defined)?.range());
    let before = module.bytes.get(calls.get(defined)?.code..site.start)?;
    let after = module.bytes.get(site.end..body.end)?;
    (before == expected && after == [END] && module.is_defined(callee)).then_some(callee)
}
