// Objects of the collected heap. An object has 16 bytes of header inside its block.
class Node {
  constructor(public next: Node | null, public value: u64) {}
}

const kept: StaticArray<StaticArray<u8> | null> = new StaticArray<StaticArray<u8> | null>(4096);
let list: Node | null = null;
let count: i32 = 0;
let live: u64 = 0;

export function run(operations: u32): u64 {
  for (let i: u32 = 0; i < operations / 1000 && count < 4096; i++) {
    kept[count] = new StaticArray<u8>(1000);
    count++;
    list = new Node(list, i);
    live += 1000 + 16 + offsetof<Node>() + 16;
  }
  return live;
}
