// The exercises: copy a command, or let the page make its calls.

import { call } from "./api.js";
import { all, explain, make, one, runAction, setText } from "./dom.js";
import { count } from "./format.js";
import { onChange, show, state } from "./state.js";
import { send } from "./traffic.js";

/** The most lines of an answer that are shown. */
const MAX_LINES = 60;

/** The command with the address of this page. */
const withOrigin = (text) => text.replaceAll("http://localhost:8080", location.origin);

async function run(steps, result) {
  result.replaceChildren();
  for (const step of steps) {
    if (step.step === "terminal") {
      result.append(make("p", {}, `Run this in a terminal: ${step.line}`));
    } else if (step.times > 1) {
      const sent = await send(step.times);
      result.append(make("p", {}, `${step.path}: ${sent.answered} requests sent`));
      if (sent.answered < step.times) return;
    } else {
      const answer = await call(step.method, step.path, step.body);
      const part = (step.show ?? "").split(".").filter(Boolean).reduce((value, name) => value?.[name], answer);
      const lines = (JSON.stringify(part, null, 2) ?? "null").split("\n");
      const label = `${step.method} ${step.path}${step.show ? ` ${step.show}` : ""}`;
      const text = lines.slice(0, MAX_LINES).join("\n");
      result.append(make("p", {}, label), make("pre", { tabIndex: 0, ariaLabel: "Answer", role: "region" }, text));
      const more = lines.length - MAX_LINES;
      if (more > 0) result.append(make("p", { className: "hint more" }, `${count(more)} more lines. A terminal shows them all.`));
    }
  }
}

function prepareCommand(block) {
  const steps = JSON.parse(block.dataset.steps);
  const code = one("code", block);
  setText(code, withOrigin(code.textContent));
  const result = one(".result", block);
  const copy = one(".copy", block);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent).then(
      () => setText(result, "copied"),
      () => getSelection()?.selectAllChildren(code),
    );
  });
  const button = one(".run", block);
  button?.addEventListener("click", () =>
    runAction(button, null, () =>
      run(steps, result).catch((error) => result.append(make("p", { className: "error" }, explain(error)))),
    ),
  );
}

function open() {
  const panel = one("#exercises");
  panel.hidden = state.exercise === "";
  one("#exercises-toggle").setAttribute("aria-expanded", String(!panel.hidden));
  for (const article of all("[data-text]", panel)) article.hidden = article.dataset.text !== state.exercise;
  for (const link of all("[data-exercise]", panel)) {
    if (link.dataset.exercise === state.exercise) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** The panel with the exercises. */
export function startExercises() {
  all(".command").forEach(prepareCommand);
  one("#exercises-toggle").addEventListener("click", () => show({ exercise: state.exercise ? "" : one("#start").dataset.next || "1" }));
  for (const link of all("[data-exercise]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show({ exercise: link.dataset.exercise });
      one("#exercises").scrollTop = 0;
    });
  }
  onChange((changed) => {
    if (changed.includes("exercise")) open();
  });
  open();
}
