// A calm load with every leak off, for exercise 1: memory must not grow.
//
//   k6 run k6/baseline.js
//   RATE=100 DURATION=5m MAX_GROWTH_MB=1 k6 run k6/baseline.js
//
// It aborts if a leak is on, and fails if the process grows by MAX_GROWTH_MB or more.
import { check } from 'k6';
import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';

import { callService, leakStatus, logStatus, summary } from './lab.js';

const RATE = Number(__ENV.RATE || 10);
const WARM_UP = 500;

const growth = new Gauge('process_growth_mb');

export const options = {
  scenarios: {
    calm: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: __ENV.DURATION || '1m',
      preAllocatedVUs: Math.max(5, Math.ceil(RATE / 5)),
      maxVUs: Math.max(20, RATE * 4),
    },
  },
  thresholds: {
    'http_req_duration{name:load}': [`p(95)<${Number(__ENV.P95_MS || 200)}`],
    'http_req_failed{name:load}': ['rate==0'],
    'http_reqs{name:load}': ['count>0'],
    process_growth_mb: [`value<${Number(__ENV.MAX_GROWTH_MB || 2)}`],
  },
};

export function setup() {
  // The connections and buffers of the first requests do not count as growth.
  for (let i = 0; i < WARM_UP; i += 1) {
    callService();
  }
  const before = leakStatus();
  if (before === null) {
    exec.test.abort('the service does not answer; is it running?');
  }
  const on = Object.keys(before.leaks).filter((name) => before.leaks[name].enabled);
  if (on.length > 0) {
    exec.test.abort(`a baseline needs every leak off, but these are on: ${on.join(', ')}`);
  }
  logStatus('before', before);
  return { before };
}

export default function () {
  check(callService(), { 'status is 200': (response) => response.status === 200 });
}

export function teardown(data) {
  const after = leakStatus();
  if (after !== null) {
    growth.add(after.memory.rss_mb - data.before.memory.rss_mb);
  }
}

export function handleSummary(data) {
  return summary('baseline', data);
}
