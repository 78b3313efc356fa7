// What the address of the page asks for.
import { dateTime } from '@grafana/data';

const query = new URLSearchParams(location.search);

/** The time range, in seconds since 1970. */
export const to = Number(query.get('to'));
export const from = Number(query.get('from'));

/** The title of the dashboard row that is drawn. */
export const row = query.get('row');

/** The plugin that a repeated row is drawn for. */
export const plugin = query.get('plugin') ?? '';

export const theme = query.get('theme') ?? 'dark';

/** The width of the dashboard in pixels. */
export const width = Number(query.get('width') ?? 1600);

export const timeRange = {
  from: dateTime(from * 1000),
  to: dateTime(to * 1000),
  raw: { from: dateTime(from * 1000), to: dateTime(to * 1000) },
};
