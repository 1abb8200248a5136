// What a request has to prove for its token: the certificate (RFC 8705 §3.1), the key (RFC 9449 §6.1), or both.

import { badToken } from './refusal.mjs';

// FAPI 2.0 §5.3.4 (5): a token that is bound to nothing is not accepted.
export function bindings({ cnf }, { scheme, lines }, has) {
  if (cnf === undefined && has('cnf-unchecked')) return {};
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) throw badToken('bound to nothing');
  const old = has('x5t-sha1') && !('x5t#S256' in cnf);
  const { [old ? 'x5t' : 'x5t#S256']: x5t, jkt } = cnf;
  if (x5t === undefined && jkt === undefined) {
    if (has('cnf-any-present')) return {};
    throw badToken('bound to nothing');
  }
  if (!digest(x5t, old ? 27 : 43) || !digest(jkt, 43)) throw badToken('bound to no thumbprint');

  const both = x5t !== undefined && jkt !== undefined;
  if (both && has('cnf-both-needs-one')) return scheme === 'DPoP' ? { jkt } : { x5t };
  // RFC 9449 §7.2: a token that is bound to a key is not a bearer token, and another is not for DPoP (§7.1).
  if (scheme === 'Bearer' && jkt !== undefined) {
    if (has('bearer-for-dpop-token')) return { x5t };
    if (!has('bearer-with-proof') || lines('dpop').length === 0) throw badToken('not a bearer token');
  }
  if (scheme === 'DPoP' && jkt === undefined && !has('dpop-scheme-for-certificate-token')) {
    throw badToken('bound to no key');
  }
  return { x5t, jkt };
}

const digest = (value, length) =>
  value === undefined || (typeof value === 'string' && value.length === length && /^[\w-]+$/.test(value));
