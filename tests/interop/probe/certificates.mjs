// The client certificate of the connection, and the token that is bound to it (RFC 8705 §3).

import { createHash, timingSafeEqual } from 'node:crypto';
import { unescape } from 'node:querystring';

import { badToken } from './refusal.mjs';

const HEADERS = ['client-cert', 'x-forwarded-client-cert', 'ssl-client-cert', 'x-ssl-cert'];

// Refuses a certificate that no authority of the configuration vouches for, whatever the token.
export function checkTrust({ request }, { has, config }) {
  const { socket } = request;
  if (!socket.getPeerX509Certificate() || !config.clientCa || socket.authorized) return;
  if (has('tls-untrusted-client-accepted') && socket.authorizationError !== 'CERT_HAS_EXPIRED') return;
  if (has('tls-expired-client-accepted') && socket.authorizationError === 'CERT_HAS_EXPIRED') return;
  throw badToken('a certificate of an unknown authority');
}

// Compares on every request: a connection says who its client is, and not which tokens are the client's.
export function checkCertificate(call, confirmation, server) {
  const { has, compared } = server;
  const { socket } = call.request;
  if (has('x5t-unchecked') || (has('x5t-connection-once') && compared.has(socket))) return;
  const matches = thumbprints(call, has).some((thumbprint) => equal(thumbprint, confirmation, has));
  if (!matches) throw badToken('bound to another certificate');
  compared.add(socket);
}

function thumbprints(call, has) {
  const header = HEADERS.find((name) => has(`x5t-from-${name}`));
  const value = header && call.lines(header)[0];
  if (value !== undefined) return fromHeader(value);
  const certificate = call.request.socket.getPeerX509Certificate();
  if (!certificate) return [];
  return [digest(certificate.raw, 'sha256'), ...(has('x5t-sha1') ? [digest(certificate.raw, 'sha1')] : [])];
}

// Bytes between colons (RFC 9440), PEM with or without escapes, or the list that Envoy writes.
function fromHeader(value) {
  const hash = /\bHash=([0-9a-f]{64})/i.exec(value);
  if (hash) return [Buffer.from(hash[1], 'hex').toString('base64url')];
  const text = unescape(/\bCert="([^"]*)"/i.exec(value)?.[1] ?? value);
  const base64 = text.replace(/-----[A-Z ]+-----/g, '').replace(/[^A-Za-z0-9+/]/g, '');
  return [digest(Buffer.from(base64, 'base64'), 'sha256')];
}

const digest = (der, algorithm) => createHash(algorithm).update(der).digest('base64url');

function equal(own, confirmation, has) {
  if (has('x5t-prefix')) return own.slice(0, 10) === confirmation.slice(0, 10);
  if (has('x5t-case-insensitive')) return own.toLowerCase() === confirmation.toLowerCase();
  return own.length === confirmation.length && timingSafeEqual(Buffer.from(own), Buffer.from(confirmation));
}
