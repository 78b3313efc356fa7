// Requests from this page to the service, over HTTP as from any other client.

import { all, one, setText } from "./dom.js";
import { count } from "./format.js";

/** A browser opens six connections to a host. The event stream and the buttons need one each. */
const MAX_OPEN = 4;

/** A steady rate ends after this time. */
const STEADY_TIMEOUT_MS = 10 * 60 * 1000;

/** Answered requests of this page, failed ones included. */
let total = 0;

/** Requests without an answer yet. */
let open = 0;

/** Batches with requests that are not sent yet, oldest first. */
const queue = [];

/**
 * The batches since the queue was last empty, counted together; and the steady rate. Both stay as a
 * report when they end.
 */
let batch;
let steady;

const newRun = () => ({ sent: 0, answered: 0, failed: 0, failedCalls: 0, since: performance.now(), ended: undefined });
const isRunning = (run) => run !== undefined && run.ended === undefined;

/** Sends requests after those in the queue. Resolves when all are answered or stopped. */
export function send(requests) {
  if (!isRunning(batch)) {
    batch = { ...newRun(), wanted: 0 };
    // The report of a steady rate that has ended is out of date.
    if (!isRunning(steady)) steady = undefined;
  }
  batch.wanted += requests;
  return new Promise((done) => {
    queue.push({ left: requests, wanted: requests, answered: 0, done });
    fill();
    report();
  });
}

/** Sends queued requests on the free connections. One is kept for a steady rate. */
function fill() {
  const limit = isRunning(steady) ? MAX_OPEN - 1 : MAX_OPEN;
  while (queue.length > 0 && open < limit) {
    const [part] = queue;
    part.left -= 1;
    if (part.left === 0) queue.shift();
    const run = batch;
    request(run).finally(() => {
      part.answered += 1;
      if (part.answered === part.wanted) part.done(part);
      if (isRunning(run) && run.answered === run.wanted) end(run);
    });
  }
}

/** Sends `rate` requests per second until it is stopped. */
function startSteady(rate) {
  const run = { ...newRun(), rate };
  steady = run;
  if (!isRunning(batch)) batch = undefined;
  report();
  const timer = setInterval(() => {
    const passed = performance.now() - run.since;
    if (run.ended !== undefined || passed > STEADY_TIMEOUT_MS) {
      clearInterval(timer);
      end(run);
      return;
    }
    // At most one second's requests are caught up: the rate is a limit.
    let due = Math.min((passed / 1000) * rate - run.sent, rate);
    while (due >= 1 && open < MAX_OPEN) {
      due -= 1;
      request(run);
    }
  }, Math.max(10, Math.min(200, 1000 / rate)));
}

/** Ends both runs and empties the queue. */
function stop() {
  for (const part of queue.splice(0)) part.done(part);
  if (isRunning(steady)) end(steady);
  if (isRunning(batch)) end(batch);
}

function end(run) {
  if (run.ended !== undefined) return;
  run.ended = performance.now();
  report();
  document.dispatchEvent(new CustomEvent("sent"));
}

async function request(run) {
  run.sent += 1;
  open += 1;
  try {
    const response = await fetch("/api/data", { cache: "no-store" });
    const answer = await response.json();
    run.failedCalls += answer.leaks_failed?.length ?? 1;
  } catch {
    run.failed += 1;
  }
  open -= 1;
  run.answered += 1;
  total += 1;
  // Requests that were open when the run was stopped still count.
  if (run.answered % 10 === 0 || run.ended !== undefined) report();
  fill();
}

/** Updates the buttons, the progress bar and the text. */
function report() {
  const busy = isRunning(batch) || isRunning(steady);
  one("#stop").disabled = !busy;
  one("#steady").disabled = isRunning(steady);
  const bar = one("#sending");
  bar.hidden = !isRunning(batch) || batch.wanted === 1;
  if (!bar.hidden) Object.assign(bar, { max: batch.wanted, value: batch.answered });
  const runs = [batch, steady].filter((run) => run !== undefined);
  const sum = (name) => runs.reduce((sum, run) => sum + run[name], 0);
  const parts = runs.map(describe);
  if (sum("failed") > 0) parts.push(`${count(sum("failed"))} failed`);
  if (sum("failedCalls") > 0) parts.push(`${count(sum("failedCalls"))} plugin calls failed`);
  parts.push(`${count(total)} in total`);
  const output = one("#sent");
  output.classList.toggle("error", sum("failed") > 0);
  setText(output, parts.join(", "));
}

/** The progress of one run: `120 of 500 sent, 240 per second`. */
function describe(run) {
  const seconds = ((run.ended ?? performance.now()) - run.since) / 1000;
  const rate = run.answered > 1 ? `, ${(run.answered / Math.max(seconds, 0.001)).toFixed(0)} per second` : "";
  if (run === steady) return `${count(run.answered)} sent at a steady rate${rate}`;
  const wanted = run.answered < run.wanted ? ` of ${count(run.wanted)}` : "";
  return `${count(run.answered)}${wanted} sent${wanted && run.ended !== undefined ? " until stopped" : rate}`;
}

/** The buttons. */
export function startTraffic() {
  for (const button of all("[data-send]")) {
    button.addEventListener("click", () => send(Number(button.dataset.send)));
  }
  const rate = one("#rate");
  one("#steady").addEventListener("click", () => {
    if (rate.reportValidity()) startSteady(Number(rate.value));
  });
  one("#stop").addEventListener("click", stop);
}
