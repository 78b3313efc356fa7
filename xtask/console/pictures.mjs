// The pictures of the README, remade from a run.

import { live, open, until } from "./browser.mjs";

const SIZE = { width: 1280, height: 900 };

async function shoot(page, folder, name, clip) {
  const path = `${folder}/console-${name}.png`;
  await page.screenshot({ path, clip });
  console.log(path);
}

/** Leaks for half a minute, clears, leaks again, and takes the pictures. */
export async function takePictures(browser, { base, pictures: folder }) {
  const { page } = await open(browser, base, "/?window=1m", SIZE);
  await live(page);
  const row = page.locator('[data-plugin="cache"]');
  await row.locator("[data-switch]").click();
  await page.locator("#rate").fill("60");
  await page.locator("#steady").click();
  await page.waitForTimeout(20_000);
  await row.locator('[data-do="clear"]').click();
  await page.waitForTimeout(6_000);
  await page.locator('[data-plugin="listeners"] [data-switch]').click();
  await page.waitForTimeout(20_000);
  await page.evaluate(() => scrollTo(0, 0));
  await shoot(page, folder, "overview");
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot(page, folder, "dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.locator("#stop").click();
  await page.setViewportSize({ ...SIZE, height: 1150 });
  await page.locator('[data-go="memory"]').click();
  await page.locator("#growing button.link").first().click();
  await page.locator("#source-text mark").waitFor();
  await page.evaluate(() => {
    for (const stack of document.querySelectorAll("#source-stacks details")) stack.open = false;
    scrollTo(0, document.querySelector("#compare").offsetTop - 70);
  });
  await shoot(page, folder, "diff");
  await page.locator('[data-go="flame"]').click();
  await page.locator("#against").selectOption("live");
  const drawn = page.frameLocator("#flame-frame").locator("#frames g");
  await drawn.first().waitFor();
  await until("the flame graph is drawn", async () => (await drawn.count()) > 10);
  await page.evaluate(() => scrollTo(0, document.querySelector("#compare").offsetTop - 70));
  await page.waitForTimeout(500);
  await shoot(page, folder, "flame");
}
