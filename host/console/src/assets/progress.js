// The progress through the exercises. The host judges each step; the address keeps those that are
// done, so that a reload, a shared link and a restart of the host keep them.

import { call } from "./api.js";
import { all, one, runAction, setText } from "./dom.js";
import { onChange, show, state } from "./state.js";

/** Between two steps in the address. */
const SEPARATOR = "-";

/** The exercise of a learner who has not done any. */
const FIRST = "1";

/** What is missing for each step, by id; null if the host has seen it. Empty at first. */
let missing = {};

const inAddress = () => state.done.split(SEPARATOR).filter((id) => id !== "");

/** The steps that are done, in order. */
function doneSteps() {
  const done = new Set(inAddress());
  const ids = all("[data-step]").map((step) => step.dataset.step);
  return ids.filter((id) => done.has(id) || missing[id] === null);
}

function draw() {
  const done = new Set(doneSteps());
  let finished = 0;
  const articles = all("[data-text]");
  for (const article of articles) {
    const steps = all("[data-step]", article);
    const next = steps.find((step) => !done.has(step.dataset.step));
    const left = steps.filter((step) => !done.has(step.dataset.step)).length;
    if (left === 0) finished += 1;
    for (const step of steps) {
      const id = step.dataset.step;
      step.classList.toggle("done", done.has(id));
      step.classList.toggle("next", step === next);
      const seen = missing[id] === null;
      step.title = done.has(id) && !seen ? "Done before this run of the host, or by the sender of this address" : "";
      showSentence(one(".missing", step), step === next ? (missing[id] ?? "") : "");
    }
    const link = one(`[data-exercise="${article.dataset.text}"]`);
    link.classList.toggle("done", left === 0);
    link.title = left === 0 ? "done" : `${steps.length - left} of ${steps.length} steps done`;
  }
  setText(one("#exercises-progress"), `${finished} of ${articles.length} done`);
  one("#exercises-restart").hidden = done.size === 0;
}

/** Shows a sentence, with what is between backticks as code. */
function showSentence(element, sentence) {
  if (element.dataset.shown === sentence) return;
  element.dataset.shown = sentence;
  element.replaceChildren(
    ...sentence.split("`").map((part, index) => {
      if (index % 2 === 0) return part;
      const code = document.createElement("code");
      code.textContent = part;
      return code;
    }),
  );
}

/** The first exercise with a step that is not done; undefined if all are done. */
function nextExercise() {
  const done = new Set(doneSteps());
  const hasStepLeft = (article) => all("[data-step]", article).some((step) => !done.has(step.dataset.step));
  return all("[data-text]").find(hasStepLeft)?.dataset.text;
}

/** What comes next, while nothing happens: the first exercise, the next one, or more leaks. */
function drawStart() {
  const button = one("#start");
  const next = nextExercise();
  // The open overview counts as a step of the first exercise.
  const begun = next !== FIRST;
  button.dataset.next = next ?? "";
  const title = next === undefined ? "Exercises done: try more leaks" : `${begun ? "Go on with" : "Start"} exercise ${next}`;
  if (button.textContent !== title) setText(button, title);
}

function showUpdate(update) {
  missing = update.steps;
  const nothingHappened = update.requests === 0 && Object.values(update.leaks).every((leak) => !leak.enabled);
  // After a death the first exercise is not what comes next: the banner says what is.
  const isDeath = !one("#post-mortem").hidden && nextExercise() === FIRST;
  one("#start").hidden = !nothingHappened || state.exercise !== "" || isDeath;
  show({ done: doneSteps().join(SEPARATOR) });
  drawStart();
  draw();
}

async function startOver() {
  await call("DELETE", "/admin/exercises");
  missing = {};
  show({ done: "", exercise: "1" });
}

/** The steps in the panel, and the button of an empty page. */
export function startProgress() {
  const start = one("#start");
  start.addEventListener("click", () => {
    start.hidden = true;
    const { next } = start.dataset;
    if (next === "") {
      show({ view: "overview" });
      const catalogue = one("#catalogue");
      catalogue.open = true;
      catalogue.scrollIntoView({ block: "nearest" });
      return;
    }
    show({ exercise: next ?? "1", view: "overview" });
    one("#exercises-title").scrollIntoView({ block: "nearest" });
  });
  const restart = one("#exercises-restart");
  restart.addEventListener("click", () => runAction(restart, one("#exercises-progress"), startOver));
  document.addEventListener("update", (event) => showUpdate(event.detail));
  onChange((changed) => {
    if (changed.includes("done")) draw();
  });
  draw();
}
