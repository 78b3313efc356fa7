//! Random operations on an allocator, and a ledger of the live bytes.
const std = @import("std");

const slots = 256;
var blocks: [slots][]u8 = [_][]u8{&.{}} ** slots;
var state: u64 = 0x9E3779B97F4A7C15;

fn next() u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

pub fn run(allocator: std.mem.Allocator, operations: u32) u64 {
    for (0..operations) |_| {
        const a = next();
        const slot = &blocks[@intCast((a >> 40) % slots)];
        const size: usize = @intCast(1 + (a & 0xFF) * (1 + (a >> 8) % 8));
        switch ((a >> 16) & 7) {
            0, 1, 2 => {
                allocator.free(slot.*);
                slot.* = allocator.alloc(u8, size) catch &.{};
            },
            3, 4 => if (slot.len > 0) {
                slot.* = allocator.realloc(slot.*, size) catch slot.*;
            },
            else => {
                allocator.free(slot.*);
                slot.* = &.{};
            },
        }
    }
    var live: u64 = 0;
    for (blocks) |block| live += block.len;
    return live;
}
