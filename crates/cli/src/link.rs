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
    let room = match &arguments.room {
        Some(room) => room.clone(),
        None => random_name().map_err(|why| Failure::other(why.to_owned()))?,
    };
    let server = arguments.server.as_deref().unwrap_or(DEFAULT_SERVER);
    let options = JoinOptions::new(server, room.as_str()).follow_link()?;
    let has_key = options.given_room_key()?.is_some();
    let printed = print_line(&options.clone().new_room_key()?.invitation()?)?;
    for remark in remarks(&options, has_key, arguments) {
        // The link is made, whether or not this can be said.
        let _ = writeln!(io::stderr(), "{remark}");
    }
    Ok(printed)
}

/// What a person may expect of the link, and it has not. `has_key`: the link given has one.
fn remarks(options: &JoinOptions, has_key: bool, arguments: &LinkArguments) -> Vec<String> {
    let named = arguments.server.as_deref();
    let unused = named.filter(|_| !arguments.is_server_of_environment);
    let unused = unused.filter(|named| !options.is_at(named));
    let unused = unused.map(|unused| format!("{}.", not_used(unused, options.server())));
    let is_here = named.is_none() && options.is_at(DEFAULT_SERVER);
    let only_here = is_here.then(|| {
        "The link leads to a server on this machine; name another with --server.".to_owned()
    });
    let replaced = has_key.then(|| {
        "The link has a new key: who joins by the link given and who joins by this one do not hear each other."
            .to_owned()
    });
    let dropped = options.access_token().map(|_| {
        "The access token of the link given is not in it: a token is for one person.".to_owned()
    });
    unused.into_iter().chain(only_here).chain(replaced).chain(dropped).collect()
}
