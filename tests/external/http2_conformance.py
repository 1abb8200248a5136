#!/usr/bin/env python3
"""What a client can send in HTTP/2 that RFC 9113 has a rule for, frame by frame, sent to a gateway with a strict upstream
behind it. No package registry has a suite for that.

Takes the program; needs the Python package hpack. Each case says its clause and what has to happen. Of every case this must
hold besides: the upstream reads nothing that has two readings, and the next connection is served. A request that is malformed
does not reach the upstream.
`tests/external/suites_page.py` compares the numbers with docs/reference/suites.md.
"""

import struct
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hpack import Decoder

from running import Gateway, check_strictness, read_all, report

WORKERS = 6
QUIET = 0.3  # seconds without a byte, after which no more is expected
SUITE, VERSION = "RFC 9113 (HTTP/2)", "cases of tests/external/http2_conformance.py"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED = 0x4, 0x8
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX = 16384  # of a frame, unless the gateway says otherwise


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(*fields):
    """Literals without indexing, so that nothing is left out or corrected."""
    text = b""
    for name, value in fields:
        for part in (b"\0" + string(name), string(value)):
            text += part
    return text


def string(value):
    value = value.encode("latin1")
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, prefix = len(value) - 127, b"\x7f"
    while rest > 127:
        prefix, rest = prefix + bytes([rest % 128 + 128]), rest // 128
    return prefix + bytes([rest]) + value


PSEUDO = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/case")]


def request(*more, without="", method="GET", **pseudo):
    """The fields of a good request, changed."""
    changed = {":method": method} | {f":{name}": value for name, value in pseudo.items()}
    return block(*[(name, changed.get(name, value)) for name, value in PSEUDO if name != without], *more)


def get(stream=1, flags=END_STREAM | END_HEADERS, fields=None):
    return frame(HEADERS, flags, stream, request() if fields is None else fields)


def post(*more, stream=1):
    return frame(HEADERS, END_HEADERS, stream, request(*more, method="POST"))


def settings(*pairs, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", *pair) for pair in pairs))


class Seen:
    """What the gateway sent."""

    def __init__(self, got, ended):
        self.ended, self.goaway = ended, None
        self.resets, self.statuses, self.data, self.pings, self.acks = {}, {}, {}, [], 0
        self.frames = []
        decoder, pending = Decoder(), b""
        while len(got) >= 9:
            size, kind, flags = int.from_bytes(got[:3], "big"), got[3], got[4]
            stream, payload = int.from_bytes(got[5:9], "big") & 0x7FFFFFFF, got[9 : 9 + size]
            got = got[9 + size :]
            self.frames.append((kind, flags, stream, payload))
            if kind in (HEADERS, CONTINUATION):
                pending += payload
                if flags & END_HEADERS:
                    fields = dict(decoder.decode(pending))
                    pending = b""
                    self.statuses.setdefault(stream, int(fields.get(":status", 0)))
            elif kind == DATA:
                self.data[stream] = self.data.get(stream, b"") + payload
            elif kind == RST_STREAM:
                self.resets[stream] = int.from_bytes(payload, "big")
            elif kind == GOAWAY:
                self.goaway = int.from_bytes(payload[4:8], "big")
            elif kind == PING and flags & ACK:
                self.pings.append(payload)
            elif kind == SETTINGS and flags & ACK:
                self.acks += 1

    def __str__(self):
        what = f"GOAWAY {self.goaway}, resets {self.resets}, statuses {self.statuses}, pings {self.pings}"
        return f"{what}, {self.acks} acknowledgements, {'closed' if self.ended else 'open'}"


# --- what has to happen


def served(*streams):
    return lambda seen: all(seen.statuses.get(stream) == 200 for stream in streams or [1]) and not seen.goaway


def connection_error(*codes):
    """RFC 9113 §5.4.1: GOAWAY, "after [which] the endpoint MUST close the TCP connection"; GOAWAY itself is a SHOULD."""
    return lambda seen: seen.ended and (seen.goaway is None or seen.goaway in codes)


def stream_error(*codes, stream=1):
    """§5.4.2: RST_STREAM. An endpoint may treat it as an error of the connection (§5.4)."""
    return lambda seen: seen.resets.get(stream) in codes or (seen.ended and seen.goaway in codes)


def malformed(stream=1):
    """§8.1.1: a stream error PROTOCOL_ERROR, before which a server may send a response."""
    return lambda seen: (
        400 <= seen.statuses.get(stream, 0) < 500
        or stream_error(PROTOCOL, stream=stream)(seen)
    )


# (clause, what is sent, the bytes after the SETTINGS of a client, what has to happen, whether a request may arrive)
CASES = [
    ("3.4", "a good request, the control", get(), served(), 1),
    ("3.4", "settings are acknowledged", b"", lambda seen: seen.acks == 1, 0),
    ("4.1", "a frame of an unknown type is ignored", frame(0x16, 0xFF, 0, b"x") + get(), served(), 1),
    ("4.1", "a reserved bit in a stream identifier is ignored", get(0x80000001), served(), 1),
    ("4.1", "undefined flags of PING are ignored", frame(PING, 0x16, 0, 8 * b"a"), lambda seen: seen.pings == [8 * b"a"], 0),
    ("4.2", "DATA of the largest size", post() + frame(DATA, END_STREAM, 1, MAX * b"a"), served(), 1),
    ("4.2", "DATA over the largest size", post() + frame(DATA, END_STREAM, 1, (MAX + 1) * b"a"), stream_error(SIZE), 0),
    ("4.2", "HEADERS over the largest size", get(fields=request(("x", MAX * "a"))), connection_error(SIZE), 0),
    ("4.3", "a header block that cannot be decoded", get(fields=b"\xff\xff\xff\xff\xff\xff\xff\xff"), connection_error(COMPRESSION), 0),
    ("4.3", "an index beyond the tables", get(fields=b"\xc0"), connection_error(COMPRESSION), 0),
    ("4.3", "a table size over the limit", get(fields=b"\x3f\xe1\xff\x03" + request()), connection_error(COMPRESSION), 0),
    ("4.3", "PRIORITY within a header block", get(flags=END_STREAM) + frame(PRIORITY, 0, 1, 5 * b"\0"), connection_error(PROTOCOL), 0),
    ("4.3", "HEADERS of another stream within a header block", get(flags=END_STREAM) + get(3), connection_error(PROTOCOL), 0),
    ("5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), connection_error(PROTOCOL), 0),
    ("5.1", "RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, 4 * b"\0"), connection_error(PROTOCOL), 0),
    ("5.1", "WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), connection_error(PROTOCOL), 0),
    ("5.1", "CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, request()), connection_error(PROTOCOL), 0),
    ("5.1", "DATA on a stream that the client has ended", get() + frame(DATA, END_STREAM, 1, b"x"), stream_error(CLOSED), 1),
    ("5.1", "HEADERS on a stream that the client has ended", get() + get(), stream_error(CLOSED), 1),
    ("5.1", "DATA on a stream that the client has reset", post() + frame(RST_STREAM, 0, 1, b"\0\0\0\x08") + frame(DATA, 0, 1, b"x") + get(3), lambda seen: served(3)(seen) or stream_error(CLOSED)(seen), 1),
    ("5.1", "HEADERS on a stream that the client has reset", post() + frame(RST_STREAM, 0, 1, b"\0\0\0\x08") + get(), stream_error(CLOSED, PROTOCOL), 0),
    ("5.1.1", "an even stream identifier", get(2), connection_error(PROTOCOL), 0),
    ("5.1.1", "a stream identifier below the last", get(5) + get(3), connection_error(PROTOCOL), 1),
    ("5.1.2", "more streams than are allowed", b"".join(post(stream=1 + 2 * place) for place in range(101)), stream_error(PROTOCOL, REFUSED, stream=201), 0),
    ("5.5", "an unknown frame within a header block", get(flags=END_STREAM) + frame(0x16, 0, 1, b"x"), connection_error(PROTOCOL), 0),
    ("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), connection_error(PROTOCOL), 0),
    ("6.1", "DATA with padding", post() + frame(DATA, END_STREAM | PADDED, 1, b"\x02ab\0\0"), served(), 1),
    ("6.1", "DATA with more padding than payload", post() + frame(DATA, END_STREAM | PADDED, 1, b"\x09ab"), connection_error(PROTOCOL), 0),
    ("6.2", "HEADERS on stream 0", get(0), connection_error(PROTOCOL), 0),
    ("6.2", "HEADERS with padding", get(flags=END_STREAM | END_HEADERS | PADDED, fields=b"\x02" + request() + b"\0\0"), served(), 1),
    ("6.2", "HEADERS with more padding than payload", get(flags=END_STREAM | END_HEADERS | PADDED, fields=b"\xff" + request()), connection_error(PROTOCOL), 0),
    ("6.3", "PRIORITY is accepted", frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") + get(), served(), 1),
    ("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, 5 * b"\0"), connection_error(PROTOCOL), 0),
    ("6.3", "PRIORITY of another length", frame(PRIORITY, 0, 1, 4 * b"\0"), stream_error(SIZE), 0),
    ("6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, 4 * b"\0"), connection_error(PROTOCOL), 0),
    ("6.4", "RST_STREAM of another length", post() + frame(RST_STREAM, 0, 1, 3 * b"\0"), connection_error(SIZE), 0),
    ("6.5", "an acknowledgement with a payload", settings((1, 4096), flags=ACK), connection_error(SIZE), 0),
    ("6.5", "SETTINGS on a stream", settings((1, 4096), stream=1), connection_error(PROTOCOL), 0),
    ("6.5", "SETTINGS of another length", frame(SETTINGS, 0, 0, 5 * b"\0"), connection_error(SIZE), 0),
    ("6.5.2", "ENABLE_PUSH that is neither 0 nor 1", settings((2, 2)), connection_error(PROTOCOL), 0),
    ("6.5.2", "INITIAL_WINDOW_SIZE over 2^31-1", settings((4, 0x80000000)), connection_error(FLOW), 0),
    ("6.5.2", "MAX_FRAME_SIZE below 16384", settings((5, MAX - 1)), connection_error(PROTOCOL), 0),
    ("6.5.2", "MAX_FRAME_SIZE over 2^24-1", settings((5, 1 << 24)), connection_error(PROTOCOL), 0),
    ("6.5.2", "an unknown setting is ignored", settings((0xFF, 1)) + get(), served(), 1),
    ("6.5.3", "settings are acknowledged each time", settings((3, 100)) + settings((3, 99)), lambda seen: seen.acks == 3, 0),
    ("6.5.3", "of a setting that comes twice, the last counts", settings((4, 100), (4, 1)) + get(), lambda seen: len(seen.data.get(1, b"")) == 1, 1),
    ("6.6", "PUSH_PROMISE of a client", post() + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + request()), connection_error(PROTOCOL), 0),
    ("6.7", "PING is answered with its payload", frame(PING, 0, 0, b"12345678"), lambda seen: seen.pings == [b"12345678"], 0),
    ("6.7", "an acknowledgement of no PING is ignored", frame(PING, ACK, 0, b"12345678") + get(), lambda seen: served()(seen) and not seen.pings, 1),
    ("6.7", "PING on a stream", frame(PING, 0, 1, 8 * b"a"), connection_error(PROTOCOL), 0),
    ("6.7", "PING of another length", frame(PING, 0, 0, 6 * b"a"), connection_error(SIZE), 0),
    ("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, 8 * b"\0"), connection_error(PROTOCOL), 0),
    ("6.8", "what is in progress at GOAWAY is answered", get() + frame(GOAWAY, 0, 0, 8 * b"\0"), served(), 1),
    ("6.9", "WINDOW_UPDATE by 0 of the connection", frame(WINDOW_UPDATE, 0, 0, 4 * b"\0"), connection_error(PROTOCOL), 0),
    ("6.9", "WINDOW_UPDATE by 0 of a stream", post() + frame(WINDOW_UPDATE, 0, 1, 4 * b"\0"), stream_error(PROTOCOL), 0),
    ("6.9", "WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, 3 * b"\0"), connection_error(SIZE), 0),
    ("6.9.1", "no more is sent than the window allows", settings((4, 1)) + get(), lambda seen: len(seen.data.get(1, b"")) == 1, 1),
    ("6.9.1", "a window of the connection over 2^31-1", 2 * frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), connection_error(FLOW), 0),
    ("6.9.1", "a window of a stream over 2^31-1", post() + 2 * frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), stream_error(FLOW), 0),
    ("6.9.2", "a larger INITIAL_WINDOW_SIZE opens windows", settings((4, 1)) + get() + settings((4, 65535)), lambda seen: len(seen.data.get(1, b"")) > 1, 1),
    ("6.9.2", "a window may become negative", settings((4, 3)) + get() + settings((4, 2)) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\2"), lambda seen: 2 <= len(seen.data.get(1, b"")) <= 4, 1),
    ("6.10", "a header block in several parts", get(flags=END_STREAM, fields=request()[:9]) + frame(CONTINUATION, 0, 1, request()[9:20]) + frame(CONTINUATION, END_HEADERS, 1, request()[20:]), served(), 1),
    ("6.10", "DATA within a header block", get(flags=0) + frame(DATA, END_STREAM, 1, b"x"), connection_error(PROTOCOL), 0),
    ("6.10", "CONTINUATION on stream 0", get(flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, b""), connection_error(PROTOCOL), 0),
    ("6.10", "CONTINUATION after the end of a header block", post() + frame(CONTINUATION, END_HEADERS, 1, block(("x", "y"))), connection_error(PROTOCOL), 0),
    ("6.10", "CONTINUATION after DATA", post() + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1, block(("x", "y"))), connection_error(PROTOCOL), 0),
    ("8.1", "trailers", post() + frame(DATA, 0, 1, b"x") + get(fields=block(("x-trailer", "y"))), served(), 1),
    ("8.1", "trailers that do not end the stream", post() + frame(DATA, 0, 1, b"x") + get(flags=END_HEADERS, fields=block(("x-trailer", "y"))), malformed(), 0),
    ("8.1.1", "content-length over what comes", post(("content-length", "2")) + frame(DATA, END_STREAM, 1, b"x"), malformed(), 0),
    ("8.1.1", "content-length below what comes", post(("content-length", "2")) + frame(DATA, 0, 1, b"x") + frame(DATA, END_STREAM, 1, b"xx"), malformed(), 0),
    ("8.1.1", "content-length without content", get(fields=request(("content-length", "2"), method="POST")), malformed(), 0),
    ("8.2.1", "a field name in upper case", get(fields=request(("X-Case", "y"))), malformed(), 0),
    ("8.2.1", "a space in a field name", get(fields=request(("x case", "y"))), malformed(), 0),
    ("8.2.1", "a colon in a field name", get(fields=request(("x:case", "y"))), malformed(), 0),
    ("8.2.1", "a field name that is empty", get(fields=request(("", "y"))), malformed(), 0),
    ("8.2.1", "a field name that is not ASCII", get(fields=request(("x\xe4", "y"))), malformed(), 0),
    ("8.2.1", "NUL in a field value", get(fields=request(("x", "a\0b"))), malformed(), 0),
    ("8.2.1", "CR in a field value", get(fields=request(("x", "a\rb"))), malformed(), 0),
    ("8.2.1", "LF in a field value", get(fields=request(("x", "a\nb"))), malformed(), 0),
    ("8.2.1", "a space before a field value", get(fields=request(("x", " a"))), malformed(), 0),
    ("8.2.1", "a space after a field value", get(fields=request(("x", "a "))), malformed(), 0),
    ("8.2.2", "connection", get(fields=request(("connection", "keep-alive"))), malformed(), 0),
    ("8.2.2", "keep-alive", get(fields=request(("keep-alive", "timeout=5"))), malformed(), 0),
    ("8.2.2", "proxy-connection", get(fields=request(("proxy-connection", "keep-alive"))), malformed(), 0),
    ("8.2.2", "transfer-encoding", get(fields=request(("transfer-encoding", "chunked"))), malformed(), 0),
    ("8.2.2", "upgrade", get(fields=request(("upgrade", "h2c"))), malformed(), 0),
    ("8.2.2", "te: trailers", get(fields=request(("te", "trailers"))), served(), 1),
    ("8.2.2", "te with another value", get(fields=request(("te", "trailers, deflate"))), malformed(), 0),
    ("8.2.3", "cookie in several fields", get(fields=request(("cookie", "a=b"), ("cookie", "c=d"))), lambda seen: served()(seen) and b"a=b; c=d" in seen.data[1], 1),
    ("8.3", "an unknown pseudo-header field", get(fields=request((":unknown", "y"))), malformed(), 0),
    ("8.3", "a pseudo-header field of responses", get(fields=request((":status", "200"))), malformed(), 0),
    ("8.3", "a pseudo-header field after others", get(fields=block(("x", "y"), *PSEUDO)), malformed(), 0),
    ("8.3", "a pseudo-header field in trailers", post() + frame(DATA, 0, 1, b"x") + get(fields=block((":path", "/"))), malformed(), 0),
    ("8.3.1", "an empty :path", get(fields=request(path="")), malformed(), 0),
    ("8.3.1", "a :path that does not begin with a slash", get(fields=request(path="case")), malformed(), 0),
    ("8.3.1", "no :method", get(fields=request(without=":method")), malformed(), 0),
    ("8.3.1", "no :scheme", get(fields=request(without=":scheme")), malformed(), 0),
    ("8.3.1", "no :path", get(fields=request(without=":path")), malformed(), 0),
    ("8.3.1", "no :authority, and no host", get(fields=request(without=":authority")), malformed(), 0),
    ("8.3.1", "host in place of :authority", get(fields=request(("host", "localhost"), without=":authority")), served(), 1),
    ("8.3.1", "host that differs from :authority", get(fields=request(("host", "example.com"))), malformed(), 0),
    ("8.3.1", "userinfo in :authority", get(fields=request(authority="user@localhost")), malformed(), 0),
    ("8.3.1", ":method twice", get(fields=block((":method", "GET"), *PSEUDO)), malformed(), 0),
    ("8.3.1", ":scheme twice", get(fields=block((":scheme", "https"), *PSEUDO)), malformed(), 0),
    ("8.3.1", ":path twice", get(fields=block((":path", "/"), *PSEUDO)), malformed(), 0),
    ("8.3.1", ":authority twice", get(fields=block((":authority", "localhost"), *PSEUDO)), malformed(), 0),
    ("8.5", "CONNECT with :path and :scheme", get(fields=request(method="CONNECT")), malformed(), 0),
]
# The same without the SETTINGS of a client, or without its preface.
BARE = [
    ("3.4", "another preface", PREFACE.replace(b"SM", b"XX") + settings() + get(), connection_error(PROTOCOL), 0),
    ("3.4", "a preface without SETTINGS", PREFACE + get(), connection_error(PROTOCOL), 0),
    ("3.4", "HTTP/1.1 where h2 was agreed on", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", connection_error(PROTOCOL), 0),
]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: http2_conformance.py PROGRAM")
    check_strictness()
    program = Path(sys.argv[1]).resolve()
    cases = [(*case, PREFACE + settings()) for case in CASES] + [(*case, b"") for case in BARE]
    with tempfile.TemporaryDirectory() as files:
        gateways = [
            Gateway(program, Path(files) / str(place), ["localhost"], ["h2"], ["GET", "POST"]) for place in range(WORKERS)
        ]
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                shares = [cases[place::WORKERS] for place in range(WORKERS)]
                results = [one for share in pool.map(judge, gateways, shares) for one in share]
        finally:
            for gateway in gateways:
                gateway.end()
        panics = [line for gateway in gateways for line in gateway.panicked()]
    other, unexplained = {}, [f"the gateway panicked: {line}" for line in panics]
    explained = dict(EXPLAINED)
    for name, good, seen, broken in sorted(results):
        if broken:
            unexplained.append(f"{name}: BROKEN: {broken} {seen}")
        elif not good and name in explained:
            other.setdefault(explained.pop(name), []).append(name)
        elif not good:
            unexplained.append(f"{name}: {seen}")
    unexplained += [f"{name} does not differ" for name in explained]
    sys.exit(0 if report(SUITE, VERSION, len(cases), other, unexplained) else 1)


def judge(gateway, cases):
    return [judge_one(gateway, *case) for case in cases]


def judge_one(gateway, clause, what, sent, right, arriving, before):
    gateway.upstream.take()
    with gateway.connect() as client:
        try:
            client.sendall(before + sent)
        except OSError:
            pass
        got, ended = read_all(client, QUIET)
        for _ in range(6):
            if ended or right(Seen(got, ended)):
                break
            more, ended = read_all(client, QUIET)
            got += more
    seen = Seen(got, ended)
    requests, faults = gateway.upstream.take()
    broken = None
    if faults:
        broken = f"the upstream got {faults}"
    elif not control(gateway):
        broken = "the next connection is not served"
    gateway.upstream.take()
    good = right(seen) and len(requests) <= arriving
    return f"§{clause} {what}", good, f"{seen}, {len(requests)} requests reached the upstream", broken


def control(gateway):
    with gateway.connect() as client:
        client.sendall(PREFACE + settings() + get())
        got, ended = b"", False
        for _ in range(20):
            more, ended = read_all(client, 0.1)
            got += more
            if served()(Seen(got, ended)):
                return True
    return False


# Where the gateway differs: the case, and why.
CODE = "the connection ends as it must, with PROTOCOL_ERROR in place of a more exact code; the HTTP/2 library (h2) chooses it"
EXPLAINED = [
    ("§3.4 a preface without SETTINGS", "the HTTP/2 library (h2) takes the defaults for settings that do not come"),
    ("§4.3 a header block that cannot be decoded", CODE),
    ("§4.3 a table size over the limit", CODE),
    ("§4.3 an index beyond the tables", CODE),
    ("§5.1 DATA on a stream that the client has ended", CODE),
    ("§5.1 HEADERS on a stream that the client has ended", CODE),
    ("§6.3 PRIORITY of another length", CODE),
    ("§6.4 RST_STREAM of another length", CODE),
    ("§6.5 SETTINGS of another length", CODE),
    ("§6.5 an acknowledgement with a payload", CODE),
    ("§6.5.2 INITIAL_WINDOW_SIZE over 2^31-1", CODE),
    ("§6.7 PING of another length", CODE),
    ("§6.9 WINDOW_UPDATE of another length", CODE),
    (
        "§8.3 a pseudo-header field in trailers",
        "the HTTP/2 library (h2) drops it in silence; no trailer of a request is forwarded",
    ),
]

if __name__ == "__main__":
    main()
