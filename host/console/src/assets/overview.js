// The overview: the numbers and charts of each update, and the buttons.

import { call } from "./api.js";
import { all, explain, make, one, runAction, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { attributionGap, change, count, duration, size } from "./format.js";
import { fillSettings } from "./settings.js";
import { showMystery } from "./mystery.js";
import { show } from "./state.js";
import { showVerdict } from "./verdict.js";

/** The width of `main` with room for two columns, in pixels, as in the style sheet. */
const TWO_COLUMN_WIDTH = 1120;

/** The most linear memory of a 32-bit wasm module. A limit of this size counts as none. */
const MAX_LINEAR_MEMORY_BYTES = 2 ** 32;

/** Less time than this is shown in red, as by the host. */
const CRITICAL_SECONDS = 120;

/** The row of each plugin, by id. */
const rows = new Map();

/** The ids and digests of the plugins whose descriptions are loaded. */
let loaded = "";
let loading = false;
let latest;

/** Whether the process has a memory limit. */
let limited = false;

/** Shows one update. */
export function showUpdate(update) {
  latest = update;
  document.dispatchEvent(new CustomEvent("update", { detail: update }));
  showVerdict(update.verdict);
  showMystery(update);
  showProcess(update);
  draw(one("#chart-process"), update.charts.process);
  draw(one("#chart-ledger"), update.charts.ledger);
  const plugins = Object.entries(update.outlooks).map(([id, outlook]) => `${id}=${outlook.digest}`).join(";");
  // While a mystery runs, the host does not list its plugins.
  if (plugins !== loaded && update.mystery === null) loadPlugins(plugins);
  for (const [id, leak] of Object.entries(update.leaks)) {
    const row = rows.get(id);
    if (row) showLeak(row, leak, update.outlooks[id], update.charts.plugins[id]);
  }
  openCatalogue(update.leaks);
  showEvents(update.events);
}

/** The leaks of the catalogue that were on when it opened by itself. */
let openedFor = "";

/** Opens the catalogue when a leak of it is switched on elsewhere. */
function openCatalogue(leaks) {
  const on = all("#catalogue li").map((row) => row.dataset.plugin).filter((id) => leaks[id]?.enabled || leaks[id]?.count > 0);
  if (on.join() !== openedFor && on.length > 0) one("#catalogue").open = true;
  openedFor = on.join();
}

function showProcess(update) {
  // Without a request and a leak there is nothing to clear or to give back.
  const leaks = Object.values(update.leaks);
  one("#all-actions").hidden = update.mystery !== null || update.requests === 0 && leaks.every((leak) => !leak.enabled && leak.count === 0);
  one('[data-all="clear"]').hidden = leaks.every((leak) => leak.count === 0);
  const { process, forecast, ledger, requests } = update;
  const field = (name) => one(`#process-numbers [data-field="${name}"]`);
  setText(field("rss"), size(process.rss_bytes));
  const percent = `${process.percent.toFixed(process.percent < 10 ? 1 : 0)} %`;
  limited = process.limit_bytes !== null;
  const limit = limited ? [size(process.limit_bytes), `${percent} used`] : ["no limit", `${percent} of the machine's memory`];
  setValue(field("limit"), ...limit);
  // A growth within the noise is not shown.
  const grows = forecast.significant;
  setText(field("growth"), grows ? `${change(Math.round(forecast.growth_bytes_per_second))}/s` : "–");
  setText(field("per-request"), grows && forecast.process_bytes_per_request !== null ? size(Math.round(forecast.process_bytes_per_request)) : "–");
  setText(field("to-limit"), limited ? duration(forecast.seconds_to_limit) : "no limit");
  field("to-limit").classList.toggle("danger", forecast.seconds_to_limit !== null && forecast.seconds_to_limit < CRITICAL_SECONDS);
  setText(field("requests"), count(requests));
  for (const row of all("#ledger [data-part]")) setText(row.lastElementChild, size(ledger[`${row.dataset.part}_bytes`]));
}

/** Sets a value with a note below it, if they differ. */
function setValue(element, value, note) {
  if (element.dataset.shown === `${value} ${note}`) return;
  element.replaceChildren(value, make("small", {}, note));
  element.dataset.shown = `${value} ${note}`;
}

/** The present chart of each place. */
const drawn = new WeakMap();

/** Inserts a chart, if it differs from the present one. The host made it, so its markup is safe. */
function draw(place, svg) {
  if (drawn.get(place) === svg) return;
  place.innerHTML = svg;
  drawn.set(place, svg);
}

async function loadPlugins(plugins) {
  if (loading) return;
  loading = true;
  try {
    const answer = await call("GET", "/admin/plugins");
    loaded = plugins;
    const ids = new Set(answer.plugins.map((plugin) => plugin.id));
    for (const [id, row] of rows) {
      if (!ids.has(id)) {
        row.remove();
        rows.delete(id);
      }
    }
    for (const plugin of answer.plugins) {
      const row = rows.get(plugin.id) ?? newRow(plugin.id);
      describe(row, plugin);
      rows.set(plugin.id, row);
      one(`#plugins-${latest.outlooks[plugin.id]?.group ?? "pattern"}`).append(row);
    }
    one("#no-plugins").hidden = answer.plugins.length > 0;
    for (const list of all("#plugins ul")) list.closest("[data-group]").hidden = list.childElementCount === 0;
    one("#catalogue").hidden = all("#catalogue li").length === 0;
    setText(one("#catalogue-count"), `${all("#catalogue li").length} more`);
    document.dispatchEvent(new CustomEvent("plugins", { detail: answer.plugins }));
    // Fills the new rows now, not with the next update.
    showUpdate(latest);
  } catch {
    // The next update tries again. The connection's banner shows the error.
  } finally {
    loading = false;
  }
}

function describe(row, plugin) {
  setText(one('[data-field="name"]', row), plugin.id);
  setText(one('[data-field="title"]', row), plugin.title);
  setText(one('[data-field="description"]', row), plugin.description);
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
    const done = await runAction(toggle, result, async () => {
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
      return runAction(button, result, async () => cleared(id, await call("POST", "/admin/leaks/clear", { leak_type: id })));
    case "reset":
      return runAction(button, result, async () => {
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

/** Fills the form with the settings in force, which another client may have changed. */
async function refresh(form, id, result) {
  try {
    fillSettings(form, await call("GET", `/admin/plugins/${id}`));
  } catch (error) {
    setText(result, explain(error));
  }
}

function cleared(id, answer) {
  const removed = Object.entries(answer).find(([name]) => name.endsWith("_removed"));
  const unit = removed ? removed[0].replace("_removed", "") : "objects";
  return `${count(removed?.[1] ?? 0)} ${unit} dropped, ${size(answer.freed_bytes)} freed`;
}

function showLeak(row, leak, outlook, chart) {
  const field = (name) => one(`[data-field="${name}"]`, row);
  const toggle = one("[data-switch]", row);
  if (!toggle.disabled) toggle.checked = leak.enabled;
  const isDecoy = outlook?.group === "decoy";
  const leaking = leak.active && leak.variant === "leaky" && !isDecoy;
  const used = leak.requests > 0 || leak.count > 0 || leak.state !== "running";
  // Nothing is worth a place until the leak has done something.
  const idle = !leak.enabled && !used;
  const state = field("state");
  const word = leak.active ? (leaking ? "leaking" : "on") : leak.enabled ? "waiting" : "off";
  setText(state, leak.state === "running" ? word : leak.state);
  state.className = `state ${leak.state !== "running" ? "bad" : leaking ? "warn" : leak.active && !isDecoy ? "good" : ""}`;
  state.hidden = idle;
  row.classList.toggle("leaking", leaking);
  // The state says that it leaks. A decoy does not.
  field("variant").hidden = leak.variant !== "fixed";
  setText(field("variant"), leak.variant);
  const reason = field("reason");
  reason.hidden = leak.reason === null;
  setText(reason, leak.reason === null ? "" : `${leak.reason}. Reset starts a fresh instance.`);
  const schedule = scheduleOf(leak);
  field("schedule").hidden = schedule === null;
  setText(field("schedule"), schedule ?? "");
  const attribution = field("attribution");
  const gap = attributionGap(leak);
  attribution.hidden = gap === null;
  setText(attribution, gap ?? "");
  setText(field("requests"), count(leak.requests));
  setValue(field("retained"), size(leak.estimated_size_bytes), `${count(leak.count)} ${leak.unit}`);
  setText(field("live"), leak.heap_live_bytes === null ? "not profiled" : liveSize(leak));
  setText(field("linear"), size(leak.linear_memory_bytes));
  setText(field("per-request"), size(Math.round(leak.bytes_per_request)));
  setText(field("to-limit"), toLimit(leak, outlook));
  row.classList.toggle("quiet", idle);
  one('[data-do="clear"]', row).hidden = leak.count === 0;
  one('[data-do="reset"]', row).hidden = !used;
  one('[data-do="lines"]', row).hidden = leak.requests === 0 || leak.heap_live_bytes === null;
  if (chart) draw(field("chart"), chart);
}

/** What the schedule of an enabled leak does next; null without a schedule. */
function scheduleOf(leak) {
  const next = leak.next_change_in_seconds;
  if (next !== null) return `Scheduled: ${leak.active ? "off" : "on"} in ${duration(next)}`;
  return leak.enabled && !leak.active ? "Scheduled: over" : null;
}

const liveSize = (leak) => `${size(leak.heap_live_bytes)}${leak.attribution === "partial" ? ", seen in part" : ""}`;

/** The time until the plugin's own memory limit. */
function toLimit(leak, outlook) {
  if (leak.memory_limit_bytes < MAX_LINEAR_MEMORY_BYTES) return duration(outlook?.seconds_to_limit);
  return limited ? "no own limit" : "no limit";
}

/** The buttons for all plugins. */
export function startOverview() {
  // Closed in one column: the open ledger would push the plugins far down.
  one("#ledger-details").open = one("#main").clientWidth >= TWO_COLUMN_WIDTH;
  const result = one("#all-result");
  const actions = {
    clear: async () => {
      const answer = await call("POST", "/admin/leaks/clear", {});
      const skipped = Object.entries(answer.not_cleared ?? {}).map(([id, reason]) => `; ${id}: ${reason}`);
      return `${count(answer.total_removed)} objects dropped, ${size(answer.freed_bytes)} freed${skipped.join("")}`;
    },
    gc: async () => {
      const answer = await call("POST", "/admin/gc", {});
      const recycled = answer.gc_results.filter((plugin) => plugin.recycled).map((plugin) => plugin.plugin);
      const [before, after] = [answer.memory_before_bytes, answer.memory_after_bytes];
      return `${size(before)} → ${size(after)}; recycled: ${recycled.join(", ") || "none"}`;
    },
    reset: async () => {
      const answer = await call("POST", "/admin/reset", {});
      const failed = answer.failed.map(({ plugin, reason }) => `; ${plugin} was not reset: ${reason}`);
      return `${answer.reset} reset: ${size(answer.memory_before_bytes)} → ${size(answer.memory_after_bytes)}${failed.join("")}`;
    },
  };
  for (const button of all("[data-all]")) {
    button.addEventListener("click", () => runAction(button, result, actions[button.dataset.all]));
  }
}
