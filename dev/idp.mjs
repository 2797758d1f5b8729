// The company's identity provider, as the local stack plays it: the certified oidc-provider with a few employees.
// Prints one line of JSON, {"issuer": …}, when it is ready. It asks for no password: loopback only, and never deployed.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider, { errors } from 'oidc-provider';

const HALLPASS = 'urn:hallpass'; // the resource indicator; the audience in the token is `hallpass`

const EMPLOYEES = {
  carol: { email: 'carol@example.com', groups: ['analysts'] },
  dave: { email: 'dave@example.com' }, // in no group: his tokens have no `groups` claim at all
  erin: { email: 'erin@example.com', groups: ['analysts', 'hr', 'deployers'], amr: ['pwd', 'mfa'], department: 'shop' },
  frank: { email: 'frank@example.com', groups: ['analysts', 'deployers'], amr: ['pwd'], department: 'research' },
  // In more groups than Hallpass takes, so that hers cannot be known.
  heidi: { email: 'heidi@example.com', groups: Array.from({ length: 201 }, (_, number) => `g${number}`) },
};

// One public client for people, as the issuer's default RS256, and one for each other algorithm that Hallpass accepts.
// The first is called as Hallpass's audience is, because the audience of an ID token is the client.
const CLIENTS = { hallpass: 'RS256', 'hallpass-es256': 'ES256', 'hallpass-eddsa': 'EdDSA' };

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
  clients: Object.entries(CLIENTS).map(([client_id, id_token_signed_response_alg]) => ({
    client_id,
    id_token_signed_response_alg,
    application_type: 'native', // so that the port of a loopback redirect may be any (RFC 8252, 7.3)
    redirect_uris: ['http://127.0.0.1/callback'],
    token_endpoint_auth_method: 'none',
  })),
  enabledJWA: { idTokenSigningAlgValues: Object.values(CLIENTS) },
  pkce: { required: () => true },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false, // the ID token carries the claims too, as most companies' do
  findAccount: (_ctx, sub) =>
    Object.hasOwn(EMPLOYEES, sub)
      ? { accountId: sub, claims: () => ({ sub, email_verified: true, ...EMPLOYEES[sub] }) }
      : undefined,
  extraTokenClaims: (ctx, token) => ({
    auth_time: ctx.oidc.entities.AuthorizationCode?.authTime,
    email_verified: true,
    ...EMPLOYEES[token.accountId],
  }),
  features: {
    devInteractions: { enabled: true }, // a sign-in form that takes any employee's name
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
          jwt: { sign: { alg: CLIENTS[client.clientId] } },
        };
      },
    },
  },
};

// The port is the system's choice and part of the issuer's name, so the server listens before the provider exists.
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration).callback());
  console.log(JSON.stringify({ issuer }));
});
