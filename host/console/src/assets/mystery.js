// The mystery: what runs, what its level shows, and the answer.

import { call } from "./api.js";
import { all, make, one, runAction, setText } from "./dom.js";
import { count, duration, size } from "./format.js";

/** What can be said of a plugin, by its value in the answer. */
const ROLES = [
  ["", "not sure"],
  ["leaking", "leaks"],
  ["decoys", "only looks like a leak"],
];

/** The fields of the answer that have one value, with their labels. */
const FIELDS = {
  location: { 1: "Line that allocates it, such as plugins/x/src/lib.rs:12", 2: "Function that allocates it" },
  kind: "Which requests leak",
  bytes_per_request: "Bytes per request",
  started_at: "Began after, in seconds",
  seconds_to_limit: "Seconds to the memory limit",
  fix: "The fix",
};

/** The points that hints cost, in their order. */
const HINT_COSTS = [5, 10, 15];

/** The game whose form is shown: the time of its start. */
let shown = "";
let hints = 0;

/** Where a tab keeps the player who has joined a game, so that a reload does not lose the place. */
const playerKey = () => `leak-lab-mystery-${shown}`;

/** Shows the mystery of an update, or hides it. */
export function showMystery(update) {
  const game = update.mystery;
  document.body.classList.toggle("mystery", game !== null);
  one("#mystery").hidden = game === null;
  if (game === null) {
    shown = "";
    return;
  }
  setText(one("#mystery-state"), game.status);
  one("#mystery-state").className = `state ${game.status === "running" ? "good" : ""}`;
  setText(one("#mystery-about"), about(game));
  one("#mystery-legend").hidden = game.plugins === null;
  showPlugins(game.plugins ?? [], update.charts.plugins);
  if (game.started_at !== null && game.started_at !== shown) {
    shown = game.started_at;
    showForm();
  }
}

function about(game) {
  if (game.status === "changing") return "A game starts or ends.";
  const time = `${duration(game.elapsed_seconds)} of ${duration(game.duration_seconds)}`;
  const rest = game.plugins === null ? ` This level shows the memory of no plugin. The traces name ${game.names.join(", ")}.` : "";
  return `Level ${game.difficulty}, ${time}. Which plugins leak, which only look like it, and since when?${rest}`;
}

function showPlugins(plugins, charts) {
  const list = one("#mystery-plugins");
  const names = plugins.map((plugin) => plugin.plugin).join();
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.replaceChildren(...plugins.map((plugin) => row(plugin.plugin)));
  }
  for (const plugin of plugins) {
    const item = one(`[data-player="${plugin.plugin}"]`, list);
    const field = (name) => one(`[data-field="${name}"]`, item);
    setText(field("state"), plugin.state);
    setText(field("requests"), count(plugin.requests));
    setText(field("live"), plugin.heap_live_bytes === null ? "not profiled" : size(plugin.heap_live_bytes));
    setText(field("linear"), size(plugin.linear_memory_bytes));
    setText(field("instance"), count(plugin.generation));
    const chart = charts[plugin.plugin];
    const picture = field("chart");
    // The host made the chart, so its markup is safe.
    if (chart && picture.dataset.shown !== chart) {
      picture.dataset.shown = chart;
      picture.innerHTML = chart;
    }
  }
}

function row(name) {
  const number = (field, label) => make("div", {}, make("dt", {}, label), make("dd", { "data-field": field }, "–"));
  const numbers = [number("requests", "Requests"), number("live", "Live"), number("linear", "Linear memory"), number("instance", "Instance")];
  const head = make("div", { className: "head" }, make("h3", {}, name), make("span", { className: "state", "data-field": "state" }));
  const picture = make("div", { className: "picture", "data-field": "chart" });
  return make("li", { className: "plugin", "data-player": name }, make("article", {}, head, make("dl", { className: "numbers" }, ...numbers), picture));
}

/** The form of the answer, with the fields that this game grades. */
async function showForm() {
  const game = await call("GET", "/admin/mystery").catch(() => null);
  if (game === null || game.status === "none") {
    shown = "";
    return;
  }
  hints = 0;
  const joined = JSON.parse(sessionStorage.getItem(playerKey()) ?? "null");
  one("#mystery-name").value = joined?.name ?? "";
  one("#mystery-name").disabled = joined !== null;
  one("#mystery-grade").hidden = true;
  setText(one("#mystery-result"), "");
  nameHint();
  const choices = { kind: game.kinds.map((kind) => [kind.name, `${kind.name}: ${kind.meaning}`]), fix: game.fixes.map((fix) => [fix, fix]) };
  const plugins = game.plugins.map((name) => field(name, name, choice(ROLES, { "data-role-of": name })));
  const values = game.graded.filter((name) => name in FIELDS).map((name) => {
    const label = typeof FIELDS[name] === "string" ? FIELDS[name] : FIELDS[name][game.difficulty];
    const input = choices[name]
      ? choice([["", "not sure"], ...choices[name]], { "data-value": name })
      : make("input", { type: name === "location" ? "text" : "number", step: "any", min: name === "location" ? undefined : "0", "data-value": name });
    return field(name, label, input);
  });
  one("#mystery-fields").replaceChildren(...plugins, ...values);
  one("#mystery-send").disabled = false;
}

function field(name, label, input) {
  input.id = `mystery-of-${name}`;
  return make("div", {}, make("label", { htmlFor: input.id }, label), input);
}

const choice = (options, properties) => make("select", properties, ...options.map(([value, text]) => make("option", { value }, text)));

/** The game id of the player who has given a name. It joins the game first. */
async function player() {
  const input = one("#mystery-name");
  const kept = sessionStorage.getItem(playerKey());
  const name = input.value.trim();
  if (kept === null && name === "") return {};
  const joined = kept === null ? await call("POST", "/admin/mystery/join", { name }) : JSON.parse(kept);
  sessionStorage.setItem(playerKey(), JSON.stringify(joined));
  input.disabled = true;
  return { game_id: joined.game_id };
}

function answer() {
  const body = { leaking: [], decoys: [] };
  for (const chosen of all("[data-role-of]")) {
    if (chosen.value !== "") body[chosen.value].push(chosen.dataset.roleOf);
  }
  for (const input of all("#mystery-fields [data-value]")) {
    if (input.value !== "") body[input.dataset.value] = input.type === "number" ? Number(input.value) : input.value;
  }
  return body;
}

/** Shows a grade. Where the instructor keeps it until the end, returns a sentence that says so. */
function showGrade(grade) {
  one("#mystery-send").disabled = true;
  if (grade.score === null) return "Your answer counts. The report has its points when the game is over.";
  const rows = grade.parts.map((part) =>
    make("tr", {}, make("th", { scope: "row" }, part.name.replaceAll("_", " ")), make("td", {}, `${part.points} of ${part.of}`), make("td", {}, part.explanation)),
  );
  one("#mystery-grade tbody").replaceChildren(...rows);
  const costs = `hints −${grade.hints_cost}, time −${grade.time_cost}`;
  setText(one("#mystery-score"), `${grade.score} of 100 points (${costs})`);
  one("#mystery-grade").hidden = false;
  return "";
}

function nameHint() {
  const button = one("#mystery-hint");
  button.hidden = hints >= HINT_COSTS.length;
  setText(button, `Hint (−${HINT_COSTS[hints] ?? 0} points)`);
}

/** The buttons of a game, and the form that starts one. */
export function startMystery() {
  const result = one("#mystery-result");
  one("#mystery-answer").addEventListener("submit", (event) => {
    event.preventDefault();
    runAction(one("#mystery-send"), result, async () => {
      return showGrade(await call("POST", "/admin/mystery/answer", { ...answer(), ...(await player()) }));
    }).then((done) => {
      one("#mystery-send").disabled = done;
    });
  });
  one("#mystery-hint").addEventListener("click", (event) =>
    runAction(event.currentTarget, result, async () => {
      const hint = await call("POST", "/admin/mystery/hint", await player());
      hints = HINT_COSTS.length - hint.left;
      nameHint();
      return hint.hint;
    }),
  );
  one("#mystery-end").addEventListener("click", (event) =>
    runAction(event.currentTarget, result, async () => {
      await call("DELETE", "/admin/mystery");
      return "";
    }),
  );
  one("#mystery-start form").addEventListener("submit", (event) => {
    event.preventDefault();
    runAction(one("#mystery-go"), one("#mystery-start-result"), async () => {
      const seed = one("#mystery-seed").value;
      const order = { difficulty: Number(one("#mystery-level").value), duration: one("#mystery-duration").value };
      await call("POST", "/admin/mystery", seed === "" ? order : { ...order, seed: Number(seed) });
      one("#mystery-start").open = false;
      return "";
    });
  });
}
