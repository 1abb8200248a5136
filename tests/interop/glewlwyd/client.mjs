// Configures a new glewlwyd through its administration API, and obtains tokens from it: PAR, PKCE, and client
// authentication by private_key_jwt or by certificate. As tests/interop/glewlwyd.rs tells it to.
//
//   node client.mjs CONFIGURATION
//
// The configuration is JSON:
//
//   at                         where glewlwyd listens, https
//   origin                     where the world finds it
//   password                   of its administrator
//   certificate, private_key   of mtls-client, CN=client-1, as PEM; only for the commands that ask for tokens
//   key, algorithm             a private key as PEM, which signs tokens, and how
//   resource                   the resource indicator of the API
//
// Reads commands, one line of JSON each, and answers each with a line:
//
//   {"do": "configure", "clients": [CLIENT], "consents": [ID], "plugin": {}}
//                              the issuer, and name and password of the user; instead of its own clients, there are these,
//                              to some of which the user has consented, and with other parameters of the OIDC plugin
//   {"do": "code", "client": CLIENT, "resource": RESOURCE, "scope": SCOPE, "proofs": {"/par": PROOF, "/token": PROOF}}
//   {"do": "client_credentials", ...}      the same; both answer with what the token endpoint says
//   {"do": "introspect", "client": CLIENT, "token": TOKEN, "audience": AUDIENCE}
//                                          status and text of the answer; the audience is that of the client's assertion,
//                                          which is the endpoint if it is missing
//
// A failed command is answered with an `error`.

import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto';
import { request } from 'node:https';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';

const configuration = JSON.parse(process.argv[2]);
const { at, origin, resource } = configuration;
const key = { ...createPrivateKey(configuration.key).export({ format: 'jwk' }), kid: 'one', alg: configuration.algorithm };
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const api = `${at}/api`;
const issuer = `${origin}/api/oidc`;
const callback = 'https://client.example/callback';
const certificate = { cert: configuration.certificate, key: configuration.private_key };
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const user = { username: 'alice', password: randomUUID() };
// For resource servers that introspect; glewlwyd knows no other way for them than a secret.
const secret = randomUUID();

const clients = {
  'dpop-client': { authenticate: assertion },
  'mtls-client': { authenticate: () => ({}), tls: certificate },
};

const commands = {
  async configure({ clients: others, consents = Object.keys(clients), plugin = {} }) {
    const admin = await login('admin', configuration.password);
    const put = async (method, path, body) => {
      const { status, body: said } = await send(method, `${api}${path}`, { cookie: admin, json: body });
      if (status !== 200) throw new Error(`${method} ${path} is answered with ${status} ${said}`);
      return said;
    };
    // The properties of clients that glewlwyd's database does not have by itself.
    const backend = JSON.parse(await put('GET', '/mod/client/database'));
    for (const property of ['tls_client_auth_subject_dn', 'dpop_bound_access_tokens']) {
      backend.parameters['data-format'][property] = { multiple: false, read: true, write: true };
    }
    await put('PUT', '/mod/client/database', backend);
    await put('PUT', '/mod/client/database/reset');
    for (const name of ['accounts', 'payments']) {
      await put('POST', '/scope/', { name, display_name: name, password_required: false, scheme: {} });
    }
    await put('POST', '/user/', { ...user, enabled: true, scope: ['g_profile', 'openid', 'accounts', 'payments'] });
    const client = {
      enabled: true,
      confidential: true,
      scope: ['accounts', 'payments'],
      redirect_uri: [callback],
      authorization_type: ['code', 'client_credentials', 'refresh_token'],
      resource: [resource],
    };
    for (const one of others ?? own()) await put('POST', '/client/', { ...client, ...one });
    await put('POST', '/mod/plugin/', {
      module: 'oidc',
      name: 'oidc',
      display_name: 'OpenID Connect',
      enabled: true,
      parameters: {
        iss: issuer,
        'jwks-private': JSON.stringify({ keys: [key] }),
        'jwks-show': true,
        'access-token-duration': 300,
        'refresh-token-duration': 300,
        'code-duration': 60,
        'allow-non-oidc': true,
        'auth-type-code-enabled': true,
        'auth-type-client-enabled': true,
        'auth-type-refresh-enabled': true,
        'request-parameter-allow': true,
        'request-maximum-exp': 3600,
        'client-jwks-parameter': 'jwks',
        'pkce-allowed': true,
        'pkce-required': true,
        'oauth-par-allowed': true,
        'oauth-par-required': true,
        'oauth-par-duration': 60,
        'oauth-par-request_uri-prefix': 'urn:ietf:params:oauth:request_uri:',
        'oauth-dpop-allowed': true,
        'oauth-dpop-iat-duration': 60,
        'oauth-dpop-iat-gap-duration': 60,
        'oauth-dpop-dpop_bound_access_tokens-property': 'dpop_bound_access_tokens',
        'resource-allowed': true,
        'resource-scope': {},
        'resource-client-property': 'resource',
        'introspection-revocation-allowed': true,
        'introspection-revocation-allow-target-client': true,
        'oauth-as-iss-id': true,
        'oauth-fapi-allow-jarm': false,
        'oauth-fapi-add-s_hash': true,
        'oauth-fapi-verify-nbf': true,
        ...plugin,
      },
    });
    // The user consents once.
    const alice = await login(user.username, user.password);
    for (const name of consents) {
      const scope = 'openid accounts payments';
      const { status } = await send('PUT', `${api}/auth/grant/${name}`, { cookie: alice, json: { scope } });
      if (status !== 200) throw new Error(`a grant is answered with ${status}`);
    }
    return { issuer, user };
  },

  async code({ client: name, resource, scope, proofs = {} }) {
    const { authenticate, tls } = clients[name];
    const verifier = randomBytes(32).toString('base64url');
    const pushed = await form(`${issuer}/par`, {
      tls,
      proof: proofs['/par'],
      body: {
        ...authenticate(name, `${issuer}/par`),
        client_id: name,
        response_type: 'code',
        redirect_uri: callback,
        scope,
        nonce: randomUUID(),
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        ...(resource && { resource }),
      },
    });
    const alice = await login(user.username, user.password);
    const query = new URLSearchParams({ client_id: name, request_uri: pushed.request_uri, g_continue: '' });
    const { status, headers, body } = await send('GET', `${issuer}/auth?${query}`, { cookie: alice });
    const code = headers.location && new URL(headers.location).searchParams.get('code');
    if (!code) throw new Error(`the browser is answered with ${status} ${headers.location} ${body}`);
    return form(`${issuer}/token`, {
      tls,
      proof: proofs['/token'],
      body: {
        ...authenticate(name, `${issuer}/token`),
        client_id: name,
        grant_type: 'authorization_code',
        code,
        redirect_uri: callback,
        code_verifier: verifier,
        ...(resource && { resource }),
      },
    });
  },

  async client_credentials({ client: name, resource, scope, proofs = {} }) {
    const { authenticate, tls } = clients[name];
    const body = {
      ...authenticate(name, `${issuer}/token`),
      client_id: name,
      grant_type: 'client_credentials',
      scope,
    };
    return form(`${issuer}/token`, { tls, proof: proofs['/token'], body: { ...body, ...(resource && { resource }) } });
  },

  async introspect({ client: name, token, audience = `${issuer}/introspect` }) {
    const { authenticate, tls } = clients[name] ?? { authenticate: () => ({}) };
    const headers = name in clients ? {} : { authorization: `Basic ${btoa(`${name}:${secret}`)}` };
    const body = new URLSearchParams({ ...authenticate(name, audience), client_id: name, token });
    const answer = await send('POST', `${issuer}/introspect`, { tls, headers, form: body });
    return { status: answer.status, answer: answer.body && JSON.parse(answer.body) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    say({ do: command.do, ...(await commands[command.do](command)) });
  } catch (error) {
    say({ do: command.do, error: error.message });
  }
}

// The clients of the commands, and one that introspects.
function own() {
  return [
    {
      client_id: 'dpop-client',
      token_endpoint_auth_method: ['private_key_jwt'],
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'client', alg: 'ES256' }] },
      dpop_bound_access_tokens: 'true',
    },
    {
      client_id: 'mtls-client',
      token_endpoint_auth_method: ['tls_client_auth'],
      tls_client_auth_subject_dn: 'CN=client-1',
    },
    { client_id: 'gateway', token_endpoint_auth_method: ['client_secret_basic'], client_secret: secret },
  ];
}

async function login(username, password) {
  const { status, headers } = await send('POST', `${api}/auth/`, { json: { username, password } });
  if (status !== 200) throw new Error(`the login of ${username} is answered with ${status}`);
  return headers['set-cookie'].map((cookie) => cookie.split(';')[0]).join('; ');
}

// Its audience is the endpoint that is called; glewlwyd takes no other.
function assertion(name, aud) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: name, sub: name, aud, jti: randomUUID(), iat: now, nbf: now, exp: now + 60 };
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${encode({ alg: 'ES256', kid: 'client' })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: `${input}.${signature.toString('base64url')}`,
  };
}

async function form(url, { tls, proof, body }) {
  const headers = proof ? { dpop: proof } : {};
  const answer = await send('POST', url, { tls, headers, form: new URLSearchParams(body) });
  if (answer.status >= 300) throw new Error(`${new URL(url).pathname} is answered with ${answer.status} ${answer.body}`);
  return JSON.parse(answer.body);
}

async function send(method, url, { cookie, json, form: encoded, headers = {}, tls = {} } = {}) {
  const all = { ...headers };
  if (cookie) all.cookie = cookie;
  if (json) all['content-type'] = 'application/json';
  if (encoded) all['content-type'] = 'application/x-www-form-urlencoded';
  const message = await new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: all, agent: false, timeout: 10_000, ...tls }, resolve);
    sent.on('error', reject).on('timeout', () => sent.destroy(new Error(`${method} ${url} is not answered`)));
    sent.end(json ? JSON.stringify(json) : encoded?.toString());
  });
  return { status: message.statusCode, headers: message.headers, body: await text(message) };
}
