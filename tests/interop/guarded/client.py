"""Applications built on requests-oauth2client and on Authlib, which log a user in and refresh what they get.

    python client.py CONFIGURATION

The configuration is JSON:

    issuer                        of the authorization server
    resource                      the resource indicator for which access tokens are JWTs
    keys                          PEM files, by client: its private key for assertions, of ES256
    certificate, certificate_key  PEM files, of the client that binds its tokens to a certificate

Writes a line of JSON for each library: its name, the `iss` of the authorization response, and for the first answer of the
token endpoint and the refreshed one: token_type, format (opaque or jwt) and cnf (its members, of a JWT). No line contains a
token.
"""

import base64
import json
import re
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from jwskate import Jwk
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

CALLBACK = "https://client.example/callback"
# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def by_requests_oauth2client(configuration):
    """`private_key_jwt`, and tokens that are bound to a key."""
    issuer, key = configuration["issuer"], Jwk.from_pem(read(configuration["keys"]["dpop-client"]))
    key = Jwk({**key, "kid": "dpop-client"})
    authentication = PrivateKeyJwt("dpop-client", key, alg="ES256", aud=issuer)
    client = OAuth2Client.from_discovery_endpoint(
        issuer=issuer, auth=authentication, redirect_uri=CALLBACK, dpop_bound_access_tokens=True
    )
    asked = client.authorization_request(scope="openid accounts", resource=configuration["resource"])
    pushed = client.pushed_authorization_request(asked)
    back = browse(pushed.uri)
    response = asked.validate_callback(back)
    # With a key for proofs, its validation of the ID token fails on its own.
    first = client.authorization_code(response, validate=False, resource=configuration["resource"])
    refreshed = client.refresh_token(first, resource=configuration["resource"])
    return back, first.as_dict(), refreshed.as_dict()


def by_authlib(configuration):
    """`private_key_jwt`, and tokens that are bound to a certificate."""
    issuer, resource = configuration["issuer"], configuration["resource"]
    session = OAuth2Session(
        "bound-client",
        ECKey.import_key(read(configuration["keys"]["bound-client"])),
        token_endpoint_auth_method="private_key_jwt",
        redirect_uri=CALLBACK,
        scope="accounts",
        code_challenge_method="S256",
    )
    # Its parameter names the token endpoint, and is the audience.
    session.register_client_auth_method(PrivateKeyJWT(issuer, alg="ES256"))
    session.cert = (configuration["certificate"], configuration["certificate_key"])
    metadata = session.get(f"{issuer}/.well-known/oauth-authorization-server", withhold_token=True).json()
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=VERIFIER, resource=resource
    )
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    pushed = session.post(
        metadata["pushed_authorization_request_endpoint"],
        data=parameters,
        auth=session.client_auth("private_key_jwt"),
        withhold_token=True,
    )
    pushed.raise_for_status()
    reference = {"client_id": "bound-client", "request_uri": pushed.json()["request_uri"]}
    back = browse(requests.Request("GET", metadata["authorization_endpoint"], params=reference).prepare().url)
    token_endpoint = metadata["token_endpoint"]
    first = session.fetch_token(
        token_endpoint, authorization_response=back, state=state, code_verifier=VERIFIER, resource=resource
    )
    refreshed = session.refresh_token(token_endpoint, first["refresh_token"], resource=resource)
    return back, first, refreshed


def browse(url):
    """The browser: follows redirects, with cookies, and fills in each form, until it is sent back to the client."""
    session, form = requests.Session(), None
    for _ in range(10):
        if url.startswith(CALLBACK):
            return url
        method = "POST" if form else "GET"
        response = session.request(method, url, data=form, allow_redirects=False)
        response.raise_for_status()
        action = re.search(r'<form method="post" action="([^"]*)">', response.text)
        location = response.headers.get("location")
        form = None if location else {"name": "alice"}
        url = urljoin(url, location or action[1])
    raise RuntimeError("the authorization server sends the browser in circles")


def shown(answer):
    parts = answer["access_token"].split(".")
    if len(parts) != 3:
        return {"token_type": answer["token_type"].lower(), "format": "opaque"}
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    return {"token_type": answer["token_type"].lower(), "format": "jwt", "cnf": list(claims["cnf"])}


def read(file):
    with open(file, encoding="ascii") as opened:
        return opened.read()


def main():
    configuration = json.loads(sys.argv[1])
    for library in (by_requests_oauth2client, by_authlib):
        back, first, refreshed = library(configuration)
        iss = parse_qs(urlsplit(back).query)["iss"][0]
        line = {"library": library.__name__[3:], "iss": iss, "first": shown(first), "refreshed": shown(refreshed)}
        print(json.dumps(line), flush=True)


main()
