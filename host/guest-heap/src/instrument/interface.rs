//! The interface between the instrumented modules, the connector and the host: the names that they
//! agree on, and the type of the table through which the runtime calls the host.

use wasm_encoder::TableType;

/// What the names of all interfaces of the profiler begin with. A component that imports one by
/// itself is refused: it could fill the host's memory, or report what it likes.
pub(crate) const PACKAGE: &str = "guest-heap:profiler/";
/// The imported instance.
pub(crate) const HOST: &str = "guest-heap:profiler/host";
/// `func(instance: u32, index: u32, context: u64) -> u32`: finds or captures the call stack of a
/// context. Index 0 stands for a context that has no record, since the table is full. The result is
/// the index of the record that the context uses, or 0 for none.
pub(crate) const NEW_CONTEXT: &str = "new-context";
/// `func(heap-tables: list<u64>, module: u32) -> u32`: registers the heap tables of an instance of
/// a core module. Returns the number of the instance.
pub(crate) const REGISTER_INSTANCE: &str = "register-instance";

/// The module name from which a module imports the memory of the heap tables that it shares.
pub(super) const SHARED: &str = "guest-heap:shared";
/// The exported table of an instrumented module, see [`host_table`].
pub(super) const TABLE: &str = "guest-heap:table";
/// The exported memory of the runtime.
pub(super) const MEMORY: &str = "guest-heap:memory";
/// The first exported function. A module with this export is instrumented already.
pub(super) const HEAP_TABLES: &str = "guest-heap:heap-tables";

/// Exported functions, with their names in the runtime.
pub(super) const FUNCTIONS: [(&str, &str); 3] = [
    (HEAP_TABLES, "heap_tables"),
    ("guest-heap:heap-table-words", "heap_table_words"),
    ("guest-heap:registered", "registered"),
];

/// The table through which the runtime calls the host. The connector fills it when the component is
/// instantiated.
pub(super) fn host_table() -> TableType {
    TableType {
        element_type: wasm_encoder::RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: Some(1),
        shared: false,
    }
}
