//! A store that is slow, that says what nobody asked, or that is not the one it should be.

use std::collections::VecDeque;
use std::time::Duration;

use sandbox::tokens::Proof;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::replicas::{Replicas, at, seen_over_tls, shared, unavailable};
use super::{ok, refused};
use crate::edge::hostile::wire::Talk;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::{DEADLINE, ORIGIN, Running, Scene, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_slow_is_waited_for_and_one_that_is_slower_than_its_timeout_is_not() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    replicas.until(one, &ok()).await;
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "200"]), "OK");
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "2500"]), "OK");
    let proof = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &proof).await, unavailable());
    assert_eq!(
        replicas.judge(one, &used).await,
        refused("dpop_replayed"),
        "the store is not asked of what is known here"
    );
    replicas.until(other, &ok()).await;
    assert_eq!(replicas.judge(other, &proof).await, refused("dpop_replayed"), "it was recorded, later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_certificate_has_expired_is_not_used() {
    let world = World::start().await;
    for (expired, expected) in [(false, "ok"), (true, "the store `shared`: TLS: ")] {
        let certificate = match expired {
            false => world.authority.server(&["localhost"]),
            true => world.authority.server_with(&["localhost"], sandbox::pki::expired),
        };
        let redis = Redis::start_with_tls(&world.authority, &certificate);
        let identity = world.authority.client("gateway");
        let server = format!("rediss://localhost:{}", redis.port());
        let tls = "trust_anchors: [ca.pem], certificate: id.pem, private_key: id-key.pem";
        let seen = seen_over_tls(&world, &identity, &server, tls).await;
        assert!(seen.contains(expected), "{expired}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_stranger_wrote_under_the_key_of_a_proof_it_never_lets_that_pass() {
    let redis = Redis::start(&[]);
    let server = at(redis.port());
    // This one's keys say what the keys of the others will be.
    let replicas = Replicas::start(&server, ", prefix: \"other:\"").await;
    let [one, _] = replicas.gateways();
    let world = &replicas.world;
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let attacked = Running::start(shared(scene, &server, ""), &world.clock).await;
    attacked.ready().await;
    world.clock.advance(120);
    for command in [
        &["SET", "KEY", ""][..],
        &["SET", "KEY", "OK"],
        &["SET", "KEY", "x", "PX", "60000"],
        &["HSET", "KEY", "a", "b"],
        &["LPUSH", "KEY", "a"],
        &["XADD", "KEY", "*", "a", "b"],
    ] {
        let proof = replicas.proof().sign(&replicas.holder.key);
        let before = redis.cli(&["--raw", "KEYS", "other:p:*"]);
        assert_eq!(replicas.judge(one, &proof).await, ok());
        let keys = redis.cli(&["--raw", "KEYS", "other:p:*"]);
        let key = keys.lines().find(|key| !before.lines().any(|known| known == *key)).expect("the key of the proof");
        let key = key.replace("other:", "fapi:");
        let command: Vec<&str> = command.iter().map(|word| if *word == "KEY" { &*key } else { *word }).collect();
        redis.cli(&command);
        assert_eq!(redis.cli(&["EXISTS", &key]), "1", "{command:?}");
        assert_eq!(replicas.judge(&attacked, &proof).await, refused("dpop_replayed"), "{command:?}");
        assert_eq!(replicas.judge(&attacked, &replicas.proof().sign(&replicas.holder.key)).await, ok(), "control");
    }
}

/// A server that answers each question in its turn, as a good one does, but for those that record something: each of them is
/// told, and answered with what is sent.
async fn scripted() -> (u16, mpsc::UnboundedReceiver<()>, mpsc::UnboundedSender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = mpsc::unbounded_channel();
    let (answers, mut says) = mpsc::unbounded_channel::<&'static str>();
    tokio::spawn(async move {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let (mut began, mut buffer) = (String::new(), vec![0; 4096]);
        // Those without an answer yet, and what comes after them.
        let mut owed: VecDeque<Option<String>> = VecDeque::new();
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => {
                    let Ok(count @ 1..) = read else { return };
                    let received = String::from_utf8_lossy(&buffer[..count]);
                    for question in received.split('*').filter(|question| !question.is_empty()) {
                        let answer = usual(question, &mut began);
                        if answer.is_none() {
                            let _ = asked.send(());
                        }
                        owed.push_back(answer);
                    }
                }
                Some(answer) = says.recv() => {
                    let waiting = owed.iter_mut().find(|answer| answer.is_none()).expect("a question");
                    *waiting = Some(answer.to_owned());
                }
            }
            while let Some(Some(answer)) = owed.front() {
                stream.write_all(answer.as_bytes()).await.unwrap();
                owed.pop_front();
            }
        }
    });
    (port, questions, answers)
}

/// What a good server says to any question but the use of a proof.
fn usual(question: &str, began: &mut String) -> Option<String> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let words: Vec<&str> = question.lines().filter(|line| !line.starts_with('$')).skip(1).collect();
    match &words[..] {
        ["HELLO", ..] => Some("%1\r\n$5\r\nproto\r\n:3\r\n".to_owned()),
        ["INFO"] => {
            let info = format!(
                "run_id:{0}\r\nmaster_replid:{0}\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n",
                "a".repeat(40)
            );
            Some(bulk(&info))
        }
        ["TIME"] => Some("*2\r\n$10\r\n1900000000\r\n$1\r\n0\r\n".to_owned()),
        ["SET", "fapi:began", value, "NX"] => {
            (*value).clone_into(began);
            Some("+OK\r\n".to_owned())
        }
        ["GET", "fapi:began"] => Some(bulk(began)),
        ["SET", key, "", "NX", "PX", _] if key.starts_with("fapi:p:") => None,
        words => panic!("{words:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_or_twice_is_not_taken_for_that_to_another_question() {
    const FIRST: &str = "+OK\r\n";
    const AGAIN: &str = "_\r\n";
    let (port, mut questions, answers) = scripted().await;
    let world = World::with(|scene| shared(scene, &at(port), "")).await;
    let holder = world.holder();
    let judge = async || {
        let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        world.judge_from(&world.anonymous(), request).await
    };
    let mut asked = async || timeout(DEADLINE, questions.recv()).await.expect("a question").expect("the server runs");
    // Control: what is answered in time.
    for (answer, expected) in [(FIRST, ok()), (AGAIN, refused("dpop_replayed"))] {
        let judged = tokio::join!(judge(), async {
            asked().await;
            answers.send(answer).unwrap();
        });
        assert_eq!(judged.0, expected);
    }
    // The answer to the first comes while the second is waited for.
    let first = tokio::join!(judge(), asked());
    assert_eq!(first.0, unavailable());
    let second = tokio::join!(judge(), async {
        asked().await;
        answers.send(FIRST).unwrap();
        answers.send(AGAIN).unwrap();
    });
    assert_eq!(second.0, refused("dpop_replayed"), "the answer that was late says that it is the first");
    // An answer comes twice, and the second one before anybody asks again.
    let judged = tokio::join!(judge(), async {
        asked().await;
        answers.send("+OK\r\n+OK\r\n").unwrap();
    });
    assert_eq!(judged.0, ok());
    let judged = tokio::join!(judge(), async {
        asked().await;
        answers.send(AGAIN).unwrap();
    });
    assert_eq!(judged.0, refused("dpop_replayed"));
    assert!(timeout(Duration::ZERO, questions.recv()).await.is_err(), "nothing is asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_its_store_is_ready_when_it_serves_clients_and_not_before() {
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = at(silent.local_addr().unwrap().port());
    let world = World::start().await;
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let gateway = Running::start(shared(scene, &server, ""), &world.clock).await;
    let (status, said) = gateway.admin("/readyz").await;
    assert_eq!((status, said.lines().last()), (503, Some("starting")), "{said}");
    gateway.ready().await;
    // Tokens that are bound to a certificate need no store.
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN).certificate(&world.c1);
    let response = client.send(world.request()).await.expect("the gateway answers");
    assert_eq!(response.status(), 200);
}

/// Pays with a token for that, and with a proof for each payment.
struct Payer {
    replicas: Replicas,
    token: String,
}

impl Payer {
    /// On a route that compares bodies, and so waits for them.
    async fn start(redis: &Redis) -> Self {
        let usual = "    scopes: { any: [payments, accounts] }\n";
        let require = "    require: { authorization_details: [{ type: payment, match: [{ detail: /iban, equals: { body: /iban } }] }] }\n";
        let compared = |scene: Scene| scene.replace(usual, &format!("{usual}{require}"));
        let replicas = Replicas::with(|scene| shared(compared(scene), &at(redis.port()), "")).await;
        let details = json!([{ "type": "payment", "iban": "DE02" }]);
        let world = &replicas.world;
        let token = world.issuer.token(world.clock.now()).bound_to_key(replicas.holder.key.thumbprint());
        let token = token.claim("authorization_details", details);
        let token = world.sign(&token);
        Self { replicas, token }
    }

    fn proof(&self) -> String {
        let now = self.replicas.world.clock.now();
        Proof::new("POST", &format!("{ORIGIN}/payments"), now).for_token(&self.token).sign(&self.replicas.holder.key)
    }

    /// Sends everything but the end of the body, for which the gateway then waits.
    async fn begin(&self, gateway: &Running, proof: &str) -> Talk {
        let mut talk = Talk::with(&self.replicas.client(gateway)).await;
        let head = format!(
            "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: DPoP {}\r\nDPoP: {proof}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            self.token,
            BODY.len()
        );
        talk.say(head).await.unwrap();
        talk.until("HTTP/1.1 100 Continue\r\n\r\n").await;
        talk
    }
}

/// The record of a request whose body comes to its end.
async fn end(mut talk: Talk, gateway: &Running) -> Value {
    talk.say(BODY).await.unwrap();
    let answer = talk.answer().await.expect("an answer");
    gateway.record(answer.field("x-fapi-interaction-id")[0])
}

const BODY: &str = r#"{"iban":"DE02"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_everything_while_a_body_is_waited_for_lets_no_used_proof_pass() {
    let redis = Redis::start(&[]);
    let payer = Payer::start(&redis).await;
    let [one, other] = payer.replicas.gateways();
    for (used, lost, expected) in [
        (false, false, "ok"),
        (true, false, "dpop_replayed"),
        (true, true, "dpop_nonce_required"),
        (false, true, "dpop_nonce_required"),
    ] {
        let proof = payer.proof();
        if used {
            assert_eq!(end(payer.begin(one, &proof).await, one).await["code"], "ok");
        }
        let waiting = payer.begin(other, &proof).await;
        if lost {
            assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
            for gateway in [one, other] {
                payer.replicas.until(gateway, &refused("dpop_nonce_required")).await;
            }
        }
        let record = end(waiting, other).await;
        assert_eq!(record["code"], expected, "{used}, {lost}: {record}");
        if lost {
            // Older than the proofs that follow.
            payer.replicas.world.clock.advance(30);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_names_another_store_makes_older_proofs_need_a_nonce() {
    let (redis, another) = (Redis::start(&[]), Redis::start(&[]));
    drop(Replicas::start(&at(another.port()), "").await);
    // It says that it is older than any proof.
    let began = another.cli(&["GET", "fapi:began"]);
    let (run, began) = began.split_once(' ').expect("a run and a second");
    let earlier = began.parse::<u64>().unwrap() - 1000;
    assert_eq!(another.cli(&["SET", "fapi:began", &format!("{run} {earlier}")]), "OK");
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let proof = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(other, &proof).await, ok());
    let older = replicas.proof().sign(&replicas.holder.key);
    replicas.world.reload(1, |text| text.replace(&at(redis.port()), &at(another.port()))).await;
    assert_eq!(replicas.judge(one, &proof).await, refused("dpop_nonce_required"));
    assert_eq!(replicas.judge(one, &older).await, refused("dpop_nonce_required"), "nobody can tell them apart");
    replicas.world.clock.advance(30);
    assert_eq!(replicas.judge(one, &replicas.proof().sign(&replicas.holder.key)).await, ok(), "control");
    // One that keeps the store keeps what it knows.
    let older = replicas.proof().sign(&replicas.holder.key);
    replicas.world.reload(2, |text| text.replace("timeout: 1s", "timeout: 2s")).await;
    replicas.until(one, &ok()).await;
    assert_eq!(replicas.judge(one, &older).await, ok(), "control");
}
