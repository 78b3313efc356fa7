// Texts and selectors of the page that its authors may reword. The scenes use no others.

/** The report on the end of the previous run. */
export const BANNER = "#fate";
export const BANNER_CLOSE = "#fate-close";

export const TEXTS = {
  applied: "applied",
  clearEvents: ["cleared: ", "memory given back"],
  disconnected: "not connected",
  dropped: "entries dropped",
  exhaustedEvent: "exhausted: ",
  failedCalls: "calls of plugins failed",
  flameLegend: "red grew, blue shrank",
  /** At the event in a chart. */
  marker: "enabled",
  matched: "Matched",
  newInstance: "instance ",
  reconnecting: "tries again by itself",
  resetHint: "Reset starts a fresh instance",
  /** The number of the steady rate. */
  steadily: /(\d+) sent steadily/,
  switchedOn: "switched on",
  total: /([\d,]+) in all/,
};
