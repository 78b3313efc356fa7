// Starts the page: the views, and the event stream with its connection state.

import { startAlerts } from "./alerts.js";
import { useToken } from "./api.js";
import { all, explain, one, setText } from "./dom.js";
import { startExercises } from "./exercises.js";
import { closeFlame, drawFlame, startFlame } from "./flame.js";
import { startMemory } from "./memory.js";
import { momentQuery, startMoment } from "./moment.js";
import { startMystery } from "./mystery.js";
import { showUpdate, startOverview } from "./overview.js";
import { startPlugins } from "./plugins.js";
import { startPostMortemBanner } from "./post_mortem_banner.js";
import { startProgress } from "./progress.js";
import { startSource } from "./source.js";
import { onChange, show, state } from "./state.js";
import { EventStream } from "./stream.js";
import { startTraffic } from "./traffic.js";
import { startVerdict } from "./verdict.js";

const narrow = matchMedia("(max-width: 700px)");
const stream = new EventStream(showUpdate, showConnection);

function showConnection(state, error) {
  const live = state === "live";
  const badge = one("#connection");
  setText(badge, live ? "live" : "disconnected");
  badge.className = `state ${live ? "good" : "bad"}`;
  document.body.classList.toggle("stale", !live);
  const banner = one("#banner");
  banner.hidden = live || error.status === 401;
  if (!banner.hidden) {
    const reason = error.name === "AbortError" ? "The host has sent nothing for some seconds" : explain(error);
    setText(banner, `${reason}. The numbers are out of date. Reconnecting…`);
  }
}

const openStream = () => stream.open(new URLSearchParams({ window: state.window, wide: String(!narrow.matches), ...momentQuery() }));

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
  if (changed.includes("window") || changed.includes("at")) openStream();
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
  // Repeats every call that was refused.
  location.reload();
});
narrow.addEventListener("change", openStream);
// A hidden page needs no updates.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.stop();
  else openStream();
});

startMoment();
showView();
startTraffic();
// Before the overview: its columns depend on the width that the exercises leave.
startExercises();
startProgress();
startOverview();
startAlerts();
startFlame();
startSource();
startMemory(drawFlame);
startPlugins();
startMystery();
startPostMortemBanner();
startVerdict();
openStream();
