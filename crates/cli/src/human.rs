//! Events as lines for people.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use voicemesh::{
    ConnectFailure, DeviceEvent, DeviceRole, ErrorCode, Event, MemberEncryption, OwnerRightState,
    PeerId, PeerLeftReason, Permissions, RoomEvent, Route, ServerConnection, TimedEvent,
    VoiceEvent,
};

use crate::encryption::{self, EndToEnd};
use crate::format::{EVERYONE, in_minutes, short};
use crate::people::People;
use crate::reach::{next_step, remarks};
use crate::served_by::ServedBy;
use crate::text::{address, group_shown, groups_quoted, harmless};

mod moderation;
pub(crate) use moderation::room_changed;

/// Who speaks again after a shorter pause than this gets no new line.
const PAUSE: Duration = Duration::from_secs(3);
/// A way that ends is said if it is not back by then: it ends before a member that leaves has left.
const CUT_OFF_AFTER: Duration = Duration::from_millis(500);
/// While the server is away, tries that follow each other faster than this are not told one by one.
const QUICK_RETRY: Duration = Duration::from_secs(1);

/// The metadata by which everyone sees that a peer records, beside its status.
const RECORDING: &str = "recording";
/// What [`RoomEvent::ServerAway`] says of a server that has sent `going-away`.
const ABOUT_TO_STOP: &str = "it is about to stop";

/// Where a member says that it records.
#[derive(Clone, Copy, Debug)]
enum By {
    Status,
    Metadata,
}

/// One line, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Decides the colour.
    pub mood: Mood,
    /// One line without anything that a terminal obeys.
    pub text: String,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// A peer, or something else, came or came back.
    Came,
    /// A peer left.
    Went,
    /// A peer speaks.
    Voice,
    /// A peer wrote a text.
    Text,
    /// Something does not work.
    Trouble,
    /// Anything else.
    Plain,
}

/// What this program does in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A person takes part.
    Talk,
    /// It says back what it hears.
    Echo,
}

/// Where one stays, and how.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The server's address.
    pub server: String,
    /// Who passes on what is said.
    pub served_by: ServedBy,
    /// The server's address is the default.
    pub server_by_default: bool,
    /// Another server that was named, while the room is a link to this one.
    pub unused_server: Option<String>,
    /// The room.
    pub room: String,
    /// The own name: as it was asked for, and once joined as the others see it.
    pub name: String,
    /// An access token is shown to the server.
    pub has_token: bool,
    /// No direct connections.
    pub relay_only: bool,
    /// How what is said is encrypted end to end.
    pub end_to_end: EndToEnd,
    /// Where a recording is kept, if one is.
    pub record: Option<PathBuf>,
    /// Which file is written in place of one that is there already.
    pub written_beside: Option<String>,
    /// What this program does there.
    pub part: Part,
}

/// Turns events into lines. Remembers what has been said, so that nothing is said twice.
#[derive(Clone, Debug)]
pub struct TextOutput {
    stay: SessionInfo,
    has_joined: bool,
    is_leaving: bool,
    /// What was said of the outage that lasts now.
    away_told: Option<String>,
    /// What was said of the connection to the server.
    remarked: Vec<String>,
    /// Peers through to whom nothing comes.
    cut_off: BTreeSet<PeerId>,
    /// Peers that do not hear the user, or are not heard, because of encryption.
    left_out: BTreeSet<PeerId>,
    /// Those whose program cannot encrypt, and whether the server may hear what is said to them.
    /// By which name it was asked.
    asked_about: BTreeMap<PeerId, String>,
    /// To whom no sound comes through, which is not said yet, and since when; `None` until the next
    /// turn.
    cut_off_soon: BTreeMap<PeerId, Option<Duration>>,
    /// The last route to each.
    routes: BTreeMap<PeerId, Route>,
    /// Where they differ from the default.
    permissions: BTreeMap<PeerId, Permissions>,
    /// When a peer was last known to speak.
    spoke_at: BTreeMap<PeerId, Duration>,
    /// Who keeps a recording.
    recorders: BTreeMap<PeerId, [bool; 2]>,
    /// The talk groups in which a moderator holds the user.
    held_in: Vec<String>,
}

/// Persons who were heard before the server was away, and those of them who are heard without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub others: usize,
    pub direct: usize,
}

impl Heard {
    pub(crate) fn of(routes: impl Iterator<Item = Route>) -> Self {
        routes.fold(Self::default(), |Self { others, direct }, route| Self {
            others: others + 1,
            direct: direct + usize::from(route == Route::Direct),
        })
    }

    /// What the server's absence means for hearing each other; nothing to one who is alone.
    pub(crate) fn without_server(self) -> &'static str {
        match self {
            Self { others: 0, .. } => "",
            Self { direct: 0, .. } => {
                "Until it is back, you and the others cannot hear each other."
            }
            Self { others, direct } if others == direct => "Direct connections continue.",
            _ => {
                "Direct connections continue; until it is back, you and the rest cannot hear each other."
            }
        }
    }
}

/// What is said when a recording has begun.
pub(crate) fn recording_into(folder: &Path) -> String {
    format!(
        "Recording into {}; everyone in the room sees that.",
        harmless(&folder.display().to_string())
    )
}

/// That a link leads elsewhere than to the server that was named, without a full stop.
pub fn not_used(unused: &str, server: &str) -> String {
    let (unused, server) = (address(unused), address(server));
    format!("The link leads to the server {server}; {unused}, which you named, is not used")
}

impl TextOutput {
    /// Nothing has been said yet.
    pub fn new(stay: SessionInfo) -> Self {
        Self {
            stay,
            has_joined: false,
            is_leaving: false,
            away_told: None,
            remarked: Vec::new(),
            cut_off: BTreeSet::new(),
            left_out: BTreeSet::new(),
            asked_about: BTreeMap::new(),
            cut_off_soon: BTreeMap::new(),
            routes: BTreeMap::new(),
            permissions: BTreeMap::new(),
            spoke_at: BTreeMap::new(),
            recorders: BTreeMap::new(),
            held_in: Vec::new(),
        }
    }

    /// What is said before anything happens.
    pub fn opening(&self) -> Vec<Line> {
        let stay = &self.stay;
        if !stay.served_by.is_room() {
            return self.opening_over_host();
        }
        let addresses = if stay.relay_only {
            "Relay only: no one in the room sees this machine's IP address; all goes through the server."
        } else {
            "Peers see each other's IP addresses when they are directly connected; --relay-only prevents that."
        };
        let by_default =
            if stay.server_by_default { " (this machine; --server names another)" } else { "" };
        let (room, name, server) =
            (harmless(&stay.room), harmless(&stay.name), address(&stay.server));
        let joining = plain(format!("Joining “{room}” at {server}{by_default} as {name} …"));
        let encrypted = stay.end_to_end.opening().map(plain);
        let before = [plain(addresses)].into_iter().chain(encrypted).chain(self.unused_server());
        before.chain([joining]).collect()
    }

    fn opening_over_host(&self) -> Vec<Line> {
        let (place, name) = (harmless(&self.stay.room), harmless(&self.stay.name));
        let (heard, begins) = match self.stay.served_by {
            ServedBy::ThisProgram => (
                "All that is said and written passes through this program, encrypted end to end with the link's key.",
                format!("Hosting a call as {name} …"),
            ),
            ServedBy::Server | ServedBy::Host => (
                "The host passes on all that is said and written, encrypted end to end with the link's key; what is said to all it hears as everyone does.",
                format!("Joining the call at {place} as {name} …"),
            ),
        };
        vec![plain(heard), plain(begins)]
    }

    /// The room, or the call, in a sentence.
    fn place(&self, room: &str) -> String {
        match self.stay.served_by {
            ServedBy::Server => format!("“{}”", harmless(room)),
            ServedBy::Host | ServedBy::ThisProgram => "the call".to_owned(),
        }
    }

    /// What is said of a server that was named in vain.
    pub fn unused_server(&self) -> Option<Line> {
        let (unused, server) = (self.stay.unused_server.as_deref()?, &self.stay.server);
        let not_used = not_used(unused, server);
        Some(trouble(format!("{not_used}, nor a password or token for it.")))
    }

    /// What is said once the peer works, whether or not the server has answered.
    pub fn invitation(&self) -> Option<Line> {
        let text = "Type to write to everyone; /help lists commands; Ctrl-C leaves.";
        (self.stay.part == Part::Talk).then(|| plain(text))
    }

    /// From here on the others going means nothing: oneself goes.
    pub fn leaving(&mut self) {
        self.is_leaving = true;
    }

    /// What to say of the own name, if the server has entered the user under another than the last
    /// one.
    pub fn renamed(&mut self, event: &Event) -> Option<Line> {
        let Event::Room(RoomEvent::Joined { name, .. }) = event else { return None };
        let before = std::mem::replace(&mut self.stay.name, name.clone());
        // Of the echo, the line about the room says it.
        if before == *name || self.stay.part == Part::Echo {
            return None;
        }
        let by = if self.stay.has_token { "your token" } else { "the server" };
        Some(plain(format!("You are here as {}, as {by} says.", harmless(name))))
    }

    /// What to say about an event.
    pub fn event(&mut self, stamped: &TimedEvent, people: &People) -> Option<Line> {
        match &stamped.event {
            Event::Room(RoomEvent::Joined { room, others, relay_only, .. }) => {
                Some(self.joined(room, *others, *relay_only))
            }
            Event::Room(RoomEvent::PeerJoined { peer, name, metadata }) => {
                self.routes.entry(*peer).or_insert(Route::None);
                let label = people.label_as(*peer, name);
                let text = match self.recording_changed(
                    *peer,
                    By::Metadata,
                    metadata.contains_key(RECORDING),
                ) {
                    Some(true) => format!("{label} is here, and keeps a recording of the room."),
                    _ => format!("{label} is here."),
                };
                Some(line(Mood::Came, text))
            }
            Event::Room(RoomEvent::MetadataChanged { peer, metadata }) => {
                let records = metadata.contains_key(RECORDING);
                self.recording_line(*peer, By::Metadata, records, people)
            }
            Event::Room(RoomEvent::StatusChanged { peer, status }) => {
                let is_own = people.is_own(*peer);
                if is_own {
                    None
                } else {
                    self.recording_line(*peer, By::Status, status.recording, people)
                }
            }
            Event::Room(RoomEvent::PeerLeft { peer, name, reason }) => {
                self.spoke_at.remove(peer);
                self.recorders.remove(peer);
                self.cut_off.remove(peer);
                self.cut_off_soon.remove(peer);
                self.left_out.remove(peer);
                self.asked_about.remove(peer);
                self.routes.remove(peer);
                self.permissions.remove(peer);
                let label = people.label_as(*peer, name);
                (!self.is_leaving)
                    .then(|| line(Mood::Went, format!("{label} {}.", departure(*reason))))
            }
            Event::Room(RoomEvent::RouteChanged { peer, route }) => {
                self.route_changed(*peer, *route, people)
            }
            Event::Room(RoomEvent::PermissionsChanged { peer, permissions }) => {
                self.permissions_changed(*peer, *permissions, people)
            }
            // The line about its speech comes with it.
            Event::Voice(VoiceEvent::FirstHeard { .. }) => None,
            Event::Voice(VoiceEvent::Speaking { peer, speaking }) => {
                self.speaks(stamped.at, *peer, *speaking, people)
            }
            Event::Room(RoomEvent::Text { from, name, private, group, text }) => {
                let to = match group {
                    _ if *private => " (to you alone)".to_owned(),
                    Some(group) if group != EVERYONE => format!(" (to {})", group_shown(group)),
                    _ => String::new(),
                };
                Some(line(
                    Mood::Text,
                    format!("{}{to}: {}", people.label_as(*from, name), harmless(text.trim_end())),
                ))
            }
            Event::Room(RoomEvent::ServerAway { why, failure, retry_in, .. }) => {
                self.server_away(why, failure.as_ref(), *retry_in)
            }
            Event::Room(RoomEvent::ServerConnected(connection)) => {
                self.server_connected(connection)
            }
            // The user asked for nothing that could have failed: the sentence is said as it is.
            Event::Room(RoomEvent::Warned { code, message, .. })
                if matches!(
                    code.as_str(),
                    "identity-replaced"
                        | "identity-not-kept"
                        | "text-unconfirmed"
                        | "text-unread"
                        | "turn-failed"
                        | "client-ended"
                        | "encoder-failed"
                ) =>
            {
                Some(trouble(harmless(message)))
            }
            Event::Room(RoomEvent::Warned { message, .. }) => {
                Some(trouble(format!("That did not work: {}", sentence(message))))
            }
            Event::Room(RoomEvent::Moved { groups })
                if groups.iter().any(|group| group == EVERYONE) =>
            {
                Some(plain("A moderator has moved you to everyone."))
            }
            Event::Room(RoomEvent::Moved { groups }) => {
                Some(plain(format!("A moderator has moved you to “{}”.", groups_quoted(groups))))
            }
            Event::Room(RoomEvent::Held { peer, groups }) if people.is_own(*peer) => {
                self.held(groups)
            }
            Event::Room(
                event @ (RoomEvent::RoomLocked { .. } | RoomEvent::RoomPassword { .. }),
            ) => room_changed(event).map(plain),
            Event::Room(RoomEvent::OwnerRight { state: OwnerRightState::Later }) => Some(plain(
                "The server has just started: who may moderate this room is decided within two minutes.",
            )),
            Event::Room(RoomEvent::OwnerRight { .. }) => Some(plain(
                "No member may moderate this room until it has been empty once: the server had just started.",
            )),
            Event::Room(RoomEvent::EncryptionChanged { peer, encryption, encrypted_before }) => {
                self.encryption_changed(*peer, *encryption, *encrypted_before, people)
            }
            // What was done is said by what asked for it.
            Event::Room(RoomEvent::TransactionDone { result: Ok(()), .. }) => None,
            Event::Room(RoomEvent::TransactionDone { result: Err(error), .. }) => {
                Some(moderation::not_done(error, &self.permissions, people))
            }
            // A program that joins anew begins with everyone.
            Event::Voice(VoiceEvent::GroupRefused { group }) if !self.held_in.is_empty() => {
                (group != EVERYONE).then(|| {
                    trouble(format!(
                        "A moderator holds you in “{}”: you cannot join “{}”.",
                        groups_quoted(&self.held_in),
                        group_shown(group)
                    ))
                })
            }
            Event::Voice(VoiceEvent::GroupRefused { group }) => Some(trouble(format!(
                "The server refuses the group “{}”: another group has its number, or there are too many. Take another name.",
                group_shown(group)
            ))),
            Event::Device(DeviceEvent::Lost { which, why }) => Some(device_lost(*which, why)),
            Event::Device(DeviceEvent::Recovered { which }) => {
                Some(line(Mood::Came, format!("Your {} works again.", device(*which))))
            }
            Event::Device(DeviceEvent::Changed { which }) => {
                Some(plain(format!("Your {} has changed.", device(*which))))
            }
            Event::Device(DeviceEvent::Refused { which, why }) => Some(trouble(format!(
                "That did not work: the {} stays as it is: {}",
                device(*which),
                sentence(why)
            ))),
            Event::Voice(VoiceEvent::RecordingFailed { why }) => Some(trouble(format!(
                "Nothing more is recorded: {} What was recorded until then is kept; /record begins again.",
                sentence(why)
            ))),
            Event::Room(RoomEvent::Left) => {
                let room = self.place(&self.stay.room);
                self.has_joined.then(|| plain(format!("You have left {room}.")))
            }
            // Where it goes and why it ended, other lines say.
            Event::Voice(VoiceEvent::Recording { .. }) => None,
            // The session being complete is no news to a person. The others end the command with
            // another sentence.
            Event::Room(RoomEvent::Connected | RoomEvent::Refused { .. } | RoomEvent::Replaced) => {
                None
            }
            Event::Room(
                RoomEvent::OwnerChanged { .. }
                | RoomEvent::RoomMetadataChanged { .. }
                | RoomEvent::ReachabilityChanged { .. },
            ) => None,
            // An event that is newer than this command.
            _ => None,
        }
    }

    /// Direct or relayed makes no difference to a person, as long as the one or the other works.
    fn route_changed(&mut self, peer: PeerId, route: Route, people: &People) -> Option<Line> {
        let label = people.label(peer);
        self.routes.insert(peer, route);
        if route == Route::None {
            if !self.cut_off.contains(&peer) {
                self.cut_off_soon.entry(peer).or_default();
            }
            return None;
        }
        self.cut_off_soon.remove(&peer);
        let is_heard = !self.left_out.contains(&peer);
        let is_back = self.cut_off.remove(&peer) && is_heard && !self.is_leaving;
        is_back.then(|| {
            line(Mood::Came, format!("Sound comes through between you and {label} again."))
        })
    }

    /// What is said only if it lasts.
    pub fn due(&mut self, now: Duration, people: &People) -> Vec<Line> {
        let mut lines = Vec::new();
        self.cut_off_soon.retain(|&peer, since| {
            let is_due = now >= *since.get_or_insert(now) + CUT_OFF_AFTER;
            let is_heard = !self.left_out.contains(&peer);
            if is_due && self.cut_off.insert(peer) && is_heard && !self.is_leaving {
                let label = people.label(peer);
                lines.push(trouble(format!(
                    "No sound comes through between you and {label} at the moment."
                )));
            }
            !is_due
        });
        lines
    }

    /// Who is left out, and who is no longer.
    fn encryption_changed(
        &mut self,
        peer: PeerId,
        encryption: MemberEncryption,
        encrypted_before: bool,
        people: &People,
    ) -> Option<Line> {
        let label = people.label(peer);
        match encryption {
            // The keys are on their way.
            MemberEncryption::Waiting => None,
            MemberEncryption::Encrypted { .. } => {
                let was_left_out = self.left_out.remove(&peer);
                was_left_out.then(|| line(Mood::Came, format!("{label} hears you now.")))
            }
            MemberEncryption::Unencrypted => {
                self.left_out.remove(&peer);
                None
            }
            MemberEncryption::Unable if self.asks() => {
                self.left_out.insert(peer);
                let name = people.raw_name(peer).to_owned();
                let asked = self.asked_about.insert(peer, name.clone());
                (asked != Some(name))
                    .then(|| trouble(encryption::question(&label, encrypted_before)))
            }
            // Once, also where the server is away and comes back.
            MemberEncryption::OnlyTheirs { .. } if !self.left_out.insert(peer) => None,
            MemberEncryption::Unable
            | MemberEncryption::Stopped
            | MemberEncryption::OnlyTheirs { .. }
            | MemberEncryption::Refused(_) => {
                if encryption.is_left_out() {
                    self.left_out.insert(peer);
                }
                encryption::sentence(encryption, &label).map(trouble)
            }
        }
    }

    /// Whether there is someone to ask, and something to ask about.
    fn asks(&self) -> bool {
        self.stay.end_to_end == EndToEnd::WithoutKey && self.stay.part == Part::Talk
    }

    fn permissions_changed(
        &mut self,
        peer: PeerId,
        now: Permissions,
        people: &People,
    ) -> Option<Line> {
        let before = self.permissions.insert(peer, now).unwrap_or_default();
        let is_own = people.is_own(peer);
        let label = people.label(peer);
        let mut parts = Vec::new();
        if before.speak != now.speak {
            parts.push(match (is_own, now.speak) {
                (true, true) => "You may speak.".to_owned(),
                (true, false) => {
                    "You may not speak in this room: the others cannot hear you.".to_owned()
                }
                (false, true) => format!("{label} may speak."),
                (false, false) => format!("{label} may not speak in this room."),
            });
        }
        if is_own && before.listen != now.listen {
            let text = if now.listen {
                "You may listen."
            } else {
                "You may not listen: you cannot hear the others."
            };
            parts.push(text.to_owned());
        }
        if now.moderate != before.moderate {
            parts.push(match (is_own, now.moderate) {
                (true, true) => "You may moderate this room; /help lists the commands.".to_owned(),
                (true, false) => "You may no longer moderate this room.".to_owned(),
                (false, true) => format!("{label} may moderate this room."),
                (false, false) => format!("{label} may no longer moderate this room."),
            });
        }
        (!parts.is_empty()).then(|| plain(parts.join(" ")))
    }

    /// Whether a member begins (`true`) or ceases to keep a recording, as its status or its
    /// metadata says.
    fn recording_changed(&mut self, peer: PeerId, by: By, records: bool) -> Option<bool> {
        let said = self.recorders.entry(peer).or_default();
        let before = said.iter().any(|says| *says);
        said[by as usize] = records;
        let after = said.iter().any(|says| *says);
        if !after {
            self.recorders.remove(&peer);
        }
        (before != after).then_some(after)
    }

    fn recording_line(
        &mut self,
        peer: PeerId,
        by: By,
        records: bool,
        people: &People,
    ) -> Option<Line> {
        let label = people.label(peer);
        self.recording_changed(peer, by, records).map(|records| match records {
            true => trouble(format!("{label} keeps a recording of the room from now on.")),
            false => plain(format!("{label} no longer keeps a recording of the room.")),
        })
    }

    fn joined(&mut self, room: &str, others: usize, relay_only: bool) -> Line {
        let again = std::mem::replace(&mut self.has_joined, true);
        self.away_told = None;
        let room = self.place(room);
        let others = match others {
            0 => "no one else is there".to_owned(),
            1 => "one other is there".to_owned(),
            more => format!("{more} others are there"),
        };
        let relayed = if relay_only {
            " This server relays everything; no one sees another's address."
        } else {
            ""
        };
        let text = match (again, self.stay.part) {
            // Who was reached directly meanwhile is there, too, whatever the server counts.
            (true, _) => format!("Back in {room}."),
            (false, Part::Talk) => format!("You are in {room}; {others}.{relayed}"),
            (false, Part::Echo) => {
                let name = harmless(&self.stay.name);
                format!(
                    "The echo peer “{name}” is in {room} and says back what it hears; {others}.{relayed}"
                )
            }
        };
        line(Mood::Came, text)
    }

    /// A line for the beginning of speech, but not after every breath.
    fn speaks(
        &mut self,
        at: Duration,
        peer: PeerId,
        speaking: bool,
        people: &People,
    ) -> Option<Line> {
        let before = self.spoke_at.insert(peer, at);
        let is_news = before.is_none_or(|before| at.saturating_sub(before) > PAUSE);
        (speaking && is_news).then(|| line(Mood::Voice, format!("{} speaks.", people.label(peer))))
    }

    /// What is not as one would expect of the connection, each said once.
    fn server_connected(&mut self, connection: &ServerConnection) -> Option<Line> {
        let new: Vec<String> = remarks(connection, self.stay.relay_only)
            .into_iter()
            .filter(|remark| !self.remarked.contains(remark))
            .collect();
        let text = new.join(" ");
        self.remarked.extend(new);
        let mood = if connection.is_exposed() { Mood::Trouble } else { Mood::Plain };
        (!text.is_empty()).then(|| line(mood, text))
    }

    /// The user is held in these talk groups; in none, the user is free again.
    fn held(&mut self, groups: &[String]) -> Option<Line> {
        let was_held = !std::mem::replace(&mut self.held_in, groups.to_vec()).is_empty();
        match groups {
            [] => was_held.then(|| plain("You may choose your talk groups again.")),
            groups => Some(plain(format!(
                "A moderator holds you in “{}”: until you are moved again you can be in no other group.",
                groups_quoted(groups)
            ))),
        }
    }

    fn server_away(
        &mut self,
        why: &str,
        failure: Option<&ConnectFailure>,
        retry_in: Duration,
    ) -> Option<Line> {
        let why = harmless(why.trim_end_matches('.')).into_owned();
        let retry = format!("The next try is in {}; more follow.", short(retry_in));
        let before = self.away_told.replace(why.clone());
        // Once for each reason: its tries go on, and a line about each would push the rest out.
        if before.as_deref() == Some(&why) {
            return None;
        }
        if !self.stay.served_by.is_room() {
            let still = if before.is_some() { "still " } else { "" };
            return Some(trouble(format!("The host is {still}away: {why}. {retry}")));
        }
        // It was reached, and said when to come back.
        if let Some(ConnectFailure::Refused { code, .. }) = failure {
            let why = match code {
                ErrorCode::PasswordWait => {
                    "The server has not looked at the password yet: wrong ones came from here."
                        .to_owned()
                }
                _ => format!("The server does not let you in for now: {why}."),
            };
            return Some(trouble(format!("{why} {retry}")));
        }
        let step = failure.and_then(next_step);
        if before.is_some() && step.is_none() {
            return (retry_in >= QUICK_RETRY)
                .then(|| trouble(format!("The server is still away: {why}. {retry}")));
        }
        if self.has_joined {
            let step = step.map(|step| format!("{step} ")).unwrap_or_default();
            let heard = self.routes.iter().filter(|(peer, _)| !self.left_out.contains(peer));
            let heard = Heard::of(heard.map(|(_, route)| *route)).without_server();
            let heard = if heard.is_empty() { String::new() } else { format!("{heard} ") };
            return Some(trouble(format!("The server is away: {why}. {step}{heard}{retry}")));
        }
        let hint = match self.stay.server_by_default {
            true => "Start one with `voicemesh serve`, or name another with --server.",
            false => "Is the address right, and does the server run?",
        };
        let server = address(&self.stay.server);
        if why == ABOUT_TO_STOP {
            return Some(trouble(format!(
                "The server at {server} lets no more people in: {why}. {retry}"
            )));
        }
        let step = step.unwrap_or_else(|| hint.to_owned());
        Some(trouble(format!("The server at {server} cannot be reached: {why}. {step} {retry}")))
    }
}

/// Why one is not let in, and what next.
pub fn refusal(
    code: &ErrorCode,
    message: &str,
    room: &str,
    retry_after: Option<Duration>,
) -> String {
    let room = harmless(room);
    let why = match code {
        ErrorCode::RoomFull => format!("The room “{room}” is full."),
        ErrorCode::ServerFull => "The server is full.".to_owned(),
        ErrorCode::RoomMissing => format!("No person is in “{room}”."),
        ErrorCode::RoomExists => format!("“{room}” has people in it already."),
        ErrorCode::PasswordRequired => format!("“{room}” has a password."),
        ErrorCode::TokenRequired => format!("The server asks for an access token for “{room}”."),
        ErrorCode::TokenInvalid | ErrorCode::TokenExpired => {
            format!("“{room}” is not open to this access token: {}", sentence(message))
        }
        ErrorCode::PasswordWrong => {
            format!("“{room}” is not open to this password: {}", sentence(message))
        }
        ErrorCode::PasswordWait => {
            "The server has not looked at the password yet: wrong ones came from here.".to_owned()
        }
        ErrorCode::Kicked => format!("A moderator has put you out of “{room}”."),
        ErrorCode::Banned => {
            format!(
                "A moderator of “{room}” keeps you, or your address, out for {}.",
                for_how_long(retry_after)
            )
        }
        ErrorCode::RoomLocked => format!("A moderator has closed “{room}” to newcomers."),
        ErrorCode::TooManyJoins => "The server has had too many joins from here.".to_owned(),
        ErrorCode::BadName => "The server does not take this name.".to_owned(),
        ErrorCode::BadRoom => "The server does not take this room's name.".to_owned(),
        ErrorCode::UnsupportedProtocol => {
            format!("The server and this program are of different ages: {}", sentence(message))
        }
        code => format!("The server refused: {} ({})", sentence(message), harmless(code.as_str())),
    };
    refusal_step(code).map_or(why.clone(), |step| format!("{why} {step}"))
}

fn for_how_long(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(|| "a while".to_owned(), in_minutes)
}

/// What would help one who is not let in.
pub fn refusal_step(code: &ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::RoomFull => "Try again later, or take another room.",
        ErrorCode::ServerFull => "Try again later, or take another server.",
        ErrorCode::RoomMissing => "Check the name, or be the first: join without --must-exist.",
        ErrorCode::RoomExists => "Take another name, or join without --must-not-exist.",
        ErrorCode::PasswordRequired => "Name it with VOICEMESH_PASSWORD or --password.",
        ErrorCode::TokenRequired => {
            "Name it with VOICEMESH_TOKEN, or take the link you were given."
        }
        ErrorCode::TokenInvalid | ErrorCode::TokenExpired => "Get a new link.",
        ErrorCode::PasswordWrong => {
            "Ask for the right one, or leave --password out where the room has none."
        }
        ErrorCode::PasswordWait => "Wait a while, then try again.",
        ErrorCode::Kicked => "Ask a moderator before you come back.",
        ErrorCode::Banned => "Ask a moderator to let you in.",
        ErrorCode::RoomLocked => "Try again later.",
        ErrorCode::TooManyJoins => "Wait a minute and try again.",
        ErrorCode::BadName => "Choose another with --name.",
        ErrorCode::BadRoom => "Choose a shorter one.",
        ErrorCode::UnsupportedProtocol => "Update the older one.",
        ErrorCode::SlowConsumer | ErrorCode::JoinTimeout => {
            "Join again; if it stays, this network is too slow or too busy."
        }
        _ => "Join again; if it stays, update this program, or ask the people who run the server.",
    })
}

/// What happened when the same identity joined from somewhere else.
pub fn replaced(room: &str) -> String {
    let room = harmless(room);
    format!(
        "You joined “{room}” from somewhere else, so this connection ended. Join again to come back here."
    )
}

/// A line that is neither good nor bad news.
pub fn plain(text: impl Into<String>) -> Line {
    line(Mood::Plain, text)
}

/// A line about something that does not work.
pub fn trouble(text: impl Into<String>) -> Line {
    line(Mood::Trouble, text)
}

fn line(mood: Mood, text: impl Into<String>) -> Line {
    Line { mood, text: text.into() }
}

/// The words of others, ending as a sentence does.
fn sentence(message: &str) -> String {
    let message = harmless(message.trim_end());
    if message.ends_with(['.', '!', '?']) { message.into_owned() } else { format!("{message}.") }
}

fn departure(reason: PeerLeftReason) -> &'static str {
    match reason {
        PeerLeftReason::Kicked => "was put out",
        PeerLeftReason::Lost => "is gone: the connection broke",
        PeerLeftReason::Restarted => "starts again",
        // `Left`, and reasons that are newer than this command.
        _ => "left",
    }
}

fn device(which: DeviceRole) -> &'static str {
    match which {
        DeviceRole::Input => "microphone",
        DeviceRole::Output => "speaker",
    }
}

fn device_lost(which: DeviceRole, why: &str) -> Line {
    let effect = match which {
        DeviceRole::Input => "The others cannot hear you until it is back; you hear them.",
        DeviceRole::Output => "You cannot hear the others until it is back; they hear you.",
    };
    let why = harmless(why.trim_end_matches('.'));
    trouble(format!(
        "Your {} does not work: {why}. {effect} It is used again as soon as it works.",
        device(which)
    ))
}

#[cfg(test)]
mod tests;
