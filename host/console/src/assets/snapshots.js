// Snapshots that this page keeps, and the comparison of two of them by source line.

import { call } from "./api.js";
import { make, one, runAction, setText } from "./dom.js";
import { change, clock, count, countChange, size } from "./format.js";
import { show, state } from "./state.js";

/** The snapshots survive a reload of the page, not a closed tab. */
const KEY = "leak-lab-snapshots";

/** The most snapshots. One more takes the place of the oldest. */
const MAX_SNAPSHOTS = 8;

/** The most lines of a snapshot: the API's limit. */
const MAX_LINES = 1000;

/** Stands for a snapshot that is taken for the comparison. */
const NOW = "now";

let snapshots = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");

async function read() {
  const answer = await call("GET", `/admin/memory/snapshot?limit=${MAX_LINES}`);
  const rows = answer.by_line.map(({ plugin, location, function: name, size_bytes, count: blocks }) => [plugin, location, name, size_bytes, blocks]);
  return { at: Date.now() / 1000, bytes: answer.total_traced_bytes, rows };
}

async function take() {
  const number = (snapshots.at(-1)?.number ?? 0) + 1;
  const snapshot = { number, ...(await read()) };
  snapshots = [...snapshots, snapshot].slice(-MAX_SNAPSHOTS);
  try {
    sessionStorage.setItem(KEY, JSON.stringify(snapshots));
  } catch {
    // The browser's store is full. The snapshots then last until the page is reloaded.
  }
  listSnapshots(number);
  show({ against: "snapshots" });
  document.dispatchEvent(new CustomEvent("snapshots"));
  return `snapshot ${number}: ${size(snapshot.bytes)} live`;
}

/** Fills the two lists. A new snapshot becomes the earlier moment. */
export function listSnapshots(taken) {
  const options = () =>
    snapshots.map(({ number, at, bytes }) => make("option", { value: String(number) }, `${number}: ${clock(at)}, ${size(bytes)}`));
  const [from, to] = [one("#snapshot-from"), one("#snapshot-to")];
  const [wasFrom, wasTo] = [from.value, to.value];
  from.replaceChildren(...options());
  to.replaceChildren(make("option", { value: NOW }, "now"), ...options());
  const latest = String(snapshots.at(-1)?.number ?? "");
  from.value = taken === undefined ? wasFrom || latest : String(taken);
  to.value = wasTo || NOW;
  one("#snapshot-choice").hidden = state.against !== "snapshots" || snapshots.length === 0;
}

const byNumber = (number) => snapshots.find((snapshot) => String(snapshot.number) === number);

/** Whether the comparison ends now, so that it changes with the traffic. */
export const endsNow = () => one("#snapshot-to").value === NOW;

/** The difference between the two chosen moments, or null without a snapshot. */
export async function compareSnapshots() {
  const from = byNumber(one("#snapshot-from").value);
  if (from === undefined) return null;
  const to = endsNow() ? await read() : byNumber(one("#snapshot-to").value);
  const lines = new Map();
  const add = (snapshot, side) => {
    for (const [plugin, location, name, bytes, blocks] of snapshot.rows) {
      if (state.plugin && plugin !== state.plugin) continue;
      const key = `${plugin} ${location} ${name}`;
      const line = lines.get(key) ?? { plugin, location, function: name, bytes: [0, 0], blocks: [0, 0] };
      line.bytes[side] = bytes;
      line.blocks[side] = blocks;
      lines.set(key, line);
    }
  };
  add(from, 0);
  add(to, 1);
  const rows = [...lines.values()]
    .map((line) => ({ ...line, weight: line.bytes[1] - line.bytes[0], added: line.blocks[1] - line.blocks[0] }))
    .filter((line) => line.weight !== 0 || line.added !== 0)
    .sort((a, b) => b.weight - a.weight);
  const total = rows.reduce((sum, line) => sum + line.weight, 0);
  return {
    sentence: `${change(total)} from ${clock(from.at)} to ${clock(to.at)}, in ${count(rows.length)} lines.`,
    columns: ["Change", "Blocks", "Bytes"],
    rows: rows.map((line) => ({
      ...line,
      cells: [
        change(line.weight),
        `${countChange(line.added)} (${count(line.blocks[0])} → ${count(line.blocks[1])})`,
        `${size(line.bytes[0])} → ${size(line.bytes[1])}`,
      ],
    })),
  };
}

/** The button, and the lists of moments. */
export function startSnapshots(refresh) {
  const button = one("#snapshot-take");
  button.addEventListener("click", () => runAction(button, one("#baseline-result"), take));
  for (const id of ["#snapshot-from", "#snapshot-to"]) one(id).addEventListener("change", refresh);
  document.addEventListener("snapshots", refresh);
  setText(one("#baseline-result"), "");
  listSnapshots();
}
