// A moment of the past, such as the start of an alert: what grew until then.

import { call } from "./api.js";
import { one, setText } from "./dom.js";
import { change, clock, count, duration, size } from "./format.js";
import { onChange, show, state } from "./state.js";

/** The time ranges of the charts, in seconds. */
const WINDOWS = { "1m": 60, "5m": 300, "15m": 900 };

/** The most lines of a plugin. */
const MAX_LINES = 40;

/** The moment in seconds since 1970, or undefined for now. */
export const moment = () => (/^\d{1,11}$/.test(state.at) ? Number(state.at) : undefined);

/** The part of the event stream's query that makes the charts mark the moment. */
export const momentQuery = () => (moment() === undefined ? {} : { at: state.at });

const age = () => Date.now() / 1000 - moment();

/** The lines that grew until the moment, from the history; a sentence alone if it is older. */
export async function growthUntilMoment() {
  const query = new URLSearchParams({ limit: String(MAX_LINES) });
  if (state.plugin) query.set("plugin", state.plugin);
  const history = await call("GET", `/admin/memory/history?${query}`);
  const begin = Date.now() / 1000 - history.window_seconds;
  const to = moment();
  const minutes = Number(/^since:(\d+)m$/.exec(state.against)?.[1] ?? 5);
  const from = Math.max(begin, to - 60 * minutes);
  if (to <= begin) {
    const sentence = `${clock(to)} is before the history, which begins at ${clock(begin)}. Choose “Back to now”, or see the alert in Prometheus.`;
    return { sentence, columns: ["Change", "From", "To"], rows: [] };
  }
  const rows = history.series
    .map(({ plugin, location, points }) => {
      const [before, after] = [valueAt(points, from), valueAt(points, to)];
      return { plugin, location, function: "", weight: after - before, cells: [change(after - before), size(before), size(after)] };
    })
    .filter((row) => row.weight !== 0)
    .sort((a, b) => b.weight - a.weight);
  const total = rows.reduce((sum, row) => sum + row.weight, 0);
  return { sentence: `${change(total)} from ${clock(from)} to ${clock(to)}, in ${count(rows.length)} lines.`, columns: ["Change", "From", "To"], rows };
}

/** The value of a line at a time: that of the last point before. */
function valueAt(points, time) {
  return points.findLast(([at]) => at <= time)?.[1] ?? 0;
}

function showBanner() {
  const banner = one("#moment");
  banner.hidden = moment() === undefined || state.view === "flame";
  if (banner.hidden) return;
  const where = age() > WINDOWS["15m"] ? "before the charts" : "marked in the charts";
  setText(one("#moment-text"), `The alert fired at ${clock(moment())}, ${duration(age())} ago (${where}).`);
}

/** The banner, and a time range in which the charts have the moment. */
export function startMoment() {
  const fit = () => {
    if (moment() === undefined || age() <= WINDOWS[state.window]) return;
    if (age() <= WINDOWS["15m"]) show({ window: age() <= WINDOWS["5m"] ? "5m" : "15m" });
  };
  one("#moment-close").addEventListener("click", () => show({ at: "" }));
  document.addEventListener("update", showBanner);
  onChange((changed) => {
    if (changed.includes("at")) fit();
    if (changed.includes("at") || changed.includes("view")) showBanner();
  });
  fit();
  showBanner();
}
