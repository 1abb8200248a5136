"""A gateway between a client that sends raw bytes over TLS and an upstream that keeps every byte it gets: what the suites for
HTTP need. Every route is public, so that what is judged is the message alone."""

import io
import json
import os
import queue
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

WAIT = 20  # seconds, for anything that should happen


class Upstream:
    """Reads requests strictly, byte by byte of RFC 9112, and answers each with 200 and its head."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.lock = threading.Lock()
        self.requests, self.faults = [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def take(self):
        """The complete requests since the last time, and what no strict server would read."""
        with self.lock:
            taken, self.requests, self.faults = (self.requests, self.faults), [], []
        return taken

    def serve(self, connection):
        connection.settimeout(WAIT)
        with connection, connection.makefile("rb") as stream:
            try:
                while head := read_head(stream):
                    request = read_request(head, stream)
                    if request is None:
                        return  # the gateway gave it up before its end
                    with self.lock:
                        self.requests.append(request)
                    answer(connection, request["method"], head)
            except Strict as fault:
                with self.lock:
                    self.faults.append(str(fault))
            except OSError:
                pass


class Strict(Exception):
    """What a strict server does not read."""


def read_head(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            if head:
                raise Strict(f"half a head: {head!r}")
            return b""
        head += line
    return head


# A name with an underscore is that of another field for some servers.
FIELD = re.compile(
    rb"[!#$%&'*+.^`|~0-9A-Za-z-]+:[ \t]*(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[ \t]*"
)
# Browsers send characters in a query that RFC 3986 does not have there, such as `|`; they have one reading.
LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[\x21\x24-\x3b\x3d\x40-\x5a\x5f\x61-\x7a\x7e]*(?:\?[\x21\x24-\x7e]*)?) HTTP/1\.1"
)


def read_request(head, stream):
    """A request that has one reading; `None` if it ends before its body does."""
    line, *fields = head[:-4].split(b"\r\n")
    matched = LINE.fullmatch(line)
    if not matched:
        raise Strict(f"the request line {line!r}")
    for field in fields:
        if not FIELD.fullmatch(field):
            raise Strict(f"the field {field!r}")
    pairs = [(name.lower(), value.strip(b" \t")) for name, _, value in (field.partition(b":") for field in fields)]
    values = lambda name: [value for found, value in pairs if found == name]
    lengths, codings = values(b"content-length"), values(b"transfer-encoding")
    if len(values(b"host")) != 1:
        raise Strict(f"{len(values(b'host'))} fields Host")
    if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
        raise Strict(f"Content-Length {lengths}, Transfer-Encoding {codings}")
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise Strict(f"Content-Length {lengths[0]!r}")
    body = read_chunks(stream) if codings else stream.read(int(lengths[0]) if lengths else 0)
    if body is None or (lengths and len(body) < int(lengths[0])):
        return None
    return {"method": matched[1].decode(), "target": matched[2].decode(), "fields": pairs, "body": body}


def read_chunks(stream):
    body = b""
    while True:
        line = stream.readline()
        if not line:
            return None
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}\r\n", line):
            raise Strict(f"the chunk line {line!r}")
        size = int(line, 16)
        data, end = stream.read(size), b"\r\n"
        if len(data) < size:
            return None
        body += data
        if size == 0:
            while (line := stream.readline()) != end:
                if not FIELD.fullmatch(line.removesuffix(end)):
                    raise Strict(f"the trailer {line!r}")
            return body
        if (found := stream.read(2)) != end:
            if not found:
                return None
            raise Strict(f"{found!r} after a chunk")


def check_strictness():
    """That the upstream reads what has one reading and nothing else, without which no case shows anything."""
    good = b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
    framed, length = b"Transfer-Encoding: chunked", b"Content-Length: 1"
    heads = [
        good.replace(b"Host: a", b"Host: a\r\nHost: a"),
        good.replace(b"Host: a", b"Host : a"),
        good.replace(b"Host: a", b"Host: a\nb: c"),
        good.replace(b"Host: a", b"Host: a\r\n b"),
        good.replace(b"Host: a", b"Host: a\r\nContent_Length: 2"),
        good.replace(b"Host: a", b"Host: a\x0b"),
        good.replace(length, length + b"\r\n" + length),
        good.replace(length, length + b"\r\n" + framed),
        good.replace(length, b"Content-Length: +1"),
        good.replace(length, b"Transfer-Encoding: x, chunked"),
        good.replace(b" HTTP", b"  HTTP"),
        good.replace(b"/a", b"http://a/a"),
        good.replace(b"1.1", b"1.0"),
    ]
    bodies = [b"1\na\r\n0\r\n\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"1\r\nab0\r\n\r\n", b"1;a\r\na\r\n0\r\n\r\n"]
    cases = [(head, b"a") for head in heads] + [(good.replace(length, framed), body) for body in bodies]
    for head, body in cases:
        try:
            read_request(head, io.BytesIO(body))
        except Strict:
            continue
        sys.exit(f"the upstream reads {head + body!r}")
    if not all(read_request(*one) for one in [
        (good, io.BytesIO(b"a")),
        (good.replace(length, framed), io.BytesIO(b"1\r\na\r\n0\r\nX: y\r\n\r\n")),
    ]):
        sys.exit("the upstream does not read what it should")


def answer(connection, method, head):
    text = b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: %d\r\n\r\n" % len(head)
    connection.sendall(text + (b"" if method == "HEAD" else head))


class Gateway:
    """`fapi-gateway run` before an upstream of its own, for these hosts; its files are in `folder`."""

    def __init__(self, program, folder, hosts, protocols, methods):
        self.upstream = Upstream()
        folder.mkdir(parents=True, exist_ok=True)
        names = ",".join(sorted({certificate_name(host) for host in hosts}))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=suites", "-addext", f"subjectAltName={names}", "-keyout", "key.pem", "-out", "server.pem"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (folder / "gateway.yaml").write_text(self.configuration(hosts, methods), encoding="utf-8")
        variables = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
        self.process = subprocess.Popen(
            [program, "run"], cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.log, told = [], queue.Queue()
        threading.Thread(target=self.read_log, args=(told,), daemon=True).start()
        try:
            self.address = ("127.0.0.1", told.get(timeout=WAIT))
        except queue.Empty:
            self.end()
            sys.exit("the gateway does not listen:\n" + "".join(self.log))
        self.context = ssl.create_default_context(cafile=folder / "server.pem")
        # No name is sent: a host is judged by the message.
        self.context.check_hostname = False
        self.context.set_alpn_protocols(protocols)

    def configuration(self, hosts, methods):
        return json.dumps(
            {
                "profile": "fapi2-security",
                "listeners": [
                    {
                        "address": "127.0.0.1:0",
                        "origins": [f"https://{host}" for host in hosts],
                        "tls": {
                            "certificate": "server.pem",
                            "private_key": "key.pem",
                            "client_certificates": {"mode": "none"},
                        },
                    }
                ],
                "limits": {"header_timeout": "2s", "body_timeout": "2s", "body_grace": "2s", "idle_timeout": "5s"},
                "upstreams": {"all": {"servers": [f"http://127.0.0.1:{self.upstream.listener.getsockname()[1]}"]}},
                "routes": [
                    {"name": "all", "path": "/**", "methods": methods, "public": True, "upstream": "all"}
                ],
                "audit": {"destination": "audit.jsonl"},
                "drain": {"delay": "0s", "timeout": "1s"},
            }
        )

    def read_log(self, told):
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r" listening.* address=\S*:([0-9]+)", line):
                told.put(int(found[1]))

    def connect(self):
        connection = socket.create_connection(self.address, timeout=WAIT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(connection)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def panicked(self):
        return [line for line in self.log if "panicked" in line]


def certificate_name(host):
    name = host.rsplit(":", 1)[0]
    return f"IP:{name}" if re.fullmatch(r"[0-9.]+", name) else f"DNS:{name}"


def read_all(connection, seconds):
    """What comes until the end, or until nothing came for so long; and whether the connection has ended."""
    got = b""
    deadline = time.monotonic() + WAIT
    connection.settimeout(seconds)
    while time.monotonic() < deadline:
        try:
            data = connection.recv(65536)
        except socket.timeout:
            return got, False
        except OSError:
            return got, True
        if not data:
            return got, True
        got += data
    return got, False


def report(suite, version, cases, other, unexplained):
    """Prints the result of a suite, keeps it where FAPI_GATEWAY_SUITE_RESULTS says; whether nothing is unexplained."""
    differs = sum(map(len, other.values())) + len(unexplained)
    print(f"{suite}: {cases} cases, {cases - differs} right")
    for case in unexplained:
        print(f"{suite}: not explained: {case}")
    if folder := os.environ.get("FAPI_GATEWAY_SUITE_RESULTS"):
        result = {"suite": suite, "version": version, "cases": cases, "other": other}
        name = re.sub(r"[^A-Za-z0-9]", "-", suite) + ".json"
        (Path(folder) / name).write_text(json.dumps(result), encoding="utf-8")
    return not unexplained
