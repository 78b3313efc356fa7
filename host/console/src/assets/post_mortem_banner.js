// The banner about the last run that was killed or crashed, with the lines that held its memory.

import { call } from "./api.js";
import { make, one, setText } from "./dom.js";
import { duration, size } from "./format.js";

/** The storage key of the dismissed run: the time of its last readings. */
const KEY = "leak-lab-dismissed-post-mortem";

/** The most lines that are shown. */
const MAX_LINES = 5;

/** Shows the banner, unless it was dismissed. */
export async function startPostMortemBanner() {
  const report = await call("GET", "/admin/post-mortem").catch(() => undefined);
  if (report?.status !== "found" || localStorage.getItem(KEY) === report.last_seen) return;
  const banner = one("#post-mortem");
  setText(one("#post-mortem-message"), report.message);
  const memory = report.last?.memory;
  const resident = memory?.process ? `${size(memory.process.rss_bytes)} resident. ` : "";
  const age = report.last_seen === null ? undefined : (Date.now() - Date.parse(report.last_seen)) / 1000;
  const lastReadings = age === undefined ? "" : `Last readings ${duration(Math.max(0, age))} ago.`;
  setText(one("#post-mortem-age"), resident + lastReadings);
  const lines = memory?.heap?.top_allocations?.slice(0, MAX_LINES) ?? [];
  one("#post-mortem-lines").replaceChildren(
    ...lines.map((line) => make("li", {}, `${size(line.size_bytes)} `, make("code", {}, line.location), ` ${line.plugin}`)),
  );
  one("#post-mortem-details").hidden = lines.length === 0;
  one("#post-mortem-close").addEventListener("click", () => {
    localStorage.setItem(KEY, report.last_seen);
    banner.hidden = true;
  });
  banner.hidden = false;
}
