//! A request as it goes out, and as it is shown: the same text with names of variables in the place of secrets.

use fapi::signature::error::SignatureError;
use sandbox::keys::Proof;

use crate::call::{Call, PlannedProof, Presents, SentProof, TOKEN};
use crate::exchange::Field;
use crate::settings::Target;
use crate::signature::Request;

/// A request as it goes out. Holds secrets, so it does not implement `Debug`.
#[derive(Clone)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// Every field, without those of the framing.
    pub fields: Vec<Field>,
    /// The content.
    pub body: Option<Vec<u8>>,
    /// The same, to be shown.
    pub shown: Shown,
    /// Why the signature is not there that the call plans.
    pub not_signed: Option<SignatureError>,
    /// The secrets in it, each with the name it is shown by.
    secrets: Vec<(String, String)>,
}

/// A request without its secrets.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The target.
    pub target: String,
    /// The fields.
    pub fields: Vec<Field>,
    /// The content.
    pub body: Option<String>,
}

impl Sent {
    /// Makes the proofs of a call and puts its token in. `now` is in seconds since 1970; `nonce` is what the server sent last.
    pub fn of(call: &Call, target: &Target, agent: &str, now: u64, nonce: Option<&str>) -> Self {
        let path = call.target.split(['?', '#']).next().unwrap_or_default();
        let htu = format!("{}{path}", target.origin());
        let mut secrets = Vec::new();
        let mut fields = vec![("Host".to_owned(), call.host.clone()), ("User-Agent".to_owned(), agent.to_owned())];
        let mut shown = fields.clone();
        for credential in &call.credentials {
            let (scheme, token) = (&credential.scheme, &credential.token);
            fields.push(("Authorization".to_owned(), format!("{scheme} {}", token.text)));
            shown.push(("Authorization".to_owned(), format!("{scheme} ${}", token.name)));
            secrets.push((token.text.clone(), token.name.clone()));
        }
        for proof in &call.proofs {
            let text = match proof {
                SentProof::Made(text) => text.clone(),
                SentProof::Planned(planned) => made(planned, call, &htu, now, nonce),
            };
            fields.push((call.proof_field.to_owned(), text.clone()));
            shown.push((call.proof_field.to_owned(), "$PROOF".to_owned()));
            secrets.push((text, "PROOF".to_owned()));
        }
        let (token, name) = match &call.token {
            Some(token) => (token.text.as_str(), format!("${}", token.name)),
            None => ("", String::new()),
        };
        if let Some(token) = &call.token {
            secrets.push((token.text.clone(), token.name.clone()));
        }
        for (field, value) in &call.fields {
            fields.push((field.clone(), value.replace(TOKEN, token)));
            let hidden = is_secret(field) && !value.contains(TOKEN);
            let variable = format!("HEADER_{}", field.to_ascii_uppercase().replace('-', "_"));
            let told = if hidden { format!("${variable}") } else { value.replace(TOKEN, &name) };
            shown.push((field.clone(), told));
            secrets.extend(hidden.then(|| (value.clone(), variable)));
        }
        let own_target = call.target.replace(TOKEN, token);
        let body = call.body.as_ref().map(|body| body.replace(TOKEN, token).into_bytes());
        let mut not_signed = None;
        if let Some(planned) = &call.signature {
            let has_content = body.as_ref().is_some_and(|body| !body.is_empty());
            let (method, authority) = (call.method.as_str(), target.authority());
            let request = Request { method, authority: &authority, target: &own_target, fields: &fields, has_content };
            match planned.fields(&request, now) {
                Ok(made) => made.into_iter().for_each(|(name, value)| {
                    // What it covers is no secret; the signature could be used by whoever reads it.
                    let told =
                        if name.eq_ignore_ascii_case("signature") { "$SIGNATURE".to_owned() } else { value.clone() };
                    if told != value {
                        secrets.push((value.clone(), "SIGNATURE".to_owned()));
                    }
                    shown.push((name.clone(), told));
                    fields.push((name, value));
                }),
                Err(error) => not_signed = Some(error),
            }
        }
        secrets.retain(|(secret, _)| !secret.is_empty());
        Self {
            method: call.method.clone(),
            target: own_target,
            fields,
            body,
            not_signed,
            shown: Shown {
                target: call.target.replace(TOKEN, &name),
                fields: shown,
                body: call.body.as_ref().map(|body| body.replace(TOKEN, &name)),
            },
            secrets,
        }
    }

    /// The bytes of HTTP/1.1.
    pub fn http1(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body
            && !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }

    /// The secrets in it, each with the name that stands in its place.
    pub fn secrets(&self) -> &[(String, String)] {
        &self.secrets
    }

    /// The request as a command line for curl. The keys and secrets are variables of the shell.
    pub fn curl(&self, call: &Call, target: &Target) -> String {
        let mut words = vec!["curl --silent --include --path-as-is --cacert \"$CA\"".to_owned()];
        words.push(if call.http2 { "--http2".to_owned() } else { "--http1.1".to_owned() });
        if let Some(name) = presented(&call.presents) {
            words.push(format!("--cert \"${name}_CERTIFICATE\" --key \"${name}_KEY\""));
        }
        match self.method.as_str() {
            "GET" => {}
            "HEAD" => words.push("--head".to_owned()),
            method => words.push(format!("--request {method}")),
        }
        // curl sends these by itself.
        let own = ["host", "content-length"];
        let sent = self.shown.fields.iter().filter(|(name, value)| {
            !own.contains(&name.to_ascii_lowercase().as_str())
                || (name.eq_ignore_ascii_case("host") && *value != target.authority())
        });
        words.extend(sent.map(|(name, value)| format!("--header {}", quoted(&format!("{name}: {value}")))));
        words.extend(self.shown.body.as_ref().map(|body| format!("--data-binary {}", quoted(body))));
        words.push(quoted(&format!("{}{}", target.origin(), self.shown.target)));
        words.join(" \\\n  ")
    }
}

/// Whether the value of a field is a secret by the field's name, as a configuration may have it.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let marks = ["key", "secret", "password", "credential", "token", "cookie", "authorization"];
    name != "x-idempotency-key" && marks.iter().any(|mark| name.contains(mark))
}

/// The name of what a connection presents, for variables.
pub fn presented(presents: &Presents) -> Option<String> {
    match presents {
        Presents::Nothing => None,
        Presents::Client(client) => Some(format!("CLIENT_{}", client.saturating_add(1))),
        Presents::Other(name, _) => Some((*name).to_owned()),
    }
}

fn made(planned: &PlannedProof, call: &Call, htu: &str, now: u64, nonce: Option<&str>) -> String {
    let mut proof = Proof::new(&call.method, htu, now);
    if let Some(token) = &call.token {
        proof = proof.for_token(&token.text);
    }
    if let Some(nonce) = nonce.filter(|_| planned.nonce) {
        proof = proof.claim("nonce", nonce);
    }
    (planned.spoil)(proof, &planned.key)
}

/// A word of a shell that keeps variables: in double quotes, with everything else escaped.
fn quoted(text: &str) -> String {
    let mut word = String::from("\"");
    for (at, character) in text.char_indices() {
        let variable = character == '$' && text.get(at.saturating_add(1)..).is_some_and(starts_variable);
        if matches!(character, '"' | '\\' | '`') || (character == '$' && !variable) {
            word.push('\\');
        }
        word.push(character);
    }
    word.push('"');
    word
}

/// Whether a text begins with the name of a variable that stands for a secret.
fn starts_variable(text: &str) -> bool {
    ["TOKEN", "PROOF", "CLIENT", "SIGNATURE", "HEADER"].iter().any(|name| text.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_word_as_it_stands() {
        assert_eq!(quoted("DPoP: $PROOF"), "\"DPoP: $PROOF\"");
        assert_eq!(quoted("a\"b`c\\d$(x)$HOME"), "\"a\\\"b\\`c\\\\d\\$(x)\\$HOME\"");
    }
}
