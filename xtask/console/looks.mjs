// Every view at every width, in light and dark: nothing overflows, and no serious finding of axe.

import { readFileSync } from "node:fs";
import { check, live, open } from "./browser.mjs";

const WIDTHS = [360, 768, 1280, 2560];
const VIEWS = ["/", "/?exercise=2", "/?view=memory&source=cache%3Aplugins%2Fcache%2Fsrc%2Flib.rs%3A67", "/?view=flame"];
const SERIOUS = ["serious", "critical"];

/** Makes something to look at. */
async function fill(page, base) {
  await page.request.post(`${base}/admin/leaks/cache`, { data: { enabled: true } });
  for (let request = 0; request < 30; request += 1) await page.request.get(`${base}/api/data`);
}

async function settle(page) {
  await live(page);
  const state = page.locator('[data-plugin="cache"] [data-field="state"]', { hasText: /leaking|off/ });
  await state.waitFor({ state: "attached" });
  if (page.url().includes("view=flame")) await page.frameLocator("#flame-frame").locator("#frames").waitFor();
  if (page.url().includes("view=memory")) await page.locator("#growing tbody tr").first().waitFor();
}

/** What does not fit: the page itself, and text that is cut off. */
const overflow = () => {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} px wide`);
  for (const element of document.querySelectorAll("button, h1, h2, h3, dd, dt, label, output, .state, .hint")) {
    const box = element.getBoundingClientRect();
    if (box.width > 0 && (box.right > innerWidth + 1 || box.left < -1) && !element.closest(".skip, .scroll, pre")) {
      found.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
    }
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflow === "hidden") {
      found.push(`cut: ${element.textContent.trim().slice(0, 40)}`);
    }
  }
  return found;
};

/** Looks at all of it; pictures go into `shots`, if that is a folder. */
export async function looks(browser, { base, shots }, axe) {
  const source = readFileSync(axe, "utf8");
  const findings = [];
  for (const [index, view] of VIEWS.entries()) {
    const { page, account, close } = await open(browser, base, view);
    if (index === 0) {
      await fill(page, base);
      await page.reload();
    }
    await settle(page);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        // Another width asks for another stream, and what is laid out anew has to be drawn once.
        await live(page);
        await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
        const where = `${view} at ${width} px, ${scheme}`;
        findings.push(...(await page.evaluate(overflow)).map((what) => `${where}: ${what}`));
        if (shots) {
          await page.waitForTimeout(1500);
          await page.screenshot({ path: `${shots}/${scheme}-${width}-${index}.png`, fullPage: true });
        }
        // What axe sees does not depend on more than this.
        if (width === 360 || width === 1280) {
          await page.evaluate(source);
          const { violations } = await page.evaluate(() => axe.run(document, { iframes: false }));
          for (const { impact, id, nodes } of violations.filter((found) => SERIOUS.includes(found.impact))) {
            findings.push(`${where}: ${impact} ${id}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3)}`);
          }
        }
      }
    }
    findings.push(...account.messages, ...account.errors);
    await close();
  }
  check(findings.length === 0, findings.join("\n    "));
}
