// A Chromium that opens the console and keeps account of everything that should not be there.

import { createRequire } from "node:module";

/** A loaded machine is slow, not wrong. */
export const PATIENCE_MS = 30_000;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** What `main.mjs` was called with. */
export function options() {
  const given = process.argv.slice(2);
  return Object.fromEntries(
    given.filter((word) => word.startsWith("--")).map((word) => [word.slice(2), given[given.indexOf(word) + 1]]),
  );
}

/** Starts the browser; its profile is a fresh folder that goes with it. */
export async function launch({ tools, chromium }) {
  const require = createRequire(`${tools}/`);
  const playwright = require("playwright-core");
  const browser = await playwright.chromium.launch({ executablePath: chromium, headless: true, args: FLAGS });
  return { browser, axe: require.resolve("axe-core/axe.min.js") };
}

/**
 * Opens a page. `account.messages` are those on the browser's console, `account.elsewhere` the requests that left the
 * host, `account.errors` what broke in a script.
 */
export async function open(browser, base, path, { width = 1280, height = 900, scheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const account = { messages: [], elsewhere: [], errors: [] };
  page.on("console", (message) => account.messages.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => account.errors.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${base}/`)) account.elsewhere.push(request.url());
  });
  await page.goto(base + path);
  return { page, account, close: () => context.close() };
}

/** Waits until the page shows what the host says. */
export const live = (page) => page.locator("#connection", { hasText: /^live$/ }).waitFor();

/** Waits for a condition about the page, asked again and again. */
export async function until(what, ask) {
  const end = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < end) {
    last = await ask();
    if (last) return last;
    await new Promise((next) => setTimeout(next, 100));
  }
  throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s, last ${JSON.stringify(last)}`);
}

/** An error with its reason, unless it holds. */
export function check(holds, what) {
  if (!holds) throw new Error(what);
}
