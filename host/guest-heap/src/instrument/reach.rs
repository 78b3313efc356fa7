//! Finds the functions that may allocate or grow memory, directly or through calls.
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
    /// Whether the growth of a memory is what functions reach.
    growth: bool,
}

/// What functions may reach.
#[derive(Clone, Copy)]
struct Goal<'a> {
    functions: &'a [u32],
    /// Whether any call through a table or a reference reaches it.
    open_table: bool,
    growth: bool,
}

impl Reach {
    /// Finds the functions that may reach one of `seeds`, which may be imports. With `open_table`,
    /// a call through a table or a reference reaches them, too. The calls inside a function of
    /// `barriers` do not count.
    pub(super) fn compute(
        module: &CoreModule<'_>,
        calls: &[Calls],
        seeds: &[u32],
        barriers: &[u32],
        open_table: bool,
        diverging: Diverging,
    ) -> Self {
        let goal = Goal {
            functions: seeds,
            open_table,
            growth: false,
        };
        Self::search(module, calls, goal, barriers, diverging)
    }

    /// Finds the functions that may reach the growth of a memory, or one of `seeds`. The calls
    /// inside a function of `barriers` do not count.
    pub(super) fn growth(
        module: &CoreModule<'_>,
        calls: &[Calls],
        seeds: &[u32],
        barriers: &[u32],
        diverging: Diverging,
    ) -> Self {
        let goal = Goal {
            functions: seeds,
            open_table: false,
            growth: true,
        };
        Self::search(module, calls, goal, barriers, diverging)
    }

    fn search(
        module: &CoreModule<'_>,
        calls: &[Calls],
        goal: Goal<'_>,
        barriers: &[u32],
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
        // node for "any reference" and one for the growth of memory.
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); count + classes.count + 2];
        let any = count + classes.count;
        let growth = any + 1;
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
                    Callee::Growth => growth,
                };
                if let Some(callers) = callers.get_mut(node)
                    && callers.last() != Some(&caller)
                {
                    callers.push(caller);
                }
            }
        }

        let mut reached = vec![false; callers.len()];
        let functions = goal.functions.iter().map(|function| *function as usize);
        let mut work: Vec<usize> = functions.chain(goal.growth.then_some(growth)).collect();
        if goal.open_table {
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
            growth: goal.growth,
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
            Callee::Growth => self.growth,
        }
    }
}

/// For each function, whether it may be reached from one of `roots`. The search does not enter the
/// functions of `barriers`, and does not follow the sites that `ignored` selects.
pub(super) fn reached_from(
    module: &CoreModule<'_>,
    calls: &[Calls],
    roots: &[u32],
    barriers: &HashSet<u32>,
    ignored: impl Fn(&CallSite) -> bool,
) -> Vec<bool> {
    let classes = TypeClasses::of(module);
    let count = module.function_count() as usize;
    let mut all_referenced = Vec::new();
    let mut referenced_by_class: Vec<Vec<u32>> = vec![Vec::new(); classes.count];
    for (function, _) in (0..)
        .zip(referenced(module, calls, count))
        .filter(|(_, referenced)| *referenced)
    {
        all_referenced.push(function);
        let class = module
            .type_of(function)
            .and_then(|ty| classes.of_type(ty))
            .and_then(|class| referenced_by_class.get_mut(class));
        class.into_iter().for_each(|class| class.push(function));
    }
    let mut reached = vec![false; count];
    // Whether the functions of a class, or all referenced functions, are in the work list already.
    let mut followed = vec![false; classes.count + 1];
    let mut work = roots.to_vec();
    while let Some(function) = work.pop() {
        match reached.get_mut(function as usize) {
            Some(reached) if !*reached && !barriers.contains(&function) => *reached = true,
            _ => continue,
        }
        let defined = function.checked_sub(module.first_defined());
        let calls = defined.and_then(|defined| calls.get(defined as usize));
        let sites = calls.into_iter().flat_map(|calls| &calls.sites);
        for site in sites.filter(|site| !ignored(site)) {
            let class = match site.callee {
                Callee::Function(callee) => {
                    work.push(callee);
                    continue;
                }
                Callee::Growth => continue,
                Callee::Type(ty) => classes.of_type(ty),
                Callee::Reference => None,
            };
            let followed = followed.get_mut(class.unwrap_or(classes.count));
            if followed.is_some_and(|followed| !std::mem::replace(followed, true)) {
                let callees = class.and_then(|class| referenced_by_class.get(class));
                work.extend(callees.unwrap_or(&all_referenced));
            }
        }
    }
    reached
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
            Callee::Growth => false,
        }
    }
}

/// For each of the first `count` functions, whether the module takes a reference to it.
pub(super) fn referenced(module: &CoreModule<'_>, calls: &[Calls], count: usize) -> Vec<bool> {
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
