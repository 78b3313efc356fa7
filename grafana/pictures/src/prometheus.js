// Asks Prometheus what Grafana's data source would ask. Grafana's own client is under the AGPL, so
// this is another one.
import { FieldType } from '@grafana/data';
import { from, plugin, to } from './parameters.js';

/** The scrape interval of the data source, in seconds. */
const SCRAPE_INTERVAL = 5;

async function api(path, parameters) {
  const answer = await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const json = await answer.json();
  if (json.status !== 'success') {
    throw new Error(json.error);
  }
  return json.data;
}

/** Replaces `$name` and `${name}`. Grafana leaves unknown variables in place. */
export function interpolate(text, variables) {
  return text.replace(/\$\{([\w.]+)\}|\$(\w+)/g, (all, braced, plain) => {
    return variables[braced ?? plain] ?? all;
  });
}

/** The values of the dashboard's variables: all of a multiple choice, as Grafana writes them. */
export async function readVariables(dashboard) {
  const variables = {};
  for (const variable of dashboard.templating.list) {
    if (variable.type === 'textbox') {
      variables[variable.name] = variable.query;
    } else if (variable.type === 'query') {
      variables[variable.name] = variable.allValue ?? (await labelValues(variable, variables));
    }
  }
  if (plugin) {
    variables.plugin = plugin;
  }
  return variables;
}

async function labelValues(variable, variables) {
  const query = interpolate(variable.query.query, variables);
  const [, series, label] = /^label_values\((.*), (\w+)\)$/.exec(query);
  const values = await api(`label/${label}/values`, { 'match[]': series, start: from, end: to });
  return values.length === 1 ? values[0] : `(${values.join('|')})`;
}

function number(text) {
  return Number({ '+Inf': Infinity, '-Inf': -Infinity }[text] ?? text);
}

function seriesName(format, metric) {
  if (format && format !== '__auto') {
    return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
  }
  return JSON.stringify(metric);
}

/** The series of all queries of a panel, as data frames. `width` is in pixels. */
export async function readFrames(panel, width, variables) {
  const step = Math.max(SCRAPE_INTERVAL, Math.ceil((to - from) / Math.max(width, 100)));
  const rate = Math.max(step + SCRAPE_INTERVAL, 4 * SCRAPE_INTERVAL);
  const values = {
    ...variables,
    __rate_interval: `${rate}s`,
    __interval: `${step}s`,
    __range: `${to - from}s`,
  };
  const frames = [];
  for (const target of panel.targets ?? []) {
    const query = interpolate(target.expr, values);
    const [start, end] = [from, to].map((time) => Math.floor(time / step) * step);
    const data = target.instant
      ? await api('query', { query, time: to })
      : await api('query_range', { query, start, end, step });
    for (const series of data.result) {
      const steps = Array.from({ length: (end - start) / step + 1 }, (_, i) => start + i * step);
      const times = target.instant ? [series.value[0]] : steps;
      frames.push(frame(target, series, times, step, values));
    }
  }
  return frames;
}

function frame(target, series, times, step, variables) {
  const found = new Map((series.values ?? [series.value]).map(([at, text]) => [at, number(text)]));
  const { __name__: _, ...labels } = series.metric;
  const name = interpolate(seriesName(target.legendFormat, series.metric), variables);
  const time = {
    name: 'Time',
    type: FieldType.time,
    config: { interval: step * 1000 },
    values: times.map((at) => at * 1000),
  };
  const value = {
    name: 'Value',
    type: FieldType.number,
    labels,
    config: { displayNameFromDS: name },
    values: times.map((at) => found.get(at) ?? null),
  };
  // Without the name, a colour by name would differ between line and legend.
  return { name, refId: target.refId, length: times.length, fields: [time, value] };
}
