//! What a typed line asks for. `/` begins a command, `//` a text that begins with `/`; anything
//! else is a text.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use voicemesh::{InputSpec, OutputSpec};

use crate::command_arguments;
use crate::microphone::{ActivationChoice, NoiseChoice, Switch};
use crate::text::harmless;

/// A typed line, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum SlashCommand {
    /// Nothing to do.
    Nothing,
    /// To everybody in the room.
    Text(String),
    /// Speak no more; or, with a name, hear that one no more.
    Mute(Option<String>),
    /// The opposite.
    Unmute(Option<String>),
    /// Hear no peer.
    Deafen,
    /// Hear all peers again.
    Undeafen,
    /// Who is here, and how they are reached.
    Participant,
    /// How the room is encrypted, and the code to compare.
    Code,
    /// Let the server hear what is said to one whose program cannot encrypt, or no more.
    AllowUnencrypted {
        /// Whom.
        name: String,
        /// Otherwise it ends.
        is_allowed: bool,
    },
    /// How loud one peer is heard.
    Gain {
        /// Whom.
        name: String,
        /// 1.0 is as spoken.
        factor: f32,
    },
    /// A text to one peer. Names can contain spaces, so that only who knows all names can part the
    /// two.
    Message {
        /// Name, space, text.
        name_and_text: String,
    },
    /// Listen and speak to a talk group.
    JoinGroup(String),
    /// The opposite.
    LeaveGroup(String),
    /// Something about the own microphone or speaker.
    Change(Change),
    /// Keep a recording in this folder, or end the one that is kept.
    Record(Option<PathBuf>),
    /// Something that is decided about another member or the room.
    Moderate(Decision),
    /// A new room with a new key, for those who stay.
    NewLink {
        /// Otherwise it is said what would be done.
        is_sent: bool,
    },
    /// Show the links of the call that one hosts, or host it in place of one who is gone.
    Host,
    /// What can be typed.
    Help,
    /// Leave the room.
    Quit,
}

/// What one changes about the own microphone or speaker.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// How much steady noise is removed.
    Noise(NoiseChoice),
    /// When one is heard.
    Activation(ActivationChoice),
    /// With push-to-talk: as if the key were held, or no longer.
    Talk(bool),
    /// Another microphone.
    Input(InputSpec),
    /// Another speaker.
    Output(OutputSpec),
}

/// What is decided about a member, by name, or about the room.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The others do not hear this one any more, or again.
    MuteForAll(String, bool),
    /// It leaves the room.
    Kick(String),
    /// It leaves, and is kept out for a while: a name, and perhaps minutes, which [`ban`] parts.
    Ban(String),
    /// The ban of this one ends; without a name, those banned are listed.
    Unban(Option<String>),
    /// It listens and speaks to one group only. Names can contain spaces.
    Move {
        /// Name, space, group.
        name_and_group: String,
    },
    /// No newcomer is let in, or they are again.
    Lock(bool),
    /// The room's password from now on; none if empty.
    SetPassword(String),
    /// It may moderate in one's own place.
    MakeOwner(String),
}

/// Minutes of a ban of which nothing else is said.
const BAN_MINUTES: u32 = 60;
/// The longest ban, in minutes.
const MOST_BAN_MINUTES: u32 = 1440;

/// What follows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The command stands alone.
    Nothing,
    /// Free text.
    Text,
    /// A person's name first.
    Name,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// Every command, for completion.
pub const COMMANDS: [(&str, Takes); 32] = [
    ("activation", Takes::OneOf(&["voice", "always", "push-to-talk"])),
    ("allow", Takes::Name),
    ("ban", Takes::Name),
    ("code", Takes::Nothing),
    ("deafen", Takes::Nothing),
    ("disallow", Takes::Name),
    ("gain", Takes::Name),
    ("help", Takes::Nothing),
    ("host", Takes::Nothing),
    ("input", Takes::Text),
    ("join", Takes::Text),
    ("kick", Takes::Name),
    ("leave", Takes::Text),
    ("lock", Takes::Nothing),
    ("make-owner", Takes::Name),
    ("move", Takes::Name),
    ("msg", Takes::Name),
    ("mute", Takes::Name),
    ("mute-all", Takes::Name),
    ("new-link", Takes::OneOf(&["send"])),
    ("noise", Takes::OneOf(&["off", "low", "moderate", "high"])),
    ("output", Takes::Text),
    ("quit", Takes::Nothing),
    ("record", Takes::Text),
    ("set-password", Takes::Text),
    ("talk", Takes::OneOf(&["on", "off"])),
    ("unban", Takes::Text),
    ("undeafen", Takes::Nothing),
    ("unlock", Takes::Nothing),
    ("unmute", Takes::Name),
    ("unmute-all", Takes::Name),
    ("who", Takes::Nothing),
];

/// The answer to `/help`.
pub const HELP: [&str; 29] = [
    "TEXT              write to those you speak to (// begins a text with /)",
    "/msg NAME TEXT    write to one person",
    "/who              who is here, how they are reached and heard",
    "/code             whether the server can listen, and the code to compare",
    "/allow NAME       let the server hear what you say to NAME; /disallow ends it",
    "/mute, /unmute    turn your microphone off and on",
    "/mute NAME        turn a person's sound off; /unmute NAME turns it on",
    "/gain NAME 0.5    hear a person softer or louder, 0 to 4; 1 is as spoken",
    "/deafen           turn the sound of all off; /undeafen turns it on",
    "/join GROUP       listen and speak to a talk group as well",
    "/leave GROUP      leave a talk group; “everyone” is one, too",
    "/noise HOW MUCH   remove steady noise: off, low, moderate, high",
    "/activation WHEN  be heard: voice (when you speak), always, push-to-talk",
    "/talk on, off     with push-to-talk: open or close the microphone",
    "/input NAME       change the microphone; “default” is the system's",
    "/output NAME      change the speaker; “default” is the system's",
    "/new-link         how to invite all who stay to a new room with a new key",
    "/host             in a call over a host: its links; take over if it is gone",
    "/record FOLDER    keep a recording, as the others see; /record stop ends it",
    "/help             this list",
    "For moderators (the person who made the room, or as the server says):",
    "/mute-all NAME    mute a person for everyone; /unmute-all NAME ends that",
    "/kick NAME        put a person out; /ban NAME [MINUTES] keeps them out",
    "/unban NAME       end a ban of yours; without NAME: whom you have banned",
    "/move NAME GROUP  hold a person in one talk group; GROUP everyone ends that",
    "/lock, /unlock    let no newcomers in; let them in again",
    "/set-password X   set the room's password; without X there is none",
    "/make-owner NAME  give the right to moderate to another person",
    "/quit             leave the room (Ctrl-C does the same)",
];

/// The loudest that a peer can be made.
const MOST_GAIN: f32 = 4.0;

/// Understands a line.
///
/// # Errors
///
/// A sentence that says what was expected.
pub fn parse(line: &str) -> Result<SlashCommand, String> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return Ok(if line.is_empty() {
            SlashCommand::Nothing
        } else {
            SlashCommand::Text(line.to_owned())
        });
    };
    if command.starts_with('/') {
        return Ok(SlashCommand::Text(command.to_owned()));
    }
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let some = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
    let needed = |what: &str| some(rest).ok_or_else(|| format!("/{word} needs {what}."));
    let alone = |typed: SlashCommand| {
        if rest.is_empty() { Ok(typed) } else { Err(format!("/{word} takes nothing more.")) }
    };
    match word.to_lowercase().as_str() {
        "mute" => Ok(SlashCommand::Mute(some(rest))),
        "unmute" => Ok(SlashCommand::Unmute(some(rest))),
        "deafen" => alone(SlashCommand::Deafen),
        "undeafen" => alone(SlashCommand::Undeafen),
        "who" => alone(SlashCommand::Participant),
        "code" => alone(SlashCommand::Code),
        "allow" => Ok(SlashCommand::AllowUnencrypted { name: needed("a name")?, is_allowed: true }),
        "disallow" => {
            Ok(SlashCommand::AllowUnencrypted { name: needed("a name")?, is_allowed: false })
        }
        "host" => alone(SlashCommand::Host),
        "gain" => gain(rest),
        "mute-all" => Ok(SlashCommand::Moderate(Decision::MuteForAll(needed("a name")?, true))),
        "unmute-all" => Ok(SlashCommand::Moderate(Decision::MuteForAll(needed("a name")?, false))),
        "kick" => Ok(SlashCommand::Moderate(Decision::Kick(needed("a name")?))),
        "ban" => Ok(SlashCommand::Moderate(Decision::Ban(needed(
            "a name, and perhaps minutes: /ban Ada 60",
        )?))),
        "unban" => Ok(SlashCommand::Moderate(Decision::Unban(some(rest)))),
        "move" => Ok(SlashCommand::Moderate(Decision::Move {
            name_and_group: needed("a name and a group: /move Ada Red")?,
        })),
        "lock" => alone(SlashCommand::Moderate(Decision::Lock(true))),
        "unlock" => alone(SlashCommand::Moderate(Decision::Lock(false))),
        "set-password" | "password" => {
            Ok(SlashCommand::Moderate(Decision::SetPassword(rest.to_owned())))
        }
        "make-owner" => Ok(SlashCommand::Moderate(Decision::MakeOwner(needed("a name")?))),
        "new-link" => match rest.to_lowercase().as_str() {
            "" => Ok(SlashCommand::NewLink { is_sent: false }),
            "send" => Ok(SlashCommand::NewLink { is_sent: true }),
            _ => Err("/new-link takes nothing, or send.".to_owned()),
        },
        "msg" => Ok(SlashCommand::Message {
            name_and_text: needed("a name and a text: /msg Ada hello")?,
        }),
        "join" => {
            Ok(SlashCommand::JoinGroup(command_arguments::group(&needed("a group's name")?)?))
        }
        "leave" => Ok(SlashCommand::LeaveGroup(command_arguments::group(&needed(
            "a group's name (/quit leaves the room)",
        )?)?)),
        "noise" => chosen(rest, "/noise needs off, low, moderate or high.")
            .map(Change::Noise)
            .map(SlashCommand::Change),
        "activation" => chosen(rest, "/activation needs voice, always or push-to-talk.")
            .map(Change::Activation)
            .map(SlashCommand::Change),
        "talk" => chosen(rest, "/talk needs on or off.")
            .map(|switch: Switch| Change::Talk(switch == Switch::On))
            .map(SlashCommand::Change),
        "input" => device(&needed("a microphone's name, or default")?)
            .map(Change::Input)
            .map(SlashCommand::Change),
        "output" => device(&needed("a speaker's name, or default")?)
            .map(Change::Output)
            .map(SlashCommand::Change),
        "record" => match needed("a folder, or stop: /record calls")?.as_str() {
            "stop" => Ok(SlashCommand::Record(None)),
            folder => Ok(SlashCommand::Record(Some(
                command_arguments::at_home(folder).into_owned().into(),
            ))),
        },
        "help" | "?" => alone(SlashCommand::Help),
        "quit" | "exit" | "q" => alone(SlashCommand::Quit),
        _ => Err(format!(
            "There is no command /{word}. /help lists them; // begins a text with a slash."
        )),
    }
}

fn chosen<T: ValueEnum>(word: &str, expected: &str) -> Result<T, String> {
    T::from_str(word, true).map_err(|_| expected.to_owned())
}

fn device<T: FromStr>(name: &str) -> Result<T, String>
where
    T::Err: Display,
{
    command_arguments::at_home(name).parse().map_err(|error: T::Err| format!("{error}."))
}

/// Parts a name and the minutes of a ban. What begins like a number at the end is the minutes,
/// unless all of it is the name of a person, as `is_name` says.
///
/// # Errors
///
/// A sentence, when a ban cannot last so long.
pub fn ban(name_and_minutes: &str, is_name: impl Fn(&str) -> bool) -> Result<(&str, u32), String> {
    let name_and_minutes = name_and_minutes.trim();
    let looks_like_minutes = |word: &str| {
        let digits = word.trim_start_matches(['-', '+']);
        digits.starts_with(|letter: char| letter.is_ascii_digit())
    };
    let parts = name_and_minutes
        .rsplit_once(char::is_whitespace)
        .filter(|(_, word)| looks_like_minutes(word));
    match parts {
        Some((name, minutes)) if !is_name(name_and_minutes) => {
            let lasts =
                minutes.parse().ok().filter(|minutes| (1..=MOST_BAN_MINUTES).contains(minutes));
            let lasts = lasts.ok_or_else(|| {
                format!(
                    "“{}” is no time for a ban: write whole minutes from 1 to {MOST_BAN_MINUTES}, as in /ban Ada 60. /kick \
                     puts out without a ban.",
                    harmless(minutes)
                )
            })?;
            Ok((name.trim_end(), lasts))
        }
        _ => Ok((name_and_minutes, BAN_MINUTES)),
    }
}

fn gain(rest: &str) -> Result<SlashCommand, String> {
    const EXPECTED: &str = "/gain needs a name and a factor from 0 to 4: /gain Ada 0.5";
    let (name, factor) = rest.rsplit_once(char::is_whitespace).ok_or(EXPECTED)?;
    let factor: f32 = factor.parse().map_err(|_| EXPECTED)?;
    if !(0.0..=MOST_GAIN).contains(&factor) {
        return Err(EXPECTED.to_owned());
    }
    Ok(SlashCommand::Gain { name: name.trim().to_owned(), factor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_without_a_slash_is_a_text() {
        assert_eq!(parse("  hello there \n"), Ok(SlashCommand::Text("hello there".into())));
        assert_eq!(parse("1/2"), Ok(SlashCommand::Text("1/2".into())));
        assert_eq!(
            parse("//mute is a command"),
            Ok(SlashCommand::Text("/mute is a command".into()))
        );
        assert_eq!(parse(" \r\n"), Ok(SlashCommand::Nothing));
    }

    #[test]
    fn commands_without_anything_more() {
        for (line, typed) in [
            ("/mute", SlashCommand::Mute(None)),
            ("/UNMUTE ", SlashCommand::Unmute(None)),
            ("/deafen", SlashCommand::Deafen),
            ("/undeafen", SlashCommand::Undeafen),
            ("/who", SlashCommand::Participant),
            ("/help", SlashCommand::Help),
            ("/new-link", SlashCommand::NewLink { is_sent: false }),
            ("/new-link Send", SlashCommand::NewLink { is_sent: true }),
            ("/quit\r\n", SlashCommand::Quit),
        ] {
            assert_eq!(parse(line), Ok(typed), "{line}");
        }
        assert!(parse("/quit now").is_err() && parse("/who is").is_err());
    }

    #[test]
    fn names_may_contain_spaces() {
        assert_eq!(
            parse("/gain Ada Lovelace 0.5"),
            Ok(SlashCommand::Gain { name: "Ada Lovelace".into(), factor: 0.5 })
        );
        for (line, is_allowed) in [("/allow Ada Lovelace", true), ("/disallow Ada Lovelace", false)]
        {
            let name = "Ada Lovelace".into();
            assert_eq!(parse(line), Ok(SlashCommand::AllowUnencrypted { name, is_allowed }));
        }
        assert!(parse("/allow").is_err());
        assert_eq!(
            parse("/mute Ada Lovelace"),
            Ok(SlashCommand::Mute(Some("Ada Lovelace".into())))
        );
        assert_eq!(
            parse("/msg Ada Lovelace hi"),
            Ok(SlashCommand::Message { name_and_text: "Ada Lovelace hi".into() })
        );
        assert_eq!(parse("/join Red Team"), Ok(SlashCommand::JoinGroup("Red Team".into())));
        assert_eq!(parse("/leave everyone"), Ok(SlashCommand::LeaveGroup("Global".into())));
        assert!(parse("/join \u{200b}").is_err_and(|why| why.contains("needs a name")));
    }

    #[test]
    fn decisions_name_a_member_and_what_else_they_need() {
        let decided = |decision| Ok(SlashCommand::Moderate(decision));
        assert_eq!(
            parse("/mute-all Ada Lovelace"),
            decided(Decision::MuteForAll("Ada Lovelace".into(), true))
        );
        assert_eq!(parse("/ban Ada Lovelace 5"), decided(Decision::Ban("Ada Lovelace 5".into())));
        assert_eq!(parse("/unban"), decided(Decision::Unban(None)));
        assert_eq!(parse("/unban Ada L"), decided(Decision::Unban(Some("Ada L".into()))));
        assert_eq!(parse("/set-password"), decided(Decision::SetPassword(String::new())));
        assert_eq!(
            [parse("/lock"), parse("/unlock")],
            [true, false].map(|lock| decided(Decision::Lock(lock)))
        );
        assert!(parse("/kick").is_err() && parse("/lock now").is_err());
    }

    #[test]
    fn a_ban_lasts_as_many_minutes_as_are_written_behind_the_name() {
        fn parted(typed: &str) -> Result<(&str, u32), String> {
            ban(typed, |name| name == "Agent 47")
        }
        assert_eq!(parted("Ada Lovelace"), Ok(("Ada Lovelace", BAN_MINUTES)));
        assert_eq!(parted("Ada Lovelace  5"), Ok(("Ada Lovelace", 5)));
        assert_eq!(parted("Agent 47"), Ok(("Agent 47", BAN_MINUTES)), "that is a person");
        assert_eq!(parted("Agent 47 3"), Ok(("Agent 47", 3)));
        for wrong in ["0", "-5", "1441", "999999999999", "1.5", "5m", "+-2"] {
            let typed = format!("Mia {wrong}");
            let why = parted(&typed).expect_err(wrong);
            assert!(
                why.contains(&format!("“{wrong}” is no time for a ban"))
                    && why.contains("1 to 1440"),
                "{why}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        for line in
            ["/gain", "/gain Ada", "/gain Ada loud", "/gain Ada -1", "/gain Ada 5", "/gain Ada NaN"]
        {
            assert!(parse(line).is_err_and(|why| why.contains("/gain Ada 0.5")), "{line}");
        }
        for line in ["/msg", "/join", "/leave"] {
            assert!(parse(line).is_err_and(|why| why.contains("needs")), "{line}");
        }
        assert!(parse("/dance").is_err_and(|why| why.contains("/dance") && why.contains("/help")));
    }

    #[test]
    fn devices_and_their_processing_are_changed_by_words() {
        assert_eq!(parse("/noise Low"), Ok(SlashCommand::Change(Change::Noise(NoiseChoice::Low))));
        assert_eq!(
            parse("/activation push-to-talk"),
            Ok(SlashCommand::Change(Change::Activation(ActivationChoice::PushToTalk)))
        );
        assert_eq!(
            [parse("/talk on"), parse("/talk off")],
            [true, false].map(|held| Ok(SlashCommand::Change(Change::Talk(held))))
        );
        assert_eq!(
            parse("/input default"),
            Ok(SlashCommand::Change(Change::Input(InputSpec::Device(None))))
        );
        assert_eq!(
            parse("/output USB Headset"),
            Ok(SlashCommand::Change(Change::Output(OutputSpec::Device(Some(
                "USB Headset".into()
            )))))
        );
        assert_eq!(parse("/record my calls"), Ok(SlashCommand::Record(Some("my calls".into()))));
        assert_eq!(parse("/record stop"), Ok(SlashCommand::Record(None)));
        assert!(parse("/record").is_err_and(|why| why.contains("a folder, or stop")));
        assert!(parse("/noise").is_err_and(|why| why.contains("off, low, moderate or high")));
        assert!(parse("/activation never").is_err_and(|why| why.contains("push-to-talk")));
        assert!(
            parse("/input").is_err_and(|why| why.contains("microphone"))
                && parse("/input tone:x").is_err()
        );
    }

    #[test]
    fn help_and_completion_know_every_command() {
        let help = HELP.join("\n");
        for (command, takes) in COMMANDS {
            assert!(help.contains(&format!("/{command}")), "{command}");
            let unknown =
                parse(&format!("/{command} x")).is_err_and(|why| why.contains("no command"));
            assert!(!unknown, "{command}");
            let argument = match takes {
                Takes::Nothing => "",
                Takes::OneOf(words) => words[0],
                Takes::Text => "x",
                Takes::Name if command == "gain" => "Ada 1",
                Takes::Name => "Ada x",
            };
            assert!(parse(&format!("/{command} {argument}")).is_ok(), "{command}");
        }
        assert!(HELP.iter().all(|line| crate::live::cells::width(line) <= 78));
    }
}
