//! `voicemesh serve`: the signaling server, the same as the separate program.

use voicemesh_device::system_words;
use voicemesh_signaling::{Config, ServeError};

use crate::exit::{Exit, Failure};
use crate::logs;

/// Serves until asked to stop.
pub(crate) fn serve(config: Config) -> Result<Exit, Failure> {
    logs::init("info");
    // One thread relays tens of thousands of packets a second, and waking a task costs no system
    // call.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let why = system_words(&error);
        Failure::other(format!(
            "this machine does not give what connections are run by: {why}; end other programs, or raise the limits of this user"
        ))
    })?;
    runtime.block_on(voicemesh_signaling::run(config)).map_err(|error| {
        let exit = if matches!(error, ServeError::Config(_)) { Exit::Usage } else { Exit::Other };
        Failure::new(exit, error.to_string())
    })?;
    Ok(Exit::Done)
}
