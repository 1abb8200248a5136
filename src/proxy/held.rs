//! Exchanges that Pingora cannot have, since something is whole before it goes on: an answer of an authorization server, which is
//! judged; a response that is signed; or a request that was signed, and is larger than what Pingora keeps.
//!
//! Pingora passes a response on as it comes: once its head is written, a token that is in its body can be cut off and not taken
//! back. So the gateway has these exchanges itself, on connections of Pingora's: the body of the request was read already, or there
//! is none.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fapi::authorization_server::{AnswerError, Endpoint};
use fapi::permit::Permit;
use fapi::rejection::{Cause, Unavailable};
use fapi::signature::error::SignatureError;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorSource, ErrorType};
use tokio::time::timeout;

use super::Proxy;
use super::context::{Context, connection};
use super::edits::without_hops;
use super::unread::{self, Framing};
use crate::connection::http2_stream::Http2Stream;

/// Why an exchange is not Pingora's.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// The answer of this endpoint is judged as a whole.
    Endpoint(Endpoint),
    /// The response is signed as a whole, if it has at most so many bytes of content.
    Signed(usize),
    /// The request is larger than what Pingora keeps. Its response is passed on as it comes.
    Upload,
}

impl Held {
    /// The largest answer that is kept, in bytes; `None` if none is.
    const fn largest_answer(self) -> Option<usize> {
        match self {
            Self::Endpoint(_) => Some(LARGEST_ANSWER),
            Self::Signed(most) => Some(most),
            Self::Upload => None,
        }
    }
}

/// An answer that nobody has seen yet.
struct Answer {
    head: ResponseHeader,
    body: Bytes,
}

impl Proxy {
    /// Has the whole exchange.
    ///
    /// # Errors
    /// Those of the attempt, of which Pingora has the answer made: a response of which a part is missing has no end then.
    pub(super) async fn exchange_held(
        &self,
        session: &mut Session,
        context: &mut Context,
        held: Held,
    ) -> pingora::Result<()> {
        if let Some(stream) = Http2Stream::current().filter(|_| session.is_http2()) {
            stream.limit(context.time_left());
        }
        let answer = loop {
            match self.attempt(session, context, held).await {
                Err(error) if error.retry() => {}
                ended => break ended,
            }
        };
        match (answer?, held) {
            (Some(answer), Held::Endpoint(endpoint)) => self.deliver(session, context, endpoint, answer).await,
            (Some(answer), Held::Signed(_)) => self.deliver_signed(session, context, answer).await,
            (Some(_), Held::Upload) | (None, _) => Ok(()),
        }
    }

    /// Sends the request to a server, and reads its answer, or passes it on.
    async fn attempt(
        &self,
        session: &mut Session,
        context: &mut Context,
        held: Held,
    ) -> pingora::Result<Option<Answer>> {
        let peer = self.upstream_peer(session, context).await?;
        let time_left = context.time_left();
        let connecting = self.connector.get_http_session(&*peer);
        let connected = match timeout(time_left, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::explain(ErrorType::ConnectTimedout, "the exchange is over")),
        };
        let (mut server, reused) = match connected {
            Ok(connected) => connected,
            Err(error) => return Err(self.fail_to_connect(session, &peer, context, error.into_up())),
        };
        // The answer of an endpoint is small, and nobody sees the beginning of it: what its first byte may take is enough for all of
        // it. Elsewhere it is each read that may take so long.
        let patience = match held {
            Held::Endpoint(_) => peer.options.read_timeout.unwrap_or(context.time_left()).min(context.time_left()),
            Held::Signed(_) | Held::Upload => context.time_left(),
        };
        let (mut sent, mut early) = (false, false);
        let body = context.body.clone();
        let answer = match self.held_request(session, context, (&peer, &server), &body, held) {
            Ok(request) => {
                context.body_bytes = body.len() as u64;
                let late =
                    || Err(Error::explain(ErrorType::ReadTimedout, "the server did not answer in time").into_up());
                let largest = held.largest_answer();
                let asking = async {
                    let asked = async {
                        let head = match send(&peer, &mut server, request, body).await {
                            Ok(()) => {
                                sent = true;
                                read_head(&mut server).await?
                            }
                            // A server may answer before it has read everything, and need not read it then (RFC 9110 §15.5.14).
                            Err(error) => match timeout(LONGEST_ENDING, read_head(&mut server)).await {
                                Ok(Ok(head)) => {
                                    early = true;
                                    head
                                }
                                Ok(Err(_)) | Err(_) => return Err(error),
                            },
                        };
                        match largest {
                            Some(largest) => Ok((head, read_whole(&mut server, largest).await?)),
                            None => Ok((head, Bytes::new())),
                        }
                    };
                    timeout(patience, asked).await.unwrap_or_else(|_| late())
                };
                let answered = tokio::select! {
                    // What has come is worth more than that nobody may wait for it.
                    biased;
                    answered = asking => answered,
                    left = session.as_downstream_mut().read_body_or_idle(true) => Err(nobody_waits(left)),
                };
                context.body_done = sent || early;
                match (answered, largest) {
                    (Ok((head, body)), Some(_)) => Ok(Some(Answer { head, body })),
                    (Ok((head, _)), None) => self.pass_on(session, context, head, &mut server).await.map(|()| None),
                    (Err(error), _) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| match held {
            Held::Signed(limit) if *error.etype() == TOO_LARGE => {
                context.refuse(SignatureError::ResponseTooLarge { limit }, "the response was not signed").into_up()
            }
            Held::Signed(_) | Held::Endpoint(_) | Held::Upload => error,
        });
        let (connector, used, sound) = (self.connector.clone(), peer.clone(), answer.is_ok() && !early);
        let mut ending = Box::pin(async move {
            if sound {
                let idle = used.options.idle_timeout;
                connector.release_http_session(server, &*used, idle).await;
            } else {
                server.shutdown().await;
            }
        });
        // A connection that is kept is so at once. A server that reads nothing holds up nobody's answer: what has to be waited for is
        // waited for in a task of its own.
        if poll_fn(|context| Poll::Ready(ending.as_mut().poll(context).is_pending())).await {
            drop(tokio::spawn(timeout(LONGEST_ENDING, ending)));
        }
        context.response_done = sound;
        match answer {
            Err(error) if *error.esource() == ErrorSource::Downstream => Err(error),
            answer => answer.map_err(|error| self.error_while_proxy(&peer, session, error, context, reused)),
        }
    }

    /// The request as the server gets it: what was judged, and nothing that the client says of its own connection.
    fn held_request(
        &self,
        session: &Session,
        context: &mut Context,
        (peer, server): (&HttpPeer, &HttpSession),
        body: &Bytes,
        held: Held,
    ) -> pingora::Result<RequestHeader> {
        let asked: &http::request::Parts = session.req_header();
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = RequestHeader::build(asked.method.clone(), path.as_bytes(), Some(24))?;
        let mut headers = without_hops(&asked.headers);
        if matches!(held, Held::Endpoint(_)) {
            // What is judged is read as it is.
            headers.remove(header::ACCEPT_ENCODING);
            // What is rewritten has no tag of the server's.
            headers.remove(header::IF_NONE_MATCH);
            headers.remove(header::IF_MODIFIED_SINCE);
        }
        if context.exchange.permit().is_some_and(forwards_payload) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // They are about the JWT.
            for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
                headers.remove(name);
            }
        }
        headers.remove(header::EXPECT);
        let has_length = headers.remove(header::CONTENT_LENGTH).is_some();
        let authority = asked.uri.authority().map(|authority| authority.as_str());
        let host = headers.remove(header::HOST).or_else(|| HeaderValue::try_from(authority?).ok());
        for (name, value) in &headers {
            request.append_header(name.clone(), value.clone())?;
        }
        if let Some(host) = host {
            request.insert_header(header::HOST, host)?;
        }
        if !body.is_empty() || (has_length && !matches!(held, Held::Endpoint(_))) {
            request.insert_header(header::CONTENT_LENGTH, body.len())?;
        }
        let http2 = matches!(server, HttpSession::H2(_));
        request.set_version(if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
        if http2 {
            let host = request.remove_header(&header::HOST);
            let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
            let uri = format!("{}://{host}{path}", if peer.tls() { "https" } else { "http" });
            let uri = uri.parse().map_err(|_| Error::explain(ErrorType::InternalError, "the target is no URI"))?;
            request.set_uri(uri);
        }
        self.prepare_request(session, &mut request, context)?;
        Ok(request)
    }

    /// Judges an answer, and passes it on.
    async fn deliver(
        &self,
        session: &mut Session,
        context: &mut Context,
        endpoint: Endpoint,
        answer: Answer,
    ) -> pingora::Result<()> {
        let Answer { mut head, body } = answer;
        let (status, headers) = (head.status, head.headers.clone());
        self.edit_response(session, &mut head, context)?;
        let judged = self.judge_answer(context, endpoint, status, &headers, body.clone()).await;
        let body = match judged.or_else(|cause| context.pass_answer(cause, body)) {
            Ok(body) => body,
            Err(cause) => return Err(context.refuse(cause, "the answer was withheld").into_up()),
        };
        head.remove_header(&header::TRANSFER_ENCODING);
        // That of the server says nothing of the client's connection, and Pingora writes no other head over HTTP/1.
        head.set_version(Version::HTTP_11);
        if endpoint == Endpoint::Metadata && !context.is_in_shadow() {
            for name in [header::LOCATION, header::ETAG, header::LAST_MODIFIED] {
                head.remove_header(&name);
            }
        } else if endpoint != Endpoint::Metadata {
            // RFC 6749 §5.1, RFC 9126 §2.2: nobody keeps what is in it.
            head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
        }
        if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            head.insert_header(header::CONTENT_LENGTH, body.len())?;
        }
        context.attempt.end();
        if let Some(facts) = connection(session) {
            facts.phase.busy(context.time_left());
        }
        self.answer_with(session, context, head, body, Framing::Sound).await
    }

    /// Signs a response, and passes it on.
    async fn deliver_signed(
        &self,
        session: &mut Session,
        context: &mut Context,
        answer: Answer,
    ) -> pingora::Result<()> {
        let Answer { mut head, body } = answer;
        self.edit_response(session, &mut head, context)?;
        head.remove_header(&header::TRANSFER_ENCODING);
        head.set_version(Version::HTTP_11);
        // RFC 9110 §15.3.5, §15.4.5: these have no content, whatever an HTTP/2 server sends.
        let has_none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if has_none { Bytes::new() } else { body };
        if !has_none && session.req_header().method != http::Method::HEAD {
            head.insert_header(header::CONTENT_LENGTH, body.len())?;
        }
        let body = match self.sign_response(session, context, &mut head, &body).await {
            Ok(body) => body,
            Err(error) => return Err(context.refuse(error, "the response was not signed").into_up()),
        };
        context.attempt.end();
        if let Some(facts) = connection(session) {
            facts.phase.busy(context.time_left());
        }
        self.answer_with(session, context, head, body, Framing::Sound).await
    }

    /// Passes a response on as it comes.
    async fn pass_on(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut head: ResponseHeader,
        server: &mut HttpSession,
    ) -> pingora::Result<()> {
        self.edit_response(session, &mut head, context)?;
        head.set_version(Version::HTTP_11);
        let is_head = session.req_header().method == http::Method::HEAD;
        let has_content = !is_head && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if session.is_http2() || !has_content || head.headers.contains_key(header::CONTENT_LENGTH) {
            head.remove_header(&header::TRANSFER_ENCODING);
        } else {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        if let Some(facts) = connection(session) {
            facts.phase.busy(context.time_left());
        }
        unread::before_response(session, context, Framing::Sound);
        session.write_response_header(Box::new(head), !has_content).await.map_err(|error| error.into_down())?;
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = server.read_response_body() => chunk.map_err(|error| error.into_up())?,
                left = session.as_downstream_mut().read_body_or_idle(true) => return Err(nobody_waits(left)),
            };
            let Some(chunk) = chunk else { break };
            self.check_overdue(context)?;
            if has_content && !chunk.is_empty() {
                context.response_bytes = context.response_bytes.saturating_add(chunk.len() as u64);
                session.write_response_body(Some(chunk), false).await.map_err(|error| error.into_down())?;
            }
        }
        context.attempt.end();
        if has_content {
            session.write_response_body(None, true).await.map_err(|error| error.into_down())?;
        }
        unread::after_response(session, context).await;
        Ok(())
    }

    /// Judges what the server answered; returns what the client gets.
    async fn judge_answer(
        &self,
        context: &Context,
        endpoint: Endpoint,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Cause> {
        let internal = || Unavailable::Internal { detail: "an answer has no request".to_owned() };
        let permit = context.exchange.permit().ok_or_else(internal)?;
        let (rules, _) = permit.route().endpoint().ok_or_else(internal)?;
        let servers = &context.generation.gateway.authorization_servers;
        let server = servers.of(rules).ok_or_else(internal)?;
        let now = self.clock.unix_time();
        // None was asked for, and what is coded cannot be read here.
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(AnswerError::ContentTypeWrong.into());
        }
        match (endpoint, permit.asked()) {
            // In shadow, nothing is known of a request that broke a rule, and so nothing is asked of its answer.
            (Endpoint::Token | Endpoint::Registration, Some(_)) if permit.would_deny().is_some() => Ok(body),
            (Endpoint::PushedAuthorizationRequest, Some(asked)) => {
                let judged = match permit.would_deny() {
                    Some(_) => None,
                    None => Some(server.judge_pushed(asked.client_id(), (status, headers, &body), now).await),
                };
                if permit.is_in_shadow() && !matches!(judged, Some(Ok(()))) {
                    server.note_pushed(asked.client_id(), &body, now).await;
                }
                judged.unwrap_or(Ok(()))?;
                Ok(body)
            }
            (Endpoint::Token, Some(asked)) => {
                let (issuers, request) = (&context.generation.gateway.issuers, asked.token().ok_or_else(internal)?);
                server.judge_token(issuers, asked, request, (status, headers, &body), now).await?;
                Ok(body)
            }
            (Endpoint::Registration, Some(asked)) => {
                let asked = asked.registration().ok_or_else(internal)?;
                server.judge_registered(asked, (status, headers, &body))?;
                Ok(body)
            }
            (Endpoint::Metadata, _) => {
                let rewritten = server.metadata(status, &body, now)?;
                // In shadow, clients go on with what the server says.
                Ok(if permit.is_in_shadow() { body } else { rewritten.into() })
            }
            (_, _) => Err(internal().into()),
        }
    }
}

/// Whether the upstream gets the payload of what was signed.
fn forwards_payload(permit: &Permit) -> bool {
    permit.signed().is_some_and(|signed| signed.payload_to_forward().is_some())
}

/// What a client has done that waits for an answer.
fn nobody_waits(left: pingora::Result<Option<Bytes>>) -> Box<Error> {
    match left {
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "nobody waits for the answer").into_down(),
        Err(error) => error.into_down(),
    }
}

/// Sends the request.
async fn send(peer: &HttpPeer, server: &mut HttpSession, request: RequestHeader, body: Bytes) -> pingora::Result<()> {
    server.set_read_timeout(peer.options.read_timeout);
    server.set_write_timeout(peer.options.write_timeout);
    server.write_request_header(Box::new(request)).await.map_err(|error| error.into_up())?;
    if !body.is_empty() {
        server.write_request_body(body, true).await.map_err(|error| error.into_up())?;
    }
    server.finish_request_body().await.map_err(|error| error.into_up())
}

/// Reads the whole body of an answer, if it has at most this many bytes.
async fn read_whole(server: &mut HttpSession, largest: usize) -> pingora::Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = server.read_response_body().await.map_err(|error| error.into_up())? {
        if body.len().saturating_add(chunk.len()) > largest {
            let why = format!("the answer has more than {largest} bytes");
            return Err(Error::explain(TOO_LARGE, why).into_up());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The head of the final response.
async fn read_head(server: &mut HttpSession) -> pingora::Result<ResponseHeader> {
    for _ in 0..MOST_INTERIM {
        server.read_response_header().await.map_err(|error| error.into_up())?;
        match server.response_header() {
            Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => break,
            Some(head) if head.status.is_informational() => {}
            Some(head) => return Ok(head.clone()),
            None => break,
        }
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "there is no final response").into_up())
}

/// What an answer is that is larger than what is kept of it.
const TOO_LARGE: ErrorType = ErrorType::Custom("AnswerTooLarge");
/// How long the end of a connection may take.
const LONGEST_ENDING: Duration = Duration::from_secs(1);
/// How many interim responses are read before the final one.
const MOST_INTERIM: usize = 16;
/// The largest answer that is judged, in bytes.
const LARGEST_ANSWER: usize = 256 * 1024;
