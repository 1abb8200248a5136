// A web site with one page, whatever its address: that of the client to which a browser is sent back, and that of a stranger.
//
//   node site.mjs CERTIFICATE KEY
//
// Both are PEM files. Writes one line of JSON once it listens: its `port`. Exits when its stdin ends, so that it never
// outlives the test.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
process.stdin.resume().on('close', () => process.exit());

const server = createServer({ cert, key }, (request, response) => {
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!DOCTYPE html><title>Another site</title>');
});
await once(server.listen(0, '127.0.0.1'), 'listening');
process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
