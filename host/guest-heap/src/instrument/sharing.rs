//! Finds the core modules that share one set of heap tables.
//!
//! Modules that work in the same memory share a heap: one of them has the allocator, the others
//! call it. They track one calling context, so a call stack crosses their borders. The module that
//! is instantiated first holds the heap tables; the others import its profiler memory.
//!
//! A module that is instantiated several times keeps heap tables of its own for each instance.

use std::collections::HashSet;

use super::component::ComponentStructure;
use super::core_instances::{CoreInstances, DefinedFunction, DefinedMemory};
use super::scan::CoreModule;
use super::scope::Scope;

/// A core instance of a component definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct InstanceId {
    pub(super) scope: usize,
    pub(super) instance: u32,
}

/// Core modules that share heap tables, in the order of instantiation.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
}

/// A module of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Position in the list of all modules.
    pub(super) module: usize,
    /// Its instances: one, unless the module is the only one of its group.
    pub(super) instances: Vec<InstanceId>,
}

/// How the functions of a group's member are connected to the other members.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    /// By imported function: whether the call may lead to the host.
    pub(super) leaves: Vec<bool>,
    /// By imported function: whether it may allocate.
    pub(super) allocates: Vec<bool>,
    /// Whether a call through a table may reach functions of other members.
    pub(super) open_table: bool,
    /// Functions that something other than a member calls. `None` if that may be all functions.
    pub(super) called_from_outside: Option<HashSet<u32>>,
}

impl Connections {
    /// The connections of a module that shares its heap tables with no other one. `allocates` says
    /// whether the host allocates in the module when it calls an import.
    pub(super) fn separate(module: &CoreModule<'_>, allocates: bool) -> Self {
        Self {
            leaves: vec![true; module.imported.len()],
            allocates: vec![allocates; module.imported.len()],
            open_table: false,
            called_from_outside: None,
        }
    }
}

/// Finds the group of each module for which `allocates` is true.
pub(super) fn groups(
    structure: &ComponentStructure,
    modules: &[CoreModule<'_>],
    scopes: &[bool],
    allocates: impl Fn(usize) -> bool,
    may_join: impl Fn(usize) -> bool,
) -> Vec<Group> {
    let mut instances: Vec<Vec<InstanceId>> = vec![Vec::new(); modules.len()];
    for (scope, definition) in structure.scopes.iter().enumerate() {
        let core = CoreInstances {
            scope: definition,
            modules,
        };
        for (instance, module) in core.all() {
            let of_module = instances.get_mut(module);
            of_module
                .into_iter()
                .for_each(|it| it.push(InstanceId { scope, instance }));
        }
    }
    let mut groups = Vec::new();
    let mut grouped = HashSet::new();
    for (module, of_module) in instances.iter().enumerate() {
        if grouped.contains(&module) || !allocates(module) {
            continue;
        }
        let usable: Vec<InstanceId> = of_module
            .iter()
            .copied()
            .filter(|it| scopes.get(it.scope) == Some(&true))
            .collect();
        let group = match (of_module.as_slice(), usable.as_slice()) {
            (_, []) => continue,
            ([only], [_]) => structure.scopes.get(only.scope).map(|definition| {
                let core = CoreInstances {
                    scope: definition,
                    modules,
                };
                let is_single =
                    |module: usize| instances.get(module).is_some_and(|it| it.len() == 1);
                around(core, *only, module, |other| {
                    is_single(other) && may_join(other)
                })
            }),
            _ => None,
        };
        let group = group.unwrap_or_else(|| Group {
            members: vec![Member {
                module,
                instances: usable,
            }],
        });
        grouped.extend(group.members.iter().map(|member| member.module));
        groups.push(group);
    }
    groups
}

/// The group of an instance whose module allocates and has no other instance.
fn around(
    core: CoreInstances<'_>,
    allocating: InstanceId,
    module: usize,
    may_join: impl Fn(usize) -> bool,
) -> Group {
    let memory = core.first_memory(allocating.instance);
    let mut members: Vec<(u32, usize)> = vec![(allocating.instance, module)];
    let mut found = HashSet::from([allocating.instance]);
    for (instance, other) in core.all() {
        let Some((_, code)) = core.module(instance) else {
            continue;
        };
        if instance == allocating.instance || code.defined.is_empty() || !may_join(other) {
            continue;
        }
        let joins = match core.first_memory(instance) {
            Some(own) => memory == Some(own) && may_import_memory(code, instance, own),
            // Without a memory, it works in that of the functions that it calls.
            None => (0..code.imported.len() as u32)
                .filter_map(|import| core.imported_function(instance, import))
                .any(|function| found.contains(&function.instance)),
        };
        if joins {
            found.insert(instance);
            members.push((instance, other));
        }
    }
    members.sort_unstable();
    // A module that imports a memory and defines another one cannot import a further one: imported
    // memories have the lower indices.
    let imports_all = |(instance, _): &(u32, usize)| {
        let module = core.module(*instance);
        module.is_some_and(|(_, it)| it.memories.len() == it.imported_memories.len())
    };
    if !members.iter().skip(1).all(imports_all) {
        members = vec![(allocating.instance, module)];
    }
    let member = |(instance, module)| Member {
        module,
        instances: vec![InstanceId {
            scope: allocating.scope,
            instance,
        }],
    };
    Group {
        members: members.into_iter().map(member).collect(),
    }
}

/// Whether a module with this first memory can share heap tables: it defines the memory, so it is
/// instantiated before all others, or it defines no memory.
fn may_import_memory(module: &CoreModule<'_>, instance: u32, memory: DefinedMemory) -> bool {
    memory.instance == instance || module.memories.len() == module.imported_memories.len()
}

/// What is known about the members of a group that are instantiated before a module.
#[derive(Default)]
pub(super) struct KnownMembers {
    /// The instances of all members.
    pub(super) instances: HashSet<u32>,
    /// Functions that may allocate.
    pub(super) allocating: HashSet<DefinedFunction>,
    /// Functions by which the host allocates. A call looks to them like the host's.
    pub(super) reallocs: HashSet<DefinedFunction>,
    /// Functions that only forward through a table.
    pub(super) forwarding: HashSet<DefinedFunction>,
}

/// How the functions of the member with this instance are connected to those before it.
pub(super) fn connections(
    core: CoreInstances<'_>,
    instance: u32,
    known: &KnownMembers,
    outside: &HashSet<DefinedFunction>,
) -> Connections {
    let Some((position, module)) = core.module(instance) else {
        return Connections::default();
    };
    let mut connections = Connections {
        open_table: module.has_open_table,
        called_from_outside: Some(
            outside
                .iter()
                .filter(|function| function.module == position)
                .map(|function| function.function)
                .collect(),
        ),
        ..Connections::default()
    };
    for import in 0..module.imported.len() as u32 {
        let target = core.imported_function(instance, import);
        let member = target.filter(|it| known.instances.contains(&it.instance));
        let (leaves, allocates) = match member {
            Some(function) if known.reallocs.contains(&function) => (true, true),
            // It forwards to a module that is instantiated later.
            Some(function) if known.forwarding.contains(&function) => (false, true),
            Some(function) => (false, known.allocating.contains(&function)),
            None => (true, true),
        };
        connections.leaves.push(leaves);
        connections.allocates.push(allocates);
    }
    connections
}

/// The functions that core instances outside of a group call.
pub(super) fn called_from_outside(
    core: CoreInstances<'_>,
    members: &HashSet<u32>,
) -> HashSet<DefinedFunction> {
    let mut outside = HashSet::new();
    for (instance, _) in core.all() {
        let Some((_, module)) = core.module(instance) else {
            continue;
        };
        // A module without code only puts functions into tables.
        if members.contains(&instance) || module.defined.is_empty() {
            continue;
        }
        let imports = 0..module.imported.len() as u32;
        outside.extend(
            imports
                .filter_map(|import| core.imported_function(instance, import))
                .filter(|function| members.contains(&function.instance)),
        );
    }
    outside
}

/// For each component definition, whether its core instances can be connected to the host: it is
/// the component itself, or only the component around it instantiates it.
pub(super) fn reachable_scopes(scopes: &[Scope]) -> Vec<bool> {
    let mut reachable: Vec<bool> = Vec::with_capacity(scopes.len());
    for (position, scope) in scopes.iter().enumerate() {
        reachable.push(match scope.parent {
            None => true,
            Some(parent) => {
                reachable.get(parent) == Some(&true)
                    && !scope.is_passed_on
                    && scopes.get(parent).is_some_and(|parent| {
                        let mut of = parent.instantiated.iter();
                        of.any(|index| parent.component(*index) == Some(position))
                    })
            }
        });
    }
    reachable
}
