//! One request to the gateway, over a connection of its own: what the client gets, and what the audit says of it.

use std::sync::Arc;

use http::HeaderMap;
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use sandbox::pki::Credential;
use serde_json::Value;

use super::super::stage::Stage;

/// What came of a request: at the client, and in the audit.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    /// The body as JSON; `null` if it is not.
    pub(super) body: Value,
    record: Value,
}

impl Answer {
    /// A field of the response, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code in the audit.
    pub(super) fn code(&self) -> &str {
        self.recorded("code")
    }

    /// What an operator reads in the audit.
    pub(super) fn reason(&self) -> &str {
        if self.code() == "ok" { "permitted" } else { self.recorded("detail") }
    }

    fn recorded(&self, name: &str) -> &str {
        self.record.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Sends a request through the gateway and looks up its audit record.
pub(super) async fn through_the_gateway(stage: &Stage, request: RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await.map_err(|error| error.to_string())?;
    let body = serde_json::from_str(&body).unwrap_or_default();
    let interaction = headers.get("x-fapi-interaction-id").and_then(|value| value.to_str().ok());
    let interaction = interaction.ok_or("the response has no x-fapi-interaction-id")?;
    let record = stage.record(interaction).await.ok_or("the gateway wrote no audit line")?;
    Ok(Answer { status, headers, body, record })
}

/// A client with this certificate, or with none.
pub(super) fn client(stage: &Stage, certificate: Option<&Credential>) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls(stage, certificate)?)
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .map_err(|error| error.to_string())
}

fn tls(stage: &Stage, certificate: Option<&Credential>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(stage.authority.der().to_vec())).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(crate::connection::tls::provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(certificate) => builder
            .with_client_auth_cert(certificate.chain_der.clone(), certificate.private_key())
            .map_err(|error| error.to_string()),
    }
}
