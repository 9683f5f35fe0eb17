//! The signaling server as a separate program; `voicemesh serve` runs the same server.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use tracing_subscriber::EnvFilter;
use voicemesh_signaling::{Config, ServeError, without_empty_variables};

/// Signaling server of voicemesh: rooms by name, introductions between peers, relay, web page.
#[derive(Parser)]
#[command(name = "voicemesh-signaling", version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let matches = without_empty_variables(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|filter| !filter.is_empty()) {
            let _ = writeln!(
                std::io::stderr(),
                "voicemesh-signaling: {} is not understood, so the log is at info; write debug, or voicemesh_signaling=trace,warn",
                EnvFilter::DEFAULT_ENV
            );
        }
        EnvFilter::new("info")
    });
    // Where the log cannot be written, the server goes on without.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .init();
    // One thread relays tens of thousands of packets a second, and waking a task costs no system
    // call.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(voicemesh_signaling::run(arguments.config)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "voicemesh-signaling: {error}");
            // As for an option that cannot be parsed.
            if matches!(error, ServeError::Config(_)) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
