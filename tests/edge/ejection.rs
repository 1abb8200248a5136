//! Servers that connect and then do not respond: how soon they are left out, what does not count against them, and how
//! much a response may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, StatusCode, header};
use sandbox::https::Answer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::upstreams::{answering, becomes, get, good, metric, plain, post, servers, with_bank, world};
use crate::edge::hostile::wire::Talk;
use crate::support::backend::{Backend, Call, Frames, Word};
use crate::support::{DEADLINE, World, request};

/// How many requests in a row a server may leave without a response.
const FAILURES: usize = 5;

/// A server that accepts connections, reads requests, and says nothing; also returns the number of its connections.
async fn silent() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut received = [0; 4096];
                while matches!(stream.read(&mut received).await, Ok(1..)) {}
            });
        }
    });
    (address, connections)
}

/// Sends as many requests; returns how many of them have each of these codes.
async fn codes<const N: usize>(world: &World, requests: usize, wanted: [&str; N]) -> [usize; N] {
    let mut counts = [0; N];
    for _ in 0..requests {
        let (_, code) = world.judge(get(world)).await;
        let place = wanted.iter().position(|wanted| *wanted == code);
        counts[place.unwrap_or_else(|| panic!("{code}"))] += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_and_says_nothing_costs_few_requests() {
    let (server, (address, connections)) = (good(), silent().await);
    let world = world(&[server.address(), address], ", response_timeout: 100ms").await;
    let codes = async |requests| codes(&world, requests, ["ok", "upstream_timeout"]).await;
    assert_eq!(codes(2 * FAILURES - 2).await, [FAILURES - 1, FAILURES - 1], "control: they take turns");
    assert_eq!(servers(&world, "ejected").await, 0);
    assert_eq!(codes(30).await, [29, 1]);
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));
    assert_eq!(connections.load(Ordering::SeqCst), FAILURES);
    // One request tries it after each pause.
    for (pause, before) in [(10, 9), (20, 19), (40, 39)] {
        world.clock.advance(before);
        assert_eq!(codes(6).await, [6, 0], "{pause}");
        world.clock.advance(pause - before);
        assert_eq!(codes(6).await, [5, 1], "{pause}");
    }
    assert_eq!(servers(&world, "ejected").await, 1);
}

/// A request without a body is complete with its head, in whichever way its client and its server say so.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_server_that_says_nothing_is_late_whether_there_is_a_body_or_not() {
    for kind in [get, post] {
        let (server, silent) = (Frames::start(&[]).await, Frames::start(&[Word::Silence; 100]).await);
        let keys = ", protocol: http2, response_timeout: 100ms";
        let world = world(&[server.address(), silent.address()], keys).await;
        let http1 = world.client().h1();
        let mut late = 0;
        for _ in 0..15 {
            for client in [&world.client(), &http1] {
                match world.judge_from(client, kind(&world)).await {
                    (200, _) => {}
                    (504, code) if code == "upstream_timeout" => late += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((late, silent.requests()), (FAILURES, FAILURES));
        assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_server_that_falls_silent_within_a_response_is_late_whether_there_is_a_body_or_not() {
    for kind in [get, post] {
        let server = Frames::start(&[Word::Begin]).await;
        let world = world(&[server.address()], ", protocol: http2, response_timeout: 100ms").await;
        let id = uuid::Uuid::new_v4().to_string();
        let mut request = kind(&world);
        request.headers_mut().insert("x-fapi-interaction-id", id.parse().unwrap());
        let _ = world.client().send(request).await;
        let record = world.gateway.record(&id);
        assert_eq!((&record["status"], &record["code"]), (&200.into(), &"upstream_timeout".into()), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_refuse_each_attempt_are_left_out() {
    const REFUSED_STREAM: u8 = 7;
    for (refusals, ejected) in [(1000, 2), (20, 0)] {
        let servers_of = [(); 2].map(|()| vec![Word::Reset(REFUSED_STREAM); refusals]);
        let [one, other] = servers_of;
        let (one, other) = (Frames::start(&one).await, Frames::start(&other).await);
        let world = world(&[one.address(), other.address()], ", protocol: http2").await;
        for _ in 0..3 * FAILURES {
            world.judge(get(&world)).await;
        }
        assert_eq!(servers(&world, "ejected").await, ejected, "{refusals}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_off_costs_few_requests() {
    let (server, broken) = (good(), answering(|_| Answer::resetting()));
    let world = world(&[server.address(), broken.address()], "").await;
    assert_eq!(codes(&world, 40, ["ok", "upstream_unreachable"]).await, [40 - FAILURES, FAILURES]);
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_responds_in_between_is_not_left_out_whatever_it_responds() {
    let count = AtomicUsize::new(0);
    let moody = answering(move |_| match count.fetch_add(1, Ordering::SeqCst) % FAILURES {
        0 => Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
        _ => Answer::resetting(),
    });
    let server = good();
    let world = world(&[server.address(), moody.address()], "").await;
    for _ in 0..4 * FAILURES {
        world.judge(get(&world)).await;
    }
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_server_responds_all_are_tried_and_the_first_that_does_returns() {
    let quiet = Arc::new(AtomicUsize::new(usize::MAX));
    let limit = quiet.clone();
    let moody = answering(move |_| match limit.load(Ordering::SeqCst) {
        0 => Answer::text(StatusCode::OK, "ok"),
        _ => Answer::resetting(),
    });
    let (address, _) = silent().await;
    let world = world(&[moody.address(), address], ", response_timeout: 100ms").await;
    codes(&world, 2 * FAILURES, ["upstream_unreachable", "upstream_timeout"]).await;
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (0, 2));
    let before = moody.heads();
    codes(&world, 4, ["upstream_unreachable", "upstream_timeout"]).await;
    assert_eq!(moody.heads(), before + 2, "they take turns as if none were ejected");
    quiet.store(0, Ordering::SeqCst);
    let [_, late] = codes(&world, 20, ["ok", "upstream_timeout"]).await;
    assert!(late <= 1, "{late}");
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_leaves_out_does_not_count_against_the_server() {
    let (server, other) = (good(), good());
    let world = world(&[server.address(), other.address()], ", response_timeout: 100ms").await;
    let token = world.sign(&world.token());
    for _ in 0..4 * FAILURES {
        let mut talk = Talk::with(&world.client()).await;
        let fields = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n");
        talk.say(format!("POST /bank/x HTTP/1.1\r\n{fields}\r\npart")).await.unwrap();
        let answer = timeout(DEADLINE, talk.answer()).await.expect("in time").expect("an answer");
        assert_eq!(answer.status, 408);
    }
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_up_on_a_body_that_does_not_arrive_is_not_left_out() {
    let impatient = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            // Closes without a response once it has the head.
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
            }
        });
        address
    };
    let world = world(&[impatient().await, impatient().await], "").await;
    let token = world.sign(&world.token());
    for _ in 0..4 * FAILURES {
        let mut talk = Talk::with(&world.client()).await;
        let fields = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n");
        talk.say(format!("POST /bank/x HTTP/1.1\r\n{fields}\r\npart")).await.unwrap();
        timeout(DEADLINE, talk.answer()).await.expect("in time");
    }
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_end_an_ejection() {
    let (server, (address, _)) = (good(), silent().await);
    let world = world(&[server.address(), address], ", response_timeout: 100ms").await;
    assert_eq!(codes(&world, 2 * FAILURES, ["ok", "upstream_timeout"]).await, [FAILURES, FAILURES]);
    becomes(&world, "ejected", 1).await;
    world.attempt_reload(1).await;
    assert_eq!(servers(&world, "ejected").await, 1);
    assert_eq!(codes(&world, 6, ["ok", "upstream_timeout"]).await, [6, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_section_of_a_response_is_bounded() {
    for (keys, limit) in [("", 64 * 1024), (", header_bytes: 4KiB", 4 * 1024)] {
        // Room for the fields that the server adds, such as Date.
        for (length, status) in [(limit - 300, 200), (limit, 502)] {
            let server = answering(move |_| {
                let mut answer = Answer::text(StatusCode::OK, "ok");
                for (index, part) in vec![b'x'; length].chunks(8000).enumerate() {
                    let name = header::HeaderName::from_bytes(format!("x-{index}").as_bytes()).unwrap();
                    answer = answer.header(name, HeaderValue::from_bytes(part).unwrap());
                }
                answer
            });
            let world = world(&[server.address()], keys).await;
            let code = if status == 200 { "ok" } else { "upstream_invalid" };
            assert_eq!(world.judge(post(&world)).await, (status, code.into()), "{keys} {length}");
            assert_eq!(server.heads(), 1);
            let invalid = metric(&world, "errors_total{kind=\"protocol\",upstream=\"bank\"}").await;
            assert_eq!(invalid, u64::from(status == 502), "{keys} {length}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_unused_connections_that_are_kept_is_a_limit() {
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    for (keys, reused) in [("", true), ("  idle_upstream_connections: 1\n", false)] {
        let backend = Backend::http1().await;
        let address = backend.address();
        let world = World::with(|scene| {
            let mut scene = with_bank(scene, &plain(&[address]), "").replace("limits:\n", &format!("limits:\n{keys}"));
            // The limit is rounded up to a multiple of the number of CPUs.
            for number in 0..cpus {
                let upstream = format!("  twin{number}: {{ servers: [\"http://{address}\"] }}\nroutes:\n");
                scene = scene.replace("routes:\n", &upstream).append(&format!(
                    "  - {{ name: twin{number}, path: /twin{number}, methods: [GET], scopes: [accounts], upstream: twin{number} }}\n"
                ));
            }
            // Each thread has a pool of its own.
            scene.one_thread()
        })
        .await;
        let token = world.sign(&world.token());
        let send = async |path: &str| -> Call {
            let answer = world.client().send(request(path, &token)).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            // The audit line is written when the exchange has ended and its connection is back in the pool.
            world.gateway.record_of(&answer);
            backend.take().remove(0)
        };
        let first = send("/bank/accounts").await.connection;
        assert_eq!(send("/bank/accounts").await.connection, first, "control: one connection is kept");
        for number in 0..cpus {
            send(&format!("/twin{number}")).await;
        }
        assert_eq!(send("/bank/accounts").await.connection == first, reused, "{keys:?}");
    }
}
