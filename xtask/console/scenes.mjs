// What a person does with the console, and what the page must show.

import { check, live, open, until } from "./browser.mjs";
import { BANNER, BANNER_CLOSE, TEXTS } from "./page.mjs";

const field = (page, plugin, name) => page.locator(`[data-plugin="${plugin}"] [data-field="${name}"]`);
const text = async (locator) => (await locator.textContent()).trim();
const retainedIs = (page, plugin, wanted) =>
  until(`${plugin} retains ${wanted}`, async () => (await text(field(page, plugin, "retained"))).includes(wanted));

/** Converts `5.1 MiB` to bytes. */
function bytes(size) {
  const [number, unit] = size.replace("−", "-").replace("+", "").split(" ");
  return Number(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].indexOf(unit);
}

async function fresh(page, base) {
  await page.request.post(`${base}/admin/reset`, { data: {} });
  await page.goto(`${base}/`);
  await live(page);
  await page.locator("#plugins li").first().waitFor();
  // The first update can be from before the reset.
  await until("every leak is off", async () => (await page.locator("[data-switch]:checked").count()) === 0);
}

/** The whole way from `/` to the source line of a leak, with the clicks counted. */
async function fourClicks(page, base, note) {
  await fresh(page, base);
  let clicks = 0;
  const click = async (locator) => {
    clicks += 1;
    await locator.click();
  };
  await click(page.locator('[data-plugin="cache"] [data-switch]'));
  await field(page, "cache", "state").getByText("leaking").waitFor();
  await click(page.locator('[data-send="50"]'));
  await retainedIs(page, "cache", "50 entries");
  await click(page.locator('[data-go="memory"]'));
  await click(page.locator("#growing button.link").first());
  const line = page.locator("#source-text mark");
  await line.waitFor();
  const location = await text(page.locator("#source-title"));
  check(location.startsWith("plugins/cache/src/lib.rs:"), `the line is the plugin's own: ${location}`);
  check((await text(line)).includes("payload"), `the line is shown: ${await text(line)}`);
  check((await text(line)).startsWith(location.split(":")[1]), "the line has its number");
  check((await text(page.locator("#source-stacks"))).includes("on_request"), "the call stack is shown");
  check(clicks <= 4, `${clicks} clicks`);
  note(`${clicks} clicks from / to the source line, including the switch`);
}

async function chartsMove(page, base) {
  await fresh(page, base);
  await page.locator('[data-plugin="listeners"] [data-switch]').click();
  const chart = page.locator('[data-plugin="listeners"] svg.chart');
  await chart.waitFor();
  const before = await chart.getAttribute("aria-label");
  const rss = await page.locator("#chart-process svg").getAttribute("aria-label");
  await page.locator('[data-send="500"]').click();
  await retainedIs(page, "listeners", "500 callbacks");
  const moved = async (locator, was) => (await locator.getAttribute("aria-label")) !== was;
  await until("the chart has moved", () => moved(chart, before));
  await until("the process's chart has moved", () => moved(page.locator("#chart-process svg"), rss));
  check((await chart.locator("polyline").count()) >= 3, "three lines");
  const words = (await chart.locator("text").allTextContents()).map((word) => word.trim());
  check(words.some((word) => word.includes("MiB")) && words.some((word) => word.includes("now")), `units: ${words}`);
  check((await page.locator("#events").textContent()).includes(TEXTS.switchedOn), "the event is listed");
  check(words.includes(TEXTS.marker), `the event is marked: ${words}`);
}

async function steadyRate(page, base) {
  await fresh(page, base);
  await page.locator("#rate").fill("50");
  await page.locator("#steady").click();
  await until("requests are sent", async () => /\d\d sent/.test(await text(page.locator("#sent"))));
  await page.locator("#stop").click();
  check(await page.locator("#steady").isEnabled(), "it can be started again");
  const sent = async () => Number((await text(page.locator("#process-numbers [data-field=requests]"))).replace(",", ""));
  const stopped = await until("the number of requests stays the same", async () => {
    const before = await sent();
    await page.waitForTimeout(1500);
    return before === (await sent()) && before;
  });
  check(stopped > 0, "requests were counted");
}

/** The number of requests that the page shows as sent in total. */
const sentInTotal = async (page) => Number(TEXTS.total.exec(await text(page.locator("#sent")))[1].replaceAll(",", ""));

async function runsAddUp(page, base) {
  await fresh(page, base);
  const served = async () => Number((await text(page.locator("#process-numbers [data-field=requests]"))).replaceAll(",", ""));
  const start = await served();
  const sent = page.locator("#sent");
  await page.locator('[data-send="500"]').click();
  await page.locator('[data-send="50"]').click();
  await page.locator("#stop:disabled").waitFor();
  check(/^550 sent/.test(await text(sent)), await text(sent));
  await page.locator("#rate").fill("40");
  await page.locator("#steady").click();
  await page.locator('[data-send="1"]').click();
  await until("the single request is answered", async () => /^1 sent/.test(await text(sent)));
  check(await page.locator("#stop").isEnabled(), "the steady rate continues");
  const steadily = async () => Number(TEXTS.steadily.exec(await text(sent))?.[1] ?? 0);
  const before = await steadily();
  await until("more are sent steadily", async () => (await steadily()) > before + 20);
  await page.locator('[data-send="500"]').click();
  await page.locator("#stop").click();
  check(await page.locator("#steady").isEnabled(), "stop ends both");
  await page.waitForTimeout(500);
  const [total, shown] = [await sentInTotal(page), await text(sent)];
  check(total > 550 && total < 1200, shown);
  await until(`the host counts as many as the page: ${shown}`, async () => (await served()) - start === total);
}

async function columnsAndFolding(page, base) {
  await fresh(page, base);
  const row = page.locator('[data-plugin="sessions"]');
  // Without retained objects the page offers no clear.
  await page.request.post(`${base}/admin/leaks/clear`, { data: {} });
  for (const what of ["gc", "reset"]) {
    await page.locator(`[data-all="${what}"]`).click();
    await until(`${what} is done`, async () => (await page.locator(`[data-all="${what}"]`).isEnabled()) && (await text(page.locator("#all-result"))) !== "");
  }
  await page.waitForTimeout(2500);
  check(await row.locator(".numbers").isHidden(), "a plugin that was never on stays folded");
  await page.setViewportSize({ width: 360, height: 900 });
  const top = async (selector) => (await page.locator(selector).boundingBox()).y;
  check((await top("#leaks")) < (await top("#process")), "with one column the switches come first");
  await page.setViewportSize({ width: 1280, height: 900 });
  const across = async (selector) => (await page.locator(selector).boundingBox()).x;
  check((await across("#process")) > (await across("#leaks")), "with two columns it is next to the plugins");
}

async function compareWithBaseline(page, base) {
  await fresh(page, base);
  await page.locator('[data-plugin="cache"] [data-switch]').click();
  await page.locator('[data-send="50"]').click();
  await retainedIs(page, "cache", "50 entries");
  await page.locator('[data-go="memory"]').click();
  await page.locator("#baseline-name").fill("before");
  await page.locator("#baseline-set").click();
  await page.locator("#baseline-result", { hasText: "before:" }).waitFor();
  await page.locator('[data-send="50"]').click();
  await page.locator("#sent", { hasText: "50 sent" }).waitFor();
  await page.locator("#stop:disabled").waitFor();
  const first = page.locator("#growing tbody tr").first();
  // The table is updated at the end of the run, without a click.
  await until("fifty more objects", async () => (await first.textContent().catch(() => "")).includes("+50"));
  check((await first.textContent()).includes("plugins/cache/src/lib.rs:"), "the plugin's line comes first");
  check(page.url().includes("against=baseline%3Abefore"), `the address names the baseline: ${page.url()}`);
  await page.reload();
  await first.waitFor();
  check((await first.textContent()).includes("+50"), "the address restores the comparison");
}

async function flameGraph(page, base) {
  await page.goto(`${base}/?view=flame&against=live`);
  const picture = page.frameLocator("#flame-frame");
  await picture.locator("#frames").waitFor();
  await page.locator("#flame-term").fill("on_request");
  await page.locator("#flame-term").press("Enter");
  await page.locator("#flame-matched", { hasText: TEXTS.matched }).waitFor();
  await picture.locator("#frames g", { hasText: "plugins/cache" }).first().locator("rect").click({ force: true });
  await picture.locator("#unzoom:not(.hide)").waitFor();
  await page.locator("#flame-reset").click();
  await picture.locator("#unzoom.hide").waitFor({ state: "attached" });
  await page.locator("#against").selectOption("since:5m");
  await page.locator("#flame-legend", { hasText: TEXTS.flameLegend }).waitFor();
  const drawn = () => page.locator("#flame-frame").getAttribute("src");
  const before = await drawn();
  await page.locator('[data-send="50"]').click();
  await until("the end of a run redraws it", async () => (await drawn()) !== before);
}

async function clearAndCollect(page, base) {
  await page.goto(`${base}/`);
  await live(page);
  const linear = async () => bytes(await text(field(page, "cache", "linear")));
  await page.locator('[data-send="500"]').click();
  await until("linear memory has grown", async () => (await linear()) > 2 * 1024 ** 2);
  await page.locator("#stop:disabled").waitFor();
  const before = await linear();
  const row = page.locator('[data-plugin="cache"]');
  await row.locator("[data-switch]").click();
  await row.locator('[data-do="clear"]').click();
  await field(page, "cache", "result").getByText(TEXTS.dropped).waitFor();
  await until("nothing is retained", async () => (await text(field(page, "cache", "retained"))).startsWith("0 B"));
  check((await linear()) >= before, "clear does not shrink linear memory");
  await page.locator('[data-all="gc"]').click();
  await page.locator("#all-result", { hasText: "cache" }).waitFor();
  await until("linear memory has fallen", async () => (await linear()) < before);
  for (const event of TEXTS.clearEvents) {
    await page.locator("#events li", { hasText: event }).first().waitFor();
  }
}

async function settings(page, base) {
  await fresh(page, base);
  const row = page.locator('[data-plugin="cache"]');
  await row.locator('[data-do="settings"]').click();
  await row.getByLabel("payload_bytes").fill("1024");
  await row.getByLabel("Variant variant", { exact: true }).selectOption("fixed");
  await row.getByLabel("max_mb").fill("1");
  await row.getByRole("button", { name: "Apply" }).click();
  await row.locator(".settings output", { hasText: TEXTS.applied }).waitFor();
  const status = await (await page.request.get(`${base}/admin/leaks/status`)).json();
  const { payload_bytes, variant, max_mb } = status.leaks.cache.settings;
  check(payload_bytes === 1024 && variant === "fixed" && max_mb === 1, JSON.stringify(status.leaks.cache.settings));
  await field(page, "cache", "variant").getByText("fixed").waitFor();
}

async function exhaustion(page, base) {
  await fresh(page, base);
  const row = page.locator('[data-plugin="history"]');
  await row.locator('[data-do="settings"]').click();
  await row.getByLabel("memory_limit_mb").fill("2");
  await row.getByRole("button", { name: "Apply" }).click();
  await row.locator(".settings output", { hasText: TEXTS.applied }).waitFor();
  await row.locator("[data-switch]").click();
  await page.locator('[data-send="500"]').click();
  await field(page, "history", "state").getByText("exhausted").waitFor();
  await field(page, "history", "reason").getByText(TEXTS.resetHint).waitFor();
  await page.locator("#events li", { hasText: TEXTS.exhaustedEvent }).waitFor();
  await page.locator("#sent", { hasText: TEXTS.failedCalls }).waitFor();
  await row.locator('[data-do="reset"]').click();
  await field(page, "history", "result").getByText(TEXTS.newInstance).waitFor();
  await until("it runs again", async () => (await text(field(page, "history", "state"))) === "leaking");
}

async function exercises(page, base) {
  await fresh(page, base);
  await page.locator("#exercises-toggle").click();
  await page.locator('[data-exercise="4"]').click();
  check(page.url().includes("exercise=4"), `the address names the exercise: ${page.url()}`);
  await page.locator('[data-exercise="2"]').click();
  const block = page.locator('[data-text="2"] .command').first();
  check((await block.textContent()).includes(`${base}/admin/leaks/cache`), "the command names this host");
  await block.locator(".run").click();
  await block.locator(".result", { hasText: '"enabled": true' }).waitFor();
  await field(page, "cache", "state").getByText("leaking").waitFor();
}

async function keyboard(page, base) {
  await fresh(page, base);
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.className)) === "skip", "the first Tab stop leads to the content");
  await page.locator('[data-plugin="cache"] [data-switch]').focus();
  await page.keyboard.press("Space");
  await field(page, "cache", "state").getByText("leaking").waitFor();
  // The button comes with the first object that the leak retains.
  await page.request.get(`${base}/api/data`);
  const clear = page.locator('[data-plugin="cache"] [data-do="clear"]');
  await until("the plugin can be cleared", async () => (await clear.isVisible()) && (await clear.isEnabled()));
  await page.keyboard.press("Tab");
  const named = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? "");
  check((await named()) === "Clear: cache", `a button names its plugin: ${await named()}`);
}

/** Names and functions. They run in this order, in one page without messages. */
export const scenes = [
  ["from / to the source line in four clicks", fourClicks],
  ["count and charts move when a leak is on and requests are sent", chartsMove],
  ["a steady rate starts and stops", steadyRate],
  ["runs add up while a steady rate continues", runsAddUp],
  ["in one column the switches come first, and plugins that were never on stay folded", columnsAndFolding],
  ["the plugin's line grew since the baseline", compareWithBaseline],
  ["the flame graph can be searched and zoomed", flameGraph],
  ["clear drops retained objects, gc returns memory", clearAndCollect],
  ["settings of every type are applied", settings],
  ["a plugin without memory is shown as exhausted, and reset starts a new instance", exhaustion],
  ["an exercise runs from the page", exercises],
  ["the page can be used by keyboard", keyboard],
];

/** Scenes with errors on purpose, each in its own page. */
export const failureScenes = [
  [
    "the end of the previous run is shown, with the lines that held memory, until it is dismissed",
    async (browser, { base }) => {
      const { page, close } = await open(browser, base, "/health");
      // Tests without a browser cover the report itself. This is one in the same format.
      const postMortem = {
        status: "found",
        message: "The previous run ended without a message at 97 % of its memory limit: probably killed.",
        cause: null,
        last_seen: new Date(Date.now() - 200_000).toISOString(),
        last: {
          memory: {
            process: { rss_bytes: 260_000_000 },
            verdict: { severity: "critical", plugin: "cache", sentence: "cache leaks 5.0 KiB per request, `plugins/cache/src/lib.rs:67`" },
            heap: { top_allocations: [{ location: "plugins/cache/src/lib.rs:67", size_bytes: 5_000_000, count: 9, plugin: "cache" }] },
          },
        },
      };
      await page.route("**/admin/post-mortem", (route) => route.fulfill({ json: postMortem }));
      await page.goto(`${base}/`);
      const banner = page.locator(BANNER);
      await banner.waitFor();
      const words = await text(banner);
      for (const part of ["97 %", "248.0 MiB resident", "3 min 2", "4.8 MiB", "plugins/cache/src/lib.rs:67", "Its last verdict: cache leaks 5.0 KiB"]) {
        check(words.includes(part), `${part}: ${words}`);
      }
      await banner.getByRole("button", { name: "plugins/cache/src/lib.rs:67" }).first().click();
      await page.locator("#source-title", { hasText: "plugins/cache/src/lib.rs:67" }).waitFor();
      await page.locator(BANNER_CLOSE).click();
      await banner.waitFor({ state: "hidden" });
      await page.reload();
      await live(page);
      check(await banner.isHidden(), "it stays dismissed");
      await close();
    },
  ],
  [
    "an error of the API is shown unchanged, with its hint",
    async (browser, { base }) => {
      const { page, close } = await open(browser, base, "/?view=memory&against=baseline%3Anope");
      const summary = page.locator("#memory-summary.error");
      await summary.waitFor();
      check(/no baseline.*nope.*PUT \/admin\/memory\/baselines/.test(await summary.textContent()), await summary.textContent());
      await close();
    },
  ],
  [
    "a lost connection is shown and restored",
    async (browser, { base }) => {
      const { page, close } = await open(browser, base, "/");
      await live(page);
      await page.context().setOffline(true);
      await page.evaluate(() => document.querySelector('[data-send="1"]').click());
      // An open stream survives offline mode. The page opens another one when the window changes.
      await page.locator('[name="window"][value="1m"]').check();
      await page.locator("#banner", { hasText: TEXTS.reconnecting }).waitFor();
      check((await text(page.locator("#connection"))) === TEXTS.disconnected, "the state is shown");
      await page.context().setOffline(false);
      await live(page);
      check(await page.locator("#banner").isHidden(), "the banner is hidden again");
      await close();
    },
  ],
  [
    "a host with a token asks for it",
    async (browser, { guarded, token }) => {
      const { page, close } = await open(browser, guarded, "/");
      await page.locator("#token-value").fill("wrong");
      await page.locator('#token button[type="submit"]').click();
      await page.locator("#token-error", { hasText: "token" }).waitFor();
      await page.locator("#token-value").fill(token);
      await page.locator('#token button[type="submit"]').click();
      await live(page);
      await page.locator('[data-plugin="cache"] [data-switch]').click();
      await field(page, "cache", "state").getByText("leaking").waitFor();
      await page.locator('[data-send="1"]').click();
      await retainedIs(page, "cache", "1 entries");
      await page.locator('[data-go="flame"]').click();
      await page.frameLocator("#flame-frame").locator("#frames").waitFor();
      await close();
    },
  ],
];
