//! Where tokens come from: they are given, or an authorization server issues them, or an issuer whose key is at hand signs them.

mod server;

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::tokens::AccessToken;
use uuid::Uuid;

pub(crate) use server::resolve;
pub use server::{Authentication, Grant, Server, Visit};

use crate::call::Token;
use crate::clock::now;
use crate::session::{Binding, Stop, skip};
use crate::settings::Settings;
use crate::wire::Wire;

/// How long before its end a token is not used any more, in seconds; a quarter of a life that is shorter.
const MARGIN: u64 = 30;
/// How often a token is asked for that cannot be had.
const TRIES: u32 = 2;

/// Where tokens come from. Holds tokens and keys, so it does not implement `Debug`.
pub enum Source {
    /// The issuer of [`Settings::issuer`] signs them.
    Issuer,
    /// They are given, for each client.
    Given([Given; 2]),
    /// An authorization server issues them.
    Server(Box<Server>),
}

/// The tokens of one client.
#[derive(Clone, Default)]
pub struct Given {
    /// One that is bound to its certificate.
    pub certificate: Option<String>,
    /// One that is bound to the key of its proofs.
    pub dpop: Option<String>,
}

/// The tokens that were used so far.
#[derive(Default)]
pub struct Wallet {
    tokens: HashMap<(usize, Binding), (Token, u64)>,
    /// Why no token could be had, and how often it was tried.
    failed: HashMap<(usize, Binding), (String, u32)>,
}

impl Wallet {
    /// The token of a client, one for the whole run unless its life ends.
    pub(crate) fn token(&mut self, wire: &mut Wire<'_>, client: usize, binding: Binding) -> Result<Token, Stop> {
        let key = (client, binding);
        if let Some((token, until)) = self.tokens.get(&key)
            && *until > now()
        {
            return Ok(token.clone());
        }
        if let Some((why, tries)) = self.failed.get(&key)
            && *tries >= TRIES
        {
            return Err(Stop::Inconclusive(why.clone()));
        }
        let token = self.another(wire, client, binding);
        if let Err(Stop::Inconclusive(why)) = &token {
            let (known, tries) = self.failed.entry(key).or_default();
            why.clone_into(known);
            // Nobody logs in again for each module.
            let person = matches!(&wire.settings().source, Source::Server(server) if server.needs_a_person());
            *tries = tries.saturating_add(if person { TRIES } else { 1 });
        }
        token
    }

    /// A token that was not used yet; one that is given is always the same.
    pub(crate) fn another(&mut self, wire: &mut Wire<'_>, client: usize, binding: Binding) -> Result<Token, Stop> {
        let settings = wire.settings();
        let (text, until) = match &settings.source {
            Source::Given(given) => {
                let given = given.get(client);
                let text = match binding {
                    Binding::Certificate => given.and_then(|given| given.certificate.clone()),
                    Binding::Dpop => given.and_then(|given| given.dpop.clone()),
                };
                let name = client.saturating_add(1);
                (text.ok_or_else(|| skip(format!("no token of client {name} with this binding is given")))?, u64::MAX)
            }
            Source::Issuer => {
                let issuer = settings.issuer.as_ref().ok_or_else(|| skip("there is no `issuer`"))?;
                let token = Self::issued(settings, client, binding)?;
                (token.sign(&issuer.key), now().saturating_add(LIFETIME))
            }
            Source::Server(_) if settings.dry => ("token".to_owned(), u64::MAX),
            Source::Server(server) => server.token(wire, client, binding)?,
        };
        let name = match binding {
            Binding::Certificate => format!("TOKEN_{}", client.saturating_add(1)),
            Binding::Dpop => format!("TOKEN_DPOP_{}", client.saturating_add(1)),
        };
        wire.learn(&text, &name);
        let left = until.saturating_sub(now());
        let until = until.saturating_sub(MARGIN.min(left / 4));
        let token = Token { text, name };
        self.tokens.insert((client, binding), (token.clone(), until));
        Ok(token)
    }

    /// A good token of the issuer whose key is at hand, not signed yet.
    pub(crate) fn issued(settings: &Settings, client: usize, binding: Binding) -> Result<AccessToken, Stop> {
        let issuer = settings.issuer.as_ref().ok_or_else(|| skip("there is no `issuer`"))?;
        let of = settings.clients.get(client).ok_or_else(|| skip("there is no such client"))?;
        let time = now();
        let mut token = AccessToken::new(issuer.issuer.as_str(), issuer.audience.as_str(), time)
            .expires_at(time.saturating_add(LIFETIME))
            .claim("client_id", of.client_id.as_str())
            .claim("jti", Uuid::new_v4().to_string())
            .scope(settings.resource.scope.as_deref().unwrap_or_default());
        if settings.resource.scope.is_none() {
            token = token.without("scope");
        }
        for (name, value) in &issuer.claims {
            token = token.claim(name, value.clone());
        }
        Ok(match binding {
            Binding::Certificate => {
                let certificate = of.certificate.as_ref().and_then(|certificate| certificate.chain.first());
                let certificate = certificate.ok_or_else(|| skip("the client has no certificate"))?;
                token.bound_to_thumbprint(&thumbprint(certificate))
            }
            Binding::Dpop => {
                let key = of.proof_key.as_ref().ok_or_else(|| skip("the client has no `proof_key`"))?;
                token.bound_to_key(key.thumbprint())
            }
        })
    }
}

/// The hash of some bytes in base64url: of a certificate it is `x5t#S256` (RFC 8705 §3.1).
pub fn thumbprint(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(fapi::sha256(bytes))
}

/// The lifetime of the tokens that are signed here, in seconds.
const LIFETIME: u64 = 300;
