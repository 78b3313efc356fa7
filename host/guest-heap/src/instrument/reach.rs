//! Which functions may come to allocate.
//!
//! Only these are instrumented. The answer errs on the side of yes: a call through a table may reach
//! whatever is referenced with that type, and an import may reach `cabi_realloc`.

use std::collections::{HashMap, HashSet};

use wasmparser::FuncType;

use super::calls::{Callee, Calls, Site};
use super::scan::CoreModule;

/// Whether a call that does not come back counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diverging {
    /// It does.
    Counts,
    /// It does not: what a panic allocates would make nearly every function count.
    Ignored,
}

/// Which functions may reach one of a set.
pub(super) struct Reach {
    functions: Vec<bool>,
    /// By type index: whether one of them is referenced with that type.
    types: Vec<bool>,
    any_reference: bool,
}

impl Reach {
    /// The functions that may reach one of `seeds`, or an import where `imports` says so. A call to
    /// a function of `barriers` reaches nothing beyond it.
    pub(super) fn compute(
        module: &CoreModule<'_>,
        calls: &[Calls],
        seeds: &[u32],
        barriers: &[u32],
        imports: bool,
        diverging: Diverging,
    ) -> Self {
        let kinds = Kinds::of(module);
        let count = module.functions() as usize;
        let first = module.first_defined();
        let referenced = referenced(module, calls, count);
        let mut barrier = vec![false; count];
        for function in barriers {
            barrier
                .get_mut(*function as usize)
                .into_iter()
                .for_each(|it| *it = true);
        }

        // Who calls whom, backwards: nodes are functions, then types, then "any reference".
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); count + kinds.count + 1];
        let any = count + kinds.count;
        for (caller, calls) in (first..).zip(calls) {
            if barrier.get(caller as usize) == Some(&true) {
                continue;
            }
            for site in &calls.sites {
                if site.diverges && diverging == Diverging::Ignored {
                    continue;
                }
                let node = match site.callee {
                    Callee::Function(callee) => callee as usize,
                    Callee::Type(ty) => kinds.of_type(ty).map_or(any, |kind| count + kind),
                    Callee::Reference => any,
                };
                if let Some(callers) = callers.get_mut(node)
                    && callers.last() != Some(&caller)
                {
                    callers.push(caller);
                }
            }
        }

        let mut reached = vec![false; callers.len()];
        let imports = if imports { first } else { 0 };
        let mut work: Vec<usize> = (0..imports)
            .chain(seeds.iter().copied())
            .map(|f| f as usize)
            .collect();
        while let Some(node) = work.pop() {
            match reached.get_mut(node) {
                Some(reached) if !*reached => *reached = true,
                _ => continue,
            }
            work.extend(
                callers
                    .get(node)
                    .into_iter()
                    .flatten()
                    .map(|caller| *caller as usize),
            );
            if referenced.get(node) == Some(&true) {
                work.push(any);
                let kind = module.type_of(node as u32).and_then(|ty| kinds.of_type(ty));
                work.extend(kind.map(|kind| count + kind));
            }
        }
        let types = (0..module.types.len() as u32).map(|ty| {
            let node = kinds.of_type(ty).map_or(any, |kind| count + kind);
            reached.get(node) == Some(&true)
        });
        Self {
            types: types.collect(),
            any_reference: reached.get(any) == Some(&true),
            functions: reached.into_iter().take(count).collect(),
        }
    }

    pub(super) fn function(&self, function: u32) -> bool {
        self.functions.get(function as usize) == Some(&true)
    }

    pub(super) fn site(&self, site: &Site) -> bool {
        match site.callee {
            Callee::Function(function) => self.function(function),
            Callee::Type(ty) => self.types.get(ty as usize) == Some(&true),
            Callee::Reference => self.any_reference,
        }
    }
}

/// Which imports may be called by reference: by their types.
pub(super) struct ReferencedImports {
    types: Vec<bool>,
    any: bool,
}

impl ReferencedImports {
    pub(super) fn of(module: &CoreModule<'_>, calls: &[Calls]) -> Self {
        let kinds = Kinds::of(module);
        let referenced = referenced(module, calls, module.imported.len());
        let of_imports: HashSet<_> = module
            .imported
            .iter()
            .zip(&referenced)
            .filter(|(_, referenced)| **referenced)
            .map(|(ty, _)| kinds.of_type(*ty))
            .collect();
        Self {
            types: (0..module.types.len() as u32)
                .map(|ty| of_imports.contains(&kinds.of_type(ty)))
                .collect(),
            any: !of_imports.is_empty(),
        }
    }

    /// Whether a site calls an import, or may.
    pub(super) fn may_be_called_at(&self, module: &CoreModule<'_>, site: &Site) -> bool {
        match site.callee {
            Callee::Function(function) => function < module.first_defined(),
            Callee::Type(ty) => self.types.get(ty as usize) == Some(&true),
            Callee::Reference => self.any,
        }
    }
}

fn referenced(module: &CoreModule<'_>, calls: &[Calls], count: usize) -> Vec<bool> {
    let mut flags = vec![false; count];
    let in_bodies = calls.iter().flat_map(|calls| &calls.referenced);
    for function in module.referenced.iter().chain(in_bodies) {
        flags
            .get_mut(*function as usize)
            .into_iter()
            .for_each(|it| *it = true);
    }
    flags
}

/// Types that are equal, under one number: a call through a table compares them so. Where there are
/// subtypes none has a number, and each counts as equal to any.
struct Kinds {
    of_types: Vec<Option<usize>>,
    count: usize,
}

impl Kinds {
    fn of(module: &CoreModule<'_>) -> Self {
        let mut known: HashMap<&FuncType, usize> = HashMap::new();
        let of_types = module.types.iter().map(|ty| {
            let next = known.len();
            let comparable = ty.as_ref().filter(|_| !module.has_subtypes);
            comparable.map(|ty| *known.entry(ty).or_insert(next))
        });
        let of_types = of_types.collect();
        Self {
            of_types,
            count: known.len(),
        }
    }

    fn of_type(&self, ty: u32) -> Option<usize> {
        self.of_types.get(ty as usize).copied().flatten()
    }
}
