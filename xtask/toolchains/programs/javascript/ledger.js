// Buffers that are kept and objects that are dropped, with the program's own ledger of the buffers.
const keep = [];
let live = 0;

export function run(operations) {
  for (let i = 0; i < operations / 1000; i++) {
    keep.push(new Uint8Array(1024).fill(i));
    live += 1024;
    keep.length % 7 === 0 && JSON.stringify({ i, keep: keep.length });
  }
  return BigInt(live);
}
