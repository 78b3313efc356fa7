// The flame graph: an SVG of the host in a frame, searched from the page.

import { call } from "./api.js";
import { explain, one, setText } from "./dom.js";
import { comparison, restartAge } from "./memory.js";
import { show, state } from "./state.js";

const frame = () => one("#flame-frame");

/** The SVG is drawn for light. In dark mode its background and its text change; the boxes stay. */
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Removes the SVG when its view closes. A hidden SVG would lay itself out for a width of 0. */
export function closeFlame() {
  const empty = frame().cloneNode();
  empty.removeAttribute("src");
  empty.addEventListener("load", afterLoad);
  frame().replaceWith(empty);
}

/** Requests the SVG and shows it. */
export async function drawFlame() {
  const error = one("#flame-error");
  setText(error, "");
  try {
    const query = comparison();
    if (one("#flame-libraries").checked) query.set("libraries", "shown");
    const { path } = await call("POST", `/console/pictures?${query}`);
    if (state.view !== "flame") return;
    frame().src = path;
    restartAge();
  } catch (problem) {
    setText(error, explain(problem));
  }
}

function search() {
  const picture = frame().contentWindow;
  const output = one("#flame-matched");
  if (!picture?.search || !picture.document.getElementById("frames")) return setText(output, "");
  try {
    picture.reset_search();
    setText(picture.document.getElementById("matched"), " ");
    if (state.term === "") return setText(output, "");
    picture.search(state.term);
    setText(output, picture.document.getElementById("matched").textContent.trim() || "No match");
  } catch {
    setText(output, "Not a regular expression");
  }
}

/** The search field and the size of the frame. */
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
  one("#flame-libraries").addEventListener("change", drawFlame);
  frame().addEventListener("load", afterLoad);
  dark.addEventListener("change", adaptToPage);
}

/** Hides the SVG's own search and texts, which do not fit a narrow frame, and applies dark mode. */
function adaptToPage() {
  const picture = frame().contentDocument;
  if (picture?.documentElement?.localName !== "svg") return;
  for (const id of ["search", "matched", "subtitle", "title"]) {
    const own = picture.getElementById(id);
    if (own) own.style.display = "none";
  }
  const [background] = picture.querySelectorAll("svg > rect");
  if (background) background.style.fill = dark.matches ? "#19202a" : "#ffffff";
  for (const text of picture.querySelectorAll("svg > text")) text.style.fill = dark.matches ? "#e6ebf2" : "#000000";
}

function afterLoad() {
  const svg = frame().contentDocument?.documentElement;
  setText(one("#flame-legend"), svg?.querySelector("#subtitle")?.textContent ?? "");
  adaptToPage();
  const height = Number.parseFloat(svg?.getAttribute("height") ?? "");
  if (height > 0) frame().style.height = `${Math.min(height + 20, 1600)}px`;
  // The SVG's script lays it out after the load event.
  setTimeout(search, 50);
}
