// What a host on this address left when it died: what held the memory.

import { call } from "./api.js";
import { make, one, say } from "./dom.js";
import { duration, size } from "./format.js";

/** The death that was put away, by the time of its last readings. */
const KEY = "leak-lab-death-seen";
const LINES = 5;

/** Shows it, unless it was put away. */
export async function startFate() {
  const death = await call("GET", "/admin/post-mortem").catch(() => undefined);
  if (death?.status !== "found" || localStorage.getItem(KEY) === death.last_seen) return;
  const banner = one("#fate");
  const age = death.last_seen === null ? undefined : (Date.now() - Date.parse(death.last_seen)) / 1000;
  say(one("#fate-message"), `The last host on this address died. ${death.message}`);
  const held = death.last?.memory;
  const resident = held?.process ? `${size(held.process.rss_bytes)} resident. ` : "";
  say(one("#fate-age"), age === undefined ? "" : `${resident}Its last readings were written ${duration(Math.max(0, age))} ago.`);
  const lines = held?.heap?.top_allocations?.slice(0, LINES) ?? [];
  one("#fate-lines").replaceChildren(
    ...lines.map((line) => make("li", {}, `${size(line.size_bytes)} `, make("code", {}, line.location), ` ${line.plugin}`)),
  );
  one("#fate-held").hidden = lines.length === 0;
  one("#fate-close").addEventListener("click", () => {
    localStorage.setItem(KEY, death.last_seen);
    banner.hidden = true;
  });
  banner.hidden = false;
}
