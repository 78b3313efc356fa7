// The fleet view: asks this host for all hosts every two seconds, and draws a card for each.

import { call, useToken } from "./api.js";
import { explain, make, one, runAction, setText } from "./dom.js";
import { duration, size } from "./format.js";

/** Time from one answer to the next question. */
const PAUSE_MS = 2000;

/** The size of a chart in its own units, as in the markup. */
const WIDTH = 300;
const HEIGHT = 70;

/** The shortest time that a chart spans, in seconds. */
const MIN_SPAN = 120;

const STATES = {
  none: ["calm", ""],
  memory: ["differs", "warn"],
  growth: ["grows", "warn"],
  no_answer: ["no answer", "bad"],
  leak: ["leaks", "warn"],
  critical: ["critical", "bad"],
};

const cards = new Map();
let fleet;
let timer;

function showConnection(error) {
  setText(one("#connection"), error ? "disconnected" : "live");
  one("#connection").className = `state ${error ? "bad" : "good"}`;
  const banner = one("#banner");
  banner.hidden = !error || error.status === 401;
  if (error) setText(banner, `${explain(error)}. The numbers are out of date. Trying again…`);
}

async function read() {
  clearTimeout(timer);
  try {
    fleet = await call("GET", "/console/fleet");
    showConnection(fleet.error ? new Error(fleet.error) : null);
    showFleet();
  } catch (error) {
    showConnection(error);
  }
  if (!document.hidden) timer = setTimeout(read, PAUSE_MS);
}

function showFleet() {
  const { asked, leaking, failed } = fleet;
  const hosts = asked === 1 ? "1 host" : `${asked} hosts`;
  setText(one("#fleet-counts"), `${hosts}, ${leaking} with a leak, ${failed} without an answer`);
  const choice = one("#fleet-leak");
  if (choice.options.length !== fleet.leaks.length || [...choice.options].some((o, i) => o.value !== fleet.leaks[i])) {
    const chosen = choice.value;
    choice.replaceChildren(...fleet.leaks.map((leak) => make("option", { value: leak }, leak)));
    if (fleet.leaks.includes(chosen)) choice.value = chosen;
    else if (fleet.leaks.includes("cache")) choice.value = "cache";
  }
  const more = one("#fleet-more");
  more.hidden = fleet.more === 0;
  setText(more, `${fleet.more} more hosts are not shown. leak-host fleet status lists all.`);
  const top = Math.max(1, ...fleet.hosts.map(highest));
  const list = one("#fleet-hosts");
  const known = new Set(fleet.hosts.map((host) => host.address));
  for (const [address, card] of cards) {
    if (known.has(address)) continue;
    card.remove();
    cards.delete(address);
  }
  for (const host of fleet.hosts) {
    if (!cards.has(host.address)) cards.set(host.address, newCard(host.address));
    showHost(cards.get(host.address), host, top);
  }
  // Moving a card takes the focus from it, so cards move only when their order has changed.
  const order = fleet.hosts.map((host) => cards.get(host.address));
  if (order.some((card, index) => list.children[index] !== card)) {
    const focused = document.activeElement;
    list.replaceChildren(...order);
    if (list.contains(focused)) focused.focus();
  }
}

const highest = (host) => Math.max(host.limit_bytes ?? 0, ...host.points.map(([, bytes]) => bytes));

function newCard(address) {
  const card = one("#fleet-card").content.firstElementChild.cloneNode(true);
  const checkbox = one(".fleet-switch", card);
  const output = one(".fleet-output", card);
  checkbox.addEventListener("change", async () => {
    const wanted = checkbox.checked;
    if (!(await runAction(checkbox, output, () => change(wanted, [address])))) checkbox.checked = !wanted;
  });
  return card;
}

function showHost(card, host, top) {
  card.className = `card ${host.oddness}`;
  const [text, tone] = STATES[host.oddness];
  const badge = one(".fleet-state", card);
  setText(badge, text);
  badge.className = `state fleet-state ${tone}`;
  setText(one(".fleet-name", card), host.name || host.address);
  const labels = Object.entries(host.labels).map(([name, value]) => `${name}=${value}`);
  const revision = host.revision && host.revision !== "unknown" && !host.labels.revision ? [`revision ${host.revision}`] : [];
  const age = host.error ? [] : [`up ${duration(host.uptime_seconds)}`];
  setText(one(".fleet-about", card), [...(host.name ? [host.address] : []), ...revision, ...labels, ...age].join(" · "));
  drawMemory(card, host, top);
  setText(one(".fleet-verdict", card), host.error ?? host.verdict.sentence);
  one(".fleet-verdict", card).classList.toggle("error", Boolean(host.error));
  const on = host.leaks_enabled;
  setText(one(".fleet-leaks", card), on.length === 0 ? "" : `On: ${on.join(", ")}`);
  const checkbox = one(".fleet-switch", card);
  const leak = one("#fleet-leak").value;
  setText(one(".fleet-switch-name", card), leak);
  if (!checkbox.hasAttribute("aria-busy")) {
    checkbox.checked = on.includes(leak);
    checkbox.disabled = Boolean(host.error) || !leak;
  }
}

function drawMemory(card, host, top) {
  const y = (bytes) => (HEIGHT - 4 - (bytes / top) * (HEIGHT - 8)).toFixed(1);
  const end = fleet.taken_at;
  const first = host.points[0]?.[0] ?? end;
  const span = Math.max(MIN_SPAN, end - first);
  const points = host.points.map(([at, bytes]) => `${(WIDTH - ((end - at) / span) * WIDTH).toFixed(1)},${y(bytes)}`);
  one("polyline", card).setAttribute("points", points.join(" "));
  const limit = one("line", card);
  limit.style.display = host.limit_bytes ? "" : "none";
  if (host.limit_bytes) {
    limit.setAttribute("y1", y(host.limit_bytes));
    limit.setAttribute("y2", y(host.limit_bytes));
  }
  const memory = host.limit_bytes ? `${size(host.rss_bytes)} of ${size(host.limit_bytes)}` : size(host.rss_bytes);
  const text = host.error ? "no reading" : `${memory}, the last ${Math.round(span / 60)} min`;
  setText(one(".fleet-memory", card), text);
  one(".fleet-chart", card).setAttribute("aria-label", `Resident memory: ${text}`);
}

/** Switches the chosen leak on some hosts, or on all. Returns what happened. */
async function change(enabled, hosts) {
  const leak = one("#fleet-leak").value;
  const { done, failed } = await call("POST", `/console/fleet/leaks/${encodeURIComponent(leak)}`, { enabled, hosts });
  await read();
  if (failed.length > 0) throw new Error(failed.slice(0, 3).join("; "));
  return hosts ? "" : `${leak} is ${enabled ? "on" : "off"} on ${done === 1 ? "1 host" : `${done} hosts`}`;
}

for (const [button, enabled] of [["#fleet-on", true], ["#fleet-off", false]]) {
  one(button).addEventListener("click", () => runAction(one(button), one("#fleet-output"), () => change(enabled)));
}
one("#fleet-leak").addEventListener("change", () => fleet && showFleet());
one("#token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(one("#token-value").value);
  location.reload();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else read();
});
read();
