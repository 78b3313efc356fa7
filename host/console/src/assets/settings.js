// The form for a plugin's settings, made from their types, ranges and defaults.

import { call } from "./api.js";
import { make, runAction } from "./dom.js";

/** Fills the form with the settings of a plugin as `/admin/plugins` describes them. */
export function fillSettings(form, plugin) {
  const fields = plugin.settings.map((setting) => ({ setting, input: field(plugin.id, setting) }));
  const result = make("output");
  const apply = make("button", { type: "submit" }, "Apply");
  // The style sheet shows it only if the API can unload plugins.
  const unload = make("button", { type: "button", className: "danger unload" }, "Unload plugin");
  unload.dataset.do = "unload";
  const defaults = make("button", { type: "button" }, "Defaults");
  defaults.addEventListener("click", () => {
    for (const { setting, input } of fields) write(input, setting, setting.default);
  });
  form.replaceChildren(
    ...fields.map(({ setting, input }) => block(setting, input)),
    make("div", { className: "actions" }, apply, defaults, unload, result),
  );
  form.setAttribute("aria-label", `Settings of ${plugin.id}`);
  form.onsubmit = (event) => {
    event.preventDefault();
    runAction(apply, result, async () => {
      const changes = Object.fromEntries(
        fields
          .map(({ setting, input }) => [setting.name, read(input, setting), setting.value])
          .filter(([, now, before]) => now !== before)
          .map(([name, now]) => [name, now]),
      );
      if (Object.keys(changes).length === 0) return "no changes";
      const answer = await call("POST", `/admin/leaks/${plugin.id}`, changes);
      for (const { setting, input } of fields) {
        setting.value = answer.settings[setting.name];
        write(input, setting, setting.value);
      }
      return answer.restarted ? "applied, with a fresh instance" : "applied";
    });
  };
}

function field(plugin, setting) {
  const id = `setting-${plugin}-${setting.name}`;
  let input;
  if (setting.type === "choice") {
    input = make("select", { id }, ...setting.choices.map((word) => make("option", { value: word }, word)));
  } else if (setting.type === "boolean") {
    input = make("input", { id, type: "checkbox" });
  } else {
    input = make("input", {
      id,
      type: "number",
      min: String(setting.min),
      max: String(setting.max),
      step: setting.type === "integer" ? "1" : "any",
      required: !setting.nullable,
      placeholder: setting.nullable ? "empty" : "",
    });
  }
  input.setAttribute("aria-describedby", `${id}-hint`);
  write(input, setting, setting.value);
  return input;
}

function block(setting, input) {
  const range = setting.min === undefined ? "" : ` ${setting.min} to ${setting.max}.`;
  const byDefault = setting.default === null ? "empty" : setting.default;
  // An empty field of the form is null in the API.
  const description = setting.description.replace(/\bnull: /, "empty: ").replace(/\.?$/, ".");
  return make(
    "div",
    {},
    make("label", { htmlFor: input.id }, setting.name),
    input,
    make("span", { className: "hint", id: `${input.id}-hint` }, `${description}${range} Default: ${byDefault}.`),
  );
}

function write(input, setting, value) {
  if (setting.type === "boolean") input.checked = value === true;
  else input.value = value === null ? "" : String(value);
}

function read(input, setting) {
  if (setting.type === "boolean") return input.checked;
  if (setting.type === "choice") return input.value;
  return input.value === "" ? null : Number(input.value);
}
