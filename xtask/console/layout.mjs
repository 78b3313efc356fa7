// Every view at every width, in light and dark: nothing overflows, and axe finds nothing serious.

import { readFileSync } from "node:fs";
import { check, live, open } from "./browser.mjs";

const WIDTHS = [360, 768, 1280, 2560];
const VIEWS = ["/", "/?exercise=2", "/?view=memory&source=cache%3Aplugins%2Fcache%2Fsrc%2Flib.rs%3A67", "/?view=flame"];
const SERIOUS = ["serious", "critical"];

/** Makes data for every view. */
async function addData(page, base) {
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

/** What does not fit: the page itself, elements outside of it, and text that is cut off. */
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

/** Checks all views. If `shots` is a folder, a screenshot of each is kept there. */
export async function checkLayout(browser, { base, shots }, axe) {
  const source = readFileSync(axe, "utf8");
  const findings = [];
  for (const [index, view] of VIEWS.entries()) {
    const { page, recorded, close } = await open(browser, base, view);
    if (index === 0) {
      await addData(page, base);
      await page.reload();
    }
    await settle(page);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        // Another width opens another stream, and the new layout must be drawn once.
        await live(page);
        await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
        const where = `${view} at ${width} px, ${scheme}`;
        findings.push(...(await page.evaluate(overflow)).map((what) => `${where}: ${what}`));
        if (shots) {
          await page.waitForTimeout(1500);
          await page.screenshot({ path: `${shots}/${scheme}-${width}-${index}.png`, fullPage: true });
        }
        // The findings of axe depend on nothing but one or two columns.
        if (width === 360 || width === 1280) {
          await page.evaluate(source);
          const { violations } = await page.evaluate(() => axe.run(document, { iframes: false }));
          for (const { impact, id, nodes } of violations.filter((found) => SERIOUS.includes(found.impact))) {
            findings.push(`${where}: ${impact} ${id}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3)}`);
          }
        }
      }
    }
    findings.push(...recorded.messages, ...recorded.errors);
    await close();
  }
  check(findings.length === 0, findings.join("\n    "));
}
