// How does a test use a browser? One Chromium for a file of tests, and for each test a person who has never been here.
//
// Whatever a test does, at its end there was no report of the page's policy and no error that it did not expect, nothing
// is stored, and no token or code was in an address that left the page.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';

// They are installed with what else the local stack needs.
const require = createRequire(new URL('../../dev/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const AXE = require.resolve('axe-core/axe.min.js');

export const stack = JSON.parse(process.env.HALLPASS_STACK ?? 'null');
assert(stack, 'python dev/browser.py runs this');
export const PAGE = `${stack.url}/`;
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const PATIENCE_MS = 15_000; // of a machine that compiles at the same time

export const run = promisify(execFile);

/** Changes the grants, as an operator does: `put` or `delete`. */
export const table = (verb, principal, grant, attributes = {}) =>
  run(stack.python, ['dev/browser.py', verb, principal, grant, JSON.stringify(attributes)]);

/** Starts Chromium for the tests of a file. */
export async function desk({ before, after }) {
  let browser;
  before(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  });
  after(() => browser?.close());
  /** Somebody with a browser of their own, and a page in it. */
  return async (t, { expected = [], ...options } = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: stack.url });
    const visit = new Visit(context);
    t.after(async () => {
      await context.close();
      visit.check(expected);
    });
    visit.page = await visit.tab();
    return visit;
  };
}

class Visit {
  constructor(context) {
    this.context = context;
    this.complaints = [];
    this.urls = [];
    context.on('console', (message) => {
      // The provider's own pages are its own business.
      if (['error', 'warning'].includes(message.type()) && !message.location().url.startsWith(stack.issuer)) {
        this.complaints.push(message.text());
      }
    });
    context.on('weberror', (error) => this.complaints.push(String(error.error())));
    context.on('request', (request) => this.urls.push(request.url()));
  }

  /** Another tab. */
  tab() {
    return this.context.newPage();
  }

  /** Opens the page and signs somebody in. */
  async signIn(employee, { page = this.page, url = PAGE } = {}) {
    await page.goto(url);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await this.answerProvider(employee, { page });
    await page.getByRole('heading', { name: 'Your grants' }).waitFor();
    await page.getByText('Asking what you may have').waitFor({ state: 'detached' });
    return page;
  }

  /** What a person does at the provider. Who is known there and has agreed before is not asked again. */
  async answerProvider(employee, { page = this.page, factor = false } = {}) {
    await page.waitForURL((url) => url.href.startsWith(stack.issuer));
    await page.getByLabel('Name').fill(employee);
    if (factor) await page.getByLabel('Second factor').check();
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Allow' }).or(page.locator('#person')).first().waitFor();
    if (page.url().startsWith(stack.issuer)) await page.getByRole('button', { name: 'Allow' }).click();
    await page.waitForURL((url) => url.href.startsWith(PAGE));
  }

  check(expected) {
    const told = this.complaints.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(told, [], 'nothing that nobody expected is in the console');
    for (const url of this.urls) {
      if (url.startsWith(stack.signin)) continue; // the address of a console session opens it: that is its purpose
      assert.doesNotMatch(url, /eyJ|access_token|id_token|ASIA|code_verifier/, 'no token leaves in an address');
    }
  }
}

/** Statuses that Chromium itself writes to the console. */
export const refusals = (...statuses) =>
  statuses.map((status) => new RegExp(`the server responded with a status of ${status} `));
export const UNREACHABLE = /net::ERR_/;

export const grant = (page, name) => page.getByRole('article', { name, exact: true });

/** What the page leaves on the device, apart from the provider's cookies. */
export async function stored(page) {
  return page.evaluate(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    cookies: document.cookie,
    address: location.href,
    state: history.state,
  }));
}

export const NOTHING = { local: {}, session: {}, databases: [], caches: [], cookies: '', address: PAGE, state: null };

/** What axe finds on the page. */
export async function axe(page) {
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run());
  const told = ({ id, nodes }) => ({
    id,
    at: nodes.map(({ target, any }) => `${target}: ${any.map(({ message }) => message)}`),
  });
  return { violations: violations.map(told), incomplete: incomplete.map(told) };
}

/** AWS's sign-in host: takes a session, and opens the console for its token. */
export async function signInHost({ before, after }) {
  const host = { sessions: [], visits: [], status: 200 };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, stack.signin);
    if (request.method === 'POST') {
      host.sessions.push({ query: url.search, form: Object.fromEntries(new URLSearchParams(await text(request))) });
      response
        .writeHead(host.status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ SigninToken: 'signin-token' }));
    } else {
      host.visits.push({ query: Object.fromEntries(url.searchParams), referer: request.headers.referer });
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>AWS console</title><script>document.title += ` ${window.opener}`</script>');
    }
  });
  before(() => new Promise((resolve) => server.listen(Number(new URL(stack.signin).port), '127.0.0.1', resolve)));
  after(() => server.close());
  return host;
}
