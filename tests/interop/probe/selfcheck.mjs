// Whether each server has its fault and no more: good calls reach all of them, and one call tells each from the right one.
//
//   node selfcheck.mjs [matrix]
//
// Needs openssl, and makes keys and certificates of its own. With `matrix`, every call is made to every server, and each
// that is answered otherwise than by the right server is listed: a fault that answers for others is seen there.

import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate, createHash, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

import { Calls } from './selfcheck_calls.mjs';
import { good, told } from './selfcheck_rows.mjs';
import { faults, rights } from './faults.mjs';

const folder = mkdtempSync(join(tmpdir(), 'probed-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

const ISSUER = 'https://as.example';
const AUDIENCE = 'https://api.example';
const keys = Object.fromEntries(
  [
    ['PS256', 'rsa', { modulusLength: 2048 }],
    ['ES256', 'ec', { namedCurve: 'P-256' }],
    ['EdDSA', 'ed25519', {}],
  ].map(([alg, type, options]) => [alg, generateKeyPairSync(type, options)]),
);
const jwks = { keys: Object.entries(keys).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid })) };

const certificates = {};
authority('ca');
authority('unknown-ca');
certify('server', 'ca', 2, 'subjectAltName=DNS:localhost');
certify('client', 'ca', 2);
certify('other', 'ca', 2);
certify('expired', 'ca', -1);
certify('untrusted', 'unknown-ca', 2);

const all = await start({ faults: 'all' });
// Nonces that are good for a second are seen to end.
const short = await start({ faults: ['none-nonce', 'nonce-reused-forever'], nonceSeconds: 1 });
const calls = new Calls({ keys, certificates, issuer: ISSUER, audience: AUDIENCE, admin: all.ports.admin });
const target = (name, { ports } = all) => ({ name, port: ports[name], base: `https://localhost:${ports[name]}` });

const wrong = [];
const expect = (what, outcome, expected) => outcome === expected || wrong.push(`${what}: ${outcome}, not ${expected}`);

const names = [...Object.keys(rights), ...Object.keys(faults)];
for (const [what, { call, answers, except = [] }] of Object.entries(good)) {
  const asked = names.filter((name) => !except.includes(name));
  await Promise.all(asked.map(async (name) => expect(`${name}: ${what}`, await outcome(call, target(name)), answers)));
}
for (const [name, { call, right, faulty, seconds }] of Object.entries(told)) {
  const group = seconds ? short : all;
  const control = name.startsWith('nonce-') ? 'none-nonce' : 'none';
  expect(`${control}, asked for ${name}`, await outcome(call, target(control, group)), right);
  expect(name, await outcome(call, target(name, group)), faulty);
}
for (const name of Object.keys(faults)) if (!(name in told)) wrong.push(`${name}: nothing tells it`);

if (process.argv[2] === 'matrix') {
  const seen = Object.fromEntries(names.map((name) => [name, []]));
  for (const [row, { call, right, seconds }] of Object.entries(told)) {
    // What tells one server about nonces from another is said to servers with nonces alone.
    const asked = names.filter((name) => name !== row && (!row.startsWith('nonce-') || /^nonce-|-nonce$/.test(name)));
    if (seconds) continue;
    await Promise.all(asked.map(async (name) => (await outcome(call, target(name))) === right || seen[name].push(row)));
  }
  for (const [name, others] of Object.entries(seen)) if (others.length > 0) console.log(`${name}: ${others.join(', ')}`);
}

for (const line of wrong) console.log(line);
console.log(`${Object.keys(told).length} faults, ${wrong.length} wrong`);
process.exit(wrong.length > 0 ? 1 : 0);

// A call that fails, or is not answered, is told like any other.
async function outcome(call, target) {
  const late = setTimeout(30_000, 'no answer', { ref: false });
  try {
    return await Promise.race([call(calls, target), late]);
  } catch (error) {
    return error.code ?? String(error);
  }
}

async function start(more) {
  const file = join(folder, `${more.faults}.json`.slice(-40));
  const config = { ...more, issuer: ISSUER, audience: AUDIENCE, jwks };
  Object.assign(config, { certificate: path('server.pem'), key: path('server.key'), clientCa: path('ca.pem') });
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [join(import.meta.dirname, 'servers.mjs'), file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { ports: JSON.parse(line) };
}

function path(name) {
  return join(folder, name);
}

function openssl(...args) {
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
}

function newKey(name) {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`, '-subj', `/CN=${name}`];
}

function authority(name) {
  openssl('req', '-x509', ...newKey(name), '-out', `${name}.pem`, '-days', '2');
}

function certify(name, issuer, days, ...extensions) {
  writeFileSync(path(`${name}.ext`), extensions.join('\n'));
  openssl('req', '-new', ...newKey(name), '-out', `${name}.csr`);
  openssl(
    ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`],
    ...['-days', String(days), '-extfile', `${name}.ext`, '-out', `${name}.pem`],
  );
  const cert = readFileSync(path(`${name}.pem`), 'utf8');
  const { raw } = new X509Certificate(cert);
  const digest = (algorithm) => createHash(algorithm).update(raw).digest('base64url');
  certificates[name] = { cert, key: readFileSync(path(`${name}.key`)), raw, sha256: digest('sha256'), sha1: digest('sha1') };
}
