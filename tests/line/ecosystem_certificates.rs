//! Routes in an ecosystem that asks what the certificate of a client says (UK-16, BR-07 to BR-10, BG-01 to BG-06, BG-13).

use bytes::Bytes;
use fapi::participant::Role;
use http::{Request, Response, header};
use rcgen::ExtendedKeyUsagePurpose;
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::AccessToken;
use serde_json::{Value, json};

use crate::support::client::{Client, now};
use crate::support::participant::{SEAL, WEB, brazilian, compliance, kind, provider, psd2, qualified};
use crate::support::{ORIGIN, Scene, World, day, dpop_request};

const PROVIDER: &str = "PSDDE-BAFIN-123456";
const ORGANIZATION: &str = "74e929d9-33b6-4d85-8ba7-c146c867a817";
const SOFTWARE: &str = "10120340-3318-4baf-99e2-0b56729c4ab2";
const UUID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";

async fn world(ecosystem: &str, adjust: impl FnOnce(Scene) -> Scene) -> World {
    let profile = format!("profile: {{ base: fapi2-security, ecosystem: {ecosystem} }}\n");
    World::with(|scene| adjust(scene.replace("profile: fapi2-security\n", &profile))).await
}

/// Requires this of certificates on the route `accounts`.
fn requiring(needs: &'static str) -> impl FnOnce(Scene) -> Scene {
    let scopes = "    scopes: [accounts]\n";
    move |scene| scene.replace(scopes, &format!("{scopes}    require: {{ certificate: {needs} }}\n"))
}

fn call(method: &str, path: &str, token: &str) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(format!("{ORIGIN}{path}"));
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).header("x-request-id", UUID);
    request.header("x-fapi-interaction-id", uuid::Uuid::new_v4().to_string()).body(Bytes::new()).unwrap()
}

fn client(world: &World, certificate: &Credential) -> Client {
    world.anonymous().certificate(certificate)
}

/// The response to a call with a token that is bound to this certificate, and the code of its record.
async fn called(
    world: &World,
    certificate: &Credential,
    (method, path): (&str, &str),
    of_token: impl FnOnce(AccessToken) -> AccessToken,
) -> (Response<Bytes>, String) {
    let token = of_token(world.issuer.token(world.clock.now()).bound_to_certificate(certificate));
    let before = world.accounts.server().heads();
    let call = call(method, path, &world.sign(&token));
    let response = client(world, certificate).send(call).await.unwrap();
    let code = world.gateway.record_of(&response)["code"].as_str().unwrap().to_owned();
    assert_eq!(world.accounts.server().heads() > before, code == "ok", "{code}");
    (response, code)
}

async fn read(world: &World, certificate: &Credential) -> (Response<Bytes>, String) {
    called(world, certificate, ("GET", "/accounts"), |token| token).await
}

fn message(response: &Response<Bytes>) -> Value {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {response:?}"));
    body["tppMessages"][0]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_01_bg_05_a_client_comes_with_a_qualified_certificate_for_web_sites() {
    let world = world("berlin-group", |scene| scene).await;
    let of = |statements: &[Vec<u8>]| world.authority.client_with("tpp", qualified(PROVIDER, statements));
    let roles = psd2(&[(3, "PSP_AI")]);
    let good = of(&[compliance(), kind(WEB), roles.clone()]);
    assert_eq!(read(&world, &good).await.1, "ok", "control");
    for (what, certificate) in [
        ("an ordinary certificate", world.authority.client("tpp")),
        ("a seal", of(&[compliance(), kind(SEAL), roles.clone()])),
        ("no QcCompliance", of(&[kind(WEB), roles.clone()])),
        ("no QcType", of(&[compliance(), roles.clone()])),
        ("no statement of PSD2", of(&[compliance(), kind(WEB)])),
        ("two statements of PSD2", of(&[compliance(), kind(WEB), roles.clone(), roles.clone()])),
        ("an unknown role", of(&[compliance(), kind(WEB), psd2(&[(3, "PSP_AI"), (9, "PSP_XX")])])),
        ("swapped roles", of(&[compliance(), kind(WEB), psd2(&[(2, "PSP_AI"), (3, "PSP_PI")])])),
        ("no role", of(&[compliance(), kind(WEB), psd2(&[])])),
        (
            "another authority",
            world.authority.client_with("tpp", provider("PSDFR-ACPR-123456", &[Role::AccountInformation])),
        ),
        ("no provider", world.authority.client_with("tpp", provider("VATDE-1", &[Role::AccountInformation]))),
    ] {
        let (response, code) = read(&world, &certificate).await;
        assert_eq!((response.status().as_u16(), &*code), (401, "certificate_kind_refused"), "{what}");
        assert_eq!(message(&response), "CERTIFICATE_INVALID", "{what}");
        assert_eq!(response.headers()["x-request-id"], UUID);
        let challenges: Vec<_> = response.headers().get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert!(challenges.len() == 2 && challenges.iter().all(|line| !line.to_str().unwrap().contains("error=")));
    }
    // BG-06: what the authority of the certificate says of it is judged in the handshake.
    let unknown = Authority::new("Other CA").client_with("tpp", provider(PROVIDER, &[Role::AccountInformation]));
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&unknown));
    assert!(client(&world, &unknown).send(call("GET", "/accounts", &token)).await.is_err(), "no handshake");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_03_the_role_of_the_certificate_is_that_of_the_service() {
    let routes = r#"  - { name: funds, path: /v1/funds-confirmations, methods: [POST], scopes: [accounts], upstream: accounts }
  - { name: own, path: /v1/own, methods: [GET], scopes: [accounts], require: { certificate: { roles: [PSP_AS, PSP_IC] } }, upstream: accounts }
"#;
    let world = world("berlin-group", |scene| scene.append(routes)).await;
    let of = |role| world.authority.client_with("tpp", provider(PROVIDER, &[role]));
    let services =
        [("GET", "/accounts/1"), ("POST", "/payments"), ("POST", "/v1/funds-confirmations"), ("GET", "/v1/own")];
    for (role, passes) in [
        (Role::AccountInformation, [true, false, false, false]),
        (Role::PaymentInitiation, [false, true, false, false]),
        (Role::CardIssuing, [false, false, true, true]),
        (Role::AccountServicing, [false, false, false, true]),
    ] {
        let certificate = of(role);
        for (service, passes) in services.into_iter().zip(passes) {
            let (response, code) = called(&world, &certificate, service, |token| token).await;
            let expected = if passes { "ok" } else { "certificate_role_refused" };
            assert_eq!(code, expected, "{role} {service:?}");
            if !passes {
                assert_eq!((response.status().as_u16(), message(&response)), (401, json!("ROLE_INVALID")));
            }
        }
    }
    // The certificate is judged before the scopes.
    let without = |token: AccessToken| token.without("scope");
    let right = called(&world, &of(Role::AccountInformation), ("GET", "/accounts"), without).await;
    let wrong = called(&world, &of(Role::CardIssuing), ("GET", "/accounts"), without).await;
    assert_eq!((&*right.1, &*wrong.1), ("scope_insufficient", "certificate_role_refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_04_the_organisation_of_the_certificate_is_that_of_the_token() {
    let world = world("berlin-group", requiring("{ organisation: { claim: /tpp/id } }")).await;
    let certificate = world.authority.client_with("tpp", provider(PROVIDER, &[Role::AccountInformation]));
    let with = |id: Value| move |token: AccessToken| token.claim("tpp", json!({ "id": id }));
    let called = async |id: Value| called(&world, &certificate, ("GET", "/accounts"), with(id)).await;
    assert_eq!(called(PROVIDER.into()).await.1, "ok", "control");
    for other in [json!("PSDDE-BAFIN-999999"), json!("psdde-bafin-123456"), json!([PROVIDER]), json!(null)] {
        let (response, code) = called(other.clone()).await;
        assert_eq!((response.status().as_u16(), &*code), (401, "certificate_organisation_refused"), "{other}");
        assert_eq!(message(&response), "CERTIFICATE_INVALID");
    }
    let (_, code) = read(&world, &certificate).await;
    assert_eq!(code, "certificate_organisation_refused", "no claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_01_a_token_that_is_bound_to_a_key_needs_a_certificate_beside_it() {
    let world = world("berlin-group", |scene| scene).await;
    let good = world.authority.client_with("tpp", provider(PROVIDER, &[Role::AccountInformation]));
    let holder = world.holder();
    let request = || {
        let proof = holder.proof("/accounts", world.clock.now()).sign(&holder.key);
        let mut request = dpop_request("/accounts", &holder.token, &proof);
        request.headers_mut().insert("x-request-id", UUID.parse().unwrap());
        request
    };
    assert_eq!(world.judge_from(&client(&world, &good), request()).await, (200, "ok".into()), "control");
    let missing = (401, "certificate_missing".to_owned());
    assert_eq!(world.judge_from(&world.anonymous(), request()).await, missing);
    let plain = world.authority.client("tpp");
    let (_, code) = world.judge_from(&client(&world, &plain), request()).await;
    assert_eq!(code, "certificate_kind_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_01_what_nobody_vouches_for_is_not_believed() {
    let chain = "trust: chain, trust_anchors: [ca.pem]";
    let world = world("berlin-group", |scene| scene.replace(chain, "trust: possession")).await;
    let certificate = world.authority.client_with("tpp", provider(PROVIDER, &[Role::AccountInformation]));
    assert_eq!(read(&world, &certificate).await.1, "certificate_kind_refused");
    world.reload(1, |yaml| yaml.replace("trust: possession", chain)).await;
    assert_eq!(read(&world, &certificate).await.1, "ok", "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_13_a_qualified_certificate_without_client_auth_passes_where_the_listener_says_so() {
    let world = world("berlin-group", |scene| scene).await;
    let certificate = world.authority.client_with("tpp", |params| {
        provider(PROVIDER, &[Role::AccountInformation])(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&certificate));
    let refused = client(&world, &certificate).send(call("GET", "/accounts", &token)).await;
    assert!(refused.is_err(), "no handshake: {refused:?}");
    let any = "trust_anchors: [ca.pem], extended_key_usage: any }";
    world.reload(1, |yaml| yaml.replacen("trust_anchors: [ca.pem] }", any, 1)).await;
    assert_eq!(read(&world, &certificate).await.1, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_16_a_client_in_the_uk_has_the_role_of_the_scope() {
    for ecosystem in ["uk-obie-3.1", "uk-obie-4.0"] {
        let world = world(ecosystem, |scene| scene).await;
        // OBWAC: it has a QcType, and no QcCompliance.
        let obwac = |role: (u8, &str)| {
            world.authority.client_with("tpp", qualified("PSDGB-FCA-123456", &[kind(WEB), psd2(&[role])]))
        };
        assert_eq!(read(&world, &obwac((3, "PSP_AI"))).await.1, "ok", "control");
        for (certificate, expected) in [
            (obwac((4, "PSP_IC")), "certificate_role_refused"),
            (obwac((3, "PSP_PI")), "certificate_kind_refused"),
            (world.authority.client("tpp"), "certificate_kind_refused"),
            (
                world.authority.client_with("tpp", qualified(PROVIDER, &[kind(SEAL), psd2(&[(3, "PSP_AI")])])),
                "certificate_kind_refused",
            ),
        ] {
            let (response, code) = read(&world, &certificate).await;
            assert_eq!((response.status().as_u16(), &*code), (403, expected), "{ecosystem}");
            assert!(response.body().is_empty() && !response.headers().contains_key(header::WWW_AUTHENTICATE));
        }
        // A route for the scope of either has a client with the role of either.
        for role in [(2, "PSP_PI"), (3, "PSP_AI")] {
            let (_, code) = called(&world, &obwac(role), ("POST", "/payments"), |token| token).await;
            assert_eq!(code, "ok", "{role:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn br_07_br_10_a_client_in_brazil_has_the_certificate_of_its_participant() {
    let needs = "{ organisation: { claim: /org_id }, software: { claim: /software_id } }";
    let world = world("brazil", requiring(needs)).await;
    let of = |organization: &str, software: &str| world.authority.client_with("tpp", brazilian(organization, software));
    let called = async |certificate: &Credential| {
        let claims = |token: AccessToken| token.claim("org_id", ORGANIZATION).claim("software_id", SOFTWARE);
        let (response, code) = called(&world, certificate, ("GET", "/accounts"), claims).await;
        (response.status().as_u16(), code)
    };
    assert_eq!(called(&of(ORGANIZATION, SOFTWARE)).await, (200, "ok".to_owned()), "control");
    let other = "c2b0cf8c-6a0f-4a53-9b0c-6f7a6b0a7a11";
    let refused = (403, "certificate_organisation_refused".to_owned());
    assert_eq!(called(&of(other, SOFTWARE)).await, refused);
    assert_eq!(called(&of(ORGANIZATION, other)).await, refused);
    let refused = (403, "certificate_kind_refused".to_owned());
    assert_eq!(called(&of("12345678", SOFTWARE)).await, refused);
    assert_eq!(called(&world.authority.client("tpp")).await, refused);
    let without_usage = world.authority.client_with("tpp", |params| {
        brazilian(ORGANIZATION, SOFTWARE)(params);
        params.key_usages.clear();
    });
    assert_eq!(called(&without_usage).await, refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn br_09_a_client_sends_the_authorities_between_its_own_and_the_anchor() {
    let world = world("brazil", |scene| scene).await;
    let intermediate = world.authority.intermediate("AC Intermediaria");
    let whole = intermediate.client_with("tpp", brazilian(ORGANIZATION, SOFTWARE));
    assert_eq!(whole.chain_der.len(), 2);
    assert_eq!(read(&world, &whole).await.1, "ok", "control");
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&whole));
    let mut alone = whole;
    alone.chain_der.truncate(1);
    assert!(client(&world, &alone).send(call("GET", "/accounts", &token)).await.is_err(), "nothing is fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_certificates_is_waived_for_a_route_and_holds_again_afterwards() {
    let (today, until) = (day(now()), day(now() + 10 * 86400));
    let waivers = format!(
        "waivers:\n  - {{ rule: berlin_group.certificate, route: accounts, reason: a test, since: {today}, until: {until} }}\n  - {{ rule: berlin_group.certificate.role, route: accounts, reason: a test, until: {until} }}\n"
    );
    let world = world("berlin-group", |scene| scene.append(&waivers)).await;
    let plain = world.authority.client("tpp");
    assert_eq!(read(&world, &plain).await.1, "ok");
    let (_, code) = called(&world, &plain, ("POST", "/payments"), |token| token).await;
    assert_eq!(code, "certificate_kind_refused", "no other route");
    world.clock.advance(12 * 86400);
    assert_eq!(read(&world, &plain).await.1, "certificate_kind_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_a_certificate_that_would_be_refused_is_noted() {
    let shadow = format!("    enforce: {{ shadow: until {} }}\n", day(now() + 10 * 86400));
    let scopes = "    scopes: [accounts]\n";
    let world = world("berlin-group", |scene| scene.replace(scopes, &format!("{scopes}{shadow}"))).await;
    let noted = async |certificate: &Credential| {
        let (response, code) = read(&world, certificate).await;
        assert_eq!((response.status().as_u16(), &*code), (200, "ok"));
        world.gateway.record_of(&response)["would_deny"].clone()
    };
    let of = |role| world.authority.client_with("tpp", provider(PROVIDER, &[role]));
    assert_eq!(noted(&of(Role::AccountInformation)).await, json!(null), "control");
    assert_eq!(noted(&of(Role::CardIssuing)).await, "certificate_role_refused");
    assert_eq!(noted(&world.authority.client("tpp")).await, "certificate_kind_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_outside_of_these_ecosystems_asks_what_it_says_itself() {
    let needs = "{ roles: [PSP_AI], organisation: { claim: /org_id } }";
    let world = World::with(|scene| requiring(needs)(scene)).await;
    let of = |role| world.authority.client_with("tpp", provider(PROVIDER, &[role]));
    let called = async |certificate: &Credential, id: &'static str| {
        let (response, code) =
            called(&world, certificate, ("GET", "/accounts"), |token| token.claim("org_id", id)).await;
        (response.status().as_u16(), code)
    };
    assert_eq!(called(&of(Role::AccountInformation), PROVIDER).await, (200, "ok".to_owned()), "control");
    assert_eq!(called(&of(Role::CardIssuing), PROVIDER).await, (403, "certificate_role_refused".to_owned()));
    let organization = (403, "certificate_organisation_refused".to_owned());
    assert_eq!(called(&of(Role::AccountInformation), "PSDDE-BAFIN-1").await, organization);
    let (response, _) = read(&world, &of(Role::CardIssuing)).await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"], "invalid_certificate");
    assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
}
