//! `forward` of a route: what the upstream is told about the sender.

use fapi::route::{Forward, Pattern, UpstreamRef};
use http::HeaderName;

use super::Build;
use super::routes::Names;
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
        let forward = entry.forward.get_or_insert_default();
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
            if access_token {
                self.problem(&token_at, meaningless);
            }
            if !claims.is_empty() {
                self.problem(&at.key("claims"), meaningless);
            }
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
            let name = self.carrier(&at, header, format!("the claim `{claim}`"), &mut taken)?;
            Some((claim.as_str().into(), name))
        });
        let claims: Vec<Option<(Box<str>, HeaderName)>> = claims.collect();
        let segments = path_variables.iter().map(|(variable, header)| {
            let at = at.key("path_variables").key(variable);
            let segment = self.path_variable(&at, variable, pattern);
            let name = self.carrier(&at, header, format!("the path variable `{variable}`"), &mut taken);
            Some((segment?, name?))
        });
        let segments: Vec<Option<(usize, HeaderName)>> = segments.collect();
        Some(Forward {
            access_token,
            client_certificate,
            client_certificate_chain,
            claims: claims.into_iter().collect::<Option<_>>()?,
            segments: segments.into_iter().collect::<Option<_>>()?,
        })
    }

    /// The header that is to carry `what`, beside those that are taken and what they carry.
    fn carrier(
        &mut self,
        at: &KeyPath,
        header: &str,
        what: String,
        taken: &mut Vec<(HeaderName, String)>,
    ) -> Option<HeaderName> {
        let other = taken.iter().find(|(other, _)| other.as_str().eq_ignore_ascii_case(header));
        let name = match other {
            Some((_, other)) => Err(format!("`{header}` already carries {other}; choose another header")),
            None => carrying_header(header),
        };
        let name = name.map_err(|problem| self.problem(at, problem)).ok()?;
        taken.push((name.clone(), what));
        Some(name)
    }
}

/// A header that may carry what the gateway has found out, or why it may not.
fn carrying_header(name: &str) -> Result<HeaderName, String> {
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
    let lower = name.to_ascii_lowercase();
    let way_out = "choose another, such as `X-Token-Subject`";
    // Upstreams may treat `_` and `.` as `-`, and so take a header of the client's for this one.
    let is_plain = lower.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let header = HeaderName::from_bytes(lower.as_bytes()).ok().filter(|_| is_plain);
    let header =
        header.ok_or_else(|| format!("`{name}` is not a header name of letters, digits and `-`; {way_out}"))?;
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| lower.starts_with(prefix));
    if OF_HTTP.contains(&&*lower) || starts(OF_HTTP_PREFIXES) {
        return Err(format!("`{name}` has a meaning of its own in HTTP; {way_out}"));
    }
    if OURS.contains(&&*lower) || starts(OUR_PREFIXES) {
        return Err(format!("`{name}` is set by the gateway itself; {way_out}"));
    }
    Ok(header)
}
