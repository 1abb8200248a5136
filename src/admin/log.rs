//! `/log`: which lines the log has, read with GET and replaced with PUT until the next start.

use http::{Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;

use super::body::{body_of, peer};
use super::places::Place;
use super::readers::is_sent_by_page;
use super::{Admin, Entrance, TEXT, UNAUTHENTICATED, allow, plain};
use crate::telemetry::filter::{Filter, FilterError};
use crate::telemetry::logging;

/// Why the log remains as it is.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the methods of this path are GET and PUT")]
    Method,
    #[error("the request is a browser's")]
    Browser,
    #[error("{UNAUTHENTICATED}")]
    Unauthenticated,
    #[error("the body did not arrive, or is too large")]
    Body,
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Admin {
    /// Handles a request to `/log`.
    pub(super) async fn serve_log(&self, session: &mut ServerSession, place: &Place) -> Response<Vec<u8>> {
        let Some(current) = logging::chosen().filter(|_| self.entrance != Entrance::Network) else {
            return plain(StatusCode::NOT_FOUND, TEXT, Vec::new());
        };
        if session.req_header().method == Method::GET {
            return plain(StatusCode::OK, TEXT, format!("{current}\n").into_bytes());
        }
        match self.wanted(session, place).await {
            Ok(filter) => {
                let peer = peer(session);
                let say = || tracing::warn!(%filter, before = %current, peer, "the log has other lines from now on");
                // Under the old filter if that has the line, so that nobody turns the log off without a trace in it.
                let in_time = tracing::enabled!(tracing::Level::WARN);
                if in_time {
                    say();
                }
                logging::choose(&filter);
                if !in_time {
                    say();
                }
                let unknown = filter.unknown_targets();
                let notes: String =
                    unknown.map(|target| format!("no part of the program is called `{target}`\n")).collect();
                let status = if notes.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
                plain(status, TEXT, notes.into_bytes())
            }
            Err(refusal) => {
                session.set_keepalive(None);
                let mut response = plain(refusal.status(), TEXT, format!("{refusal}\n").into_bytes());
                if matches!(refusal, Refusal::Method) {
                    allow("GET, PUT", &mut response);
                }
                response
            }
        }
    }

    async fn wanted(&self, session: &mut ServerSession, place: &Place) -> Result<Filter, Refusal> {
        let admitted = self.admits(session);
        let body = body_of(session, place, MAX_BYTES).await;
        admitted?;
        Ok(String::from_utf8_lossy(&body.map_err(|_| Refusal::Body)?).trim().parse()?)
    }

    fn admits(&self, session: &ServerSession) -> Result<(), Refusal> {
        let request = session.req_header();
        if request.method != Method::PUT {
            return Err(Refusal::Method);
        }
        if is_sent_by_page(&request.headers) {
            return Err(Refusal::Browser);
        }
        if !self.entrance.admits(session, &self.generation.load_full(), self.clock.unix_time()) {
            return Err(Refusal::Unauthenticated);
        }
        Ok(())
    }
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Browser | Self::Unauthenticated => StatusCode::FORBIDDEN,
            Self::Body | Self::Filter(_) => StatusCode::BAD_REQUEST,
        }
    }
}

const MAX_BYTES: usize = 1024;
