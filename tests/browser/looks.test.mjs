// Can everybody use the portal? With a keyboard, with a screen reader, on a phone and on a large screen, by day and by night.

import assert from 'node:assert/strict';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { PAGE, axe, desk, grant, refusals, stack } from './desk.mjs';

const visit = await desk({ before, after });
const SHOTS = new URL('../../build/browser/', import.meta.url).pathname;
const SIZES = [
  [360, 740],
  [768, 1024],
  [1920, 1080],
];
const MOST_BYTES = 60_000;

before(() => mkdir(SHOTS, { recursive: true }));

for (const colorScheme of ['light', 'dark']) {
  test(`each view fits every screen, and axe finds nothing: ${colorScheme}`, async (t) => {
    const made = await visit(t, { colorScheme, reducedMotion: 'reduce', expected: refusals(503) });
    const { page } = made;
    const look = async (name) => {
      const { violations, incomplete } = await axe(page);
      // It cannot judge the colours of a line that is longer than what is shown of it.
      const unknown = incomplete.filter(({ at }) => !at.every((where) => where.startsWith('#format > pre > code: ')));
      assert.deepEqual([violations, unknown], [[], []], name);
      for (const [width, height] of SIZES) {
        await page.setViewportSize({ width, height });
        const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert(needed <= there, `${name} is ${needed} wide on ${there}`);
        await page.screenshot({ path: `${SHOTS}${name}-${colorScheme}-${width}.png` });
      }
    };
    await page.goto(PAGE);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await look('sign-in');
    await made.signIn('frank');
    await look('grants');
    await grant(page, 'default').getByRole('button', { name: 'Get credentials' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('status').getByText('Copied').waitFor();
    await look('credentials');
    await page.keyboard.press('Escape');
    await page.route('**/v1/c*', (route) =>
      route.fulfill({
        status: 503,
        json: {
          code: 'temporarily_unavailable',
          message: 'AWS cannot be reached; try again',
          requestId: 'JKJaXmPLvHcESHA=',
        },
      }),
    );
    await grant(page, 'default').getByRole('button', { name: 'Open console' }).click();
    await page.getByRole('alert').waitFor();
    await look('problem');
    await page.unroute('**/v1/c*');
    await page.route('**/v1/grants', (route) => route.fulfill({ json: { grants: [] } }));
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('You have no grants yet').waitFor();
    await look('nothing');
  });
}

/** The name of what has the focus. */
const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim().slice(0, 40) ?? '');

async function tabs(page, count) {
  const names = [];
  for (let at = 0; at < count; at += 1) {
    await page.keyboard.press('Tab');
    names.push(await focused(page));
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, 'none', `${names.at(-1)} shows that it has the focus`);
  }
  return names;
}

test('everything can be done with a keyboard, in the order in which it is read', async (t) => {
  const made = await visit(t);
  const { page } = made;
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.deepEqual(await tabs(page, 1), ['Sign in']);
  await page.keyboard.press('Enter');
  await made.answerProvider('frank');
  await grant(page, 'home').waitFor();
  assert.deepEqual(await tabs(page, 10), [
    'Sign out',
    ...['Open console', 'Get credentials'], // athena
    ...['Open console', 'Get credentials'], // badge
    ...['Open console', 'Get credentials'], // default
    'Sign in again', // deploy
    ...['Open console', 'Get credentials'], // home
  ]);
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();

  // The focus is in the dialog, on the tab that is shown, and stays there.
  assert.equal(await focused(page), 'Bash');
  const selected = async () => [
    await focused(page),
    await dialog.getByRole('tab', { selected: true }).textContent(),
    await dialog.getByRole('tabpanel').getAttribute('aria-labelledby'),
  ];
  for (const [key, name, id] of [
    ['ArrowRight', 'PowerShell', 'format-1'],
    ['ArrowRight', 'AWS config', 'format-2'],
    ['ArrowRight', 'Bash', 'format-0'],
    ['ArrowLeft', 'AWS config', 'format-2'],
    ['Home', 'Bash', 'format-0'],
    ['End', 'AWS config', 'format-2'],
  ]) {
    await page.keyboard.press(key);
    assert.deepEqual(await selected(), [name, name, id]);
    await dialog.getByRole('tabpanel', { name }).waitFor();
  }
  const order = await tabs(page, 2);
  assert.match(order[0], /^\[profile /);
  assert.equal(order[1], 'Copy');
  await page.keyboard.press('Space');
  await page.getByRole('status').getByText('Copied').waitFor();
  const inside = () =>
    page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null);
  for (let at = 0; at < 6; at += 1) {
    await page.keyboard.press('Tab');
    assert(await inside());
  }
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(
    await page.evaluate(() => document.activeElement.closest('article')?.querySelector('h2').textContent),
    'home',
    'the focus is back',
  );
});

test('a view that replaces another takes the focus along', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  await page.getByRole('button', { name: 'Sign out' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  assert.match(await focused(page), /^Sign in to /);
});

test('behind the dialog nothing is found', async (t) => {
  const page = await (await visit(t)).signIn('carol');
  await grant(page, 'home').getByRole('button', { name: 'Get credentials' }).click();
  await page.getByRole('dialog').waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
  assert.equal(await page.getByRole('button', { name: 'Copy' }).count(), 1);
  assert.equal(await page.getByRole('status').count(), 1);
  await page.keyboard.press('Escape');
  await page.getByRole('article').first().waitFor();
  assert.equal(await page.getByRole('article').count(), 4);
});

test('colours differ by day and by night, and nothing moves for who wants that', async (t) => {
  const made = await visit(t, { reducedMotion: 'reduce' });
  const { page } = made;
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  const colour = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: 'light' });
  const day = await colour();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await colour(), day);
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});

test('the page is small, and names nothing from elsewhere', async () => {
  const directory = new URL('../../portal/', import.meta.url);
  let bytes = 0;
  for (const name of await readdir(directory)) bytes += (await stat(new URL(name, directory))).size;
  assert(bytes <= MOST_BYTES, `${bytes} bytes`);
  assert(stack.url);
});
