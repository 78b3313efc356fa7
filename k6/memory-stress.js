// A steady load, to watch memory grow: 50 requests per second for five minutes.
//
//   k6 run k6/memory-stress.js
//   RATE=200 DURATION=1m k6 run k6/memory-stress.js
//
// With every leak on and a higher RATE, the service reaches its memory limit and is killed. Then
// the thresholds fail, which is what exercise 6 shows.
//
// The environment sets BASE_URL, RATE (requests per second), DURATION, TIMEOUT, P95_MS, ADMIN_TOKEN
// and SUMMARY_FILE.
import { check } from 'k6';

import { callService, leakStatus, logStatus, summary } from './lab.js';

const RATE = Number(__ENV.RATE || 50);

export const options = {
  scenarios: {
    // An open model: a slow answer does not slow down the load, so growth follows the rate.
    steady: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: __ENV.DURATION || '5m',
      preAllocatedVUs: Math.max(10, Math.ceil(RATE / 5)),
      maxVUs: Math.max(50, RATE * 4),
    },
  },
  thresholds: {
    'http_req_duration{name:load}': [`p(95)<${Number(__ENV.P95_MS || 500)}`],
    'http_req_failed{name:load}': ['rate<0.01'],
    // Not a goal: k6 counts the load separately only if a threshold names it.
    'http_reqs{name:load}': ['count>0'],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)'],
};

export function setup() {
  const before = leakStatus();
  logStatus('before', before);
  return { before };
}

export default function () {
  check(callService(), { 'status is 200': (response) => response.status === 200 });
}

export function handleSummary(data) {
  return summary('memory stress', data);
}
