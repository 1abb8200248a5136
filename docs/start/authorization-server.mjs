// The authorization server of docs/start.md: oidc-provider, a certified server that is not part of fapi-gateway.
//
// It knows one client, `app`, which authenticates with a certificate that says CN=app (RFC 8705 section 2.1), and it issues
// JWT access tokens (RFC 9068) that are bound to that certificate (RFC 8705 section 3). Reads server.pem, server-key.pem
// and ca.pem from the working directory. For trying things out, not for production: its keys live as long as the process.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import { Provider } from 'oidc-provider';

const provider = new Provider('https://localhost:9443', {
  clients: [
    {
      client_id: 'app',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=app',
      tls_client_certificate_bound_access_tokens: true,
    },
  ],
  clientAuthMethods: ['tls_client_auth'],
  clientDefaults: { id_token_signed_response_alg: 'PS256' },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  enabledJWA: { idTokenSigningAlgValues: ['PS256'] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: ({ socket }) => socket.getPeerX509Certificate(),
      certificateAuthorized: ({ socket }) => socket.authorized,
      certificateSubjectMatches: ({ socket }, property, expected) =>
        property === 'tls_client_auth_subject_dn' && socket.getPeerX509Certificate().subject === expected,
    },
    resourceIndicators: {
      enabled: true,
      // Which API a token is for becomes its `aud`; the API asks for JWTs.
      getResourceServerInfo: (context, resource) => ({
        audience: resource,
        scope: 'accounts payments',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'PS256' } },
      }),
    },
  },
  jwks: {
    keys: [{ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), alg: 'PS256', use: 'sig' }],
  },
  ttl: { ClientCredentials: 600 },
});

createServer(
  {
    cert: readFileSync('server.pem'),
    key: readFileSync('server-key.pem'),
    ca: readFileSync('ca.pem'),
    // Asked for, not required: the gateway reads metadata and keys without a certificate.
    requestCert: true,
    rejectUnauthorized: false,
  },
  provider.callback(),
).listen(9443, '127.0.0.1', () => console.log('https://localhost:9443'));
