// A resource server: accounts and payments, each for tokens with the scope of its name, and the metadata of RFC 9728.

import { text } from 'node:stream/consumers';
import { unescape } from 'node:querystring';

import { answer, preflight, refuse } from './answers.mjs';
import { bindings } from './bindings.mjs';
import { checkCertificate, checkTrust } from './certificates.mjs';
import { credentials } from './credentials.mjs';
import { ALGORITHMS } from './jws.mjs';
import { verifyProof } from './proofs.mjs';
import { Refusal, badRequest } from './refusal.mjs';
import { covers, verifyToken } from './tokens.mjs';

const ACCOUNTS = { accounts: [{ accountId: '1001', currency: 'EUR' }] };
const PAYMENTS = { payments: [{ paymentId: '2001', status: 'settled' }] };
const ROUTES = {
  '/accounts': { scope: 'accounts', body: ACCOUNTS, methods: ['GET', 'HEAD', 'POST'] },
  '/payments': { scope: 'payments', body: PAYMENTS, methods: ['GET', 'HEAD'] },
};
const METADATA = '/.well-known/oauth-protected-resource';
// The second has the host of the client where the right server has its own.
const ANY_HOST = ['host-any', 'dpop-htu-from-host-header'];
const OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override'];

export async function handle(request, response, server) {
  const call = describe(request, response, server);
  try {
    await route(call, server);
  } catch (error) {
    if (!(error instanceof Refusal)) {
      answer(call, server, 500, { error: 'server_error' });
      return;
    }
    if (error.error === 'invalid_dpop_proof') server.refusals += 1;
    if (server.has('error-500') && error.error === 'invalid_token') answer(call, server, 500, { error: 'server_error' });
    else refuse(call, server, error);
  }
}

function describe(request, response, { has }) {
  const { rawHeaders } = request;
  // The lines of a field as they came: what joins or drops lines hides that there were several.
  const lines = (name) => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1].toLowerCase() === name);
  // RFC 9112 §3.2.2: a target can be a whole URI.
  const [, path, search = ''] = /^(?:https?:\/\/[^/?]*)?([^?]*)(\?.*)?$/i.exec(request.url);
  const override = has('method-override-honoured') && OVERRIDES.flatMap(lines)[0]?.toUpperCase();
  return { request, response, lines, path, search, query: new URLSearchParams(search), method: override || request.method };
}

async function route(call, server) {
  const { method, path } = call;
  const { has } = server;
  checkMessage(call, server);
  if (has('dpop-lockout') && server.refusals >= 10) return answer(call, server, 429, { error: 'too_many_requests' });
  if (path === METADATA) return metadata(call, server);
  const known = ROUTES[path];
  const found = known ?? ROUTES[detour(call, server)];
  if (!found) return answer(call, server, 404, { error: 'not_found' });

  if (method === 'OPTIONS' && call.lines('access-control-request-method').length > 0) {
    return preflight(call, server, found.methods);
  }
  if (method === 'OPTIONS' && has('options-unchecked')) return answer(call, server, 200, found.body);
  if (method === 'TRACE' && has('trace-echoed')) return answer(call, server, 200, call.request.headers);
  if (!found.methods.includes(method)) return notAllowed(call, server, found.methods);

  const form = await formOf(call);
  // A path that only the router understands was checked by nobody.
  const unchecked = !known || (method === 'HEAD' && has('head-unchecked'));
  const nonce = unchecked ? undefined : await authorize(call, form, found.scope, server);
  return answer(call, server, method === 'POST' ? 201 : 200, found.body, { 'dpop-nonce': nonce });
}

// What Node's parser lets pass of HTTP/1.1: without one host, or with a body whose end others see elsewhere, a message is
// refused (RFC 9112 §3.2, §6.1); so is one for a host that the certificate does not speak for (RFC 9110 §7.4).
function checkMessage({ request, lines }, { has, base }) {
  const { httpVersion } = request;
  if (lines('host').length > 1 && !has('http-two-hosts')) throw badRequest('more than one Host');
  if (httpVersion === '0.9' && !has('http-09')) throw badRequest('not a version of HTTP');
  const chunked = httpVersion === '1.0' && lines('transfer-encoding').length > 0;
  if (chunked && !has('http-10-chunked')) throw badRequest('chunks in HTTP/1.0');
  const [host] = [...lines(':authority'), ...lines('host')];
  const own = httpVersion === '0.9' || host?.toLowerCase() === base.slice('https://'.length);
  if (!own && !ANY_HOST.some(has)) throw new Refusal(421, undefined, 'another host');
}

// The path that a router sees behind the check, for the faults that have one.
function detour({ path, lines }, { has, base }) {
  if (has('path-normalized-after-check') && path.startsWith('/')) return new URL(base + path).pathname;
  if (has('path-decoded-after-check')) return unescape(path);
  if (has('path-case-insensitive-after-check')) return path.toLowerCase();
  if (has('path-slashes-after-check')) return `/${path.split('/').filter(Boolean).join('/')}`;
  if (has('path-from-header')) return lines('x-original-url')[0] ?? lines('x-rewrite-url')[0];
  return undefined;
}

async function formOf({ request, method, lines }) {
  if (method !== 'POST') return undefined;
  const body = await text(request);
  const type = lines('content-type')[0] ?? '';
  return /^application\/x-www-form-urlencoded\b/i.test(type) ? new URLSearchParams(body) : undefined;
}

// FAPI 2.0 §5.3.4: the token, what it is bound to, what it is for. Returns a nonce for the next proof, where one is needed.
async function authorize(call, form, scope, server) {
  const { has } = server;
  const presented = credentials(call, form, has);
  if (!presented) throw new Refusal(401, undefined, 'no credentials');
  Object.assign(call, presented);
  checkTrust(call, server);

  const claims = await verifyToken(call.token, server);
  const { x5t, jkt } = bindings(claims, call, has);
  if (x5t !== undefined) checkCertificate(call, x5t, server);
  const use = jkt === undefined ? undefined : await verifyProof(call, call.token, jkt, server);
  if (!covers(claims, scope, call.method, has)) {
    throw new Refusal(403, 'insufficient_scope', 'the token is not for this', scope);
  }
  use?.();
  return use && server.nonces?.fresh();
}

function metadata(call, server) {
  const { has, base, config } = server;
  if (has('metadata-missing')) return answer(call, server, 404, { error: 'not_found' });
  if (!['GET', 'HEAD'].includes(call.method)) return notAllowed(call, server, ['GET', 'HEAD']);
  return answer(call, server, 200, {
    resource: has('metadata-resource-other') ? 'https://other.example' : base,
    authorization_servers: [has('metadata-issuer-other') ? 'https://other.example' : config.issuer],
    scopes_supported: ['accounts', 'payments'],
    bearer_methods_supported: has('metadata-bearer-query') ? ['header', 'query'] : ['header'],
    tls_client_certificate_bound_access_tokens: true,
    dpop_signing_alg_values_supported: has('metadata-alg-rs256') ? [...ALGORITHMS, 'RS256'] : ALGORITHMS,
    dpop_bound_access_tokens_required: false,
  });
}

function notAllowed(call, server, methods) {
  answer(call, server, 405, { error: 'method_not_allowed' }, { allow: methods.join(', ') });
}
