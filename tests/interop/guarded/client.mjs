// Applications built on openid-client and on oauth4webapi, which log a user in and refresh what they get, as
// tests/interop/guarded.rs tells them to.
//
//   node client.mjs CONFIGURATION
//
// The configuration is JSON:
//
//   issuer     of the authorization server
//   resource   the resource indicator for which access tokens are JWTs
//   clients    by name: `key`, a PEM file with its private key for assertions, of ES256; `certificate` and
//              `certificate_key`, PEM files; `self_signed`, whether the certificate is registered itself; `dpop`, whether
//              it proves possession of a key
//
// Reads commands, one line of JSON each, and answers each with a line:
//
//   {"do": "metadata"}                                what the two documents say
//   {"do": "openid-client", "client": NAME, "resource": true}
//   {"do": "oauth4webapi", "client": NAME, "resource": true}
//       the whole flow: metadata, pushed request, login, code, refresh. Answers with the `iss` of the authorization
//       response, and for the first answer of the token endpoint and the refreshed one: token_type, format (opaque or
//       jwt), cnf (its members, of a JWT), and of the latter whether the refresh token is still the same. With
//       "browser": true the login is left to whoever asks: the first answer is {"visit": URL}, and the line after it
//       {"back": URL}, where the browser was sent
//   {"do": "revoke", "client": NAME}                  revokes the last refresh token of the client
//
// A failed command is answered with an `error`. No line contains a token.

import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';

import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';

const { issuer, resource: indicator, clients } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const callback = 'https://client.example/callback';
const tokens = {};
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const commands = {
  async metadata() {
    const documents = ['openid-configuration', 'oauth-authorization-server'];
    const read = async (name) => (await fetch(`${issuer}/.well-known/${name}`)).json();
    return { documents: await Promise.all(documents.map(read)) };
  },

  async 'openid-client'({ client: name, resource, browser }) {
    const { dpop, self_signed: selfSigned, certificate, key } = clients[name];
    const authentication = key ? client.PrivateKeyJwt(await signingKey(key)) : client.TlsClientAuth();
    const metadata = { use_mtls_endpoint_aliases: Boolean(selfSigned) };
    const config = await client.discovery(new URL(issuer), name, metadata, authentication, {
      [client.customFetch]: certificate ? fetchWith(clients[name]) : fetch,
    });
    const possession = dpop ? { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256')) } : undefined;
    const target = resource ? { resource: indicator } : {};
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
    const parameters = {
      redirect_uri: callback,
      scope: 'openid accounts',
      state: expectedState,
      nonce: expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      ...target,
    };
    const start = await client.buildAuthorizationUrlWithPAR(config, parameters, possession);
    const url = await (browser ? visit : browse)(start);
    const checks = { pkceCodeVerifier, expectedState, expectedNonce };
    const first = await client.authorizationCodeGrant(config, url, checks, target, possession);
    const refreshed = await client.refreshTokenGrant(config, first.refresh_token, target, possession);
    tokens[name] = { config, token: refreshed.refresh_token ?? first.refresh_token };
    return { iss: url.searchParams.get('iss'), ...outcome(first, refreshed) };
  },

  async oauth4webapi({ client: name, resource, browser }) {
    const { dpop, self_signed: selfSigned, certificate, key } = clients[name];
    const options = certificate ? { [oauth.customFetch]: fetchWith(clients[name]) } : {};
    const url = new URL(issuer);
    const discovered = await oauth.discoveryRequest(url, { algorithm: 'oauth2' });
    const as = await oauth.processDiscoveryResponse(url, discovered);
    const own = { client_id: name, use_mtls_endpoint_aliases: Boolean(selfSigned) };
    const authentication = key ? oauth.PrivateKeyJwt(await signingKey(key)) : oauth.TlsClientAuth();
    if (dpop) options.DPoP = oauth.DPoP(own, await oauth.generateKeyPair('ES256'));
    const target = resource ? { resource: indicator } : {};
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const parameters = {
      response_type: 'code',
      redirect_uri: callback,
      scope: 'openid accounts',
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...target,
    };
    const pushed = await oauth.pushedAuthorizationRequest(as, own, authentication, parameters, options);
    const { request_uri } = await oauth.processPushedAuthorizationResponse(as, own, pushed);
    const start = new URL(as.authorization_endpoint);
    start.search = new URLSearchParams({ client_id: name, request_uri });
    const back = await (browser ? visit : browse)(start);
    const response = oauth.validateAuthResponse(as, own, back, state);
    const more = { ...options, additionalParameters: target };
    const granted = await oauth.authorizationCodeGrantRequest(as, own, authentication, response, callback, verifier, more);
    const first = await oauth.processAuthorizationCodeResponse(as, own, granted);
    const again = await oauth.refreshTokenGrantRequest(as, own, authentication, first.refresh_token, more);
    const refreshed = await oauth.processRefreshTokenResponse(as, own, again);
    return { iss: back.searchParams.get('iss'), ...outcome(first, refreshed) };
  },

  async revoke({ client: name }) {
    await client.tokenRevocation(tokens[name].config, tokens[name].token);
  },
};

for await (const line of lines) {
  const command = JSON.parse(line);
  try {
    say({ do: command.do, ...(await commands[command.do](command)) });
  } catch (error) {
    say({ do: command.do, error: error.error ?? error.cause?.code ?? error.code ?? error.message, why: error.error_description ?? error.message });
  }
}

function outcome(first, refreshed) {
  const same = (refreshed.refresh_token ?? first.refresh_token) === first.refresh_token;
  return { first: shown(first), refreshed: { ...shown(refreshed), same } };
}

function shown({ token_type, access_token: token }) {
  const [, claims, signature] = token.split('.');
  if (!signature) return { token_type, format: 'opaque' };
  const { cnf } = JSON.parse(Buffer.from(claims, 'base64url'));
  return { token_type, format: 'jwt', cnf: Object.keys(cnf) };
}

async function signingKey(file) {
  const der = createPrivateKey(readFileSync(file)).export({ format: 'der', type: 'pkcs8' });
  return crypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
}

// Leaves the login to whoever asks.
async function visit(url) {
  say({ visit: url.href });
  const { value: line } = await lines.next();
  return new URL(JSON.parse(line).back);
}

// The browser: follows redirects, with cookies, and fills in each form, until it is sent back to the client.
async function browse(url) {
  const cookies = new Map();
  let form;
  for (let answers = 0; !url.href.startsWith(callback); answers++) {
    if (answers === 10) throw new Error('the authorization server sends the browser in circles');
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const sent = form ? { method: 'POST', body: form } : {};
    const response = await fetch(url, { redirect: 'manual', headers: { cookie }, ...sent });
    const page = await response.text();
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    const action = response.ok && /<form method="post" action="([^"]*)">/.exec(page)?.[1];
    if (!location && !action) throw new Error(`the authorization server answers the browser with ${response.status}`);
    form = location ? undefined : new URLSearchParams({ name: 'alice' });
    url = new URL(location ?? action, url);
  }
  return url;
}

// Node's own fetch does not support client certificates.
function fetchWith({ certificate, certificate_key: privateKey, self_signed: selfSigned }) {
  const identity = { cert: readFileSync(certificate), key: readFileSync(privateKey) };
  return async (url, { method, headers, body, signal }) => {
    // A certificate of no authority is for the aliases of the endpoints.
    const tls = selfSigned && new URL(url).origin === issuer ? {} : identity;
    const message = await new Promise((resolve, reject) => {
      request(url, { method, headers, signal, ...tls }, resolve).on('error', reject).end(body?.toString());
    });
    const content = await text(message);
    return new Response(content || null, {
      status: message.statusCode,
      headers: Object.entries(message.headersDistinct).flatMap(([name, values]) => values.map((value) => [name, value])),
    });
  };
}
