// Does anything open when somebody means harm? Strangers write what the portal shows, send links to it and frame it, and
// stand between it and a provider. Each test breaks one thing of a sign-in that works.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { NOTHING, PAGE, desk, grant, refusals, stack, stored } from './desk.mjs';

const visit = await desk({ before, after });

const problem = (page) => page.getByRole('alert');
const GRANTS = `${stack.url}/v1/grants`;
const CREDENTIALS = `${stack.url}/v1/credentials`;
const METADATA = `${stack.url}/.well-known/oauth-protected-resource`;
const TOKENS = `${stack.issuer}/token`;
const DISCOVERY = `${stack.issuer}/.well-known/openid-configuration`;

const EVIL = [
  '<img src=x onerror="window.pwned = 1">',
  '<script>window.pwned = 1</script>',
  '"><svg onload=window.pwned=1>',
  '</code></pre><iframe srcdoc="<script>parent.pwned=1</script>">',
  'javascript:window.pwned=1',
  "';window.pwned=1;'",
  '\u202egnitirw\u0000\u001b[31m',
].join(' ');
/** HTML drops what it cannot show. */
const SHOWN = '<img src=x onerror="window.pwned = 1">';

async function unharmed(page) {
  assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
  assert.equal(
    await page.locator('img, iframe, script:not([src]), [onerror], [onload], [style], a[href^="javascript:"]').count(),
    0,
  );
}

const json = (route, change) =>
  route.fetch().then(async (answer) => route.fulfill({ response: answer, json: change(await answer.json()) }));

// ---- What strangers write

test('a name, a description and a requirement are text', async (t) => {
  const made = await visit(t);
  const offers = {
    grants: [
      { name: EVIL, description: EVIL, max_duration: 3600, requires: {} },
      { name: 'b', description: EVIL, max_duration: 60, requires: { acr_values: [EVIL] } },
    ],
  };
  await made.page.route(GRANTS, (route) => route.fulfill({ json: offers }));
  const page = await made.signIn('carol');
  assert.equal(await page.getByRole('article').count(), 2);
  assert((await page.getByRole('article').first().getByRole('heading').textContent()).includes(SHOWN));
  await page.getByText(`Needs a stronger sign-in (${SHOWN}`).waitFor();
  await unharmed(page);
});

test('a message and a request id are text', async (t) => {
  const made = await visit(t, { expected: refusals(503) });
  const page = await made.signIn('carol');
  await page.route(CREDENTIALS, (route) =>
    route.fulfill({ status: 503, json: { code: EVIL, message: EVIL, requestId: EVIL } }),
  );
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  await problem(page).getByText(SHOWN).first().waitFor();
  await unharmed(page);
});

test('credentials are text, and a shell gets them in quotes', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('carol');
  const key = "x'; touch pwned; '$(touch pwned)`touch pwned`<img src=x onerror=window.pwned=1>";
  await page.route(CREDENTIALS, (route) =>
    json(route, (body) => ({ ...body, SecretAccessKey: key, Grant: EVIL, AccountId: EVIL })),
  );
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText(String.raw`AWS_SECRET_ACCESS_KEY='x'\''; touch`).waitFor();
  // A file that has no quotes takes nothing that would need them.
  await dialog.getByRole('tab', { name: 'AWS config' }).click();
  await dialog.getByText('This format cannot be used').waitFor();
  assert.equal(await dialog.getByRole('button', { name: 'Copy' }).count(), 0);
  await unharmed(page);
});

test('a claim is text', async (t) => {
  const made = await visit(t);
  await made.page.route(TOKENS, (route) =>
    json(route, (tokens) => ({ ...tokens, id_token: changed(tokens.id_token, { name: EVIL }) })),
  );
  const page = await made.signIn('carol');
  await page.getByRole('banner').getByText(SHOWN).waitFor();
  await unharmed(page);
});

test('what the metadata says is text', async (t) => {
  const { page } = await visit(t);
  const client = {
    issuer_id: EVIL,
    issuer: stack.issuer,
    client_id: 'x',
    scope: 'openid',
    token: 'access_token',
    parameters: {},
  };
  await page.route(METADATA, (route) =>
    json(route, (body) => ({ ...body, resource_name: EVIL, hallpass_clients: { cli: [], browser: [client, client] } })),
  );
  await page.goto(PAGE);
  await page.getByRole('heading', { name: `Sign in to ${SHOWN}` }).waitFor();
  await unharmed(page);
});

test("a provider's words are text, in the address and in an answer", async (t) => {
  const made = await visit(t, { expected: refusals(400) });
  const { page } = made;
  const state = await begun(made);
  await page.goto(`${PAGE}?${new URLSearchParams({ error: 'x', error_description: EVIL, state, iss: stack.issuer })}`);
  await problem(page).getByText(SHOWN).waitFor();
  await unharmed(page);

  await page.route(TOKENS, (route) =>
    route.fulfill({
      status: 400,
      headers: { 'access-control-allow-origin': '*' },
      json: { error: 'x', error_description: EVIL },
    }),
  );
  await page.getByRole('button', { name: 'Sign in' }).click();
  await made.answerProvider('carol');
  await problem(page).getByText(SHOWN).waitFor();
  await unharmed(page);
});

for (const url of [
  'javascript:window.pwned=1',
  'data:text/html,x',
  'http://evil.example/',
  'https://user:word@evil.example/',
  '//evil.example',
  '',
]) {
  test(`no console is opened at ${JSON.stringify(url)}`, async (t) => {
    const made = await visit(t);
    const page = await made.signIn('carol');
    await page.route('**/v1/console', (route) =>
      route.fulfill({ json: { SigninUrl: url, Expiration: '2030-01-01T00:00:00Z' } }),
    );
    await grant(page, 'home').getByRole('button', { name: 'Open console' }).click();
    await problem(page).getByText('does not understand').waitFor();
    assert.equal(made.context.pages().length, 1);
    await unharmed(page);
  });
}

// ---- Links and frames

test('a link to the page can name nothing', async (t) => {
  const made = await visit(t);
  const evil = 'https://evil.example/';
  const page = await made.signIn('carol', {
    url: `${PAGE}?return=${evil}&destination=${evil}&redirect_uri=${evil}&grant=x#${evil}`,
  });
  const [asked] = await Promise.all([
    page.waitForRequest('**/v1/console'),
    made.context.waitForEvent('page').catch(() => {}),
    page.route('**/v1/console', (route) => route.fulfill({ json: { SigninUrl: PAGE } })),
    grant(page, 'home').getByRole('button', { name: 'Open console' }).click(),
  ]);
  assert.deepEqual(asked.postDataJSON(), { grant: 'home' });
  assert(!made.urls.some((url) => url.startsWith(evil)));
  assert(made.urls.filter((url) => url.startsWith(`${stack.issuer}/auth?`)).every((url) => !url.includes('evil')));
  assert.deepEqual(await stored(page), NOTHING);
});

test('no page can frame it', async (t) => {
  const made = await visit(t, { expected: [/frame-ancestors/, /refused to connect|ERR_BLOCKED/i] });
  const server = createServer((_request, response) => {
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end(`<!doctype html><iframe src="${PAGE}" width="900" height="600"></iframe>`);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  await made.page.goto(`http://127.0.0.1:${server.address().port}/`);
  await made.page.waitForLoadState('networkidle');
  for (const frame of made.page.frames().slice(1)) {
    assert.equal(await frame.getByRole('button').count(), 0);
    assert.match(frame.url(), /^chrome-error:/);
  }
});

// ---- Answers that nobody asked for

/** Begins a sign-in, and answers its state: the browser is at the provider then. */
async function begun(made) {
  await made.page.goto(PAGE);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  await made.page.getByLabel('Name').waitFor();
  return new URL(made.urls.findLast((url) => url.startsWith(`${stack.issuer}/auth?`))).searchParams.get('state');
}

/** The page shows a problem, has asked for no token, and offers a new sign-in; nothing is kept. */
async function refused(made, text) {
  await problem(made.page).getByText(text).waitFor();
  await made.page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert(!made.urls.includes(TOKENS));
  assert.deepEqual(await stored(made.page), NOTHING);
}

const right = (state) => ({ code: 'c', state, iss: stack.issuer });

test('the answer as it should be reaches the provider', async (t) => {
  const made = await visit(t, { expected: refusals(400) });
  const state = await begun(made);
  await made.page.goto(`${PAGE}?${new URLSearchParams(right(state))}`);
  await problem(made.page).getByText('refused the sign-in (invalid_grant').waitFor();
  assert(made.urls.includes(TOKENS));
});

const STALE = 'was used already, or began in another tab';
const OTHER = 'came from another identity provider';
for (const [what, change, text] of [
  ['with another state', (answer) => ({ ...answer, state: 'x' }), STALE],
  ['without a state', ({ state: _, ...answer }) => answer, STALE],
  ['with two states', ({ state, ...answer }) => [...Object.entries(answer), ['state', state], ['state', state]], STALE],
  ['with two codes', (answer) => [...Object.entries(answer), ['code', 'd']], STALE],
  ['of another provider', (answer) => ({ ...answer, iss: 'https://evil.example' }), OTHER],
  ['of a provider that does not say its name, and promises to', ({ iss: _, ...answer }) => answer, OTHER],
  [
    'of another provider, with an error',
    ({ state }) => ({ error: 'x', error_description: 'call 555', state, iss: 'https://evil.example' }),
    OTHER,
  ],
  ['without a code', ({ state, iss }) => ({ state, iss }), 'answered without a code'],
]) {
  test(`an answer ${what} is refused`, async (t) => {
    const made = await visit(t);
    const state = await begun(made);
    await made.page.goto(`${PAGE}?${new URLSearchParams(change(right(state)))}`);
    await refused(made, text);
  });
}

test('a code that comes from nowhere is refused', async (t) => {
  const made = await visit(t);
  await made.page.goto(`${PAGE}?${new URLSearchParams(right('s'))}`);
  await refused(made, STALE);
});

test('a code that was stolen opens nothing without its verifier', async (t) => {
  const victim = await visit(t, { expected: [/ERR_FAILED/] });
  await begun(victim);
  await victim.page.route('**/portal/portal.js', (route) => route.abort()); // so that the code is not spent
  await victim.answerProvider('carol');
  const code = new URL(victim.page.url()).searchParams.get('code');
  assert(code);

  const thief = await visit(t, { expected: refusals(400) });
  const state = await begun(thief);
  await thief.page.goto(`${PAGE}?${new URLSearchParams({ ...right(state), code })}`);
  await problem(thief.page).getByText('refused the sign-in (invalid_grant').waitFor();
  assert.equal(await thief.page.getByRole('article').count(), 0);
});

// ---- Providers that are not what they should be

for (const [what, change] of [
  ['names another issuer', (document) => ({ ...document, issuer: `${document.issuer}/` })],
  ['sends people to a script', (document) => ({ ...document, authorization_endpoint: 'javascript:window.pwned=1' })],
  ['sends people to plain http', (document) => ({ ...document, authorization_endpoint: 'http://evil.example/auth' })],
  ['takes codes over plain http', (document) => ({ ...document, token_endpoint: 'http://evil.example/token' })],
  ['has no token endpoint', ({ token_endpoint: _, ...document }) => document],
]) {
  test(`a provider that ${what} is not used`, async (t) => {
    const made = await visit(t);
    await made.page.route(DISCOVERY, (route) => json(route, change));
    await made.page.goto(PAGE);
    await made.page.getByRole('button', { name: 'Sign in' }).click();
    await refused(made, 'is not the one that Hallpass trusts');
    await unharmed(made.page);
  });
}

/** A token with other claims. The page does not verify its signature: it comes from the provider itself, over TLS. */
function changed(token, claims) {
  const [head, body, signature] = token.split('.');
  const now = { ...JSON.parse(Buffer.from(body, 'base64url')), ...claims };
  return [head, Buffer.from(JSON.stringify(now)).toString('base64url'), signature].join('.');
}
const claims = (more) => (tokens) => ({ ...tokens, id_token: changed(tokens.id_token, more) });

const ELSE = 'answered for another sign-in';
const UNUSABLE = 'without a token that this page can use';
for (const [what, change, text] of [
  ['for another sign-in', claims({ nonce: 'x' }), ELSE],
  ['without a nonce', claims({ nonce: undefined }), ELSE],
  ['of another issuer', claims({ iss: 'https://evil.example' }), ELSE],
  ['for another client', claims({ aud: 'x' }), ELSE],
  ['for other clients', claims({ aud: ['x', 'y'] }), ELSE],
  ['that another client asked for', claims({ azp: 'x' }), ELSE],
  ['that has expired', claims({ exp: 1 }), 'expired already'],
  ['without an end', claims({ exp: undefined }), 'expired already'],
  ['that is not one', (tokens) => ({ ...tokens, id_token: 'x' }), ELSE],
  ['that is missing', ({ id_token: _, ...tokens }) => tokens, ELSE],
]) {
  test(`an ID token ${what} signs nobody in`, async (t) => signsNobodyIn(t, change, text));
}
for (const [what, change] of [
  ['no access token', ({ access_token: _, ...tokens }) => tokens],
  ['a token that would be two headers', (tokens) => ({ ...tokens, access_token: 'a\r\nX: b' })],
  ['a token of another kind', (tokens) => ({ ...tokens, token_type: 'DPoP' })],
  ['nothing', () => ({})],
]) {
  test(`an answer with ${what} signs nobody in`, async (t) => signsNobodyIn(t, change, UNUSABLE));
}

async function signsNobodyIn(t, change, text) {
  const made = await visit(t);
  await made.page.route(TOKENS, (route) => json(route, change));
  await made.page.goto(PAGE);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  await made.answerProvider('carol');
  await problem(made.page).getByText(text).waitFor();
  await made.page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await stored(made.page), NOTHING);
  assert(!made.urls.includes(GRANTS));
}
