//! What the target publishes about itself against what it does: metadata (RFC 9728), and what scripts of other origins may read.

use fapi::jose::keys::Algorithm;
use sandbox::keys::{KeyKind, SigningKey};
use serde_json::Value;

use super::{answer_of, is_trouble};
use crate::authorization::Source;
use crate::call::Call;
use crate::exchange::Response;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "metadata",
        purpose: "The metadata is there for everyone, and is that of the resource",
        clause: "RFC 9728 §3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: metadata,
    },
    Module {
        name: "metadata-methods",
        purpose: "The metadata promises no method of sending a token that FAPI forbids",
        clause: "RFC 9728 §2, FAPI 2.0 §5.3.4 (1) and (2)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let metadata = published(session)?.1;
            let methods = texts(&metadata, "bearer_methods_supported");
            let kept = methods.as_ref().is_none_or(|methods| methods.iter().all(|method| method == "header"));
            session.look("`bearer_methods_supported`", "header, or nothing", format!("{methods:?}"), kept);
            Ok(())
        },
    },
    Module {
        name: "metadata-algorithms",
        purpose: "The metadata names algorithms that FAPI allows, and the target does as it says",
        clause: "RFC 9728 §2, FAPI 2.0 §5.4.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: metadata_algorithms,
    },
    Module {
        name: "metadata-bindings",
        purpose: "The metadata names the bindings that the target claims",
        clause: "RFC 9728 §2, RFC 8705 §3.3",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            let metadata = published(session)?.1;
            let claims = &session.settings().claims;
            if claims.certificate {
                let value = metadata.get("tls_client_certificate_bound_access_tokens");
                let kept = value == Some(&Value::Bool(true));
                session.look("`tls_client_certificate_bound_access_tokens`", "true", format!("{value:?}"), kept);
            }
            if claims.dpop {
                let value = texts(&metadata, "dpop_signing_alg_values_supported");
                session.look("`dpop_signing_alg_values_supported`", "a list", format!("{value:?}"), value.is_some());
            }
            Ok(())
        },
    },
    Module {
        name: "cors-preflight",
        purpose: "A preflight of the claimed origin is granted, and says which fields scripts may read",
        clause: "RFC 9449 §8.2, Fetch §3.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: preflight,
    },
    Module {
        name: "cors-other-origin",
        purpose: "Scripts of other origins may read nothing",
        clause: "Fetch §3.2, FAPI 1.0 Baseline §6.2.1 (14)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: other_origin,
    },
];

/// The metadata, without which nothing can be said.
fn published(session: &mut Session<'_>) -> Result<(Call, Value), Stop> {
    let found = find(session)?;
    found.ok_or_else(|| Stop::Inconclusive(nowhere(session)))
}

/// The metadata of a resource: before its path (RFC 9728 §3.1), or that of the whole host.
fn find(session: &mut Session<'_>) -> Result<Option<(Call, Value)>, Stop> {
    session.needs(session.settings().claims.metadata, "to publish metadata")?;
    let good = session.good()?;
    session.control(&good)?;
    let path = session.settings().target.url.path().trim_end_matches('/').to_owned();
    for place in [format!("{WELL_KNOWN}{path}"), WELL_KNOWN.to_owned()] {
        let mut call = good.clone().without_credentials();
        call.target = place;
        let response = answer_of(session, &call)?;
        if response.is_success()
            && let Some(metadata) = response.json()
        {
            return Ok(Some((call, metadata)));
        }
    }
    Ok(None)
}

fn nowhere(session: &Session<'_>) -> String {
    let path = session.settings().target.url.path().trim_end_matches('/');
    format!("no metadata at {WELL_KNOWN}{path} and at {WELL_KNOWN}")
}

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

fn metadata(session: &mut Session<'_>) -> Result<(), Stop> {
    let Some((call, metadata)) = find(session)? else {
        session.look("the metadata", "200 with JSON", nowhere(session), false);
        return Ok(());
    };
    let resource = metadata.get("resource").and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = &session.settings().target;
    let url = format!("{}{}", own.origin(), own.path_and_query());
    // The identifier of a resource is that of the host or of a part of it (RFC 9728 §1.2).
    let kept =
        !resource.is_empty() && (url == resource || url.starts_with(&format!("{}/", resource.trim_end_matches('/'))));
    session.look("`resource`", "the URL of the resource, or one above it", format!("`{resource}`"), kept);
    let servers = texts(&metadata, "authorization_servers");
    let https = servers.iter().flatten().all(|server| server.starts_with("https://"));
    session.look("`authorization_servers`", "issuers that are https", format!("{servers:?}"), https);
    let known = issuer_of(session);
    if let (Some(servers), Some(known)) = (&servers, known) {
        let kept = servers.contains(&known);
        session.look("`authorization_servers`", &format!("`{known}` among them"), format!("{servers:?}"), kept);
    }
    let response = answer_of(session, &call)?;
    let of_type = response.sole("content-type").is_some_and(|value| value.starts_with("application/json"));
    session.look("`Content-Type`", "application/json", format!("{:?}", response.sole("content-type")), of_type);
    Ok(())
}

/// The issuer of the tokens, if that is known.
fn issuer_of(session: &Session<'_>) -> Option<String> {
    let settings = session.settings();
    match (&settings.source, &settings.issuer) {
        (Source::Server(server), _) => Some(server.issuer.clone()),
        (Source::Given(_) | Source::Issuer, issuer) => issuer.as_ref().map(|issuer| issuer.issuer.clone()),
    }
}

fn metadata_algorithms(session: &mut Session<'_>) -> Result<(), Stop> {
    session.needs(session.settings().claims.dpop, "DPoP")?;
    let metadata = published(session)?.1;
    let named = texts(&metadata, "dpop_signing_alg_values_supported");
    let named = named.ok_or_else(|| skip("`dpop_signing_alg_values_supported` is not in the metadata"))?;
    let allowed = |name: &str| name == "Ed25519" || Algorithm::ALL.iter().any(|algorithm| algorithm.as_str() == name);
    let forbidden: Vec<&String> = named.iter().filter(|name| !allowed(name)).collect();
    session.look(
        "`dpop_signing_alg_values_supported`",
        "PS256, ES256, EdDSA",
        format!("{named:?}"),
        forbidden.is_empty(),
    );
    if session.settings().issuer.is_none() {
        return Ok(());
    }
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "probe");
        let jkt = key.thumbprint();
        let call = session.call_with_token(Binding::Dpop, |token| token.bound_to_key(jkt))?.signed_by(&key);
        let title = format!("a proof with {}", kind.algorithm());
        if named.iter().any(|name| name == kind.algorithm()) {
            session.accepted(&title, &call)?;
        } else {
            session.refused(&title, &call, &Refusal::PROOF)?;
        }
    }
    Ok(())
}

fn preflight(session: &mut Session<'_>) -> Result<(), Stop> {
    let origin = session.settings().claims.cors.clone();
    let origin = origin.ok_or_else(|| skip("the target does not claim to serve scripts (`claims.cors`)"))?;
    let good = session.good()?;
    let response = session.control(&good.clone().field("Origin", origin.as_str()))?;
    let allowed = response.sole("access-control-allow-origin") == Some(origin.as_str());
    let told = format!("{:?}", response.sole("access-control-allow-origin"));
    session.look("`Access-Control-Allow-Origin` of a success", &origin, told, allowed);
    let exposed = response.all("access-control-expose-headers").collect::<Vec<_>>().join(", ").to_ascii_lowercase();
    let mut needed = vec!["www-authenticate"];
    needed.extend(session.settings().claims.dpop.then_some("dpop-nonce"));
    let kept = needed.iter().all(|name| exposed.contains(name));
    session.look("`Access-Control-Expose-Headers`", &needed.join(", "), format!("`{exposed}`"), kept);
    let ask = preflight_of(&good, &origin);
    let exchange = session.answered(&ask)?;
    let granted = matches!(&exchange.answer, Ok(response) if response.is_success() && grants(response, &origin));
    let verdict = match (granted, &exchange.answer) {
        (true, _) => Verdict::Pass,
        (false, Ok(response)) if !response.says_nothing() => Verdict::Fail,
        (false, _) => Verdict::Inconclusive,
    };
    let expected = format!("2xx with Access-Control-Allow-Origin: {origin}");
    session.note("a preflight", Role::Check, &expected, observed(&exchange.answer), verdict, &ask, &exchange);
    Ok(())
}

fn other_origin(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    session.control(&good)?;
    let own = session.settings().claims.cors.clone();
    let mut origins = vec![OTHER.to_owned(), "null".to_owned()];
    // One that begins like the right one, and one that ends like it.
    if let Some(own) = &own {
        origins.push(format!("{own}.probe.invalid"));
        if let Some((scheme, host)) = own.split_once("://") {
            origins.push(format!("{scheme}://probe{host}"));
        }
    }
    for origin in origins {
        for (what, call) in [
            ("a good call", good.clone().field("Origin", origin.as_str())),
            ("a preflight", preflight_of(&good, &origin)),
        ] {
            let exchange = session.answered(&call)?;
            let granted = matches!(&exchange.answer, Ok(response) if grants(response, &origin));
            let verdict = match granted {
                true => Verdict::Fail,
                false if is_trouble(&exchange.answer) => Verdict::Inconclusive,
                false => Verdict::Pass,
            };
            let told = exchange.answer.as_ref().map_or_else(ToString::to_string, |response| {
                format!(
                    "{} with Access-Control-Allow-Origin {:?}",
                    response.status.as_u16(),
                    response.sole("access-control-allow-origin")
                )
            });
            let title = format!("{what} of a script of {origin}");
            session.note(&title, Role::Check, "no Access-Control-Allow-Origin for it", told, verdict, &call, &exchange);
        }
    }
    Ok(())
}

const OTHER: &str = "https://probe.invalid";

fn preflight_of(good: &Call, origin: &str) -> Call {
    let method = good.method.clone();
    good.clone()
        .without_credentials()
        .method("OPTIONS")
        .field("Origin", origin)
        .field("Access-Control-Request-Method", method)
        .field("Access-Control-Request-Headers", "authorization, dpop")
}

/// Whether scripts of an origin may read an answer.
fn grants(response: &Response, origin: &str) -> bool {
    response.all("access-control-allow-origin").any(|allowed| allowed == "*" || allowed == origin)
}

fn texts(metadata: &Value, name: &str) -> Option<Vec<String>> {
    let list = metadata.get(name)?.as_array()?;
    Some(list.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect())
}
