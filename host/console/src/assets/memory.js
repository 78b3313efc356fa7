// Which lines hold memory, or hold more than they did.

import { call } from "./api.js";
import { busy, explain, make, one, say } from "./dom.js";
import { change, clock, count, countChange, duration, size } from "./format.js";
import { onChange, show, state } from "./state.js";

const ROWS = 40;
let asked = 0;

/** How the table is called, what its first two columns are, and which of them the grouping fills. */
const GROUPINGS = {
  line: { title: "Memory by source line", place: "Line", function: "Function" },
  function: { title: "Memory by function", place: "", function: "Function" },
  file: { title: "Memory by file", place: "File", function: "" },
  trace: { title: "Memory by call stack", place: "Line", function: "Call stack, innermost first" },
};

/** Call stacks that are unfolded from the start: one has some twenty frames. */
const UNFOLDED = 1;

/** When the picture was taken, and how many requests the host had served by the frame after it: those before may be in it. */
let taken;
let served;

/** A new picture: its age counts from now. */
export function tookPicture() {
  taken = { at: performance.now() };
  showAge();
}

function showAge() {
  if (taken === undefined || state.view === "overview") return;
  const seconds = (performance.now() - taken.at) / 1000;
  const more = (served ?? 0) - (taken.served ?? served ?? 0);
  const missed = more > 0 ? `, ${count(more)} request${more === 1 ? "" : "s"} since` : "";
  say(one("#picture-age"), seconds < 3 && more <= 0 ? "fresh" : `${duration(seconds)} old${missed}`);
}

/** The query of the API for what the controls say. */
export function comparison() {
  const query = new URLSearchParams();
  const [how, what] = state.against.split(":");
  if (how === "since" || how === "baseline") query.set(how, what);
  if (state.plugin) query.set("plugin", state.plugin);
  return query;
}

/** Whether a difference is shown. */
export const isDifference = () => state.against !== "live";

async function load() {
  const mine = ++asked;
  const query = comparison();
  query.set("group_by", state.group);
  query.set("limit", String(ROWS));
  const summary = one("#memory-summary");
  summary.classList.remove("error");
  try {
    const path = isDifference() ? "/admin/memory/diff" : "/admin/memory/snapshot";
    const answer = await call("GET", `${path}?${query}`);
    if (mine !== asked) return;
    if (isDifference()) showDifference(answer);
    else showLive(answer);
    tookPicture();
  } catch (error) {
    if (mine !== asked) return;
    summary.classList.add("error");
    say(summary, explain(error));
    one("#growing tbody").replaceChildren();
  }
}

function showDifference(answer) {
  const rows = [...answer.growing_allocations, ...answer.shrinking_allocations];
  const requests = answer.requests_since_baseline;
  const each = answer.bytes_per_request === null ? "" : `: ${change(Math.round(answer.bytes_per_request))} per request`;
  say(
    one("#memory-summary"),
    `${change(answer.total_growth_bytes)} in ${count(requests)} request${requests === 1 ? "" : "s"}${each}. ${asOf()}` +
      (rows.length === 0 ? " Nothing has changed: switch a leak on and send requests." : ""),
  );
  table(
    "What changed, largest growth first",
    ["Change", "Objects", "Now"],
    rows.map((row) => ({
      ...row,
      weight: row.size_diff_bytes,
      cells: [change(row.size_diff_bytes), countChange(row.count_diff), size(row.current_size_bytes)],
    })),
  );
}

function showLive(answer) {
  const partial = Object.entries(answer.plugins).filter(([, plugin]) => plugin.attribution !== "exact");
  const missing = partial.map(([id, plugin]) => ` ${id}: ${plugin.attribution_why}.`).join("");
  say(one("#memory-summary"), `${size(answer.total_traced_bytes)} alive. ${asOf()}${missing}`);
  table(
    "What is alive, largest first",
    ["Bytes", "Objects", "Each"],
    answer.by_line.map((row) => ({
      ...row,
      weight: row.size_bytes,
      cells: [size(row.size_bytes), count(row.count), row.count > 0 ? size(row.size_bytes / row.count) : "–"],
    })),
  );
}

const asOf = () => `As of ${clock(Date.now() / 1000)}.`;

function table(caption, columns, rows) {
  const lines = one("#growing");
  const grouping = GROUPINGS[state.group] ?? GROUPINGS.line;
  say(one("#memory-title"), grouping.title);
  say(lines.caption, caption);
  lines.className = `lines by-${state.group}`;
  for (const column of ["place", "function"]) say(one(`[data-column="${column}"]`, lines), grouping[column]);
  ["bytes", "objects", "now"].forEach((column, index) => {
    say(one(`[data-column="${column}"]`, lines), columns[index]);
  });
  const most = Math.max(1, ...rows.map((row) => Math.abs(row.weight)));
  lines.tBodies[0].replaceChildren(...rows.map((row, index) => line(row, most, columns, index < UNFOLDED)));
}

function line(row, most, columns, unfolded) {
  const fill = make("span");
  fill.style.width = `${(100 * Math.abs(row.weight)) / most}%`;
  const bar = make("span", { className: row.weight < 0 ? "bar shrank" : "bar", ariaHidden: "true" }, fill);
  // Roles are said because a narrow screen lays the cells out as a stack, and a table that is none loses them.
  const cell = (properties, ...content) => make("td", { role: "cell", ...properties }, ...content);
  return make(
    "tr",
    { role: "row" },
    cell({ className: "place" }, place(row)),
    cell({ className: "function" }, calls(row, unfolded)),
    cell({ className: "plugin-name" }, row.plugin),
    ...row.cells.map((text, index) => cell({ className: "number", "data-label": columns[index] }, text)),
    cell({ className: "share" }, bar),
  );
}

/** The function, or the call stack that was grouped by. */
function calls(row, unfolded) {
  if (!row.trace?.length) return make("code", {}, row.function);
  const frames = row.trace.map((frame) =>
    make("li", {}, make("code", {}, frame.function), make("span", {}, frame.location ? ` ${frame.location}` : "")),
  );
  const summary = make("summary", {}, make("code", {}, row.function), ` in a stack of ${row.trace.length}`);
  return make("details", { open: unfolded }, summary, make("ol", { className: "trace" }, ...frames));
}

/** A line of source opens; a function or a file does not. */
function place(row) {
  if (!/:\d+$/.test(row.location)) return make("code", {}, row.location);
  const open = make("button", { type: "button", className: "link" }, row.location);
  open.addEventListener("click", () => {
    // The same line again is asked for again.
    show({ source: "" });
    show({ source: `${row.plugin}:${row.location}` });
  });
  return open;
}

async function listBaselines() {
  const group = one("#baselines");
  const { baselines } = await call("GET", "/admin/memory/baselines");
  const names = baselines.map((baseline) => baseline.name);
  const [how, wanted] = state.against.split(":");
  if (how === "baseline" && !names.includes(wanted)) names.push(wanted);
  group.replaceChildren(...names.map((name) => make("option", { value: `baseline:${name}` }, `since the baseline “${name}”`)));
  one("#against").value = state.against;
  one("#baseline-delete").hidden = how !== "baseline";
}

function listPlugins(plugins) {
  const ids = plugins.map((plugin) => plugin.id);
  if (state.plugin && !ids.includes(state.plugin)) ids.push(state.plugin);
  one("#of-plugin").replaceChildren(
    make("option", { value: "" }, "all plugins"),
    ...ids.map((id) => make("option", { value: id }, id)),
  );
  one("#of-plugin").value = state.plugin;
}

/** The controls, which the flame graph shares; `refresh` is told when to draw anew. */
export function startMemory(refresh) {
  const refreshAll = () => (state.view === "memory" ? load() : refresh());
  const showControls = () => {
    one("#compare").hidden = state.view === "overview";
    one("#grouping").hidden = state.view !== "memory";
    one("#of-plugin").value = state.plugin;
    one("#group").value = state.group;
    if (state.view !== "overview") listBaselines().catch(() => {});
  };
  for (const [id, name] of [["against", "against"], ["of-plugin", "plugin"], ["group", "group"]]) {
    one(`#${id}`).addEventListener("change", (event) => show({ [name]: event.target.value }));
  }
  one("#compare").addEventListener("submit", (event) => {
    event.preventDefault();
    refreshAll();
  });
  const name = one("#baseline-name");
  const result = one("#baseline-result");
  const set = one("#baseline-set");
  set.addEventListener("click", () => {
    name.required = true;
    const valid = name.reportValidity();
    name.required = false;
    if (!valid) return;
    busy(set, result, async () => {
      const baseline = await call("PUT", `/admin/memory/baselines/${encodeURIComponent(name.value)}`, {});
      show({ against: `baseline:${baseline.name}` });
      await listBaselines();
      return `${baseline.name}: ${size(baseline.heap_live_bytes)} alive at ${count(baseline.requests)} requests`;
    });
  });
  const forget = one("#baseline-delete");
  forget.addEventListener("click", () =>
    busy(forget, result, async () => {
      const [, wanted] = state.against.split(":");
      await call("DELETE", `/admin/memory/baselines/${encodeURIComponent(wanted)}`);
      show({ against: "since:5m" });
      return `${wanted} is forgotten`;
    }),
  );
  document.addEventListener("sent", () => {
    if (state.view !== "overview") refreshAll();
  });
  document.addEventListener("frame", (event) => {
    served = event.detail.requests;
    if (taken !== undefined) taken.served ??= served;
    showAge();
  });
  document.addEventListener("plugins", (event) => listPlugins(event.detail));
  onChange((changed) => {
    if (changed.some((part) => ["view", "against", "plugin", "group"].includes(part))) {
      showControls();
      if (state.view !== "overview") refreshAll();
    }
  });
  showControls();
  if (state.view !== "overview") refreshAll();
}

