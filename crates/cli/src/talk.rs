//! `voicemesh join`, `host` and `echo`: one stay in a room, or in a call over a host, from joining to
//! the summary.

mod away;
mod commands;
mod new_link;
mod pending;
mod written;

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use voicemesh::{
    ConnectFailure, DeviceEvent, DisplayName, Event, InputSpec, JoinError, JoinOptions, OutputSpec,
    PeerId, PeerLeftReason, Processing, RoomEvent, RoomName, SpeechConfig, TimedEvent, VoiceEvent,
    over,
};
use voicemesh_device::{refuse_same_file, unused_wav};
use voicemesh_renet::HostLink;

use crate::arguments::{
    EchoArguments, HostArguments, JoinArguments, StayArguments, VoiceArguments, login_name,
};
use crate::call::{Call, NO_RECORDING};
use crate::command_arguments::absolute;
use crate::decisions::Decisions;
use crate::encryption::EndToEnd;
use crate::end::End;
use crate::exit::{Exit, Failure};
use crate::format::{EVERYONE, short};
use crate::hosted::{Ended, HostedCall, Plan};
use crate::human::{
    Line, Part, SessionInfo, TextOutput, plain, recording_into, refusal, refusal_step, replaced,
    trouble,
};
use crate::input::{self, Input};
use crate::logs;
use crate::microphone::ActivationChoice;
use crate::output::{Output, can_be_live};
use crate::people::People;
use crate::reach::next_step;
use crate::served_by::ServedBy;
use crate::signals::Stop;
use crate::summary::Summary;
use crate::text::{address, harmless};
use away::{AwayTime, time_of_day};
use new_link::Invitations;
use pending::{PendingCommands, Request};
use written::LastWritten;

/// Events are awaited at most this long, before typed lines, signals and the clock get their turn.
const TURN: Duration = Duration::from_millis(20);
/// The situation is looked at this often, so that the summary knows those who have left.
const OBSERVE_EVERY: Duration = Duration::from_millis(60);

/// How long leaving waits for the others to know.
const LEAVE_WITHIN: Duration = Duration::from_millis(1500);
/// A recording that has not begun by then is said to be waiting.
const RECORDS_WITHIN: Duration = Duration::from_secs(1);
/// A snapshot is a little old: after this one surely holds all that was told and asked for before.
const SNAPSHOT_AGE: Duration = Duration::from_millis(50);
/// The situation is looked at this often in any case.
const LONGEST_UNOBSERVED: Duration = Duration::from_millis(250);

/// Options with an [`OwnVoice`] in them. `JoinOptions` and `over::Options` take it alike, but have no
/// trait in common.
macro_rules! with_voice {
    ($options:expr, $voice:ident) => {{
        let mut options = $options
            .input($voice.input)
            .output($voice.output)
            .speech($voice.speech)
            .processing($voice.settings.processing)
            .activation($voice.settings.activation.setting())
            .muted($voice.muted);
        if let Some(channel) = $voice.channel {
            options = options.input_channel(channel);
        }
        if let Some(uplink_bps) = $voice.uplink_bps {
            options = options.uplink_bps(uplink_bps);
        }
        options
    }};
}

/// Joins as a person.
pub(crate) fn join(arguments: JoinArguments) -> Result<Exit, Failure> {
    let for_programs = arguments.stay.json;
    if HostLink::is_meant(&arguments.room) {
        return join_host(arguments);
    }
    let arguments = checked(arguments).map_err(|failure| told(for_programs, failure))?;
    let presence = arguments.presence();
    let voice = OwnVoice::of(arguments.voice);
    let options = options(&arguments.stay, &arguments.room, &voice.name).presence(presence);
    let mut options = with_voice!(options, voice);
    if let Some(folder) = &arguments.record {
        options = options.record(folder);
    }
    let stay = described(&arguments.stay, arguments.room, voice.name, Part::Talk);
    let stay =
        SessionInfo { record: arguments.record, written_beside: voice.written_beside, ..stay };
    begin(options, arguments.stay, voice.settings, stay)
}

/// What was asked for, with the link followed, and before the output becomes another file.
fn checked(arguments: JoinArguments) -> Result<JoinArguments, Failure> {
    let arguments = arguments.follow_link()?;
    can_be_heard(&arguments.voice)?;
    Ok(arguments)
}

fn can_be_heard(voice: &VoiceArguments) -> Result<(), Failure> {
    voice.microphone.must_fit(&voice.input)?;
    refuse_same_file(&voice.input, &voice.output).map_err(JoinError::Output)?;
    Ok(())
}

/// Joins a call over a host as a person.
fn join_host(arguments: JoinArguments) -> Result<Exit, Failure> {
    let plan = guest_plan(&arguments).map_err(|failure| told(arguments.stay.json, failure))?;
    over_host(plan, arguments.stay, arguments.voice, ServedBy::Host)
}

fn guest_plan(arguments: &JoinArguments) -> Result<Plan, Failure> {
    let JoinArguments { room, stay, must_exist, must_not_exist, record, .. } = arguments;
    let refused = [
        (record.is_some(), NO_RECORDING),
        (
            stay.relay_only,
            "--relay-only needs a room of a server. Over a host there are no direct links, but members in one network tell each other their addresses.",
        ),
        (
            stay.proxy.is_some(),
            "--proxy needs a room of a server: a host is reached by UDP, which does not go through it.",
        ),
        (
            *must_exist || *must_not_exist,
            "--must-exist and --must-not-exist need a room of a server.",
        ),
    ];
    if let Some((_, why)) = refused.iter().find(|(is_asked, _)| *is_asked) {
        return Err(Failure::new(Exit::Usage, *why));
    }
    if let Some(option) = stay.named.first() {
        let why =
            format!("{option} needs a room of a server: a host's link has all that it takes.");
        return Err(Failure::new(Exit::Usage, why));
    }
    Plan::guest(room)
}

/// Hosts a call as a person.
pub(crate) fn host(arguments: HostArguments) -> Result<Exit, Failure> {
    let for_programs = arguments.json;
    let plan = Plan::host(&arguments).map_err(|failure| told(for_programs, failure))?;
    let HostArguments { voice, duration, json, plain, status_interval, .. } = arguments;
    let stay = StayArguments { duration, json, plain, status_interval, ..StayArguments::default() };
    over_host(plan, stay, voice, ServedBy::ThisProgram)
}

fn over_host(
    plan: Plan,
    arguments: StayArguments,
    voice: VoiceArguments,
    served_by: ServedBy,
) -> Result<Exit, Failure> {
    logs::init("warn");
    can_be_heard(&voice).map_err(|failure| told(arguments.json, failure))?;
    let voice = OwnVoice::of(voice);
    let options = with_voice!(over::Options::new(&voice.name), voice);
    let place = plan.title();
    // The server of the environment is for rooms.
    let arguments = StayArguments { server: Some(place.clone()), ..arguments };
    let stay = described(&arguments, place, voice.name, Part::Talk);
    let stay = SessionInfo {
        served_by,
        written_beside: voice.written_beside,
        end_to_end: EndToEnd::WithKey,
        ..stay
    };
    let call = || Ok(Call::Hosted(Box::new(HostedCall::begin(plan, options)?)));
    stay_in(call, arguments, voice.settings, stay)
}

/// Who speaks, and with what: what a room and a call over a host take alike.
struct OwnVoice {
    name: String,
    input: InputSpec,
    channel: Option<u16>,
    output: OutputSpec,
    written_beside: Option<String>,
    speech: SpeechConfig,
    muted: bool,
    uplink_bps: Option<u32>,
    settings: VoiceSettings,
}

/// What commands change of the own voice, and must know.
#[derive(Clone, Copy, Debug)]
struct VoiceSettings {
    processing: Processing,
    activation: ActivationChoice,
}

impl OwnVoice {
    fn of(arguments: VoiceArguments) -> Self {
        let (output, written_beside) = beside_earlier(arguments.output);
        Self {
            name: arguments.name.unwrap_or_else(login_name),
            channel: arguments.microphone.channel,
            output,
            written_beside,
            speech: SpeechConfig {
                frame: arguments.frame_ms,
                bitrate_bps: arguments.bitrate,
                ..SpeechConfig::default()
            },
            muted: arguments.muted,
            uplink_bps: arguments.uplink,
            settings: VoiceSettings {
                processing: arguments.microphone.processing(&arguments.input),
                activation: arguments.microphone.activation(&arguments.input),
            },
            input: arguments.input,
        }
    }
}

/// A failure before anything has begun, of which programs read as of any other.
fn told(for_programs: bool, failure: Failure) -> Failure {
    if for_programs {
        Output::for_programs().failure(Duration::ZERO, &failure);
    }
    failure
}

/// The file to write in place of one that is there already, and a sentence about that.
pub(crate) fn beside_earlier(output: OutputSpec) -> (OutputSpec, Option<String>) {
    let OutputSpec::Wav(path) = output else { return (output, None) };
    let unused = unused_wav(&path);
    let sentence = (unused != path).then(|| {
        // What an earlier run has left that did not end by itself.
        let path = if path.exists() { path } else { voicemesh_device::unfinished(&path) };
        let (path, unused) = (path.display().to_string(), unused.display().to_string());
        format!(
            "{} is there already; what is heard goes to {}.",
            harmless(&path),
            harmless(&unused)
        )
    });
    (OutputSpec::Wav(unused), sentence)
}

/// Joins as an echo.
pub(crate) fn echo(arguments: EchoArguments) -> Result<Exit, Failure> {
    let for_programs = arguments.stay.json;
    if HostLink::is_meant(&arguments.room) {
        let why = "An echo needs a room of a server, and no call over a host.";
        return Err(told(for_programs, Failure::new(Exit::Usage, why)));
    }
    let arguments = arguments.follow_link().map_err(|error| told(for_programs, error.into()))?;
    let options = options(&arguments.stay, &arguments.room, &arguments.name)
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .echo(true);
    let stay = described(&arguments.stay, arguments.room, arguments.name, Part::Echo);
    let settings =
        VoiceSettings { processing: Processing::OFF, activation: ActivationChoice::Always };
    begin(options, arguments.stay, settings, stay)
}

fn options(stay: &StayArguments, room: &str, name: &str) -> JoinOptions {
    let mut options = JoinOptions::new(stay.server(), room)
        .name(name)
        .relay_only(stay.relay_only)
        .encrypted(!stay.unencrypted);
    if let Some(key) = &stay.room_key {
        options = options.room_key(key.clone());
    }
    if let Some(dir) = &stay.state_dir {
        options = options.state_dir(dir);
    }
    if let Some(password) = &stay.password {
        options = options.password(password.clone());
    }
    if let Some(token) = &stay.token {
        options = options.token(token.clone());
    }
    if let Some(file) = &stay.ca {
        options = options.extra_root_pem(file);
    }
    if let Some(proxy) = &stay.proxy {
        options = options.proxy(proxy);
    }
    options
}

fn described(arguments: &StayArguments, room: String, name: String, part: Part) -> SessionInfo {
    // In the form in which everyone reads them; what is no name is refused with what was typed.
    let room = RoomName::parse(&room).map_or(room, |name| name.as_str().to_owned());
    let name = DisplayName::parse(&name).map_or(name, |name| name.as_str().to_owned());
    SessionInfo {
        server: arguments.server().to_owned(),
        served_by: ServedBy::Server,
        server_by_default: arguments.server.is_none(),
        unused_server: arguments.unused_server.clone(),
        room,
        name,
        has_token: arguments.token.is_some(),
        relay_only: arguments.relay_only,
        end_to_end: arguments.end_to_end(),
        record: None,
        written_beside: None,
        part,
    }
}

fn begin(
    options: JoinOptions,
    arguments: StayArguments,
    settings: VoiceSettings,
    stay: SessionInfo,
) -> Result<Exit, Failure> {
    logs::init("warn");
    // What cannot be is said first, and alone.
    let prepared = options.prepare().map_err(|error| told(arguments.json, error.into()))?;
    stay_in(|| Ok(prepared.join()?.into()), arguments, settings, stay)
}

/// One stay, which `call` begins.
fn stay_in(
    call: impl FnOnce() -> Result<Call, Failure>,
    arguments: StayArguments,
    settings: VoiceSettings,
    stay: SessionInfo,
) -> Result<Exit, Failure> {
    let stop = Stop::listen();
    let SessionInfo { room, name, part, written_beside, record, served_by, .. } = stay.clone();
    let unused_server = TextOutput::new(stay.clone()).unused_server().filter(|_| arguments.json);
    let mut output = if arguments.json {
        Output::for_programs()
    } else {
        Output::for_people(TextOutput::new(stay.clone()))
    };
    output.opening(&stay);
    if let Some(line) = unused_server {
        output.notice(Duration::ZERO, &line);
    }
    let started = Instant::now();
    let voice = call().inspect_err(|failure| output.failure(started.elapsed(), failure))?;
    output.invitation();
    if part == Part::Talk && !arguments.plain && can_be_live() {
        output.go_live(header_server(served_by, &stay.server), &room, &name, served_by);
        output.set_push_to_talk(settings.activation == ActivationChoice::PushToTalk);
    }
    if let Some(sentence) = written_beside {
        output.notice(started.elapsed(), &plain(sentence));
    }
    let typed = (part == Part::Talk && output.live().is_none()).then(input::read);
    let kept = record.map_or(Kept::Nothing, |folder| Kept::Soon {
        folder: absolute(&folder),
        since: Duration::ZERO,
        // That the room is not joined yet is said by itself.
        is_late: true,
    });
    let talk = Talk::new(voice, output, stop, arguments, (room, name), started);
    let VoiceSettings { processing, activation } = settings;
    Talk { typed, processing, activation, kept, served_by, ..talk }.run()
}

/// What the header of the live view says beside the room.
fn header_server(served_by: ServedBy, server: &str) -> &str {
    match served_by {
        ServedBy::Server => server,
        ServedBy::Host => "over a host",
        ServedBy::ThisProgram => "you are the host; /host shows the links",
    }
}

const PATIENCE: &str = "Leave out --give-up-after to wait for it.";

/// What was the matter with the server, why, and what the person can do.
type Trouble = (&'static str, String, Option<String>);

fn gave_up(
    (word, server): (&str, &str),
    limit: &str,
    why: Option<(&str, &str)>,
    step: &str,
) -> String {
    let server = address(server);
    match why {
        Some((what, why)) => {
            format!("The {word} at {server} {what} for {limit}: {} {step}", harmless(why))
        }
        None => format!("The {word} at {server} has not answered for {limit}. {step}"),
    }
}

/// What is kept of the room.
#[derive(Debug)]
enum Kept {
    Nothing,
    /// A recording that begins once everyone can see it.
    Soon {
        folder: PathBuf,
        since: Duration,
        /// Whether enough has been said of what it waits for.
        is_late: bool,
    },
    Recording,
}

/// One stay.
struct Talk {
    voice: Call,
    /// Who passes on what is said.
    served_by: ServedBy,
    output: Output,
    typed: Option<Receiver<Input>>,
    types_at_terminal: bool,
    /// What came last from the input. The lines of a pipe wait for the room behind their first.
    early: Option<Input>,
    stop: Stop,
    arguments: StayArguments,
    room: String,
    name: String,
    /// Moments count from here, as those of the events do.
    started: Instant,
    /// What is done to the microphone's sound now.
    processing: Processing,
    /// When it is sent now.
    activation: ActivationChoice,
    /// The talk groups in which the user listens and speaks.
    groups: Vec<String>,
    /// Where a moderator holds the user, if one does.
    held_in: Vec<String>,
    kept: Kept,
    /// The line that was typed last.
    line: String,
    written: LastWritten,
    pending: PendingCommands,
    /// Whom `/new-link` would invite, as the user was asked last.
    asked_new_link: Option<BTreeSet<PeerId>>,
    invitations: Invitations,
    decisions: Decisions,
    people: People,
    summary: Summary,
    observe_at: Duration,
    observed_at: Duration,
    status_at: Duration,
    /// When the last `/who` is to be answered.
    who_at: Option<Duration>,
    away_time: AwayTime,
    /// Why the server was out of reach the last time, and what would help.
    trouble: Option<Trouble>,
    /// The sentence that goes with the end, if it is not what was wanted.
    failure: Option<(String, Option<String>)>,
}

impl Talk {
    /// One who begins in the group of everyone, and types nothing. `started`: when it joined.
    fn new(
        voice: Call,
        output: Output,
        stop: Stop,
        arguments: StayArguments,
        (room, name): (String, String),
        started: Instant,
    ) -> Self {
        Self {
            voice,
            served_by: ServedBy::Server,
            output,
            typed: None,
            types_at_terminal: std::io::stdin().is_terminal(),
            early: None,
            stop,
            arguments,
            people: People::beside(&name),
            room,
            name,
            started,
            processing: Processing::OFF,
            activation: ActivationChoice::Always,
            groups: vec![EVERYONE.to_owned()],
            held_in: Vec::new(),
            kept: Kept::Nothing,
            line: String::new(),
            written: LastWritten::default(),
            pending: PendingCommands::default(),
            asked_new_link: None,
            invitations: Invitations::default(),
            decisions: Decisions::default(),
            summary: Summary::new(),
            observe_at: Duration::ZERO,
            observed_at: Duration::ZERO,
            status_at: Duration::ZERO,
            who_at: None,
            away_time: AwayTime::default(),
            trouble: None,
            failure: None,
        }
    }

    fn run(mut self) -> Result<Exit, Failure> {
        let end = self.until_the_end();
        self.summary.observe(self.voice.snapshot());
        self.output.leaving();
        self.output.end_live();
        self.voice.leave_and_wait(LEAVE_WITHIN);
        while let Some(stamped) = self.voice.poll_timed() {
            self.tell(&stamped);
        }
        let failure = self.failure.take();
        let failure =
            failure.map(|(message, next_step)| Failure { exit: end.exit(), message, next_step });
        let now = self.started.elapsed();
        if let Some(failure) = &failure {
            self.output.failure(now, failure);
        }
        self.output.summary(now, &self.summary, end);
        failure.map_or(Ok(end.exit()), Err)
    }

    fn until_the_end(&mut self) -> End {
        loop {
            self.voice.wait(TURN);
            while let Some(stamped) = self.voice.poll_timed() {
                self.tell(&stamped);
                if let Some(end) = self.end_by(&stamped.event) {
                    return end;
                }
            }
            if let Some(Ended { end, message, next_step }) = self.voice.take_end() {
                self.failure = Some((message, next_step));
                return end;
            }
            if let Some(advice) = self.voice.hosted_mut().and_then(HostedCall::take_advice) {
                self.output.notice(self.started.elapsed(), &plain(advice));
            }
            if let Some(links) = self.voice.hosted_mut().and_then(HostedCall::take_new_links) {
                self.output.links(self.started.elapsed(), links);
            }
            if self.voice.hosted_mut().is_some_and(HostedCall::take_role) {
                self.has_taken_over();
            }
            if let Some(end) = self.take_typed() {
                return end;
            }
            let now = self.started.elapsed();
            self.look(now);
            self.output.tick(now, &self.people);
            if let Some(fault) = self.output.fault() {
                let step = "Free some room, or print elsewhere.";
                self.failure = Some((
                    format!("Nothing more can be printed: {fault}. {step}"),
                    Some(step.to_owned()),
                ));
                return End::Failed;
            }
            if self.stop.is_asked() || self.output.is_closed() {
                return End::Interrupted;
            }
            if let Some(end) = self.end_by_clock(now) {
                return end;
            }
        }
    }

    fn tell(&mut self, stamped: &TimedEvent) {
        let seen = self.done_without_answer(stamped);
        let stamped = seen.as_ref().unwrap_or(stamped);
        self.summary.event(stamped);
        if let Event::Room(RoomEvent::ServerAway { why, failure, .. }) = &stamped.event {
            let step = failure.as_ref().and_then(next_step);
            // A server that says why it lets no one in was reached.
            let what = if matches!(failure, Some(ConnectFailure::Refused { .. })) {
                "did not let you in"
            } else {
                "was out of reach"
            };
            self.trouble = Some((what, format!("{}.", why.trim_end_matches('.')), step));
        }
        match &stamped.event {
            Event::Room(RoomEvent::Moved { groups }) => self.set_groups(groups.clone()),
            Event::Room(RoomEvent::Held { peer, groups }) if self.people.is_own(*peer) => {
                self.held_in.clone_from(groups);
                self.output.set_held_in(groups);
                if !groups.is_empty() {
                    self.set_groups(groups.clone());
                }
            }
            Event::Room(RoomEvent::Joined { name, .. }) => self.name.clone_from(name),
            Event::Voice(VoiceEvent::RecordingFailed { .. }) => self.kept = Kept::Nothing,
            Event::Voice(VoiceEvent::Recording { recording: true }) => {
                self.recording_begins(stamped.at);
            }
            Event::Room(RoomEvent::Warned { code, text, .. }) => {
                if let Some(line) = self.written.refused(stamped.at, code, text.as_deref()) {
                    self.output.put_back(&line);
                }
            }
            Event::Device(DeviceEvent::Changed { which }) => {
                self.pending.done(&Request::Device(*which));
            }
            Event::Voice(VoiceEvent::GroupRefused { group }) => {
                let groups = self.groups.iter().filter(|one| *one != group).cloned().collect();
                self.set_groups(groups);
            }
            _ => {}
        }
        if let Some(request) = refused_by(&stamped.event)
            && let Some(line) = self.pending.refused(stamped.at, &request)
        {
            self.output.put_back(&line);
        }
        if is_about_one_who_left(&stamped.event, &self.people) {
            return;
        }
        let leaves = matches!(stamped.event, Event::Room(RoomEvent::PeerLeft { .. }));
        if !leaves {
            self.people.see(&stamped.event);
        }
        // What the server answers to this decision says more.
        let is_said = match &stamped.event {
            Event::Room(RoomEvent::PeerLeft { peer, reason: PeerLeftReason::Kicked, .. }) => {
                self.decisions.puts_out(*peer)
            }
            Event::Room(event) => self.decisions.answers_for(event),
            _ => false,
        };
        if let Event::Room(RoomEvent::PeerLeft { peer, name, .. }) = &stamped.event {
            self.decisions.left(stamped.at, *peer, self.people.label_as(*peer, name));
        }
        self.output.event(stamped, &self.people, is_said);
        if let Event::Room(RoomEvent::Warned { text: Some(text), .. }) = &stamped.event
            && let Some(refused) = self.invitations.refused(text)
        {
            self.output.notice(stamped.at, &plain(refused));
        }
        if let Event::Room(RoomEvent::TransactionDone { transaction, result }) = &stamped.event
            && let Some(done) = self.decisions.decided(*transaction, result.is_ok())
        {
            self.output.notice(stamped.at, &plain(done));
        }
        if let Event::Room(RoomEvent::Joined { .. }) = &stamped.event
            && let Some(links) = self.voice.hosted().and_then(HostedCall::links)
        {
            self.output.links(stamped.at, links);
        }
        if let Event::Room(RoomEvent::Joined { session, .. }) = &stamped.event
            && let Some(ended) = self.decisions.joined(stamped.at, *session)
        {
            self.output.notice(stamped.at, &plain(ended));
        }
        if leaves {
            self.people.see(&stamped.event);
        }
    }

    /// The answer to a decision was lost, and the room has become what was decided: it counts as
    /// done.
    fn done_without_answer(&self, stamped: &TimedEvent) -> Option<TimedEvent> {
        let Event::Room(RoomEvent::TransactionDone { transaction, result: Err(error) }) =
            &stamped.event
        else {
            return None;
        };
        let is_unanswered = error.code.as_str() == "no-answer";
        (is_unanswered && self.decisions.is_seen(*transaction)).then(|| {
            let done = RoomEvent::TransactionDone { transaction: *transaction, result: Ok(()) };
            TimedEvent { event: Event::Room(done), ..stamped.clone() }
        })
    }

    /// Whether nothing can follow, and the sentence about it.
    fn end_by(&mut self, event: &Event) -> Option<End> {
        let (end, failure) = match event {
            Event::Room(RoomEvent::Refused { code, message, retry_after }) => (
                End::Refused,
                (
                    refusal(code, message, &self.room, *retry_after),
                    refusal_step(code).map(str::to_owned),
                ),
            ),
            Event::Room(RoomEvent::Replaced) => (
                End::Replaced,
                (replaced(&self.room), Some("Join again to come back here.".to_owned())),
            ),
            Event::Room(RoomEvent::Left) => {
                let step = "VOICEMESH_LOG=debug says more.";
                (End::Failed, (format!("The peer ended by itself. {step}"), Some(step.to_owned())))
            }
            _ => return None,
        };
        self.failure = Some(failure);
        Some(end)
    }

    fn end_by_clock(&mut self, now: Duration) -> Option<End> {
        let is_over = |lasts: Option<Duration>, limit: Option<Duration>| {
            lasts.zip(limit).is_some_and(|(lasts, limit)| lasts >= limit)
        };
        let stayed = self.summary.joined_at.map(|since| now.saturating_sub(since));
        if is_over(stayed, self.arguments.duration) {
            return Some(End::Duration);
        }
        let away = self.away_time.so_far(now, time_of_day(), self.summary.away_since);
        if is_over(away, self.arguments.give_up_after) {
            let limit = short(self.arguments.give_up_after.unwrap_or_default());
            let trouble = self.trouble.take();
            let why = trouble.as_ref().map(|(what, why, _)| (*what, why.as_str()));
            let step = trouble
                .as_ref()
                .and_then(|(.., step)| step.clone())
                .unwrap_or_else(|| PATIENCE.to_owned());
            let (word, server) = (self.served_by.word(), self.arguments.server());
            self.failure = Some((gave_up((word, server), &limit, why, &step), Some(step)));
            return Some(End::GaveUp);
        }
        None
    }

    fn look(&mut self, now: Duration) {
        if now >= self.observe_at {
            (self.observe_at, self.observed_at) = (now + OBSERVE_EVERY, now);
            let was_too_slow = self.summary.snapshot.sending.upload_too_slow;
            self.summary.observe(self.voice.snapshot());
            let is_too_slow = self.summary.snapshot.sending.upload_too_slow;
            if is_too_slow != was_too_slow {
                self.output.notice(now, &upload(is_too_slow));
            }
            self.output.observe(&self.summary.snapshot, &self.people);
            self.look_at_recording(now);
        }
        if self.who_at.is_some_and(|due| now >= due) {
            self.who_at = None;
            self.show_who();
        }
        if let Some(every) = self.arguments.status_interval
            && now >= self.status_at
        {
            self.status_at = now + every;
            self.summary.observe(self.voice.snapshot());
            self.output.status(now, &self.summary);
        }
    }
}

impl Talk {
    /// Everyone in the room can see it, and what is said from here on is in it.
    fn recording_begins(&mut self, at: Duration) {
        let Kept::Soon { folder, .. } = &self.kept else { return };
        self.output.notice(at, &plain(recording_into(folder)));
        self.pending.done(&Request::Recording);
        self.kept = Kept::Recording;
    }

    /// That a recording waits is said once.
    fn look_at_recording(&mut self, now: Duration) {
        let Kept::Soon { since, is_late, .. } = &mut self.kept else { return };
        if !*is_late && now >= *since + RECORDS_WITHIN {
            *is_late = true;
            self.output.notice(now, &plain("The recording begins when everyone can see it …"));
        }
    }
}

/// What a typed command asked for that is refused hereby.
fn refused_by(event: &Event) -> Option<Request> {
    match event {
        Event::Room(RoomEvent::TransactionDone { transaction, result: Err(_) }) => {
            Some(Request::Decision(*transaction))
        }
        Event::Device(DeviceEvent::Refused { which, .. }) => Some(Request::Device(*which)),
        Event::Voice(VoiceEvent::GroupRefused { group }) => Some(Request::Group(group.clone())),
        Event::Voice(VoiceEvent::RecordingFailed { .. }) => Some(Request::Recording),
        _ => None,
    }
}

/// What the engine says last of a peer may come after the news that it has left.
fn is_about_one_who_left(event: &Event, people: &People) -> bool {
    match event {
        Event::Voice(VoiceEvent::Speaking { peer, .. })
        | Event::Room(RoomEvent::RouteChanged { peer, .. })
        | Event::Voice(VoiceEvent::FirstHeard { peer }) => !people.knows(*peer),
        _ => false,
    }
}

/// What is said when the uplink is found to be too slow for speech, or to have become fast enough.
fn upload(is_too_slow: bool) -> Line {
    if is_too_slow {
        trouble(
            "Your upload is too slow: others hear you with gaps. Something else on this network may be using it up.",
        )
    } else {
        plain("Your upload is fast enough again.")
    }
}

#[cfg(test)]
mod tests;
