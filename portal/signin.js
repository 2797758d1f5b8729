// How does somebody sign in? By authorization code with PKCE (RFC 7636, OpenID Connect Core §3.1), as a public client.
//
// What has to outlive the visit to the provider is in the session storage of this tab until the answer comes, and is
// taken out before the answer is looked at. Tokens are never stored.

import { Problem, ask, isSafe, isText, objectOf } from './portal.js';

/** @import { Client, Session, Wanted } from './portal.js' */
/** A sign-in that has begun.
 * @typedef {{state: string, nonce: string, verifier: string, client: Client, redirectUri: string, tokenEndpoint: string,
 *            namesItself: boolean, wanted: Wanted}} Pending */

const PENDING = 'hallpass.sign-in';
const LEEWAY_S = 30; // of clocks, as the server has it

/** Sends the browser to the provider, for a sign-in that meets what is wanted.
 * @param {Client} client
 * @param {string} redirectUri
 * @param {Wanted} wanted */
export async function begin(client, redirectUri, wanted) {
  const provider = await discover(client);
  const [state, nonce, verifier] = [random(), random(), random()];
  const url = new URL(provider.authorizationEndpoint);
  const parameters = {
    ...client.parameters,
    ...stronger(wanted),
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: client.scope,
    state,
    nonce,
    code_challenge: await challengeOf(verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const { tokenEndpoint, namesItself } = provider;
  /** @type {Pending} */
  const pending = { state, nonce, verifier, client, redirectUri, tokenEndpoint, namesItself, wanted };
  try {
    sessionStorage.setItem(PENDING, JSON.stringify(pending));
  } catch {
    throw new Problem(
      'This browser does not let the page remember the sign-in until you are back. Allow it to store data.',
    );
  }
  location.assign(url);
}

/** Signs in with what the provider sent back.
 * @param {URLSearchParams} answer
 * @returns {Promise<{session: Session, wanted: Wanted}>} */
export async function finish(answer) {
  const pending = takePending();
  const code = judge(answer, pending);
  const tokens = await exchange(code, pending);
  return { session: sessionOf(tokens, pending), wanted: pending.wanted };
}

/** What the provider is asked for beyond the usual (RFC 9470 §4). A method (`amr`) cannot be asked for: a fresh sign-in
 * is the most that can.
 * @param {Wanted} wanted
 * @returns {Record<string, string>} */
function stronger({ requires = {} }) {
  const { acr_values: contexts = [], amr_values: methods = [], max_age: age } = requires;
  return {
    ...(contexts.length === 0 ? {} : { acr_values: contexts.join(' ') }),
    ...(age === undefined ? {} : { max_age: String(age) }),
    ...(contexts.length === 0 && age === undefined && methods.length > 0 ? { prompt: 'login' } : {}),
  };
}

/** Where the provider takes sign-ins (OpenID Connect Discovery §4).
 * @param {Client} client */
async function discover({ issuer }) {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const answer = await ask(url, {}, 'The identity provider');
  const document = await objectOf(answer);
  const { authorization_endpoint: authorizationEndpoint, token_endpoint: tokenEndpoint } = document;
  if (document.issuer !== issuer || !isSafe(authorizationEndpoint) || !isSafe(tokenEndpoint)) {
    throw new Problem(
      'The identity provider is not the one that Hallpass trusts, or is not working. Ask the operators of Hallpass.',
    );
  }
  const namesItself = document.authorization_response_iss_parameter_supported === true;
  return { authorizationEndpoint, tokenEndpoint, namesItself };
}

/** @returns {Pending} */
function takePending() {
  const text = sessionStorage.getItem(PENDING);
  sessionStorage.removeItem(PENDING);
  if (text === null) throw stale();
  return JSON.parse(text);
}

const stale = () => new Problem('This sign-in was used already, or began in another tab. Please sign in again.');

/** The code, if the answer is the one to this sign-in. Nothing of another answer is looked at.
 * @param {URLSearchParams} answer
 * @param {Pending} pending */
function judge(answer, { state, client, namesItself }) {
  const names = ['state', 'code', 'error', 'error_description', 'iss'];
  // RFC 6749 §3.1: no parameter comes twice.
  if (names.some((name) => answer.getAll(name).length > 1) || answer.get('state') !== state) throw stale();
  // RFC 9207 §2.4: otherwise one provider could send the code of another.
  const issuer = answer.get('iss');
  if (issuer === null ? namesItself : issuer !== client.issuer) {
    throw new Problem(
      'The answer came from another identity provider than the one that was asked. Please sign in again.',
    );
  }
  const [code, error] = [answer.get('code'), answer.get('error')];
  if (error !== null) throw refused(error, answer.get('error_description'));
  if (!code) throw new Problem('The identity provider answered without a code. Please sign in again.');
  return code;
}

/** @param {unknown} error
 * @param {unknown} description */
const refused = (error, description) =>
  new Problem(
    `The identity provider refused the sign-in (${isText(description) ? `${error}: ${description}` : error}).`,
  );

/** @param {string} code
 * @param {Pending} pending */
async function exchange(code, { client, redirectUri, tokenEndpoint, verifier }) {
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    client_id: client.client_id,
    code_verifier: verifier,
    ...(client.parameters.resource === undefined ? {} : { resource: client.parameters.resource }),
  });
  const answer = await ask(tokenEndpoint, { method: 'POST', body }, 'The identity provider');
  const tokens = await objectOf(answer);
  if (answer.ok) return tokens;
  if (isText(tokens.error)) throw refused(tokens.error, tokens.error_description);
  throw new Problem(`The identity provider answered with status ${answer.status}. Please sign in again.`);
}

/** @param {Record<string, unknown>} tokens
 * @param {Pending} pending
 * @returns {Session} */
function sessionOf(tokens, { client, nonce }) {
  const token = tokens[client.token];
  if (typeof token !== 'string' || !/^[!-~]+$/.test(token) || String(tokens.token_type).toLowerCase() !== 'bearer') {
    throw new Problem(
      'The identity provider answered without a token that this page can use. Ask the operators of Hallpass.',
    );
  }
  const claims = claimsOf(tokens.id_token);
  // OpenID Connect Core §3.1.3.3: who asked for `openid` gets an ID token.
  if (tokens.id_token !== undefined || client.scope.split(' ').includes('openid')) check(claims, client, nonce);
  const { sub, iat, exp } = { ...claims, ...claimsOf(token) };
  const names = [claims.name, claims.preferred_username, claims.email, sub];
  const seconds = client.token === 'access_token' && tokens.expires_in ? tokens.expires_in : Number(exp) - Number(iat);
  return {
    token,
    client,
    who: String(names.find(isText) ?? 'You'),
    end: Number(seconds) > 0 ? Date.now() + Number(seconds) * 1000 : null,
  };
}

/** The rules for an ID token that comes from the provider itself, over TLS (OpenID Connect Core §3.1.3.7). The server
 * verifies the signature of the token that it is shown.
 * @param {Record<string, unknown>} claims
 * @param {Client} client
 * @param {string} nonce */
function check({ iss, aud, azp, exp, nonce: theirs }, { issuer, client_id: id }, nonce) {
  const isOurs = Array.isArray(aud) ? aud.includes(id) : aud === id;
  if (iss !== issuer || !isOurs || (azp !== undefined && azp !== id) || theirs !== nonce) {
    throw new Problem('The identity provider answered for another sign-in than this one. Please sign in again.');
  }
  if (typeof exp !== 'number' || exp + LEEWAY_S < Date.now() / 1000) {
    throw new Problem(
      "The identity provider's answer has expired already. Check the clock of this device, and sign in again.",
    );
  }
}

/** @param {unknown} token
 * @returns {Record<string, unknown>} */
function claimsOf(token) {
  try {
    const text = String(token).split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {}; // an access token may be opaque
  }
}

/** @param {Uint8Array} bytes */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=/g, '');

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** @param {string} verifier */
const challengeOf = async (verifier) =>
  base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
