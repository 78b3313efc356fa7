// Shared by the scripts: the lab's address, its leak status, and the report.
import http from 'k6/http';

export const BASE_URL = (__ENV.BASE_URL || 'http://localhost:8080').replace(/\/+$/, '');

// The admin API asks for a token only if the service was started with one.
const ADMIN = {
  headers: __ENV.ADMIN_TOKEN ? { Authorization: `Bearer ${__ENV.ADMIN_TOKEN}` } : {},
  timeout: '5s',
  // A tag of its own, so that the thresholds on the load do not count it.
  tags: { name: 'admin' },
};

const NO_ANSWER = 'the service does not answer; at its memory limit it is killed and restarted';

function column(text, width) {
  return String(text).padStart(width);
}

function megabytes(value) {
  return typeof value === 'number' ? value.toFixed(1) : '-';
}

/** Sends one request of the load. Its tag is what the thresholds select. */
export function callService() {
  return http.get(`${BASE_URL}/api/data`, { tags: { name: 'load' }, timeout: __ENV.TIMEOUT || '10s' });
}

/** Returns the answer of /admin/leaks/status, or null if the service does not answer. */
export function leakStatus() {
  const response = http.get(`${BASE_URL}/admin/leaks/status?all=true`, ADMIN);
  if (response.status !== 200) {
    return null;
  }
  return response.json();
}

/** Returns when the service was started, in seconds since 1970, or null if it does not answer. */
export function startTime() {
  const response = http.get(`${BASE_URL}/metrics`, { ...ADMIN, responseType: 'text' });
  const line = /^process_start_time_seconds ([0-9.e+]+)$/m.exec(response.body || '');
  return line === null ? null : Number(line[1]);
}

/** Logs the status in one line while the load runs. */
export function logStatus(title, status) {
  if (status === null) {
    console.log(`${title}: ${NO_ANSWER}`);
    return;
  }
  const on = Object.keys(status.leaks).filter((name) => status.leaks[name].enabled);
  console.log(
    `${title}: ${on.length > 0 ? `${on.join(', ')} on` : 'every leak off'}, process ${megabytes(status.memory.rss_mb)} MB`,
  );
}

/** Returns a table of the leaks, and a line for the process. */
function statusLines(title, status) {
  if (status === null) {
    return [`${title}: ${NO_ANSWER}`];
  }
  const lines = [
    `${title.padEnd(20)}${column('state', 12)}${column('on', 5)}${column('objects', 11)}${column('retained MB', 13)}${column('linear MB', 11)}`,
  ];
  for (const [name, leak] of Object.entries(status.leaks)) {
    lines.push(
      `  ${name.padEnd(18)}${column(leak.state, 12)}${column(leak.enabled ? 'yes' : 'no', 5)}${column(leak.count, 11)}` +
        `${column(megabytes(leak.estimated_size_mb), 13)}${column(megabytes(leak.linear_memory_mb), 11)}`,
    );
  }
  const { rss_mb: rss, limit_mb: limit } = status.memory;
  lines.push(`  process: ${megabytes(rss)} MB resident${limit ? ` of ${megabytes(limit)} MB` : ''}`);
  return lines;
}

/** Returns how the service died, from the readings that it left behind. */
function deathLines() {
  const lines = ['the service died and was started again: nothing that it retained is left'];
  const response = http.get(`${BASE_URL}/admin/post-mortem`, ADMIN);
  const answer = response.status === 200 ? response.json() : {};
  if (answer.status === 'found') {
    const { memory, requests, snapshot } = answer.last || {};
    lines.push(`  ${answer.message}`);
    if (memory) {
      const { rss_mb: rss, limit_mb: limit } = memory.process;
      lines.push(
        `  last reading at ${answer.last_seen}: ${megabytes(rss)} MB resident` +
          `${limit ? ` of ${megabytes(limit)} MB` : ''}, after ${requests} requests`,
      );
    }
    for (const row of ((snapshot || {}).by_line || []).slice(0, 3)) {
      lines.push(`  ${row.location}: ${megabytes(row.size_mb)} MB in ${row.count} objects`);
    }
  }
  return lines;
}

/** Returns what grew between two readings, per leak and per retained object. */
function growthLines(before, after) {
  if (!before || !after) {
    return [];
  }
  const lines = [`growth: process ${megabytes(after.memory.rss_mb - before.memory.rss_mb)} MB`];
  for (const [name, leak] of Object.entries(after.leaks)) {
    const earlier = before.leaks[name];
    const objects = earlier && leak.generation === earlier.generation ? leak.count - earlier.count : 0;
    if (objects > 0) {
      const each = ((leak.estimated_size_mb - earlier.estimated_size_mb) * 1048576) / objects;
      lines.push(`  ${name}: ${objects} more objects, ${each.toFixed(0)} bytes each`);
    }
  }
  return lines;
}

function metric(data, name, value) {
  const found = data.metrics[name];
  return found && found.values[value] !== undefined ? found.values[value] : null;
}

function rounded(value, unit) {
  return value === null ? '-' : `${value.toFixed(2)} ${unit}`;
}

/**
 * Returns the report of a run: the leaks before and after, what grew, the load and the thresholds.
 * SUMMARY_FILE names a file for the same data as JSON.
 */
export function summary(title, data) {
  // It is missing if the script's setup aborted the run.
  const { before } = data.setup_data || {};
  const after = leakStatus();
  const died = metric(data, 'service_deaths', 'count') > 0;
  const load = '{name:load}';
  const failed = metric(data, `http_req_failed${load}`, 'rate');
  const lines = [
    '',
    ...(before === undefined ? [] : statusLines('before', before)),
    ...statusLines('after', after),
    ...(died ? deathLines() : growthLines(before, after)),
    `${title}: ${metric(data, `http_reqs${load}`, 'count') || 0} requests, ` +
      `${rounded(metric(data, `http_reqs${load}`, 'rate'), 'per second')}, ` +
      `${failed === null ? '-' : (failed * 100).toFixed(2)} % failed`,
    `  duration: median ${rounded(metric(data, `http_req_duration${load}`, 'med'), 'ms')}, ` +
      `p95 ${rounded(metric(data, `http_req_duration${load}`, 'p(95)'), 'ms')}, ` +
      `longest ${rounded(metric(data, `http_req_duration${load}`, 'max'), 'ms')}`,
  ];
  for (const [name, found] of Object.entries(data.metrics)) {
    for (const [threshold, result] of Object.entries(found.thresholds || {})) {
      lines.push(`  ${result.ok ? 'passed' : 'FAILED'}: ${name} ${threshold}`);
    }
  }
  const output = { stdout: `${lines.join('\n')}\n` };
  if (__ENV.SUMMARY_FILE) {
    output[__ENV.SUMMARY_FILE] = JSON.stringify(data, null, 2);
  }
  return output;
}
