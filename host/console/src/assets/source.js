// The source around a line, and the call stacks that allocate there.

import { call } from "./api.js";
import { explain, make, one, setText } from "./dom.js";
import { change, count, countChange, size } from "./format.js";
import { callStack, comparison, isDifference } from "./memory.js";
import { onChange, show, state } from "./state.js";

/** The most call stacks that are shown. */
const MAX_STACKS = 5;

/** Lines before and after the wanted one, and before and after the fix. */
const CONTEXT = 12;
const FIX_BEFORE = 3;
const FIX_AFTER = 6;

/** Branches that are further from the first one are not shown. */
const FIX_SPAN = 20;

/** As many lines as the API gives, to find the fix. */
const SEARCHED = 200;

/** In the source of a plugin, the branches that only its fixed variant takes. */
const FIXED = "Variant::Fixed";

/** Shows the line in the address. Only a click scrolls to it. */
async function open(isClick) {
  const panel = one("#source");
  panel.hidden = state.source === "" || state.view !== "memory";
  if (panel.hidden) return;
  const [plugin, ...rest] = state.source.split(":");
  const location = rest.join(":");
  setText(one("#source-title"), location);
  setText(one("#source-note"), "");
  one("#source-text").replaceChildren();
  one("#source-stacks").replaceChildren();
  one("#source-fixed").hidden = true;
  if (isClick) panel.focus({ preventScroll: true });
  if (isClick) panel.scrollIntoView({ block: "nearest" });
  await Promise.all([showText(plugin, location), showStacks(plugin, location)]);
  if (isClick) panel.scrollIntoView({ block: "nearest" });
}

async function showText(plugin, location) {
  const note = one("#source-note");
  const text = one("#source-text");
  text.hidden = true;
  try {
    const source = await call("GET", `/admin/memory/source?${new URLSearchParams({ plugin, location, context: String(SEARCHED) })}`);
    const lines = source.lines.map((line, index) => ({ line, number: source.first_line + index }));
    const around = (number, before, after) => lines.filter((line) => line.number >= number - before && line.number <= number + after);
    text.replaceChildren(...around(source.line, CONTEXT, CONTEXT).map((line) => sourceLine(line, line.number === source.line)));
    text.hidden = false;
    showFix(lines, around);
    setText(note, source.changed_since_build ? "This file is newer than the plugin. Line numbers may be wrong." : "");
    const hit = one("mark", text);
    if (hit) text.scrollTop = hit.offsetTop - text.offsetTop - 60;
  } catch (error) {
    setText(note, explain(error));
  }
}

function sourceLine({ line, number }, isHit) {
  const label = make("span", { className: "number" }, String(number));
  return make(isHit ? "mark" : "span", { className: "line" }, label, `${line}\n`);
}

/** Shows the first branches of the fixed variant in the file, if there are any. */
function showFix(lines, around) {
  const fixes = lines.filter(({ line }) => line.includes(FIXED)).map(({ number }) => number);
  one("#source-fixed").hidden = fixes.length === 0;
  if (fixes.length === 0) return;
  const near = fixes.filter((number) => number <= fixes[0] + FIX_SPAN);
  const shown = around(near[0], FIX_BEFORE, near.at(-1) - near[0] + FIX_AFTER);
  one("#source-fixed-text").replaceChildren(...shown.map((line) => sourceLine(line, near.includes(line.number))));
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
    if (changed.includes("source") || changed.includes("view")) open(changed.length === 1 && changed[0] === "source");
  });
  open(false);
}
