// Do the credentials work where people paste them?

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { NOTHING, PAGE, desk, grant, run, stack, stored } from './desk.mjs';
import { FORMATS, setUp } from '../../portal/shells.js';

const visit = await desk({ before, after });
const CREDENTIALS = `${stack.url}/v1/credentials`;

const LISTING =
  'import os, boto3; s3 = boto3.client("s3", endpoint_url=os.environ["S3"]); print([o["Key"] for o in s3.list_objects_v2(Bucket=os.environ["BUCKET"])["Contents"]])';
const ENV = {
  PATH: process.env.PATH,
  S3: stack.aws,
  BUCKET: stack.bucket,
  AWS_REGION: stack.region,
  PYTHON: stack.python,
  LISTING,
};

let home;
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'hallpass-'));
});
after(() => rm(home, { recursive: true }));

/** Runs a program that knows of no other credentials. */
const lists = async (command, args, env = {}) =>
  (await run(command, args, { env: { ...ENV, HOME: home, ...env } })).stdout;

/** What "Copy" copies in a tab. */
async function copied(page, tab) {
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('tab', { name: tab }).click();
  await dialog.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('status').getByText('Copied').waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
}

/** What PowerShell makes of assignments of quoted texts: two quotes in a text are one. */
function assigned(script) {
  const [first, ...lines] = script.trimEnd().split('\n');
  assert.match(first, /^Remove-Item -ErrorAction Ignore -Path Env:AWS_PROFILE(, Env:[A-Z_]+)*$/);
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, text] = /^\$Env:([A-Z_]+) = '((?:[^'\u2018-\u201b]|(?:['\u2018-\u201b]){2})*)'$/.exec(line);
      return [name, text.replace(/(['\u2018-\u201b])\1/g, '$1')];
    }),
  );
}

test('what is copied for each shell works in a process of it', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  await grant(page, 'default').getByRole('button', { name: 'Get credentials' }).click();

  const bash = await copied(page, 'Bash');
  const script = `${bash}exec "$PYTHON" -c "$LISTING"`;
  // Also in a terminal that had other credentials.
  const listed = await lists('bash', ['--noprofile', '--norc', '-c', script], {
    AWS_PROFILE: 'gone',
    AWS_WEB_IDENTITY_TOKEN_FILE: '/gone',
  });
  assert.match(listed, /^\['.+'\]\n$/);

  const powerShell = await copied(page, 'PowerShell');
  assert.equal(await lists(stack.python, ['-c', LISTING], assigned(powerShell)), listed);
  // Where there is one, it says itself what it reads.
  const pwsh = await run('pwsh', ['-Version']).catch(() => null);
  if (pwsh)
    assert.equal(await lists('pwsh', ['-NoProfile', '-Command', `${powerShell}& $Env:PYTHON -c $Env:LISTING`]), listed);
  else t.diagnostic('PowerShell is not here: its quotes were read as its documentation says');

  const config = await copied(page, 'AWS config');
  const [, profile] = /^\[profile (\d{12}_default)\]\n/.exec(config);
  const file = join(home, 'config');
  await writeFile(file, `[default]\nregion = eu-west-1\n\n${config}`);
  assert.equal(await lists(stack.python, ['-c', LISTING], { AWS_CONFIG_FILE: file, AWS_PROFILE: profile }), listed);
  assert.deepEqual(await stored(page), NOTHING);
});

test('the dialog counts down, and offers new credentials at the end', async (t) => {
  const made = await visit(t);
  await made.page.clock.install();
  const page = await made.signIn('carol');
  await grant(page, 'default').getByRole('button', { name: 'Get credentials' }).click();
  const dialog = page.getByRole('dialog', { name: 'Credentials for default' });
  const timer = dialog.getByRole('timer');
  const seconds = async () => {
    const [, hours = 0, minutes, rest] = /^Valid for (?:(\d+) h )?(\d+) min (\d+) s$/.exec(await timer.textContent());
    return hours * 3600 + minutes * 60 + Number(rest);
  };
  const first = await seconds();
  assert(first > 3500 && first <= 3600, String(first));
  await page.clock.fastForward(10_000);
  assert((await seconds()) <= first - 9);

  await page.route(CREDENTIALS, async (route) => {
    const answer = await route.fetch();
    const expiration = new Date((await page.evaluate(() => Date.now())) + 1_800_000).toISOString();
    const { date: _, ...headers } = answer.headers(); // the clock of the test is not the server's
    await route.fulfill({ headers, json: { ...(await answer.json()), Expiration: expiration } });
  });
  // The credentials end before the sign-in does.
  await page.keyboard.press('Escape');
  await grant(page, 'default').getByRole('button', { name: 'Get credentials' }).click();
  await timer.waitFor();
  await page.clock.fastForward('30:05');
  await dialog.getByRole('alert').getByText('These credentials have expired.').waitFor();
  assert.equal(await dialog.getByText('AWS_SESSION_TOKEN').count(), 0);
  await dialog.getByRole('button', { name: 'Get new credentials' }).click();
  await dialog.getByRole('tab', { name: 'Bash', selected: true }).waitFor();
});

test('of two quick clicks one opens a dialog', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  const answers = Promise.all([
    page.waitForResponse(CREDENTIALS),
    page.waitForResponse((r) => r.url() === CREDENTIALS && r.request().postDataJSON().grant === 'home'),
  ]);
  for (const name of ['default', 'home'])
    await grant(page, name).getByRole('button', { name: 'Get credentials' }).dispatchEvent('click');
  await answers;
  await page.getByRole('dialog').waitFor();
  assert.equal(await page.locator('dialog').count(), 1);
});

test('a closed dialog leaves no secret on the page', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  for (const close of [
    () => page.keyboard.press('Escape'),
    () => page.getByRole('button', { name: 'Close' }).click(),
    () => page.mouse.click(5, 5),
  ]) {
    await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
    await page.getByRole('dialog').waitFor();
    await close();
    await page.locator('dialog').waitFor({ state: 'detached' });
    assert(!(await page.content()).includes('AWS_SECRET_ACCESS_KEY'));
  }
});

test('a browser that does not let the page copy has the text selected', async (t) => {
  const made = await visit(t);
  await made.page.addInitScript(() => (Clipboard.prototype.writeText = () => Promise.reject(new Error('no'))));
  const page = await made.signIn('carol');
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('status').getByText('selected').waitFor();
  assert.match(await page.evaluate(() => String(getSelection())), /^unset AWS_PROFILE/);
});

// ---- Whatever the values are

const credentials = (secret) => ({
  grant: 'g',
  account: '1',
  arn: '',
  id: 'ASIA',
  secret,
  token: 't',
  expiration: '',
  behindMs: 0,
});
const EVIL = [
  "'",
  "''",
  '"',
  '\\',
  '`id`',
  '$(id)',
  '$HOME',
  '!!',
  '%PATH%',
  ' a  b ',
  '*',
  '&& id',
  '; id #',
  '‘’‚‛“”',
  "a'b’c\\'d",
  '𝄞',
];

for (const value of EVIL) {
  test(`${JSON.stringify(value)} arrives as it is`, async () => {
    const script = `${FORMATS.Bash.write(credentials(value))}printf %s "$AWS_SECRET_ACCESS_KEY"`;
    assert.equal((await run('bash', ['-c', script], { env: { PATH: process.env.PATH } })).stdout, value);
    assert.equal(assigned(FORMATS.PowerShell.write(credentials(value))).AWS_SECRET_ACCESS_KEY, value);
    assert.throws(() => FORMATS['AWS config'].write(credentials(value)), RangeError);
  });
}

for (const value of ['a\nb', 'a\rb', '\u0000', '\u001b[2J', '\u202e', '\u200b']) {
  test(`${JSON.stringify(value)}, which a terminal would obey, is not written`, () => {
    for (const { write } of Object.values(FORMATS)) assert.throws(() => write(credentials(value)), RangeError);
  });
}

test('an address is quoted where a shell would read more than an address', () => {
  assert.equal(
    setUp('https://hallpass.example.com/a', undefined),
    'hallpass configure https://hallpass.example.com/a',
  );
  assert.equal(
    setUp('https://h.example/?a=1&b', 'corp'),
    "hallpass configure 'https://h.example/?a=1&b' --issuer corp",
  );
  assert.equal(PAGE, `${stack.url}/`);
});
