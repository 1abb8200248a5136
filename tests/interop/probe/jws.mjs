// Compact JWS (RFC 7515), read strictly. A token and a proof are read by the same rules; `kind`, `token` or `dpop`, is the
// beginning of the names of the faults that lift one of them.

import { constants, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';

import { badProof, badToken } from './refusal.mjs';

const bad = { token: badToken, dpop: badProof };
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// FAPI 2.0 §5.4.1
export const ALGORITHMS = ['PS256', 'ES256', 'EdDSA'];

const VERIFIERS = {
  PS256: {
    kty: 'RSA',
    options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
    digest: 'sha256',
  },
  ES256: { kty: 'EC', crv: 'P-256', options: { dsaEncoding: 'ieee-p1363' }, digest: 'sha256' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519', options: {}, digest: null },
  RS256: { kty: 'RSA', options: { padding: constants.RSA_PKCS1_PADDING }, digest: 'sha256' },
};

export function read(compact, kind, has) {
  const parts = compact.split('.');
  if (parts.length !== 3) throw bad[kind]('not a compact JWS');
  try {
    const [header, payload] = parts.slice(0, 2).map((part) => object(decode(part, kind, has), kind, has));
    return { header, payload, signature: decode(parts[2], kind, has), input: Buffer.from(`${parts[0]}.${parts[1]}`) };
  } catch {
    throw bad[kind]('not base64url of JSON objects');
  }
}

// A second text for the same bytes would be a second name of the same token, so padding and bits that nothing reads are
// refused (RFC 7515 §2, RFC 4648 §3.5).
function decode(text, kind, has) {
  const plain = has(`${kind}-lenient-base64`) ? text.replace(/=+$/, '') : text;
  const bytes = Buffer.from(plain, 'base64url');
  const same = bytes.toString('base64url') === plain;
  if (!same && !(has(`${kind}-trailing-bits`) && /^[\w-]*$/.test(plain))) throw new SyntaxError('not base64url');
  return bytes;
}

function object(bytes, kind, has) {
  const text = utf8.decode(bytes);
  const value = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError('not an object');
  if (repeats(text) && !has(`${kind}-duplicate-members`)) throw new SyntaxError('a member twice');
  return value;
}

// JSON.parse keeps the last of the members with one name, and others the first (RFC 7515 §4, RFC 7519 §4).
function repeats(text) {
  const open = [];
  let name;
  for (const [piece] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (piece === '{') open.push(new Set());
    else if (piece === '[') open.push(undefined);
    else if (piece === '}' || piece === ']') open.pop();
    else if (piece !== ':') name = JSON.parse(piece);
    else if (open.at(-1).has(name)) return true;
    else open.at(-1).add(name);
  }
  return false;
}

// What its header may say at all, whatever the key.
export function checkHeader({ header }, kind, has) {
  const { alg } = header;
  const known = ALGORITHMS.includes(alg) || (alg === 'RS256' && has(`${kind}-alg-rs256`));
  if (!known && !symmetric(alg, kind, has) && !unsigned(alg, kind, has)) throw bad[kind]('algorithm not allowed');
  // RFC 7515 §4.1.11: no extension is understood here.
  if ('crit' in header && !has(`${kind}-crit-ignored`)) throw bad[kind]('a critical extension');
}

// RFC 8725 §3.1: a key is for one kind of algorithm.
export function fits(jwk, alg) {
  const verifier = VERIFIERS[alg];
  return verifier !== undefined && jwk.kty === verifier.kty && jwk.crv === verifier.crv;
}

export const symmetric = (alg, kind, has) =>
  alg === 'HS256' && (has(`${kind}-alg-hs256`) || has(`${kind}-alg-hs256-public-key`));

const unsigned = (alg, kind, has) => has(`${kind}-alg-none`) && typeof alg === 'string' && alg.toLowerCase() === 'none';

export function checkSignature(jws, jwk, kind, has) {
  const { alg } = jws.header;
  if (has(`${kind}-signature-unchecked`)) return;
  if (unsigned(alg, kind, has)) {
    if (jws.signature.length > 0) throw bad[kind]('signature does not verify');
    return;
  }
  const ok = symmetric(alg, kind, has) ? authentic(jws, secrets(jwk)) : jwk && fits(jwk, alg) && signed(jws, publicKey(jwk));
  if (!ok) throw bad[kind]('signature does not verify');
}

// Only the public members are read: whoever lets a private key pass still verifies with the public one.
export function publicKey({ kty, crv, x, y, n, e }) {
  try {
    return createPublicKey({ key: { kty, crv, x, y, n, e }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function signed({ header, input, signature }, key) {
  const { digest, options } = VERIFIERS[header.alg];
  return key !== undefined && verify(digest, input, { key, ...options }, signature);
}

const authentic = ({ input, signature }, keys) =>
  signature.length === 32 && keys.some((key) => timingSafeEqual(createHmac('sha256', key).update(input).digest(), signature));

// A symmetric key is its own secret. A public key that is taken for one is whatever bytes a library was given.
function secrets(jwk) {
  if (jwk?.kty === 'oct') return [Buffer.from(jwk.k, 'base64url')];
  const key = jwk && publicKey(jwk);
  if (!key) return [];
  const pem = key.export({ type: 'spki', format: 'pem' });
  return [pem, pem.trimEnd(), key.export({ type: 'spki', format: 'der' })];
}
