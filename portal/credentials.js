// How does somebody take credentials with them? A dialog shows them for each shell, until they expire or it is closed.

import { Problem, alertOf, button, element, moveStatus, say } from './portal.js';
import { FORMATS } from './shells.js';

/** @import { Credentials } from './hallpass.js' */

const BEHIND = ['top', 'main']; // what is behind the dialog

/** @param {Credentials} credentials
 * @param {() => unknown} renew fetches new ones and shows them */
export function showCredentials(credentials, renew) {
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  const content = element('div', { class: 'content' });
  const title = element('h2', { id: 'credentials-title' }, 'Credentials for ', element('span', {}, credentials.grant));
  const dialog = element('dialog', { 'aria-labelledby': 'credentials-title' });
  const close = button({ label: 'Close', act: () => dialog.close() });
  dialog.append(element('div', { class: 'title' }, title, close), content);

  const stop = count(credentials, content, () => {
    const again = async () => {
      dialog.close();
      await renew();
    };
    const expired = new Problem('These credentials have expired.');
    content.replaceChildren(alertOf(expired, [{ label: 'Get new credentials', act: again, primary: true }]));
  });

  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close()); // outside of its box
  dialog.addEventListener('close', () => {
    stop();
    say('');
    setReachable(true);
    moveStatus(document.body);
    dialog.remove();
    opener?.focus(); // the browser tried before, when it could not be reached
  });
  document.body.append(dialog);
  dialog.showModal();
  moveStatus(dialog);
  setReachable(false);
  /** @type {HTMLElement | null} */ (dialog.querySelector('[role=tab]'))?.focus();
}

/** The browser keeps the keyboard in a modal dialog; not every screen reader knows.
 * @param {boolean} reachable */
function setReachable(reachable) {
  for (const id of BEHIND) {
    const part = /** @type {HTMLElement} */ (document.getElementById(id));
    part.inert = !reachable;
    part.ariaHidden = reachable ? null : 'true';
  }
}

/** Fills the dialog, and counts down to the end.
 * @param {Credentials} credentials
 * @param {HTMLElement} content
 * @param {() => void} end
 * @returns {() => void} stops the count */
function count(credentials, content, end) {
  const timer = element('p', { role: 'timer', class: 'timer' });
  content.append(timer, ...formats(credentials));
  const expiry = Date.parse(credentials.expiration) - credentials.behindMs;
  if (Number.isNaN(expiry)) {
    timer.remove();
    return () => {};
  }
  const tick = () => {
    const seconds = Math.ceil((expiry - Date.now()) / 1000);
    timer.textContent = `Valid for ${spoken(seconds)}`;
    if (seconds > 0) return;
    clearInterval(ticking);
    end();
  };
  const ticking = setInterval(tick, 1000);
  tick();
  return () => clearInterval(ticking);
}

/** @param {number} seconds */
function spoken(seconds) {
  const hours = Math.floor(seconds / 3600);
  return `${hours > 0 ? `${hours} h ` : ''}${Math.floor((seconds % 3600) / 60)} min ${seconds % 60} s`;
}

/** A tab for each format, as the ARIA practices describe tabs.
 * @param {Credentials} credentials */
function formats(credentials) {
  const hint = element('p', { class: 'hint' });
  const code = element('code');
  const panel = element('div', { role: 'tabpanel', id: 'format', tabindex: '0' }, element('pre', {}, code));
  const copy = button({ label: 'Copy', act: () => copyText(code), primary: true });
  const names = Object.keys(FORMATS);

  /** @param {number} at
   * @param {boolean} focus */
  const select = (at, focus) => {
    const chosen = (at + tabs.length) % tabs.length;
    tabs.forEach((tab, index) => {
      tab.ariaSelected = String(index === chosen);
      tab.tabIndex = index === chosen ? 0 : -1;
    });
    if (focus) tabs[chosen].focus();
    panel.setAttribute('aria-labelledby', tabs[chosen].id);
    const format = FORMATS[names[chosen]];
    hint.textContent = format.hint;
    try {
      code.textContent = format.write(credentials);
      copy.hidden = false;
    } catch (error) {
      code.textContent = `This format cannot be used: ${/** @type {Error} */ (error).message}.`;
      copy.hidden = true;
    }
    say('');
  };
  const tabs = names.map((name, at) =>
    element(
      'button',
      { type: 'button', role: 'tab', id: `format-${at}`, 'aria-controls': 'format', click: () => select(at, true) },
      name,
    ),
  );
  /** @param {KeyboardEvent} event */
  const keydown = (event) => {
    const at = tabs.findIndex((tab) => tab.ariaSelected === 'true');
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(next, true);
  };
  const list = element('div', { role: 'tablist', 'aria-label': 'Format', keydown }, ...tabs);
  select(0, false);
  return [list, hint, panel, element('div', { class: 'actions' }, copy)];
}

/** @param {HTMLElement} from */
export async function copyText(from) {
  try {
    await navigator.clipboard.writeText(from.textContent ?? '');
    say('Copied', true);
  } catch {
    getSelection()?.selectAllChildren(from);
    say('The browser does not let this page copy. The text is selected: copy it with the keyboard.');
  }
}
