// The events of the plugins, newest first.

import { make, one, setText } from "./dom.js";
import { clock, count, size } from "./format.js";

const TEXT = {
  loaded: () => "loaded",
  enabled: () => "switched on",
  disabled: () => "switched off",
  on: () => "on, as scheduled",
  off: () => "off, as scheduled",
  configured: () => "settings changed",
  cleared: (event) => `cleared: ${count(event.objects)} objects, ${size(event.bytes)}`,
  reset: (event) => `reset: instance ${event.generation}`,
  gc: (event) => `recycled by gc: instance ${event.generation}`,
  reloaded: (event) => `reloaded: instance ${event.generation}`,
  grown: (event) => `linear memory grew: ${size(event.from_bytes)} → ${size(event.bytes)}`,
  exhausted: (event) => `exhausted: ${event.reason}`,
  trap: (event) => `trap: ${event.reason}`,
};

const shown = new Map();

/** Adds new events and removes those that the host has dropped. Other rows stay as they are. */
export function showEvents(events) {
  const list = one("#events");
  // A screen reader must not read out the events from before the page was opened.
  one("#log").setAttribute("aria-live", shown.size === 0 ? "off" : "polite");
  const keys = new Set();
  for (const event of events.toReversed()) {
    const key = `${event.plugin} ${event.kind} ${event.at}`;
    keys.add(key);
    const text = TEXT[event.kind]?.(event) ?? event.kind;
    const row = shown.get(key);
    if (row) {
      setText(row.lastElementChild, text);
      continue;
    }
    const time = make("time", { dateTime: new Date(event.at * 1000).toISOString() }, clock(event.at));
    const added = make("li", {}, time, make("b", {}, event.plugin), make("span", {}, text));
    shown.set(key, added);
    list.prepend(added);
  }
  for (const [key, row] of shown) {
    if (!keys.has(key)) {
      row.remove();
      shown.delete(key);
    }
  }
}
