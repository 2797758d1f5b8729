// How does a person sign in, and how does the sign-in stay alive? By authorization code with PKCE, and with a refresh token
// where the provider has one.
//
// Tokens are in the memory of this tab and nowhere else: a reload asks the provider again, which usually still knows the
// person. Only what checks the provider's answer is stored, in `sessionStorage`, and it is removed when the answer comes.

import * as oauth from 'oauth4webapi';

const PENDING = 'sign-in';
const LOCK = 'sign-in';
const TIMEOUT_MS = 10_000;
// A token is renewed so long before it ends, so that it does not end on its way.
const EARLY_MS = 60_000;
// Of an access token whose provider does not say it.
const LIFETIME_S = 300;
const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

/** Only the person can help: they have to sign in. */
export class SignedOut extends Error {
  name = 'SignedOut';
}

export class SignIn {
  #settings;
  #client;
  #provider;
  #tokens;

  constructor(settings) {
    this.#settings = settings;
    this.#client = { client_id: settings.client_id };
  }

  /** Who is signed in, if anybody is. */
  get subject() {
    return this.#tokens?.subject;
  }

  /** Leaves the page for the provider. `problem` is what Hallpass refused with, if it asks for a stronger sign-in; what is
   * in `after` comes back from `finish`. */
  async begin(problem = {}, after = {}) {
    const { issuer, scope, parameters = {} } = this.#settings;
    const { authorization_endpoint: endpoint } = await this.#discovered();
    if (!endpoint) throw new Error(`${issuer} does not say where to sign in.`);
    const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
    const verifier = oauth.generateRandomCodeVerifier();
    const url = new URL(endpoint);
    const asked = {
      ...parameters,
      ...stronger(problem, parameters),
      client_id: this.#client.client_id,
      redirect_uri: redirectUri(),
      response_type: 'code',
      scope,
      state,
      nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    sessionStorage.setItem(PENDING, JSON.stringify({ state, nonce, verifier, after }));
    location.assign(url);
  }

  /** Takes the provider's answer out of the page's URL. Resolves to what `begin` got, or to nothing if the page was simply
   * opened. */
  async finish() {
    const answer = new URLSearchParams(location.search);
    if (!answer.has('state')) return undefined;
    history.replaceState(undefined, '', redirectUri()); // the code must not stay in the history
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null');
    sessionStorage.removeItem(PENDING);
    if (!pending) throw new SignedOut('This sign-in was already used, or began in another tab. Sign in again.');
    const provider = await this.#discovered();
    try {
      // This compares `state` and, by RFC 9207, `iss`; the second step checks the ID token.
      const code = oauth.validateAuthResponse(provider, this.#client, answer, pending.state);
      const response = await oauth.authorizationCodeGrantRequest(
        provider,
        this.#client,
        oauth.None(),
        code,
        redirectUri(),
        pending.verifier,
        this.#options(),
      );
      const checks = { expectedNonce: pending.nonce, requireIdToken: true };
      this.#keep(await oauth.processAuthorizationCodeResponse(provider, this.#client, response, checks));
    } catch (error) {
      throw new SignedOut(`The sign-in did not succeed: ${reasonOf(error)}.`, { cause: error });
    }
    return pending.after;
  }

  /** A token that Hallpass takes. */
  async token() {
    const { token, renewAt } = this.#signedIn();
    return Date.now() < renewAt ? token : this.renewed(token);
  }

  /** Another token in the place of `old`. One call at a time renews it, whatever the number of calls and tabs: most
   * providers take a refresh token once, and end the sign-in if it comes a second time. */
  async renewed(old) {
    return navigator.locks.request(LOCK, async () => {
      const { token, refresh } = this.#signedIn();
      if (token !== old) return token; // the call before this one has renewed it
      if (!refresh) throw this.#over();
      const provider = await this.#discovered();
      try {
        const response = await oauth.refreshTokenGrantRequest(
          provider,
          this.#client,
          oauth.None(),
          refresh,
          this.#options(),
        );
        this.#keep(await oauth.processRefreshTokenResponse(provider, this.#client, response));
      } catch (error) {
        if (error instanceof SignedOut) throw error;
        // Anything else may pass.
        throw error.error === 'invalid_grant' ? this.#over(error) : unreachable(error);
      }
      return this.#tokens.token;
    });
  }

  /** Forgets the tokens, and has the provider forget the refresh token. */
  async end() {
    const refresh = this.#tokens?.refresh;
    this.#tokens = undefined;
    const provider = await this.#discovered();
    if (!refresh || !provider.revocation_endpoint) return;
    const revoked = oauth.revocationRequest(provider, this.#client, oauth.None(), refresh, this.#options());
    await revoked.then(oauth.processRevocationResponse).catch((error) => {
      throw unreachable(error);
    });
  }

  #signedIn() {
    if (!this.#tokens) throw new SignedOut('You are not signed in.');
    return this.#tokens;
  }

  #over(cause) {
    this.#tokens = undefined;
    return new SignedOut('Your sign-in has ended. Sign in again.', { cause });
  }

  #keep(answer) {
    const claims = oauth.getValidatedIdTokenClaims(answer);
    const subject = claims?.sub ?? this.subject;
    if (this.#tokens && subject !== this.subject) throw this.#over();
    const byIdToken = this.#settings.token === 'id_token';
    if (byIdToken && !claims) throw this.#over(); // this provider does not renew ID tokens
    const refresh = answer.refresh_token ?? this.#tokens?.refresh;
    const lifetime = 1_000 * (byIdToken ? claims.exp - claims.iat : (answer.expires_in ?? LIFETIME_S));
    const early = refresh ? Math.min(EARLY_MS, lifetime / 4) : 0;
    const token = byIdToken ? answer.id_token : answer.access_token;
    this.#tokens = { token, refresh, subject, renewAt: Date.now() + lifetime - early };
  }

  async #discovered() {
    if (!this.#provider) {
      const issuer = new URL(this.#settings.issuer);
      try {
        const answer = await oauth.discoveryRequest(issuer, this.#options());
        this.#provider = await oauth.processDiscoveryResponse(issuer, answer);
      } catch (error) {
        throw unreachable(error);
      }
    }
    return this.#provider;
  }

  /** Of each request to the provider. The lock above is held meanwhile, so every request ends. */
  #options() {
    const local = LOOPBACK.includes(new URL(this.#settings.issuer).hostname);
    return { signal: AbortSignal.timeout(TIMEOUT_MS), [oauth.allowInsecureRequests]: local };
  }
}

/** The folder of the page, as it is registered at the provider. */
const redirectUri = () => new URL('./', location.href).href;

/** What the provider is asked for, so that Hallpass accepts the next sign-in. A method (`amr`) alone cannot be asked for:
 * then the person signs in anew. */
function stronger({ acr_values: contexts, amr_values: methods, max_age: age }, { prompt }) {
  if (!contexts && age === undefined) return methods ? { prompt: ['login', prompt].filter(Boolean).join(' ') } : {};
  return { ...(contexts && { acr_values: contexts.join(' ') }), ...(age !== undefined && { max_age: String(age) }) };
}

const unreachable = (error) =>
  new Error(`The identity provider cannot be asked: ${reasonOf(error)}. Try again.`, { cause: error });

/** What went wrong, as far as the provider or the library says it. */
const reasonOf = (error) => error.error_description ?? error.error ?? error.message;
