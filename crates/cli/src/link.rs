//! `voicemesh link`: makes a link with a new key of a room.

use voicemesh::JoinOptions;

use crate::arguments::{DEFAULT_SERVER, LinkArguments};
use crate::exit::{Exit, Failure};
use crate::mic::print_line;
use crate::trial::random_name;

/// Prints one line, the link.
pub(crate) fn make(arguments: &LinkArguments) -> Result<Exit, Failure> {
    let server = arguments.server.as_deref().unwrap_or(DEFAULT_SERVER);
    let room = match &arguments.room {
        Some(room) => room.clone(),
        None => random_name().map_err(|why| Failure::other(why.to_owned()))?,
    };
    let options = JoinOptions::new(server, room.as_str()).follow_link()?;
    print_line(&options.new_room_key()?.invitation()?)
}
