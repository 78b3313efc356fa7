// What the scripts share: where the lab is, its leak status, and how it is printed.
import http from 'k6/http';

export const BASE_URL = (__ENV.BASE_URL || 'http://localhost:8080').replace(/\/+$/, '');

// The admin API asks for a token only when the service was started with one.
const ADMIN = {
  headers: __ENV.ADMIN_TOKEN ? { Authorization: `Bearer ${__ENV.ADMIN_TOKEN}` } : {},
  timeout: '5s',
  // Kept apart from the load, so that no threshold on the load counts it.
  tags: { name: 'admin' },
};

/** One request of the load. It carries a tag of its own, which the thresholds select. */
export function callService() {
  return http.get(`${BASE_URL}/api/data`, { tags: { name: 'load' }, timeout: __ENV.TIMEOUT || '10s' });
}

/** The answer of /admin/leaks/status, or null when the service does not answer. */
export function leakStatus() {
  const response = http.get(`${BASE_URL}/admin/leaks/status`, ADMIN);
  if (response.status !== 200) {
    return null;
  }
  return response.json();
}

function column(text, width) {
  return String(text).padStart(width);
}

function megabytes(value) {
  return typeof value === 'number' ? value.toFixed(1) : '-';
}

/** Prints one line for each leak and one for the process. */
export function printStatus(title, status) {
  if (status === null) {
    console.log(`${title}: the service does not answer. At its memory limit it is killed and started again.`);
    return;
  }
  const lines = [
    `${title}:`,
    `  ${'leak'.padEnd(20)}${column('state', 10)}${column('on', 5)}${column('objects', 11)}${column('retained MB', 13)}${column('linear MB', 11)}`,
  ];
  for (const [name, leak] of Object.entries(status.leaks)) {
    lines.push(
      `  ${name.padEnd(20)}${column(leak.state, 10)}${column(leak.enabled ? 'yes' : 'no', 5)}${column(leak.count, 11)}` +
        `${column(megabytes(leak.estimated_size_mb), 13)}${column(megabytes(leak.linear_memory_mb), 11)}`,
    );
  }
  const { rss_mb: rss, limit_mb: limit } = status.memory;
  lines.push(`  process: ${megabytes(rss)} MB resident${limit ? ` of ${megabytes(limit)} MB` : ''}`);
  console.log(lines.join('\n'));
}

/** Prints what grew between two readings, per leak and per request of the load. */
export function printGrowth(before, after) {
  if (before === null || after === null) {
    return;
  }
  const growth = after.memory.rss_mb - before.memory.rss_mb;
  const lines = [`growth: process ${megabytes(growth)} MB`];
  for (const [name, leak] of Object.entries(after.leaks)) {
    const earlier = before.leaks[name];
    if (!earlier || leak.generation !== earlier.generation) {
      continue;
    }
    const objects = leak.count - earlier.count;
    if (objects !== 0) {
      const each = ((leak.estimated_size_mb - earlier.estimated_size_mb) * 1048576) / objects;
      lines.push(`  ${name}: ${objects} more objects, ${each.toFixed(0)} bytes each`);
    }
  }
  console.log(lines.join('\n'));
}

function metric(data, name, value) {
  const found = data.metrics[name];
  return found && found.values[value] !== undefined ? found.values[value] : null;
}

function rounded(value, unit) {
  return value === null ? '-' : `${value.toFixed(2)} ${unit}`;
}

/** The end of a run in a few lines, and as JSON when SUMMARY_FILE says where. */
export function summary(title, data) {
  const load = '{name:load}';
  const failed = metric(data, `http_req_failed${load}`, 'rate');
  const lines = [
    '',
    `${title}: ${metric(data, `http_reqs${load}`, 'count') || 0} requests, ` +
      `${rounded(metric(data, `http_reqs${load}`, 'rate'), 'per second')}, ` +
      `${failed === null ? '-' : (failed * 100).toFixed(2)} % failed`,
    `  duration: median ${rounded(metric(data, `http_req_duration${load}`, 'med'), 'ms')}, ` +
      `p95 ${rounded(metric(data, `http_req_duration${load}`, 'p(95)'), 'ms')}, ` +
      `longest ${rounded(metric(data, `http_req_duration${load}`, 'max'), 'ms')}`,
  ];
  for (const [name, found] of Object.entries(data.metrics)) {
    for (const [threshold, result] of Object.entries(found.thresholds || {})) {
      lines.push(`  ${result.ok ? 'kept' : 'BROKEN'}: ${name} ${threshold}`);
    }
  }
  const output = { stdout: `${lines.join('\n')}\n` };
  if (__ENV.SUMMARY_FILE) {
    output[__ENV.SUMMARY_FILE] = JSON.stringify(data, null, 2);
  }
  return output;
}
