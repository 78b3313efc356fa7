//! Random operations on the general purpose allocator.
const std = @import("std");
const ledger = @import("ledger.zig");

var general: std.heap.GeneralPurposeAllocator(.{}) = .init;

export fn run(operations: u32) u64 {
    return ledger.run(general.allocator(), operations / 100);
}
