//! A request to be sent, good until a module spoils it.

use std::fmt;
use std::sync::Arc;

use sandbox::keys::{Proof, SigningKey};

use crate::exchange::Field;
use crate::settings::{Certificate, Target};
use crate::signature::{Draft, PlannedSignature};

/// What stands in the place of the token in a target, a field or a body.
pub const TOKEN: &str = "{token}";

/// An access token, and the name that it has in reports. `Debug` shows the name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub text: String,
    /// The name of a variable, such as `TOKEN_1`.
    pub name: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "${}", self.name)
    }
}

/// The certificate that a connection presents.
#[derive(Clone)]
pub enum Presents {
    /// None.
    Nothing,
    /// That of the first or the second client.
    Client(usize),
    /// One that is made for a module, and the name that it has in reports.
    Other(&'static str, Box<Certificate>),
}

/// One `Authorization` field.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The scheme as it is spelled.
    pub scheme: String,
    /// The token.
    pub token: Token,
}

/// Makes a proof out of a good one.
pub type Spoil = Arc<dyn Fn(Proof, &SigningKey) -> String + Send + Sync>;

/// A proof to be made when its request is sent.
#[derive(Clone)]
pub struct PlannedProof {
    /// The key that signs it.
    pub key: SigningKey,
    /// What is done with it before it is signed, and how it is signed.
    pub spoil: Spoil,
    /// Whether it has the nonce that the server sent last, if it sent one.
    pub nonce: bool,
}

impl PlannedProof {
    /// A good proof by this key.
    pub fn good(key: &SigningKey) -> Self {
        Self { key: key.clone(), spoil: Arc::new(|proof, key| proof.sign(key)), nonce: true }
    }
}

/// One `DPoP` field.
#[derive(Clone)]
pub enum SentProof {
    /// It is made for this request.
    Planned(PlannedProof),
    /// It was made before.
    Made(String),
}

/// A request.
#[derive(Clone)]
pub struct Call {
    /// What its connection presents.
    pub presents: Presents,
    /// Which of the addresses of the target it goes to.
    pub replica: usize,
    /// Whether it is sent over HTTP/2.
    pub http2: bool,
    /// The method.
    pub method: String,
    /// The target as it stands in the request line; [`TOKEN`] stands for the token.
    pub target: String,
    /// The `Host` field.
    pub host: String,
    /// The `Authorization` fields.
    pub credentials: Vec<Credential>,
    /// The `DPoP` fields.
    pub proofs: Vec<SentProof>,
    /// The name under which the proofs are sent.
    pub proof_field: &'static str,
    /// The token that [`TOKEN`] stands for, and that proofs are made for.
    pub token: Option<Token>,
    /// Further fields; [`TOKEN`] in a value stands for the token.
    pub fields: Vec<Field>,
    /// The content; [`TOKEN`] in it stands for the token.
    pub body: Option<String>,
    /// The signature over all of this (RFC 9421), if there is one.
    pub signature: Option<PlannedSignature>,
}

impl Call {
    /// A call to a URL without credentials, content or fields of its own, from a connection that presents nothing.
    pub fn bare(method: &str, target: &Target) -> Self {
        Self {
            presents: Presents::Nothing,
            replica: 0,
            http2: false,
            method: method.to_owned(),
            target: target.path_and_query().to_owned(),
            host: target.authority(),
            credentials: Vec::new(),
            proofs: Vec::new(),
            proof_field: "DPoP",
            token: None,
            fields: Vec::new(),
            body: None,
            signature: None,
        }
    }

    /// The call with a field more.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// The call without a field.
    #[must_use]
    pub fn without_field(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// The call with another value of a field.
    #[must_use]
    pub fn with_field(self, name: &str, value: impl Into<String>) -> Self {
        self.without_field(name).field(name, value)
    }

    /// The call with another token, which its proofs are made for.
    #[must_use]
    pub fn with_token(mut self, token: &Token) -> Self {
        for credential in &mut self.credentials {
            credential.token = token.clone();
        }
        self.token = Some(token.clone());
        self
    }

    /// The call with another scheme before each of its tokens.
    #[must_use]
    pub fn scheme(mut self, scheme: &str) -> Self {
        for credential in &mut self.credentials {
            scheme.clone_into(&mut credential.scheme);
        }
        self
    }

    /// The call without `Authorization` and `DPoP`. [`TOKEN`] still stands for its token.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials.clear();
        self.proofs.clear();
        self
    }

    /// The call from a connection that presents something else.
    #[must_use]
    pub fn presenting(mut self, presents: Presents) -> Self {
        self.presents = presents;
        self
    }

    /// The call with a query.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        self.target.push(separator);
        self.target.push_str(query);
        self
    }

    /// The call with a method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// The call to one of the replicas.
    #[must_use]
    pub fn replica(mut self, replica: usize) -> Self {
        self.replica = replica;
        self
    }

    /// The call over HTTP/2.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The call with its proofs made otherwise.
    #[must_use]
    pub fn spoiled(mut self, spoil: impl Fn(Proof, &SigningKey) -> String + Send + Sync + 'static) -> Self {
        let spoil: Spoil = Arc::new(spoil);
        for proof in &mut self.proofs {
            if let SentProof::Planned(planned) = proof {
                planned.spoil = Arc::clone(&spoil);
            }
        }
        self
    }

    /// The call with proofs that are signed by another key.
    #[must_use]
    pub fn signed_by(mut self, key: &SigningKey) -> Self {
        for proof in &mut self.proofs {
            if let SentProof::Planned(planned) = proof {
                planned.key = key.clone();
            }
        }
        self
    }

    /// The call with a signature of this key.
    #[must_use]
    pub fn with_signature(mut self, key: &SigningKey) -> Self {
        self.signature = Some(PlannedSignature::new(key.clone()));
        self
    }

    /// The call with a signature over something else, or with other parameters.
    #[must_use]
    pub fn signature_of(mut self, change: impl Fn(&mut Draft) + Send + Sync + 'static) -> Self {
        if let Some(signature) = &mut self.signature {
            signature.change = Arc::new(change);
        }
        self
    }

    /// The call with the fields of its signature written otherwise.
    #[must_use]
    pub fn signature_written(mut self, rewrite: impl Fn(&mut Vec<Field>) + Send + Sync + 'static) -> Self {
        if let Some(signature) = &mut self.signature {
            signature.rewrite = Arc::new(rewrite);
        }
        self
    }

    /// The call with proofs that never have a nonce.
    #[must_use]
    pub fn without_nonce(mut self) -> Self {
        for proof in &mut self.proofs {
            if let SentProof::Planned(planned) = proof {
                planned.nonce = false;
            }
        }
        self
    }
}
