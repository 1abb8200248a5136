//! What a module has at hand: good calls, a control for every bad one, and a list of steps to write down.

use std::time::Duration;

use fapi::ecosystem::Ecosystem;
use sandbox::keys::SigningKey;
use sandbox::pki::Credential as MadeCredential;

use crate::authorization::{Source, Wallet};
use crate::call::{Call, Credential, PlannedProof, Presents, SentProof, Token};
use crate::exchange::{NoAnswer, Response};
use crate::expect::Refusal;
use crate::plan::Plan;
use crate::report::{Role, Severity, Step, Verdict};
use crate::settings::{Certificate, Issuer, Nonce, Settings};
use crate::wire::{Ended, Exchange, Wire};

/// Why a module ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// It does not apply, or something that it needs is not at hand.
    Skip(String),
    /// Nothing can be said.
    Inconclusive(String),
    /// Nothing is sent any more.
    Ended(Ended),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Dry(_) => Self::Skip(ended.to_string()),
            Ended::Total(_) | Ended::Transcript(_) => Self::Ended(ended),
        }
    }
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// The certificate of its client.
    Certificate,
    /// The key of its client's proofs.
    Dpop,
}

impl Binding {
    /// The scheme of `Authorization`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Certificate => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// One run of one module.
pub struct Session<'s> {
    wire: Wire<'s>,
    wallet: Wallet,
    plans: &'s [Plan],
    severity: Severity,
    steps: Vec<Step>,
}

impl<'s> Session<'s> {
    /// Begins before the first module.
    pub fn new(wire: Wire<'s>, plans: &'s [Plan]) -> Self {
        Self { wire, wallet: Wallet::default(), plans, severity: Severity::Failure, steps: Vec::new() }
    }

    /// What follows belongs to this module.
    pub fn begin(&mut self, module: &str, severity: Severity) {
        self.wire.begin(module);
        self.severity = severity;
        self.steps.clear();
    }

    /// The steps of the module.
    pub fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// The way to the target.
    pub fn wire(&mut self) -> &mut Wire<'s> {
        &mut self.wire
    }

    /// The settings of the run.
    pub fn settings(&self) -> &'s Settings {
        self.wire.settings()
    }

    /// The plans that are run.
    pub fn plans(&self) -> &'s [Plan] {
        self.plans
    }

    /// The ecosystems whose plans are run.
    pub fn ecosystems(&self) -> impl Iterator<Item = Ecosystem> {
        self.plans.iter().filter_map(|plan| match plan {
            Plan::Ecosystem(ecosystem) => Some(*ecosystem),
            Plan::Fapi2Security | Plan::Fapi2Dpop | Plan::Fapi2Mtls | Plan::Fapi1Advanced | Plan::MessageSigning => {
                None
            }
        })
    }

    // What modules begin with.

    /// The binding of calls for which it does not matter.
    pub fn binding(&self) -> Binding {
        let claims = &self.settings().claims;
        let only_dpop = self.plans.iter().all(|plan| *plan == Plan::Fapi2Dpop);
        if claims.certificate && !(only_dpop && claims.dpop) { Binding::Certificate } else { Binding::Dpop }
    }

    /// A good call of the first client.
    ///
    /// # Errors
    /// [`Stop`] if it has no token.
    pub fn good(&mut self) -> Result<Call, Stop> {
        self.good_of(0, self.binding())
    }

    /// A good call of the first client with a token of this binding.
    ///
    /// # Errors
    /// [`Stop::Skip`] if the target does not claim it.
    pub fn good_with(&mut self, binding: Binding) -> Result<Call, Stop> {
        self.good_of(0, binding)
    }

    /// A good call of a client with a token of this binding.
    ///
    /// # Errors
    /// [`Stop::Skip`] if the target does not claim it.
    pub fn good_of(&mut self, client: usize, binding: Binding) -> Result<Call, Stop> {
        let token = self.token(client, binding)?;
        self.call_with(client, binding, token)
    }

    /// A call of a client like a good one, with this token.
    ///
    /// # Errors
    /// [`Stop::Skip`] if the target does not claim the binding.
    pub fn call_with(&mut self, client: usize, binding: Binding, token: Token) -> Result<Call, Stop> {
        let settings = self.settings();
        let claimed = match binding {
            Binding::Certificate => settings.claims.certificate,
            Binding::Dpop => settings.claims.dpop,
        };
        if !claimed {
            return Err(skip(format!("the target does not claim to accept {}", bound_to(binding))));
        }
        let proofs = match binding {
            Binding::Certificate => Vec::new(),
            Binding::Dpop => {
                vec![SentProof::Planned(PlannedProof::good(self.proof_key(client)?))]
            }
        };
        let needed = binding == Binding::Certificate || settings.claims.certificate_required;
        if binding == Binding::Certificate {
            self.certificate(client)?;
        }
        let presents = match needed && self.client(client)?.certificate.is_some() {
            true => Presents::Client(client),
            false => Presents::Nothing,
        };
        Ok(Call {
            presents,
            credentials: vec![Credential { scheme: binding.scheme().to_owned(), token: token.clone() }],
            proofs,
            token: Some(token),
            fields: settings.resource.fields.clone(),
            ..Call::bare(settings.resource.method.as_str(), &settings.target)
        })
    }

    /// The token of a client.
    ///
    /// # Errors
    /// [`Stop::Inconclusive`] if none can be had.
    pub fn token(&mut self, client: usize, binding: Binding) -> Result<Token, Stop> {
        let mut wallet = std::mem::take(&mut self.wallet);
        let token = wallet.token(&mut self.wire, client, binding);
        self.wallet = wallet;
        token
    }

    /// Replaces the token of a client by a new one, if an authorization server issues them.
    ///
    /// # Errors
    /// [`Stop`] if none can be had.
    pub fn renew(&mut self, client: usize, binding: Binding) -> Result<(), Stop> {
        match self.settings().source {
            Source::Server(_) => self.wallet.another(&mut self.wire, client, binding).map(drop),
            Source::Given(_) | Source::Issuer => Ok(()),
        }
    }

    /// A token that nothing else uses, to be revoked.
    ///
    /// # Errors
    /// [`Stop`] if none can be had.
    pub fn token_of_its_own(&mut self, client: usize, binding: Binding) -> Result<Token, Stop> {
        let mut wallet = Wallet::default();
        wallet.another(&mut self.wire, client, binding)
    }

    /// The issuer whose key is at hand.
    ///
    /// # Errors
    /// [`Stop::Skip`] if there is none.
    pub fn issuer(&self) -> Result<&'s Issuer, Stop> {
        let none = || {
            skip(
                "it needs a token that the issuer signs with a fault; `issuer` names no issuer whose key is at hand"
                    .to_owned(),
            )
        };
        self.settings().issuer.as_ref().ok_or_else(none)
    }

    /// A call of the first client with a token that the issuer signs after a change.
    ///
    /// # Errors
    /// [`Stop::Skip`] without the key of an issuer.
    pub fn call_with_token(
        &mut self,
        binding: Binding,
        change: impl FnOnce(sandbox::tokens::AccessToken) -> sandbox::tokens::AccessToken,
    ) -> Result<Call, Stop> {
        let issuer = self.issuer()?;
        let token = change(self.issued(0, binding)?);
        self.call_with(0, binding, made_token(token.sign(&issuer.key)))
    }

    /// A good token of the issuer whose key is at hand, not signed yet.
    ///
    /// # Errors
    /// [`Stop::Skip`] without the key of an issuer.
    pub fn issued(&self, client: usize, binding: Binding) -> Result<sandbox::tokens::AccessToken, Stop> {
        self.issuer()?;
        Wallet::issued(self.settings(), client, binding)
    }

    /// The key of a client's proofs.
    ///
    /// # Errors
    /// [`Stop::Skip`] if it has none.
    pub fn proof_key(&self, client: usize) -> Result<&'s SigningKey, Stop> {
        let name = client.saturating_add(1);
        let none = || skip(format!("client {name} has no `proof_key`"));
        self.client(client)?.proof_key.as_ref().ok_or_else(none)
    }

    /// The certificate of a client.
    ///
    /// # Errors
    /// [`Stop::Skip`] if it has none.
    pub fn certificate(&self, client: usize) -> Result<&'s Certificate, Stop> {
        let name = client.saturating_add(1);
        let none = || skip(format!("client {name} has no `certificate`"));
        self.client(client)?.certificate.as_ref().ok_or_else(none)
    }

    /// A client.
    ///
    /// # Errors
    /// [`Stop::Skip`] if there is none of this number.
    pub fn client(&self, client: usize) -> Result<&'s crate::settings::Client, Stop> {
        self.settings().clients.get(client).ok_or_else(|| skip("there is no such client".to_owned()))
    }

    /// Ends the module unless the target claims something.
    ///
    /// # Errors
    /// [`Stop::Skip`].
    pub fn needs(&self, claimed: bool, what: &str) -> Result<(), Stop> {
        if claimed { Ok(()) } else { Err(skip(format!("the target does not claim {what}"))) }
    }

    /// Ends the module unless methods may be used that change something.
    ///
    /// # Errors
    /// [`Stop::Skip`].
    pub fn needs_writes(&self) -> Result<&'s crate::settings::Write, Stop> {
        let settings = self.settings();
        if !settings.writes {
            return Err(skip("it needs a method that may change something, which `--writes` allows".to_owned()));
        }
        settings.resource.write.as_ref().ok_or_else(|| skip("`resource.write` names no such call".to_owned()))
    }

    /// A good call of the first client that changes something.
    ///
    /// # Errors
    /// [`Stop::Skip`] if there is none, or methods may not be used that change something.
    pub fn good_write(&mut self) -> Result<Call, Stop> {
        let write = self.needs_writes()?;
        let body =
            String::from_utf8(write.body.clone()).map_err(|_| skip("the body of `resource.write` is not text"))?;
        let good = self.good()?;
        let (method, target) = (write.method.to_string(), write.path.clone());
        Ok(Call { method, target, body: Some(body), ..good }.with_field("Content-Type", &write.content_type))
    }

    // What modules do.

    /// Sends a good call and expects success.
    ///
    /// # Errors
    /// [`Stop::Inconclusive`] if it does not succeed.
    pub fn control(&mut self, call: &Call) -> Result<Response, Stop> {
        let exchange = self.answered(call)?;
        let observed = observed(&exchange.answer);
        let good = matches!(&exchange.answer, Ok(response) if response.is_success());
        let verdict = if good { Verdict::Pass } else { Verdict::Inconclusive };
        self.note("a good call", Role::Control, "2xx", observed.clone(), verdict, call, &exchange);
        match exchange.answer {
            Ok(response) if good => Ok(response),
            _ => {
                Err(Stop::Inconclusive(format!("the control, a good call, was not answered with success: {observed}")))
            }
        }
    }

    /// Sends a call that must be refused, after a control that differs in one thing.
    ///
    /// # Errors
    /// [`Stop`] if the control does not succeed.
    pub fn refused_after(&mut self, control: &Call, title: &str, call: &Call, refusal: &Refusal) -> Result<(), Stop> {
        self.control(control)?;
        self.refused(title, call, refusal)
    }

    /// Sends a call that must be refused; its control was sent before.
    ///
    /// # Errors
    /// [`Stop`] if nothing is sent any more.
    pub fn refused(&mut self, title: &str, call: &Call, refusal: &Refusal) -> Result<(), Stop> {
        let exchange = self.answered(call)?;
        let verdict = refusal.judge(&exchange.answer);
        let told = observed(&exchange.answer);
        self.note(title, Role::Check, &refusal.to_string(), told, verdict, call, &exchange);
        Ok(())
    }

    /// Sends a call that must succeed.
    ///
    /// # Errors
    /// [`Stop`] if nothing is sent any more.
    pub fn accepted(&mut self, title: &str, call: &Call) -> Result<Option<Response>, Stop> {
        let exchange = self.answered(call)?;
        let told = observed(&exchange.answer);
        let verdict = match &exchange.answer {
            Ok(response) if response.is_success() => Verdict::Pass,
            Ok(response) if !response.says_nothing() => Verdict::Fail,
            Ok(_) | Err(_) => Verdict::Inconclusive,
        };
        self.note(title, Role::Check, "2xx", told, verdict, call, &exchange);
        Ok(exchange.answer.ok().filter(|_| verdict == Verdict::Pass))
    }

    /// Sends a call of which the module judges the answer itself.
    ///
    /// # Errors
    /// [`Stop`] if nothing is sent any more.
    pub fn answered(&mut self, call: &Call) -> Result<Exchange, Stop> {
        let exchange = self.wire.send(call)?;
        let asked = matches!(&exchange.answer, Ok(response)
            if response.error("DPoP").as_deref() == Some("use_dpop_nonce") && response.sole("dpop-nonce").is_some());
        let can_answer = call.proofs.iter().any(|proof| matches!(proof, SentProof::Planned(planned) if planned.nonce));
        if asked && can_answer && self.settings().claims.nonce != Nonce::Never {
            return Ok(self.wire.send(call)?);
        }
        Ok(exchange)
    }

    /// Waits, unless nothing is sent.
    pub fn wait(&self, time: Duration) {
        if !self.settings().dry {
            std::thread::sleep(time);
        }
    }

    /// Writes down what was seen in an answer before.
    pub fn look(&mut self, title: &str, expected: &str, observed: impl Into<String>, kept: bool) {
        let verdict = if kept { Verdict::Pass } else { Verdict::Fail };
        self.step(title, Role::Check, None, expected, observed.into(), verdict, Vec::new());
    }

    /// Writes down a step of which the module judged the answer itself.
    #[expect(clippy::too_many_arguments, reason = "a step has these parts")]
    pub fn note(
        &mut self,
        title: &str,
        role: Role,
        expected: &str,
        observed: String,
        verdict: Verdict,
        call: &Call,
        exchange: &Exchange,
    ) {
        let curl = exchange.sent.curl(call, &self.settings().target);
        self.step(title, role, Some(curl), expected, observed, verdict, vec![exchange.line]);
    }

    /// Writes down a step.
    #[expect(clippy::too_many_arguments, reason = "a step has these parts")]
    pub fn step(
        &mut self,
        title: &str,
        role: Role,
        curl: Option<String>,
        expected: &str,
        observed: String,
        verdict: Verdict,
        exchanges: Vec<u64>,
    ) {
        let verdict = match (verdict, self.severity) {
            (Verdict::Fail, Severity::Warning) => Verdict::Warning,
            (verdict, _) => verdict,
        };
        // An answer can repeat anything that was sent.
        let hide = |text: &str| self.wire.hide(text);
        let (title, expected, observed) = (hide(title), hide(expected), hide(&observed));
        let curl = curl.map(|curl| hide(&curl));
        self.steps.push(Step { title, role, curl, expected, observed, verdict, exchanges });
    }
}

/// What came, in one line.
pub fn observed(answer: &Result<Response, NoAnswer>) -> String {
    match answer {
        Ok(response) => response.summary(),
        Err(error) => error.to_string(),
    }
}

/// A token that a module made.
pub fn made_token(text: String) -> Token {
    Token { text, name: "TOKEN_MADE".to_owned() }
}

/// A certificate that a module made.
pub fn made_certificate(name: &'static str, made: &MadeCredential) -> Presents {
    Presents::Other(name, Box::new(Certificate { chain: made.chain_der.clone(), key: made.private_key() }))
}

/// Ends a module that does not apply.
pub fn skip(reason: impl Into<String>) -> Stop {
    Stop::Skip(reason.into())
}

fn bound_to(binding: Binding) -> &'static str {
    match binding {
        Binding::Certificate => "tokens that are bound to a certificate",
        Binding::Dpop => "tokens that are bound to a DPoP key",
    }
}
