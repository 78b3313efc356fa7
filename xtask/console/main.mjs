// Drives the console as a person would. Called by `cargo xtask test-console`.

import { check, launch, open, options } from "./browser.mjs";
import { checkLayout } from "./layout.mjs";
import { takePictures } from "./pictures.mjs";
import { failureScenes, scenes } from "./scenes.mjs";
import { takeStates } from "./states.mjs";
import { firstScenes, storyScenes } from "./story_scenes.mjs";

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
    await takePictures(browser, given);
  } else if (given.states) {
    console.log(`${await takeStates(browser, given)} pictures in ${given.states}`);
  } else {
    const { page, recorded, close } = await open(browser, given.base, "/");
    for (const [name, scene] of [...firstScenes, ...scenes, ...storyScenes]) {
      await report(name, () => scene(page, given.base, (note) => console.log(`        ${note}`)));
    }
    await report("no message on the browser's console, no script error, no request to another host", async () => {
      const found = [...recorded.messages, ...recorded.errors, ...recorded.otherHosts];
      check(found.length === 0, found.join("\n    "));
    });
    await close();
    for (const [name, scene] of failureScenes) await report(name, () => scene(browser, given));
    await report("every view at 360 to 2560 px, light and dark: nothing overflows, axe finds nothing serious", () =>
      checkLayout(browser, given, axe),
    );
    console.log(`${outcome.passed} passed, ${outcome.failed} failed`);
  }
} finally {
  await browser.close();
}
process.exitCode = outcome.failed === 0 ? 0 : 1;
