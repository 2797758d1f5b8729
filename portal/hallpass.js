// What does the server answer to somebody who is signed in?

import { HOME, Problem, ask, isSafe, isText, objectOf, problemOf, requiresOf } from './portal.js';

/** @import { Requires, Session } from './portal.js' */
/** @typedef {{name: string, description: string, seconds: number, requires: Requires}} Grant */
/** Credentials, and by how much this device's clock is behind the server's.
 * @typedef {{grant: string, account: string, arn: string, id: string, secret: string, token: string,
 *            expiration: string, behindMs: number}} Credentials */

/** The grants that this person could ask for now.
 * @param {Session} session
 * @returns {Promise<Grant[]>} */
export async function listGrants(session) {
  const { body } = await call(session, 'v1/grants');
  if (!Array.isArray(body.grants)) throw strange();
  return body.grants.map(({ name, description, max_duration: seconds, requires }) => ({
    name: String(name),
    description: String(description ?? ''),
    seconds: Number(seconds),
    requires: requiresOf(requires),
  }));
}

/** @param {Session} session
 * @param {string} grant
 * @returns {Promise<Credentials>} */
export async function credentialsFor(session, grant) {
  const { body, behindMs } = await call(session, 'v1/credentials', { grant });
  const { AccessKeyId: id, SecretAccessKey: secret, SessionToken: token, Expiration: expiration } = body;
  const { AccountId: account, FederatedUser: user } = body;
  if (![id, secret, token].every(isText)) throw strange();
  return {
    grant,
    account: String(account ?? ''),
    arn: String(Object(user).Arn ?? ''),
    id: String(id),
    secret: String(secret),
    token: String(token),
    expiration: String(expiration ?? ''),
    behindMs,
  };
}

/** The address that opens the AWS console, for some minutes.
 * @param {Session} session
 * @param {string} grant */
export async function consoleFor(session, grant) {
  const { SigninUrl: url } = (await call(session, 'v1/console', { grant })).body;
  if (!isSafe(url)) throw strange();
  return url;
}

const strange = () =>
  new Problem('Hallpass answered with something that this page does not understand. Load the page again.');

/** @param {Session} session
 * @param {string} path
 * @param {object | undefined} body of a POST */
async function call({ token }, path, body = undefined) {
  const headers = { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) };
  const options = body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers };
  const answer = await ask(new URL(path, HOME), options, 'Hallpass');
  const content = await objectOf(answer);
  if (!answer.ok) throw problemOf(answer, content);
  const date = Date.parse(answer.headers.get('Date') ?? '');
  return { body: content, behindMs: Number.isNaN(date) ? 0 : date - Date.now() };
}
