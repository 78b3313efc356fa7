// What is shown, kept in the address, so that a view can be shared.

const DEFAULTS = {
  view: "overview",
  window: "5m",
  against: "since:5m",
  plugin: "",
  group: "line",
  source: "",
  exercise: "",
  term: "",
};

const listeners = [];

/** What is shown now. */
export const state = read();

function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) ?? value]));
}

/** Tells `listener` of every change, with the names of what has changed. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Shows something else. */
export function show(changes) {
  const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  if (changed.length === 0) return;
  Object.assign(state, changes);
  const query = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]));
  const address = query.size > 0 ? `/?${query}` : "/";
  // Only another view is a place to come back to.
  if (changed.includes("view")) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  // Another view starts at its top.
  if (changed.includes("view")) scrollTo(0, 0);
  tell(changed);
}

function tell(changed) {
  for (const listener of listeners) listener(changed);
}

addEventListener("popstate", () => {
  Object.assign(state, read());
  tell(Object.keys(DEFAULTS));
});
