// What may somebody have, and how do they get it?

import {
  Problem,
  alertOf,
  asProblem,
  button,
  element,
  metadata,
  remember,
  say,
  show,
  showPerson,
  showSignIn,
  signIn,
} from './portal.js';
import { copyText, showCredentials } from './credentials.js';
import { consoleFor, credentialsFor, listGrants } from './hallpass.js';
import { setUp } from './shells.js';

/** @import { Requires, Session, Wanted } from './portal.js' */
/** @import { Grant } from './hallpass.js' */

const LINK_MS = 15 * 60_000; // AWS takes the address of a console session for so long
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** @type {Session | null} */
let present = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let endTimer;

/** Shows the grants of somebody who has just signed in.
 * @param {Session} session
 * @param {Wanted} wanted what they signed in for */
export async function showGrants(session, wanted) {
  present = session;
  watchEnd(session);
  showPerson(
    element('span', { class: 'who', title: session.who }, session.who),
    button({ label: 'Sign out', act: signOut }),
  );
  await list(session, { wanted });
}

function forget() {
  present = null;
  clearTimeout(endTimer);
  removeEventListener('visibilitychange', onReturn);
  document.querySelector('dialog')?.close();
}

// A browser may keep a page that was left as it is, and bring it back with the back button: also after somebody has
// signed out on the page that came after it.
addEventListener('pagehide', () => {
  if (present === null) return;
  forget();
  remember(() => showSignIn());
});

async function signOut() {
  forget();
  await showSignIn();
  say('You are signed out here. Your identity provider may still know you.', true);
}

// ---- When the sign-in ends

/** @param {Session} session */
function watchEnd({ end }) {
  if (end === null) return;
  endTimer = setTimeout(onReturn, Math.min(end - Date.now(), LONGEST_TIMER_MS));
  addEventListener('visibilitychange', onReturn); // a timer sleeps while the device does
}

function onReturn() {
  if (present?.end && present.end <= Date.now()) showEnded(present, new Problem('Your sign-in has expired.'));
}

/** A sign-in that has ended is not renewed in silence: the person decides, and sees why.
 * @param {Session} session
 * @param {Problem} problem */
function showEnded(session, problem) {
  forget();
  const view = () => {
    say('');
    const again = { label: 'Sign in again', act: () => leave(session, {}), primary: true };
    show(element('h1', {}, 'Your grants'), alertOf(problem, [again]));
  };
  remember(view);
  view();
}

/** Leaves for the provider, or says why not.
 * @param {Session} session
 * @param {Wanted} wanted */
async function leave(session, wanted) {
  try {
    await signIn(session.client, wanted);
  } catch (error) {
    const again = { label: 'Try again', act: () => leave(session, wanted), primary: true };
    document.querySelector('#main .problem')?.remove();
    document.querySelector('#main h1')?.after(alertOf(asProblem(error), [again]));
  }
}

// ---- The list

/** Asks for the grants and shows them, below what went wrong before.
 * @param {Session} session
 * @param {{wanted?: Wanted, trouble?: HTMLElement}} more */
async function list(session, { wanted = {}, trouble } = {}) {
  const heading = element('h1', {}, 'Your grants');
  const waiting = element('p', { class: 'waiting' }, 'Asking what you may have…');
  show(heading, ...(trouble ? [trouble] : []), waiting);
  say('Loading your grants…');
  try {
    const [grants, command] = [await listGrants(session), await commandLine(session)];
    if (present !== session) return;
    say('');
    const cards = new Map(grants.map((grant, at) => [grant.name, card(session, grant, at)]));
    const view = () => {
      say('');
      const body =
        cards.size === 0 ? [nothing()] : [element('div', { class: 'grants' }, ...cards.values()), ...command];
      show(heading, ...(trouble ? [trouble] : []), ...body);
    };
    remember(view);
    view();
    goOn(wanted, grants, cards);
  } catch (error) {
    if (present !== session) return;
    const problem = asProblem(error);
    if (problem.code === 'invalid_token') {
      showEnded(session, problem);
      return;
    }
    say('');
    trouble?.remove(); // one problem at a time: this one is why there is no list
    remember(() => list(session, { wanted }));
    waiting.replaceWith(
      alertOf(problem, [{ label: 'Try again', act: () => list(session, { wanted }), primary: true }]),
    );
  }
}

/** Goes on with what somebody signed in again for.
 * @param {Wanted} wanted
 * @param {Grant[]} grants
 * @param {Map<string, HTMLElement>} cards */
function goOn(wanted, grants, cards) {
  if (wanted.grant === undefined) return;
  const grant = grants.find(({ name }) => name === wanted.grant);
  const card = cards.get(wanted.grant);
  if (grant === undefined || card === undefined) {
    document
      .querySelector('#main h1')
      ?.after(alertOf(new Problem('You cannot use this grant any more.'), [], wanted.grant));
    return;
  }
  if (lacks(grant.requires)) {
    const problem = new Problem(
      'The new sign-in still lacks what this grant needs. Your identity provider decides how you sign in: ask the operators of Hallpass.',
    );
    card.querySelector('.more')?.append(alertOf(problem));
  } else {
    say(`You can use ${grant.name} now.`, true);
  }
  card.querySelector('button')?.focus();
}

const nothing = () =>
  element(
    'p',
    { class: 'nothing' },
    'You have no grants yet. Ask the people who run Hallpass at your company for one.',
  );

/** @param {Session} session */
async function commandLine({ client }) {
  const { resource, cli } = await metadata();
  if (!cli.some(({ issuer_id: id }) => id === client.issuer_id)) return [];
  const command = element('code', {}, setUp(resource, cli.length > 1 ? client.issuer_id : undefined));
  const heading = element('h2', { id: 'command-line' }, 'Command line');
  const lead = element(
    'p',
    {},
    'For a terminal: this signs you in there, and writes an AWS profile for each of your grants.',
  );
  const line = element(
    'div',
    { class: 'line' },
    element('pre', {}, command),
    button({ label: 'Copy', act: () => copyText(command) }),
  );
  return [element('section', { class: 'command', 'aria-labelledby': 'command-line' }, heading, lead, line)];
}

// ---- A grant

/** @param {Requires} requires */
const lacks = (requires) => Object.keys(requires).length > 0;

/** @param {Session} session
 * @param {Grant} grant
 * @param {number} at */
function card(session, grant, at) {
  const article = element('article', { 'aria-labelledby': `grant-${at}` });
  fill(article, session, grant, at);
  return article;
}

/** @param {HTMLElement} article
 * @param {Session} session
 * @param {Grant} grant
 * @param {number} at
 * @param {boolean} isClosed until a stronger sign-in */
function fill(article, session, grant, at, isClosed = lacks(grant.requires)) {
  const { name, description, seconds, requires } = grant;
  const named = { 'aria-describedby': `grant-${at}` }; // which of the many buttons of one name
  const more = element('div', { class: 'more' });

  /** Does something for this grant, and shows here what comes of it.
   * @param {string} doing
   * @param {() => Promise<Node[]>} act */
  const attempt = async (doing, act) => {
    for (const old of document.querySelectorAll('#main .problem')) old.remove();
    more.replaceChildren();
    say(doing);
    try {
      const shown = await act();
      more.replaceChildren(...shown);
    } catch (error) {
      if (present === session) fail(asProblem(error));
    }
    if (present !== session) say('');
  };
  /** @param {Problem} problem */
  const fail = (problem) => {
    say('');
    if (problem.code === 'invalid_token') {
      showEnded(session, problem);
    } else if (problem.code === 'access_denied') {
      // It has changed since the list was made: so may the others have.
      void list(session, { trouble: alertOf(problem, [], name) });
    } else if (problem.code === 'insufficient_user_authentication') {
      fill(article, session, { ...grant, requires: problem.requires }, at, true);
      article.querySelector('.more')?.append(alertOf(problem));
      article.querySelector('button')?.focus();
    } else {
      more.replaceChildren(alertOf(problem));
    }
  };

  const openConsole = () =>
    attempt('Opening the console…', async () => {
      const url = await consoleFor(session, name);
      if (present !== session) return [];
      return opened(url);
    });
  const getCredentials = () =>
    attempt('Getting credentials…', async () => {
      const credentials = await credentialsFor(session, name);
      // One dialog at a time: of two quick clicks the first wins.
      if (present !== session || document.querySelector('dialog')) return [];
      say('');
      showCredentials(credentials, getCredentials);
      return [];
    });
  const again = () =>
    attempt('Opening the sign-in page…', async () => {
      await signIn(session.client, { grant: name, requires });
      return [];
    });
  const buttons = isClosed
    ? [button({ label: 'Sign in again', act: again, primary: true }, named)]
    : [
        button({ label: 'Open console', act: openConsole, primary: true }, named),
        button({ label: 'Get credentials', act: getCredentials }, named),
      ];
  article.replaceChildren(
    element('h2', { id: `grant-${at}` }, name),
    element('p', { class: 'about' }, description),
    element('p', { class: 'limit' }, `Longest session: ${spoken(seconds)}`),
    ...(isClosed ? [element('p', { class: 'needs' }, needs(requires))] : []),
    element('div', { class: 'actions' }, ...buttons),
    more,
  );
}

/** Opens the console. A browser that takes too long to ask about it may refuse windows, without a word: so there is a link.
 * @param {string} url */
function opened(url) {
  const canOpen = navigator.userActivation?.isActive ?? true;
  if (canOpen) open(url, '_blank', 'noopener,noreferrer');
  say(canOpen ? 'The console opens in a new tab.' : 'The console is ready.', true);
  const link = element(
    'a',
    { href: url, target: '_blank', rel: 'noopener noreferrer' },
    canOpen ? 'Open it with this link' : 'Continue to the console',
  );
  const line = element('p', { class: 'opened' }, canOpen ? 'No new tab? ' : '', link);
  setTimeout(() => line.remove(), LINK_MS);
  return [line];
}

/** @param {Requires} requires */
function needs({ acr_values: contexts = [], amr_values: methods = [], max_age: age }) {
  const wanted = [...new Set([...contexts, ...methods])];
  const kind = wanted.length === 0 ? 'a sign-in' : `a stronger sign-in (${wanted.join(', ')})`;
  return `Needs ${kind}${age === undefined ? '' : `, at most ${spoken(age)} ago`}.`;
}

/** @param {number} seconds */
function spoken(seconds) {
  /** @type {[number, string][]} */
  const parts = [
    [Math.floor(seconds / 3600), 'hour'],
    [Math.floor((seconds % 3600) / 60), 'minute'],
    [seconds % 60, 'second'],
  ];
  const told = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}${count === 1 ? '' : 's'}`);
  return told.join(' ') || '0 seconds';
}
