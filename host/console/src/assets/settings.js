// The form for a plugin's settings, made from their types, ranges and defaults.

import { call } from "./api.js";
import { make, runAction, setText } from "./dom.js";
import { count, duration, size } from "./format.js";

/** What the settings that most plugins have are called here. Others are named by their API name. */
const NAMES = {
  curve: "Growth curve",
  curve_every: "Period of the curve",
  deadline_ms: "Time limit of a call",
  duration_seconds: "Stay on for",
  heap_profile: "Heap profile",
  max_mb: "Stop at",
  memory_limit_mb: "Memory limit of the plugin",
  payload_bytes: "Leak per request",
  probability: "Share of requests",
  repeat_seconds: "Start again every",
  start_after_seconds: "Start after",
  target_mb: "Retain this much",
  target_minutes: "Within",
  ttl_seconds: "Switch off after",
  variant: "Variant",
};

/** The end of an API name is its unit: the unit in words, and how a value reads with it. */
const UNITS = {
  bytes: ["bytes", size],
  mb: ["MiB", (value) => size(value * 1024 * 1024)],
  ms: ["milliseconds", (value) => (value < 1000 ? `${count(value)} ms` : duration(value / 1000))],
  seconds: ["seconds", (value) => (value < 1 ? `${count(value * 1000)} ms` : duration(value))],
  minutes: ["minutes", (value) => duration(value * 60)],
  per_second: ["per second", (value) => `${count(value)} per second`],
};

/** The unit of a setting, by the end of its name. */
function unitOf(name) {
  const end = Object.keys(UNITS).find((unit) => name.endsWith(`_${unit}`));
  return end === undefined ? { end: "", unit: "", words: count } : { end, unit: UNITS[end][0], words: UNITS[end][1] };
}

/** `Max entries` for `max_entries`. The unit is next to the field. */
function nameOf(setting) {
  if (NAMES[setting.name]) return NAMES[setting.name];
  const { end } = unitOf(setting.name);
  const words = (end && end !== "per_second" ? setting.name.slice(0, -end.length - 1) : setting.name).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

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
      placeholder: setting.nullable ? "none" : "",
    });
  }
  input.setAttribute("aria-describedby", `${id}-hint`);
  write(input, setting, setting.value);
  return input;
}

function block(setting, input) {
  const { unit, words } = unitOf(setting.name);
  const isNumber = typeof setting.min === "number";
  const read = (value) => (value === null ? "none" : isNumber ? words(value) : String(value));
  const range = isNumber ? ` From ${read(setting.min)} to ${read(setting.max)}.` : "";
  // An empty field of the form is null in the API.
  const description = setting.description.replace(/\bnull: /, "empty: ").replace(/\.?$/, ".");
  const inWords = make("span", { className: "unit" });
  const showWords = () => {
    const value = input.value === "" ? null : Number(input.value);
    // Only where the words say more than the number and its unit.
    const said = isNumber && value !== null && Number.isFinite(value) ? words(value) : "";
    setText(inWords, said !== "" && unit !== "" && Number.parseFloat(said) !== value ? `${unit} = ${said}` : unit);
  };
  input.addEventListener("input", showWords);
  showWords();
  return make(
    "div",
    { title: `In the API: ${setting.name}` },
    make("label", { htmlFor: input.id }, nameOf(setting), make("small", {}, ` ${setting.name}`)),
    make("div", { className: "row" }, input, inWords),
    make("span", { className: "hint", id: `${input.id}-hint` }, `${description}${range} Default: ${read(setting.default)}.`),
  );
}

function write(input, setting, value) {
  if (setting.type === "boolean") input.checked = value === true;
  else input.value = value === null ? "" : String(value);
  input.dispatchEvent(new Event("input"));
}

function read(input, setting) {
  if (setting.type === "boolean") return input.checked;
  if (setting.type === "choice") return input.value;
  return input.value === "" ? null : Number(input.value);
}
