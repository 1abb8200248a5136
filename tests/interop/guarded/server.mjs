// An authorization server that knows nothing of FAPI: oidc-provider behind a proxy that ends TLS, with nearly everything
// allowed that it can do. Pushed requests and PKCE are optional, clients may have secrets or nothing, tokens are bound if a
// client asks for it, and live for a day. Whoever likes frames its pages, and scripts of every origin read its answers.
//
//   node server.mjs CONFIGURATION
//
// The configuration is JSON:
//
//   issuer     URL of the proxy
//   mtls       URL of the proxy for clients with certificates
//   clients    the metadata of each client (RFC 7591)
//   resource   the resource indicator for which access tokens are JWTs; they are opaque without
//   dpop       whether it knows of DPoP; if it does not, a proof is ignored
//   nonces     whether a proof needs a nonce that it gave
//   rotate     whether a refresh token is replaced whenever it is used
//   certificate, key   PEM files for browsers that come without the proxy
//
// Writes one line of JSON once it listens: its `address` for plain HTTP, and its `origin` for browsers. Exits when its stdin
// ends, so that it never outlives the test.

import { X509Certificate, generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { text } from 'node:stream/consumers';

import { Provider, errors } from 'oidc-provider';

const { issuer, mtls, clients, resource, dpop, nonces, rotate, certificate: own, key } = JSON.parse(process.argv[2]);
process.stdin.resume().on('close', () => process.exit());

const DAY = 24 * 60 * 60;
const provider = new Provider(issuer, {
  clients,
  clientAuthMethods: [
    'none',
    'client_secret_basic',
    'client_secret_post',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
  ],
  cookies: { keys: [randomBytes(32).toString('hex')] },
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${mtls}/token` } },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: dpop, nonceSecret: randomBytes(32), requireNonce: () => nonces },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'api' },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: certificate,
      // Whoever hands on a certificate has verified it, or knows it.
      certificateAuthorized: (ctx) => certificate(ctx) !== undefined,
      // Node writes a name with a single part as RFC 4514 does.
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_subject_dn' && certificate(ctx).subject === expected,
    },
    pushedAuthorizationRequests: {
      enabled: true,
      requirePushedAuthorizationRequests: false,
      allowUnregisteredRedirectUris: true,
    },
    resourceIndicators: { enabled: true, getResourceServerInfo },
    revocation: { enabled: true, allowedPolicy: (ctx, client, token) => client.clientId === token.clientId },
    rpInitiatedLogout: { enabled: false },
  },
  findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  jwks: { keys: [{ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), use: 'sig' }] },
  pkce: { required: () => false },
  responseTypes: ['code', 'code id_token', 'id_token', 'none'],
  rotateRefreshToken: rotate,
  // Set explicitly, as the policies above are, because oidc-provider writes a notice to stdout when it uses a default.
  ttl: { AccessToken: DAY, AuthorizationCode: 60, ClientCredentials: DAY, Grant: DAY, IdToken: 600, Interaction: 60, RefreshToken: DAY, Session: 600 },
});
provider.proxy = true;

const answer = provider.callback();
const serve = (request, response) => {
  const { origin } = request.headers;
  if (origin) {
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-allow-credentials', 'true');
  }
  const page = request.url.startsWith('/interaction/') ? interact(request, response) : answer(request, response);
  page.catch((error) => response.writeHead(500).end(error.message));
};
const listen = async (server) => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address().port;
};
const plain = await listen(createServer(serve));
const tls = await listen(createTlsServer({ cert: readFileSync(own), key: readFileSync(key) }, serve));
process.stdout.write(`${JSON.stringify({ address: `127.0.0.1:${plain}`, origin: `https://localhost:${tls}` })}\n`);

// RFC 9440 §2.2.
function certificate(ctx) {
  const field = ctx.get('client-cert');
  return field ? new X509Certificate(Buffer.from(field.slice(1, -1), 'base64')) : undefined;
}

// Two pages: on the first the user gives a name, and on the second consents to everything.
async function interact(request, response) {
  const { params, prompt, session, uid } = await provider.interactionDetails(request, response);
  const [title, field] = prompt.name === 'login' ? ['Log in', '<label>Name <input name="name"></label>'] : ['Allow', ''];
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.write(`<!DOCTYPE html><title>${title}</title>`);
    response.end(`<form method="post" action="/interaction/${uid}">${field}<button>${title}</button></form>`);
    return;
  }
  // Many servers refuse the form of a page that does not say that it is their own.
  const { host, origin } = request.headers;
  if (origin && origin !== `https://${host}`) {
    response.writeHead(403).end();
    return;
  }
  if (prompt.name === 'login') {
    const accountId = new URLSearchParams(await text(request)).get('name');
    await provider.interactionFinished(request, response, { login: { accountId } });
    return;
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid');
  if (params.resource) grant.addResourceScope(params.resource, params.scope);
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

function getResourceServerInfo(ctx, indicator) {
  if (indicator !== resource) throw new errors.InvalidTarget();
  return { audience: resource, scope: 'accounts', accessTokenFormat: 'jwt', accessTokenTTL: DAY, jwt: { sign: { alg: 'RS256' } } };
}
