// A steady load, to watch memory grow: 100 requests per second for five minutes.
//
//   k6 run k6/memory-stress.js
//   RATE=200 DURATION=1m k6 run k6/memory-stress.js
//
// With every leak on, the service reaches its memory limit after about three minutes and is killed.
// The script notices that the service was started again, ends, and says when the service died and
// what its last readings were. Then the threshold service_deaths fails.
//
// The environment sets BASE_URL, RATE (requests per second), DURATION, TIMEOUT, P95_MS, ADMIN_TOKEN
// and SUMMARY_FILE. CONTINUE=1 continues the load after a death.
import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

import { callService, leakStatus, logStatus, startTime, summary } from './lab.js';

const RATE = Number(__ENV.RATE || 100);

// Seconds to wait at the end for a service that died.
const RESTART_SECONDS = 30;

const deaths = new Counter('service_deaths');

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
    service_deaths: ['count==0'],
    // Not a goal: k6 counts the load separately only if a threshold names it.
    'http_reqs{name:load}': ['count>0'],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)'],
};

export function setup() {
  const before = leakStatus();
  logStatus('before', before);
  return { before, started: startTime() };
}

// Whether a request of this virtual user got no answer, and the reason is not known yet.
let unexplained = false;

export default function (data) {
  const response = callService();
  check(response, { 'status is 200': (answer) => answer.status === 200 });
  unexplained = unexplained || response.status === 0;
  if (unexplained && !__ENV.CONTINUE) {
    const now = startTime();
    unexplained = now === null;
    if (data.started !== null && now > data.started) {
      exec.test.abort('the service died and was started again');
    }
  }
}

export function teardown(data) {
  let now = startTime();
  for (let waited = 0; waited < RESTART_SECONDS && now === null; waited += 1) {
    sleep(1);
    now = startTime();
  }
  deaths.add(data.started !== null && now > data.started ? 1 : 0);
}

export function handleSummary(data) {
  return summary('memory stress', data);
}
