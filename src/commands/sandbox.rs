//! `fapi-gateway sandbox`: serves what stands around a gateway while one tries it out: the authorization server of the
//! configuration and, if asked, a small accounts API.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use reqwest::Url;
use sandbox::accounts::AccountsApi;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::tls::danger_with_any_client;
use tokio::signal::unix::{SignalKind, signal};

use super::token::Signer;
use super::{Failure, NOT_GOOD};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    signer: Signer,
    /// Serve a small accounts API at this loopback address, such as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    api: Option<SocketAddr>,
}

/// Serves until SIGTERM or SIGINT.
///
/// The authorization server has the identifier of the first issuer on `https://localhost`, and the certificate of the
/// first listener. It publishes metadata and keys; the command `token` makes its tokens.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(NOT_GOOD, error.to_string()).report("sandbox"),
    };
    super::ended(runtime.block_on(serve(arguments)), "sandbox")
}

async fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let not_good = |error: &dyn std::fmt::Display| Failure::new(NOT_GOOD, error.to_string());
    let signer = &arguments.signer;
    super::one_from_standard_input([Some(&signer.file.config), signer.signing_key.as_ref()])?;
    let config = super::load(&signer.file.config)?;
    let key = signer.key()?;
    let local = config.issuers.iter().find_map(|issuer| {
        let url = Url::parse(&issuer.expected.issuer).ok()?;
        (url.host_str() == Some("localhost")).then(|| (issuer.expected.issuer.clone(), url.port().unwrap_or(443)))
    });
    let (issuer, port) = local
        .ok_or_else(|| not_good(&"no issuer of the configuration is https://localhost:PORT, so none is served here"))?;
    let host = config.listeners.into_iter().flat_map(|listener| listener.hosts).next();
    let tls = host.ok_or_else(|| not_good(&"the configuration has no listener"))?.tls;
    let tls = danger_with_any_client(tls.certificate_chain, tls.private_key).map_err(|error| not_good(&error))?;
    // From before anything is served: whoever reads that it is may signal at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| not_good(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| not_good(&error))?;
    let bind = |address: SocketAddr| {
        TcpListener::bind(address).map_err(|error| not_good(&format!("cannot listen on {address}: {error}")))
    };
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let _server = AuthorizationServer::start_with(listener, tls, &issuer, key).map_err(|error| not_good(&error))?;
    super::print(&format!("authorization server: {issuer}\n"))?;
    let _api = match arguments.api {
        None => None,
        Some(address) => {
            let api = AccountsApi::start(Some(bind(address)?), None).map_err(|error| not_good(&error))?;
            super::print(&format!("accounts API: {}\n", api.url("/accounts")))?;
            Some(api)
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The API answers whoever asks, so only this machine can reach it.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(address),
        Ok(_) => {
            Err("the API asks for no token, so it is served on this machine alone; write it like 127.0.0.1:8080"
                .to_owned())
        }
        Err(_) => Err("expected an IP address with a port, such as 127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_served_on_this_machine_alone() {
        for address in ["127.0.0.1:8080", "127.8.9.1:0", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            assert_eq!(loopback(address).map(|address| address.to_string()).as_deref(), Ok(address)); // control
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "[::ffff:192.0.2.1]:8080"] {
            assert!(loopback(address).unwrap_err().contains("on this machine alone"), "{address}");
        }
        for text in ["localhost:8080", "127.0.0.1", "8080", ""] {
            assert!(loopback(text).unwrap_err().contains("expected an IP address"), "{text}");
        }
    }
}
