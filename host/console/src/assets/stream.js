// The event stream, read with `fetch`: an EventSource cannot send the admin token.

import { ApiError, errorOf, headers } from "./api.js";

/** The stream is broken if nothing arrives for this long. The host sends an update every second. */
const SILENCE_TIMEOUT_MS = 6000;

/** The pause before the stream is opened again. */
const RETRY_DELAY_MS = 2000;

/** Receives updates until it is stopped. Opens the stream again when it breaks. */
export class EventStream {
  constructor(onUpdate, onState) {
    this.onUpdate = onUpdate;
    this.onState = onState;
  }

  /** Opens the stream. A stream with another query is closed first. */
  open(query) {
    this.stop();
    const controller = new AbortController();
    this.current = controller;
    this.#run(query, controller);
  }

  /** Closes the stream. */
  stop() {
    const controller = this.current;
    this.current = undefined;
    controller?.abort();
    clearTimeout(this.retry);
  }

  async #run(query, controller) {
    let cause;
    try {
      await this.#read(query, controller);
      cause = new ApiError(0, "closed", "The host has closed the connection", "");
    } catch (error) {
      cause = error instanceof TypeError ? new ApiError(0, "unreachable", "The host does not answer", "") : error;
    }
    if (this.current !== controller) return;
    controller.abort();
    this.onState("lost", cause);
    if (cause.status !== 401) this.retry = setTimeout(() => this.open(query), RETRY_DELAY_MS);
  }

  async #read(query, controller) {
    let watchdog;
    const resetWatchdog = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), SILENCE_TIMEOUT_MS);
    };
    try {
      resetWatchdog();
      const response = await fetch(`/console/events?${query}`, { headers: headers(), signal: controller.signal });
      if (!response.ok) throw await errorOf(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        resetWatchdog();
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        // Each update is complete, so only the newest is shown.
        const data = events.at(-1)?.split("\n").find((line) => line.startsWith("data: "));
        if (data && this.current === controller) {
          this.onState("live");
          this.onUpdate(JSON.parse(data.slice(6)));
        }
      }
    } finally {
      clearTimeout(watchdog);
    }
  }
}
