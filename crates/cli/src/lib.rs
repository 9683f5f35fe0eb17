//! The `voicemesh` command: talk from a terminal, in a room or in a call that one member hosts; let
//! an echo answer, try everything on one machine, try microphone and network, list devices, make
//! links and access tokens, run the server.
//!
//! **Does.** Turns a command line into [`voicemesh::JoinOptions`], events into lines for people
//! (`human`) or programs (`json`) or a view of the whole terminal (`live`), and typed lines
//! into commands (`slash`). Every failure is a sentence that says what happened and what next,
//! and an exit code (`exit`).
//!
//! **Never does.** Touch the sound or the network of a room: that is the business of the crates it
//! stands on; only `mic` and `loopback`, where there is no room, run the sound themselves. Trust a
//! terminal to what others send: everything foreign goes through `text` first.
//!
//! The shape of its loop: events are waited for on the main thread (`talk`); standard input is
//! read on a separate thread, and so are the signals that ask to end.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory;

mod arguments;
mod call;
mod command_arguments;
mod decisions;
mod devices;
mod encryption;
mod end;
mod exit;
mod format;
mod held_logs;
mod host_links;
mod hosted;
mod human;
mod input;
mod json;
mod link;
mod live;
mod logs;
mod loopback;
mod mic;
mod microphone;
mod output;
mod people;
mod reach;
#[cfg(test)]
mod sentences;
mod serve;
mod served_by;
mod signals;
mod slash;
mod stderr;
mod summary;
mod talk;
mod text;
mod token;
mod trial;
mod who;

use arguments::{Arguments, Command};

/// Prints what was asked for in place of a command, or what is wrong with the arguments.
fn not_run(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(_) => ExitCode::FAILURE,
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = voicemesh_signaling::without_empty_variables(Arguments::command())
        .try_get_matches()
        .and_then(|matches| Arguments::read(&matches));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return not_run(&error),
    };
    // A server's log is its own affair; the other commands talk to a person.
    let redirect = (!matches!(arguments.command, Command::Serve(_))).then(stderr::Redirect::begin);
    live::console::give_back_on_panic();
    let result = match arguments.command {
        Command::Join(join) => talk::join(*join),
        Command::Host(host) => talk::host(*host),
        Command::Echo(echo) => talk::echo(echo),
        Command::Mic(mic) => mic::run(&mic),
        Command::Loopback(loopback) => loopback::run(&loopback),
        Command::Devices(devices) => devices::list(&devices),
        Command::Token(token) => token::make(token),
        Command::Link(link) => link::make(&link),
        Command::Try(arguments) => trial::run(&arguments),
        Command::Serve(config) => serve::serve(*config),
    };
    drop(redirect);
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let message = format!("voicemesh: {}", failure.message);
            // Standard error may be full or gone, too; the exit code still says it.
            let _ = match format::is_unicode() {
                true => writeln!(std::io::stderr(), "{message}"),
                false => writeln!(
                    std::io::stderr(),
                    "{}",
                    message.chars().map(text::ascii).collect::<String>()
                ),
            };
            failure.exit.into()
        }
    }
}
