//! Finds the functions that may allocate, directly or through calls.
//!
//! Only these functions are instrumented. The analysis is conservative: if it cannot decide, it
//! instruments the function. A call through a table counts as a call of every referenced function
//! of its type, and a call of an import counts as a call of `cabi_realloc`.

use std::collections::{HashMap, HashSet};

use wasmparser::FuncType;

use super::calls::{CallSite, Callee, Calls};
use super::scan::CoreModule;

/// Whether a call that does not return counts as a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diverging {
    Counts,
    /// Panics allocate. If they counted, nearly every function would reach an allocation.
    Ignored,
}

/// The functions that may reach one of a set of functions.
pub(super) struct Reach {
    functions: Vec<bool>,
    /// By type index: whether a reaching function of this type is referenced.
    types: Vec<bool>,
    /// Whether any reaching function is referenced.
    any_reference: bool,
}

impl Reach {
    /// Finds the functions that may reach one of `seeds`, which may be imports. With `open_table`, a
    /// call through a table or a reference reaches them, too. The calls inside a function of
    /// `barriers` do not count.
    pub(super) fn compute(
        module: &CoreModule<'_>,
        calls: &[Calls],
        seeds: &[u32],
        barriers: &[u32],
        open_table: bool,
        diverging: Diverging,
    ) -> Self {
        let classes = TypeClasses::of(module);
        let count = module.function_count() as usize;
        let first = module.first_defined();
        let referenced = referenced(module, calls, count);
        let mut barrier = vec![false; count];
        for function in barriers {
            barrier
                .get_mut(*function as usize)
                .into_iter()
                .for_each(|it| *it = true);
        }

        // The reversed call graph. Its nodes are the functions, then the type classes, then one
        // node for "any reference".
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); count + classes.count + 1];
        let any = count + classes.count;
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
                    Callee::Type(ty) => classes.of_type(ty).map_or(any, |class| count + class),
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
        let mut work: Vec<usize> = seeds.iter().map(|function| *function as usize).collect();
        if open_table {
            work.extend(count..=any);
        }
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
                let class = module
                    .type_of(node as u32)
                    .and_then(|ty| classes.of_type(ty));
                work.extend(class.map(|class| count + class));
            }
        }
        let types = (0..module.types.len() as u32).map(|ty| {
            let node = classes.of_type(ty).map_or(any, |class| count + class);
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

    pub(super) fn site(&self, site: &CallSite) -> bool {
        match site.callee {
            Callee::Function(function) => self.function(function),
            Callee::Type(ty) => self.types.get(ty as usize) == Some(&true),
            Callee::Reference => self.any_reference,
        }
    }
}

/// The imported functions that may lead to the host, and the types of those that may be called by
/// reference.
pub(super) struct HostImports {
    /// By imported function.
    leaving: Vec<bool>,
    /// By type index: whether an import of this type is referenced.
    types: Vec<bool>,
    any: bool,
}

impl HostImports {
    /// `leaves` says which imports may lead to the host.
    pub(super) fn of(
        module: &CoreModule<'_>,
        calls: &[Calls],
        leaves: impl Fn(usize) -> bool,
    ) -> Self {
        let first = 0..module.imported.len();
        let leaving: Vec<bool> = first.map(leaves).collect();
        let classes = TypeClasses::of(module);
        let referenced = referenced(module, calls, module.imported.len());
        let of_imports: HashSet<_> = module
            .imported
            .iter()
            .zip(referenced.iter().zip(&leaving))
            .filter(|(_, (referenced, leaving))| **referenced && **leaving)
            .map(|(ty, _)| classes.of_type(*ty))
            .collect();
        Self {
            types: (0..module.types.len() as u32)
                .map(|ty| of_imports.contains(&classes.of_type(ty)))
                .collect(),
            any: !of_imports.is_empty(),
            leaving,
        }
    }

    /// Whether a site may call such an import.
    pub(super) fn may_be_called_at(&self, site: &CallSite) -> bool {
        match site.callee {
            Callee::Function(function) => self.leaving.get(function as usize) == Some(&true),
            Callee::Type(ty) => self.types.get(ty as usize) == Some(&true),
            Callee::Reference => self.any,
        }
    }
}

/// For each of the first `count` functions, whether the module takes a reference to it.
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

/// Classes of equal function types. A call through a table compares types structurally, so it may
/// reach every function whose type is in the same class.
///
/// In a module with subtypes no type has a class, and each type counts as equal to all others.
struct TypeClasses {
    of_types: Vec<Option<usize>>,
    count: usize,
}

impl TypeClasses {
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
