//! `voicemesh join` and `voicemesh echo`: one stay in a room, from joining to the summary.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use voicemesh::{Event, InputSpec, JoinOptions, OutputSpec, Peer, SpeechConfig, Stamped};

use crate::arguments::{EchoArguments, JoinArguments, StayArguments, login_name};
use crate::exit::{Exit, Failure};
use crate::human::{Human, Part, Stay, plain, refusal, replaced, short, trouble};
use crate::input::{self, Input};
use crate::logs;
use crate::output::Output;
use crate::people::People;
use crate::signals::Stop;
use crate::slash::{HELP, Typed, parse};
use crate::tally::Tally;
use crate::who;

/// Events are awaited at most this long, before typed lines, signals and the clock get their turn.
const TURN: Duration = Duration::from_millis(20);
/// A snapshot is a little old: `/who` is answered when it surely holds all that was told and asked for before.
const SNAPSHOT_AGE: Duration = Duration::from_millis(50);
/// The situation is looked at this often, so that the summary knows those who have left.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// Why a stay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `/quit`.
    Quit,
    /// A signal, or nobody reads the output any more.
    Interrupted,
    /// `--duration` is over.
    Duration,
    /// Ctrl-D.
    InputEnded,
    /// The server does not let this peer in.
    Refused,
    /// The same identity joined from somewhere else.
    Replaced,
    /// The server was out of reach for `--give-up-after`.
    GaveUp,
    /// The peer ended by itself, which it should not.
    Failed,
}

impl End {
    /// As the summary says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Interrupted => "interrupted",
            Self::Duration => "duration",
            Self::InputEnded => "input-ended",
            Self::Refused => "refused",
            Self::Replaced => "replaced",
            Self::GaveUp => "gave-up",
            Self::Failed => "failed",
        }
    }

    /// As the exit code says it.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Quit | Self::Interrupted | Self::Duration | Self::InputEnded => Exit::Done,
            Self::Refused => Exit::Refused,
            Self::Replaced => Exit::Replaced,
            Self::GaveUp => Exit::Unreachable,
            Self::Failed => Exit::Other,
        }
    }
}

/// Joins as a person.
pub(crate) fn join(arguments: JoinArguments) -> Result<Exit, Failure> {
    let name = arguments.name.clone().unwrap_or_else(login_name);
    let speech = SpeechConfig { frame: arguments.frame_ms, bitrate_bps: arguments.bitrate, ..SpeechConfig::default() };
    let presence = arguments.presence();
    let options = options(&arguments.stay, &arguments.room, &name)
        .input(arguments.input)
        .output(arguments.output)
        .speech(speech)
        .presence(presence)
        .muted(arguments.muted);
    stay(options, arguments.stay, arguments.room, name, Part::Talk)
}

/// Joins as an echo.
pub(crate) fn echo(arguments: EchoArguments) -> Result<Exit, Failure> {
    let options = options(&arguments.stay, &arguments.room, &arguments.name)
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .echo(true);
    stay(options, arguments.stay, arguments.room, arguments.name, Part::Echo)
}

fn options(stay: &StayArguments, room: &str, name: &str) -> JoinOptions {
    let mut options = JoinOptions::new(stay.server(), room).name(name).relay_only(stay.relay_only);
    if let Some(dir) = &stay.state_dir {
        options = options.state_dir(dir);
    }
    if let Some(file) = &stay.ca {
        options = options.extra_root_pem(file);
    }
    options
}

fn stay(
    options: JoinOptions,
    arguments: StayArguments,
    room: String,
    name: String,
    part: Part,
) -> Result<Exit, Failure> {
    logs::init("warn");
    let stop = Stop::listen();
    let server = arguments.server().to_owned();
    let stay = Stay {
        server: server.clone(),
        server_by_default: arguments.server.is_none(),
        room: room.clone(),
        name: name.clone(),
        relay_only: arguments.relay_only,
        part,
    };
    let mut output = if arguments.json { Output::for_programs() } else { Output::for_people(Human::new(stay)) };
    output.opening(&server, &room, &name, arguments.relay_only);
    let started = Instant::now();
    let peer = Peer::join(options).map_err(|error| {
        let failure = Failure::from(error);
        output.failure(started.elapsed(), &failure);
        failure
    })?;
    output.invitation(started.elapsed());
    let typed = (part == Part::Talk).then(input::read);
    let talk = Talk {
        peer,
        output,
        typed,
        stop,
        arguments,
        room,
        name,
        started,
        people: People::default(),
        tally: Tally::new(),
        observe_at: Duration::ZERO,
        status_at: Duration::ZERO,
        who_at: None,
        failure: None,
    };
    talk.run()
}

/// One stay.
struct Talk {
    peer: Peer,
    output: Output,
    typed: Option<Receiver<Input>>,
    stop: Stop,
    arguments: StayArguments,
    room: String,
    name: String,
    /// Moments count from here, as those of the events do.
    started: Instant,
    people: People,
    tally: Tally,
    observe_at: Duration,
    status_at: Duration,
    /// When the last `/who` is to be answered.
    who_at: Option<Duration>,
    /// The sentence that goes with the end, if it is not what was wanted.
    failure: Option<String>,
}

impl Talk {
    fn run(mut self) -> Result<Exit, Failure> {
        let end = self.until_the_end();
        self.tally.observe(self.peer.snapshot());
        self.output.leaving();
        self.peer.leave();
        while let Some(stamped) = self.peer.poll_stamped() {
            self.tell(&stamped);
        }
        let failure = self.failure.take().map(|message| Failure { exit: end.exit(), message });
        let now = self.started.elapsed();
        if let Some(failure) = &failure {
            self.output.failure(now, failure);
        }
        self.output.summary(now, &self.tally, end);
        failure.map_or(Ok(end.exit()), Err)
    }

    fn until_the_end(&mut self) -> End {
        loop {
            self.peer.wait(TURN);
            while let Some(stamped) = self.peer.poll_stamped() {
                self.tell(&stamped);
                if let Some(end) = self.end_by(&stamped.event) {
                    return end;
                }
            }
            if let Some(end) = self.take_typed() {
                return end;
            }
            let now = self.started.elapsed();
            self.look(now);
            if self.stop.is_asked() || self.output.is_closed() {
                return End::Interrupted;
            }
            if let Some(end) = self.end_by_clock(now) {
                return end;
            }
        }
    }

    fn tell(&mut self, stamped: &Stamped) {
        self.tally.event(stamped);
        let leaves = matches!(stamped.event, Event::PeerLeft { .. });
        if !leaves {
            self.people.see(&stamped.event);
        }
        self.output.event(stamped, &self.people);
        if leaves {
            self.people.see(&stamped.event);
        }
    }

    /// Whether nothing can follow, and the sentence about it.
    fn end_by(&mut self, event: &Event) -> Option<End> {
        let (end, failure) = match event {
            Event::Refused { code, message } => (End::Refused, refusal(code, message, &self.room)),
            Event::Replaced => (End::Replaced, replaced(&self.room)),
            Event::Left => (End::Failed, "The peer ended by itself. VOICEMESH_LOG=debug says more.".to_owned()),
            _ => return None,
        };
        self.failure = Some(failure);
        Some(end)
    }

    fn end_by_clock(&mut self, now: Duration) -> Option<End> {
        let is_over = |since: Option<Duration>, limit: Option<Duration>| {
            since.zip(limit).is_some_and(|(since, limit)| now.saturating_sub(since) >= limit)
        };
        if is_over(self.tally.joined_at, self.arguments.duration) {
            return Some(End::Duration);
        }
        if is_over(self.tally.away_since, self.arguments.give_up_after) {
            let limit = short(self.arguments.give_up_after.unwrap_or_default());
            self.failure = Some(format!(
                "The server at {} was out of reach for {limit}. Check its address and your network, or leave out --give-up-after to wait for it.",
                self.arguments.server()
            ));
            return Some(End::GaveUp);
        }
        None
    }

    fn look(&mut self, now: Duration) {
        if now >= self.observe_at {
            self.observe_at = now + OBSERVE_EVERY;
            self.tally.observe(self.peer.snapshot());
        }
        if self.who_at.is_some_and(|due| now >= due) {
            self.who_at = None;
            self.show_who();
        }
        if let Some(every) = self.arguments.status_interval
            && now >= self.status_at
        {
            self.status_at = now + every;
            self.tally.observe(self.peer.snapshot());
            self.output.status(now, &self.tally);
        }
    }

    fn take_typed(&mut self) -> Option<End> {
        while let Some(input) = self.typed.as_ref().and_then(|typed| typed.try_recv().ok()) {
            let end = match input {
                Input::Ended => Some(End::InputEnded),
                Input::Line(line) => match parse(&line) {
                    Ok(Typed::Quit) => Some(End::Quit),
                    Ok(typed) => {
                        if let Err(why) = self.obey(typed) {
                            self.output.notice(self.started.elapsed(), &trouble(why));
                        }
                        None
                    }
                    Err(why) => {
                        self.output.notice(self.started.elapsed(), &trouble(why));
                        None
                    }
                },
            };
            if end.is_some() {
                return end;
            }
        }
        None
    }

    fn obey(&mut self, typed: Typed) -> Result<(), String> {
        match typed {
            Typed::Nothing | Typed::Quit => {}
            Typed::Text(text) => self.send_text(&text)?,
            Typed::Message { name_and_text } => self.send_private_text(&name_and_text)?,
            Typed::Mute(None) => {
                self.peer.set_muted(true);
                self.answer("Muted: nobody hears you. /unmute speaks again.");
            }
            Typed::Unmute(None) => {
                self.peer.set_muted(false);
                self.answer("You can be heard.");
            }
            Typed::Mute(Some(name)) => self.mute_peer(&name, true)?,
            Typed::Unmute(Some(name)) => self.mute_peer(&name, false)?,
            Typed::Deafen => {
                self.peer.set_deafened(true);
                self.answer("Deafened: you hear nobody, but they hear you. /undeafen hears again.");
            }
            Typed::Undeafen => {
                self.peer.set_deafened(false);
                self.answer("You hear everybody again.");
            }
            Typed::Who => self.who_at = Some(self.started.elapsed() + SNAPSHOT_AGE),
            Typed::Gain { name, factor } => {
                let peer = self.people.find(&name)?;
                self.peer.set_gain(peer, factor);
                self.answer(format!("You hear {} at {:.0} %.", self.people.label(peer), factor * 100.0));
            }
            Typed::JoinGroup(group) => {
                self.peer.join_group(&group);
                self.answer(format!("You listen and speak to the group “{}”.", crate::text::harmless(&group)));
            }
            Typed::LeaveGroup(group) => {
                self.peer.leave_group(&group);
                self.answer(format!("You no longer listen or speak to the group “{}”.", crate::text::harmless(&group)));
            }
            Typed::Help => HELP.into_iter().for_each(|line| self.answer(line)),
        }
        Ok(())
    }

    fn send_text(&mut self, text: &str) -> Result<(), String> {
        self.must_be_in_session()?;
        self.peer.send_text(text);
        if !self.output.shows_what_is_typed() {
            self.answer(format!("You: {}", crate::text::harmless(text)));
        }
        Ok(())
    }

    fn send_private_text(&mut self, name_and_text: &str) -> Result<(), String> {
        self.must_be_in_session()?;
        let (peer, text) = self.people.addressee(name_and_text)?;
        self.peer.send_private_text(peer, text);
        self.answer(format!("To {} alone: {}", self.people.label(peer), crate::text::harmless(text)));
        Ok(())
    }

    /// Texts go through the server.
    fn must_be_in_session(&self) -> Result<(), String> {
        if self.tally.in_session {
            return Ok(());
        }
        Err("Not sent: texts go through the server, which is out of reach. Send it again when you are back.".to_owned())
    }

    fn mute_peer(&mut self, name: &str, muted: bool) -> Result<(), String> {
        let peer = self.people.find(name)?;
        self.peer.set_peer_muted(peer, muted);
        let label = self.people.label(peer);
        self.answer(if muted { format!("You hear {label} no more.") } else { format!("You hear {label} again.") });
        Ok(())
    }

    fn show_who(&mut self) {
        let snapshot = self.peer.snapshot();
        self.tally.observe(snapshot.clone());
        let (people, name, room) = (&self.people, &self.name, &self.room);
        let table = || who::lines(&snapshot, people, name, room);
        self.output.who(self.started.elapsed(), &self.tally, table);
    }

    fn answer(&mut self, text: impl Into<String>) {
        self.output.notice(self.started.elapsed(), &plain(text));
    }
}
