// Texts and selectors of the page that its authors may reword. The scenes use no others.

/** The report on the end of the previous run. */
export const BANNER = "#post-mortem";
export const BANNER_CLOSE = "#post-mortem-close";

export const TEXTS = {
  applied: "applied",
  clearEvents: ["cleared: ", "recycled by gc"],
  disconnected: "disconnected",
  dropped: "entries dropped",
  exhaustedEvent: "exhausted: ",
  failedCalls: "plugin calls failed",
  flameLegend: "red grew, blue shrank",
  /** At the event in a chart. */
  marker: "enabled",
  matched: "Matched",
  newInstance: "instance ",
  reconnecting: "Reconnecting",
  resetHint: "Reset starts a fresh instance",
  /** The number of the steady rate. */
  steadily: /(\d+) sent at a steady rate/,
  switchedOn: "switched on",
  total: /([\d,]+) in total/,
};
