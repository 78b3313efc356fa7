// Loading and unloading plugins. The API's description tells whether the host can do it.

import { call } from "./api.js";
import { explain, one, runAction, setText } from "./dom.js";

const PATH = "/admin/plugins/{name}";

/** The id of a file: `fixture_slow.wasm` is the plugin `fixture-slow`. */
const idOf = (file) => file.name.replace(/\.wasm$/, "").replaceAll("_", "-");

async function load(file) {
  const id = idOf(file);
  await call("PUT", `/admin/plugins/${encodeURIComponent(id)}`, file);
  return `${id} loaded`;
}

/** The form to load a plugin, and the buttons to unload one. */
export async function startPlugins() {
  const form = one("#load");
  const choice = one("#load-file");
  const result = one("#load-result");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = choice.files;
    if (file) runAction(one("#load-go"), result, () => load(file));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.('[data-do="unload"]');
    const row = button?.closest("[data-plugin]");
    if (!row) return;
    const id = row.dataset.plugin;
    runAction(button, one('[data-field="result"]', row), async () => {
      await call("DELETE", `/admin/plugins/${encodeURIComponent(id)}`);
      return `${id} unloaded`;
    });
  });
  try {
    const { paths } = await call("GET", "/openapi.json");
    const methods = paths[PATH] ?? {};
    form.hidden = !methods.put;
    document.body.classList.toggle("can-unload", Boolean(methods.delete));
  } catch (error) {
    setText(result, explain(error));
  }
}
