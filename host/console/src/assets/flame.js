// The flame graph: a picture of the host's in a frame of its own, searched from the page.

import { call } from "./api.js";
import { explain, one, say } from "./dom.js";
import { comparison, tookPicture } from "./memory.js";
import { show, state } from "./state.js";

const frame = () => one("#flame-frame");

/** The picture is drawn for light: in the dark its page and its own words change, the boxes stay as they are. */
const dark = matchMedia("(prefers-color-scheme: dark)");

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
    if (state.view !== "flame") return;
    frame().src = path;
    tookPicture();
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
  dark.addEventListener("change", dress);
}

/** Takes over what the page says and does itself, and follows its colours. */
function dress() {
  const picture = frame().contentDocument;
  if (picture?.documentElement?.localName !== "svg") return;
  // The page has its own search and its own words: those of the picture do not fit a narrow frame.
  for (const id of ["search", "matched", "subtitle", "title"]) {
    const own = picture.getElementById(id);
    if (own) own.style.display = "none";
  }
  const [ground] = picture.querySelectorAll("svg > rect");
  if (ground) ground.style.fill = dark.matches ? "#19202a" : "#ffffff";
  for (const words of picture.querySelectorAll("svg > text")) words.style.fill = dark.matches ? "#e6ebf2" : "#000000";
}

function settle() {
  const svg = frame().contentDocument?.documentElement;
  say(one("#flame-legend"), svg?.querySelector("#subtitle")?.textContent ?? "");
  dress();
  const height = Number.parseFloat(svg?.getAttribute("height") ?? "");
  if (height > 0) frame().style.height = `${Math.min(height + 20, 1600)}px`;
  // The picture lays itself out after it has loaded.
  setTimeout(search, 50);
}
