// What does the page show, and when?
//
// This file is all that runs until somebody signs in: it takes what the identity provider sent back out of the address,
// asks the server who may sign in where, and shows "Sign in". The other files are imported when they are needed.
// Everything shown comes from strangers (claims, descriptions, messages): it is text, and is never parsed as HTML.

/** A client of this page at an identity provider, as the server's metadata has it.
 * @typedef {{issuer_id: string, issuer: string, client_id: string, scope: string, token: 'access_token' | 'id_token',
 *            parameters: Record<string, string>}} Client */
/** What the server says of itself (RFC 9728).
 * @typedef {{resource: string, name: string, browser: Client[], cli: {issuer_id: string}[]}} Metadata */
/** Somebody who is signed in. It lives in memory alone: closing or loading the page ends it.
 * @typedef {{token: string, client: Client, who: string, end: number | null}} Session */
/** What a sign-in has to be, and lacks.
 * @typedef {{acr_values?: string[], amr_values?: string[], max_age?: number}} Requires */
/** What somebody was about to do when they had to sign in (again).
 * @typedef {{grant?: string, requires?: Requires}} Wanted */
/** @typedef {{label: string, act: () => unknown, primary?: boolean}} Action */

const PATIENCE_MS = 30_000; // a slow network, and not a lost one
const NOTICE_MS = 6_000; // how long a notice stays: two short sentences are read by then

/** The address of the page, with its final slash: a gateway's stage may stand before it. */
export const HOME = new URL('../', import.meta.url);

/** What went wrong, for the person: what the server said, or what we say of the network. */
export class Problem extends Error {
  /** @param {string} message
   * @param {{code?: string, requestId?: string, requires?: Requires}} more */
  constructor(message, { code = '', requestId = '', requires = {} } = {}) {
    super(message);
    this.code = code;
    this.requestId = requestId;
    this.requires = requires;
  }
}

/** @param {unknown} error */
export const asProblem = (error) =>
  error instanceof Problem ? error : new Problem('This page has met an error of its own. Load it again.');

/** Fetches, and says in words if nobody answers. Never with cookies, and never to where an answer redirects.
 * @param {string | URL} url
 * @param {RequestInit} options
 * @param {string} whom */
export async function ask(url, options, whom) {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    return await fetch(url, { credentials: 'omit', redirect: 'error', cache: 'no-store', ...options, signal });
  } catch {
    throw new Problem(`${whom} cannot be reached. Check your network, and try again.`);
  }
}

/** The answer's JSON object, or an empty one: what is missing in it is noticed by those who need it.
 * @param {Response} answer
 * @returns {Promise<Record<string, unknown>>} */
export async function objectOf(answer) {
  try {
    const body = await answer.json();
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? body : {};
  } catch {
    return {};
  }
}

/** What the server says of a refusal (RFC 9457); a gateway before it has words and an id of its own.
 * @param {Response} answer
 * @param {Record<string, unknown>} content */
export function problemOf({ status, headers }, content) {
  const message = isText(content.message)
    ? String(content.message)
    : `Hallpass answered with status ${status}. Try again.`;
  const id = isText(content.requestId) ? content.requestId : headers.get('apigw-requestid');
  const code = String(content.code ?? '');
  return new Problem(message, { code, requestId: String(id ?? ''), requires: requiresOf(content) });
}

/** @param {unknown} value
 * @returns {Requires} */
export function requiresOf(value) {
  const { acr_values: contexts, amr_values: methods, max_age: age } = Object(value);
  return {
    ...(Array.isArray(contexts) && contexts.length > 0 ? { acr_values: contexts.map(String) } : {}),
    ...(Array.isArray(methods) && methods.length > 0 ? { amr_values: methods.map(String) } : {}),
    ...(typeof age === 'number' ? { max_age: age } : {}),
  };
}

/** @param {unknown} value */
export const isText = (value) => typeof value === 'string' && value !== '';

/** Whether the browser may be sent there: only https, and plain http on the person's own machine.
 * @param {unknown} value
 * @returns {value is string} */
export function isSafe(value) {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, hostname, username, password } = new URL(value);
  const local = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  return username === '' && password === '' && (protocol === 'https:' || (protocol === 'http:' && local));
}

// ---- What is on the page

/** An element with text, other elements and listeners in it.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | ((event: any) => unknown)>} attributes a function listens
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]} */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A button that does one thing at a time. It keeps the focus while it does.
 * @param {Action} action
 * @param {Record<string, string>} attributes */
export function button({ label, act, primary }, attributes = {}) {
  const made = element('button', { type: 'button', class: primary ? 'primary' : '', ...attributes }, label);
  made.addEventListener('click', async () => {
    if (made.ariaDisabled === 'true') return;
    made.ariaDisabled = 'true';
    try {
      await act();
    } finally {
      made.ariaDisabled = null;
    }
  });
  return made;
}

/** A problem, with what can be done about it.
 * @param {Problem} problem
 * @param {Action[]} actions
 * @param {string} about */
export function alertOf(problem, actions = [], about = '') {
  const text = element(
    'p',
    { class: 'what' },
    about === '' ? '' : element('strong', {}, `${about}: `),
    problem.message,
  );
  const id = element('p', { class: 'id' }, 'Request ID: ', element('code', {}, problem.requestId));
  const buttons = element('div', { class: 'actions' }, ...actions.map((action) => button(action)));
  const parts = [text, ...(problem.requestId === '' ? [] : [id]), ...(actions.length === 0 ? [] : [buttons])];
  return element('div', { role: 'alert', class: 'problem' }, ...parts);
}

/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Replaces what the page shows, and moves the focus to its heading, so that nobody is left where nothing is any more.
 * @param {(Node | string)[]} children */
export function show(...children) {
  const main = part('main');
  const moves = main.contains(document.activeElement) || part('top').contains(document.activeElement);
  main.replaceChildren(...children);
  const heading = main.querySelector('h1');
  heading?.setAttribute('tabindex', '-1');
  if (moves) heading?.focus();
  document.title = `${heading?.textContent ?? 'Hallpass'} · ${part('name').textContent}`;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let noticeTimer;

/** Says what goes on. With `passing` it leaves after a while.
 * @param {string} text
 * @param {boolean} passing */
export function say(text, passing = false) {
  clearTimeout(noticeTimer);
  part('status').textContent = text;
  if (passing) noticeTimer = setTimeout(() => say(''), NOTICE_MS);
}

/** Where screen readers look while a dialog makes the rest of the page unreachable.
 * @param {HTMLElement} parent */
export const moveStatus = (parent) => parent.append(part('status'));

/** Shows who is signed in, with what they can do about it.
 * @param {(Node | string)[]} children */
export const showPerson = (...children) => part('person').replaceChildren(...children);

// ---- Who may sign in where

/** @returns {Promise<Metadata>} */
async function describe() {
  const url = new URL('.well-known/oauth-protected-resource', HOME);
  const answer = await ask(url, { cache: 'default' }, 'Hallpass');
  const content = await objectOf(answer);
  if (!answer.ok) throw problemOf(answer, content);
  const { resource, resource_name: name, hallpass_clients: clients } = content;
  const { browser, cli } = /** @type {Record<string, unknown>} */ (clients ?? {});
  if (!isSafe(resource) || !Array.isArray(browser)) {
    throw new Problem('Hallpass does not say where to sign in. Try again, or ask its operators.');
  }
  return { resource, name: isText(name) ? String(name) : 'Hallpass', browser, cli: Array.isArray(cli) ? cli : [] };
}

/** @type {Metadata | undefined} */
let known;

/** The metadata, asked for once. */
export async function metadata() {
  known ??= await describe();
  part('name').textContent = known.name;
  return known;
}

/** The address that the provider sends the browser back to: the one that is registered there.
 * @param {Metadata} about */
const redirectOf = (about) => `${about.resource.replace(/\/$/, '')}/`;

/** Leaves for the identity provider. What goes wrong before is thrown.
 * @param {Client} client
 * @param {Wanted} wanted */
export async function signIn(client, wanted = {}) {
  say('Opening the sign-in page…');
  try {
    const [{ begin }, about] = await Promise.all([load('./signin.js'), metadata()]);
    await begin(client, redirectOf(about), wanted);
  } catch (error) {
    say('');
    throw error;
  }
}

/** Imports a file of ours, and says in words if it does not come.
 * @template {string} P
 * @param {P} path
 * @returns {Promise<P extends './signin.js' ? typeof import('./signin.js') : typeof import('./grants.js')>} */
async function load(path) {
  try {
    return await import(path);
  } catch {
    throw new Problem('A part of this page cannot be loaded. Check your network, and load the page again.');
  }
}

// ---- The views until somebody is signed in

/** @param {Node[]} children */
const pass = (...children) => element('section', { class: 'pass' }, ...children);

/** What can be done about a problem before anybody is signed in.
 * @param {unknown} error */
function showProblem(error) {
  say('');
  const again = { label: 'Try again', act: () => showSignIn(), primary: true };
  show(pass(element('h1', {}, 'That did not work'), alertOf(asProblem(error), [again])));
}

/** Shows "Sign in", with what went wrong before.
 * @param {Problem | undefined} problem */
export async function showSignIn(problem = undefined) {
  current = () => showSignIn(problem);
  try {
    say('Loading…');
    const about = await metadata();
    say('');
    const home = redirectOf(about);
    const heading = element('h1', {}, `Sign in to ${about.name}`);
    const troubles = problem === undefined ? [] : [alertOf(problem)];
    if (new URL(home).href !== HOME.href) {
      const link = element('a', { href: home, class: 'button primary' }, `Go to ${new URL(home).host}`);
      show(pass(heading, element('p', {}, 'This page has another address, and people sign in there.'), link));
    } else if (about.browser.length === 0) {
      show(pass(heading, alertOf(new Problem('Nobody can sign in here yet. Ask the operators of Hallpass.'))));
    } else {
      const lead = element(
        'p',
        {},
        'See what you may use in AWS, open the console, and get credentials that expire by themselves.',
      );
      show(pass(heading, lead, ...troubles, element('div', { class: 'actions' }, ...signInButtons(about))));
    }
  } catch (error) {
    showProblem(error);
  }
  showPerson(); // last, or the focus on "Sign out" would be lost and not moved
}

/** @param {Metadata} about */
function signInButtons({ browser }) {
  return browser.map((client) => {
    const label = browser.length === 1 ? 'Sign in' : `Sign in with ${client.issuer_id}`;
    const act = () => signIn(client).catch((error) => showSignIn(asProblem(error)));
    return button({ label, act, primary: true });
  });
}

// ---- From here on it runs

/** Shows the present view again. */
let current = () => {};

/** @param {() => void} view */
export const remember = (view) => {
  current = view;
};

/** What the provider sent back, taken out of the address and the history at once: a code is spent once, and neither a
 * reload nor the back button brings it again. */
function takeAnswer() {
  const query = new URLSearchParams(location.search);
  if (location.search !== '' || location.hash !== '') history.replaceState(null, '', HOME.pathname);
  return ['code', 'error', 'state'].some((name) => query.has(name)) ? query : null;
}

async function start() {
  const answer = takeAnswer();
  if (answer === null) {
    await showSignIn();
    return;
  }
  try {
    say('Signing you in…');
    const [{ finish }, { showGrants }] = await Promise.all([load('./signin.js'), load('./grants.js')]);
    const { session, wanted } = await finish(answer);
    await showGrants(session, wanted);
  } catch (error) {
    await showSignIn(asProblem(error));
  }
}

// The back button can bring the page back as it was left: in the middle of leaving for the provider.
addEventListener('pageshow', (event) => {
  if (event.persisted) current();
});
void start();
