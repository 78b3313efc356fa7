// The source around a line, and the call stacks that allocate there.

import { call } from "./api.js";
import { explain, make, one, setText } from "./dom.js";
import { change, count, countChange, size } from "./format.js";
import { callStack, comparison, isDifference } from "./memory.js";
import { onChange, show, state } from "./state.js";

/** The most call stacks that are shown. */
const MAX_STACKS = 5;

async function open() {
  const panel = one("#source");
  panel.hidden = state.source === "" || state.view !== "memory";
  if (panel.hidden) return;
  const [plugin, ...rest] = state.source.split(":");
  const location = rest.join(":");
  setText(one("#source-title"), location);
  setText(one("#source-note"), "");
  one("#source-text").replaceChildren();
  one("#source-stacks").replaceChildren();
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
  await Promise.all([showText(plugin, location), showStacks(plugin, location)]);
  panel.scrollIntoView({ block: "nearest" });
}

async function showText(plugin, location) {
  const note = one("#source-note");
  const text = one("#source-text");
  text.hidden = true;
  try {
    const source = await call("GET", `/admin/memory/source?${new URLSearchParams({ plugin, location })}`);
    text.replaceChildren(
      ...source.lines.map((line, index) => {
        const number = source.first_line + index;
        const hit = number === source.line;
        const label = make("span", { className: "number" }, String(number));
        return make(hit ? "mark" : "span", { className: "line" }, label, `${line}\n`);
      }),
    );
    text.hidden = false;
    setText(note, source.changed_since_build ? "This file is newer than the plugin. Line numbers may be wrong." : "");
    const hit = one("mark", text);
    if (hit) text.scrollTop = hit.offsetTop - text.offsetTop - 60;
  } catch (error) {
    setText(note, explain(error));
  }
}

async function showStacks(plugin, location) {
  const query = comparison();
  query.set("plugin", plugin);
  query.set("group_by", "trace");
  query.set("limit", "1000");
  const place = one("#source-stacks");
  try {
    const answer = await call("GET", `/admin/memory/${isDifference() ? "diff" : "snapshot"}?${query}`);
    const rows = answer.by_line ?? [...answer.growing_allocations, ...answer.shrinking_allocations];
    const stacks = rows.filter((row) => row.location === location);
    if (stacks.length === 0) setText(place, "No call stack of this line has changed.");
    else place.replaceChildren(...stacks.slice(0, MAX_STACKS).map(stack));
  } catch (error) {
    setText(place, explain(error));
  }
}

function stack(row) {
  const amount = isDifference()
    ? `${change(row.size_diff_bytes)}, ${countChange(row.count_diff)} objects`
    : `${size(row.size_bytes)} in ${count(row.count)} objects`;
  return make("details", { open: true }, make("summary", {}, amount), callStack(row.trace));
}

/** Opens the line in the address, and the line that is clicked. */
export function startSource() {
  one("#source-close").addEventListener("click", () => show({ source: "" }));
  onChange((changed) => {
    if (changed.includes("source") || changed.includes("view")) open();
  });
  open();
}
