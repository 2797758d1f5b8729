// The company's identity provider, as the local stack plays it: the certified oidc-provider with a few employees.
// Its arguments are Hallpass's URL and the origins of the company's own web applications. Prints one line of JSON, {"issuer": …}, when it is ready.
// It asks for no password, and takes a tick for a second factor: loopback only, and never deployed.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

import Provider, { errors, interactionPolicy } from 'oidc-provider';

import { codePage, confirmPage, consentPage, donePage, loginPage } from './idp-pages.mjs';

const [HALLPASS_URL, ...APPLICATIONS] = process.argv.slice(2);

const HALLPASS = 'urn:hallpass'; // the resource indicator; the audience in the token is `hallpass`

const EMPLOYEES = {
  carol: { email: 'carol@example.com', groups: ['analysts'] },
  dave: { email: 'dave@example.com' }, // in no group: his tokens have no `groups` claim at all
  erin: { email: 'erin@example.com', groups: ['analysts', 'hr', 'deployers'], department: 'shop' },
  frank: { email: 'frank@example.com', groups: ['analysts', 'deployers'], department: 'research' },
  // In more groups than Hallpass takes, so that hers cannot be known.
  heidi: { email: 'heidi@example.com', groups: Array.from({ length: 201 }, (_, number) => `g${number}`) },
};

// Everybody has a second factor and uses it only when asked to; these always do.
const CAREFUL = new Set(['erin']);
const SECOND_FACTOR = 'mfa'; // the authentication context, asked for with `acr_values`

// Public clients for tests, with the algorithm of their tokens: one for each that Hallpass accepts. The first is called
// as Hallpass's audience is, because the audience of an ID token is the client.
const ALGORITHMS = { hallpass: 'RS256', 'hallpass-es256': 'ES256', 'hallpass-eddsa': 'EdDSA' };

const LOOPBACK = {
  application_type: 'native', // so that the port of a loopback redirect may be any (RFC 8252, 7.3)
  redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
  token_endpoint_auth_method: 'none',
};
// A page may ask for a refresh token, with `offline_access` and the person's consent. Each is good for one use.
const PAGE = {
  application_type: 'web',
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
};
const CLIENTS = [
  ...Object.entries(ALGORITHMS).map(([client_id, id_token_signed_response_alg]) => ({
    ...LOOPBACK,
    client_id,
    id_token_signed_response_alg,
  })),
  {
    ...LOOPBACK,
    client_id: 'hallpass-cli',
    client_name: 'the command line of Hallpass',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  },
  {
    ...PAGE,
    client_id: 'hallpass-portal',
    client_name: 'the page of Hallpass',
    redirect_uris: [`${HALLPASS_URL}/`],
  },
  {
    ...PAGE,
    client_id: 'hallpass-app',
    client_name: 'your application',
    redirect_uris: APPLICATIONS.flatMap((origin) => [`${origin}/`, `${origin}/callback`]),
  },
];

// A sign-in without a requested authentication context is asked for again, with that context.
const policy = interactionPolicy.base();
policy.get('login').checks.add(
  new interactionPolicy.Check('acr_values', 'a stronger sign-in is asked for', 'login_required', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ') ?? [];
    return asked.includes(SECOND_FACTOR) && oidc.acr !== SECOND_FACTOR;
  }),
);

/** What a token says of the sign-in that it comes from, also after a refresh. */
const signIn = ({ AuthorizationCode, DeviceCode, RefreshToken }) => {
  const { acr, amr, authTime } = AuthorizationCode ?? DeviceCode ?? RefreshToken ?? {};
  return { acr, amr, auth_time: authTime };
};

const jwk = (kid, alg, [type, options]) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
});

const configuration = {
  jwks: {
    keys: [
      jwk('rsa', 'RS256', ['rsa', { modulusLength: 2048 }]),
      jwk('p256', 'ES256', ['ec', { namedCurve: 'P-256' }]),
      jwk('ed25519', 'EdDSA', ['ed25519']),
    ],
  },
  clients: CLIENTS,
  // A web page may ask from where the provider sends the browser back to, and from nowhere else.
  clientBasedCORS: (_ctx, origin, client) =>
    client.applicationType === 'web' && client.redirectUris.some((uri) => new URL(uri).origin === origin),
  scopes: ['openid', 'offline_access'],
  rotateRefreshToken: true,
  acrValues: ['pwd', SECOND_FACTOR],
  interactions: { policy, url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  enabledJWA: { idTokenSigningAlgValues: Object.values(ALGORITHMS) },
  pkce: { required: () => true },
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false, // the ID token carries the claims too, as most companies' do
  findAccount: (_ctx, sub) =>
    Object.hasOwn(EMPLOYEES, sub)
      ? { accountId: sub, claims: () => ({ sub, email_verified: true, ...EMPLOYEES[sub] }) }
      : undefined,
  extraTokenClaims: (ctx, token) => ({
    ...signIn(ctx.oidc.entities),
    email_verified: true,
    ...EMPLOYEES[token.accountId],
  }),
  features: {
    devInteractions: { enabled: false }, // it knows no second factor; ours are below
    revocation: { enabled: true },
    deviceFlow: {
      enabled: true,
      userCodeInputSource: (ctx, form, _out, error) => (ctx.body = codePage(form, error)),
      userCodeConfirmSource: (ctx, form, client, _info, code) => (ctx.body = confirmPage(form, client, code)),
      successSource: (ctx) => (ctx.body = donePage()),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => HALLPASS,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource, client) => {
        if (resource !== HALLPASS) throw new errors.InvalidTarget();
        return {
          scope: 'credentials',
          audience: 'hallpass',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3600,
          jwt: { sign: { alg: ALGORITHMS[client.clientId] ?? 'RS256' } },
        };
      },
    },
  },
};

/** The pages of a sign-in: GET shows what is asked, POST answers it. */
async function interact(provider, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const stronger = params.acr_values?.split(' ').includes(SECOND_FACTOR) ?? false;
  if (request.method !== 'POST') {
    const client = await provider.Client.find(params.client_id);
    const page = prompt.name === 'login' ? loginPage(stronger, params.login_hint) : consentPage(client, params.scope);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(page);
    return;
  }
  const form = new URLSearchParams(await text(request));
  const result = prompt.name === 'login' ? login(form) : await consent(provider, prompt.details, params, session, grantId);
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: prompt.name !== 'login' });
}

function login(form) {
  const accountId = form.get('login') ?? '';
  if (!Object.hasOwn(EMPLOYEES, accountId)) return { error: 'access_denied', error_description: 'no such employee' };
  const strong = CAREFUL.has(accountId) || form.has('factor');
  return { login: { accountId, amr: strong ? ['pwd', 'mfa'] : ['pwd'], acr: strong ? SECOND_FACTOR : 'pwd' } };
}

async function consent(provider, asked, params, session, grantId) {
  const given = grantId ? await provider.Grant.find(grantId) : undefined;
  const grant = given ?? new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (asked.missingOIDCScope) grant.addOIDCScope(asked.missingOIDCScope.join(' '));
  if (asked.missingOIDCClaims) grant.addOIDCClaims(asked.missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(asked.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return { consent: { grantId: await grant.save() } };
}

// The port is the system's choice and part of the issuer's name, so the server listens before the provider exists.
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    return interact(provider, request, response).catch((error) => {
      console.error(error);
      response.writeHead(400, { 'content-type': 'text/plain' }).end('this sign-in has ended; begin again');
    });
  });
  console.log(JSON.stringify({ issuer }));
});
