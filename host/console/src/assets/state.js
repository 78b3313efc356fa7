// The state of the page. It is in the address, so that a link opens the same view.

const DEFAULTS = {
  view: "overview",
  window: "5m",
  against: "since:5m",
  plugin: "",
  group: "line",
  source: "",
  exercise: "",
  done: "",
  term: "",
  // A moment in seconds since 1970, such as the start of an alert; empty is now.
  at: "",
};

/** The views of the page. An address with another one shows the first. */
const VIEWS = [DEFAULTS.view, "memory", "flame"];

const listeners = [];

/** The present state. */
export const state = read();

function read() {
  const query = new URLSearchParams(location.search);
  const given = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) ?? value]));
  return VIEWS.includes(given.view) ? given : { ...given, view: DEFAULTS.view };
}

/** Calls `listener` after every change, with the names of the changed fields. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Changes the state and the address. */
export function show(changes) {
  const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  if (changed.length === 0) return;
  Object.assign(state, changes);
  const query = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]));
  const address = query.size > 0 ? `/?${query}` : "/";
  // The back button returns to the previous view, not to the previous setting.
  if (changed.includes("view")) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  if (changed.includes("view")) scrollTo(0, 0);
  notify(changed);
}

function notify(changed) {
  for (const listener of listeners) listener(changed);
}

addEventListener("popstate", () => {
  Object.assign(state, read());
  notify(Object.keys(DEFAULTS));
});
