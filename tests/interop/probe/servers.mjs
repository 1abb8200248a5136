// Resource servers for the probe: one that enforces FAPI 2.0 as it says, and others with one fault each.
//
//   node servers.mjs CONFIGURATION
//
// The configuration is a file of JSON; files in it are PEM:
//
//   certificate, key   files: the servers, for localhost
//   clientCa           file: the authority of client certificates; any certificate is as good as another without it
//   issuer, audience   of access tokens
//   jwks               the issuer's public keys: {"keys": [...]}
//   faults             names of faults.mjs, or "all"
//   nonce              whether every server demands nonces, and not only those whose name says so
//   nonceSeconds       how long a nonce is good: 60
//
// Writes one line of JSON once all listen on loopback: the port of each server by the name of its fault, of the right one by
// `none`, and of `admin`, which takes POST /revoke with {"jti": JTI} over plain HTTP: no server accepts that token any more.
// Exits when its stdin ends, so that it never outlives the test.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

import { handle } from './api.mjs';
import { faults, rights } from './faults.mjs';
import { listen } from './listener.mjs';
import { Nonces } from './nonces.mjs';

process.stdin.resume().on('close', () => process.exit());

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const files = Object.fromEntries(
  ['certificate', 'key', 'clientCa'].filter((name) => config[name]).map((name) => [name, readFileSync(config[name])]),
);
const revoked = new Set();
const known = { ...rights, ...faults };
const names = config.faults === 'all' ? Object.keys(known) : ['none', ...config.faults];
const unknown = names.filter((name) => !(name in known));
if (unknown.length > 0) throw new Error(`no such fault: ${unknown.join(', ')}`);

const ports = {};
for (const name of names) ports[name] = await start(name);
const admin = createServer(revoke);
await once(admin.listen(0, '127.0.0.1'), 'listening');
console.log(JSON.stringify({ ...ports, admin: admin.address().port }));

async function start(name) {
  const has = (fault) => fault === name;
  const now = () => Date.now() / 1000;
  const nonces =
    config.nonce || name === 'none-nonce' || name.startsWith('nonce-')
      ? new Nonces(config.nonceSeconds ?? 60, has, now)
      : undefined;
  // What one server knows is not what another knows.
  const server = {
    name, has, now, config, nonces, revoked,
    proofs: new Map(), seen: new Map(), compared: new WeakSet(), refusals: 0,
  };
  const port = await listen(server, files, (request, response) =>
    // A client that is gone while it is answered, or whose words no field can have, ends its own connection alone.
    handle(request, response, server).catch(() => response.socket?.destroy()),
  );
  server.base = `https://localhost:${port}`;
  return port;
}

async function revoke(request, response) {
  if (request.method !== 'POST' || request.url !== '/revoke') {
    response.writeHead(404).end();
    return;
  }
  revoked.add((await json(request)).jti);
  response.writeHead(204).end();
}
