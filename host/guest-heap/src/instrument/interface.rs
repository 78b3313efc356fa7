//! The interface between the instrumented modules, the connector and the host: the names that they
//! agree on, and the type of the table through which the runtime calls the host.

use wasm_encoder::{TableType, ValType};

/// What the names of all interfaces of the profiler begin with. A component that imports one by
/// itself is refused: it could fill the host's memory, or report what it likes.
pub(crate) const PACKAGE: &str = "guest-heap:profiler/";
/// The imported instance.
pub(crate) const HOST: &str = "guest-heap:profiler/host";
/// `func(instance: u32, index: u32, context: u64) -> u32`: finds or captures the call stack of a
/// context. Index 0 stands for a context that has no record, since the table is full. The result is
/// the index of the record that the context uses, or 0 for none.
pub(crate) const NEW_CONTEXT: &str = "new-context";
/// `func(instance: u32, index: u32, context: u64, window: list<u8>) -> u64`: the same for modules
/// with a known interpreter, whose memory the host may read. The result is the index of the record,
/// or [`WANTS_WINDOW`] with an address. Then the next call is for the same context, and the window
/// is the part of the guest's memory at that address. In the first call it is empty.
pub(crate) const NEW_INTERPRETED_CONTEXT: &str = "new-interpreted-context";
/// Bit in the result of [`NEW_INTERPRETED_CONTEXT`].
pub(crate) const WANTS_WINDOW: u64 = 1 << 63;
/// `func(heap-tables: list<u64>, module: u32) -> u32`: registers the heap tables of an instance of
/// a core module. Returns the number of the instance.
pub(crate) const REGISTER_INSTANCE: &str = "register-instance";

/// The module name from which a module imports the memory of the heap tables that it shares.
pub(super) const SHARED: &str = "guest-heap:shared";
/// The exported table of an instrumented module, see [`host_table`].
pub(super) const TABLE: &str = "guest-heap:table";
/// The exported memory of the runtime.
pub(super) const MEMORY: &str = "guest-heap:memory";
/// The guest's own memory, which the host reads if the interpreter is known.
pub(super) const GUEST_MEMORY: &str = "guest-heap:guest-memory";
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

/// Parameters of the function through which the runtime calls the host.
pub(super) fn stub_parameters(interprets: bool) -> &'static [ValType] {
    use ValType::{I32, I64};
    if interprets {
        &[I32, I32, I64, I32, I32]
    } else {
        &[I32, I32, I64]
    }
}

/// Result of that function.
pub(super) fn stub_result(interprets: bool) -> ValType {
    if interprets {
        ValType::I64
    } else {
        ValType::I32
    }
}

/// The runtime's functions that count handles.
pub(super) const HANDLE_FUNCTIONS: [&str; 11] = [
    "handle_made",
    "handle_argument",
    "handle_ended",
    "handles_begin",
    "handles_end",
    "call_started",
    "results_arrive",
    "results_pointer",
    "results_of_call",
    "result_block",
    "result_handle",
];
