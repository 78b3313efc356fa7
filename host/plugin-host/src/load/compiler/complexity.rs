//! Limits on the structure of a component, checked before it is compiled.
//!
//! Some structures cost far more than their size: the time for one function grows with the product
//! of its nested loops and its locals, and every function costs kilobytes however short it is. The
//! limits are several times of what compilers of real languages produce. What passes them and is
//! still too expensive ends at the limits of time and memory.

use wasmparser::{FunctionBody, Operator, Parser, Payload};

use crate::error::PluginError;

/// Core modules in a component. A composed Python component has about thirty.
const MAX_MODULES: usize = 128;
/// Components in a component, at any depth.
const MAX_COMPONENTS: usize = 128;
/// Functions of all modules together. A JavaScript engine has 25,000.
const MAX_FUNCTIONS: usize = 100_000;
/// Bytes of one function. The main loop of a Python interpreter has about 200,000.
const MAX_FUNCTION_BYTES: u64 = 512 << 10;
/// Locals of one function. Large functions without optimization have several thousands.
const MAX_LOCALS: u64 = 10_000;
/// Blocks in blocks. A switch of a thousand cases nests a thousand blocks.
const MAX_BLOCK_DEPTH: usize = 5000;
/// Loops in loops. Written by hand, even ten are rare.
const MAX_LOOP_DEPTH: usize = 64;
/// Nested loops times locals of one function: each loop may have to pass on each local.
const MAX_LOOP_LOCALS: u64 = 20_000;

/// Checks the structure of a component against all limits.
///
/// # Errors
///
/// [`PluginError::TooCostly`] names the limit. What cannot be parsed passes: the compiler refuses
/// it with a better message.
pub(super) fn check(component: &[u8]) -> Result<(), PluginError> {
    let (mut modules, mut components, mut functions) = (0, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        let Ok(payload) = payload else {
            return Ok(());
        };
        match payload {
            Payload::ModuleSection { .. } => {
                modules += 1;
                at_most("core modules", modules, MAX_MODULES)?;
            }
            Payload::ComponentSection { .. } => {
                components += 1;
                at_most("nested components", components, MAX_COMPONENTS)?;
            }
            Payload::FunctionSection(section) => {
                functions += section.count() as usize;
                at_most("functions", functions, MAX_FUNCTIONS)?;
            }
            Payload::CodeSectionEntry(body) => check_function(&body)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_function(body: &FunctionBody<'_>) -> Result<(), PluginError> {
    let range = body.range();
    let bytes = range.end.saturating_sub(range.start);
    at_most("bytes in one function", bytes, MAX_FUNCTION_BYTES)?;
    let locals = locals(body);
    at_most("locals in one function", locals, MAX_LOCALS)?;
    let Ok(operators) = body.get_operators_reader() else {
        return Ok(());
    };
    let (mut open, mut loops, mut deepest_loop) = (Vec::new(), 0, 0);
    for operator in operators {
        match operator {
            Err(_) => return Ok(()),
            Ok(Operator::Loop { .. }) => {
                open.push(true);
                loops += 1;
                deepest_loop = deepest_loop.max(loops);
            }
            Ok(
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. },
            ) => open.push(false),
            Ok(Operator::End) if open.pop() == Some(true) => loops -= 1,
            Ok(_) => {}
        }
        at_most("blocks nested in one function", open.len(), MAX_BLOCK_DEPTH)?;
        at_most("loops nested in one function", loops, MAX_LOOP_DEPTH)?;
    }
    let product = locals.saturating_mul(deepest_loop as u64);
    at_most(
        "nested loops times locals in one function",
        product,
        MAX_LOOP_LOCALS,
    )
}

/// The locals that a function declares; zero when they cannot be read.
fn locals(body: &FunctionBody<'_>) -> u64 {
    let Ok(reader) = body.get_locals_reader() else {
        return 0;
    };
    let counts = reader.into_iter().map_while(Result::ok);
    counts.map(|(count, _)| u64::from(count)).sum()
}

fn at_most<N: PartialOrd + std::fmt::Display>(
    what: &str,
    found: N,
    limit: N,
) -> Result<(), PluginError> {
    if found <= limit {
        return Ok(());
    }
    Err(PluginError::TooCostly(format!(
        "it has {found} {what} or more; the limit is {limit}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(module: &str) -> Vec<u8> {
        wat::parse_str(format!("(component (core module {module}))")).unwrap()
    }

    fn refusal(module: &str) -> String {
        check(&component(module)).unwrap_err().to_string()
    }

    #[test]
    fn each_limit_is_named() {
        let functions = "(func)".repeat(MAX_FUNCTIONS + 1);
        assert!(refusal(&functions).contains("100001 functions"));
        let long = format!("(func {})", "i32.const 7 drop ".repeat(200_000));
        assert!(refusal(&long).contains("bytes in one function"));
        let locals = format!("(func (local {}))", "i32 ".repeat(10_001));
        assert!(refusal(&locals).contains("10001 locals"));
        let blocks = format!("(func {} {})", "block ".repeat(5001), "end ".repeat(5001));
        assert!(refusal(&blocks).contains("blocks nested"));
        let loops = format!("(func {} {})", "loop ".repeat(65), "end ".repeat(65));
        assert!(refusal(&loops).contains("65 loops nested"));
        let both = format!(
            "(func (local {}) {} {})",
            "i32 ".repeat(5000),
            "loop ".repeat(5),
            "end ".repeat(5)
        );
        assert!(refusal(&both).contains("nested loops times locals"));
        let modules = "(core module)".repeat(MAX_MODULES + 1);
        let modules = wat::parse_str(format!("(component {modules})")).unwrap();
        assert!(
            check(&modules)
                .unwrap_err()
                .to_string()
                .contains("129 core modules")
        );
    }

    #[test]
    fn ordinary_structures_pass() {
        let switch = format!("(func {} {})", "block ".repeat(1500), "end ".repeat(1500));
        let loops = format!(
            "(func (local i64 i32) {} {})",
            "loop ".repeat(12),
            "end ".repeat(12)
        );
        // Loops next to each other are not nested.
        let row = format!("(func {})", "loop end ".repeat(1000));
        for module in [switch, loops, row, "(func)".repeat(20_000)] {
            assert!(check(&component(&module)).is_ok());
        }
        assert!(check(b"no component").is_ok());
    }
}
