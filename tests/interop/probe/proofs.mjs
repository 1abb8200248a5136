// A DPoP proof and the token that is bound to its key (RFC 9449 §4.3, §7). The numbers are those of the list in §4.3.

import { createHash } from 'node:crypto';

import { calculateJwkThumbprint } from 'jose';

import { Refusal, badProof, badToken } from './refusal.mjs';
import { ALGORITHMS, checkHeader, checkSignature, fits, publicKey, read } from './jws.mjs';
import { sameTarget } from './targets.mjs';

const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const PAST = 60;
const AHEAD = 10;

// Returns what is to be called once nothing else refuses the request: only then is its jti used up (§11.1).
export async function verifyProof(call, token, jkt, server) {
  const { has } = server;
  const text = only(call, has);
  if (text === undefined || has('dpop-unchecked')) return () => {};

  const jws = read(text, 'dpop', has); // (2)
  const { typ, jwk } = jws.header;
  const typed = typeof typ === 'string' && typ.toLowerCase() === 'dpop+jwt'; // (4)
  if (!typed && !has('dpop-typ')) throw badProof('of another type');
  checkHeader(jws, 'dpop', has); // (5)
  checkKey(jwk, jws.header.alg, has);
  const thumbprint = await calculateJwkThumbprint(jwk);
  const once = { name: JSON.stringify([thumbprint, call.path, jws.payload.jti]), until: server.now() + PAST + AHEAD };
  if (has('dpop-jti-burned-before-verification')) use(once, server);
  checkSignature(jws, jwk, 'dpop', has); // (6)

  checkClaims(jws.payload, call, server);
  checkToken(jws.payload, token, has);
  if (thumbprint !== jkt && !has('dpop-jkt')) throw badToken('bound to another key'); // (12)
  checkNonce(jws.payload, thumbprint, server); // (10)
  return () => {
    if (!has('dpop-jti-replay') && !has('dpop-jti-burned-before-verification') && jws.payload.jti) use(once, server);
  };
}

// (1) exactly one field, with exactly one proof
function only(call, has) {
  const lines = call.lines('dpop');
  if (lines.length === 0 && (has('dpop-missing-allowed') || has('dpop-unchecked'))) return undefined;
  const more = has('dpop-two-headers') || (has('h2-dpop-two') && call.request.httpVersionMajor === 2);
  if (lines.length === 0 || (lines.length > 1 && !more)) throw badProof('not exactly one proof');
  return has('dpop-list') ? lines[0].split(',')[0] : lines[0];
}

// (7) no private key; FAPI 2.0 §5.4.1: RSA keys of 2048 bits or more
function checkKey(jwk, alg, has) {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw badProof('without a key');
  const secret = has('dpop-alg-hs256') && jwk.kty === 'oct';
  if (secret) {
    if (typeof jwk.k !== 'string') throw badProof('not a key');
    return;
  }
  if (PRIVATE.some((member) => member in jwk) && !has('dpop-private-jwk')) throw badProof('a private key');
  const key = publicKey(jwk);
  if (!key || (!fits(jwk, alg) && [...ALGORITHMS, 'RS256'].includes(alg))) throw badProof('a key of another kind');
  if (key.asymmetricKeyDetails.modulusLength < 2048 && !has('dpop-rsa-1024')) throw badProof('a short key');
}

function checkClaims(claims, call, server) {
  const { has } = server;
  const { jti, htm, htu, iat, exp, nbf, nonce, ath, ...rest } = claims;
  // (3)
  const named = typeof jti === 'string' && jti !== '';
  if (!named && !(jti === undefined && has('dpop-jti-missing-allowed'))) throw badProof('without a jti');
  // (8)
  const lower = (text) => (has('dpop-htm-case') ? String(text).toLowerCase() : text);
  if (lower(htm) !== lower(call.method) && !has('dpop-htm')) throw badProof('for another method');
  // (9)
  if (!has('dpop-htu') && !sameTarget(htu, call, server)) throw badProof('for another target');
  if (Object.keys(rest).length > 0 && has('dpop-extra-claims-refused')) throw badProof('unknown claims');
  checkTime(claims, server);
}

// (11), and RFC 7519 §4.1.4, §4.1.5 for claims that a proof can have
function checkTime({ iat, exp, nbf }, { has, now }) {
  const time = has('dpop-iat-string') && typeof iat === 'string' ? Number(iat) : iat;
  const past = has('dpop-iat-hour') ? 3600 : has('dpop-iat-strict') ? 5 : PAST;
  const ahead = has('dpop-iat-future') ? Infinity : has('dpop-iat-strict') ? 5 : AHEAD;
  const recent = Number.isFinite(time) && time >= now() - past && time <= now() + ahead;
  const skipped = has('dpop-iat-unchecked') ? iat !== undefined : has('dpop-iat-missing-allowed') && iat === undefined;
  if (!recent && !skipped) throw badProof('not of this minute');
  if (exp !== undefined) {
    if (has('dpop-exp-refused')) throw badProof('unknown claims');
    const valid = Number.isFinite(exp) && now() < exp;
    if (!valid && !has('dpop-exp-unchecked')) throw badProof('expired');
  }
  const begun = nbf === undefined || (Number.isFinite(nbf) && nbf <= now() + AHEAD);
  if (!begun && !has('dpop-nbf-unchecked')) throw badProof('not valid yet');
}

// (12)
function checkToken({ ath }, token, has) {
  if (ath === undefined && has('dpop-ath-missing-allowed')) return;
  const right = ath === createHash('sha256').update(token).digest('base64url');
  if (!right && !(has('dpop-ath') && ath !== undefined)) throw badProof('for another token');
}

// §8, §9
function checkNonce({ nonce }, thumbprint, { has, nonces }) {
  if (!nonces || nonces.holds(nonce)) return;
  if (has('nonce-unchecked') && nonce !== undefined) return;
  if (has('nonce-fallback') && nonce === undefined && nonces.asked(thumbprint)) return;
  throw new Refusal(401, 'use_dpop_nonce', 'a proof needs a nonce of this server');
}

function use({ name, until }, { proofs, now }) {
  for (const [old, end] of proofs) {
    if (end >= now()) break;
    proofs.delete(old);
  }
  if (proofs.has(name)) throw badProof('used before');
  proofs.set(name, until);
}
