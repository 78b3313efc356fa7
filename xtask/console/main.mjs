// Drives the console as a person would; called by `cargo xtask test-console`.

import { check, launch, open, options } from "./browser.mjs";
import { looks } from "./looks.mjs";
import { pictures } from "./pictures.mjs";
import { scenes, troubles } from "./scenes.mjs";

const given = options();
const { browser, axe } = await launch(given);
const outcome = { passed: 0, failed: 0 };

async function report(name, work) {
  const started = Date.now();
  const took = () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
  try {
    await work();
    outcome.passed += 1;
    console.log(`ok      ${name} (${took()})`);
  } catch (error) {
    outcome.failed += 1;
    console.log(`FAILED  ${name} (${took()})\n    ${error.message}`);
  }
}

try {
  if (given.pictures) {
    await pictures(browser, given);
  } else {
    const { page, account, close } = await open(browser, given.base, "/");
    for (const [name, scene] of scenes) {
      await report(name, () => scene(page, given.base, (note) => console.log(`        ${note}`)));
    }
    await report("no message on the browser's console, no broken script, no request that leaves the host", async () => {
      const found = [...account.messages, ...account.errors, ...account.elsewhere];
      check(found.length === 0, found.join("\n    "));
    });
    await close();
    for (const [name, trouble] of troubles) await report(name, () => trouble(browser, given));
    await report("every view at 360 to 2560 px, light and dark: nothing overflows, axe finds nothing serious", () =>
      looks(browser, given, axe),
    );
    console.log(`${outcome.passed} passed, ${outcome.failed} failed`);
  }
} finally {
  await browser.close();
}
process.exitCode = outcome.failed === 0 ? 0 : 1;
