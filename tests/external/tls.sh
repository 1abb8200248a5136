#!/usr/bin/env bash
# The gateway's TLS and HTTP as programs of other makers see it: openssl, curl, nghttp, h2load and testssl.sh, against
# `fapi-gateway demo` on loopback. Takes the program as its argument; says each check, and fails at the first that fails.
set -euo pipefail

readonly PROGRAM=${1:?the path of fapi-gateway}
readonly WAIT=20 SCAN=240 # seconds

missing=()
for tool in openssl curl nghttp h2load testssl python3 timeout; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]} > 0)); then
    printf 'missing: %s; ./test installs what the tests need\n' "${missing[*]}" >&2
    exit 1
fi

folder=$(mktemp -d)
"$PROGRAM" demo >"$folder/demo" 2>&1 &
demo=$!
end() {
    kill "$demo" 2>/dev/null || true
    wait "$demo" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT

for ((tenths = 0; tenths < 10 * WAIT; tenths++)); do
    if grep -q 'Ctrl-C stops the demo' "$folder/demo"; then break; fi
    if ! kill -0 "$demo" 2>/dev/null; then
        cat "$folder/demo" >&2
        exit 1
    fi
    sleep 0.1
done
origin=$(sed -n 's,^The gateway keeps serving \(https://localhost:[0-9]*\) with .*,\1,p' "$folder/demo")
files=$(sed -n 's,^cd \(/.*\),\1,p' "$folder/demo")
if [[ -z $origin || -z $files ]]; then
    echo "the demo did not say where it serves" >&2
    exit 1
fi
address=127.0.0.1:${origin##*:}

failed() { # WHAT OUTPUT
    printf 'FAILED: %s\n%s\n' "$1" "$2" >&2
    exit 1
}

said() { # WHAT PATTERN OUTPUT
    grep -qE -- "$2" <<<"$3" || failed "$1" "$3"
    printf 'ok: %s\n' "$1"
}

not_said() { # WHAT PATTERN OUTPUT
    if grep -qE -- "$2" <<<"$3"; then failed "$1" "$3"; fi
    printf 'ok: %s\n' "$1"
}

# One handshake; its status is not that of what it agreed on, so the output is what is looked at.
handshake() { # OPTION...
    timeout "$WAIT" openssl s_client -connect "$address" -servername localhost -CAfile "$files/ca.pem" "$@" <<<Q 2>&1 || true
}

# What is agreed on (RFC 9325 §3.1, §4.2).
said "TLS 1.3" '^New, TLSv1.3, ' "$(handshake -tls1_3)"
said "TLS 1.3 comes first" '^New, TLSv1.3, ' "$(handshake)"
said "its certificate is good" 'Verify return code: 0 \(ok\)' "$(handshake)"
for suite in ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384; do
    said "TLS 1.2 with $suite" "^New, TLSv1.2, Cipher is $suite" "$(handshake -tls1_2 -cipher "$suite")"
done

# What is not: the alert says why, and no cipher was agreed on.
for version in -tls1 -tls1_1; do
    output=$(handshake "$version" -cipher 'ALL:@SECLEVEL=0')
    said "no TLS with $version" 'alert (protocol version|handshake failure)' "$output"
    said "no TLS with $version: no cipher" 'Cipher is \(NONE\)' "$output"
done
for suite in ECDHE-ECDSA-AES128-SHA256 ECDHE-ECDSA-AES256-SHA ECDHE-ECDSA-AES128-CCM ECDHE-ECDSA-CHACHA20-POLY1305 \
    DHE-RSA-AES128-GCM-SHA256 AES128-GCM-SHA256 AES256-SHA256 AES128-SHA ADH-AES128-GCM-SHA256 ECDHE-ECDSA-NULL-SHA; do
    said "TLS 1.2 without $suite" 'alert handshake failure' "$(handshake -tls1_2 -cipher "$suite:@SECLEVEL=0")"
done

# RFC 9325 §3.3, §3.5, §3.7, §3.8.
output=$(handshake -tls1_2)
said "no compression" '^Compression: NONE' "$output"
said "renegotiation is secure" 'Secure Renegotiation IS supported' "$output"
said "extended master secret" 'Extended master secret: yes' "$output"
output=$( (
    echo R
    sleep 1
) | timeout "$WAIT" openssl s_client -connect "$address" -servername localhost -tls1_2 2>&1 || true)
said "a client that asks to renegotiate" '^RENEGOTIATING' "$output"
not_said "is not renegotiated with" '^(verify|depth|Server certificate)' "$(sed -n '/^RENEGOTIATING/,$p' <<<"$output")"
said "another name" 'unrecognized name' "$(handshake -servername nope.example)"
said "another protocol" 'no application protocol' "$(handshake -alpn foo)"
said "h2 comes first" '^ALPN protocol: h2' "$(handshake -alpn h2,http/1.1)"
for version in -tls1_2 -tls1_3; do
    not_said "no resumption with $version" '^Reused' "$(handshake "$version" -reconnect)"
done
not_said "no early data" 'Max Early Data: [1-9]' "$(handshake -tls1_3)"

# HTTP, by clients that were not made for it.
for version in --http1.1 --http2; do
    call=(curl --silent --show-error --max-time "$WAIT" "$version" --cacert "$files/ca.pem" --output /dev/null
        --write-out '%{http_code} %{http_version}')
    identity=(--cert "$files/client.pem" --key "$files/client-key.pem")
    number=${version#--http}
    said "curl $version: a public route" "^200 $number" "$("${call[@]}" "$origin/health")"
    said "curl $version: no token" "^401 $number" "$("${call[@]}" "${identity[@]}" "$origin/accounts")"
    token="Authorization: Bearer $(<"$files/token")"
    # The header comes from a file, so that the token stands in no list of processes.
    said "curl $version: certificate and token" "^200 $number" \
        "$("${call[@]}" "${identity[@]}" --header @- "$origin/accounts" <<<"$token")"
    said "curl $version: the token alone" "^401 $number" "$("${call[@]}" --header @- "$origin/accounts" <<<"$token")"
done
said "nghttp" ':status: 200' "$(timeout "$WAIT" nghttp --verbose --null-out "$origin/health" 2>&1)"
said "h2load: 400 requests, 10 streams, 4 connections" '400 succeeded, 0 failed, 0 errored, 0 timeout' \
    "$(timeout "$WAIT" h2load --requests=400 --clients=4 --max-concurrent-streams=10 "$origin/health" 2>&1)"
said "h2load over HTTP/1.1: 100 requests" '100 succeeded, 0 failed, 0 errored, 0 timeout' \
    "$(timeout "$WAIT" h2load --h1 --requests=100 --clients=4 "$origin/health" 2>&1)"

# testssl.sh: protocols, ciphers, forward secrecy, known vulnerabilities; without a word to the outside.
timeout "$SCAN" testssl --quiet --color 0 --nodns none --warnings batch --ip 127.0.0.1 --connect-timeout 5 \
    --openssl-timeout 5 --add-ca "$files/ca.pem" --fast --protocols --std --fs --vulnerable \
    --jsonfile "$folder/findings" "$origin" </dev/null >"$folder/testssl" 2>&1 || {
    cat "$folder/testssl" >&2
    exit 1
}
python3 - "$folder/findings" <<'PYTHON'
import json
import sys

findings = json.load(open(sys.argv[1], encoding="utf-8"))
by_id = {finding["id"]: finding for finding in findings}
# A scan that did not come so far has found nothing either.
for done in ["TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "heartbleed", "CCS", "ROBOT", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "LUCKY13"]:
    if done not in by_id:
        sys.exit(f"testssl.sh did not look at {done}: {sorted(by_id)}")
for finding in findings:
    if finding["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"):
        sys.exit(f"testssl.sh: {finding['severity']} {finding['id']}: {finding['finding']}")
    print(f"testssl.sh: {finding['severity']} {finding['id']}: {finding['finding']}")
print(f"ok: testssl.sh has {len(findings)} findings, none of which is a fault")
PYTHON
