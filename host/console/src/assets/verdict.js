// The verdict on top of every view: what leaks, where, how fast, and when it ends.

import { make, one, setText } from "./dom.js";
import { duration } from "./format.js";
import { show } from "./state.js";

const TITLE = document.title;

/** The plugin that the link leads to. */
let plugin = "";

/** Shows the verdict of an update. */
export function showVerdict(verdict) {
  const banner = one("#verdict");
  banner.hidden = false;
  banner.className = `verdict ${verdict.severity}`;
  const left = verdict.severity === "calm" ? null : verdict.seconds_to_limit;
  plugin = verdict.plugin ?? "";
  const lasting = verdict.severity === "calm" ? verdict.sentence : withoutTime(verdict.sentence);
  // Announced by screen readers when it changes, so it has no number that changes every second.
  showSentence(one("#verdict-sentence"), lasting);
  setText(one("#verdict-left"), left === null ? "" : left === 0 ? "at the limit" : `${duration(left)} left`);
  one("#verdict-lines").hidden = plugin === "" || verdict.severity === "calm";
  const evidence = one("#verdict-evidence");
  const text = verdict.evidence.join("\n");
  if (evidence.dataset.shown !== text) {
    evidence.dataset.shown = text;
    evidence.replaceChildren(...verdict.evidence.map((sentence) => make("li", {}, sentence)));
  }
  one("#verdict-details").hidden = verdict.evidence.length === 0;
  document.title = title(verdict, left);
}

function title(verdict, left) {
  if (verdict.severity === "calm") return TITLE;
  const what = verdict.sentence.split(/[,;]/)[0];
  return `${left === null ? "" : `${duration(left)} left: `}${what} – ${TITLE}`;
}

/** The sentence without its end, which says when: the countdown has it. */
const withoutTime = (sentence) => sentence.replace(/ in [\d]+ (s|min|h|days)( \d+ min)?$/, "");

/** Shows a sentence with its source line, which is between backticks, as code. */
function showSentence(element, sentence) {
  if (element.dataset.shown === sentence) return;
  element.dataset.shown = sentence;
  const parts = sentence.split("`");
  element.replaceChildren(...parts.map((part, index) => (index % 2 === 1 ? make("code", {}, part) : unbroken(part))));
}

/** A number stays on the line of its unit. */
const unbroken = (text) => text.replace(/(\d) (?=[KMGTPE]?i?B\b)/g, "$1\u00a0");

/** The link to the lines of the plugin. */
export function startVerdict() {
  one("#verdict-lines").addEventListener("click", () => show({ view: "memory", plugin }));
}
