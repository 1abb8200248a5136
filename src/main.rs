//! Parses the arguments, sets up logging and the crypto provider, and runs a command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fapi_gateway::commands;
use fapi_gateway::connection::tls;
use fapi_gateway::telemetry::logging;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reverse proxy that enforces FAPI in front of resource servers.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; reload when files change, and on SIGHUP.
    Run {
        /// The configuration file; relative paths in it are resolved against its folder.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
    },
    /// Load the configuration as `run` would and print every problem, or what it would serve.
    Check {
        /// The configuration file; relative paths in it are resolved against its folder.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
        /// Print the effective configuration, with every default filled in.
        #[arg(long)]
        print_effective: bool,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print a DPoP proof (RFC 9449), to send a request by hand.
    Proof(commands::proof::Arguments),
    #[cfg(feature = "demo")]
    /// Send legitimate and hostile calls to a gateway on loopback and print each result.
    Demo(commands::demo::Arguments),
}

fn main() -> ExitCode {
    // The system clears 2 MiB at a time for a huge page, which has taken 7 ms in a request. Where it cannot be told, nothing is
    // lost but that.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    if let Err(error) = tls::install_provider() {
        eprintln!("fapi-gateway: {error}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    #[cfg(feature = "demo")]
    let default = if matches!(arguments.command, Command::Demo(_)) { "error" } else { logging::DEFAULT };
    #[cfg(not(feature = "demo"))]
    let default = logging::DEFAULT;
    let _log = match logging::StderrLog::start(&std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned())) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("fapi-gateway: cannot write the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    match arguments.command {
        Command::Run { config } => commands::run::run(&config),
        Command::Check { config, print_effective } => commands::check::run(&config, print_effective),
        Command::Schema => commands::schema::run(),
        Command::Proof(arguments) => commands::proof::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => commands::demo::run(&arguments),
    }
}
