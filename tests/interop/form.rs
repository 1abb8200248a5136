//! Forms, as clients post them.

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{Request, Response};

/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// A form, or a query.
#[derive(Clone, Default)]
pub struct Form(Vec<(&'static str, String)>);

impl Form {
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self
    }

    pub fn with(self, name: &'static str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    pub fn and(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, value.to_owned()));
        self
    }

    pub fn encoded(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub fn post(&self, url: &str) -> Request<Bytes> {
        Request::post(url).header("content-type", FORM).body(self.encoded().into()).expect("a request")
    }
}

pub fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).expect("a request")
}

pub fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
