// The alerts that Alertmanager has sent: those that fire first, then the last ones that ended.

import { call } from "./api.js";
import { make, one } from "./dom.js";
import { show } from "./state.js";

const POLL_MILLISECONDS = 5000;

/** The most alerts that are shown. */
const MAX_ROWS = 8;

let shown = "";

async function load() {
  if (document.hidden) return;
  const answer = await call("GET", "/admin/alerts").catch(() => undefined);
  if (answer === undefined) return;
  // A host without Alertmanager has no panel.
  one("#alerts").hidden = answer.alerts.length === 0;
  const text = JSON.stringify(answer.alerts);
  if (text === shown) return;
  shown = text;
  one("#alert-list").replaceChildren(...answer.alerts.slice(0, MAX_ROWS).map(row));
}

function row(alert) {
  const firing = alert.status === "firing";
  const at = firing ? alert.starts_at : alert.ends_at ?? alert.received_at;
  const time = make("time", { dateTime: at }, new Date(at).toLocaleTimeString([], { hour12: false }));
  const state = make("span", { className: `state ${firing ? "bad" : "good"}` }, alert.status);
  const parts = [time, " ", state, " ", make("b", {}, alert.name), " ", alert.summary ?? ""];
  if (alert.plugin !== null) {
    const button = make("button", { type: "button" }, "Show lines");
    button.addEventListener("click", () => show({ view: "memory", plugin: alert.plugin, against: "since:5m", at: String(Math.floor(Date.parse(alert.starts_at) / 1000)) }));
    parts.push(" ", button);
  }
  return make("li", {}, ...parts);
}

/** Starts to show the alerts. */
export function startAlerts() {
  load();
  setInterval(load, POLL_MILLISECONDS);
}
