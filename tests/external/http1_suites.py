#!/usr/bin/env python3
"""Raw requests of HTTP/1.1 from the public suites Http11Probe and llhttp, sent to a gateway with a strict upstream behind it.

Takes the program and the folder that has `http11probe.json` and `llhttp-requests.json`. Of every case this must hold: the
upstream reads nothing that has two readings, it completes no request that the client got no answer of 2xx for, and the next
connection is served. Beyond that, the suite says what is right; where the gateway differs, EXPLAINED says why, and a
difference without a reason fails. `tests/external/suites_page.py` compares the numbers with docs/reference/suites.md.
"""

import concurrent.futures
import json
import re
import sys
import tempfile
from pathlib import Path

from running import Gateway, check_strictness, read_all, report

WORKERS = 6
# Every host that a case names and that may be an origin.
HOSTS = ["localhost", "localhost:8080", "localhost:5000", "www.example.com", "example.com", "example.org", "a", "foo"]
HOSTS += ["github.com", "0.0.0.0:5000"]
# All that the cases use, but for DELETE, of which one case wants to know what it gets where it is not allowed.
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "REPORT", "PURGE", "SEARCH", "LINK", "UNLINK", "SOURCE", "QUERY"]
QUIET = 0.35  # seconds without a byte, after which no more is expected


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: http1_suites.py PROGRAM FOLDER")
    check_strictness()
    program, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    good = True
    with tempfile.TemporaryDirectory() as files:
        gateways = [Gateway(program, Path(files) / str(place), HOSTS, ["http/1.1"], METHODS) for place in range(WORKERS)]
        try:
            for suite, version, cases in [
                ("Http11Probe", *probe(folder / "http11probe.json")),
                ("llhttp requests", *llhttp(folder / "llhttp-requests.json")),
            ]:
                good &= judge(suite, version, cases, gateways)
        finally:
            for gateway in gateways:
                gateway.end()
        for gateway in gateways:
            if gateway.panicked():
                print("the gateway panicked:", *gateway.panicked())
                good = False
    sys.exit(0 if good else 1)


def probe(file):
    """(version, cases) of Http11Probe: a case is its name, its bytes, and what it may have as an answer."""
    suite = json.loads(file.read_text(encoding="utf-8"))
    cases = []
    for case in suite["cases"]:
        name = case["id"].split("`")[0]
        request = LONG[name]() if case["elided"] else case["request"]
        cases.append((name, raw(request.replace("[TAB]", "\t")), expected(case["expected"])))
    return "MDA2AV/Http11Probe, 2026-02-17", cases


def raw(text):
    """The bytes of a request whose characters are bytes, but for a few."""
    return b"".join(letter.encode("latin1" if ord(letter) < 256 else "utf-8") for letter in text)


def expected(text):
    """The answers that a text of Http11Probe calls right: those that it does not call a warning or a failure."""
    parts = [part for part in re.split(r"[;,](?![^(]*\))", text) if not re.search(r"warn|\(fail\)|poisoned", part, re.I)]
    text = " ".join(parts) if parts else text
    wanted = set(re.findall(r"[1-5][0-9][0-9]", text)) if "non-101" not in text and "except" not in text else set()
    if re.search(r"2xx|pass-through", text):
        wanted |= {"2xx"}
    if re.search(r"close|Reject|timeout", text):
        wanted |= {"refused"}
    if re.search(r"^Any|non-1|not 1|except|excluded", text, re.I):
        wanted |= {"2xx", "4xx", "5xx"}
    if "200" in wanted or "204" in wanted:
        wanted |= {"2xx"}
    if "timeout" in text:
        wanted |= {"408"}
    # A field that is dropped is one that the upstream does not get; it would say so.
    if "Reject" in text:
        wanted |= {"400", "2xx"}
    return wanted


# What an answer of Http11Probe's must have besides its status, as a regular expression, and what it must not have.
DETAILS = {
    "COMP-DATE-HEADER": (rb"\r\nDate: [A-Z]", None),
    "COMP-CONTENT-TYPE": (rb"\r\nContent-Type: ", None),
    "COMP-405-ALLOW": (rb"(?i)\r\nallow: [A-Z]", None),
    "COMP-CONNECTION-CLOSE": (rb"(?i)\r\nconnection: close\r\n[\s\S]*ENDED$", None),
    "COMP-HTTP10-DEFAULT-CLOSE": (rb"ENDED$", None),
    "COMP-HEAD-NO-BODY": (rb"\r\n\r\n(ENDED)?$", None),
    "COMP-NO-1XX-HTTP10": (None, rb"HTTP/1\.[01] 1"),
    "COMP-UPGRADE-HTTP10": (None, rb"HTTP/1\.[01] 101"),
    "COMP-UPGRADE-INVALID-VER": (None, rb"HTTP/1\.[01] 101"),
    "COMP-UPGRADE-MISSING-CONN": (None, rb"HTTP/1\.[01] 101"),
    "COMP-UPGRADE-POST": (None, rb"HTTP/1\.[01] 101"),
    "COMP-UPGRADE-UNKNOWN": (None, rb"HTTP/1\.[01] 101"),
    "COMP-TRACE-SENSITIVE": (None, rb"secret-token"),
    "COOK-ECHO": (rb"foo=bar", None),
    "COOK-PARSED-BASIC": (rb"foo=bar", None),
    "COOK-MULTI-HEADER": (rb"a=1[\s\S]*b=2", None),
    "COOK-PARSED-MULTI": (rb"a=1; b=2; c=3", None),
    "COOK-NUL": (None, rb"\x00"),
    "COOK-CONTROL-CHARS": (None, rb"[\x01-\x03]"),
}


LONG = {
    "COOK-MANY-PAIRS": lambda: get("/echo", "Cookie: " + "; ".join(f"k{n}=v{n}" for n in range(1000))),
    "COOK-OVERSIZED": lambda: get("/echo", "Cookie: big=" + 65536 * "A"),
    "MAL-CHUNK-EXT-64K": lambda: get("/", "Transfer-Encoding: chunked", "POST")
    + f"5;ext={65536 * 'a'}\r\nhello\r\n0\r\n\r\n",
    "MAL-LONG-HEADER-NAME": lambda: get("/", 100_000 * "A" + ": val"),
    "MAL-LONG-HEADER-VALUE": lambda: get("/", "X-Big: " + 100_000 * "B"),
    "MAL-LONG-METHOD": lambda: get("/", "X: y", 100_000 * "A"),
    "MAL-LONG-URL": lambda: get("/" + 100_000 * "A", "X: y"),
    "MAL-MANY-HEADERS": lambda: get("/", "\r\n".join(f"X-H-{n}: value" for n in range(10_000))),
    "MAL-RANGE-OVERLAPPING": lambda: get("/", "Range: bytes=" + ",".join(1000 * ["0-"])),
    "COMP-LONG-URL-OK": lambda: get("/" + 7900 * "a", "X: y"),
    "SMUG-CL-LEADING-ZEROS-OCTAL": lambda: get("/", "Content-Length: 0200", "POST") + 200 * "A",
}


def get(target, fields, method="GET"):
    return f"{method} {target} HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n\r\n"


def llhttp(file):
    """(version, cases) of llhttp. A case that its strict parser reads is to be served; what only a lenient one reads, or
    none, is to be refused. Its requests mostly lack Host, which would be the one fault found: they get one."""
    suite = json.loads(file.read_text(encoding="utf-8"))
    cases = []
    for place, case in enumerate(suite["cases"]):
        lenient = "lenient" in case["meta"]["type"]
        fault = case["error"] and not case["error"].startswith("Pause")
        request = re.sub(r"(?m)^([A-Z-]+ [^\r\n]* HTTP/1\.[01]\r\n)(?![ \t])", r"\1Host: localhost\r\n", case["request"]) \
            if "host:" not in case["request"].lower() else case["request"]
        name = f"{place} {case['file'].rsplit('/', 1)[-1].removesuffix('.md')}: {case['title']}"
        # A case that is read has as many answers as requests.
        count = len(re.findall(r"(?m)^[A-Z-]+ [^ \r\n]+ HTTP/1\.[01]\r\n", request))
        wanted = {"4xx", "5xx", "refused"} if fault or lenient else {"2xx"} if count < 2 else {f"{count} times 2xx"}
        cases.append((name, raw(request), wanted))
    return "nodejs/llhttp, 2026-06-18", cases


def judge(suite, version, cases, gateways):
    """Sends all cases, some at a time."""
    shares = [cases[place :: len(gateways)] for place in range(len(gateways))]
    with concurrent.futures.ThreadPoolExecutor(len(gateways)) as pool:
        results = [one for share in pool.map(judge_share, gateways, shares) for one in share]
    other, unexplained, used = {}, [], set()
    for name, wanted, found, seen, broken in sorted(results):
        if broken:
            unexplained.append(f"{name}: BROKEN: {broken}")
        elif found not in wanted and f"{found[0]}xx" not in wanted:
            why = next((row for row in EXPLAINED if row[0] == suite and re.search(row[1], found) and re.match(row[2], name)), None)
            if why:
                used.add(why)
                other.setdefault(why[3], []).append(name)
            else:
                unexplained.append(f"{name}: wanted {sorted(wanted)}, found {found} {seen}")
    unexplained += [f"no case differs as {row[1:]}" for row in EXPLAINED if row[0] == suite and row not in used]
    return report(suite, version, len(cases), other, unexplained)


def judge_share(gateway, cases):
    return [(name, wanted, *send(gateway, name, request, wanted)) for name, request, wanted in cases]


def send(gateway, name, request, wanted):
    """What becomes of a case: (status of the last answer or `refused`, all of them, what must not happen)."""
    gateway.upstream.take()
    with gateway.connect() as client:
        try:
            client.sendall(request)
        except OSError:
            pass
        # A case without any answer waits for the rest of it, and is told so after 2 s.
        got, ended = read_all(client, QUIET)
        if not got and not ended:
            got, ended = read_all(client, 5)
    statuses = re.findall(rb"(?:^|(?<=[\r\n\x00-\xff]))HTTP/1\.1 ([2-5][0-9][0-9]) ", got)
    statuses = [status.decode() for status in statuses]
    requests, faults = gateway.upstream.take()
    seen = [f"{one['method']} {one['target']}" for one in requests]
    broken = None
    if faults:
        broken = f"the upstream got {faults}"
    elif len(requests) > sum(status[0] == "2" for status in statuses):
        broken = f"answered with {statuses}, but the upstream served {seen}"
    elif not serves(gateway):
        broken = "the next connection is not served"
    gateway.upstream.take()
    has, lacks = DETAILS.get(name, (None, None))
    whole = got + (b"ENDED" if ended else b"")
    if not broken and (has and not re.search(has, whole) or lacks and re.search(lacks, whole)):
        broken = f"not what {name} wants: {whole!r}"
    if any("times" in one for one in wanted):
        served = sum(status[0] == "2" for status in statuses)
        return f"{served} times 2xx", [statuses, seen], broken
    return (statuses[-1] if statuses else "refused"), [statuses, seen], broken


def serves(gateway):
    with gateway.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return read_all(client, 5)[0].startswith(b"HTTP/1.1 200 ")


# Where the gateway differs: the suite, the answer, the beginning of the name (both as regular expressions), and why.
PROBE, LLHTTP = "Http11Probe", "llhttp requests"
UNFINISHED = "the case ends before its request does: the answer is 408, and no upstream gets the whole of it"
ABSOLUTE = "the target names http or another host; what came over TLS is for https (RFC 9110 §7.4)"
NO_PIPELINING = "what is sent before the answer is not read, and the connection closes after the answer (docs/limits.md)"
FIRST_ALONE = "the first request is good and is answered; what follows on the connection is not read"
EMPTY_LINES = "servers differ in how many empty lines they ignore before a request (RFC 9112 §2.2 has a SHOULD)"
CONNECT = "CONNECT is never forwarded"
OTHER_PROTOCOL = "not a request of HTTP/1.0 or HTTP/1.1"
NOT_AN_ORIGIN = "its Host is not a host name, or not an origin of the listener"
LENGTH = "parsers differ about a Content-Length that has a tab before it, or white space after it"
EXPLAINED = [
    (PROBE, "400", "COMP-ABSOLUTE-FORM", ABSOLUTE),
    (PROBE, "200", "COMP-EXPECT-UNKNOWN", "417 is a MAY (RFC 9110 §10.1.1); the upstream decides"),
    (PROBE, "200", "COMP-GET-WITH-CL-BODY", "a body of GET may be refused and need not be (RFC 9110 §9.3.1); it is forwarded as one"),
    (PROBE, "400", "COMP-HTTP12-VERSION", "there is no HTTP/1.2; to process it as HTTP/1.1 is a SHOULD (RFC 9110 §2.5)"),
    (PROBE, "400", "COMP-OPTIONS-STAR", "`*` is the path of no route, and what no route names is refused"),
    (PROBE, "431", "MAL-LONG-METHOD", "431 says why: the head is too large"),
    (PROBE, "413", "MAL-POST-CL-HUGE-NO-BODY", "413 says why: the declared body is too large"),
    (PROBE, "200", "SMUG-CL0-BODY-POISON", FIRST_ALONE),
    (PROBE, "200", "SMUG-EXPECT-100-CL-DESYNC", FIRST_ALONE),
    (LLHTTP, "1 times", "1 connection|101 pipelining", NO_PIPELINING),
    (LLHTTP, "1 times|200", "2 conn|3 conn|68 lenient", FIRST_ALONE),
    (LLHTTP, "1 times|200", "4 conn|7 conn", "after the request the case has text of the page that it comes from, which is not read"),
    (LLHTTP, "408|0 times", "32 content|36 finish|37 finish|120 tr|126 tr|129 tr", UNFINISHED),
    (LLHTTP, "400", "26 content|27 content", LENGTH),
    (LLHTTP, "400", "110 sample|116 sample", EMPTY_LINES),
    (LLHTTP, "400", "111 sample|83 method|84 method|85 method|86 method", OTHER_PROTOCOL),
    (LLHTTP, "400", "139 tr|140 tr", "`chunked` alone is a transfer coding here (RFC 9112 §6.1)"),
    (LLHTTP, "400", "73 method|74 method|75 method|159 uri", CONNECT),
    (LLHTTP, "400|421", "76 method|104 sample|105 sample", NOT_AN_ORIGIN),
    (LLHTTP, "400", "151 uri", "RFC 3986 §3.3 has no quotation mark in a path"),
    (LLHTTP, "400", "153 uri|154 uri|156 uri|160 uri", ABSOLUTE),
    (LLHTTP, "400", "158 uri", "a target has no fragment (RFC 9112 §3.2)"),
]

if __name__ == "__main__":
    main()
