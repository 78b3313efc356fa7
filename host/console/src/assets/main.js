// Puts the page together: the views, the stream, and what happens when it breaks.

import { useToken } from "./api.js";
import { all, explain, one, say } from "./dom.js";
import { startExercises } from "./exercises.js";
import { startFate } from "./fate.js";
import { closeFlame, drawFlame, startFlame } from "./flame.js";
import { startMemory } from "./memory.js";
import { showFrame, startOverview } from "./overview.js";
import { startPlugins } from "./plugins.js";
import { startSource } from "./source.js";
import { onChange, show, state } from "./state.js";
import { Stream } from "./stream.js";
import { startTraffic } from "./traffic.js";

const narrow = matchMedia("(max-width: 700px)");
const stream = new Stream(showFrame, showConnection);

function showConnection(now, why) {
  const live = now === "live";
  const mark = one("#connection");
  say(mark, live ? "live" : "not connected");
  mark.className = `state ${live ? "good" : "bad"}`;
  document.body.classList.toggle("stale", !live);
  const banner = one("#banner");
  banner.hidden = live || why.status === 401;
  if (!banner.hidden) {
    const reason = why.name === "AbortError" ? "The host has been silent for some seconds" : explain(why);
    say(banner, `${reason}. What you see is old; the page tries again by itself.`);
  }
}

const openStream = () => stream.open(new URLSearchParams({ window: state.window, wide: String(!narrow.matches) }));

function showView() {
  for (const section of all("main > [data-view]")) section.hidden = section.dataset.view !== state.view;
  for (const link of all("[data-go]")) {
    if (link.dataset.go === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const choice of all('[name="window"]')) choice.checked = choice.value === state.window;
}

onChange((changed) => {
  if (changed.includes("view") && state.view !== "flame") closeFlame();
  if (changed.includes("view") || changed.includes("window")) showView();
  if (changed.includes("window")) openStream();
});

for (const link of all("[data-go]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    show({ view: link.dataset.go });
  });
}
for (const choice of all('[name="window"]')) {
  choice.addEventListener("change", () => show({ window: choice.value }));
}
one("#token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(one("#token-value").value);
  // Everything that was refused is asked for again.
  location.reload();
});
narrow.addEventListener("change", openStream);
// A page in the background needs no pictures.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.stop();
  else openStream();
});

showView();
startTraffic();
// What fits into the overview depends on the room that the exercises leave.
startExercises();
startOverview();
startFlame();
startSource();
startMemory(drawFlame);
startPlugins();
startFate();
openStream();
