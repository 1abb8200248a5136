//! The last look at a response, after Pingora has chosen its framing and right before it is written.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};

use crate::connection::http2_stream::Http2Stream;
use crate::connection::phase::Phase;

/// What a response still needs, and who is told that it is complete.
#[derive(Default)]
pub(super) struct Delivery {
    to_old_client: bool,
    told: Option<Told>,
}

/// Who is told when an upstream's response is complete, although the body of its request is not.
pub(super) enum Told {
    Http1(Arc<Phase>),
    Http2(Arc<Http2Stream>),
}

impl Delivery {
    /// Chooses who is told; `None` if nobody has to be, such as for a response of the gateway's own.
    pub(super) fn tell(&mut self, told: Option<Told>) {
        self.told = told;
    }

    fn end(&self) {
        match &self.told {
            None => {}
            Some(Told::Http1(phase)) => phase.answered(),
            Some(Told::Http2(stream)) => stream.answered(),
        }
    }
}

#[async_trait]
impl HttpModule for Delivery {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> pingora::Result<()> {
        self.to_old_client = request.version == Version::HTTP_10;
        Ok(())
    }

    async fn response_header_filter(&mut self, response: &mut ResponseHeader, end: bool) -> pingora::Result<()> {
        // RFC 9112 §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request
        // indicates HTTP/1.1 (or later minor revisions)." Without it, the end of the connection ends the body.
        if self.to_old_client {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        if end {
            self.end();
        }
        Ok(())
    }

    fn response_body_filter(&mut self, _: &mut Option<Bytes>, end: bool) -> pingora::Result<()> {
        if end {
            self.end();
        }
        Ok(())
    }

    fn response_trailer_filter(&mut self, _: &mut Option<Box<HeaderMap>>) -> pingora::Result<Option<Bytes>> {
        self.end();
        Ok(None)
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        self.end();
        Ok(None)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Creates a [`Delivery`] for each request.
pub(super) struct Deliveries;

impl HttpModuleBuilder for Deliveries {
    fn init(&self) -> Module {
        Box::new(Delivery::default())
    }
}
