// The table of live memory, or of its change, by line, function, file or call stack.

import { call } from "./api.js";
import { explain, make, one, runAction, setText } from "./dom.js";
import { attributionGap, change, clock, count, countChange, duration, size } from "./format.js";
import { growthUntilMoment, moment } from "./moment.js";
import { compareSnapshots, endsNow, listSnapshots, startSnapshots } from "./snapshots.js";
import { onChange, show, state } from "./state.js";

const MAX_ROWS = 40;

/** The number of the latest request. An answer to an earlier one is dropped. */
let latestRequest = 0;

/** The table's title and the headings of its first two columns. A column without one is hidden. */
const GROUPINGS = {
  line: { title: "Memory by source line", place: "Line", function: "Function" },
  function: { title: "Memory by function", place: "", function: "Function" },
  file: { title: "Memory by file", place: "File", function: "" },
  past: { title: "Memory by source line", place: "Line", function: "" },
  trace: { title: "Memory by call stack", place: "Line", function: "Call stack, innermost first" },
};

/** The call stacks that are open at first. One has about twenty frames. */
const OPEN_STACKS = 1;

/**
 * When the shown data was read, and the requests in the update after that. Earlier requests may be
 * in the data.
 */
let shown;

/** The requests in the latest update. */
let served;

/** The table is read again this often while requests arrive. */
const FOLLOW_MS = 2000;

/** Whether an answer is awaited. */
let loading = false;

/** The shown data is new: its age counts from now. */
export function restartAge() {
  shown = { at: performance.now() };
  showAge();
}

function showAge() {
  if (shown === undefined || state.view === "overview") return;
  const seconds = (performance.now() - shown.at) / 1000;
  const requests = (served ?? 0) - (shown.served ?? served ?? 0);
  const since = requests > 0 ? `, ${count(requests)} request${requests === 1 ? "" : "s"} since` : "";
  setText(one("#heap-age"), seconds < 3 && requests <= 0 ? "up to date" : `${duration(seconds)} old${since}`);
}

/** The API's query for the state of the controls. */
export function comparison() {
  const query = new URLSearchParams();
  const [how, what] = state.against.split(":");
  if (how === "since" || how === "baseline") query.set(how, what);
  if (state.plugin) query.set("plugin", state.plugin);
  return query;
}

/** Whether the API makes a difference. Snapshots are compared in the page. */
export const isDifference = () => state.against !== "live" && state.against !== "snapshots";

async function load() {
  const request = ++latestRequest;
  const query = comparison();
  query.set("group_by", state.group);
  query.set("limit", String(MAX_ROWS));
  const summary = one("#memory-summary");
  summary.classList.remove("error");
  loading = true;
  try {
    const past = moment() !== undefined;
    if (past || state.against === "snapshots") {
      const compared = past ? await growthUntilMoment() : await compareSnapshots();
      if (request !== latestRequest) return;
      showComparison(compared, ...(past ? ["Change until the alert", "past"] : ["Change between the two moments", "line"]));
      restartAge();
      return;
    }
    const path = isDifference() ? "/admin/memory/diff" : "/admin/memory/snapshot";
    const answer = await call("GET", `${path}?${query}`);
    if (request !== latestRequest) return;
    if (isDifference()) showDifference(answer);
    else showLive(answer);
    showAttribution(answer);
    await showGrowth(answer);
    restartAge();
  } catch (error) {
    if (request !== latestRequest) return;
    summary.classList.add("error");
    setText(summary, explain(error));
    setText(one("#memory-attribution"), "");
    one("#growing tbody").replaceChildren();
  } finally {
    if (request === latestRequest) loading = false;
  }
}

/** The table keeps up with the traffic. It is not read while nothing happens. */
function follow() {
  if (state.view !== "memory" || loading || document.hidden || shown === undefined) return;
  if (moment() !== undefined || (state.against === "snapshots" && !endsNow())) return;
  if (served > (shown.served ?? served) && performance.now() - shown.at > FOLLOW_MS) load();
}

function showComparison(compared, caption, group) {
  setText(one("#memory-attribution"), "");
  one("#growth").hidden = true;
  setText(one("#memory-summary"), compared?.sentence ?? "No snapshot yet. Take one, send requests, and take another or compare with now.");
  table(`${caption}, largest growth first`, compared?.columns ?? ["Change", "Blocks", "Bytes"], compared?.rows.slice(0, MAX_ROWS) ?? [], group);
}

/** The growth of linear memory, for plugins whose blocks are not all seen. */
async function showGrowth(answer) {
  const panel = one("#growth");
  const inexact = Object.entries(answer.plugins ?? {}).filter(([, plugin]) => attributionGap(plugin) !== null).map(([id]) => id);
  if (inexact.length === 0) {
    panel.hidden = true;
    return;
  }
  const query = new URLSearchParams({ limit: String(MAX_ROWS) });
  if (state.plugin) query.set("plugin", state.plugin);
  const { growth } = isDifference() ? await call("GET", `/admin/memory/snapshot?${query}`) : answer;
  const rows = (growth ?? []).filter((row) => inexact.includes(row.plugin));
  panel.hidden = rows.length === 0;
  const number = (bytes) => make("td", { className: "number" }, size(bytes));
  one("#growth-lines").replaceChildren(
    ...rows.map((row) =>
      make(
        "tr",
        {},
        make("td", {}, place(row)),
        make("td", {}, make("code", {}, row.function)),
        make("td", {}, row.plugin),
        number(row.size_bytes),
        number(row.unseen_bytes),
      ),
    ),
  );
}

function showDifference(answer) {
  const rows = [...answer.growing_allocations, ...answer.shrinking_allocations];
  const requests = answer.requests_since_baseline;
  const each = answer.bytes_per_request === null ? "" : `: ${change(Math.round(answer.bytes_per_request))} per request`;
  setText(
    one("#memory-summary"),
    `${change(answer.total_growth_bytes)} in ${count(requests)} request${requests === 1 ? "" : "s"}${each}. ${asOf()}` +
      (answer.window ? ` The window ${answer.window}.` : "") +
      (rows.length === 0 ? " No change. Switch a leak on and send requests." : ""),
  );
  table(
    "Change, largest growth first",
    ["Change", "Objects", "Now"],
    rows.map((row) => ({
      ...row,
      weight: row.size_diff_bytes,
      cells: [change(row.size_diff_bytes), countChange(row.count_diff), size(row.current_size_bytes)],
    })),
  );
}

/** Says whether the lines have every byte. The first answer to a diff only sets a baseline. */
function showAttribution(answer) {
  const plugins = Object.entries(answer.plugins ?? {});
  const gaps = plugins.map(([id, plugin]) => [id, attributionGap(plugin)]).filter(([, gap]) => gap !== null);
  const exact = plugins.length > 0 && gaps.length === 0 ? "Exact: the profiler has seen every block." : "";
  setText(one("#memory-attribution"), gaps.map(([id, gap]) => `${id}: ${gap}`).join(" ") || exact);
}

function showLive(answer) {
  setText(one("#memory-summary"), `${size(answer.total_traced_bytes)} live. ${asOf()}`);
  table(
    "Live memory, largest first",
    ["Bytes", "Objects", "Each"],
    answer.by_line.map((row) => ({
      ...row,
      weight: row.size_bytes,
      cells: [size(row.size_bytes), count(row.count), row.count > 0 ? size(row.size_bytes / row.count) : "–"],
    })),
  );
}

const asOf = () => `As of ${clock(Date.now() / 1000)}.`;

function table(caption, columns, rows, group = state.group) {
  const lines = one("#growing");
  const grouping = GROUPINGS[group] ?? GROUPINGS.line;
  setText(one("#memory-title"), grouping.title);
  setText(lines.caption, caption);
  lines.className = `lines by-${group}`;
  for (const column of ["place", "function"]) setText(one(`[data-column="${column}"]`, lines), grouping[column]);
  ["bytes", "objects", "now"].forEach((column, index) => {
    setText(one(`[data-column="${column}"]`, lines), columns[index]);
  });
  const most = Math.max(1, ...rows.map((row) => Math.abs(row.weight)));
  const body = lines.tBodies[0];
  const keep = keptParts(body);
  body.replaceChildren(...rows.map((row, index) => line(row, most, columns, index < OPEN_STACKS)));
  keep(body);
}

/** Remembers which row has the focus and which stacks are open, for the rows that replace them. */
function keptParts(body) {
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const focused = document.activeElement?.closest?.("#growing tr")?.dataset.key;
  const opened = new Map([...rows].map(([key, row]) => [key, one("details", row)?.open]));
  return (replaced) => {
    for (const row of replaced.rows) {
      const details = one("details", row);
      const open = opened.get(row.dataset.key);
      if (details && open !== undefined) details.open = open;
      if (row.dataset.key === focused) one("button, summary", row)?.focus({ preventScroll: true });
    }
  };
}

function line(row, most, columns, open) {
  const fill = make("span");
  fill.style.width = `${(100 * Math.abs(row.weight)) / most}%`;
  const bar = make("span", { className: row.weight < 0 ? "bar shrank" : "bar", ariaHidden: "true" }, fill);
  // Explicit roles: where the cells are a stack, the browser drops the implicit ones.
  const cell = (properties, ...content) => make("td", { role: "cell", ...properties }, ...content);
  const key = `${row.plugin} ${row.location} ${row.function} ${(row.trace ?? []).map((frame) => frame.location ?? frame.function).join()}`;
  return make(
    "tr",
    { role: "row", "data-key": key },
    cell({ className: "place" }, place(row)),
    cell({ className: "function" }, calls(row, open)),
    cell({ className: "plugin-name" }, row.plugin),
    ...row.cells.map((text, index) => cell({ className: "number", "data-label": columns[index] }, text)),
    cell({ className: "share" }, bar),
  );
}

/** The function; with grouping by call stack, also the stack. */
function calls(row, open) {
  const name = make("span", {}, make("code", {}, row.function), resizedHint(row.resized));
  if (!row.trace?.length) return name;
  const summary = make("summary", {}, name, ` in a stack of ${row.trace.length}`);
  return make("details", { open }, summary, callStack(row.trace));
}

/** Says that a line has resized blocks, and how much of them it added itself. */
function resizedHint(resized) {
  if (!resized) return undefined;
  const from = resized.from.length > 0 ? `, taken over from ${resized.from.join(", ")}` : "";
  const title = "It made a block grow. Other lines may fill the block.";
  return make("span", { className: "hint", title }, ` resized: ${size(resized.own_bytes)} its own${from}`);
}

/** A call stack, innermost frame first. Frames between the plugin's own are folded. */
export function callStack(trace) {
  const runs = [];
  for (const frame of trace) {
    const last = runs.at(-1);
    if (last && frame.kind !== "own" && last[0].kind !== "own") last.push(frame);
    else runs.push([frame]);
  }
  return frameList(runs);
}

function frameList(runs) {
  const items = runs.map((run) => make("li", {}, ...(run.length === 1 ? frameText(run[0]) : [folded(run)])));
  return make("ol", { className: "trace" }, ...items);
}

function frameText(frame) {
  return [make("code", {}, frame.function), make("span", {}, frame.location ? ` ${frame.location}` : "")];
}

/** Frames that are not the plugin's own. The outermost one is what the plugin called. */
function folded(run) {
  const summary = make("summary", {}, `${run.length} library frames: `, make("code", {}, run.at(-1).function));
  return make("details", {}, summary, frameList(run.map((frame) => [frame])));
}

/**
 * A source line is a button that opens it. A file or another name is text. A function without a
 * line is in the next column only.
 */
function place(row) {
  if (row.location === row.function && state.group !== "file") {
    return make("span", { className: "no-line", title: "no source line" }, "–");
  }
  if (!/:\d+$/.test(row.location)) return make("code", {}, row.location);
  const open = make("button", { type: "button", className: "link" }, row.location);
  open.addEventListener("click", () => {
    // Twice, so that a click on the open line loads it again.
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
  group.replaceChildren(...names.map((name) => make("option", { value: `baseline:${name}` }, `change since “${name}”`)));
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

/** The controls of this view and of the flame graph, which `drawFlame` draws. */
export function startMemory(drawFlame) {
  const refresh = () => (state.view === "memory" ? load() : drawFlame());
  const showControls = () => {
    one("#compare").hidden = state.view === "overview";
    one("#grouping").hidden = state.view !== "memory" || state.against === "snapshots" || moment() !== undefined;
    one("#against").value = state.against;
    listSnapshots();
    one("#of-plugin").value = state.plugin;
    one("#group").value = state.group;
    if (state.view !== "overview") listBaselines().catch(() => {});
  };
  for (const [id, name] of [["against", "against"], ["of-plugin", "plugin"], ["group", "group"]]) {
    one(`#${id}`).addEventListener("change", (event) => {
      const value = event.target.value;
      // Only a comparison with an earlier time can end in the past.
      const now = name === "against" && !value.startsWith("since:");
      show({ [name]: value, ...(now ? { at: "" } : {}) });
    });
  }
  one("#compare").addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  const name = one("#baseline-name");
  const result = one("#baseline-result");
  const set = one("#baseline-set");
  set.addEventListener("click", () => {
    name.required = true;
    const valid = name.reportValidity();
    name.required = false;
    if (!valid) return;
    runAction(set, result, async () => {
      const baseline = await call("PUT", `/admin/memory/baselines/${encodeURIComponent(name.value)}`, {});
      show({ against: `baseline:${baseline.name}` });
      await listBaselines();
      return `${baseline.name}: ${size(baseline.heap_live_bytes)} live after ${count(baseline.requests)} requests`;
    });
  });
  const remove = one("#baseline-delete");
  remove.addEventListener("click", () =>
    runAction(remove, result, async () => {
      const [, wanted] = state.against.split(":");
      await call("DELETE", `/admin/memory/baselines/${encodeURIComponent(wanted)}`);
      show({ against: "since:5m" });
      return `${wanted} deleted`;
    }),
  );
  document.addEventListener("sent", () => {
    if (state.view !== "overview") refresh();
  });
  document.addEventListener("update", (event) => {
    served = event.detail.requests;
    if (shown !== undefined) shown.served ??= served;
    showAge();
    follow();
  });
  document.addEventListener("plugins", (event) => listPlugins(event.detail));
  onChange((changed) => {
    if (changed.some((part) => ["view", "against", "plugin", "group", "at"].includes(part))) {
      showControls();
      if (state.view !== "overview") refresh();
    }
  });
  startSnapshots(refresh);
  showControls();
  if (state.view !== "overview") refresh();
}

