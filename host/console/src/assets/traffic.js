// Requests to the service, from this page: real ones, over HTTP, as any client would send them.

import { all, one, say } from "./dom.js";
import { count } from "./format.js";

/** A browser opens six connections to a host: the stream has one, and the buttons need one. */
const AT_ONCE = 4;

/** A steady rate ends by itself after this. */
const STEADY_MS = 10 * 60 * 1000;

let total = 0;
let open = 0;

/** What was ordered and is not begun yet, oldest first. */
const queue = [];

/** All one-off runs since nothing was left to send, as one; the steady rate. Both stay when they have ended: as a report. */
let batch;
let steady;

const record = () => ({ begun: 0, answered: 0, failed: 0, refused: 0, since: performance.now(), ended: undefined });
const runs = (some) => some !== undefined && some.ended === undefined;

/** Sends requests after those that wait already; resolves when all of them are answered, or when it is stopped. */
export function send(requests) {
  if (!runs(batch)) {
    batch = { ...record(), wanted: 0 };
    // A report that has ended is old when something new begins.
    if (!runs(steady)) steady = undefined;
  }
  batch.wanted += requests;
  return new Promise((done) => {
    queue.push({ left: requests, wanted: requests, answered: 0, done });
    fill();
    show();
  });
}

/** A steady rate keeps one connection for itself, so that a long queue does not hold it up. */
function fill() {
  const room = runs(steady) ? AT_ONCE - 1 : AT_ONCE;
  while (queue.length > 0 && open < room) {
    const [run] = queue;
    run.left -= 1;
    if (run.left === 0) queue.shift();
    const of = batch;
    request(of).finally(() => {
      run.answered += 1;
      if (run.answered === run.wanted) run.done(run);
      if (runs(of) && of.answered === of.wanted) end(of);
    });
  }
}

/** Sends so many requests a second, until it is stopped. */
function steadily(rate) {
  const mine = { ...record(), rate };
  steady = mine;
  if (!runs(batch)) batch = undefined;
  show();
  const timer = setInterval(() => {
    const passed = performance.now() - mine.since;
    if (mine.ended !== undefined || passed > STEADY_MS) {
      clearInterval(timer);
      end(mine);
      return;
    }
    // What could not be sent in time is not made up for: the rate is a limit.
    let due = Math.min((passed / 1000) * rate - mine.begun, rate);
    while (due >= 1 && open < AT_ONCE) {
      due -= 1;
      request(mine);
    }
  }, Math.max(10, Math.min(200, 1000 / rate)));
}

/** Ends what runs and forgets what waits. */
function stop() {
  for (const run of queue.splice(0)) run.done(run);
  if (runs(steady)) end(steady);
  if (runs(batch)) end(batch);
}

function end(some) {
  if (some.ended !== undefined) return;
  some.ended = performance.now();
  show();
  document.dispatchEvent(new CustomEvent("sent"));
}

async function request(of) {
  of.begun += 1;
  open += 1;
  try {
    const response = await fetch("/api/data", { cache: "no-store" });
    const answer = await response.json();
    of.refused += answer.leaks_failed?.length ?? 1;
  } catch {
    of.failed += 1;
  }
  open -= 1;
  of.answered += 1;
  total += 1;
  // What was under way when it was stopped has been sent all the same.
  if (of.answered % 10 === 0 || of.ended !== undefined) show();
  fill();
}

function show() {
  const busy = runs(batch) || runs(steady);
  one("#stop").disabled = !busy;
  one("#steady").disabled = runs(steady);
  const bar = one("#sending");
  bar.hidden = !runs(batch) || batch.wanted === 1;
  if (!bar.hidden) Object.assign(bar, { max: batch.wanted, value: batch.answered });
  const both = [batch, steady].filter((some) => some !== undefined);
  const sum = (name) => both.reduce((all, some) => all + some[name], 0);
  const parts = both.map(said);
  if (sum("failed") > 0) parts.push(`${count(sum("failed"))} failed`);
  if (sum("refused") > 0) parts.push(`${count(sum("refused"))} calls of plugins failed`);
  parts.push(`${count(total)} in all from this page`);
  const output = one("#sent");
  output.classList.toggle("error", sum("failed") > 0);
  say(output, parts.join(", "));
}

/** What one of the two has really sent. */
function said(some) {
  const seconds = ((some.ended ?? performance.now()) - some.since) / 1000;
  const rate = some.answered > 1 ? `, ${(some.answered / Math.max(seconds, 0.001)).toFixed(0)} per second` : "";
  if (some === steady) return `${count(some.answered)} sent steadily${rate}`;
  const of = some.answered < some.wanted ? ` of ${count(some.wanted)}` : "";
  return `${count(some.answered)}${of} sent${of && some.ended !== undefined ? " until stopped" : rate}`;
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
  one("#stop").addEventListener("click", stop);
}
