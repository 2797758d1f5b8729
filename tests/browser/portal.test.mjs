// What do people see on the portal, from "Sign in" to the console, and when something goes wrong?

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { NOTHING, PAGE, UNREACHABLE, desk, grant, refusals, signInHost, stack, stored, table } from './desk.mjs';

const visit = await desk({ before, after });
const aws = await signInHost({ before, after });

const problem = (page) => page.getByRole('alert');
const GRANTS = `${stack.url}/v1/grants`;
const CREDENTIALS = `${stack.url}/v1/credentials`;
const CONSOLE = `${stack.url}/v1/console`;
const METADATA = `${stack.url}/.well-known/oauth-protected-resource`;
const TOKENS = `${stack.issuer}/token`;

/** What every refusal shows: the server's sentence, and the id by which its operators find it. */
async function refusal(page, message) {
  await problem(page).getByText(message).first().waitFor();
  await problem(page)
    .getByText(/^Request ID: .+/)
    .waitFor();
}

// ---- As it should be

test('a person signs in, sees what they may have, and leaves nothing behind', async (t) => {
  const made = await visit(t);
  const { page } = made;
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  // The icon is for the browser's own tab, and asked for after the page.
  const files = made.urls.filter((url) => url !== METADATA && !url.endsWith('/favicon.svg'));
  assert.deepEqual(files, [PAGE, `${PAGE}portal/style.css`, `${PAGE}portal/portal.js`]);

  await made.signIn('carol');
  const names = await page.getByRole('article').getByRole('heading').allTextContents();
  assert.deepEqual(names, ['athena', 'badge', 'default', 'home']);
  const reports = grant(page, 'default');
  await reports.getByText('Reading the reports').waitFor();
  await reports.getByText('Longest session: 2 hours').waitFor();
  await page.getByRole('banner').getByText('carol').waitFor();
  assert.deepEqual(await stored(page), NOTHING);
  assert.equal(await page.getByRole('status').textContent(), '');
});

test('the console opens with exactly the session of the grant, in a window of its own', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('carol');
  const [asked, sent, opened] = await Promise.all([
    page.waitForRequest(CONSOLE),
    page.waitForResponse(CONSOLE),
    made.context.waitForEvent('page'),
    grant(page, 'default').getByRole('button', { name: 'Open console' }).click(),
  ]);
  await opened.waitForLoadState();
  assert.deepEqual(asked.postDataJSON(), { grant: 'default' });
  assert.equal(opened.url(), (await sent.json()).SigninUrl);
  assert.equal(await opened.title(), 'AWS console null', 'it has no opener');
  const [session] = aws.sessions.splice(0);
  assert.equal(session.query, '');
  assert.equal(session.form.Action, 'getSigninToken');
  assert.match(session.form.Session, /"sessionId":"ASIA/);
  const [visited] = aws.visits.splice(0);
  assert.equal(visited.query.Action, 'login');
  assert.equal(visited.query.SigninToken, 'signin-token');
  assert.equal(visited.query.Issuer.replace(/\/$/, ''), stack.url);
  assert.match(visited.query.Destination, /^https:\/\/console\.aws\.amazon\.com\//);
  assert.equal(visited.referer, undefined);
  assert.match(await page.getByRole('status').textContent(), /new tab/);
  assert.deepEqual(await stored(page), NOTHING);
});

test('a browser that lets no window open any more has a link to the console', async (t) => {
  const made = await visit(t);
  await made.page.addInitScript(() => Object.defineProperty(UserActivation.prototype, 'isActive', { value: false }));
  const page = await made.signIn('carol');
  await grant(page, 'default').getByRole('button', { name: 'Open console' }).click();
  const link = grant(page, 'default').getByRole('link', { name: 'Continue to the console' });
  await link.waitFor();
  assert.equal(made.context.pages().length, 1);
  const [opened] = await Promise.all([made.context.waitForEvent('page'), link.click()]);
  await opened.waitForLoadState();
  assert.equal(await opened.title(), 'AWS console null');
});

test('a stronger sign-in is one click away, and leads back to what it is for', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('frank');
  const deploy = grant(page, 'deploy');
  await deploy.getByText('Needs a stronger sign-in (mfa).').waitFor();
  assert.equal(await deploy.getByRole('button').count(), 1, 'nothing else can be done');
  await deploy.getByRole('button', { name: 'Sign in again' }).click();
  await made.answerProvider('frank', { factor: true });
  await deploy.getByRole('button', { name: 'Open console' }).waitFor();
  assert.equal(
    await page.evaluate(() => document.activeElement.closest('article')?.querySelector('h2').textContent),
    'deploy',
  );
  await page.getByRole('status').getByText('You can use deploy now.').waitFor();
  await deploy.getByRole('button', { name: 'Get credentials' }).click();
  await page.getByRole('dialog', { name: 'Credentials for deploy' }).waitFor();
  assert.deepEqual(await stored(page), NOTHING);
});

test('the command that sets up the command line can be copied', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  const section = page.getByRole('region', { name: 'Command line' });
  await section.getByRole('heading', { name: 'Command line' }).waitFor();
  await section.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('status').getByText('Copied').waitFor();
  assert.equal(
    await page.evaluate(() => navigator.clipboard.readText()),
    `hallpass configure ${stack.url}`,
  );
});

test('who has no grants reads whom to ask', async (t) => {
  const made = await visit(t);
  await made.page.route(GRANTS, (route) => route.fulfill({ json: { grants: [] } }));
  const page = await made.signIn('dave');
  await page.getByText(/^You have no grants yet\. Ask the people who run Hallpass/).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
});

test('who signs out is signed out here', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  await page.getByRole('status').getByText('signed out').waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
  assert.equal(await page.getByRole('banner').getByText('carol').count(), 0);
});

// ---- Clients, as the metadata has them

/** Changes what the server says of the page's clients. */
const described = (page, change) =>
  page.route(METADATA, async (route) => {
    const body = await (await route.fetch()).json();
    change(body);
    await route.fulfill({ json: body });
  });

test('with several providers each has a button', async (t) => {
  const { page } = await visit(t);
  await described(page, ({ hallpass_clients: { browser } }) => browser.push({ ...browser[0], issuer_id: 'partner' }));
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in with corp' }).waitFor();
  await page.getByRole('button', { name: 'Sign in with partner' }).waitFor();
});

test("the client's parameters, scope and token are used", async (t) => {
  const made = await visit(t, { expected: refusals(401) });
  await described(made.page, ({ hallpass_clients: { browser } }) =>
    Object.assign(browser[0], {
      token: 'id_token',
      scope: 'openid email',
      parameters: { ui_locales: 'de', state: 'theirs' },
    }),
  );
  await made.page.goto(PAGE);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  const [authorize] = await Promise.all([
    made.page.waitForRequest((request) => request.url().startsWith(`${stack.issuer}/auth`)),
    made.page.waitForURL((url) => url.href.startsWith(stack.issuer)),
  ]).catch(() => [{ url: () => made.urls.find((url) => url.startsWith(`${stack.issuer}/auth?`)) }]);
  const query = new URL(authorize.url()).searchParams;
  assert.deepEqual(
    [query.get('ui_locales'), query.get('scope'), query.getAll('state').length],
    ['de', 'openid email', 1],
  );
  assert.notEqual(query.get('state'), 'theirs');
  assert.deepEqual([query.get('code_challenge_method'), query.get('redirect_uri')], ['S256', PAGE]);
  const [tokens, asked] = await Promise.all([
    made.page.waitForResponse(TOKENS).then((answer) => answer.json()),
    made.page.waitForRequest(GRANTS),
    made.answerProvider('carol'),
  ]);
  assert.equal(await asked.headerValue('authorization'), `Bearer ${tokens.id_token}`);
  // Its audience is not Hallpass: the provider is configured for access tokens.
  await refusal(made.page, /./);
});

test('a page that is opened under another address leads to the one that is registered', async (t) => {
  const { page } = await visit(t);
  await described(page, (body) => Object.assign(body, { resource: 'https://hallpass.example.com/base' }));
  await page.goto(PAGE);
  const link = page.getByRole('link', { name: 'Go to hallpass.example.com' });
  assert.equal(await link.getAttribute('href'), 'https://hallpass.example.com/base/');
  assert.equal(await page.getByRole('button').count(), 0);
});

test('behind a stage or a base path everything is below it', async (t) => {
  const made = await visit(t);
  const base = 'https://hallpass.example.com/stage/';
  await made.context.route('https://hallpass.example.com/**', async (route) => {
    const url = route.request().url();
    assert(url.startsWith(base), url);
    if (!url.endsWith('protected-resource'))
      return route.fulfill({ response: await route.fetch({ url: url.replace(base, PAGE) }) });
    const body = await (await route.fetch({ url: METADATA })).json();
    return route.fulfill({ json: { ...body, resource: base.slice(0, -1) } });
  });
  await made.page.goto(base);
  await made.page.getByRole('button', { name: 'Sign in' }).waitFor();
});

// ---- What goes wrong with a grant

test('a grant that has vanished is named, and the list is fetched again', async (t) => {
  await table('put', 'corp/user/carol', 'gone', {});
  const made = await visit(t, { expected: refusals(403) });
  const page = await made.signIn('carol');
  await grant(page, 'gone').waitFor();
  await table('delete', 'corp/user/carol', 'gone');
  await grant(page, 'gone').getByRole('button', { name: 'Get credentials' }).click();
  await refusal(page, /^gone: /);
  await grant(page, 'gone').waitFor({ state: 'detached' });
  await grant(page, 'default').getByRole('button', { name: 'Open console' }).waitFor();
});

test('who is blocked in the middle reads so, and can sign out', async (t) => {
  const made = await visit(t, { expected: refusals(403) });
  const page = await made.signIn('carol');
  await table('put', 'blocked#corp/user/carol', '#blocked', {});
  try {
    await grant(page, 'default').getByRole('button', { name: 'Open console' }).click();
    await page.getByRole('button', { name: 'Try again' }).waitFor();
    assert.equal(await page.getByRole('article').count(), 0);
    await refusal(page, /./);
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
  } finally {
    await table('delete', 'blocked#corp/user/carol', '#blocked');
  }
  await page.getByRole('button', { name: 'Try again' }).click();
  await grant(page, 'default').waitFor();
});

test('a requirement that is new since the list was made is asked for in place', async (t) => {
  await table('put', 'corp/user/carol', 'tight', {});
  t.after(() => table('delete', 'corp/user/carol', 'tight'));
  const made = await visit(t, { expected: refusals(401) });
  const page = await made.signIn('carol');
  await table('put', 'corp/user/carol', 'tight', { require: { acr: ['mfa'] } });
  await grant(page, 'tight').getByRole('button', { name: 'Get credentials' }).click();
  await refusal(page, /sign-in/);
  await grant(page, 'tight').getByText('Needs a stronger sign-in (mfa).').waitFor();
  await grant(page, 'tight').getByRole('button', { name: 'Sign in again' }).click();
  await made.answerProvider('carol', { factor: true });
  await grant(page, 'tight').getByRole('button', { name: 'Get credentials' }).click();
  await page.getByRole('dialog', { name: 'Credentials for tight' }).waitFor();
});

test('a provider that does not ask for more is not asked in a circle', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('frank');
  await page.route(GRANTS, (route) =>
    route.fulfill({
      json: { grants: [{ name: 'deploy', max_duration: 3600, requires: { acr_values: ['gold'], max_age: 900 } }] },
    }),
  );
  await grant(page, 'deploy').getByRole('button', { name: 'Sign in again' }).click();
  await made.answerProvider('frank', { factor: true });
  await grant(page, 'deploy').getByRole('alert').getByText('still lacks').waitFor();
  await grant(page, 'deploy').getByText('Needs a stronger sign-in (gold), at most 15 minutes ago.').waitFor();
});

test('a refusal of AWS is shown where it happened, and can be tried again', async (t) => {
  const made = await visit(t, { expected: refusals(503) });
  const page = await made.signIn('carol');
  aws.status = 500;
  t.after(() => (aws.status = 200));
  await grant(page, 'home').getByRole('button', { name: 'Open console' }).click();
  await refusal(page, /./);
  assert.equal(await grant(page, 'home').getByRole('alert').count(), 1);
  aws.status = 200;
  await Promise.all([
    made.context.waitForEvent('page'),
    grant(page, 'home').getByRole('button', { name: 'Open console' }).click(),
  ]);
  await problem(page).waitFor({ state: 'detached' });
});

// ---- When the sign-in ends

test("a token that is not accepted any more is a problem, and a new sign-in is the person's choice", async (t) => {
  const made = await visit(t, { expected: refusals(401) });
  const page = await made.signIn('carol');
  await page.route(CREDENTIALS, (route) =>
    route.continue({ headers: { ...route.request().headers(), authorization: 'Bearer x.y.z' } }),
  );
  await grant(page, 'default').getByRole('button', { name: 'Get credentials' }).click();
  await refusal(page, /./);
  assert.equal(page.url(), PAGE);
  await page.unroute(CREDENTIALS);
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await grant(page, 'default').waitFor(); // the provider still knows them
});

test('a sign-in that expires while the page is open says so', async (t) => {
  const made = await visit(t);
  await made.page.clock.install();
  const page = await made.signIn('carol');
  await page.clock.fastForward('01:01:00');
  await problem(page).getByText('Your sign-in has expired.').waitFor();
  assert.equal(page.url(), PAGE);
  await page.getByRole('button', { name: 'Sign in again' }).waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
});

// ---- Networks as they are

test('a provider that is down is named, and can be tried again', async (t) => {
  const { page } = await visit(t, { expected: [UNREACHABLE] });
  await page.route(`${stack.issuer}/**`, (route) => route.abort());
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await problem(page).getByText('The identity provider cannot be reached.').waitFor();
  await page.unroute(`${stack.issuer}/**`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Name').waitFor();
});

test('a provider that goes down during the sign-in leaves a way on', async (t) => {
  const made = await visit(t, { expected: [UNREACHABLE] });
  await made.page.route(TOKENS, (route) => route.abort());
  await made.page.goto(PAGE);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  await made.answerProvider('carol');
  await problem(made.page).getByText('The identity provider cannot be reached.').waitFor();
  assert.deepEqual(await stored(made.page), NOTHING);
  await made.page.unroute(TOKENS);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  await grant(made.page, 'default').waitFor();
});

test('a Hallpass that is down is named, from the start to each button', async (t) => {
  const made = await visit(t, { expected: [UNREACHABLE] });
  const { page } = made;
  await page.route(METADATA, (route) => route.abort());
  await page.goto(PAGE);
  await problem(page).getByText('Hallpass cannot be reached.').waitFor();
  await page.unroute(METADATA);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('button', { name: 'Sign in' }).click();

  await page.route(GRANTS, (route) => route.abort());
  await made.answerProvider('carol');
  await problem(page).getByText('Hallpass cannot be reached.').waitFor();
  await page.unroute(GRANTS);
  await page.getByRole('button', { name: 'Try again' }).click();

  for (const name of ['Open console', 'Get credentials']) {
    await page.route('**/v1/c*', (route) => route.abort());
    await grant(page, 'default').getByRole('button', { name }).click();
    await grant(page, 'default').getByRole('alert').getByText('Hallpass cannot be reached.').waitFor();
    await page.unroute('**/v1/c*');
  }
});

test("a gateway's own error keeps its id", async (t) => {
  const made = await visit(t, { expected: refusals(503) });
  const page = await made.signIn('carol');
  await page.route(CREDENTIALS, (route) =>
    route.fulfill({ status: 503, headers: { 'apigw-requestid': 'KBz=' }, json: { message: 'Service Unavailable' } }),
  );
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  await problem(page).getByText('Service Unavailable').waitFor();
  await problem(page).getByText('Request ID: KBz=').waitFor();
});

test('on a slow network the page says what it waits for, and a second click asks for nothing more', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('carol');
  const asked = [];
  let go;
  const slow = new Promise((resolve) => (go = resolve));
  await page.route(CREDENTIALS, async (route) => {
    asked.push(route.request().postDataJSON());
    await slow;
    await route.continue();
  });
  const button = grant(page, 'default').getByRole('button', { name: 'Get credentials' });
  await button.click();
  await page.getByRole('status').getByText('Getting credentials…').waitFor();
  await button.click({ force: true });
  go();
  await page.getByRole('dialog').waitFor();
  assert.deepEqual(asked, [{ grant: 'default' }]);
});

test('a page that does not come whole offers to load it again', async (t) => {
  const { page } = await visit(t, { expected: [UNREACHABLE] });
  await page.route('**/portal/portal.js', (route) => route.abort());
  await page.goto(PAGE);
  await page.waitForFunction(() => Number(getComputedStyle(document.querySelector('.late')).opacity) === 1);
  await page.unroute('**/portal/portal.js');
  await page.getByRole('link', { name: 'Load the page again' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
});

test('a file that does not come later is a problem, not a page that stands still', async (t) => {
  const made = await visit(t, { expected: [UNREACHABLE] });
  await made.page.route('**/portal/signin.js', (route) => route.abort());
  await made.page.goto(PAGE);
  await made.page.getByRole('button', { name: 'Sign in' }).click();
  await problem(made.page).getByText('cannot be loaded').waitFor();
});

// ---- Tabs, and the buttons of the browser

test('a reload ends the session and spends no code again', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('carol');
  await page.reload();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await problem(page).count(), 0);
  assert.equal(made.urls.filter((url) => url === TOKENS).length, 1);
  assert.deepEqual(await stored(page), NOTHING);
});

test('back and forward lead to a page that works, and spend no code again', async (t) => {
  const made = await visit(t);
  const page = await made.signIn('carol');
  await page.goBack();
  await page.goForward();
  await page
    .getByRole('button', { name: /Sign (in|out)/ })
    .first()
    .waitFor();
  assert.equal(made.urls.filter((url) => url === TOKENS).length, 1);
  assert.equal((await stored(page)).address, PAGE);
});

test('who comes back from the provider can sign in, and going forward again works too', async (t) => {
  const made = await visit(t);
  const { page } = made;
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Name').waitFor();
  await page.goBack();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await page.getByRole('status').textContent(), '');
  await page.goForward();
  await made.answerProvider('carol');
  await grant(page, 'default').waitFor();
});

test('a page that the back button restores as it was left can be used', async (t) => {
  const { page } = await visit(t);
  let asked = 0;
  // The first question is never answered.
  await page.route(`${stack.issuer}/**`, (route) => (asked++ === 0 ? undefined : route.continue()));
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('status').getByText('Opening the sign-in page…').waitFor();
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  assert.equal(await page.getByRole('status').textContent(), '');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Name').waitFor();
});

test('a page that was left has forgotten the sign-in when the back button restores it', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
  });
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
});

test('a browser that stores nothing is named as what stops the sign-in', async (t) => {
  const { page } = await visit(t);
  await page.addInitScript(
    () =>
      (Storage.prototype.setItem = () => {
        throw new DOMException('no', 'QuotaExceededError');
      }),
  );
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await problem(page).getByText('Allow it to store data').waitFor();
});

test('two tabs sign in at the same time, each for itself', async (t) => {
  const made = await visit(t);
  const other = await made.tab();
  for (const page of [made.page, other]) {
    await page.goto(PAGE);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByLabel('Name').waitFor();
  }
  await made.answerProvider('carol');
  await made.answerProvider('carol', { page: other });
  for (const page of [made.page, other]) await grant(page, 'default').waitFor();
  await made.page.getByRole('button', { name: 'Sign out' }).click();
  await grant(other, 'default').getByRole('button', { name: 'Get credentials' }).click();
  await other.getByRole('dialog').waitFor();
});
