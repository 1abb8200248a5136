//! In place of the client for authorization servers: an issuer that the model plays.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use reqwest::Url;

use crate::tls_client::{Identity, TrustAnchors};

/// Calls the issuer of the scene.
pub struct Client;

/// An issuer.
pub trait Issuer: Send + Sync {
    /// Its response to a form.
    fn answer(&self, form: String) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
}

thread_local! {
    /// All threads of a scene are the checker's, on one thread of the system.
    static ISSUER: RefCell<Option<Arc<dyn Issuer>>> = const { RefCell::new(None) };
}

/// From now on this issuer is called.
pub fn is_played_by(issuer: Arc<dyn Issuer>) {
    ISSUER.set(Some(issuer));
}

impl Client {
    pub fn new(_: &TrustAnchors, _: Duration, _: Duration) -> Result<Self, ClientError> {
        Ok(Self)
    }

    pub fn for_many_calls(
        _: &TrustAnchors,
        _: Option<&Identity>,
        _: usize,
        _: Duration,
    ) -> Result<Self, ClientError> {
        Ok(Self)
    }

    pub async fn get_json_bytes(&self, url: &Url) -> Result<Bytes, FetchError> {
        Err(FetchError::TimedOut { host: host(url) })
    }

    pub async fn post_form<E: From<FetchError>, F: Future<Output = Result<String, E>>>(
        &self,
        _: &Url,
        _: &'static str,
        _: usize,
        form: impl Fn() -> F,
    ) -> Result<Response<Bytes>, E> {
        let issuer = ISSUER.with_borrow(Clone::clone).expect("the scene has an issuer");
        Ok(issuer.answer(form().await?).await)
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    #[error("there is no endpoint")]
    NoEndpoint,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{host} did not answer in time")]
    TimedOut { host: Box<str> },
    #[error("{host} sent more than {limit} bytes")]
    TooLarge { host: Box<str>, limit: usize },
    #[error("{host} answered with {coding:?}")]
    Encoded { host: Box<str>, coding: Box<str> },
}

pub(super) fn host(url: &Url) -> Box<str> {
    url.host_str().unwrap_or_default().into()
}
