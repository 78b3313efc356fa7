// A Chromium that opens the console, and records messages, errors and requests that must not occur.

import { createRequire } from "node:module";

/** Of every wait for the page. Long, because a busy machine is slow. */
const TIMEOUT_MS = 30_000;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The options of `main.mjs`, `--name value` each. */
export function options() {
  const given = process.argv.slice(2);
  return Object.fromEntries(
    given.filter((word) => word.startsWith("--")).map((word) => [word.slice(2), given[given.indexOf(word) + 1]]),
  );
}

/** Starts the browser with a new profile, which is deleted when it ends. */
export async function launch({ tools, chromium }) {
  const require = createRequire(`${tools}/`);
  const playwright = require("playwright-core");
  const browser = await playwright.chromium.launch({ executablePath: chromium, headless: true, args: FLAGS });
  return { browser, axe: require.resolve("axe-core/axe.min.js") };
}

/**
 * Opens a page. `recorded` has the messages on the browser's console, the errors of scripts, and
 * the requests to other hosts.
 */
export async function open(browser, base, path, { width = 1280, height = 900, scheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  const recorded = { messages: [], errors: [], otherHosts: [] };
  page.on("console", (message) => recorded.messages.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => recorded.errors.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${base}/`)) recorded.otherHosts.push(request.url());
  });
  await page.goto(base + path);
  return { page, recorded, close: () => context.close() };
}

/** Waits until the page receives updates from the host. */
export const live = (page) => page.locator("#connection", { hasText: /^live$/ }).waitFor();

/** Evaluates `condition` every 100 ms until its value is true, and returns the value. */
export async function until(what, condition) {
  const end = Date.now() + TIMEOUT_MS;
  let last;
  while (Date.now() < end) {
    last = await condition();
    if (last) return last;
    await new Promise((next) => setTimeout(next, 100));
  }
  throw new Error(`${what}: not within ${TIMEOUT_MS / 1000} s, last ${JSON.stringify(last)}`);
}

/** Throws an error with this message if the condition is false. */
export function check(condition, message) {
  if (!condition) throw new Error(message);
}
