//! `voicemesh token`: makes an access token.

use std::time::{SystemTime, UNIX_EPOCH};

use voicemesh::JoinOptions;
use voicemesh_device::{file_words, read_file};
use voicemesh_signaling::token::{TokenRequest, sign};

use crate::arguments::TokenArguments;
use crate::exit::{Exit, Failure};
use crate::mic::print_line;

/// Prints one line, the token.
pub(crate) fn make(arguments: TokenArguments) -> Result<Exit, Failure> {
    let path = arguments.secret.display();
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let secret = read_file(&arguments.secret).map_err(|error| {
        usage(format!(
            "{path}: {}. Name the file of the server's --auth-secret with --secret.",
            file_words(&error)
        ))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let TokenArguments {
        room,
        pattern: is_pattern,
        name,
        permissions,
        subject,
        audience,
        expires,
        ..
    } = &arguments;
    let room = match is_pattern {
        true => room.clone(),
        false => JoinOptions::new("", room.as_str()).follow_link()?.room().to_owned(),
    };
    let request = TokenRequest {
        room,
        is_pattern: *is_pattern,
        name: name.clone(),
        permissions: *permissions,
        subject: subject.clone(),
        audience: audience.clone(),
        expires_at: now.saturating_add(expires.as_secs()),
    };
    request.check().map_err(|error| usage(format!("{error}.")))?;
    let token = sign(request, &secret).map_err(|error| usage(format!("{path}: {error}.")))?;
    print_line(token.as_str())
}
