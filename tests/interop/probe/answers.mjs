// What every answer has: JSON, a date, an interaction id, nothing for caches, and challenges if credentials are refused.

import { randomUUID } from 'node:crypto';

import { ALGORITHMS } from './jws.mjs';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PAGE = 'https://app.example';
const ONE_ID = randomUUID();

export function answer(call, server, status, body, headers = {}) {
  const { response } = call;
  const { has } = server;
  const text = body === undefined ? '' : JSON.stringify(body);
  const common = {
    'content-type': has('content-type-missing') || text === '' ? undefined : 'application/json',
    'content-length': status === 204 ? undefined : Buffer.byteLength(text),
    // RFC 9449 §8.2: an answer with a nonce is for one client, and so is what a token gives access to.
    'cache-control': has('cache-control-missing') ? undefined : 'no-store',
    'x-fapi-interaction-id': interactionId(call, status, has),
    ...origins(call, has),
    ...headers,
  };
  if (has('date-wrong')) common.date = new Date(Date.now() - 3_600_000).toUTCString();
  response.sendDate = !has('date-missing');
  response.writeHead(status, Object.fromEntries(Object.entries(common).filter(([, value]) => value !== undefined)));
  response.end(text);
}

// FAPI 1.0 Baseline §6.2.1 (11). What is no UUID is not repeated.
function interactionId(call, status, has) {
  const given = call.lines('x-fapi-interaction-id')[0];
  if (has('interaction-id-missing') || (status >= 400 && has('interaction-id-missing-on-errors'))) return undefined;
  if (given !== undefined && (UUID.test(given) || has('interaction-id-reflected-raw'))) {
    if (!has('interaction-id-not-echoed')) return given;
  }
  return has('interaction-id-not-fresh') ? ONE_ID : randomUUID();
}

// Scripts of one page may read answers, and the two fields that they need for DPoP (RFC 9449 §8).
function origins(call, has) {
  const origin = call.lines('origin')[0];
  const known = origin === PAGE || (origin === 'null' && has('cors-null-origin'));
  if (origin === undefined || !(known || has('cors-any-origin'))) return { vary: 'Origin' };
  const exposed = has('cors-nonce-not-exposed') ? ['WWW-Authenticate'] : ['WWW-Authenticate', 'DPoP-Nonce'];
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': has('cors-any-origin') ? 'true' : undefined,
    'access-control-expose-headers': exposed.join(', '),
  };
}

export function preflight(call, server, methods) {
  const allowed = 'access-control-allow-origin' in origins(call, server.has);
  answer(call, server, 204, undefined, {
    'access-control-allow-methods': allowed ? methods.join(', ') : undefined,
    'access-control-allow-headers': allowed ? 'Authorization, DPoP, Content-Type, X-FAPI-Interaction-ID' : undefined,
  });
}

export function refuse(call, server, refusal) {
  const { has, nonces } = server;
  const { error, scope, message } = refusal;
  const status = refusal.status === 403 && has('scope-401') ? 401 : refusal.status;
  const wantsNonce = error === 'use_dpop_nonce' && !has('nonce-not-given');
  const body = { error: error ?? 'unauthorized', error_description: described(call, message, has) };
  if (has('body-reflects-token')) body.token = call.token;
  if (has('error-leaks-stack')) body.stack = refusal.stack;
  answer(call, server, has('error-200') ? 200 : status, body, {
    'www-authenticate': has('challenge-missing') ? undefined : challenges(call, { error, scope, message }, has),
    'dpop-nonce': wantsNonce ? nonces.fresh() : undefined,
  });
}

// A field line for each scheme (RFC 9110 §11.6.1, RFC 9449 §7.1). Only the scheme that was used has an error, and none has
// if there were no credentials (RFC 6750 §3.1).
function challenges(call, { error, scope, message }, has) {
  const parameters = { DPoP: [], Bearer: ['realm="accounts"'] };
  if (!has('challenge-without-algs')) parameters.DPoP.push(`algs="${ALGORITHMS.join(' ')}"`);
  const code = error ?? (has('challenge-error-without-credentials') ? 'invalid_token' : undefined);
  if (code) {
    parameters[call.scheme ?? 'Bearer'].push(
      `error="${written(code, has)}"`,
      `error_description="${described(call, message, has)}"`,
      ...(scope ? [`scope="${scope}"`] : []),
    );
  }
  const schemes = has('challenge-without-dpop') ? ['Bearer'] : ['DPoP', 'Bearer'];
  const lines = schemes.map((scheme) => `${scheme} ${parameters[scheme].join(', ')}`.trim());
  return has('none-combined-challenge') ? lines.join(', ') : lines;
}

function written(code, has) {
  if (has('challenge-error-unregistered')) return 'unauthorized';
  if (has('challenge-proof-as-token') && code === 'invalid_dpop_proof') return 'invalid_token';
  return code;
}

function described(call, message, has) {
  if (has('challenge-reflects-input')) return `${message}: ${call.request.url}`;
  if (has('challenge-reflects-token')) return `${message}: ${call.token ?? ''}`;
  return message;
}
