// The start path, the comparison of snapshots, and what has to be visible at first sight.

import { check, live, until } from "./browser.mjs";

const text = async (locator) => (await locator.textContent()).trim();

/** The widths and heights of common screens. */
const SCREENS = [
  [390, 844],
  [1024, 768],
  [1440, 900],
];

/** Needs a host without a request: the first scene. */
async function startPath(page, base) {
  await page.goto(`${base}/`);
  await live(page);
  await page.locator("#start").click();
  check(page.url().includes("exercise=1"), `the address names the exercise: ${page.url()}`);
  const step = (id, state) => page.locator(`[data-step="${id}"]${state}`);
  await step("1.3", ".next").waitFor();
  // Another client does the rest, and the page shows it.
  for (let request = 0; request < 60; request += 1) await page.request.get(`${base}/api/data`);
  await step("1.3", "").getByText("Send 40 more requests").waitFor();
  for (let request = 0; request < 40; request += 1) await page.request.get(`${base}/api/data`);
  await step("1.4", ".done").waitFor();
  check(page.url().includes("done=1.1-1.2-1.3-1.4"), `the address has the steps: ${page.url()}`);
  const verified = await page.request.post(`${base}/admin/exercises/1/verify`, { data: {} });
  check((await verified.json()).done, "the host agrees");
  await page.request.delete(`${base}/admin/exercises`);
  await page.reload();
  await live(page);
  await step("1.4", ".done").waitFor();
  check(await page.locator("#start").isHidden(), "something has happened");
  await page.locator("#exercises-restart").click();
  await until("the steps are forgotten", async () => (await step("1.3", ".done").count()) === 0);
}

async function firstSwitch(page, base, note) {
  const bottoms = [];
  for (const [width, height] of SCREENS) {
    await page.setViewportSize({ width, height });
    for (const query of ["", "?exercise=2"]) {
      await page.goto(`${base}/${query}`);
      await live(page);
      const toggle = page.locator('[data-plugin="cache"] [data-switch]');
      await toggle.waitFor();
      const { y, height: size } = await toggle.boundingBox();
      bottoms.push(`${Math.round(y + size)} of ${height}`);
      check(y + size <= height, `${width} px ${query}: the first switch ends at ${y + size}`);
    }
  }
  note(`the first switch ends at ${bottoms.join(", ")} px`);
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function twoSnapshots(page, base) {
  await page.request.post(`${base}/admin/reset`, { data: {} });
  await page.goto(`${base}/?view=memory&against=live`);
  await live(page);
  await page.request.post(`${base}/admin/leaks/cache`, { data: { enabled: true } });
  await page.locator("#snapshot-take").click();
  await page.locator("#baseline-result", { hasText: "snapshot 1" }).waitFor();
  await page.locator('[data-send="50"]').click();
  const first = page.locator("#growing tbody tr").first();
  await until("fifty more blocks", async () => (await text(first).catch(() => "")).includes("+50 (0 → 50)"));
  await page.locator("#snapshot-take").click();
  await page.locator("#baseline-result", { hasText: "snapshot 2" }).waitFor();
  await page.locator("#snapshot-from").selectOption("1");
  await page.locator("#snapshot-to").selectOption("2");
  await until("the two snapshots differ", async () => (await text(first).catch(() => "")).includes("+50 (0 → 50)"));
  await page.locator("#snapshot-to").selectOption("1");
  await until("a snapshot does not differ from itself", async () => (await text(page.locator("#memory-summary"))).startsWith("0 B"));
  await page.reload();
  await page.locator('#snapshot-from option[value="2"]').waitFor({ state: "attached" });
}

async function followsTraffic(page, base) {
  await page.goto(`${base}/?view=memory&against=live&plugin=cache`);
  await live(page);
  const line = page.locator("#growing button.link").first();
  await line.waitFor();
  await line.focus();
  const cell = page.locator("#growing tbody tr").first().locator(".number").first();
  const before = await text(cell);
  await page.locator("#rate").fill("50");
  await page.locator("#steady").click();
  await line.focus();
  await until("the table follows", async () => (await text(cell)) !== before);
  const focused = await page.evaluate(() => document.activeElement.closest("#growing tr") !== null);
  check(focused, "the focus stays on the line");
  await page.locator("#stop").click();
}

async function leakyAndFixed(page, base) {
  await page.goto(`${base}/?view=memory&against=live&plugin=cache`);
  await page.locator("#growing button.link").first().click();
  const fixed = page.locator("#source-fixed-text mark").first();
  await fixed.waitFor();
  check((await text(fixed)).includes("Variant::Fixed"), await text(fixed));
}

/** An answer about a plugin whose allocator the profiler does not see. No shipped one is so. */
async function growthByLine(page, base) {
  const answer = {
    total_traced_bytes: 1000,
    by_line: [{ plugin: "cache", location: "app.c:7", function: "parse", size_bytes: 1000, count: 2 }],
    growth: [{ plugin: "cache", location: "app.c:9", function: "fill", size_bytes: 3 * 65536, unseen_bytes: 65536 }],
    plugins: { cache: { attribution: "partial", attribution_why: "an allocator of its own" } },
  };
  await page.route("**/admin/memory/snapshot?*", (route) => route.fulfill({ json: answer }));
  await page.goto(`${base}/?view=memory&against=live`);
  const row = page.locator("#growth-lines tr").first();
  await row.waitFor();
  for (const part of ["app.c:9", "fill", "192.0 KiB", "64.0 KiB"]) check((await text(row)).includes(part), `${part}: ${await text(row)}`);
  check((await text(page.locator("#memory-attribution"))).includes("only in part"), "the reason is given");
  await page.unroute("**/admin/memory/snapshot?*");
  await page.reload();
  await page.locator("#memory-attribution", { hasText: "Exact" }).waitFor();
  check(await page.locator("#growth").isHidden(), "exact lines need no growth");
}

/** From an alert to the lines that grew until it fired, and back to the present. */
async function momentOfAnAlert(page, base) {
  await page.goto(`${base}/`);
  await live(page);
  await page.request.post(`${base}/admin/leaks/cache`, { data: { enabled: true } });
  for (let request = 0; request < 100; request += 1) await page.request.get(`${base}/api/data`);
  // The history reads the heap once a second.
  await page.waitForTimeout(3000);
  const alert = {
    status: "firing",
    labels: { alertname: "LeakSuspectLab", plugin: "cache" },
    annotations: { summary: "cache grows steadily" },
    startsAt: new Date().toISOString(),
    fingerprint: "moment",
  };
  await page.request.post(`${base}/admin/alerts`, { data: { version: "4", alerts: [alert] } });
  await page.locator("#alert-list button").first().click();
  await page.locator("#moment-text", { hasText: "The alert fired at" }).waitFor();
  const first = page.locator("#growing tbody tr").first();
  await until("a line of the cache grew", async () => (await text(first).catch(() => "")).includes("plugins/cache/src/lib.rs"));
  await page.locator('[data-go="overview"]').click();
  await page.locator("#chart-process", { hasText: "alert" }).waitFor();
  await page.locator("#moment-close").click();
  check(await page.locator("#moment").isHidden(), "the banner is gone");
  check(!page.url().includes("at="), page.url());
  const old = Math.floor(Date.now() / 1000) - 7200;
  await page.goto(`${base}/?view=memory&plugin=cache&at=${old}`);
  await page.locator("#memory-summary", { hasText: "before the history" }).waitFor();
  const resolved = { ...alert, status: "resolved", endsAt: new Date().toISOString() };
  await page.request.post(`${base}/admin/alerts`, { data: { version: "4", alerts: [resolved] } });
}

async function failedReset(page, base) {
  const answer = { reset: "some", memory_before_bytes: 2 ** 20, memory_after_bytes: 2 ** 20, failed: [{ plugin: "cache", reason: "it does not start" }] };
  await page.route("**/admin/reset", (route) => route.fulfill({ json: answer }));
  await page.goto(`${base}/`);
  await live(page);
  await page.locator('[data-all="reset"]').click();
  await page.locator("#all-result", { hasText: "cache was not reset: it does not start" }).waitFor();
  await page.unroute("**/admin/reset");
}

async function unitBorders(page) {
  const shown = await page.evaluate(async () => {
    const { size } = await import("/console/format.js");
    const K = 1024;
    return [0, 1023, 1024, K ** 2 - 1, K ** 2, K ** 3 - 1, K ** 4 - 1, 8192 * K ** 4, K ** 5 - 1, K ** 6, -(K ** 2), null].map(size);
  });
  const wanted = ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB", "1.0 GiB", "1.0 TiB", "8.0 PiB", "1.0 PiB", "1.0 EiB", "−1.0 MiB", "–"];
  check(shown.join() === wanted.join(), shown.join(", "));
}

/** Before all others, in a host without requests. */
export const firstScenes = [
  ["exercise 1 starts from an empty page, and the host judges each step", startPath],
  ["the first switch is on the first screen, also with the exercises open", firstSwitch],
];

export const storyScenes = [
  ["two snapshots are compared by line", twoSnapshots],
  ["the table follows steady traffic, and keeps the focus", followsTraffic],
  ["the fixed variant is next to the leak", leakyAndFixed],
  ["growth by line is shown where the lines are not exact", growthByLine],
  ["an alert opens its moment: the charts mark it, and the lines are those that grew until then", momentOfAnAlert],
  ["a plugin that Reset all cannot reset is named", failedReset],
  ["sizes change their unit where they should", unitBorders],
];
