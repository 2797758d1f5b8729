// Does examples/browser do what its README says? In a real Chromium, served as `npm start` serves it, against the local
// stack.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/browser');
const { chromium } = createRequire(join(ROOT, 'dev/package.json'))('playwright-core');
const esbuild = createRequire(join(EXAMPLE, 'package.json'))('esbuild');

const { application, origins } = JSON.parse(process.env.HALLPASS_STACK);
const SETTINGS = {
  ...application,
  // Nothing of carol's opens this one, so S3 refuses.
  buckets: [...application.buckets, { name: 'acme-home', grant: 'default' }],
};
const MINUTE_MS = 60_000;
const CREDENTIALS = `${application.hallpass}/v1/credentials/`;

let directory, server, origin, browser, discovery;
let context, page, seen, trouble;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'example-'));
  writeFileSync(join(directory, 'settings.json'), JSON.stringify(SETTINGS));
  origin = await freeOrigin();
  server = await serve(new URL(origin).port);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync'],
    ],
  });
  discovery = await (await fetch(`${application.issuer}/.well-known/openid-configuration`)).json();
});

after(async () => {
  await browser?.close();
  server?.kill();
  rmSync(directory, { recursive: true, force: true });
});

beforeEach(async (t) => {
  context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  [seen, trouble] = [[], []];
  context.on('request', (request) => seen.push(request));
  context.on('console', (message) => {
    const ours = message.location().url.startsWith(origin) || message.page()?.url().startsWith(origin);
    if (ours && ['error', 'warning'].includes(message.type())) trouble.push(message.text());
  });
  context.on('weberror', (error) => trouble.push(String(error.error())));
  page = await open();
  t.after(() => context.close());
});

/** One of the origins that the stack lets in, on a port that nobody has. */
async function freeOrigin() {
  for (const candidate of origins) {
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(new URL(candidate).port, 'localhost', () => resolve(true));
    });
    await new Promise((resolve) => probe.close(resolve));
    if (free) return candidate;
  }
  throw new Error(`another program has each of ${origins.join(', ')}`);
}

/** `npm start`. */
function serve(port) {
  const command = [join(EXAMPLE, 'build.mjs'), '--serve', join(directory, 'settings.json')];
  const child = spawn('node', command, { env: { ...process.env, PORT: port }, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (data) => {
      said += data;
      if (said.includes(`http://localhost:${port}/`)) resolve(child);
    });
    child.once('exit', (code) => reject(new Error(`npm start ended with ${code}`)));
  });
}

async function open() {
  const opened = await context.newPage();
  await opened.goto(`${origin}/`);
  return opened;
}

const button = (name, tab = page) => tab.getByRole('button', { name, exact: true });
const bucket = (name, tab = page) => tab.getByRole('article', { name });
const list = (name, tab = page) => bucket(name, tab).getByRole('button', { name: 'List' }).click();
const says = (text, tab = page) => tab.getByRole('status').filter({ hasText: text }).waitFor();
const problem = async (text, tab = page) => {
  const alert = tab.getByRole('alert');
  await alert.filter({ hasText: text }).waitFor();
  return alert.innerText();
};
const asked = (start) => seen.filter((request) => request.url().startsWith(start) && request.method() !== 'OPTIONS');
const refreshes = () =>
  asked(discovery.token_endpoint).filter((request) => request.postData().includes('grant_type=refresh_token'));
const spent = () => refreshes().map((request) => new URLSearchParams(request.postData()).get('refresh_token'));

/** What the provider asks: who it is, and if the application may. */
async function answerProvider(employee, { factor = false, tab = page } = {}) {
  if (employee) {
    await tab.getByLabel('Name').fill(employee);
    if (factor) await tab.getByLabel('Second factor').check();
    await button('Sign in', tab).click();
  }
  await button('Allow', tab).click();
}

async function signIn(employee, tab = page) {
  await button('Sign in', tab).click();
  await answerProvider(employee, { tab });
  await tab.getByText('Signed in as').waitFor();
}

/** Changes the next answers to the page, as if time had gone on. */
const answers = (url, times, change) =>
  context.route(
    url,
    async (route) => {
      const response = await route.fetch();
      return route.fulfill({ response, json: { ...(await response.json()), ...change } });
    },
    { times },
  );

/** Signs in with a token that has ended when the page looks at it next. */
async function signInBriefly(employee) {
  await answers(discovery.token_endpoint, 1, { expires_in: 0 });
  await signIn(employee);
}

/** Lets the page read what the emulator of S3 refuses: S3 has CORS headers on refusals too. It has its time in the body, and
 * the emulator in a header. */
const readable = () =>
  context.route(`${application.s3_endpoint}/**`, async (route) => {
    const response = await route.fetch();
    const cors = { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'date' };
    return route.fulfill({ response, headers: { ...response.headers(), ...cors } });
  });

/** What the token endpoint answered to the page last. */
async function tokens() {
  return (await (await asked(discovery.token_endpoint).at(-1).response()).json());
}

function post(url, form) {
  return fetch(url, { method: 'POST', body: new URLSearchParams({ client_id: application.client_id, ...form }) });
}

test('a person signs in and lists a bucket, and no token is left behind', async () => {
  await signIn('carol');
  await list('acme-reports');
  await says('acme-reports: 1 objects');
  assert.equal(await bucket('acme-reports').getByRole('listitem').innerText(), '2026/q3.csv (19 bytes)');

  assert.equal(page.url(), `${origin}/`);
  assert.deepEqual(await page.evaluate(() => [{ ...localStorage }, { ...sessionStorage }, document.cookie]), [{}, {}, '']);
  const { entries } = await (await context.newCDPSession(page)).send('Page.getNavigationHistory');
  assert.deepEqual(entries.filter(({ url }) => url.includes('code=') && url.startsWith(origin)), []);
  for (const secret of Object.values(await tokens()).filter((value) => String(value).length > 40)) {
    assert.equal(seen.some((request) => request.url().includes(secret)), false);
  }
  assert.deepEqual(trouble, []);
});

test('a grant that needs more says so, and one click signs in with it and goes on', async () => {
  await signIn('frank');
  await list('acme-shop');
  const text = await problem('insufficient_user_authentication');
  const { message, requestId } = await (await asked(`${CREDENTIALS}deploy`).at(-1).response()).json();
  assert.ok(text.includes(message) && text.includes(requestId), text);

  await button('Sign in again').click();
  assert.equal(await page.getByLabel('Second factor').getAttribute('required'), '');
  const { searchParams } = new URL(asked(discovery.authorization_endpoint).at(-1).url());
  assert.deepEqual([searchParams.get('acr_values'), searchParams.get('max_age')], ['mfa', '900']);
  await answerProvider('frank', { factor: true });
  await says('acme-shop: 0 objects');
  await page.getByText('Signed in as frank').waitFor();
});

test('credentials are used until they end, and then renewed', async () => {
  await readable(); // S3 refuses a clock that is wrong, and the SDK learns the right one from that
  await signIn('carol');
  for (let again = 0; again < 3; again += 1) {
    await list('acme-reports');
    await says('acme-reports: 1 objects');
    assert.equal(asked(CREDENTIALS).length, 1);
  }
  // The SDK asks for new ones in the last five minutes of the hour.
  const now = Date.now() + 56 * MINUTE_MS;
  await page.clock.setSystemTime(now);
  await answers(`${CREDENTIALS}**`, 1, { Expiration: new Date(now + 60 * MINUTE_MS).toISOString() });
  for (let again = 0; again < 3; again += 1) {
    await list('acme-reports');
    await says('acme-reports: 1 objects');
    assert.equal(asked(CREDENTIALS).length, 2);
  }
  assert.equal(refreshes().length, 0, 'the token is still good');
});

test('a token is renewed before it ends, each time with a new refresh token', async () => {
  await signInBriefly('erin');
  await answers(discovery.token_endpoint, 1, { expires_in: 0 });
  // Each bucket has a grant of its own.
  for (const [number, name] of ['acme-reports', 'acme-payroll', 'acme-shop'].entries()) {
    await list(name);
    await says(name);
    assert.deepEqual([asked(CREDENTIALS).length, refreshes().length], [number + 1, Math.min(number + 1, 2)]);
  }
  assert.equal(new Set(spent()).size, 2);
});

/** Answers for Hallpass, `times` times. */
const refuse = (times, status, body) =>
  context.route(
    `${CREDENTIALS}**`,
    (route) =>
      route.fulfill({
        status,
        contentType: 'application/problem+json',
        headers: { 'Access-Control-Allow-Origin': origin },
        body: JSON.stringify(body),
      }),
    { times },
  );

test('a token that Hallpass no longer takes is renewed once', async () => {
  await signIn('carol');
  await refuse(1, 401, { code: 'invalid_token', message: 'the token has expired' });
  await list('acme-reports');
  await says('acme-reports: 1 objects');
  assert.deepEqual([asked(CREDENTIALS).length, refreshes().length], [2, 1]);
});

test('a token that Hallpass never takes leads to a new sign-in, not to a loop', async () => {
  await signIn('carol');
  await refuse(2, 401, { code: 'invalid_token', message: 'the token is for somebody else', requestId: 'r-1' });
  await list('acme-reports');
  assert.match(await problem('the token is for somebody else'), /invalid_token, request r-1/);
  assert.deepEqual([asked(CREDENTIALS).length, refreshes().length], [2, 1]);
  await button('Sign in again').click();
  await answerProvider();
  await says('acme-reports: 1 objects');
});

test('when the sign-in has ended, the page says so and signs in again', async () => {
  await signInBriefly('carol');
  const { refresh_token: token } = await tokens();
  assert.equal((await post(discovery.revocation_endpoint, { token })).status, 200);
  await list('acme-reports');
  await problem('Your sign-in has ended.');
  assert.equal(await page.getByText('Signed in as').count(), 0);
  assert.equal(asked(CREDENTIALS).length, 0);
  await button('Sign in again').click();
  await answerProvider();
  await says('acme-reports: 1 objects');
});

test('a refusal is shown in the words of Hallpass, with what an operator needs', async () => {
  await signIn('carol');
  await list('acme-payroll');
  const text = await problem('access_denied');
  const { message, requestId } = await (await asked(`${CREDENTIALS}payroll`).at(-1).response()).json();
  assert.ok(text.includes(message) && text.includes(requestId), text);
  assert.equal(await button('Sign in again').count(), 0, 'another sign-in would change nothing');
});

test('what S3 refuses is shown in its words', async () => {
  await readable();
  await signIn('carol');
  await list('acme-home');
  assert.match(await problem('S3 refused'), /not authorized to perform: s3:ListBucket.*\(AccessDenied\)/);
});

test('who cannot be reached is named, and the next try works', async () => {
  await signInBriefly('carol');
  for (const [host, text] of [
    [discovery.token_endpoint, 'The identity provider cannot be asked'],
    [CREDENTIALS, `Hallpass cannot be reached, or does not allow pages of ${origin}.`],
    [`${application.s3_endpoint}/`, `acme-reports cannot be reached, or does not allow pages of ${origin}.`],
  ]) {
    await context.route(`${host}**`, (route) => route.abort());
    await list('acme-reports');
    await problem(text);
    await context.unroute(`${host}**`);
  }
  await list('acme-reports');
  await says('acme-reports: 1 objects');
});

for (const [name, body] of Object.entries({ 'no JSON': undefined, 'no object': null })) {
  test(`a gateway that answers ${name} is a refusal too`, async () => {
    await signIn('carol');
    await refuse(1, 503, body);
    await list('acme-reports');
    await problem('Hallpass answered 503.');
  });
}

test('a provider that is down is named when the person signs in', async () => {
  await context.route(`${application.issuer}/**`, (route) => route.abort());
  await button('Sign in').click();
  await problem('The identity provider cannot be asked');
  await context.unroute(`${application.issuer}/**`);
  await signIn('carol');
});

/** Keeps the provider's answer back until a second call waits for the first one's. */
async function renewTogether(begin) {
  const held = [];
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await context.route(discovery.token_endpoint, async (route) => {
    held.push(route);
    await released;
    await route.continue();
  });
  await begin();
  await page.waitForFunction(async () => {
    const { held: has, pending } = await navigator.locks.query();
    return has.length === 1 && pending.length === 1;
  });
  assert.equal(held.length, 1);
  release();
}

test('calls at once in one tab renew the token once', async () => {
  await signInBriefly('erin');
  const names = ['acme-reports', 'acme-payroll'];
  await renewTogether(async () => {
    for (const name of names) await list(name);
  });
  for (const name of names) await bucket(name).getByRole('listitem').waitFor();
  assert.deepEqual([asked(CREDENTIALS).length, refreshes().length], [2, 1]);
});

test('two tabs renew one after the other, and spend no refresh token twice', async () => {
  const tabs = [page, await open()];
  await answers(discovery.token_endpoint, 2, { expires_in: 0 });
  await signIn('carol', tabs[0]);
  await button('Sign in', tabs[1]).click();
  await answerProvider(undefined, { tab: tabs[1] });
  await tabs[1].getByText('Signed in as carol').waitFor();

  await renewTogether(async () => {
    for (const tab of tabs) await list('acme-reports', tab);
  });
  for (const tab of tabs) await says('acme-reports: 1 objects', tab);
  assert.equal(refreshes().length, 2);
  assert.equal(new Set(spent()).size, 2);
  for (const request of refreshes()) assert.equal((await request.response()).status(), 200);
});

test('signing out forgets the tokens, here and at the provider', async () => {
  await signIn('carol');
  await list('acme-reports');
  await says('acme-reports');
  const { refresh_token: token } = await tokens();
  await button('Sign out').click();
  await button('Sign in').waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
  await page.getByText('One moment').waitFor({ state: 'hidden' });
  const answer = await post(discovery.token_endpoint, { grant_type: 'refresh_token', refresh_token: token });
  assert.equal((await answer.json()).error, 'invalid_grant');
});

test('after a reload nobody is signed in', async () => {
  await signIn('carol');
  await page.reload();
  await button('Sign in').click();
  await answerProvider();
  await page.getByText('Signed in as carol').waitFor();
});

/** Sends the page back with this in the place of the provider's answer. */
async function answeredWith(change) {
  await context.route(`${discovery.authorization_endpoint}**`, (route) => {
    const state = new URL(route.request().url()).searchParams.get('state');
    const answer = new URLSearchParams(change({ code: 'stolen', state, iss: application.issuer }));
    return route.fulfill({ status: 303, headers: { location: `${origin}/?${answer}` } });
  });
  await button('Sign in').click();
  const text = await problem(/sign-in/);
  assert.equal(page.url(), `${origin}/`);
  assert.deepEqual(await page.evaluate(() => ({ ...sessionStorage })), {});
  return text;
}

test('an answer that belongs to no sign-in is not used', async () => {
  await page.goto(`${origin}/?code=stolen&state=guessed&iss=${encodeURIComponent(application.issuer)}`);
  await problem('This sign-in was already used, or began in another tab.');
  assert.equal(page.url(), `${origin}/`);
  assert.equal(asked(discovery.token_endpoint).length, 0);
});

for (const [name, change] of Object.entries({
  'another state': (answer) => ({ ...answer, state: 'guessed' }),
  'another issuer': (answer) => ({ ...answer, iss: 'https://evil.example' }),
  'no issuer': ({ code, state }) => ({ code, state }),
  'an error': ({ state, iss }) => ({ error: 'access_denied', error_description: 'not today', state, iss }),
})) {
  test(`an answer with ${name} signs nobody in`, async () => {
    const text = await answeredWith(change);
    assert.match(text, /The sign-in did not succeed/);
    if (name === 'an error') assert.match(text, /not today/);
    assert.equal(asked(discovery.token_endpoint).length, 0);
  });
}

test('a code that was stolen from another sign-in is refused by the provider', async () => {
  assert.match(await answeredWith((answer) => answer), /The sign-in did not succeed/);
  assert.equal((await asked(discovery.token_endpoint).at(-1).response()).status(), 400);
});

test('the policy of the page lets in no script, no markup and no other host', async () => {
  const evil = await page.evaluate(async () => {
    const refused = [];
    const attempts = {
      markup: () => (document.body.innerHTML = '<b>x</b>'),
      code: () => (document.createElement('script').text = 'location.hash = 1'),
      'a script': () => (document.createElement('script').src = 'https://evil.example/x.js'),
      host: () => fetch('https://evil.example/'),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      await Promise.resolve()
        .then(attempt)
        .catch(() => refused.push(name));
    }
    return refused;
  });
  assert.deepEqual(evil, ['markup', 'code', 'a script', 'host']);
});

const readme = () => readFileSync(join(EXAMPLE, 'README.md'), 'utf8');

test('the three lines of the README compile and get credentials', async () => {
  const [, lines] = /```js\n(import \{ fromHttp \}[^]*?)```/.exec(readme());
  const imports = lines.split('\n').filter((line) => line.startsWith('import '));
  const rest = lines.split('\n').filter((line) => !line.startsWith('import '));
  const contents = `${imports.join('\n')}
    globalThis.credentialsOf = async (hallpass, token) => {\n${rest.join('\n')}\n return credentials(); };`;
  const built = await esbuild.build({ stdin: { contents, resolveDir: EXAMPLE }, bundle: true, write: false });
  await signIn('carol');
  const { access_token: token } = await tokens();
  await page.goto(`${origin}/icon.svg`);
  await page.evaluate(built.outputFiles[0].text);
  const got = await page.evaluate(([url, token]) => globalThis.credentialsOf(url, token), [application.hallpass, token]);
  assert.deepEqual(Object.keys(got).filter((name) => /accessKeyId|secretAccessKey|sessionToken|expiration/.test(name)).length, 4);
});

test('the page is as large as the README says', () => {
  const [, command] = /```sh\n(.*\bgzip\b.*)\n```/.exec(readme());
  const [, whole, zipped] = /(\d+) kB, (\d+) kB gzipped/.exec(readme());
  const [bytes, zippedBytes] = execFileSync('sh', ['-c', command], { cwd: EXAMPLE, encoding: 'utf8' }).match(/\d+/g);
  assert.deepEqual([whole, zipped].map(Number), [bytes, zippedBytes].map((size) => Math.round(size / 1_000)));
});
