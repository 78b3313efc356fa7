// Calls of the public admin API, with the token if the host asks for one, and what is under way.

import { one, say } from "./dom.js";

const KEY = "leak-lab-admin-token";

/** Calls shorter than this are not worth a word. */
const NOTICEABLE_MS = 400;

const running = new Map();
let clock;

/** An answer that is not a success, in the API's own words. */
export class ApiError extends Error {
  constructor(status, code, message, hint) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

/** The headers that every call brings. */
export function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Keeps the token until the tab is closed. */
export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** Shows the form for the token. */
export function askForToken(why) {
  one("#token").hidden = false;
  say(one("#token-error"), sessionStorage.getItem(KEY) ? why : "");
  one("#token-value").focus();
}

/** One call; the answer's JSON, or an ApiError. */
export async function call(method, path, body) {
  const id = Symbol(path);
  running.set(id, { what: `${method} ${path.split("?")[0]}`, since: performance.now() });
  clock ??= setInterval(showRunning, 200);
  try {
    const response = await fetch(path, {
      method,
      headers: headers(),
      body: body === undefined || typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body),
    });
    if (!response.ok) throw await refused(response);
    return await response.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, "unreachable", "The host does not answer", "Is it still running?");
  } finally {
    running.delete(id);
    showRunning();
  }
}

/** The error that an answer carries. */
export async function refused(response) {
  const answer = await response.json().catch(() => ({}));
  const { code = "error", message = `The host answered ${response.status}`, hint = "" } = answer.error ?? {};
  if (response.status === 401) askForToken(message);
  return new ApiError(response.status, code, message, hint);
}

function showRunning() {
  const now = performance.now();
  const long = [...running.values()].filter((call) => now - call.since > NOTICEABLE_MS);
  say(
    one("#activity"),
    long.map((call) => `${call.what}: ${((now - call.since) / 1000).toFixed(0)} s`).join(", "),
  );
  if (running.size === 0) {
    clearInterval(clock);
    clock = undefined;
  }
}
