// The calls of the self check: good ones, which are for every server, and one for each fault.

import { createHmac, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';

import { calculateJwkThumbprint } from 'jose';

import { thumbprint } from './selfcheck_calls.mjs';

const now = () => Math.floor(Date.now() / 1000);
const status = async (response) => (await response).status;
const CORS = [['Origin', 'https://app.example']];
const PAGE = [...CORS, ['Access-Control-Request-Method', 'GET']];
const FORM = ['Content-Type', 'application/x-www-form-urlencoded'];
const ID = '9d1e6ff4-5bb6-4f5c-8d9c-2f6f0d5b7a11';

// A row is what is called, and how the right server and the faulty one answer it.
const row = (right, faulty, call) => ({ call, right, faulty });
const refused = (call) => row(401, 200, (calls, target) => status(call(calls, target)));
const accepted = (call) => row(200, 401, (calls, target) => status(call(calls, target)));
const token = (options) => refused((calls, target) => calls.bearer(target, {}, options));
const proof = (options) => refused((calls, target) => calls.dpop(target, { proof: options }));
const claims = (more) => proof({ claims: more });
const htu = (write) => refused((calls, target) => calls.dpop(target, { proof: { claims: { htu: write(target) } } }));
const forgedHeader = (name, write) =>
  refused(async (calls, target) => {
    const { other } = calls.certificates;
    const bound = await calls.bound({ cnf: { 'x5t#S256': other.sha256 } });
    return calls.bearer(target, { token: bound, headers: [[name, write(other)]] });
  });
const twice = (text) => text.replace(/^\{/, '{"iat":1,');
const padded = (jws) => jws + '='.repeat(2);
// A signature of 64 bytes ends with four bits that nothing reads.
const loose = (jws) => jws.slice(0, -1) + String.fromCharCode(jws.charCodeAt(jws.length - 1) + 1);
const bare = async (calls, target, more = {}) => calls.send(target, { client: null, ...more });
const header = (name, more) => async (calls, target) => (await bare(calls, target, more)).headers[name];

export const good = {
  certificate: { call: (calls, target) => status(calls.bearer(target)), answers: 200 },
  'lower case': {
    call: (calls, target) => status(calls.bearer(target, { scheme: 'bearer' })),
    answers: 200,
    except: ['scheme-case-sensitive'],
  },
  posted: { call: (calls, target) => status(calls.bearer(target, { method: 'POST', body: '{}' })), answers: 201 },
  head: { call: (calls, target) => status(calls.bearer(target, { method: 'HEAD' })), answers: 200 },
  payments: { call: (calls, target) => status(calls.bearer(target, { path: '/payments' })), answers: 200 },
  'several audiences, a clock ahead': {
    call: (calls, target) =>
      status(calls.bearer(target, {}, { claims: { aud: ['x', calls.audience], nbf: now() + 8, iat: now() + 8 } })),
    answers: 200,
  },
  'another name of the type': {
    call: (calls, target) => status(calls.bearer(target, {}, { alg: 'EdDSA', header: { typ: 'application/AT+JWT' } })),
    answers: 200,
  },
  proof: { call: (calls, target) => status(calls.dpop(target)), answers: 200, except: ['nonce-not-given'] },
  ...Object.fromEntries(
    ['PS256', 'EdDSA'].map((alg) => [
      `proof ${alg}`,
      {
        call: (calls, target) => status(calls.dpop(target, { key: calls.keys[alg], proof: { header: { alg } } })),
        answers: 200,
        except: ['nonce-not-given'],
      },
    ]),
  ),
  'bound to both': {
    call: async (calls, target) => {
      const cnf = { 'x5t#S256': calls.certificates.client.sha256, jkt: await thumbprint(calls.es256.publicKey) };
      return status(calls.dpop(target, { token: await calls.token({ cnf }), client: 'client' }));
    },
    answers: 200,
    except: ['nonce-not-given'],
  },
  'fractions of seconds': {
    call: (calls, target) => status(calls.dpop(target, { proof: { claims: { iat: now() - 3.5 } } })),
    answers: 200,
    except: ['nonce-not-given'],
  },
  'without credentials': { call: (calls, target) => status(bare(calls, target)), answers: 401, except: ['error-200'] },
  'not for this': {
    call: (calls, target) => status(calls.bearer(target, { path: '/payments' }, { claims: { scope: 'accounts' } })),
    answers: 403,
    except: ['scope-unchecked', 'scope-401', 'error-200'],
  },
  metadata: {
    call: (calls, target) => status(bare(calls, target, { path: '/.well-known/oauth-protected-resource' })),
    answers: 200,
    except: ['metadata-missing'],
  },
  'another path': { call: (calls, target) => status(bare(calls, target, { path: '/nothing' })), answers: 404 },
  'another method': { call: (calls, target) => status(bare(calls, target, { method: 'DELETE' })), answers: 405 },
  'HTTP/2': {
    call: async (calls, target) => (await calls.http2(target, { authorization: `Bearer ${await calls.bound()}` }))[':status'],
    answers: 200,
    except: ['none-http1'],
  },
};

const bySecret = (write) =>
  refused(async (calls, target) => {
    const secret = write(calls.keys.PS256.publicKey);
    const key = (bytes) => createHmac('sha256', secret).update(bytes).digest();
    return calls.bearer(target, {}, { header: { alg: 'HS256', kid: 'PS256' }, key });
  });

const tokens = {
  'token-in-query': refused(async (calls, target) =>
    calls.send(target, { path: `/accounts?access_token=${await calls.bound()}` }),
  ),
  'token-in-form': row(401, 201, async (calls, target) =>
    status(calls.send(target, { method: 'POST', headers: [FORM], body: `access_token=${await calls.bound()}` })),
  ),
  'token-in-cookie': refused(async (calls, target) =>
    calls.send(target, { headers: [['Cookie', `a=b; access_token=${await calls.bound()}`]] }),
  ),
  'token-in-x-access-token': refused(async (calls, target) =>
    calls.send(target, { headers: [['X-Access-Token', await calls.bound()]] }),
  ),
  'token-in-two-places-taken': row(400, 200, async (calls, target) =>
    status(calls.bearer(target, { path: `/accounts?access_token=${await calls.bound()}` })),
  ),
  'two-authorizations-taken': row(400, 200, async (calls, target) =>
    status(calls.bearer(target, { headers: [['Authorization', `Bearer ${await calls.bound()}`]] })),
  ),
  'scheme-case-sensitive': accepted((calls, target) => calls.dpop(target, { scheme: 'dpop' })),
  'scheme-any-is-bearer': refused((calls, target) => calls.bearer(target, { scheme: 'Token' })),

  'token-signature-unchecked': token({ key: () => randomBytes(256) }),
  'token-alg-none': token({ header: { alg: 'none' }, key: () => Buffer.alloc(0) }),
  'token-alg-rs256': token({ header: { alg: 'RS256' } }),
  'token-alg-hs256-public-key': bySecret((key) => key.export({ type: 'spki', format: 'pem' })),
  'token-jwk-header': refused((calls, target) =>
    calls.bearer(target, {}, {
      alg: 'ES256',
      header: { jwk: calls.other.publicKey.export({ format: 'jwk' }) },
      key: calls.other.privateKey,
    }),
  ),
  'token-jku-fetched': refused(async (calls, target) => {
    const jwk = { ...calls.other.publicKey.export({ format: 'jwk' }), kid: 'ES256' };
    const keys = createServer((request, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(0, '127.0.0.1');
    await once(keys, 'listening');
    const jku = `http://127.0.0.1:${keys.address().port}/`;
    const response = await calls.bearer(target, {}, { alg: 'ES256', header: { jku }, key: calls.other.privateKey });
    keys.close();
    return response;
  }),
  'token-exp-unchecked': token({ claims: { exp: now() - 7200 } }),
  'token-exp-leeway-hour': token({ claims: { exp: now() - 600 } }),
  'token-exp-missing-allowed': token({ claims: { exp: undefined } }),
  'token-nbf-unchecked': token({ claims: { nbf: now() + 3600 } }),
  'token-iat-unchecked': token({ claims: { iat: now() + 3600, exp: now() + 7200 } }),
  'token-iss-unchecked': token({ claims: { iss: 'https://evil.example' } }),
  'token-iss-prefix': token({ claims: { iss: 'https://as.example.evil.example' } }),
  'token-aud-unchecked': token({ claims: { aud: 'https://other.example' } }),
  'token-aud-prefix': token({ claims: { aud: 'https://api.example.evil.example' } }),
  'token-typ-unchecked': token({ header: { typ: 'JWT' } }),
  'token-crit-ignored': token({ header: { crit: ['x'], x: 1 } }),
  'token-lenient-base64': refused(async (calls, target) =>
    calls.bearer(target, { token: padded(await calls.bound({ alg: 'ES256' })) }),
  ),
  'token-trailing-bits': refused(async (calls, target) =>
    calls.bearer(target, { token: loose(await calls.bound({ alg: 'ES256' })) }),
  ),
  'token-duplicate-members': token({ payload: (full) => twice(JSON.stringify(full)) }),
  'token-revocation-late': refused(async (calls, target) => {
    const jti = randomUUID();
    await calls.revoke(jti);
    return calls.bearer(target, {}, { claims: { jti } });
  }),
  'token-cached-forever': refused(async (calls, target) => {
    const jti = randomUUID();
    const known = await calls.bound({ claims: { jti } });
    await calls.bearer(target, { token: known });
    await calls.revoke(jti);
    return calls.bearer(target, { token: known });
  }),
};

const scope = (scope, more = {}) =>
  row(403, more.method ? 201 : 200, (calls, target) => status(calls.bearer(target, more, { claims: { scope } })));

const bound = {
  'scope-unchecked': scope('payments'),
  'scope-post-unchecked': scope('payments', { method: 'POST' }),
  'scope-missing-allowed': scope(undefined),
  'scope-substring': scope('accounts-summary'),
  'scope-case-insensitive': scope('ACCOUNTS'),
  'scope-401': row(403, 401, scope('payments').call),

  'cnf-unchecked': token({ cnf: undefined }),
  'cnf-any-present': token({ cnf: { kid: 'client-1' } }),
  'cnf-both-needs-one': refused(async (calls, target) => {
    const cnf = { 'x5t#S256': calls.certificates.client.sha256, jkt: await thumbprint(calls.es256.publicKey) };
    return calls.dpop(target, { token: await calls.token({ cnf }) });
  }),
  'bearer-for-dpop-token': refused(async (calls, target) => calls.bearer(target, { token: await calls.boundToKey() })),
  'bearer-with-proof': refused((calls, target) => calls.dpop(target, { scheme: 'Bearer' })),
  'dpop-scheme-for-certificate-token': refused(async (calls, target) =>
    calls.dpop(target, { token: await calls.bound(), client: 'client' }),
  ),
  'x5t-unchecked': refused((calls, target) => calls.bearer(target, { client: 'other' })),
  'x5t-sha1': refused(async (calls, target) =>
    calls.bearer(target, { token: await calls.token({ cnf: { x5t: calls.certificates.client.sha1 } }) }),
  ),
  'x5t-prefix': refused(async (calls, target) => {
    const cnf = { 'x5t#S256': `${calls.certificates.client.sha256.slice(0, 10)}${'A'.repeat(33)}` };
    return calls.bearer(target, { token: await calls.token({ cnf }) });
  }),
  'x5t-case-insensitive': refused(async (calls, target) => {
    const cnf = { 'x5t#S256': calls.certificates.client.sha256.toUpperCase() };
    return calls.bearer(target, { token: await calls.token({ cnf }) });
  }),
  'x5t-connection-once': refused(async (calls, target) => {
    const agent = calls.keepAlive();
    await calls.bearer(target, { agent });
    const response = await calls.bearer(target, { agent }, { cnf: { 'x5t#S256': calls.certificates.other.sha256 } });
    agent.destroy();
    return response;
  }),
  'x5t-from-client-cert': forgedHeader('Client-Cert', ({ raw }) => `:${raw.toString('base64')}:`),
  'x5t-from-x-forwarded-client-cert': forgedHeader(
    'X-Forwarded-Client-Cert',
    ({ cert }) => `By=spiffe://x;Cert="${encodeURIComponent(cert)}";Subject=""`,
  ),
  'x5t-from-ssl-client-cert': forgedHeader('ssl-client-cert', ({ cert }) => encodeURIComponent(cert)),
  'x5t-from-x-ssl-cert': forgedHeader('X-SSL-Cert', ({ cert }) => cert.replaceAll('\n', ' ')),
};

const short = generateKeyPairSync('rsa', { modulusLength: 1024 });
const proofs = {
  'dpop-unchecked': refused((calls, target) => calls.dpop(target, { fixed: 'anything' })),
  'dpop-missing-allowed': refused((calls, target) => calls.dpop(target, { fixed: '' })),
  'dpop-two-headers': refused((calls, target) => calls.dpop(target, { headers: [['DPoP', 'anything']] })),
  'h2-dpop-two': refused(async (calls, target) => {
    const bound = await calls.boundToKey();
    const dpop = [await calls.proof(target, { token: bound }), await calls.proof(target, { token: bound })];
    const answer = await calls.http2(target, { authorization: `DPoP ${bound}`, dpop });
    return { status: answer[':status'] };
  }),
  'dpop-list': refused(async (calls, target) => {
    const bound = await calls.boundToKey();
    return calls.dpop(target, { token: bound, fixed: `${await calls.proof(target, { token: bound })}, anything` });
  }),
  'dpop-typ': proof({ header: { typ: 'JWT' } }),
  'dpop-alg-none': proof({ header: { alg: 'none' }, signer: () => Buffer.alloc(0) }),
  'dpop-alg-rs256': refused((calls, target) =>
    calls.dpop(target, { key: calls.keys.PS256, proof: { header: { alg: 'RS256' } } }),
  ),
  'dpop-alg-hs256': refused(async (calls, target) => {
    const secret = randomBytes(32);
    const jwk = { kty: 'oct', k: secret.toString('base64url') };
    const bound = await calls.token({ cnf: { jkt: await calculateJwkThumbprint(jwk) } });
    return calls.dpop(target, { token: bound, proof: { header: { alg: 'HS256', jwk }, signer: secret } });
  }),
  'dpop-crit-ignored': proof({ header: { crit: ['x'], x: 1 } }),
  'dpop-lenient-base64': refused(async (calls, target) => {
    const bound = await calls.boundToKey();
    return calls.dpop(target, { token: bound, fixed: padded(await calls.proof(target, { token: bound })) });
  }),
  'dpop-trailing-bits': refused(async (calls, target) => {
    const bound = await calls.boundToKey();
    return calls.dpop(target, { token: bound, fixed: loose(await calls.proof(target, { token: bound })) });
  }),
  'dpop-duplicate-members': proof({ payload: (full) => twice(JSON.stringify(full)) }),
  'dpop-signature-unchecked': proof({ signer: () => randomBytes(64) }),
  'dpop-private-jwk': refused((calls, target) =>
    calls.dpop(target, { proof: { header: { jwk: calls.es256.privateKey.export({ format: 'jwk' }) } } }),
  ),
  'dpop-rsa-1024': refused((calls, target) => {
    const pss = { key: short.privateKey, padding: 6, saltLength: 32 };
    return calls.dpop(target, { key: short, proof: { header: { alg: 'PS256' }, signer: calls.signer('sha256', pss) } });
  }),
  'dpop-htm': claims({ htm: 'POST' }),
  'dpop-htm-case': claims({ htm: 'get' }),
  'dpop-htu': htu(() => 'https://evil.example/other'),
  'dpop-htu-scheme': htu(({ base }) => `${base.replace('https', 'http')}/accounts`),
  'dpop-htu-host': htu(() => 'https://evil.example/accounts'),
  'dpop-htu-port': htu(() => 'https://localhost:1/accounts'),
  'dpop-htu-path': htu(({ base }) => `${base}/payments`),
  'dpop-htu-prefix': htu(({ base }) => `${base}/`),
  'dpop-htu-relative': htu(() => '/accounts'),
  'dpop-htu-userinfo': htu(({ base }) => `${base.replace('//', '//a:b@')}/accounts`),
  'dpop-htu-from-host-header': row(421, 200, (calls, target) =>
    status(
      calls.dpop(target, {
        headers: [['Host', 'evil.example']],
        proof: { claims: { htu: 'https://evil.example/accounts' } },
      }),
    ),
  ),
  'dpop-htu-from-forwarded': refused((calls, target) =>
    calls.dpop(target, {
      headers: [['X-Forwarded-Host', 'evil.example']],
      proof: { claims: { htu: 'https://evil.example/accounts' } },
    }),
  ),
  'dpop-htu-query-strict': accepted((calls, target) => calls.dpop(target, { path: '/accounts?page=2' })),
  'dpop-htu-no-normalization': accepted((calls, target) =>
    calls.dpop(target, { proof: { claims: { htu: `${target.base.toUpperCase()}/%61ccounts?page=2#top` } } }),
  ),
  'dpop-iat-unchecked': claims({ iat: 1 }),
  'dpop-iat-future': refused((calls, target) => calls.dpop(target, { proof: { claims: { iat: now() + 600 } } })),
  'dpop-iat-hour': refused((calls, target) => calls.dpop(target, { proof: { claims: { iat: now() - 600 } } })),
  'dpop-iat-string': refused((calls, target) => calls.dpop(target, { proof: { claims: { iat: String(now()) } } })),
  'dpop-iat-missing-allowed': claims({ iat: undefined }),
  'dpop-iat-strict': accepted((calls, target) => calls.dpop(target, { proof: { claims: { iat: now() - 10 } } })),
  'dpop-exp-unchecked': refused((calls, target) => calls.dpop(target, { proof: { claims: { exp: now() - 5 } } })),
  'dpop-nbf-unchecked': refused((calls, target) => calls.dpop(target, { proof: { claims: { nbf: now() + 600 } } })),
  'dpop-exp-refused': accepted((calls, target) => calls.dpop(target, { proof: { claims: { exp: now() + 60 } } })),
  'dpop-extra-claims-refused': accepted((calls, target) => calls.dpop(target, { proof: { claims: { sub: 'user-1' } } })),
  'dpop-ath': claims({ ath: 'A'.repeat(43) }),
  'dpop-ath-missing-allowed': claims({ ath: undefined }),
  'dpop-jkt': refused(async (calls, target) =>
    calls.dpop(target, { token: await calls.boundToKey({}, calls.other) }),
  ),
  'dpop-jti-missing-allowed': claims({ jti: undefined }),
  'dpop-jti-replay': refused(async (calls, target) => {
    const bound = await calls.boundToKey();
    const fixed = await calls.proof(target, { token: bound });
    await calls.dpop(target, { token: bound, fixed });
    return calls.dpop(target, { token: bound, fixed });
  }),
  'dpop-jti-burned-before-verification': accepted(async (calls, target) => {
    const jti = randomUUID();
    await calls.dpop(target, { proof: { claims: { jti }, signer: () => randomBytes(64) } });
    return calls.dpop(target, { proof: { claims: { jti } } });
  }),
  'dpop-lockout': row(200, 429, async (calls, target) => {
    for (let count = 0; count < 10; count += 1) await calls.dpop(target, { fixed: 'anything' });
    return status(calls.bearer(target));
  }),
};

const nonce = async (calls, target) => (await calls.dpop(target, { nonce: '' })).headers['dpop-nonce'];
const nonces = {
  'nonce-unchecked': refused((calls, target) => calls.dpop(target, { nonce: 'made-up' })),
  'nonce-fallback': refused(async (calls, target) => {
    for (let count = 0; count < 2; count += 1) await calls.dpop(target, { proof: { claims: { nonce: undefined } } });
    return calls.dpop(target, { proof: { claims: { nonce: undefined } } });
  }),
  'nonce-reused-forever': {
    ...refused(async (calls, target) => {
      const old = await nonce(calls, target);
      await setTimeout(1500);
      return calls.dpop(target, { nonce: old });
    }),
    seconds: 1,
  },
  'nonce-constant': row(false, true, async (calls, target) => {
    const first = await nonce(calls, target);
    return first === (await nonce(calls, target));
  }),
  'nonce-predictable': row(false, true, async (calls, target) => /^nonce-\d+$/.test(await nonce(calls, target))),
  'nonce-not-given': row(true, false, async (calls, target) => (await nonce(calls, target)) !== undefined),
};

const challenge = (right, faulty, pattern, call = bare) =>
  row(right, faulty, async (calls, target) => pattern.test((await call(calls, target)).challenges.join('\n')));
const wrongToken = (calls, target) => calls.bearer(target, { token: 'not-a-token' });
const cors = (right, faulty, name, origin) => row(right, faulty, header(name, { headers: [['Origin', origin]] }));

const answers = {
  'challenge-missing': row(2, 0, async (calls, target) => (await bare(calls, target)).challenges.length),
  'challenge-without-dpop': challenge(true, false, /^DPoP /m),
  'challenge-without-algs': challenge(true, false, /algs="PS256 ES256 EdDSA"/),
  'challenge-reflects-input': challenge(false, true, /planted/, (calls, target) =>
    calls.bearer(target, { token: 'not-a-token', path: '/accounts?x=planted' }),
  ),
  'challenge-reflects-token': challenge(false, true, /not-a-token/, wrongToken),
  'challenge-error-without-credentials': challenge(false, true, /error=/),
  'challenge-error-unregistered': challenge(true, false, /^Bearer .*error="invalid_token"/m, wrongToken),
  'challenge-proof-as-token': challenge(true, false, /^DPoP .*error="invalid_dpop_proof"/m, (calls, target) =>
    calls.dpop(target, { fixed: 'anything' }),
  ),
  'body-reflects-token': row(false, true, async (calls, target) =>
    (await wrongToken(calls, target)).body.includes('not-a-token'),
  ),
  'error-200': row(401, 200, (calls, target) => status(wrongToken(calls, target))),
  'error-500': row(401, 500, (calls, target) => status(wrongToken(calls, target))),
  'error-leaks-stack': row(false, true, async (calls, target) =>
    /\.mjs:\d+/.test((await wrongToken(calls, target)).body),
  ),
  'interaction-id-not-echoed': row(true, false, async (calls, target) => {
    const response = await bare(calls, target, { headers: [['x-fapi-interaction-id', ID]] });
    return response.headers['x-fapi-interaction-id'] === ID;
  }),
  'interaction-id-missing': row(true, false, async (calls, target) =>
    'x-fapi-interaction-id' in (await calls.bearer(target)).headers,
  ),
  'interaction-id-missing-on-errors': row(true, false, async (calls, target) =>
    'x-fapi-interaction-id' in (await bare(calls, target)).headers,
  ),
  'interaction-id-not-fresh': row(false, true, async (calls, target) => {
    const once = async () => (await calls.bearer(target)).headers['x-fapi-interaction-id'];
    return (await once()) === (await once());
  }),
  'interaction-id-reflected-raw': row(false, true, async (calls, target) => {
    const response = await bare(calls, target, { headers: [['x-fapi-interaction-id', 'planted']] });
    return response.headers['x-fapi-interaction-id'] === 'planted';
  }),
  'date-missing': row(true, false, async (calls, target) => 'date' in (await bare(calls, target)).headers),
  'date-wrong': row(true, false, async (calls, target) =>
    Math.abs(Date.parse((await bare(calls, target)).headers.date) - Date.now()) < 60_000,
  ),
  'content-type-missing': row('application/json', undefined, header('content-type')),
  'cache-control-missing': row('no-store', undefined, header('cache-control')),
  'cors-any-origin': cors(undefined, 'https://evil.example', 'access-control-allow-origin', 'https://evil.example'),
  'cors-null-origin': cors(undefined, 'null', 'access-control-allow-origin', 'null'),
  'cors-nonce-not-exposed': cors(
    'WWW-Authenticate, DPoP-Nonce',
    'WWW-Authenticate',
    'access-control-expose-headers',
    'https://app.example',
  ),
};

const metadata = (right, faulty, look) =>
  row(right, faulty, async (calls, target) => {
    const response = await bare(calls, target, { path: '/.well-known/oauth-protected-resource' });
    return look(response.status === 200 ? JSON.parse(response.body) : {}, target, response);
  });

const described = {
  'metadata-missing': metadata(200, 404, (_, target, response) => response.status),
  'metadata-resource-other': metadata(true, false, ({ resource }, { base }) => resource === base),
  'metadata-issuer-other': metadata('https://as.example', 'https://other.example', (all) => all.authorization_servers?.[0]),
  'metadata-alg-rs256': metadata(false, true, (all) => all.dpop_signing_alg_values_supported?.includes('RS256') ?? false),
  'metadata-bearer-query': metadata(false, true, (all) => all.bearer_methods_supported?.includes('query') ?? false),
};

const tls = (right, faulty, options) => row(right, faulty, (calls, target) => calls.handshake(target, options));
const old = (version) => ({ minVersion: version, maxVersion: version, ciphers: 'ALL:@SECLEVEL=0' });
const suite = (ciphers) => ({ maxVersion: 'TLSv1.2', ciphers });
const signedBy = (client) =>
  refused(async (calls, target) => {
    const cnf = { 'x5t#S256': calls.certificates[client].sha256 };
    return calls.bearer(target, { token: await calls.token({ cnf }), client });
  });

const connections = {
  'tls-10': tls('refused', 'TLSv1 ECDHE-ECDSA-AES128-SHA', old('TLSv1')),
  'tls-11': tls('refused', 'TLSv1.1 ECDHE-ECDSA-AES128-SHA', old('TLSv1.1')),
  'tls12-cbc': tls('refused', 'TLSv1.2 ECDHE-ECDSA-AES128-SHA256', suite('ECDHE-ECDSA-AES128-SHA256')),
  'tls12-chacha': tls('refused', 'TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305', suite('ECDHE-ECDSA-CHACHA20-POLY1305')),
  'tls13-missing': tls('TLSv1.3 TLS_AES_256_GCM_SHA384', 'refused', { minVersion: 'TLSv1.3' }),
  'tls-renegotiation': row('refused', 'renegotiated', (calls, target) => calls.renegotiation(target)),
  'tls-untrusted-client-accepted': signedBy('untrusted'),
  'tls-expired-client-accepted': signedBy('expired'),
};

const unguarded = (path, more = {}) => row(404, 200, (calls, target) => status(bare(calls, target, { path, ...more })));

const host = ({ base }) => base.slice('https://'.length);
const raw = (faulty, write) =>
  row(400, faulty, async (calls, target) =>
    calls.raw(target, write(`Host: ${host(target)}\r\nAuthorization: Bearer ${await calls.bound()}`)),
  );
const posted = (version, fields) => (head) =>
  `POST /accounts HTTP/${version}\r\n${head}\r\n${fields}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`;

const http = {
  'method-override-honoured': row(200, 405, (calls, target) =>
    status(calls.bearer(target, { headers: [['X-HTTP-Method-Override', 'DELETE']] })),
  ),
  'head-unchecked': row(401, 200, (calls, target) => status(bare(calls, target, { method: 'HEAD' }))),
  'options-unchecked': row(405, 200, (calls, target) => status(bare(calls, target, { method: 'OPTIONS' }))),
  'trace-echoed': row(405, 200, (calls, target) => status(bare(calls, target, { method: 'TRACE' }))),
  'path-normalized-after-check': unguarded('/public/../accounts'),
  'path-decoded-after-check': unguarded('/%61ccounts'),
  'path-case-insensitive-after-check': unguarded('/Accounts'),
  'path-slashes-after-check': unguarded('//accounts/'),
  'path-from-header': unguarded('/public', { headers: [['X-Original-URL', '/accounts']] }),
  'http-two-hosts': raw(200, (head) => `GET /accounts HTTP/1.1\r\n${head}\r\nHost: other.example\r\n\r\n`),
  'host-any': row(421, 200, async (calls, target) =>
    calls.raw(target, `GET /accounts HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer ${await calls.bound()}\r\n\r\n`),
  ),
  'http-09': row(400, 401, (calls, target) => calls.raw(target, 'GET /accounts\r\n\r\n')),
  'http-10-chunked': raw(201, posted('1.0', '')),
  'http-cl-te': raw(201, posted('1.1', 'Content-Length: 5\r\n')),
};

good.preflight = {
  call: (calls, target) => status(bare(calls, target, { method: 'OPTIONS', headers: PAGE })),
  answers: 204,
};

export const told = {
  ...tokens, ...bound, ...proofs, ...nonces, ...answers, ...described, ...connections, ...http,
};
