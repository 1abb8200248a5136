//! The line of a request to an endpoint of an authorization server, from where that of every request ends in its route.

use fapi::UnixTime;
use fapi::authorization_server::authentication::Claim;
use fapi::authorization_server::parameters::Parameters;
use fapi::authorization_server::registration::RegistrationRequest;
use fapi::authorization_server::{Endpoint, EndpointError, FormRequest, claimed, form, front_channel};
use fapi::credentials::Proofs;
use fapi::dpop::{DpopError, FirstUse, ProofContext, SignedProof};
use fapi::permit::{Authorized, EndpointGuard, Judged};
use fapi::policy::NonceMode;
use fapi::rejection::{Cause, Seen, Unavailable};
use fapi::route::{PathCharacters, Target};
use fapi::text::printable;
use http::request::Parts;

use super::{Client, Gateway};
use crate::authorization_server::{KnownClient, UsedAssertion};
use crate::replay::UsedOnce;

impl Gateway {
    /// Judges the head of a request to an endpoint of an authorization server.
    pub(super) async fn endpoint(
        &self,
        guard: EndpointGuard,
        request: &Parts,
        target: &Target<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Judged, Cause> {
        form::check_connection(&request.headers)?;
        let guard = match guard.without_rules(now) {
            Ok(authorized) => return Ok(Judged::Authorized(authorized)),
            Err(guard) => guard,
        };
        if guard.endpoint() == Endpoint::Authorization {
            return match self.authorization(guard.clone(), target, now, seen).await {
                Ok(authorized) => Ok(Judged::Authorized(authorized)),
                Err(cause) if guard.shadow(now).is_none() => Err(cause),
                Err(cause) => {
                    let client = self.client_of_browser(&guard, target.query()).await;
                    in_shadow(guard, client, cause, now, seen).map(Judged::Authorized)
                }
            };
        }
        // In shadow the body has to be read all the same, to be forwarded.
        match check_head(&guard, request, target.query()) {
            Err(error) if guard.shadow(now).is_none() => Err(error.into()),
            Ok(()) | Err(_) => Ok(Judged::AwaitsParameters(guard.into())),
        }
    }

    /// Judges what a browser brings.
    async fn authorization(
        &self,
        guard: EndpointGuard,
        target: &Target<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Authorized, Cause> {
        let reference = front_channel::read(target.query(), guard.rules())?;
        let server = self.authorization_servers.of(guard.rules());
        let pushed = match server {
            Some(server) => server.pushed(&reference.request_uri).await?,
            None => None,
        };
        let authorized = guard.authorize_reference(reference, pushed.as_ref(), now)?;
        seen.client_id = pushed.map(|pushed| pushed.client_id);
        Ok(authorized)
    }

    /// Whose request a browser brings: of a client that has pushed it, if it names what was pushed. What nobody is known to have pushed
    /// may be anybody's.
    async fn client_of_browser(&self, guard: &EndpointGuard, query: Option<&str>) -> Option<Box<str>> {
        let parameters = Parameters::parse(query.unwrap_or_default().as_bytes()).ok()?;
        let client = claimed::client(&parameters)?;
        let Some(request_uri) = parameters.get("request_uri") else { return Some(client) };
        let pushed = self.authorization_servers.of(guard.rules())?.pushed(request_uri).await.ok()??;
        (pushed.client_id == client).then_some(client)
    }

    /// Judges the body of a request to an endpoint of an authorization server: a form, or what a client registers.
    ///
    /// # Errors
    /// [`EndpointError`], and
    /// [`Unavailable::ClientKeys`] while the keys of a client cannot be read.
    pub async fn judge_form(
        &self,
        guard: EndpointGuard,
        request: &Parts,
        body: &[u8],
        client: Client<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Authorized, Cause> {
        if guard.shadow(now).is_none() {
            return self.parameters(guard, request, body, client, now, seen).await;
        }
        let judged = self.parameters(guard.clone(), request, body, client, now, seen).await;
        judged.or_else(|cause| {
            // What is not declared as a form names nobody in a way that every server reads.
            let is_form =
                guard.endpoint() != Endpoint::Registration && check_head(&guard, request, request.uri.query()).is_ok();
            let client = if is_form { claimed_client(body) } else { None };
            in_shadow(guard, client, cause, now, seen)
        })
    }

    async fn parameters(
        &self,
        guard: EndpointGuard,
        request: &Parts,
        body: &[u8],
        client: Client<'_>,
        now: UnixTime,
        seen: &mut Seen,
    ) -> Result<Authorized, Cause> {
        let internal = |detail: &str| Cause::from(Unavailable::Internal { detail: detail.to_owned() });
        let origin = seen.origin.clone().ok_or_else(|| internal("a request has a route and no origin"))?;
        let target = Target::parse_with(request, &origin, PathCharacters::Uri)?;
        let server = self.authorization_servers.of(guard.rules());
        let server = server.ok_or_else(|| internal("an endpoint has no authorization server"))?;
        let certificate = client.certificate();
        if guard.endpoint() == Endpoint::Registration {
            let form = form::registration(&request.headers, target.query())?;
            let request = RegistrationRequest { form, body, certificate, now };
            return Ok(guard.authorize_registration(&request, &server.settings().registration)?);
        }
        // In shadow it was let pass, and that may have ended since.
        check_head(&guard, request, target.query())?;
        let parameters = Parameters::parse(body).map_err(EndpointError::from)?;
        let claim = Claim::of(&parameters)?;
        let (endpoint, is_signed) = (guard.endpoint(), parameters.get("request").is_some());
        let is_signed = is_signed && endpoint == Endpoint::PushedAuthorizationRequest;
        let known = server.authenticate(endpoint, &claim, is_signed, &certificate, now).await?;
        seen.client_id = Some(known.client.id().into());
        let context = ProofContext {
            target: &target,
            // The server may have nonces of its own, and nobody can answer to both.
            nonce: NonceMode::Never,
            freshness: &self.freshness,
            keys: &*self.proof_keys,
            replay_log_began: &|| self.replay_log_began(false),
            now,
        };
        let proof = match Proofs::from_headers(&request.headers) {
            Proofs::None => None,
            proofs @ (Proofs::One(_) | Proofs::Several) => {
                let signed = SignedProof::verify_without_token(proofs, &context)?;
                Some(signed.check_freshness(&context).map_err(without_nonce)?)
            }
        };
        let judge = |known: &KnownClient| {
            let (client, keys, proof) = (known.client.clone(), known.keys(), proof.clone());
            let request = FormRequest { parameters: &parameters, client, keys, proof, certificate, now };
            guard.clone().authorize_form(request)
        };
        match judge(&known) {
            Ok(authorized) => Ok(authorized),
            Err(error) => Ok(judge(&server.read_again(endpoint, known, error).await?)?),
        }
    }

    /// Uses up the assertion of a client, if there is one.
    pub(super) async fn use_assertion(
        &self,
        authorized: &Authorized,
        now: UnixTime,
    ) -> Result<Option<FirstUse>, Cause> {
        let asked = authorized.asked();
        let used = asked.and_then(|asked| Some(UsedAssertion::of(asked.client_id(), *asked.assertion()?)));
        let Some(used) = used else { return Ok(None) };
        used.check_still_good(now)?;
        let route = &authorized.route().name;
        let (first_use, began) = self.replay.first_use(&used, self.shared_replay.as_deref(), route, now).await?;
        used.check_still_known(began.plus(self.freshness.clock_skew))?;
        Ok(Some(first_use))
    }
}

/// Judges the fields that say of what kind the body is.
fn check_head(guard: &EndpointGuard, request: &Parts, query: Option<&str>) -> Result<(), EndpointError> {
    if guard.endpoint() == Endpoint::Registration {
        return form::registration(&request.headers, query).map(|_| ());
    }
    form::check_head(&request.headers, query)
}

/// Who parameters say that they are of, if they have one reading.
fn claimed_client(parameters: &[u8]) -> Option<Box<str>> {
    claimed::client(&Parameters::parse(parameters).ok()?)
}

/// Lets a request pass in shadow for the client that it says it is of, which nothing has proven.
fn in_shadow(
    guard: EndpointGuard,
    client: Option<Box<str>>,
    cause: Cause,
    now: UnixTime,
    seen: &mut Seen,
) -> Result<Authorized, Cause> {
    let passed = guard.pass_in_shadow(client.as_deref(), cause.code(), &cause, now);
    let Some(authorized) = passed else { return Err(cause) };
    if seen.client_id.is_none() {
        seen.client_id = client.map(|client| printable(&client));
    }
    Ok(authorized)
}

/// Why a proof is refused at an authorization server, where the gateway has no nonces: that it may have been used before the log began
/// is the log's fault.
pub(super) fn without_nonce(error: DpopError) -> Cause {
    if let DpopError::NonceRequired { why, .. } = error {
        return Unavailable::ReplayLog { detail: why.to_owned() }.into();
    }
    EndpointError::from(error).into()
}
