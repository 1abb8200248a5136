// A DPoP client as applications build it, on oauth4webapi: its own key, a new proof for each call, and one retry with
// the server's nonce when one is required. tests/interop/dpop_client.rs plays the authorization server.
//
//   node dpop.mjs ORIGIN ALGORITHM SECONDS
//
// The gateway's clock is SECONDS ahead of the system's.
//
// Writes one line of JSON first: the thumbprint of its key. Reads one line: the access token, bound to that key. Then
// writes a line for each call: its name, the status of every response, the errors of the challenge it ended with, and
// the last body.

import { createInterface } from 'node:readline/promises';

import * as oauth from 'oauth4webapi';

const [origin, algorithm, seconds] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const keys = await oauth.generateKeyPair(algorithm);
const handle = (keys, late = 0) => oauth.DPoP({ client_id: 'client-1', [oauth.clockSkew]: Number(seconds) - late }, keys);
const dpop = handle(keys);
say({ jkt: await dpop.calculateThumbprint() });

const lines = createInterface({ input: process.stdin });
const token = await new Promise((resolve) => lines.once('line', resolve));
lines.close();

// The status of every response, including those that oauth4webapi turns into an error.
async function call(name, method, path, DPoP = dpop) {
  const statuses = [];
  const send = async () => {
    const response = await oauth.protectedResourceRequest(token, method, new URL(path, origin), undefined, undefined, {
      DPoP: DPoP ?? undefined,
      signal: () => AbortSignal.timeout(5000),
      [oauth.customFetch]: async (...request) => {
        const response = await fetch(...request);
        statuses.push(response.status);
        return response;
      },
    });
    return response.text();
  };
  let body = '';
  let errors = [];
  try {
    body = await send().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error;
      return send();
    });
  } catch (error) {
    if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw error;
    errors = error.cause.flatMap(({ parameters }) => parameters.error ?? []);
  }
  say({ name, statuses, errors, body: body && JSON.parse(body) });
}

await call('first', 'GET', '/accounts');
await call('another', 'GET', '/accounts?page=2');
await call('escaped', 'GET', '/accounts/a%20b');
await call('written', 'POST', '/payments');
await call('nonce', 'GET', '/accounts/1002');
await call('nonce again', 'GET', '/accounts/1002');
// The same token without a proof, as a bearer token.
await call('bearer', 'GET', '/accounts', null);
// Another key with the same token.
await call('thief', 'GET', '/accounts', handle(await oauth.generateKeyPair(algorithm)));
// A clock that is one hour slow, with and without a nonce that vouches for the proof.
const late = handle(keys, 3600);
await call('late', 'GET', '/accounts', late);
await call('late, nonce', 'GET', '/accounts/1002', late);
