"""Keeps blocks of known sizes, for every version of componentize-py: it imports no bindings."""

import sys

SLOTS = 512
kept = [None] * SLOTS


def keep(slot, size):
    kept[slot] = bytes(size)  # keep


def operations(n):
    state = 12345
    for _ in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        keep((state >> 8) % SLOTS, 100 + (state >> 4) % 3000)


class WitWorld:
    def run(self, n):
        # Without operations, it fills the interpreter's free lists and drops everything.
        operations(n or 10000)
        if n == 0:
            kept[:] = [None] * SLOTS
        return sum(sys.getsizeof(block) for block in kept if block is not None)


# The name of the class in versions before 0.18.
Matrix = WitWorld
