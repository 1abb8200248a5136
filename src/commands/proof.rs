//! `fapi-gateway proof`: prints one DPoP proof (RFC 9449 §4.2), for a call by hand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fapi::UnixTime;
use fapi::client::proof::{ProofKey, Request};
use fapi::jose::signing::PrivateKey;
use uuid::Uuid;

use super::{BAD_USAGE, Failure, input};
use crate::clock::Clock;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The private key, PEM: PKCS#8, SEC1 or PKCS#1; EC P-256, Ed25519, or RSA of 2048 bits or more.
    #[arg(long, allow_hyphen_values = true)]
    key: PathBuf,
    /// The method of the request, as it will be sent: `htm`.
    #[arg(long)]
    method: String,
    /// The URL of the request: `htu`, without its query and fragment.
    #[arg(long)]
    url: String,
    /// The access token that goes with it, hashed as `ath`: `@FILE`, `-` for standard input, or the token itself.
    ///
    /// Others on the machine can see the command line, and it remains in the shell's history: use `@FILE` or `-` for a
    /// token that is worth protecting. White space around the token is ignored. Without a token the proof has no `ath`,
    /// as a token endpoint expects.
    #[arg(long, allow_hyphen_values = true)]
    token: Option<String>,
    /// The nonce that the server sent in `DPoP-Nonce`.
    #[arg(long, allow_hyphen_values = true)]
    nonce: Option<String>,
    /// The time the proof was made, in seconds since 1970; by default now.
    #[arg(long, value_name = "SECONDS")]
    iat: Option<u64>,
}

/// Prints the proof on one line; its `jti` is random. Never prints the key.
pub fn run(arguments: &Arguments) -> ExitCode {
    super::ended(proof(arguments).and_then(|proof| super::print(&format!("{proof}\n"))), "proof")
}

fn proof(arguments: &Arguments) -> Result<String, Failure> {
    let Arguments { key, method, url, token, nonce, iat } = arguments;
    let token_file = token.as_deref().and_then(token_file);
    super::one_from_standard_input([Some(key), token_file.as_ref()])?;
    let file = key;
    let key = PrivateKey::from_pem(&input(file)?).map_err(|error| Failure::io(file, &error))?;
    let key = ProofKey::new(key).map_err(|error| Failure::io(file, &error))?;
    http::Method::from_bytes(method.as_bytes()).map_err(|_| usage(format!("{method:?} is not an HTTP method")))?;
    let token = token.as_deref().map(|argument| access_token(argument, token_file.as_deref())).transpose()?;
    let request = Request { method, url: target(url)?, access_token: token.as_deref(), nonce: nonce.as_deref() };
    let now = iat.map_or_else(|| Clock::system().unix_time(), UnixTime);
    key.prove(&request, &Uuid::new_v4().to_string(), now).map_err(|error| Failure::io(file, &error))
}

fn usage(why: impl Into<String>) -> Failure {
    Failure::new(BAD_USAGE, why)
}

/// RFC 9449 §4.2: `htu` is "the HTTP target URI …, without query and fragment parts".
fn target(url: &str) -> Result<&str, Failure> {
    let target = url.split(['?', '#']).next().unwrap_or_default();
    let uri: Option<http::Uri> = target.parse().ok();
    let absolute = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    match absolute {
        true => Ok(target),
        // The part before the @ may be a password.
        false if target.contains('@') => Err(usage("the URL has user information, expected https://HOST/PATH")),
        false => Err(usage(format!("{target:?} is not a URL, expected https://HOST/PATH"))),
    }
}

/// The file that `--token` names: `@FILE`, or `-`.
fn token_file(argument: &str) -> Option<PathBuf> {
    if argument == "-" { Some("-".into()) } else { argument.strip_prefix('@').map(PathBuf::from) }
}

fn access_token(argument: &str, file: Option<&Path>) -> Result<String, Failure> {
    let Some(file) = file else {
        // `--token` of `explain` is a file. A proof for its name would be refused for a reason that is hard to see.
        if Path::new(argument).is_file() {
            eprintln!(
                "note: --token is the token itself, and there is a file of this name; `@` before it reads the file"
            );
        }
        return word(argument).map_err(usage);
    };
    word(&String::from_utf8_lossy(&input(file)?)).map_err(|problem| Failure::io(file, &problem))
}

/// The token, without white space around it.
fn word(text: &str) -> Result<String, &'static str> {
    let token = text.trim_ascii();
    if token.is_empty() {
        return Err("the access token is empty");
    }
    // RFC 9449 §4.2 hashes "the ASCII encoding of the associated access token's value".
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the access token has spaces or characters that are not ASCII");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htu_is_without_query_and_fragment() {
        assert_eq!(target("https://api.example/accounts?page=2#top").ok(), Some("https://api.example/accounts"));
        assert_eq!(target("https://api.example:8443").ok(), Some("https://api.example:8443"));
        for url in
            ["", "/accounts", "api.example/accounts", "ftp://api.example/", "https://", "https://a@b/", "https://a b/"]
        {
            assert!(target(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(word("abc").as_deref(), Ok("abc"));
        assert_eq!(word(" abc\n").as_deref(), Ok("abc"));
        for token in ["", " ", "a b", "é"] {
            assert!(word(token).is_err(), "{token:?}");
        }
    }
}
