//! `forward` of a route: what the upstream is told about the sender, and what of the request it does not see.

use std::sync::Arc;

use fapi::field_names::FieldNames;
use fapi::headers::StripList;
use fapi::identity_jwt::{self, IdentityJwt};
use fapi::route::{Forward, Pattern, UpstreamRef};
use http::HeaderName;

use super::Build;
use super::routes::Names;
use crate::config::NamedFiles;
use crate::config::error::KeyPath;
use crate::config::file;

impl Build<'_> {
    pub(super) fn forward(
        &mut self,
        at: &KeyPath,
        entry: &mut file::Route,
        upstream: Option<&UpstreamRef>,
        names: &Names,
        pattern: Option<&Pattern>,
    ) -> Option<Forward> {
        let public = entry.public == Some(true);
        let mut forward = entry.forward.take().unwrap_or_default();
        let access_token = *forward.access_token.get_or_insert(false);
        let client_certificate = *forward.client_certificate.get_or_insert(false);
        let client_certificate_chain = *forward.client_certificate_chain.get_or_insert(false);
        // RFC 9440 §2.3: Client-Cert-Chain "MUST NOT appear unless Client-Cert is also present".
        if client_certificate_chain && !client_certificate {
            let problem = "the chain is forwarded only with the certificate itself; write `client_certificate: true` too, or remove the key";
            self.report.problem_unless(&[at.key("client_certificate")], &at.key("client_certificate_chain"), problem);
        }
        let claims = &*forward.claims.get_or_insert_default();
        let path_variables = &*forward.path_variables.get_or_insert_default();
        let token_at = at.key("access_token");
        if public {
            let meaningless = "the route is public, so no token is checked; remove the key, or remove `public`";
            let dpop = forward.dpop == Some(file::ForwardedProof::Keep);
            let written = [
                ("access_token", access_token),
                ("claims", !claims.is_empty()),
                ("dpop", dpop),
                ("identity_jwt", forward.identity_jwt.is_some()),
            ];
            // The rest is looked at all the same.
            let _ = self.refuse_written(at, &written, meaningless);
        }
        // RFC 6750 §5.3: bearer tokens are sent over TLS only; anyone can read a token that leaves this machine in the
        // clear.
        if access_token
            && let Some((name, exposed)) = upstream.and_then(|upstream| names.upstreams.get(upstream.index))
            && let Some(server) = exposed.first()
        {
            let problem = format!(
                "the token would cross the network unencrypted to `{server}` of `{name}`; write `https://` there, or `access_token: false` here"
            );
            self.problem(&token_at, problem);
        }
        let mut taken = Vec::new();
        let claims = claims.iter().map(|(claim, header)| {
            let at = at.key("claims").key(claim);
            if claim.is_empty() {
                self.problem(&at, "the claim has no name; write one such as `sub`");
                return None;
            }
            let name = self.carrier(&at, (header, "X-Token-Subject"), format!("the claim `{claim}`"), &mut taken)?;
            Some((claim.as_str().into(), name))
        });
        let claims: Vec<Option<(Box<str>, HeaderName)>> = claims.collect();
        let segments = path_variables.iter().map(|(variable, header)| {
            let at = at.key("path_variables").key(variable);
            let segment = self.path_variable(&at, variable, pattern);
            let name =
                self.carrier(&at, (header, "X-Token-Subject"), format!("the path variable `{variable}`"), &mut taken);
            Some((segment?, name?))
        });
        let segments: Vec<Option<(usize, HeaderName)>> = segments.collect();
        let dpop_proof = *forward.dpop.get_or_insert_default() == file::ForwardedProof::Keep;
        if dpop_proof && !public {
            self.check_proof_is_kept_soundly(&at.key("dpop"), entry, access_token, names);
        }
        let identity_at = at.key("identity_jwt");
        let identity_jwt = match forward.identity_jwt.as_deref().filter(|_| !public) {
            None => Some(None),
            Some(header) => self.identity_jwt(&identity_at, header, &mut taken, upstream, names),
        };
        let own: Vec<&HeaderName> = taken.iter().map(|(name, _)| name).collect();
        let strip = forward.strip.as_deref().map(|names| self.stripped(&at.key("strip"), names, &own));
        entry.forward = Some(forward);
        Some(Forward {
            access_token,
            dpop_proof,
            client_certificate,
            client_certificate_chain,
            claims: claims.into_iter().collect::<Option<_>>()?,
            segments: segments.into_iter().collect::<Option<_>>()?,
            identity_jwt: identity_jwt?,
            strip: strip.unwrap_or_else(|| Some(FieldNames::default()))?,
        })
    }

    /// The header that is to carry `what`, beside those that are taken and what they carry.
    fn carrier(
        &mut self,
        at: &KeyPath,
        (header, usual): (&str, &str),
        what: String,
        taken: &mut Vec<(HeaderName, String)>,
    ) -> Option<HeaderName> {
        let other = taken.iter().find(|(other, _)| other.as_str().eq_ignore_ascii_case(header));
        let name = match other {
            Some((_, other)) => Err(format!("`{header}` already carries {other}; choose another header")),
            None => own_header(header, usual),
        };
        let name = name.map_err(|problem| self.problem(at, problem)).ok()?;
        taken.push((name.clone(), what));
        Some(name)
    }

    /// Reports a route on which an upstream could not verify the proofs that it would get.
    fn check_proof_is_kept_soundly(&mut self, at: &KeyPath, entry: &file::Route, access_token: bool, names: &Names) {
        if !access_token {
            let problem = "a proof is worth nothing without the token that it is for; write `access_token: true` beside it, or remove the key";
            self.problem(at, problem);
        }
        let accepts = entry.sender_constraint.iter().flatten().any(|one| *one == file::SenderConstraint::Dpop);
        // The entry that was removed may have been `dpop`.
        let route = at.parent().and_then(|at| at.parent()).unwrap_or_default();
        if !accepts && !self.report.lost_under(&route.key("sender_constraint")) {
            let problem = "the route does not accept `dpop`, so this has no effect; remove the key, or add `dpop` to `sender_constraint`";
            self.problem(at, problem);
        }
        // RFC 9449 §4.3 (9): the upstream compares `htu` with the URL that it was called by. `Host` goes up as it is, and
        // a prefix is what an outer proxy has removed.
        let answers_for = |host: &str| {
            entry.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
        };
        if let Some(origin) = names.prefixed.iter().find(|origin| answers_for(origin.host())) {
            let problem = format!(
                "the upstream does not see the prefix of the origin `{}`, so it cannot compare `htu`; serve the route at other `hosts`, or remove the key",
                origin.as_str()
            );
            self.problem(at, problem);
        }
    }

    /// The JWT in this header: `Some(None)` where files are not read, so that there is no key.
    fn identity_jwt(
        &mut self,
        at: &KeyPath,
        header: &str,
        taken: &mut Vec<(HeaderName, String)>,
        upstream: Option<&UpstreamRef>,
        names: &Names,
    ) -> Option<Option<Arc<IdentityJwt>>> {
        let name = self.carrier(at, (header, "X-Verified-Identity"), "the identity JWT".to_owned(), taken);
        let (signer, issuer) = (self.jwt_signer(at, identity_jwt::TYPE), self.signing_issuer());
        if self.named_files == NamedFiles::Unread && self.signing.is_written() {
            return name.map(|_| None);
        }
        let (signer, issuer) = (signer?, issuer?);
        let issuers = names.issuers.iter().map(|known| (known.name.as_str().into(), known.issuer.as_str().into()));
        let identity = IdentityJwt::new(name?, signer, issuer, upstream?.name.clone(), issuers.collect());
        Some(Some(Arc::new(identity)))
    }

    /// The fields that are removed; `own` are those in which the gateway speaks of the sender.
    fn stripped(&mut self, at: &KeyPath, names: &[String], own: &[&HeaderName]) -> Option<FieldNames> {
        if names.is_empty() {
            self.report.empty(at, "the list is empty; name a header such as `Cookie`, or remove the key");
            return None;
        }
        let mut stripped: Vec<HeaderName> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let field = strippable(name, own).and_then(|field| {
                if stripped.contains(&field) {
                    Err(format!("`{name}` is in the list twice; keep one"))
                } else {
                    Ok(field)
                }
            });
            match field {
                Ok(field) => stripped.push(field),
                Err(problem) => self.problem(&at.index(index), problem),
            }
        }
        (stripped.len() == names.len()).then(|| FieldNames::new(&stripped))
    }
}

/// A name without characters that upstreams may treat as `-`, and so take a header of the client's for this one.
fn plain(name: &str) -> Option<HeaderName> {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok().filter(|_| is_plain)
}

/// A header in which the gateway may speak of the sender, or why it may not.
fn own_header(name: &str, example: &str) -> Result<HeaderName, String> {
    let way_out = format!("choose another, such as `{example}`");
    let header =
        plain(name).ok_or_else(|| format!("`{name}` is not a header name of letters, digits and `-`; {way_out}"))?;
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| header.as_str().starts_with(prefix));
    if OF_HTTP.contains(&header.as_str()) || starts(OF_HTTP_PREFIXES) {
        return Err(format!("`{name}` has a meaning of its own in HTTP; {way_out}"));
    }
    if is_ours(&header) {
        return Err(format!("`{name}` is set by the gateway itself; {way_out}"));
    }
    Ok(header)
}

/// A header that may be removed from requests, or why it may not.
fn strippable(name: &str, own: &[&HeaderName]) -> Result<HeaderName, String> {
    let way_out = "remove it from the list";
    let Some(header) = plain(name) else {
        return Err(format!(
            "`{name}` is not a header name of letters, digits and `-`; write `-`, which stands for `_` and the like too"
        ));
    };
    let option = match header.as_str() {
        "authorization" => Some("access_token: true"),
        "dpop" => Some("dpop: keep"),
        _ => None,
    };
    if let Some(option) = option {
        return Err(format!("`{name}` is removed already, except with `{option}`; {way_out}"));
    }
    if own.contains(&&header) {
        return Err(format!("`{name}` is where `forward` says who the sender is; {way_out}"));
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| header.as_str().starts_with(prefix));
    if NEEDED.contains(&header.as_str()) || starts(&["content-"]) {
        return Err(format!("without `{name}`, the upstream would read another request than was judged; {way_out}"));
    }
    if StripList::default().holds(header.as_str()) {
        return Err(format!("`{name}` is removed from every request; {way_out}"));
    }
    if is_ours(&header) {
        return Err(format!("`{name}` is set by the gateway itself; {way_out}"));
    }
    Ok(header)
}

/// Whether the gateway sets a header by itself.
fn is_ours(header: &HeaderName) -> bool {
    OURS.contains(&header.as_str()) || OUR_PREFIXES.iter().any(|prefix| header.as_str().starts_with(prefix))
}

const OF_HTTP: &[&str] = &[
    "authorization",
    "cookie",
    "set-cookie",
    "www-authenticate",
    "dpop",
    "dpop-nonce",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "via",
    "expect",
    "max-forwards",
    "date",
    "range",
];
const OF_HTTP_PREFIXES: &[&str] = &["content-", "proxy-", "accept", "if-", "sec-", "access-control-"];
const OURS: &[&str] = &["forwarded", "x-fapi-interaction-id", "traceparent", "tracestate"];
const OUR_PREFIXES: &[&str] = &["client-cert", "x-forwarded-", "x-original-", "x-rewrite-", "x-http-method"];

/// Headers that frame, route or describe a request, beside those that begin with `content-`.
const NEEDED: &[&str] = &["host", "transfer-encoding", "te", "expect", "via", "max-forwards"];
