// TLS as BCP 195 (RFC 9325) has it, and HTTP/1.1 and HTTP/2 over it.

import { createServer as createHttp1 } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { once } from 'node:events';
import { createServer as createTls } from 'node:tls';

// RFC 9325 §4.2, the whole list for TLS 1.2.
const SUITES = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
];
const OLD = ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-RSA-AES128-SHA'];
const MORE = {
  'tls-10': OLD,
  'tls-11': OLD,
  'tls12-cbc': ['ECDHE-ECDSA-AES128-SHA256', 'ECDHE-RSA-AES128-SHA256'],
  'tls12-chacha': ['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
};

// Returns the port.
export async function listen({ name, has }, files, handler) {
  const http1 = createHttp1({ insecureHTTPParser: has('http-cl-te') }, handler);
  const http2 = createHttp2(handler);
  const old = has('tls-10') || has('tls-11');
  const tls = createTls({
    cert: files.certificate,
    key: files.key,
    ca: files.clientCa,
    // A certificate is looked at when a request needs it: the metadata is for clients without one, too.
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: name === 'none-http1' ? ['http/1.1'] : ['h2', 'http/1.1'],
    // OpenSSL signs the handshakes of old versions at no other level.
    ciphers: [...SUITES, ...(MORE[name] ?? []), ...(old ? ['@SECLEVEL=0'] : [])].join(':'),
    minVersion: has('tls-10') ? 'TLSv1' : has('tls-11') ? 'TLSv1.1' : 'TLSv1.2',
    maxVersion: has('tls13-missing') ? 'TLSv1.2' : 'TLSv1.3',
  });
  tls.on('secureConnection', (socket) => {
    if (!has('tls-renegotiation')) socket.disableRenegotiation();
    (socket.alpnProtocol === 'h2' ? http2 : http1).emit('connection', socket);
  });
  await once(tls.listen(0, '127.0.0.1'), 'listening');
  return tls.address().port;
}
