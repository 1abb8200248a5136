// An independent authorization server: oidc-provider with its FAPI 2.0 profile, over TLS on loopback.
//
//   node server.mjs CONFIGURATION
//
// The configuration is JSON; files are PEM:
//
//   certificate, private_key   files: the server, for localhost
//   client_ca                  file: the authority that signs the certificates of mtls-client and mtls-client-2, whose name is
//                              their CN
//   resources                  {"https://api.bank.example": "opaque"}: resource indicators, each with the format of the
//                              tokens for it, opaque or jwt; their `aud` is the indicator
//   algorithm                  of JWT access tokens and signed introspection: PS256 (default), ES256 or EdDSA
//   client_jwks                public keys of dpop-client and dpop-client-2
//   gateway_jwks               public keys of gateway and gateway-signed
//   gateway_certificate        file: the certificate of gateway-mtls
//   port, mtls_port            default: any
//
// Writes one line of JSON once it listens: its issuer, and its introspection endpoint with the alias for mutual TLS.
// Exits when its stdin ends, so that it never outlives the test.

import { X509Certificate, generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import { Provider, errors } from 'oidc-provider';

const configuration = JSON.parse(process.argv[2]);
const { algorithm = 'PS256', resources } = configuration;
process.stdin.resume().on('close', () => process.exit());

// RFC 8705 §5: browsers must not be asked for a certificate, so clients that have one use a second port.
const identity = { cert: readFileSync(configuration.certificate), key: readFileSync(configuration.private_key) };
const front = createServer(identity);
const mutual = createServer({
  ...identity,
  ca: readFileSync(configuration.client_ca),
  requestCert: true,
  // Self-signed certificates too: whether one is acceptable depends on the client that it authenticates.
  rejectUnauthorized: false,
});
const issuer = await listen(front, configuration.port);
const alias = await listen(mutual, configuration.mtls_port);

const application = {
  grant_types: ['authorization_code', 'client_credentials', 'refresh_token'],
  redirect_uris: ['https://client.example/callback'],
};
// A resource server introspects tokens and obtains none.
const protectedResource = { grant_types: [], response_types: [], redirect_uris: [] };
const pair = (suffix) => [
  {
    ...application,
    client_id: `dpop-client${suffix}`,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: configuration.client_jwks,
    dpop_bound_access_tokens: true,
  },
  {
    ...application,
    client_id: `mtls-client${suffix}`,
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_subject_dn: `CN=mtls-client${suffix}`,
    tls_client_certificate_bound_access_tokens: true,
  },
];
const clients = [
  ...pair(''),
  ...pair('-2'),
  {
    ...protectedResource,
    client_id: 'gateway',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: configuration.gateway_jwks,
  },
  {
    ...protectedResource,
    client_id: 'gateway-signed',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: configuration.gateway_jwks,
    introspection_signed_response_alg: algorithm,
  },
  {
    ...protectedResource,
    client_id: 'gateway-mtls',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: { keys: [certificateKey(new X509Certificate(readFileSync(configuration.gateway_certificate)))] },
  },
];

const algorithms = ['PS256', 'ES256', 'Ed25519', 'EdDSA'];
const provider = new Provider(issuer, {
  clients,
  clientAuthMethods: ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'],
  clientDefaults: {
    id_token_signed_response_alg: algorithm,
    introspection_signed_response_alg: algorithm,
    response_types: ['code'],
  },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  discovery: {
    mtls_endpoint_aliases: {
      token_endpoint: `${alias}/token`,
      introspection_endpoint: `${alias}/token/introspection`,
      revocation_endpoint: `${alias}/token/revocation`,
      pushed_authorization_request_endpoint: `${alias}/request`,
    },
  },
  enabledJWA: {
    clientAuthSigningAlgValues: algorithms,
    dPoPSigningAlgValues: algorithms,
    idTokenSigningAlgValues: algorithms,
    introspectionSigningAlgValues: algorithms,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    fapi: { enabled: true, profile: '2.0' },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId.startsWith('gateway') },
    jwtIntrospection: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: ({ socket }) => socket.getPeerX509Certificate(),
      certificateAuthorized: ({ socket }) => socket.authorized,
      // Node writes a name with a single part as RFC 4514 does; longer names never match.
      certificateSubjectMatches: ({ socket }, property, expected) =>
        property === 'tls_client_auth_subject_dn' && socket.getPeerX509Certificate().subject === expected,
    },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
    resourceIndicators: { enabled: true, getResourceServerInfo },
    revocation: { enabled: true, allowedPolicy: (ctx, client, token) => client.clientId === token.clientId },
    rpInitiatedLogout: { enabled: false },
    userinfo: { enabled: false },
  },
  findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  jwks: {
    keys: [
      signingKey('PS256', 'rsa', { modulusLength: 2048 }),
      signingKey('ES256', 'ec', { namedCurve: 'P-256' }),
      signingKey('EdDSA', 'ed25519'),
    ],
  },
  responseTypes: ['code'],
  // Set explicitly, as the policies above are, because oidc-provider writes a notice to stdout when it uses a default.
  ttl: { AccessToken: 600, AuthorizationCode: 60, ClientCredentials: 600, Grant: 600, IdToken: 600, Interaction: 60, RefreshToken: 600, Session: 600 },
});

const answer = provider.callback();
for (const server of [front, mutual]) {
  server.on('request', (request, response) =>
    request.url.startsWith('/interaction/') ? consent(request, response) : answer(request, response),
  );
}
const path = '/token/introspection';
const ready = { issuer, introspection_endpoint: issuer + path, mtls_introspection_endpoint: alias + path };
process.stdout.write(`${JSON.stringify(ready)}\n`);

// There is one user, who is logged in and consents to everything.
async function consent(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const accountId = 'alice';
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope('openid');
  grant.addResourceScope(params.resource, params.scope);
  const result = { login: { accountId }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result);
}

function getResourceServerInfo(ctx, resource) {
  if (!(resource in resources)) throw new errors.InvalidTarget();
  return {
    audience: resource,
    scope: 'accounts payments',
    accessTokenFormat: resources[resource],
    jwt: { sign: { alg: algorithm } },
  };
}

async function listen(server, port = 0) {
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return `https://localhost:${server.address().port}`;
}

function signingKey(alg, type, options) {
  return { ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig' };
}

function certificateKey(certificate) {
  return { ...certificate.publicKey.export({ format: 'jwk' }), x5c: [certificate.raw.toString('base64')] };
}
