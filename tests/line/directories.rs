//! Directories of participants over real sockets: a scripted one in the forms that ecosystems publish, whose content, state and age
//! decide who passes (AU-12, AU-13, BR-10, UK-16, BG-06).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fapi::code::Code;
use http::{HeaderValue, Request, StatusCode, header};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::{Answer, HttpServer, Recorded};
use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use sandbox::tokens::AccessToken;
use serde_json::{Value, json};

use crate::support::{DEADLINE, Scene, World, http_client, request};

/// The codes whose cases are here.
pub(super) fn codes() -> BTreeSet<Code> {
    [Code::ParticipantUnknown, Code::ParticipantInactive, Code::ParticipantRoleMissing, Code::DirectoryUnavailable]
        .into()
}

/// A gateway, and the directory that it reads.
struct Stage {
    world: World,
    directory: HttpServer,
    document: Arc<Mutex<String>>,
    reloads: usize,
}

impl Stage {
    /// A directory of this kind with this document, which the route `accounts` asks as `require.participant` says.
    async fn with(kind: &str, document: &Value, required: &str) -> Self {
        Self::adjusted(kind, document, required, |scene| scene).await
    }

    async fn adjusted(kind: &str, document: &Value, required: &str, adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).unwrap();
        let document = Arc::new(Mutex::new(document.to_string()));
        let published = document.clone();
        let answer = move |request: Recorded| {
            let document = published.lock().unwrap().clone();
            // The contents of a test differ in their length.
            let tag = format!("\"{:x}\"", document.len());
            if request.header("if-none-match") == Some(&tag) {
                return Answer::status(StatusCode::NOT_MODIFIED);
            }
            let tag = HeaderValue::try_from(tag).unwrap();
            let json = HeaderValue::from_static("application/json");
            Answer::status(StatusCode::OK).header(header::CONTENT_TYPE, json).header(header::ETAG, tag).body(document)
        };
        let tls = tls_config(&authority.server(&["localhost"]), None);
        let directory = HttpServer::start(None, Some(tls), Arc::new(answer)).unwrap();
        let section = format!(
            "directories:\n  ecosystem: {{ kind: {kind}, url: \"{}\", trust_anchors: [ca.pem], refresh: 60s, keep: 10m }}\n",
            directory.url("/participants")
        );
        let world = World::around(authority, issuer, |scene| {
            let scene = scene.replace("upstreams:\n", &format!("{section}upstreams:\n"));
            let route = "    upstream: accounts\n    forward";
            let required = format!("    require: {{ participant: {{ directory: ecosystem, {required} }} }}\n{route}");
            adjust(scene.replace(route, &required))
        })
        .await;
        Self { world, directory, document, reloads: 0 }
    }

    fn publish(&self, document: &str) {
        document.clone_into(&mut self.document.lock().unwrap());
    }

    /// Has the gateway read its configuration and the directory now.
    async fn reload(&mut self, adjust: impl FnOnce(String) -> String) {
        self.reloads += 1;
        self.world.reload(self.reloads, adjust).await;
    }

    fn call(&self, token: &AccessToken) -> Request<Bytes> {
        request("/accounts", &self.world.sign(token))
    }

    /// The status and the code for a token with these claims beside the usual ones.
    async fn judge(&self, claims: &[(&'static str, Value)]) -> (u16, String) {
        let token = claims.iter().fold(self.world.token(), |token, (name, value)| token.claim(name, value.clone()));
        let before = self.world.accounts.server().heads();
        let judged = self.world.judge(self.call(&token)).await;
        let reached = self.world.accounts.server().heads() > before;
        assert_eq!(reached, judged.1 == "ok", "{judged:?}");
        judged
    }

    async fn judge_organisation(&self, id: &str) -> (u16, String) {
        self.judge(&[("org_id", id.into())]).await
    }

    /// What a browser shows of the gateway.
    async fn page(&self) -> String {
        let url = format!("http://{}/", self.world.gateway.admin_address());
        let page = http_client().get(url).header("accept", "text/html").send().await.unwrap();
        page.text().await.unwrap()
    }

    async fn metric(&self, line: &str) -> f64 {
        let metrics = self.world.gateway.admin("/metrics").await.1;
        let found = metrics.lines().find_map(|own| own.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {metrics}")).parse().unwrap()
    }
}

/// As Open Finance Brasil publishes them.
fn participants(status: &str) -> Value {
    let role =
        |role: &str, status: &str| json!({ "Role": role, "Status": status, "AuthorisationDomain": "Open Banking" });
    json!([
        {
            "OrganisationId": "b961c4eb-509d-4edf-afeb-35642b38185d", "Status": status, "RegistrationNumber": "13353236000189",
            "AuthorisationServers": [{ "OpenIDDiscoveryDocument": "https://as.example/.well-known/openid-configuration" }],
            "OrgDomainRoleClaims": [role("DADOS", "Active"), role("PAGTO", "Inactive")],
        },
        { "OrganisationId": "c0ffee00-509d-4edf-afeb-35642b38185d", "Status": "Withdrawn", "OrgDomainRoleClaims": [role("DADOS", "Active")] },
        { "OrganisationId": "d15ea5e0-509d-4edf-afeb-35642b38185d", "Status": "Active", "OrgDomainRoleClaims": [] },
    ])
}

const BANK: &str = "b961c4eb-509d-4edf-afeb-35642b38185d";
const WITHDRAWN: &str = "c0ffee00-509d-4edf-afeb-35642b38185d";
const WITHOUT_ROLES: &str = "d15ea5e0-509d-4edf-afeb-35642b38185d";

fn ok() -> (u16, String) {
    (200, "ok".into())
}

fn refused(code: Code) -> (u16, String) {
    (code.status().as_u16(), code.as_str().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn br_10_only_active_participants_with_the_role_pass() {
    let required = "organisation: { claim: /org_id }, roles: [DADOS, CONTA]";
    let stage = Stage::with("brazil", &participants("Active"), required).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "control");
    for (id, code) in [
        (WITHDRAWN, Code::ParticipantInactive),
        (WITHOUT_ROLES, Code::ParticipantRoleMissing),
        ("b961c4eb", Code::ParticipantUnknown),
        ("", Code::ParticipantUnknown),
    ] {
        assert_eq!(stage.judge_organisation(id).await, refused(code), "{id}");
    }
    assert_eq!(stage.judge(&[]).await, refused(Code::ParticipantUnknown), "the token names nobody");
    assert_eq!(stage.judge(&[("org_id", json!([BANK]))]).await, refused(Code::ParticipantUnknown));
    let token = stage.world.token().claim("org_id", WITHDRAWN);
    let response = stage.world.client().send(stage.call(&token)).await.unwrap();
    let record = stage.world.gateway.record_of(&response);
    let detail = format!("directory \"ecosystem\": its organisation \"{WITHDRAWN}\" is Withdrawn, not active");
    assert_eq!((&record["detail"], &record["step"]), (&json!(detail), &json!("require")));
    let challenges = response.headers().get_all("www-authenticate").iter();
    let challenges: Vec<_> = challenges.map(|challenge| challenge.to_str().unwrap()).collect();
    assert!(challenges.iter().any(|challenge| challenge.contains("error=\"insufficient_scope\"")), "{challenges:?}");
    // Introspected tokens are asked the same.
    let introspected = |scene: Scene| scene.introspected("");
    let stage = Stage::adjusted("brazil", &participants("Active"), required, introspected).await;
    for (id, expected) in [(BANK, ok()), (WITHDRAWN, refused(Code::ParticipantInactive))] {
        let token = stage.world.opaque(&stage.world.token().claim("org_id", id));
        assert_eq!(stage.world.judge(request("/accounts", &token)).await, expected, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_16_a_provider_and_its_software_have_the_role_in_the_directory() {
    let provider = |id: &str, status: &str, software: &str| {
        json!({
            "urn:openbanking:organisation:1.0": { "OBOrganisationId": id, "status": status },
            "urn:openbanking:competentauthorityclaims:1.0": { "Authorisations": [
                { "Psd2Role": "AISP", "MemberState": "GB", "Active": true },
            ]},
            "urn:openbanking:softwarestatement:1.0": { "SoftwareStatements": [
                { "Id": software, "Active": true, "Roles": ["AISP"] },
                { "Id": format!("{software}-old"), "Active": false, "Roles": ["AISP"] },
                { "Id": format!("{software}-pay"), "Active": true, "Roles": ["PISP"] },
            ]},
        })
    };
    let document =
        json!({ "totalResults": 2, "Resources": [provider("a", "Active", "s"), provider("b", "Revoked", "r")] });
    let required = "organisation: { claim: /org/id }, software: { claim: /software_id }, roles: [AISP]";
    let stage = Stage::with("uk", &document, required).await;
    for (organisation, software, expected) in [
        ("a", "s", ok()), // control
        ("b", "r", refused(Code::ParticipantInactive)),
        ("a", "s-old", refused(Code::ParticipantInactive)),
        ("a", "s-pay", refused(Code::ParticipantRoleMissing)),
        ("a", "r", refused(Code::ParticipantUnknown)),
        ("a", "unheard-of", refused(Code::ParticipantUnknown)),
    ] {
        let claims = [("org", json!({ "id": organisation })), ("software_id", software.into())];
        assert_eq!(stage.judge(&claims).await, expected, "{organisation} {software}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn au_12_a_data_recipient_that_the_register_does_not_call_active_is_told_so() {
    let product = |id: &str, status: &str| json!({ "softwareProductId": id, "status": status });
    let recipient = |id: &str, status: &str, products: Value| {
        let brands = json!([{ "dataRecipientBrandId": "brand", "status": "ACTIVE", "softwareProducts": products }]);
        json!({ "legalEntityId": id, "status": status, "dataRecipientBrands": brands })
    };
    let document = json!({ "data": [
        recipient("one", "ACTIVE", json!([product("9381dad2", "ACTIVE"), product("b411214f", "INACTIVE")])),
        recipient("two", "SUSPENDED", json!([product("c0de", "ACTIVE")])),
    ], "links": { "self": "https://register.example" }, "meta": {} });
    let profile = "profile: { base: fapi2-security, ecosystem: cdr }\n";
    let in_cdr = |scene: Scene| scene.replace("profile: fapi2-security\n", profile);
    let stage = Stage::adjusted("cdr", &document, "software: { claim: /client_id }", in_cdr).await;
    assert_eq!(stage.directory.requests()[0].header("x-v"), Some("3"), "the register refuses a request without");
    for (software, code) in [
        ("9381dad2", None), // control
        ("b411214f", Some("participant_inactive")),
        ("c0de", Some("participant_inactive")),
        ("unheard-of", Some("participant_unknown")),
    ] {
        let mut call = stage.call(&stage.world.token().claim("client_id", software));
        call.headers_mut().insert("x-v", HeaderValue::from_static("1"));
        call.headers_mut().insert("x-fapi-auth-date", HeaderValue::from_static("Tue, 11 Sep 2012 19:43:31 GMT"));
        let response = stage.world.client().send(call).await.unwrap();
        assert_eq!(stage.world.gateway.record_of(&response)["code"], code.unwrap_or("ok"), "{software}");
        if code.is_some() {
            assert_eq!(response.status(), 403, "{software}");
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["errors"][0]["code"], "urn:au-cds:error:cds-all:Authorisation/AdrStatusNotActive");
            assert_eq!(body["errors"][0]["title"], "ADR Status Is Not Active");
        }
    }
}

const REQUIRED: &str = "organisation: { claim: /org_id }";

#[tokio::test(flavor = "multi_thread")]
async fn au_13_a_participant_that_is_revoked_passes_no_longer_than_until_the_next_reading() {
    let mut stage = Stage::with("brazil", &participants("Active"), REQUIRED).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok());
    stage.publish(&participants("Withdrawn").to_string());
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "control: it has not been read again");
    stage.reload(|yaml| yaml).await;
    assert_eq!(stage.judge_organisation(BANK).await, refused(Code::ParticipantInactive));
    stage.publish(&participants("Active").to_string());
    stage.reload(|yaml| yaml).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "what is decided is never remembered");
    let reads = stage.directory.requests().len();
    stage.reload(|yaml| yaml).await;
    let again = stage.directory.requests().split_off(reads);
    assert!(again.iter().all(|request| request.header("if-none-match").is_some()) && !again.is_empty());
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "what has not changed is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn au_13_the_last_good_reading_counts_until_it_is_too_old() {
    let mut stage = Stage::with("brazil", &participants("Active"), REQUIRED).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok());
    stage.directory.stop().await.unwrap();
    stage.reload(|yaml| yaml.replace("refresh: 60s", "refresh: 90s")).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "a reload keeps what was read");
    let age = "fapi_gateway_directory_age_seconds{directory=\"ecosystem\"}";
    // The world's clock moved on by 120 seconds when it was started.
    let before = stage.metric(age).await;
    stage.world.clock.advance(600 - 120);
    assert_eq!(stage.metric(age).await - before, 480.0);
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "control: 10 minutes");
    stage.world.clock.advance(1);
    assert_eq!(stage.judge_organisation(BANK).await, refused(Code::DirectoryUnavailable));
    assert_eq!(
        stage.judge_organisation(WITHDRAWN).await,
        refused(Code::DirectoryUnavailable),
        "nobody is known any more"
    );
    let token = stage.world.token().claim("org_id", BANK);
    let response = stage.world.client().send(stage.call(&token)).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &HeaderValue::from_static("5")));
    assert_eq!(response.headers().get("www-authenticate"), None, "the client is not at fault");
    let detail = stage.world.gateway.record_of(&response)["detail"].clone();
    assert_eq!(detail, "directory \"ecosystem\": it was last read 601 seconds ago, at most 600 are allowed");
    assert_eq!(stage.world.judge(request("/health", "")).await.0, 200, "what needs no directory is served");
    assert_eq!(stage.world.gateway.readiness().await.0, 200, "taking the gateway out of service would help nobody");
    assert!(
        stage.metric("fapi_gateway_directory_refreshes_total{directory=\"ecosystem\",outcome=\"failure\"}").await
            >= 1.0
    );
    let status: Value = serde_json::from_str(&stage.world.gateway.admin("/status").await.1).unwrap();
    let resources = status["resources"].as_array().unwrap();
    let own = resources.iter().find(|resource| resource["kind"] == "directory").unwrap_or_else(|| panic!("{status}"));
    assert_eq!(own["name"], "ecosystem");
    let page = stage.page().await;
    assert!(page.contains("Directories of participants") && page.contains("cannot be reached"), "{page}");
    stage.directory.restart().await.unwrap();
    stage.reload(|yaml| yaml).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "once it is read again, it is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_document_changes_nothing() {
    let mut stage = Stage::with("brazil", &participants("Active"), REQUIRED).await;
    let withdrawn = participants("Withdrawn").to_string();
    for broken in ["", "<html>busy</html>", "[]", "{\"Resources\":[]}", &withdrawn[..withdrawn.len() - 1]] {
        stage.publish(broken);
        stage.reload(|yaml| yaml).await;
        assert_eq!(stage.judge_organisation(BANK).await, ok(), "{broken}");
    }
    stage.publish(&withdrawn);
    stage.reload(|yaml| yaml).await;
    assert_eq!(stage.judge_organisation(BANK).await, refused(Code::ParticipantInactive), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_passes_before_the_directory_was_read() {
    let mut stage = Stage::adjusted("brazil", &json!([]), REQUIRED, Scene::never_ready).await;
    let ready_but_for_it = async {
        loop {
            let (status, body) = stage.world.gateway.readiness().await;
            let reasons = body["reasons"].as_array().unwrap().clone();
            if !reasons.iter().any(|reason| reason["reason"] == "keys" || reason["reason"] == "starting") {
                return (status, reasons);
            }
            tokio::task::yield_now().await;
        }
    };
    let (status, reasons) = tokio::time::timeout(DEADLINE, ready_but_for_it).await.expect("all else is read");
    assert_eq!(stage.judge_organisation(BANK).await, refused(Code::DirectoryUnavailable));
    let waiting = reasons.into_iter().find(|reason| reason["reason"] == "directory");
    let expected =
        json!({ "reason": "directory", "directory": "ecosystem", "text": "waiting for the directory ecosystem" });
    assert_eq!((status, waiting), (503, Some(expected)));
    stage.publish(&participants("Active").to_string());
    stage.reload(|yaml| yaml).await;
    stage.world.gateway.ready().await;
    assert_eq!(stage.judge_organisation(BANK).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_authorizes_the_gateway_at_the_directory_is_in_a_file() {
    let with_token = |scene: Scene| {
        let more = "keep: 10m, headers: { x-api: \"1\" }, authorization_file: token";
        scene.file("token", "Bearer very-secret\n").replace("keep: 10m", more)
    };
    let stage = Stage::adjusted("brazil", &participants("Active"), REQUIRED, with_token).await;
    assert_eq!(stage.judge_organisation(BANK).await, ok());
    let first = stage.directory.requests().swap_remove(0);
    assert_eq!((first.header("authorization"), first.header("x-api")), (Some("Bearer very-secret"), Some("1")));
    for place in ["/status", "/metrics"] {
        assert!(!stage.world.gateway.admin(place).await.1.contains("very-secret"), "{place}");
    }
    assert!(!stage.page().await.contains("very-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_in_shadow_notes_who_is_no_participant() {
    let day = crate::support::day;
    let shadow = move |scene: Scene| {
        let until = day(crate::support::client::now() + 10 * 86_400);
        scene.replace("    require:", &format!("    enforce: {{ shadow: until {until} }}\n    require:"))
    };
    let stage = Stage::adjusted("brazil", &participants("Active"), REQUIRED, shadow).await;
    for (id, noted) in [(BANK, Value::Null), (WITHDRAWN, "participant_inactive".into())] {
        let token = stage.world.token().claim("org_id", id);
        let response = stage.world.client().send(stage.call(&token)).await.unwrap();
        let record = stage.world.gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), &record["would_deny"]), (200, &noted), "{record}");
    }
}
