// An application built on openid-client: it obtains tokens from the authorization server and calls the gateway with
// them, as tests/interop/authorization_server.rs tells it to.
//
//   node client.mjs CERTIFICATE PRIVATE_KEY
//
// Both are PEM files of mtls-client. Writes one line of JSON first: the jwks of dpop-client. Then reads commands, one
// line of JSON each, and answers each with a line:
//
//   {"do": "discover", "issuer": ISSUER}
//   {"do": "code", "client": CLIENT, "token": NAME, "resource": RESOURCE, "scope": SCOPE}
//   {"do": "client_credentials", ...}      the same; both keep the token under its name and answer with its token_type,
//                                          scope and format, which is opaque or jwt
//   {"do": "call", "token": NAME, "url": URL, "method": METHOD, "thief": true, "instead": "id_token"}
//                                          status, errors of the challenge, body, interaction id; a thief has the token
//                                          without the key or the certificate that it is bound to; instead of the access
//                                          token, the ID token or the refresh token that came with it can be sent
//   {"do": "revoke", "token": NAME}
//
// A failed command is answered with an `error`. No line contains a token.

import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';

import * as client from 'openid-client';

const [certificate, privateKey] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const callback = 'https://client.example/callback';

const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
const proofKeys = await client.randomDPoPKeyPair('ES256');
const thiefKeys = await client.randomDPoPKeyPair('ES256');
// By client: its configuration and how it proves possession. For mtls-client the connection does that.
const clients = {};
const tokens = {};

const commands = {
  async discover({ issuer }) {
    const discover = async (name, metadata, authentication, options) =>
      client.discovery(new URL(issuer), name, metadata, authentication, { algorithm: 'oauth2', ...options });
    const config = await discover('dpop-client', {}, client.PrivateKeyJwt(keys.privateKey));
    clients['dpop-client'] = { config, possession: { DPoP: client.getDPoPHandle(config, proofKeys) } };
    clients['mtls-client'] = {
      config: await discover('mtls-client', { use_mtls_endpoint_aliases: true }, client.TlsClientAuth(), {
        [client.customFetch]: fetchWithCertificate,
      }),
    };
    clients['thief of dpop-client'] = { config, possession: { DPoP: client.getDPoPHandle(config, thiefKeys) } };
    clients['thief of mtls-client'] = { config };
  },

  async code({ client: name, token, resource, scope }) {
    const { config, possession } = clients[name];
    const pkceCodeVerifier = client.randomPKCECodeVerifier();
    const parameters = {
      redirect_uri: callback,
      scope,
      resource,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    };
    const url = await browse(await client.buildAuthorizationUrlWithPAR(config, parameters, possession));
    const checks = { pkceCodeVerifier };
    return keep(name, token, await client.authorizationCodeGrant(config, url, checks, { resource }, possession));
  },

  async client_credentials({ client: name, token, resource, scope }) {
    const { config, possession } = clients[name];
    return keep(name, token, await client.clientCredentialsGrant(config, { resource, scope }, possession));
  },

  async call({ token, url, method = 'GET', thief, instead }) {
    const { name, value: accessToken, others } = tokens[token];
    const value = instead ? others[instead] : accessToken;
    if (!value) throw new Error(`${token} came without ${instead}`);
    const { config, possession } = clients[thief ? `thief of ${name}` : name];
    let errors = [];
    const response = await client
      .fetchProtectedResource(config, value, new URL(url), method, undefined, undefined, possession)
      .catch((error) => {
        if (!(error instanceof client.WWWAuthenticateChallengeError)) throw error;
        errors = error.cause.flatMap(({ parameters }) => parameters.error ?? []);
        return error.response;
      });
    const body = await response.text();
    const json = response.headers.get('content-type')?.includes('json');
    const interaction = response.headers.get('x-fapi-interaction-id');
    return { status: response.status, errors, interaction, body: json ? JSON.parse(body) : body };
  },

  async revoke({ token }) {
    const { name, value } = tokens[token];
    await client.tokenRevocation(clients[name].config, value);
  },
};

say({ jwks: { keys: [await crypto.subtle.exportKey('jwk', keys.publicKey)] } });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    say({ do: command.do, ...(await commands[command.do](command)) });
  } catch (error) {
    say({ do: command.do, error: error.error ?? error.cause?.code ?? error.code ?? error.message });
  }
}

function keep(name, token, { access_token: value, token_type, scope, id_token, refresh_token }) {
  tokens[token] = { name, value, others: { id_token, refresh_token } };
  return { token_type, scope, format: value.includes('.') ? 'jwt' : 'opaque' };
}

// The browser: follows the authorization server's redirects, with cookies, until it is sent back to the client.
async function browse(url) {
  const cookies = new Map();
  for (let answers = 0; !url.href.startsWith(callback); answers++) {
    if (answers === 10) throw new Error('the authorization server sends the browser in circles');
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    await response.text();
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`the authorization server answers the browser with ${response.status}`);
    url = new URL(location, url);
  }
  return url;
}

// Node's own fetch does not support client certificates.
async function fetchWithCertificate(url, { method, headers, body, signal }) {
  const tls = { cert: readFileSync(certificate), key: readFileSync(privateKey) };
  const message = await new Promise((resolve, reject) => {
    request(url, { method, headers, signal, ...tls }, resolve).on('error', reject).end(body?.toString());
  });
  const content = await text(message);
  return new Response(content || null, {
    status: message.statusCode,
    headers: Object.entries(message.headersDistinct).flatMap(([name, values]) => values.map((value) => [name, value])),
  });
}
