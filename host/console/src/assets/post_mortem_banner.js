// The banner about the last run that was killed or crashed, with the lines that held its memory.

import { call } from "./api.js";
import { make, one, setText } from "./dom.js";
import { duration, size } from "./format.js";
import { show } from "./state.js";

/** The storage key of the dismissed run: the time of its last readings. */
const KEY = "leak-lab-dismissed-post-mortem";

/** The most lines that are shown. */
const MAX_LINES = 5;

/** A source line opens in the view of the memory. Other places are text. */
function link({ plugin, location }) {
  if (!/:\d+$/.test(location)) return make("code", {}, location);
  const button = make("button", { type: "button", className: "link" }, location);
  button.addEventListener("click", () => {
    show({ view: "memory", plugin: "", against: "live" });
    show({ source: "" });
    show({ source: `${plugin}:${location}` });
  });
  return button;
}

/** What leaked, as the last readings had it. The line in the sentence is a link. */
function showVerdict(verdict) {
  const leaked = verdict?.plugin && verdict.severity !== "calm";
  one("#post-mortem-verdict").hidden = !leaked;
  if (!leaked) return;
  const parts = verdict.sentence.split("`");
  const shown = parts.map((part, index) => (index % 2 === 1 ? link({ plugin: verdict.plugin, location: part }) : part));
  one("#post-mortem-verdict").replaceChildren("Its last verdict: ", ...shown);
}

/** Shows the banner, unless it was dismissed. */
export async function startPostMortemBanner() {
  const report = await call("GET", "/admin/post-mortem").catch(() => undefined);
  if (report?.status !== "found" || localStorage.getItem(KEY) === report.last_seen) return;
  const banner = one("#post-mortem");
  setText(one("#post-mortem-message"), report.message.replace(/\.?$/, "."));
  const memory = report.last?.memory;
  const resident = memory?.process ? `${size(memory.process.rss_bytes)} resident` : undefined;
  const age = report.last_seen === null ? undefined : (Date.now() - Date.parse(report.last_seen)) / 1000;
  const since = age === undefined ? undefined : `${duration(Math.max(0, age))} ago`;
  const last = [resident, since].filter((part) => part !== undefined);
  setText(one("#post-mortem-age"), last.length === 0 ? "" : `Last reading: ${last.join(", ")}.`);
  showVerdict(memory?.verdict);
  const lines = memory?.heap?.top_allocations?.slice(0, MAX_LINES) ?? [];
  one("#post-mortem-lines").replaceChildren(
    ...lines.map((line) => make("li", {}, `${size(line.size_bytes)} `, link(line), ` ${line.plugin}`)),
  );
  one("#post-mortem-details").hidden = lines.length === 0;
  one("#post-mortem-close").addEventListener("click", () => {
    localStorage.setItem(KEY, report.last_seen);
    banner.hidden = true;
  });
  banner.hidden = false;
}
