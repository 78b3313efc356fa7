// Requests to the service, from this page: real ones, over HTTP, as any client would send them.

import { all, one, say } from "./dom.js";
import { count } from "./format.js";

/** A browser opens six connections to a host: the stream has one, and the buttons need one. */
const AT_ONCE = 4;

/** A steady rate ends by itself after this. */
const STEADY_MS = 10 * 60 * 1000;

const total = { sent: 0, failed: 0, refused: 0 };
let run;

/** Sends requests, as fast as they are answered; resolves when all are, or when it is stopped. */
export async function send(requests) {
  const mine = begin();
  let left = requests;
  const bar = one("#sending");
  bar.hidden = requests === 1;
  bar.max = requests;
  const worker = async () => {
    while (left > 0 && run === mine) {
      left -= 1;
      await request(mine);
      bar.value = mine.answered;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  finish(mine);
  return mine;
}

/** Sends so many requests a second, until it is stopped. */
function steadily(rate) {
  const mine = begin();
  one("#steady").disabled = true;
  const started = performance.now();
  let due = 0;
  let open = 0;
  const tick = () => {
    const passed = performance.now() - started;
    if (run !== mine || passed > STEADY_MS) {
      clearInterval(timer);
      finish(mine);
      return;
    }
    // What could not be sent in time is not made up for: the rate is a limit.
    due = Math.min((passed / 1000) * rate - mine.begun, rate);
    while (due >= 1 && open < AT_ONCE) {
      due -= 1;
      open += 1;
      request(mine).finally(() => {
        open -= 1;
      });
    }
  };
  const timer = setInterval(tick, Math.max(10, Math.min(200, 1000 / rate)));
}

function begin() {
  run = { begun: 0, answered: 0, failed: 0, refused: 0, since: performance.now() };
  one("#stop").disabled = false;
  return run;
}

function finish(mine) {
  if (run !== mine) return;
  run = undefined;
  one("#stop").disabled = true;
  one("#steady").disabled = false;
  one("#sending").hidden = true;
  report(mine);
}

async function request(mine) {
  mine.begun += 1;
  try {
    const response = await fetch("/api/data", { cache: "no-store" });
    const answer = await response.json();
    mine.refused += answer.leaks_failed?.length ?? 1;
  } catch {
    mine.failed += 1;
    total.failed += 1;
  }
  mine.answered += 1;
  total.sent += 1;
  if (mine.answered % 10 === 0) report(mine);
}

function report(mine) {
  const seconds = (performance.now() - mine.since) / 1000;
  const rate = mine.answered / Math.max(seconds, 0.001);
  const parts = [`${count(mine.answered)} sent`];
  if (mine.answered > 1) parts.push(`${rate.toFixed(0)} per second`);
  if (mine.failed > 0) parts.push(`${count(mine.failed)} failed`);
  if (mine.refused > 0) parts.push(`${count(mine.refused)} calls of plugins failed`);
  parts.push(`${count(total.sent)} in all from this page`);
  const output = one("#sent");
  output.classList.toggle("error", mine.failed > 0);
  say(output, parts.join(", "));
}

/** The buttons. */
export function startTraffic() {
  for (const button of all("[data-send]")) {
    button.addEventListener("click", () => send(Number(button.dataset.send)));
  }
  const rate = one("#rate");
  one("#steady").addEventListener("click", () => {
    if (rate.reportValidity()) steadily(Number(rate.value));
  });
  one("#stop").addEventListener("click", () => {
    const mine = run;
    if (mine) finish(mine);
  });
}
