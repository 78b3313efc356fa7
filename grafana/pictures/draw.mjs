// Takes pictures of the dashboard's rows in Chromium, and passes the page's requests to Prometheus.
//
// node draw.mjs --page DIR --chromium FILE --dashboard FILE --prometheus URL --out DIR
//   --shots '[{"file": "idle-1.png", "row": "Memory Overview", "from": 1, "to": 2}]'
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { parseArgs } from 'node:util';
import { createRequire } from 'node:module';

const names = ['page', 'chromium', 'dashboard', 'prometheus', 'out', 'shots'];
const { values: args } = parseArgs({
  options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
});

const CHROMIUM = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update',
];

const DATA_TIMEOUT_MS = 60_000;

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

async function respond(request) {
  const { pathname, search } = new URL(request.url, 'http://localhost');
  if (pathname.startsWith('/api/v1/')) {
    const answer = await fetch(args.prometheus + pathname + search);
    return [answer.status, TYPES['.json'], await answer.text()];
  }
  if (pathname === '/dashboard.json') {
    return [200, TYPES['.json'], await readFile(args.dashboard)];
  }
  const path = normalize(pathname === '/' ? '/index.html' : pathname);
  const file = await readFile(join(args.page, path)).catch(() => null);
  return file ? [200, TYPES[extname(path)] ?? 'text/plain', file] : [404, 'text/plain', ''];
}

const server = createServer(async (request, response) => {
  const [status, type, body] = await respond(request).catch((error) => [
    502, TYPES['.json'], JSON.stringify({ status: 'error', error: String(error) }),
  ]);
  response.writeHead(status, { 'content-type': type }).end(body);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const base = `http://127.0.0.1:${server.address().port}`;

const { chromium } = createRequire(join(args.page, '..', 'package.json'))('playwright-core');
const profile = await mkdtemp(join(tmpdir(), 'dashboard-pictures-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: args.chromium,
  args: CHROMIUM,
});
let failed = 0;

function report(file, problem) {
  failed += 1;
  console.error(`${file}: ${problem}`);
}

async function take({ file, width = 1600, ...query }) {
  const page = await browser.newPage();
  await page.setViewportSize({ width, height: 900 });
  page.on('pageerror', (error) => report(file, error.message));
  // A picture of a lab without internet access must not need it.
  await page.route((url) => url.origin !== base, (route) => {
    report(file, `the page asks for ${route.request().url()}`);
    return route.abort();
  });
  await page.goto(`${base}/?${new URLSearchParams({ ...query, width })}`);
  await page.waitForFunction('window.pending === 0', null, { timeout: DATA_TIMEOUT_MS });
  for (const problem of await page.evaluate('window.failures')) {
    report(file, problem);
  }
  // Charts draw in the frames after their data have come.
  await page.evaluate('document.fonts.ready');
  await page.waitForTimeout(400);
  await page.locator('#picture').screenshot({ path: join(args.out, file) });
  await page.close();
}

try {
  for (const shot of JSON.parse(args.shots)) {
    await take(shot).catch((error) => report(shot.file, error.message));
  }
} finally {
  await browser.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
