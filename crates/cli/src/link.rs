//! `voicemesh link`: makes a link with a new key of a room.

use std::io::{self, Write};

use voicemesh::JoinOptions;

use crate::arguments::{DEFAULT_SERVER, LinkArguments};
use crate::exit::{Exit, Failure};
use crate::human::not_used;
use crate::mic::print_line;
use crate::trial::random_name;

/// Prints one line, the link.
pub(crate) fn make(arguments: &LinkArguments) -> Result<Exit, Failure> {
    let named = arguments.server.as_deref();
    let room = match &arguments.room {
        Some(room) => room.clone(),
        None => random_name().map_err(|why| Failure::other(why.to_owned()))?,
    };
    let options = JoinOptions::new(named.unwrap_or(DEFAULT_SERVER), room.as_str()).follow_link()?;
    let printed = print_line(&options.clone().new_room_key()?.invitation()?)?;
    if let Some(unused) = named.filter(|named| !options.is_at(named)) {
        // The link is made, whether or not this can be said.
        let _ = writeln!(io::stderr(), "{}.", not_used(unused, options.server()));
    }
    Ok(printed)
}
