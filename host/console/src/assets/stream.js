// The stream of frames: fetched rather than by EventSource, which cannot send the admin token.

import { ApiError, headers, refused } from "./api.js";

/** A host that has nothing to say for this long is gone. */
const SILENCE_MS = 6000;
const RETRY_MS = 2000;

/** Reads frames until it is stopped, and opens the stream again when it breaks. */
export class Stream {
  constructor(onFrame, onState) {
    this.onFrame = onFrame;
    this.onState = onState;
  }

  /** Opens the stream, or opens it anew with another query. */
  open(query) {
    this.stop();
    const mine = new AbortController();
    this.current = mine;
    this.#run(query, mine);
  }

  /** Closes it. */
  stop() {
    const was = this.current;
    this.current = undefined;
    was?.abort();
    clearTimeout(this.retry);
  }

  async #run(query, mine) {
    let why;
    try {
      await this.#read(query, mine);
      why = new ApiError(0, "closed", "The host has ended the connection", "");
    } catch (error) {
      why = error instanceof TypeError ? new ApiError(0, "unreachable", "The host does not answer", "") : error;
    }
    if (this.current !== mine) return;
    mine.abort();
    this.onState("lost", why);
    if (why.status !== 401) this.retry = setTimeout(() => this.open(query), RETRY_MS);
  }

  async #read(query, mine) {
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => mine.abort(), SILENCE_MS);
    };
    try {
      alive();
      const response = await fetch(`/console/events?${query}`, { headers: headers(), signal: mine.signal });
      if (!response.ok) throw await refused(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        // Frames are whole: only the newest counts.
        const data = events.at(-1)?.split("\n").find((line) => line.startsWith("data: "));
        if (data && this.current === mine) {
          this.onState("live");
          this.onFrame(JSON.parse(data.slice(6)));
        }
      }
    } finally {
      clearTimeout(watchdog);
    }
  }
}
