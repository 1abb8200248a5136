//! Routes in an ecosystem: the header fields that it prescribes, and how it tells of a refusal (UK-12, BR-01, AU-05, BG-07, UAE-03).

use std::collections::BTreeSet;

use bytes::Bytes;
use fapi::code::Code;
use fapi::participant::Role;
use http::{Request, Response, header};
use serde_json::{Value, json};

use crate::support::participant::{brazilian, provider};
use crate::support::{ORIGIN, World};

/// The codes whose cases are here.
pub(super) fn codes() -> BTreeSet<Code> {
    let of_certificates =
        [Code::CertificateKindRefused, Code::CertificateRoleRefused, Code::CertificateOrganisationRefused];
    let of_types = [Code::MediaTypeUnsupported, Code::NotAcceptable];
    [Code::HeaderMissing, Code::HeaderInvalid, Code::VersionInvalid, Code::VersionUnsupported]
        .into_iter()
        .chain(of_types)
        .chain(of_certificates)
        .collect()
}

const UUID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";
const DATE: &str = "Tue, 11 Sep 2012 19:43:31 GMT";

/// An id that no other request has.
fn fresh_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The fields that some ecosystem needs.
fn base(id: &str) -> [(&'static str, &str); 4] {
    [("x-request-id", id), ("x-fapi-interaction-id", id), ("x-v", "1"), ("x-fapi-auth-date", DATE)]
}

/// A world in an ecosystem, with a client whose certificate is of the kind that the ecosystem asks for.
async fn world(ecosystem: &str) -> World {
    world_with(ecosystem, "").await
}

/// The same, whose route says more.
async fn world_with(ecosystem: &str, more: &str) -> World {
    let profile = format!("profile: {{ base: fapi2-security, ecosystem: {ecosystem} }}\n");
    let world = World::with(|scene| {
        scene
            .replace("profile: fapi2-security\n", &profile)
            .replace("    scopes: [accounts]\n", &format!("{more}    scopes: [accounts]\n"))
    });
    of_participant(world.await, ecosystem)
}

/// The world with a client that has a certificate of the kind that this ecosystem asks for.
pub(super) fn of_participant(mut world: World, ecosystem: &str) -> World {
    world.c1 = match ecosystem {
        "brazil" => world.authority.client_with("client-1", brazilian(UUID, UUID)),
        _ => world.authority.client_with("client-1", provider("PSDDE-BAFIN-123456", &[Role::AccountInformation])),
    };
    world
}

fn call(token: Option<&str>, path: &str, fields: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::get(format!("{ORIGIN}{path}"));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).unwrap()
}

/// The response to a call with a good token and these fields, and the code of its record.
async fn called(world: &World, fields: &[(&str, &str)]) -> (Response<Bytes>, String) {
    let token = world.sign(&world.token());
    let before = world.accounts.server().heads();
    let response = world.client().send(call(Some(&token), "/accounts", fields)).await.unwrap();
    let code = world.gateway.record_of(&response)["code"].as_str().unwrap().to_owned();
    let reached = world.accounts.server().heads() > before;
    assert_eq!(reached, code == "ok", "{code}");
    (response, code)
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn br_01_a_request_without_an_interaction_id_is_refused_with_one() {
    let world = world("brazil").await;
    let (response, code) = called(&world, &[("x-fapi-interaction-id", UUID)]).await;
    assert_eq!((response.status().as_u16(), &*code), (200, "ok"), "control");
    assert_eq!(response.headers()["x-fapi-interaction-id"], UUID);
    for (fields, expected) in [(&[][..], "header_missing"), (&[("x-fapi-interaction-id", "1")], "header_invalid")] {
        let (response, code) = called(&world, fields).await;
        assert_eq!((response.status().as_u16(), &*code), (400, expected));
        assert_eq!(response.headers()["x-fapi-interaction-id"].len(), 36);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json; charset=utf-8");
        let body = body(&response);
        assert_eq!(body["errors"][0]["code"], "BAD_REQUEST");
        assert!(body["meta"]["requestDateTime"].as_str().unwrap().len() == "2027-01-01T00:00:00Z".len(), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn au_05_a_version_is_a_positive_number() {
    let world = world("cdr").await;
    let with = |version: &'static str| [("x-v", version), ("x-fapi-auth-date", DATE)];
    assert_eq!(called(&world, &with("3")).await.1, "ok", "control");
    let (response, code) = called(&world, &with("foo")).await;
    assert_eq!((response.status().as_u16(), &*code), (400, "version_invalid"));
    assert_eq!(body(&response)["errors"][0]["code"], "urn:au-cds:error:cds-all:Header/InvalidVersion");
    let (response, _) = called(&world, &[("x-fapi-auth-date", DATE)]).await;
    assert_eq!(body(&response)["errors"][0]["code"], "urn:au-cds:error:cds-all:Header/Missing");
    // AU-07: where there is no route, too.
    let token = world.sign(&world.token());
    let response = world.client().send(call(Some(&token), "/nothing", &[])).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(body(&response)["errors"][0]["code"], "urn:au-cds:error:cds-all:Resource/NotFound");
    assert!(response.headers().contains_key("x-fapi-interaction-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn au_05_one_of_the_versions_of_the_route_is_one_that_the_request_understands() {
    let world = world_with("cdr", "    versions: [3, 4]\n").await;
    for (most, least, good) in [
        ("3", None, true),
        ("4", None, true),
        ("5", Some("4"), true),
        ("3", Some("9"), true),
        ("5", None, false),
        ("2", Some("1"), false),
        ("9", Some("5"), false),
    ] {
        let fields = [("x-v", Some(most)), ("x-fapi-auth-date", Some(DATE)), ("x-min-v", least)];
        let fields: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let (response, code) = called(&world, &fields).await;
        if good {
            assert_eq!(code, "ok", "{most} {least:?}");
            continue;
        }
        assert_eq!((response.status().as_u16(), &*code), (406, "version_unsupported"), "{most} {least:?}");
        assert_eq!(body(&response)["errors"][0]["code"], "urn:au-cds:error:cds-all:Header/UnsupportedVersion");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_04_au_10_bg_12_content_and_answers_have_media_types_of_the_ecosystem_or_of_the_route() {
    for (ecosystem, more, also) in [
        ("uk-obie-4.0", "", Some("application/jose+jwe")),
        ("cdr", "", None),
        ("brazil", "", Some("application/jwt")),
        ("berlin-group", "", Some("application/xml")),
        ("uk-obie-3.1", "    media_types: { requests: [text/csv], responses: [text/csv] }\n", Some("text/csv")),
    ] {
        let world = world_with(ecosystem, more).await;
        let json = if more.is_empty() { "application/json" } else { "text/csv" };
        let accepting = async |accept: &str| {
            let id = fresh_uuid();
            let fields: Vec<_> = base(&id).into_iter().chain([("accept", accept)]).collect();
            let (response, code) = called(&world, &fields).await;
            (response.status().as_u16(), code)
        };
        for accept in [json, &*json.to_uppercase(), "*/*", "text/html, */*;q=0.1"].into_iter().chain(also) {
            assert_eq!(accepting(accept).await, (200, "ok".to_owned()), "{ecosystem} {accept}");
        }
        for accept in ["text/html", &*format!("{json};q=0"), "image/*"] {
            assert_eq!(accepting(accept).await, (406, "not_acceptable".to_owned()), "{ecosystem} {accept}");
        }
        let token = world.sign(&world.token());
        for client in [world.client().h1(), world.client().h2()] {
            let posted = async |content_type: Option<&str>| {
                let id = fresh_uuid();
                let types = content_type.map(|content_type| ("content-type", content_type));
                let fields: Vec<_> = base(&id).into_iter().chain(types).collect();
                let mut request = call(Some(&token), "/accounts/1001", &fields);
                *request.method_mut() = http::Method::POST;
                *request.body_mut() = "{}".into();
                let response = client.send(request).await.unwrap();
                let record = world.gateway.record_of(&response);
                (response.status().as_u16(), record["code"].as_str().unwrap().to_owned())
            };
            let utf8 = format!("{};Charset=uTf-8", json.to_uppercase());
            for content_type in [json, &*utf8].into_iter().chain(also) {
                assert_eq!(posted(Some(content_type)).await.1, "ok", "{ecosystem} {content_type}");
            }
            for content_type in
                [None, Some("text/xml"), Some("application/x-unknown"), Some(&*format!("{json}; charset=utf-16"))]
            {
                let judged = posted(content_type).await;
                assert_eq!(judged, (415, "media_type_unsupported".to_owned()), "{ecosystem} {content_type:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn br_05_au_14_a_token_lives_no_longer_than_the_ecosystem_says_or_the_route() {
    for (ecosystem, more, longest) in [
        ("brazil", "", 900),
        ("cdr", "", 600),
        ("brazil", "    require: { token_lifetime: 2h }\n", 900),
        ("cdr", "    require: { token_lifetime: 5m }\n", 300),
    ] {
        let world = world_with(ecosystem, more).await;
        let judged = async |lifetime: u64| {
            let now = world.clock.now();
            let token = world.sign(&world.token().claim("iat", now).expires_at(now + lifetime));
            let response = world.client().send(call(Some(&token), "/accounts", &base(&fresh_uuid()))).await.unwrap();
            world.gateway.record_of(&response)["code"].as_str().unwrap().to_owned()
        };
        assert_eq!(judged(longest).await, "ok", "{ecosystem} {more}");
        assert_eq!(judged(60).await, "ok", "the least time is left to the issuer");
        assert_eq!(judged(longest + 1).await, "token_lifetime_exceeded", "{ecosystem} {more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_07_nothing_of_a_request_is_repeated_but_a_uuid() {
    let world = world("berlin-group").await;
    let token = world.sign(&world.token());
    let answer = async |id: &str| {
        let request = format!(
            "GET /nothing HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nX-Request-ID: {id}\r\nx-fapi-interaction-id: {id}\r\n\r\n"
        );
        String::from_utf8_lossy(&world.client().raw(request.as_bytes()).await).into_owned()
    };
    let good = answer(UUID).await.to_ascii_lowercase();
    assert!(good.contains(&format!("x-fapi-interaction-id: {UUID}\r\n")), "control: {good}");
    for id in [
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\r\n injected: 1",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\rinjected: 1",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\ninjected: 1",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\0injected",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a%0d%0ainjected: 1",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\u{560d}\u{560a}injected: 1",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a, injected",
        "c770aef3-6784-41f7-8e0e-ff5f97bddb3a\tinjected",
        "injected",
    ] {
        let answer = answer(id).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("injected"), "{id:?}: {answer}");
    }
    // The line that it adds is one of the request, and comes back no more than any other.
    let answer = answer(&format!("{UUID}\r\ninjected: 1")).await;
    assert!(!answer.contains("injected"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_07_bg_09_a_response_repeats_the_id_and_a_refusal_has_its_challenge() {
    let world = world("berlin-group").await;
    let (response, code) = called(&world, &[("x-request-id", UUID)]).await;
    assert_eq!(code, "ok", "control");
    let ids: Vec<_> = response.headers().get_all("x-request-id").iter().collect();
    assert_eq!(ids, [UUID]);
    let (response, _) = called(&world, &[]).await;
    assert_eq!((response.status().as_u16(), &body(&response)["tppMessages"][0]["code"]), (400, &json!("FORMAT_ERROR")));
    assert_eq!(response.headers().get("x-request-id"), None);
    let response = world.client().send(call(Some("a.b.c"), "/accounts", &[("x-request-id", UUID)])).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-request-id"]), (401, &UUID.parse().unwrap()));
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(body(&response)["tppMessages"][0]["category"], "ERROR");
    // The id is of the ecosystem, and not of its errors.
    let profile = "profile: { base: fapi2-security, ecosystem: berlin-group }\nerrors: problem\n";
    let world = World::with(|scene| scene.replace("profile: fapi2-security\n", profile)).await;
    let response = world.client().send(call(Some("a.b.c"), "/accounts", &[("x-request-id", UUID)])).await.unwrap();
    assert_eq!(
        (body(&response)["status"].as_u64(), &response.headers()["x-request-id"]),
        (Some(401), &UUID.parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_13_uae_03_some_refusals_have_no_body() {
    for (ecosystem, expired) in [("uk-obie-3.1", false), ("uk-obie-4.0", true), ("uae", false)] {
        let world = world(ecosystem).await;
        assert_eq!(called(&world, &[]).await.1, "ok", "control");
        for client in [world.client().h1(), world.client().h2()] {
            let old = world.sign(&world.issuer.token(world.clock.now() - 3600).bound_to_certificate(&world.c1));
            for (token, code, has_body) in [
                (None, "credentials_missing", false),
                (Some("a.b.c"), "token_malformed", false),
                (Some(&*old), "token_expired", expired),
            ] {
                let response = client.send(call(token, "/accounts", &[])).await.unwrap();
                let record = world.gateway.record_of(&response);
                assert_eq!((response.status().as_u16(), &record["code"]), (401, &json!(code)), "{ecosystem}");
                let (headers, length) = (response.headers(), response.body().len());
                assert!(
                    headers.contains_key(header::WWW_AUTHENTICATE) && headers.contains_key("x-fapi-interaction-id")
                );
                assert_eq!(
                    (length > 0, headers.contains_key(header::CONTENT_TYPE)),
                    (has_body, has_body),
                    "{ecosystem} {code}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_of_a_listener_have_its_ecosystem_and_so_have_its_refusals_without_a_route() {
    let world = World::with(|scene| {
        scene
            .replace(
                "admin: {",
                "  - address: 127.0.0.1:0\n    origins: [\"https://smart.example\"]\n    tls: { certificate: server.pem, private_key: server-key.pem, client_certificates: { mode: optional, trust_anchors: [ca.pem] } }\n    profile: { ecosystem: smart }\nadmin: {",
            )
            .replace("    tls:\n      certificate", "    profile: { ecosystem: connectid }\n    tls:\n      certificate")
            .replace("  - name: accounts\n", "  - name: accounts\n    hosts: [localhost]\n")
            .replace("  - name: payments\n", "  - name: payments\n    profile: { ecosystem: fdx }\n")
    })
    .await;
    let (response, code) = called(&world, &[]).await;
    assert_eq!((response.status().as_u16(), &*code), (400, "header_missing"));
    assert_eq!(called(&world, &[("x-fapi-interaction-id", UUID)]).await.1, "ok", "control");
    let world = World::with(|scene| {
        scene.replace("    tls:\n      certificate", "    profile: { ecosystem: fdx }\n    tls:\n      certificate")
    })
    .await;
    let token = world.sign(&world.token());
    let response = world.client().send(call(Some(&token), "/nothing", &[])).await.unwrap();
    assert_eq!((response.status().as_u16(), &body(&response)["code"]), (404, &json!("404")));
    assert_eq!(called(&world, &[]).await.1, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_has_an_ecosystem_of_its_own_and_another_form_of_errors_where_it_says_so() {
    let world = World::with(|scene| {
        scene
            .replace(
                "    scopes: [accounts]\n",
                "    profile: { ecosystem: connectid }\n    scopes: [accounts]\n",
            )
            .append(
                "  - { name: own, path: /own, methods: [GET], scopes: [accounts], profile: { ecosystem: smart }, errors: problem, upstream: accounts }\n",
            )
    })
    .await;
    let (response, code) = called(&world, &[]).await;
    assert_eq!((response.status().as_u16(), &*code), (400, "header_missing"));
    assert_eq!(body(&response)["error"], "bad_request", "it has no form of its own");
    assert_eq!(called(&world, &[("x-fapi-interaction-id", UUID)]).await.1, "ok", "control");
    let response = world.client().send(call(None, "/own", &[])).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}
