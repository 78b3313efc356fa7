// Blocks of the runtime's own heap, and the program's ledger of them. The exports malloc and free
// are for the embedder, as in modules that talk to JavaScript.
const SLOTS: i32 = 1024;
const blocks = new StaticArray<usize>(SLOTS);
const sizes = new StaticArray<usize>(SLOTS);
let state: u64 = 0x9E3779B97F4A7C15;

export function malloc(size: i32): usize {
  return heap.alloc(size);
}

export function free(block: usize): void {
  heap.free(block);
}

function next(): u64 {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

export function run(operations: u32): u64 {
  for (let i: u32 = 0; i < operations; i++) {
    const a = next();
    const at = <i32>((a >> 40) % SLOTS);
    const size = <usize>(1 + ((a & 0xff) << (((a >> 8) & 3) * ((a >> 12) & 1))));
    const kind = (a >> 16) & 7;
    if (kind < 3) {
      if (sizes[at]) heap.free(blocks[at]);
      blocks[at] = heap.alloc(size);
      sizes[at] = size;
    } else if (kind < 5) {
      if (sizes[at]) {
        blocks[at] = heap.realloc(blocks[at], size);
        sizes[at] = size;
      }
    } else if (sizes[at]) {
      heap.free(blocks[at]);
      sizes[at] = 0;
    }
  }
  let live: u64 = 0;
  for (let at = 0; at < SLOTS; at++) live += sizes[at];
  return live;
}
