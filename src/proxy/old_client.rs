//! What an HTTP/1.0 client cannot read.

use std::any::Any;

use async_trait::async_trait;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};

/// Removes the chunked coding from responses to HTTP/1.0 clients, so that the end of the connection ends the body.
///
/// RFC 9112 §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request
/// indicates HTTP/1.1 (or later minor revisions)." A module sees the response last, after Pingora has chosen the
/// framing.
#[derive(Default)]
pub(super) struct OldClient {
    old: bool,
}

#[async_trait]
impl HttpModule for OldClient {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> pingora::Result<()> {
        self.old = request.version == Version::HTTP_10;
        Ok(())
    }

    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _: bool) -> pingora::Result<()> {
        if self.old {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Creates an [`OldClient`] for each request.
pub(super) struct OldClients;

impl HttpModuleBuilder for OldClients {
    fn init(&self) -> Module {
        Box::new(OldClient::default())
    }
}
