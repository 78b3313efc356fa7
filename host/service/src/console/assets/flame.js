// The flame graph: a picture of the host's in a frame of its own, searched from the page.

import { call } from "./api.js";
import { explain, one, say } from "./dom.js";
import { comparison } from "./memory.js";
import { show, state } from "./state.js";

const frame = () => one("#flame-frame");

/** A picture that is hidden would lay itself out for a width of nothing: it goes with its view. */
export function closeFlame() {
  const empty = frame().cloneNode();
  empty.removeAttribute("src");
  empty.addEventListener("load", settle);
  frame().replaceWith(empty);
}

/** Orders the picture and shows it. */
export async function drawFlame() {
  const error = one("#flame-error");
  say(error, "");
  try {
    const { path } = await call("POST", `/console/pictures?${comparison()}`);
    if (state.view === "flame") frame().src = path;
  } catch (problem) {
    say(error, explain(problem));
  }
}

function search() {
  const picture = frame().contentWindow;
  const output = one("#flame-matched");
  if (!picture?.search || !picture.document.getElementById("frames")) return say(output, "");
  try {
    picture.reset_search();
    say(picture.document.getElementById("matched"), " ");
    if (state.term === "") return say(output, "");
    picture.search(state.term);
    say(output, picture.document.getElementById("matched").textContent.trim() || "No match");
  } catch {
    say(output, "This is no regular expression");
  }
}

/** The search field and the picture's size. */
export function startFlame() {
  const term = one("#flame-term");
  term.value = state.term;
  one("#flame-search").addEventListener("submit", (event) => {
    event.preventDefault();
    show({ term: term.value });
    search();
  });
  one("#flame-reset").addEventListener("click", () => {
    const picture = frame().contentWindow;
    if (picture?.unzoom) picture.unzoom();
  });
  frame().addEventListener("load", settle);
}

function settle() {
  const svg = frame().contentDocument?.documentElement;
  const height = Number.parseFloat(svg?.getAttribute("height") ?? "");
  if (height > 0) frame().style.height = `${Math.min(height + 20, 1600)}px`;
  // The picture lays itself out after it has loaded.
  setTimeout(search, 50);
}
