//! Paths that can be read in two ways, over both versions of HTTP: they are refused, not repaired.

use std::sync::Arc;

use http::StatusCode;
use sandbox::https::{Answer, HttpServer};

use crate::edge::hostile::wire::{Fate, Frames, Talk};
use crate::support::World;

/// A world with a public prefix beside a protected one, and templates; returns it with the upstream of all these
/// routes.
async fn world() -> (World, HttpServer) {
    let upstream = HttpServer::start(None, None, Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap();
    let section = format!("  any: {{ servers: [\"http://{}\"] }}\nroutes:\n", upstream.address());
    let world = World::with(|scene| {
        scene.replace("routes:\n", &section).append(
            "  - { name: public, path: /public/**, methods: [GET], public: true, upstream: any }
  - { name: protected, path: /protected/**, methods: [GET], scopes: [accounts], upstream: any }
  - { name: template, path: /template/*/parts, methods: [GET], scopes: [accounts], upstream: any }
  - { name: files, path: /files/**, methods: [GET], public: true, path_characters: uri, upstream: any }
  - { name: secret, path: /files/secret, methods: [GET], scopes: [accounts], upstream: any }
  - { name: report, path: /public/report, methods: [GET], public: true, upstream: any }
",
        )
    })
    .await;
    (world, upstream)
}

/// The expected outcome of a request for a path.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// 400, before any route.
    Refused,
    /// The same; over HTTP/2 this path, since the HTTP/2 parser drops a fragment before the gateway sees it.
    Cut(&'static str),
    /// Anything but a response of the upstream, with or without a token.
    Never,
    /// The policy of the protected route: 401 without a token.
    Protected,
    /// The policy of the public route; the upstream receives these bytes.
    Public,
}

use Wanted::{Cut, Never, Protected, Public, Refused};

const PATHS: &[(&str, &str, Wanted)] = &[
    ("ATK-PT-01 control", "/public/protected", Public),
    ("ATK-PT-01", "/public/../protected", Refused),
    ("ATK-PT-01", "/public/..", Refused),
    ("ATK-PT-01", "/public/.", Refused),
    ("ATK-PT-01", "/./protected", Refused),
    ("ATK-PT-01", "/public/%2e%2e/protected", Refused),
    ("ATK-PT-01", "/public/%2E%2E/protected", Refused),
    ("ATK-PT-01", "/public/.%2e/protected", Refused),
    ("ATK-PT-01", "/%2e/protected", Refused),
    ("ATK-PT-02", "/public%2Fprotected", Refused),
    ("ATK-PT-02", "/public/%2f../protected", Refused),
    ("ATK-PT-02", "/public/..%2fprotected", Refused),
    ("ATK-PT-02", "/public/%5C..%5Cprotected", Refused),
    ("ATK-PT-02", "/public\\..\\protected", Refused),
    ("ATK-PT-03", "//protected", Refused),
    ("ATK-PT-03", "/public//protected", Refused),
    ("ATK-PT-03", "///public", Refused),
    ("ATK-PT-04", "/protected;x=1", Refused),
    ("ATK-PT-04", "/public/..;/protected", Refused),
    ("ATK-PT-04", "/public;/protected", Refused),
    ("ATK-PT-04", "/public/%3b/protected", Refused),
    ("ATK-PT-05", "/public#/../protected", Cut("/public")),
    ("ATK-PT-05", "/public/a#b", Cut("/public/a")),
    ("ATK-PT-05", "/public/%23/../protected", Refused),
    ("ATK-PT-06 control", "/protected/", Protected),
    ("ATK-PT-06", "/Protected", Never),
    ("ATK-PT-06", "/PROTECTED/a", Never),
    ("ATK-PT-06", "/protected.", Never),
    ("ATK-PT-06", "/protected.json", Never),
    ("ATK-PT-06", "/%70rotected/a", Never),
    ("ATK-PT-06", "/Public/a", Never),
    ("ATK-PT-07", "/public/%252e%252e/protected", Refused),
    ("ATK-PT-07", "/public%252Fprotected", Refused),
    ("ATK-PT-07", "/public/%25%32%65", Refused),
    ("ATK-PT-08", "/public/%00", Refused),
    ("ATK-PT-08", "/public/a%0d%0ab", Refused),
    ("ATK-PT-08", "/public/%09", Refused),
    ("ATK-PT-08", "/public/%c0%ae%c0%ae/protected", Refused),
    ("ATK-PT-08", "/public/%ef%bc%8e%ef%bc%8e/protected", Refused),
    ("ATK-PT-08", "/public/\u{ff0e}\u{ff0e}/protected", Refused),
    ("ATK-PT-08", "/public/%zz", Refused),
    ("ATK-PT-08", "/public/%2", Refused),
    ("ATK-PT-09", "/public/a?x=/../protected", Public),
    ("ATK-PT-09", "/public/a?x=1;y=2&x=3", Public),
    ("ATK-PT-09", "/protected/a?/public", Protected),
    ("ATK-PT-09", "/protected?x=/public/a", Protected),
    ("ATK-PT-10 control", "/template/1/parts", Protected),
    ("ATK-PT-10", "/template/../parts", Refused),
    ("ATK-PT-10", "/template/a%2fb/parts", Refused),
    ("ATK-PT-10", "/template//parts", Refused),
    ("ATK-PT-10", "/template/%2e/parts", Refused),
    ("ATK-PT-10", "/template/parts", Never),
    ("ATK-PT-10", "/template/a/b/parts", Never),
    // The same with `path_characters: uri`: data is forwarded as it came, and what may be another segment is refused.
    ("FWD-05 control", "/files/100%25;v=1/%7Ea", Public),
    ("FWD-05 control", "/files/secrets;x", Public),
    ("FWD-05 control", "/files/a%3Bb.", Public),
    ("FWD-05 control", "/files/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB", Public),
    ("FWD-05 control", "/public/report.pdf", Public),
    ("ATK-PT-01", "/files/..;/secret", Refused),
    ("ATK-PT-01", "/files/%2e%2e;x/protected", Refused),
    ("ATK-PT-01", "/files/;..", Refused),
    ("ATK-PT-02", "/files/a%2Fb;", Refused),
    ("ATK-PT-02", "/files/a%5Cb;", Refused),
    ("ATK-PT-03", "/files/;/secret", Refused),
    ("ATK-PT-04", "/files/secret;x", Refused),
    ("ATK-PT-04", "/files/secret%253Bx", Refused),
    ("ATK-PT-04", "/files;x/a", Refused),
    ("ATK-PT-05", "/files/secret%3Fx", Refused),
    ("ATK-PT-05", "/files/secret%2523x", Refused),
    ("ATK-PT-06", "/files/%73ecret", Refused),
    ("ATK-PT-06", "/files/secret%20", Refused),
    ("ATK-PT-06", "/files/secret.pdf", Refused),
    ("ATK-PT-06", "/%66iles/a", Refused),
    ("ATK-PT-07", "/files/%252F", Refused),
    ("ATK-PT-07", "/files/%25%32%46", Refused),
    ("ATK-PT-07", "/files/%252e%252e/secret", Refused),
    ("ATK-PT-07", "/files/%25u002Fa", Refused),
    ("ATK-PT-08", "/files/%c0%af;", Refused),
    ("ATK-PT-08", "/files/%25c0%25af", Refused),
    ("ATK-PT-08", "/files/a%00;", Refused),
    ("ATK-PT-08", "/files/a%2500", Refused),
    ("ATK-PT-08", "/files/%EF%BD%93ecret", Refused),
    ("ATK-PT-13", "*", Never),
    ("ATK-PT-13", "?x", Never),
    ("ATK-PT-13", "public/a", Never),
    ("ATK-PT-13", "https://user@localhost/public/a", Never),
    ("ATK-PT-13", "https://localhost@other.example/public/a", Never),
    ("ATK-PT-13", "http://localhost/public/a", Never),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_path_has_two_readings_over_either_version() {
    let (world, upstream) = world().await;
    let bearer = format!("Bearer {}", world.sign(&world.token()));
    for (row, path, wanted) in PATHS {
        for token in [None, Some(&bearer)] {
            for http2 in [false, true] {
                let what =
                    format!("{row}: {path} over {}, token: {}", if http2 { "h2" } else { "h1" }, token.is_some());
                upstream.clear();
                let before = upstream.heads();
                let status =
                    if http2 { h2(&world, "GET", path, token).await } else { h1(&world, "GET", path, token).await };
                let (went_up, seen) = (upstream.heads() > before, upstream.requests());
                let served = matches!(wanted, Public)
                    || (http2 && matches!(wanted, Cut(_)))
                    || (matches!(wanted, Protected) && token.is_some());
                assert_eq!(went_up, served, "{what}: {status:?}");
                match (wanted, status) {
                    (Public, Some(200)) => assert_eq!(seen[0].uri, *path, "{what}: FWD-05"),
                    (Protected, Some(200)) if token.is_some() => assert_eq!(seen[0].uri, *path, "{what}: FWD-05"),
                    (Protected, Some(401)) if token.is_none() => {}
                    (Cut(path), Some(200)) if http2 => assert_eq!(seen[0].uri, *path, "{what}: FWD-05"),
                    (Refused | Cut(_), Some(400)) => {}
                    // A request that HTTP/2 itself forbids ends the stream without a response.
                    (Refused | Never, None) if http2 => {}
                    (Never, Some(400 | 401 | 404)) => {}
                    _ => panic!("{what}: {status:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_pt_11_a_method_is_one_that_the_route_names() {
    let (world, upstream) = world().await;
    let before = upstream.heads();
    for method in ["get", "Get", "GETX", "PROPFIND", "DELETE", "OPTIONS", "TRACE", "CONNECT", "G-ET"] {
        for http2 in [false, true] {
            let path = "/public/a";
            let status =
                if http2 { h2(&world, method, path, None).await } else { h1(&world, method, path, None).await };
            // CONNECT with a path is not a valid HTTP/2 request.
            let refused = matches!(status, Some(400 | 405)) || (http2 && method == "CONNECT" && status.is_none());
            assert!(refused, "{method} http2 {http2}: {status:?}");
        }
    }
    for method in ["GET ", " GET", "GET\t", "GE\0T", ""] {
        assert_eq!(h1(&world, method, "/public/a", None).await, Some(400), "{method:?}");
    }
    assert_eq!(upstream.heads(), before);
    assert_eq!(h1(&world, "GET", "/public/a", None).await, Some(200), "control");
}

/// The status of the response; `None` if there is no response.
async fn h1(world: &World, method: &str, path: &str, token: Option<&String>) -> Option<u16> {
    let authorization = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let mut talk = Talk::with(&world.client()).await;
    let _ = talk.say(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n")).await;
    let answer = talk.answer().await?;
    let id = answer.field("x-fapi-interaction-id");
    assert_eq!(id.len(), 1, "every response has an interaction id: {answer:?}");
    assert_eq!(world.gateway.record(id[0])["status"], answer.status);
    assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    Some(answer.status)
}

async fn h2(world: &World, method: &str, path: &str, token: Option<&String>) -> Option<u16> {
    let mut frames = Frames::with(&world.client()).await;
    let mut fields = vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    fields.extend(token.map(|token| ("authorization", token.as_str())));
    frames.headers(1, &fields, true).await;
    match frames.fate(1).await {
        Fate::Answered(status) => Some(status),
        Fate::Reset | Fate::GoneAway | Fate::Closed => None,
    }
}
