// Loading and unloading plugins, where the host's API has it: its own description says so.

import { call } from "./api.js";
import { busy, explain, one, say } from "./dom.js";

const PATH = "/admin/plugins/{name}";

/** `fixture_slow.wasm` is the plugin `fixture-slow`. */
const idOf = (file) => file.name.replace(/\.wasm$/, "").replaceAll("_", "-");

async function load(file) {
  const id = idOf(file);
  await call("PUT", `/admin/plugins/${encodeURIComponent(id)}`, file);
  return `${id} is loaded`;
}

/** Shows what the host can do. */
export async function startPlugins() {
  const form = one("#load");
  const choice = one("#load-file");
  const result = one("#load-result");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = choice.files;
    if (file) busy(one("#load-go"), result, () => load(file));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.('[data-do="unload"]');
    const row = button?.closest("[data-plugin]");
    if (!row) return;
    const id = row.dataset.plugin;
    busy(button, one('[data-field="result"]', row), async () => {
      await call("DELETE", `/admin/plugins/${encodeURIComponent(id)}`);
      return `${id} is being unloaded`;
    });
  });
  try {
    const { paths } = await call("GET", "/openapi.json");
    const can = paths[PATH] ?? {};
    form.hidden = !can.put;
    document.body.classList.toggle("can-unload", Boolean(can.delete));
  } catch (error) {
    say(result, explain(error));
  }
}
