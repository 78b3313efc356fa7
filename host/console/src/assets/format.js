// Numbers with units.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** `5.1 MiB`; `–` for null. No unit has more than four digits: 1,023.95 KiB and more is 1.0 MiB. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= (unit === 0 ? 1023.5 : 1023.95) && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 && Number.isInteger(value) ? 0 : 1;
  return `${bytes < 0 ? "−" : ""}${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `+5.1 MiB`, `−5.1 MiB`. */
export function change(bytes) {
  return bytes > 0 ? `+${size(bytes)}` : size(bytes);
}

/** `12,345`; `–` for null. */
export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en");
}

/** `+200`, `−200`. */
export function countChange(number) {
  return `${number > 0 ? "+" : number < 0 ? "−" : ""}${count(Math.abs(number))}`;
}

/** `3 min 20 s`, `2 h 5 min`; `–` for null. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  const days = seconds / 86400;
  return days > 999 ? "over 999 days" : `${days.toFixed(1)} days`;
}

/** `14:02:11`. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

/** Why the lines of a plugin do not have every byte of its heap; null if they do. */
export function attributionGap(plugin) {
  // Short answers leave it out where it is exact.
  switch (plugin.attribution ?? "exact") {
    case "exact":
      return null;
    case "partial":
      return `The profiler sees this heap only in part: ${plugin.attribution_why}.`;
    default:
      return `This heap is not profiled: ${plugin.attribution_why}.`;
  }
}
