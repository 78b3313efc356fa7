//! Random operations on std.heap.page_allocator.
const std = @import("std");
const ledger = @import("ledger.zig");

export fn run(operations: u32) u64 {
    return ledger.run(std.heap.page_allocator, operations / 100);
}
