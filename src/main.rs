//! Parses the arguments, sets up logging and the crypto provider, and runs a command.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use fapi_gateway::commands::{self, ConfigFile};
use fapi_gateway::connection::tls;
use fapi_gateway::telemetry::filter::Filter;
use fapi_gateway::telemetry::logging;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reverse proxy that enforces FAPI in front of resource servers.
#[derive(Parser)]
#[command(version, about, after_help = commands::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; reload when files change, and on SIGHUP.
    Run {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Load the configuration as `run` would and print every problem, or what it would serve.
    Check(commands::check::Arguments),
    /// Take one call through the configuration and say at each step what was expected and what was seen.
    Explain(commands::explain::Arguments),
    #[cfg(feature = "demo")]
    /// Make a folder with a configuration, development certificates and keys, ready for `run`.
    Init(commands::init::Arguments),
    #[cfg(feature = "demo")]
    /// Serve the authorization server of a folder made by `init`, and a small API if asked.
    Sandbox(commands::sandbox::Arguments),
    #[cfg(feature = "demo")]
    /// Print an access token of the sandbox's authorization server, good or faulty.
    Token(commands::token::Arguments),
    /// Print a DPoP proof (RFC 9449), to send a request by hand.
    Proof(commands::proof::Arguments),
    /// Sign a captured HTTP message (RFC 9421), with the digest of its content (RFC 9530).
    Sign(commands::sign::Arguments),
    /// Verify the signatures of a captured HTTP message, and say line by line what they cover.
    Verify(commands::verify::Arguments),
    /// Print the thumbprints that tokens are bound to: `x5t#S256` of certificates, `jkt` of keys.
    Thumbprint(commands::thumbprint::Arguments),
    #[cfg(feature = "demo")]
    /// Send legitimate and hostile calls to a gateway on loopback and print each result.
    Demo(commands::demo::Arguments),
    #[cfg(feature = "probe")]
    /// Call a live resource server and say, clause by clause, whether it enforces FAPI.
    Probe(commands::probe::Arguments),
    /// Verify the chains of the audit, or find an exchange in it.
    Audit {
        #[command(subcommand)]
        command: commands::audit::Command,
    },
    /// Print the JSON Schema of the configuration, for editors, or that of the audit.
    Schema(commands::schema::Arguments),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the program or of one of its commands.
    Man {
        /// The command, word by word.
        command: Vec<String>,
    },
    /// Print the version, the commit it was built from and its features.
    Version,
}

impl Command {
    /// What the log has where `RUST_LOG` does not decide.
    fn log(&self) -> logging::Settings {
        let filter = if matches!(self, Self::Explain(_)) { Filter::warnings() } else { Filter::default() };
        #[cfg(feature = "demo")]
        let filter = if matches!(self, Self::Demo(_) | Self::Sandbox(_)) { Filter::errors() } else { filter };
        logging::Settings { filter, ..logging::Settings::default() }
    }
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
    let environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let environment = match environment.map(|text| text.parse::<Filter>()).transpose() {
        Ok(filter) => filter,
        Err(problem) => {
            eprintln!("fapi-gateway: RUST_LOG: {problem}");
            return ExitCode::from(commands::BAD_USAGE);
        }
    };
    for target in environment.iter().flat_map(Filter::unknown_targets) {
        eprintln!("fapi-gateway: RUST_LOG: no part of the program is called `{target}`, so it selects no line");
    }
    // `run` starts the log when it has read how.
    let runs = matches!(arguments.command, Command::Run { .. });
    let log = if runs {
        Ok(None)
    } else {
        logging::StderrLog::start(&arguments.command.log(), environment.as_ref()).map(Some)
    };
    let _log = match log {
        Ok(log) => log,
        Err(error) => {
            eprintln!("fapi-gateway: cannot write the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    match arguments.command {
        Command::Run { file } => commands::run::run(&file.config, environment.as_ref()),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Init(arguments) => commands::init::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Sandbox(arguments) => commands::sandbox::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Token(arguments) => commands::token::run(&arguments),
        Command::Proof(arguments) => commands::proof::run(&arguments),
        Command::Sign(arguments) => commands::sign::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Thumbprint(arguments) => commands::thumbprint::run(&arguments),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => commands::demo::run(&arguments),
        #[cfg(feature = "probe")]
        Command::Probe(arguments) => commands::probe::run(&arguments),
        Command::Audit { command } => commands::audit::run(&command),
        Command::Schema(arguments) => commands::schema::run(&arguments),
        Command::Completions { shell } => commands::shell::completions(Arguments::command(), shell),
        Command::Man { command } => commands::shell::man(Arguments::command(), &command),
        Command::Version => commands::version::run(),
    }
}
