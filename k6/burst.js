// Bursts, for exercise 3: many requests at once, then a pause, several times.
// Memory climbs in steps, one per burst, because growth follows the requests and not the time.
//
//   k6 run k6/burst.js
//   BURST=1000 ROUNDS=5 PAUSE=20 k6 run k6/burst.js
//
// BURST is the number of requests in a burst, ROUNDS the number of bursts, and PAUSE the seconds
// from one burst to the next.
import { check, sleep } from 'k6';

import { callService, leakStatus, logStatus, summary } from './lab.js';

const BURST = Number(__ENV.BURST || 500);
const ROUNDS = Number(__ENV.ROUNDS || 3);
const PAUSE = Number(__ENV.PAUSE || 15);

export const options = {
  scenarios: {
    burst: {
      executor: 'per-vu-iterations',
      vus: BURST,
      iterations: ROUNDS,
      maxDuration: `${Math.ceil(ROUNDS * (PAUSE + 30))}s`,
    },
  },
  thresholds: {
    'http_req_failed{name:load}': ['rate<0.01'],
    'http_reqs{name:load}': [`count==${BURST * ROUNDS}`],
    // The slowest request of a burst waits for all the others.
    'http_req_duration{name:load}': [`p(95)<${Number(__ENV.P95_MS || 5000)}`],
  },
};

export function setup() {
  const before = leakStatus();
  logStatus('before', before);
  // Every virtual user measures its rounds from this time.
  return { before, start: Date.now() };
}

export default function (data) {
  check(callService(), { 'status is 200': (response) => response.status === 200 });
  const elapsed = (Date.now() - data.start) / 1000;
  if (__ITER + 1 < ROUNDS) {
    sleep(Math.max(0, (__ITER + 1) * PAUSE - elapsed));
  }
}

export function handleSummary(data) {
  return summary('bursts', data);
}
