// The access token: a JWT as RFC 9068 §4 has it, checked for its issuer, its audience, its time and its revocation
// (FAPI 2.0 §5.3.4 (3)).

import { badToken } from './refusal.mjs';
import { checkHeader, checkSignature, fits, read, symmetric } from './jws.mjs';

// FAPI 2.0 §5.3.2.1 (13): clocks differ by up to 10 s; more than 60 s is refused, and here everything between them too.
const AHEAD = 10;

export async function verifyToken(token, server) {
  const { has, revoked, seen } = server;
  if (has('token-cached-forever') && seen.has(token)) return seen.get(token);

  const jws = read(token, 'token', has);
  checkHeader(jws, 'token', has);
  checkType(jws.header, has);
  checkSignature(jws, await keyOf(jws.header, server), 'token', has);

  const claims = jws.payload;
  checkIssuer(claims, server);
  checkAudience(claims, server);
  checkTime(claims, server);
  if (revoked.has(claims.jti) && !has('token-revocation-late')) throw badToken('revoked');
  if (has('token-cached-forever')) seen.set(token, claims);
  return claims;
}

// RFC 9068 §4: an ID token of the same issuer is not an access token.
function checkType({ typ }, has) {
  const known = typeof typ === 'string' && ['at+jwt', 'application/at+jwt'].includes(typ.toLowerCase());
  if (!known && !has('token-typ-unchecked')) throw badToken('not an access token');
}

// Keys come from the issuer's set alone: whatever the token says of keys is said by whoever made it (RFC 8725 §3.10).
async function keyOf({ alg, kid, jwk, jku }, { has, config }) {
  if (has('token-jwk-header') && jwk) return jwk;
  const keys = has('token-jku-fetched') && jku ? await fetched(jku) : config.jwks.keys;
  return keys.find(
    (key) => (kid === undefined || key.kid === kid) && (fits(key, alg) || symmetric(alg, 'token', has)),
  );
}

async function fetched(url) {
  try {
    return (await (await fetch(url)).json()).keys;
  } catch {
    return [];
  }
}

function checkIssuer({ iss }, { has, config }) {
  const right = iss === config.issuer || (has('token-iss-prefix') && String(iss).startsWith(config.issuer));
  if (!right && !has('token-iss-unchecked')) throw badToken('of another issuer');
}

function checkAudience({ aud }, { has, config }) {
  const audiences = Array.isArray(aud) ? aud : [aud];
  const right =
    audiences.includes(config.audience) ||
    (has('token-aud-prefix') && audiences.some((one) => String(one).startsWith(config.audience)));
  if (!right && !has('token-aud-unchecked')) throw badToken('for another audience');
}

function checkTime({ exp, nbf, iat }, { has, now }) {
  if (exp === undefined) {
    if (!has('token-exp-missing-allowed')) throw badToken('without an end');
  } else {
    const leeway = has('token-exp-leeway-hour') ? 3600 : 0;
    const valid = Number.isFinite(exp) && now() < exp + leeway;
    if (!valid && !has('token-exp-unchecked')) throw badToken('expired');
  }
  for (const [name, time] of Object.entries({ nbf, iat })) {
    const valid = time === undefined || (Number.isFinite(time) && time <= now() + AHEAD);
    if (!valid && !has(`token-${name}-unchecked`)) throw badToken('not valid yet');
  }
}

// FAPI 2.0 §5.3.4 (4), RFC 6749 §3.3: words, separated by spaces, compared as they are.
export function covers({ scope }, wanted, method, has) {
  if (has('scope-unchecked') || (has('scope-post-unchecked') && method === 'POST')) return true;
  if (scope === undefined) return has('scope-missing-allowed');
  if (typeof scope !== 'string') return false;
  if (has('scope-substring')) return scope.includes(wanted);
  if (has('scope-case-insensitive')) return scope.toLowerCase().split(' ').includes(wanted);
  return scope.split(' ').includes(wanted);
}
