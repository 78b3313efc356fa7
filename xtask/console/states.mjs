// Pictures of the whole life of a host: idle, one leak, three leaks, near its end, and after it.
// Each has to answer by itself what leaks, how fast, where, and when the host dies.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { live, open, until } from "./browser.mjs";

const SCREENS = [
  [390, 844],
  [1024, 768],
  [1440, 900],
];

const LEAKS = ["cache", "listeners", "history"];

/** The memory limit of the lab's container. */
const LIMIT = "256MiB";

/** The share of the limit from which the traffic is slow, so that the end can be looked at. */
const NEARLY_FULL_PERCENT = 86;

/** Seconds to the limit at which the pictures of the end are taken. */
const NEAR_SECONDS = 100;

const pause = (seconds) => new Promise((next) => setTimeout(next, 1000 * seconds));

const freePort = () =>
  new Promise((found) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => found(port));
    });
  });

/** Starts the host. It writes its last readings, so that the next one shows how this one ended. */
async function start({ host, plugins, root }, port, readings) {
  const options = ["--listen", `127.0.0.1:${port}`, "--plugins", plugins, "--source-root", root, "--post-mortem", readings];
  const process = spawn(host, [...options, "--memory-limit", LIMIT, "--log", "error"], { stdio: "ignore" });
  const ended = new Promise((end) => process.once("exit", (code) => end(code)));
  const ready = () => fetch(`http://127.0.0.1:${port}/health/ready`).then((answer) => answer.ok, () => false);
  await until("the host is ready", ready);
  return { process, ended };
}

/** Sends requests at a rate that can be changed, until it is 0. */
class Load {
  rate = 0;
  #timer;
  #sent = 0;
  #open = 0;
  #since = performance.now();

  constructor(base) {
    this.#timer = setInterval(() => {
      const due = ((performance.now() - this.#since) / 1000) * this.rate;
      while (this.#sent < due && this.#open < 8) this.#send(base);
    }, 20);
  }

  set(rate) {
    Object.assign(this, { rate });
    this.#sent = 0;
    this.#since = performance.now();
  }

  async #send(base) {
    this.#sent += 1;
    this.#open += 1;
    await fetch(`${base}/api/data`).then((answer) => answer.text(), () => undefined);
    this.#open -= 1;
  }

  end() {
    clearInterval(this.#timer);
  }
}

const post = (base, path, body) => fetch(base + path, { method: "POST", body: JSON.stringify(body) });

/** Takes the pictures and returns their number. */
export async function takeStates(browser, given) {
  const folder = given.states;
  const port = await freePort();
  const base = `http://127.0.0.1:${port}`;
  const readings = mkdtempSync(join(tmpdir(), "console-states-"));
  let host = await start(given, port, readings);
  const pages = [];
  for (const [width, height] of SCREENS) {
    const { page } = await open(browser, base, "/?window=1m", { width, height });
    pages.push([page, width]);
  }
  let taken = 0;
  const shoot = async (state) => {
    for (const [page, width] of pages) {
      await live(page);
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        await page.screenshot({ path: join(folder, `${state}-${width}-${scheme}.png`) });
        taken += 1;
      }
    }
    const memory = await (await fetch(`${base}/admin/memory`)).json();
    console.log(`${state}: ${memory.verdict.sentence}`);
  };
  const load = new Load(base);
  try {
    await pause(3);
    await shoot("idle");
    await post(base, "/admin/leaks/cache", { enabled: true });
    load.set(40);
    await pause(25);
    await shoot("one-leak");
    for (const leak of LEAKS) await post(base, `/admin/leaks/${leak}`, { enabled: true });
    await pause(20);
    await shoot("three-leaks");
    load.set(200);
    const memory = async () => (await fetch(`${base}/admin/memory`)).json();
    while ((await memory()).process.percent < NEARLY_FULL_PERCENT) await pause(0.5);
    load.set(25);
    await pause(10);
    const left = async () => (await memory()).verdict.seconds_to_limit ?? Infinity;
    while ((await left()) > NEAR_SECONDS) await pause(0.5);
    await shoot("near-death");
    load.set(200);
    const code = await host.ended;
    load.set(0);
    console.log(`the host ended with ${code}`);
    host = await start(given, port, readings);
    for (const [page] of pages) await page.reload();
    for (const [page] of pages) await page.locator("#post-mortem").waitFor();
    await pause(3);
    await shoot("after-death");
  } finally {
    load.end();
    host.process.kill();
    await host.ended;
    rmSync(readings, { recursive: true });
  }
  return taken;
}
