// Calls of a client that can be right or wrong in one thing: tokens and proofs by jose, requests as they are written.

import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';

import { CompactSign, calculateJwkThumbprint } from 'jose';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const seconds = () => Math.floor(Date.now() / 1000);

export class Calls {
  constructor(world) {
    Object.assign(this, world);
    this.es256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  }

  // A JWS whose header and payload are objects or the text of some; `key` may be a function that signs.
  async jws(header, payload, key) {
    const parts = [encode(header), encode(payload)];
    if (typeof key === 'function') return [...parts, key(Buffer.from(parts.join('.'))).toString('base64url')].join('.');
    const bytes = Buffer.from(parts[1], 'base64url');
    const crit = Object.fromEntries((header.crit ?? []).map((name) => [name, true]));
    return new CompactSign(bytes).setProtectedHeader(header).sign(key, { crit });
  }

  claims(more = {}) {
    const now = seconds();
    return {
      iss: this.issuer, aud: this.audience, sub: 'user-1', client_id: 'client-1', jti: randomUUID(),
      iat: now, exp: now + 300, scope: 'accounts payments', ...more,
    };
  }

  async token({ cnf, alg = 'PS256', header = {}, claims = {}, payload, key } = {}) {
    const full = { typ: 'at+jwt', alg, kid: alg, ...header };
    const wanted = payload?.(this.claims({ cnf })) ?? this.claims({ cnf, ...claims });
    return this.jws(full, wanted, key ?? this.keys[alg].privateKey);
  }

  bound(more = {}) {
    return this.token({ cnf: { 'x5t#S256': this.certificates.client.sha256 }, ...more });
  }

  async boundToKey(more = {}, key = this.es256) {
    return this.token({ cnf: { jkt: await thumbprint(key.publicKey) }, ...more });
  }

  async proof(target, { token, method = 'GET', path = '/accounts', header, claims, payload, key = this.es256, signer } = {}) {
    const full = { typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicKey?.export({ format: 'jwk' }), ...header };
    const ath = createHash('sha256').update(token).digest('base64url');
    const wanted = { jti: randomUUID(), htm: method, htu: `${target.base}${path}`, iat: seconds(), ath, ...claims };
    return this.jws(full, payload?.(wanted) ?? wanted, signer ?? key.privateKey);
  }

  // One request with its fields as pairs; `client` names the certificate.
  async send(target, { method = 'GET', path = '/accounts', headers = [], client = 'client', body, agent } = {}) {
    const identity = client && { cert: this.certificates[client].cert, key: this.certificates[client].key };
    const named = headers.some(([name]) => name === 'Host');
    const fields = named ? {} : { Host: [`localhost:${target.port}`] };
    for (const [name, value] of headers) (fields[name] ??= []).push(value);
    const options = { host: '127.0.0.1', servername: 'localhost', port: target.port, rejectUnauthorized: false };
    const outgoing = request({ ...options, ...identity, method, path, headers: fields, agent: agent ?? false });
    outgoing.end(body);
    const [response] = await once(outgoing, 'response');
    const content = await text(response);
    const challenges = response.rawHeaders.filter((_, at) => at % 2 && /^www-authenticate$/i.test(response.rawHeaders[at - 1]));
    return { status: response.statusCode, headers: response.headers, challenges, body: content };
  }

  // With a token that is bound to the client's certificate, unless it is given.
  async bearer(target, { token, scheme = 'Bearer', headers = [], ...more } = {}, options = {}) {
    const value = `${scheme} ${token ?? (await this.bound(options))}`;
    return this.send(target, { headers: [['Authorization', value], ...headers], ...more });
  }

  // With a token that is bound to a key and a proof, and once more if the server wants a nonce.
  async dpop(target, { token, scheme = 'DPoP', proof = {}, headers = [], fixed, key, nonce, client, ...more } = {}) {
    const value = token ?? (await this.boundToKey({}, key));
    const { method, path } = more;
    const attempt = async (claims) => {
      const written = { token: value, method, path: path?.split('?')[0], key, ...proof };
      const text = fixed ?? (await this.proof(target, { ...written, claims: { ...claims, ...proof.claims } }));
      const fields = [['Authorization', `${scheme} ${value}`], ...(text === '' ? [] : [['DPoP', text]]), ...headers];
      return this.send(target, { headers: fields, client: client ?? null, ...more });
    };
    const first = await attempt(nonce ? { nonce } : {});
    const wanted = first.status === 401 && first.headers['dpop-nonce'];
    return wanted && nonce === undefined ? attempt({ nonce: wanted }) : first;
  }

  async http2(target, headers) {
    const session = connectHttp2(target.base, {
      lookup: (name, options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
      rejectUnauthorized: false,
      cert: this.certificates.client.cert,
      key: this.certificates.client.key,
    });
    session.on('error', () => {});
    const stream = session.request({ ':path': '/accounts', ...headers });
    const [answer] = await once(stream, 'response');
    session.close();
    stream.resume();
    return answer;
  }

  // The protocol and the suite, or `refused`.
  async handshake(target, options) {
    const socket = this.#connect(target, options);
    try {
      await once(socket, 'secureConnect');
      return `${socket.getProtocol()} ${socket.getCipher().name}`;
    } catch {
      return 'refused';
    } finally {
      socket.destroy();
    }
  }

  async renegotiation(target) {
    const socket = this.#connect(target, { maxVersion: 'TLSv1.2' });
    await once(socket, 'secureConnect');
    const outcome = await new Promise((resolve) => {
      socket.on('error', () => resolve('refused')).on('close', () => resolve('refused')).resume();
      socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error ? 'refused' : 'renegotiated'));
    });
    socket.destroy();
    return outcome;
  }

  // The status of the first answer to bytes as they are.
  async raw(target, bytes) {
    const { cert, key } = this.certificates.client;
    const socket = this.#connect(target, { cert, key });
    socket.write(bytes);
    const [data] = await once(socket, 'data');
    socket.destroy();
    return Number(/^HTTP\/1\.1 (\d+)/.exec(data)[1]);
  }

  #connect({ port }, options) {
    return connect({ host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false, ...options });
  }

  async revoke(jti) {
    await fetch(`http://127.0.0.1:${this.admin}/revoke`, { method: 'POST', body: JSON.stringify({ jti }) });
  }

  keepAlive() {
    return new Agent({ keepAlive: true, maxSockets: 1 });
  }

  signer(algorithm, key) {
    return (bytes) => sign(algorithm, bytes, key);
  }
}

export const thumbprint = (key) => calculateJwkThumbprint(key.export({ format: 'jwk' }));
