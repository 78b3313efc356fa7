// Calls of the public admin API, with the admin token, and a list of the calls that take long.

import { one, setText } from "./dom.js";

const KEY = "leak-lab-admin-token";

/** The page's status line shows calls that take longer than this. */
const LONG_CALL_MS = 400;

const running = new Map();
let timer;

/** An error of the API: status, code, message and hint. The status is 0 without an answer. */
export class ApiError extends Error {
  constructor(status, code, message, hint) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

/** The headers of every call. */
export function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Stores the token until the tab is closed. */
export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** Shows the form for the token, with the error of the token that was refused. */
export function askForToken(message) {
  one("#token").hidden = false;
  setText(one("#token-error"), sessionStorage.getItem(KEY) ? message : "");
  one("#token-value").focus();
}

/** Makes a call. Returns the JSON of the answer, or throws an ApiError. */
export async function call(method, path, body) {
  const id = Symbol(path);
  running.set(id, { name: `${method} ${path.split("?")[0]}`, since: performance.now() });
  timer ??= setInterval(showRunning, 200);
  try {
    const response = await fetch(path, {
      method,
      headers: headers(),
      body: body === undefined || typeof body === "string" || body instanceof Blob ? body : JSON.stringify(body),
    });
    if (!response.ok) throw await errorOf(response);
    return await response.json();
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, "unreachable", "The host does not answer", "Is it still running?");
  } finally {
    running.delete(id);
    showRunning();
  }
}

/** The error in an answer. Asks for the token if the answer is 401. */
export async function errorOf(response) {
  const answer = await response.json().catch(() => ({}));
  const { code = "error", message = `The host answered ${response.status}`, hint = "" } = answer.error ?? {};
  if (response.status === 401) askForToken(message);
  return new ApiError(response.status, code, message, hint);
}

function showRunning() {
  const now = performance.now();
  const long = [...running.values()].filter((call) => now - call.since > LONG_CALL_MS);
  setText(
    one("#activity"),
    long.map((call) => `${call.name}: ${((now - call.since) / 1000).toFixed(0)} s`).join(", "),
  );
  if (running.size === 0) {
    clearInterval(timer);
    timer = undefined;
  }
}
