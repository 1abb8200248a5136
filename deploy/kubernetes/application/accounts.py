"""Accounts and their balances, for whoever the gateway says is calling. Needs nothing but Python.

LISTEN_ADDRESS says where it listens. TLS_FOLDER, if it is set, has its certificate and key, and the authorities of the gateway's
certificate, without which nobody is answered.
"""

import json
import os
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Whose they are, by the subject of the access token.
ACCOUNTS = {"1": {"owner": "alice", "iban": "DE02120300000000202051", "balance": "1024.00"}}


class Accounts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 90  # longer than the gateway keeps an unused connection

    def do_GET(self):
        account = ACCOUNTS.get(self.path.removeprefix("/accounts/"))
        # The gateway removes this header from what clients send, and sets it to what the token says.
        if account is None or account["owner"] != self.headers.get("X-Token-Subject"):
            self.answer(404, {"error": "no such account"})
        else:
            client = self.headers.get("X-Token-Client-Id")
            self.answer(200, {"iban": account["iban"], "balance": account["balance"], "seen_by": client})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The gateway's audit has each request."""


def main():
    host, port = os.environ.get("LISTEN_ADDRESS", "127.0.0.1:8080").rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Accounts)
    if folder := os.environ.get("TLS_FOLDER"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{folder}/gateway-ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
        # Not in the thread that accepts, where one client could keep the others waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
