// The overview: numbers and charts of each frame, and what its buttons do.

import { call } from "./api.js";
import { all, busy, explain, make, one, say } from "./dom.js";
import { showEvents } from "./events.js";
import { change, count, duration, size } from "./format.js";
import { fillSettings } from "./settings.js";
import { show } from "./state.js";

/** The width from which on the process stands beside the plugins, in pixels, as in the style sheet. */
const TWO_COLUMNS = 1120;

const rows = new Map();
let loaded = "";
let details = new Map();
let loading = false;
let latest;

/** The most that wasm lets a plugin have: as good as no limit. */
const WASM_MOST = 2 ** 32;

/** Whether the process has a limit. */
let limited = false;

/** Shows one frame. */
export function showFrame(frame) {
  latest = frame;
  document.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  showProcess(frame);
  draw(one("#chart-process"), frame.charts.process);
  draw(one("#chart-ledger"), frame.charts.ledger);
  const form = Object.entries(frame.outlooks).map(([id, outlook]) => `${id}=${outlook.digest}`).join(";");
  if (form !== loaded) loadPlugins(form);
  for (const [id, leak] of Object.entries(frame.leaks)) {
    const row = rows.get(id);
    if (row) showLeak(row, leak, frame.outlooks[id], frame.charts.plugins[id]);
  }
  showEvents(frame.events);
}

function showProcess(frame) {
  const { process, forecast, ledger, requests } = frame;
  const field = (name) => one(`#process-numbers [data-field="${name}"]`);
  say(field("rss"), size(process.rss_bytes));
  const percent = `${process.percent.toFixed(process.percent < 10 ? 1 : 0)} %`;
  limited = process.limit_bytes !== null;
  const limit = limited ? [size(process.limit_bytes), `${percent} used`] : ["no limit set", `${percent} of the machine's memory`];
  twofold(field("limit"), ...limit);
  // A slope that does not stand out of the noise says nothing.
  const grows = forecast.significant;
  say(field("growth"), grows ? `${change(Math.round(forecast.growth_bytes_per_second))}/s` : "–");
  say(field("per-request"), grows && forecast.bytes_per_request !== null ? size(Math.round(forecast.bytes_per_request)) : "–");
  say(field("to-limit"), limited ? duration(forecast.seconds_to_limit) : "no limit set");
  say(field("requests"), count(requests));
  for (const row of all("#ledger [data-part]")) say(row.lastElementChild, size(ledger[`${row.dataset.part}_bytes`]));
}

/** A number, and under it what it is of; changed only where it differs. */
function twofold(element, number, more) {
  if (element.dataset.now === `${number} ${more}`) return;
  element.replaceChildren(number, make("small", {}, more));
  element.dataset.now = `${number} ${more}`;
}

/** Pictures come from the host itself; replacing one that is the same would cost for nothing. */
function draw(place, svg) {
  if (place.dataset.drawn === svg.length.toString() && place.innerHTML === svg) return;
  place.innerHTML = svg;
  place.dataset.drawn = svg.length.toString();
}

async function loadPlugins(form) {
  if (loading) return;
  loading = true;
  try {
    const answer = await call("GET", "/admin/plugins");
    details = new Map(answer.plugins.map((plugin) => [plugin.id, plugin]));
    loaded = form;
    const list = one("#plugins");
    for (const [id, row] of rows) {
      if (!details.has(id)) {
        row.remove();
        rows.delete(id);
      }
    }
    for (const plugin of answer.plugins) {
      const row = rows.get(plugin.id) ?? newRow(plugin.id);
      describe(row, plugin);
      rows.set(plugin.id, row);
      list.append(row);
    }
    one("#no-plugins").hidden = answer.plugins.length > 0;
    document.dispatchEvent(new CustomEvent("plugins", { detail: answer.plugins }));
    // New rows are not empty until the next frame.
    showFrame(latest);
  } catch {
    // The next frame tries again; why it failed is shown where the connection is.
  } finally {
    loading = false;
  }
}

function describe(row, plugin) {
  say(one('[data-field="name"]', row), plugin.id);
  say(one('[data-field="description"]', row), plugin.description);
  const open = one(".settings", row);
  if (!open.hidden) fillSettings(open, plugin);
}

function newRow(id) {
  const row = one("#plugin-template").content.firstElementChild.cloneNode(true);
  row.dataset.plugin = id;
  const title = one("h3", row);
  title.id = `plugin-${id}`;
  one("article", row).setAttribute("aria-labelledby", title.id);
  const result = one('[data-field="result"]', row);
  const toggle = one("[data-switch]", row);
  toggle.addEventListener("change", async () => {
    const enabled = toggle.checked;
    const done = await busy(toggle, result, async () => {
      const answer = await call("POST", `/admin/leaks/${id}`, { enabled });
      return answer.expires_at ? `on until ${answer.expires_at}` : "";
    });
    if (!done) toggle.checked = !enabled;
    toggle.focus();
  });
  for (const button of all("[data-do]", row)) {
    button.setAttribute("aria-label", `${button.textContent}: ${id}`);
    button.addEventListener("click", () => act(button, row, id));
  }
  return row;
}

function act(button, row, id) {
  const result = one('[data-field="result"]', row);
  const form = one(".settings", row);
  switch (button.dataset.do) {
    case "clear":
      return busy(button, result, async () => cleared(id, await call("POST", "/admin/leaks/clear", { leak_type: id })));
    case "reset":
      return busy(button, result, async () => {
        const answer = await call("POST", `/admin/leaks/${id}/reset`, {});
        const [before, after] = [answer.linear_memory_before_bytes, answer.linear_memory_after_bytes];
        return `instance ${answer.generation}: linear memory ${size(before)} → ${size(after)}`;
      });
    case "lines":
      return show({ view: "memory", plugin: id });
    case "settings":
      form.hidden = !form.hidden;
      button.setAttribute("aria-expanded", String(!form.hidden));
      if (!form.hidden) return refresh(form, id, result);
      return undefined;
    default:
      return undefined;
  }
}

/** Settings may have been changed elsewhere: the form starts with what is in force now. */
async function refresh(form, id, result) {
  try {
    fillSettings(form, await call("GET", `/admin/plugins/${id}`));
  } catch (error) {
    say(result, explain(error));
  }
}

function cleared(id, answer) {
  const removed = Object.entries(answer).find(([name]) => name.endsWith("_removed"));
  const unit = removed ? removed[0].replace("_removed", "") : "objects";
  return `${count(removed?.[1] ?? 0)} ${unit} dropped, ${size(answer.freed_bytes)}`;
}

function showLeak(row, leak, outlook, chart) {
  const field = (name) => one(`[data-field="${name}"]`, row);
  const toggle = one("[data-switch]", row);
  if (!toggle.disabled) toggle.checked = leak.enabled;
  const state = field("state");
  say(state, leak.state === "running" ? (leak.enabled ? "leaking" : "off") : leak.state);
  state.className = `state ${leak.state !== "running" ? "bad" : leak.enabled ? "good" : ""}`;
  if (leak.enabled && leak.variant === "fixed" && leak.state === "running") say(state, "on");
  say(field("variant"), leak.variant);
  const reason = field("reason");
  reason.hidden = leak.reason === null;
  say(reason, leak.reason === null ? "" : `${leak.reason}. Reset starts a fresh instance.`);
  say(field("requests"), count(leak.requests));
  twofold(field("retained"), size(leak.estimated_size_bytes), `${count(leak.count)} ${leak.unit}`);
  say(field("live"), leak.heap_live_bytes === null ? "not kept" : size(leak.heap_live_bytes));
  say(field("linear"), size(leak.linear_memory_bytes));
  say(field("per-request"), size(Math.round(leak.bytes_per_request)));
  say(field("to-limit"), toLimit(leak, outlook));
  row.classList.toggle("quiet", !chart);
  if (chart) draw(field("chart"), chart);
}

/** A time is only for a limit that somebody has set. */
function toLimit(leak, outlook) {
  if (leak.memory_limit_bytes < WASM_MOST) return duration(outlook?.seconds_to_limit);
  return limited ? "no own limit" : "no limit set";
}

/** The buttons for all plugins at once. */
export function startOverview() {
  // On a narrow page the plugins would be far below the ledger.
  one("#where").open = one("#main").clientWidth >= TWO_COLUMNS;
  const result = one("#all-result");
  const work = {
    clear: async () => {
      const answer = await call("POST", "/admin/leaks/clear", {});
      const missed = Object.entries(answer.not_cleared ?? {}).map(([id, why]) => `; ${id}: ${why}`);
      return `${count(answer.total_removed)} objects dropped, ${size(answer.freed_bytes)}${missed.join("")}`;
    },
    gc: async () => {
      const answer = await call("POST", "/admin/gc", {});
      const fresh = answer.gc_results.filter((plugin) => plugin.recycled).map((plugin) => plugin.plugin);
      const [before, after] = [answer.memory_before_bytes, answer.memory_after_bytes];
      return `${size(before)} → ${size(after)}; fresh: ${fresh.join(", ") || "none"}`;
    },
    reset: async () => {
      const answer = await call("POST", "/admin/reset", {});
      return `as at the start: ${size(answer.memory_before_bytes)} → ${size(answer.memory_after_bytes)}`;
    },
  };
  for (const button of all("[data-all]")) {
    button.addEventListener("click", () => busy(button, result, work[button.dataset.all]));
  }
}
