"""Signs and verifies HTTP messages with http-message-signatures, in lines of JSON; messages.mjs has what they are."""

import datetime
import json
import sys
from types import SimpleNamespace

from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms

ALGORITHMS = {
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "ed25519": algorithms.ED25519,
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
}


def message(question):
    fields = {}
    for name, value in question["headers"]:
        fields[name.lower()] = ", ".join(filter(None, (fields.get(name.lower()), value)))
    if "method" in question:
        return SimpleNamespace(method=question["method"], url=question["url"], headers=fields)
    return SimpleNamespace(status_code=question["status"], headers=fields, request=message(question["request"]))


def ahead(question):
    return datetime.timedelta(seconds=question.get("ahead", 0))


def content(question):
    return question["body"].encode() if question.get("body") else None


def sign(question):
    unsigned = message(question)
    keys = MappingKeyResolver(public_keys={}, private_keys={question["key_id"]: question["key"].encode()})
    signer = HTTPMessageSigner(signature_algorithm=ALGORITHMS[question["algorithm"]], key_resolver=keys)
    signer.sign(
        unsigned,
        key_id=question["key_id"],
        label="theirs",
        created=datetime.datetime.now() + ahead(question),
        tag=question["tag"],
        include_alg=question["name_algorithm"],
        covered_component_ids=question["components"],
        body=content(question),
    )
    return {"headers": list(unsigned.headers.items())}


def verify(question):
    keys = MappingKeyResolver(public_keys={question["key_id"]: question["key"].encode()}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=ALGORITHMS[question["algorithm"]], key_resolver=keys)
    verifier.max_clock_skew += ahead(question)
    results = verifier.verify(
        message(question),
        expect_tag=question["tag"],
        require_components=question["components"],
        body=content(question),
    )
    return {"ok": len(results) == 1}


def main():
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = sign(question) if question["do"] == "sign" else verify(question)
        except Exception as error:  # whatever the library raises, the test judges
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
