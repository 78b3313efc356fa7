//! The right line for every shape of leak.

use std::collections::HashMap;
use std::fs;

use guest_heap::reading::Context;
use guest_heap::symbols::{Detail, SymbolOptions, Symbols};

use crate::fixture::{Allocation, recorded, sources};

fn options() -> SymbolOptions {
    SymbolOptions::default().infrastructure_path("probe")
}

#[test]
fn dump() {
    let recorded = recorded();
    let symbols = Symbols::new(&recorded.component, options()).unwrap();
    for (name, allocations) in &recorded.cases {
        println!("== {name} {}", allocations.len());
        if let Some(a) = allocations.first() {
            println!("   site {:?}", symbols.site(&Context::Stack(a.stack.clone())));
            for f in symbols.frames(&Context::Stack(a.stack.clone())) {
                println!("    {:?} {} {}:{}:{}", f.kind, f.function, f.file.as_deref().unwrap_or("-"), f.line.unwrap_or(0), f.column.unwrap_or(0));
            }
        }
    }
}
