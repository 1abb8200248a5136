//! Revokes a token, at the authorization server or wherever the target hears of revocations.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::Value;

use crate::authorization::{Source, resolve};
use crate::call::{Call, TOKEN, Token};
use crate::clock::now;
use crate::exchange::NoAnswer;
use crate::exchange::door::Door;
use crate::exchange::http1::Connection;
use crate::sent::Sent;
use crate::session::{Stop, observed, skip};
use crate::settings::{Revoke, Settings, Target};
use crate::socket::Socket;
use crate::wire::Wire;

/// Revokes a token of a client.
///
/// # Errors
/// [`Stop`] if nobody can be told, or whoever is told does not take it.
pub fn revoke(wire: &mut Wire<'_>, client: usize, token: &Token) -> Result<(), Stop> {
    let settings = wire.settings();
    match &settings.revoke {
        None => Err(skip("`revocation` does not say how a token is revoked")),
        Some(Revoke::Endpoint) => match &settings.source {
            Source::Server(server) => server.revoke(wire, client, &token.text),
            Source::Given(_) | Source::Issuer => {
                Err(skip("no authorization server is named that could revoke a token"))
            }
        },
        Some(Revoke::Post { url, content_type, body }) => post(wire, settings, url, content_type, body, token),
    }
}

fn post(
    wire: &mut Wire<'_>,
    settings: &Settings,
    url: &Uri,
    content_type: &str,
    body: &str,
    token: &Token,
) -> Result<(), Stop> {
    let body = match body.contains("{jti}") {
        true => {
            let jti = jti(&token.text).ok_or_else(|| skip("the token has no `jti`, by which it would be revoked"))?;
            body.replace("{jti}", &jti)
        }
        false => body.to_owned(),
    };
    let address = resolve(url)?;
    let target = Target { url: url.clone(), addresses: vec![address], roots: Arc::clone(&settings.target.roots) };
    let call = Call {
        // An `http` URL has another default port.
        host: url.authority().map(ToString::to_string).unwrap_or_default(),
        token: Some(token.clone()),
        fields: vec![("Content-Type".to_owned(), content_type.to_owned())],
        body: Some(body.replace("{token}", TOKEN)),
        ..Call::bare("POST", &target)
    };
    let sent = Sent::of(&call, &target, wire.agent(), now(), None);
    let timeout = settings.limits.timeout;
    let exchange = match url.scheme_str() {
        Some("http") if address.ip().to_canonical().is_loopback() => wire.elsewhere(address, sent, |sent| {
            let socket = Socket::connect(address, timeout).map_err(NoAnswer::Connect)?;
            Connection::new(socket).exchange(&sent.http1(), false)
        })?,
        _ => {
            let door = Door {
                address,
                name: target.host().to_owned(),
                certificate: None,
                protocols: &[b"http/1.1"],
                roots: Arc::clone(&target.roots),
                timeout,
            };
            wire.send_elsewhere(&door, &target.origin(), sent)?
        }
    };
    match &exchange.answer {
        Ok(response) if response.is_success() => Ok(()),
        answer => Err(Stop::Inconclusive(format!("the revocation was answered: {}", observed(answer)))),
    }
}

/// The `jti` of a JWT, read without verifying anything: it is our own token.
fn jti(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("jti")?.as_str()?.to_owned())
}
