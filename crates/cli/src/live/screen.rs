//! All that the live view shows, as plain values: what is equal needs no redrawing.

use std::time::Duration;

use voicemesh::{
    Event, MicrophoneState, PeerId, PeerState, RoomEvent, Route, ServerConnection, Snapshot,
    TimedEvent,
};

use super::editor::Editor;
use super::held_key::HeldKey;
use super::log::Log;
use super::overlay_state::{Content, Overlay};
use super::problems::{Condition, Problems};
use crate::encryption::{self, HeaderMark, header_mark};
use crate::format::EVERYONE;
use crate::human::Heard;
use crate::human::{Line, Mood};
use crate::people::People;
use crate::served_by::ServedBy;
use crate::text::harmless;
use crate::who::in_groups;

/// The quietest that a meter shows.
pub(crate) const QUIETEST_DBFS: i32 = -60;

/// Below both of these a person comes through clearly; above either of the second two, poorly. As
/// the page judges.
pub(crate) const CLEAR: (u32, u128) = (30, 200);
const POOR: (u32, u128) = (120, 400);
/// Until the delay is measured: what both ends take beside the network.
const ENDS_MS: u128 = 80;
/// Frames of a person that must have been heard or concealed before losses and delay say something of the way:
/// two seconds of speech. Before that, one late burst would.
const ENOUGH_FRAMES: u64 = 100;

/// The whole view.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Screen {
    /// The room, as it may be shown.
    pub room: String,
    /// The server's address, as it may be shown.
    pub server: String,
    /// Who passes on what is said.
    pub served_by: ServedBy,
    /// The own name, as it may be shown.
    pub name: String,
    pub link: Link,
    /// Whole seconds in the room; `None` before the first time.
    pub seconds: Option<u64>,
    /// By name.
    pub people: Vec<Person>,
    pub own: Own,
    /// What people wrote.
    pub log: Log,
    /// What happened.
    pub events: Log,
    /// What does not work now.
    pub problems: Vec<String>,
    pub editor: Editor,
    /// Whom the keys for one person mean.
    pub chosen: Option<PeerId>,
    pub overlay: Option<Overlay>,
    pub talk_key: TalkKey,
    /// The key to talk, where the terminal does not report releases.
    pub held_key: HeldKey,
    /// Whether others on the network can read what goes to the server.
    pub exposed: bool,
    /// How it is encrypted end to end, if this peer encrypts.
    pub encryption: Option<HeaderMark>,
    /// The server does not answer at the moment.
    pub is_server_silent: bool,
    /// Newcomers are not let into the room.
    pub locked: bool,
}

/// How things stand with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It has not answered yet.
    Joining,
    /// Speech flows.
    Connected,
    /// It is out of reach, and tried again in so many seconds.
    Away { retry_s: u64 },
}

/// What the key to talk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TalkKey {
    /// Nothing: speech needs no key.
    None,
    /// Speech is sent while it is held.
    Hold,
    /// The same, but the terminal reports no releases: the key counts as held while it repeats.
    HoldByRepeats,
}

/// How well a person comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Clear,
    Fair,
    Poor,
    /// Nothing comes through.
    Gone,
}

/// Another person, in numbers as coarse as they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub peer: PeerId,
    /// As it may be shown.
    pub label: String,
    pub speaking: bool,
    /// Of several who speak, the loudest.
    pub loudest: bool,
    pub level_dbfs: Option<i32>,
    pub quality: Quality,
    pub route: Route,
    pub round_trip_ms: Option<u128>,
    pub loss_permille: u32,
    pub delay_ms: Option<u128>,
    pub recording: bool,
    /// Whether a moderator or the server lets it speak.
    pub may_speak: bool,
    /// Whether the server lets it listen.
    pub may_listen: bool,
    /// Its own choices, as its program says.
    pub muted_itself: bool,
    pub deafened: bool,
    pub listening_only: bool,
    /// How it encrypts otherwise than this peer, in a word.
    pub encryption: Option<&'static str>,
    /// Its talk groups, if it does not just listen to everyone.
    pub groups: Option<String>,
    pub gain_percent: u32,
    /// Not heard, by the choice of the user of this program.
    pub muted: bool,
}

/// What opens the microphone of push-to-talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Talking {
    /// Nothing: it is closed.
    #[default]
    No,
    /// A key, as long as it counts as held.
    ByKey,
    /// `/talk on`, until `/talk off` or a key to talk.
    ByCommand,
}

/// The user of this program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// No sound of the user's is captured: there is no microphone, or none was wanted.
    pub listening_only: bool,
    /// There is no speaker.
    pub without_speaker: bool,
    /// Talk groups in which the user listens and speaks, other than [`EVERYONE`] alone.
    pub groups: Option<Vec<String>>,
    /// Persons whom the user's voice reaches, of how many.
    pub reaches: (usize, usize),
    pub muted: bool,
    pub deafened: bool,
    /// Keys and `/talk` change it, and a snapshot may be older than they are.
    pub talking: Talking,
    pub sending: bool,
    pub recording: bool,
    pub level_dbfs: i32,
    pub floor_dbfs: i32,
    pub clipping: bool,
    pub kbps: u32,
    pub copies: u8,
    pub loss_permille: u32,
}

impl Screen {
    /// Before anything has happened.
    pub(crate) fn new(room: &str, server: &str, name: &str, talk_key: TalkKey) -> Self {
        Self {
            room: harmless(room).into_owned(),
            server: harmless(server).into_owned(),
            served_by: ServedBy::default(),
            name: harmless(name).into_owned(),
            link: Link::Joining,
            seconds: None,
            people: Vec::new(),
            own: Own::default(),
            log: Log::default(),
            events: Log::default(),
            problems: Vec::new(),
            editor: Editor::default(),
            chosen: None,
            overlay: None,
            talk_key,
            held_key: HeldKey::default(),
            exposed: false,
            encryption: None,
            is_server_silent: false,
            locked: false,
        }
    }

    /// The situation now.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, people: &People) {
        self.people = snapshot.peers.iter().map(|state| Person::new(state, people)).collect();
        self.people.sort_by_cached_key(|person| (person.label.to_lowercase(), person.peer));
        self.mark_loudest();
        let everyone = [EVERYONE.to_owned()];
        let spoken_to = self.own.groups.as_deref().unwrap_or(&everyone);
        let is_reached = |state: &&PeerState| {
            let listens = state.groups.iter().any(|group| spoken_to.contains(group));
            listens
                && state.route != Route::None
                && !state.status.deafened
                && encryption::reaches(state)
                && state.permissions.listen
        };
        let reached = snapshot.peers.iter().filter(is_reached).count();
        self.own = Own {
            listening_only: snapshot.listening_only || self.own.listening_only,
            without_speaker: self.own.without_speaker,
            talking: self.own.talking,
            groups: self.own.groups.take(),
            reaches: (reached, self.people.len()),
            ..Own::new(snapshot)
        };
        self.is_server_silent = snapshot.connected && !snapshot.server_answers;
        self.exposed =
            snapshot.server_connection.as_ref().is_some_and(ServerConnection::is_exposed);
        // Without a key, who is on the way to the server can be in between.
        let is_safe = snapshot.has_room_key || !self.exposed;
        self.encryption = header_mark(snapshot, people).filter(|_| is_safe);
        if self.chosen.is_some_and(|chosen| !self.people.iter().any(|person| person.peer == chosen))
        {
            self.chosen = None;
        }
    }

    /// What does not work now.
    pub(crate) fn judge(&mut self, problems: &Problems, snapshot: &Snapshot) {
        let (permissions, slow) = (snapshot.permissions, snapshot.sending.upload_too_slow);
        let in_no_group = self.own.groups.as_ref().is_some_and(Vec::is_empty);
        let heard = Heard::of(snapshot.peers.iter().map(|state| state.route));
        self.problems =
            problems.lines(Condition { permissions, upload_too_slow: slow, in_no_group, heard });
        self.own.listening_only =
            snapshot.listening_only || problems.microphone_lost() || !permissions.speak;
        self.own.without_speaker = problems.speaker_lost();
    }

    /// The talk groups in which the user listens and speaks.
    pub(crate) fn set_groups(&mut self, groups: &[String]) {
        self.own.groups = (groups != [EVERYONE]).then(|| groups.to_vec());
    }

    /// A command opens the microphone to talk, or closes it. A key that is held counts no more.
    pub(crate) fn set_talking(&mut self, talking: bool) {
        self.held_key.release();
        self.own.talking = if talking { Talking::ByCommand } else { Talking::No };
    }

    /// A text among the messages, any other line among the events.
    pub(crate) fn say(&mut self, clock: &str, line: &Line) {
        let log = if line.mood == Mood::Text { &mut self.log } else { &mut self.events };
        log.push(clock, line.clone());
    }

    pub(crate) fn open(&mut self, content: Content) {
        self.overlay = Some(Overlay { content, offset: 0 });
    }

    fn mark_loudest(&mut self) {
        let speaking = self.people.iter().filter(|person| person.speaking);
        if speaking.clone().count() > 1 {
            let loudest = speaking.max_by_key(|person| person.level_dbfs).map(|person| person.peer);
            self.people.iter_mut().for_each(|person| person.loudest = Some(person.peer) == loudest);
        }
    }

    /// The one whom the keys for one person mean.
    pub(crate) fn chosen(&self) -> Option<&Person> {
        self.people.iter().find(|person| Some(person.peer) == self.chosen)
    }

    /// Chooses the next person, or the one before; no person beyond the ends.
    pub(crate) fn choose(&mut self, down: bool) {
        let place = self.people.iter().position(|person| Some(person.peer) == self.chosen);
        let next = match (place, down) {
            (None, true) => Some(0),
            (None, false) => self.people.len().checked_sub(1),
            (Some(place), true) => Some(place + 1),
            (Some(place), false) => place.checked_sub(1),
        };
        self.chosen = next.and_then(|place| self.people.get(place)).map(|person| person.peer);
    }

    /// Who keeps a recording of the room.
    pub(crate) fn recorders(&self) -> Vec<&str> {
        let own = self.own.recording.then_some("you");
        own.into_iter()
            .chain(self.people.iter().filter(|one| one.recording).map(|one| one.label.as_str()))
            .collect()
    }
}

impl Person {
    fn new(state: &PeerState, people: &People) -> Self {
        Self {
            peer: state.peer,
            label: people.label_as(state.peer, &state.name),
            speaking: state.speaking,
            loudest: false,
            level_dbfs: state.level_dbfs.filter(|_| state.speaking).map(whole_db),
            quality: Quality::of(state),
            route: state.route,
            round_trip_ms: state.round_trip.map(|round_trip| round_trip.as_millis()),
            loss_permille: permille(state.loss),
            delay_ms: state.delay.map(|delay| delay.as_millis()),
            recording: state.recording,
            may_speak: state.permissions.speak,
            may_listen: state.permissions.listen,
            muted_itself: state.status.muted,
            deafened: state.status.deafened,
            listening_only: state.status.listening_only,
            encryption: encryption::mark(state),
            groups: in_groups(&state.groups),
            gain_percent: (state.gain * 100.0).round() as u32,
            muted: state.muted,
        }
    }
}

impl Quality {
    fn of(state: &PeerState) -> Self {
        let estimated = || state.round_trip.unwrap_or_default().as_millis() / 2 + ENDS_MS;
        let is_known = state.frames_heard + state.frames_concealed >= ENOUGH_FRAMES;
        let loss = if is_known { permille(state.loss) } else { 0 };
        let delay = state.delay.filter(|_| is_known);
        let delay = delay.map_or_else(estimated, |delay| delay.as_millis());
        match state.route {
            Route::None => Self::Gone,
            _ if loss < CLEAR.0 && delay < CLEAR.1 => Self::Clear,
            _ if loss < POOR.0 && delay < POOR.1 => Self::Fair,
            _ => Self::Poor,
        }
    }
}

impl Own {
    fn new(snapshot: &Snapshot) -> Self {
        let MicrophoneState { level_dbfs, noise_floor_dbfs, clipping, sending, .. } =
            snapshot.microphone;
        Self {
            muted: snapshot.muted,
            deafened: snapshot.deafened,
            talking: Talking::No,
            sending,
            recording: snapshot.recording,
            level_dbfs: whole_db(level_dbfs),
            floor_dbfs: whole_db(noise_floor_dbfs),
            clipping,
            kbps: snapshot.sending.bitrate_bps.div_ceil(1000),
            copies: snapshot.sending.copies,
            loss_permille: permille(snapshot.sending.worst_loss),
            ..Self::default()
        }
    }
}

/// Follows the server's coming and going through the events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkWatch {
    joined_at: Option<Duration>,
    retry_at: Option<Duration>,
    connected: bool,
}

impl LinkWatch {
    pub(crate) fn event(&mut self, stamped: &TimedEvent) {
        match &stamped.event {
            Event::Room(RoomEvent::Joined { .. }) => {
                self.joined_at.get_or_insert(stamped.at);
                self.retry_at = None;
            }
            Event::Room(RoomEvent::Connected) => (self.connected, self.retry_at) = (true, None),
            Event::Room(RoomEvent::ServerAway { retry_in, .. }) => {
                (self.connected, self.retry_at) = (false, Some(stamped.at + *retry_in));
            }
            Event::Room(RoomEvent::Left) => self.connected = false,
            _ => {}
        }
    }

    /// What to show at this moment.
    pub(crate) fn link(&self, now: Duration) -> Link {
        match self.retry_at {
            Some(retry_at) => {
                Link::Away { retry_s: retry_at.saturating_sub(now).as_secs_f32().ceil() as u64 }
            }
            None if self.connected => Link::Connected,
            None => Link::Joining,
        }
    }

    /// Whole seconds since the first time in the room.
    pub(crate) fn seconds(&self, now: Duration) -> Option<u64> {
        self.joined_at.map(|joined_at| now.saturating_sub(joined_at).as_secs())
    }
}

fn whole_db(level: f32) -> i32 {
    // Nothing below the quietest is shown; what is no number is silence.
    if level.is_finite() { (level.round() as i32).clamp(-99, 0) } else { -99 }
}

fn permille(loss: f32) -> u32 {
    (loss.clamp(0.0, 1.0) * 1000.0).round() as u32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::people::tests::{peer, people};
    use crate::summary::tests::{at, joined, state};

    /// A room with these people in it.
    pub(crate) fn screen(names: &[(u16, &str)]) -> Screen {
        let mut screen = Screen::new("lobby", "ws://127.0.0.1:8080", "Ada", TalkKey::None);
        let peers = names.iter().map(|(id, name)| state(*id, name)).collect();
        screen.observe(&Snapshot { peers, ..Snapshot::default() }, &people(names));
        (screen.link, screen.seconds) = (Link::Connected, Some(754));
        screen
    }

    #[test]
    fn choosing_goes_through_all_people_and_then_none() {
        let mut screen = screen(&[(1, "Ben"), (2, "Cleo")]);
        let mut labels = Vec::new();
        for down in [true, true, true, false, false, false] {
            screen.choose(down);
            labels.push(screen.chosen().map(|person| person.label.clone()).unwrap_or_default());
        }
        assert_eq!(labels, ["Ben", "Cleo", "", "Cleo", "Ben", ""]);
    }

    #[test]
    fn who_leaves_is_no_longer_chosen() {
        let mut screen = screen(&[(1, "Ben"), (2, "Cleo")]);
        screen.chosen = Some(peer(2));
        let peers = vec![state(1, "Ben")];
        screen.observe(&Snapshot { peers, ..Snapshot::default() }, &people(&[(1, "Ben")]));
        assert_eq!(screen.chosen, None);
    }

    #[test]
    fn how_others_take_part_is_shown_as_they_say_and_as_they_may() {
        use voicemesh::{MemberStatus, Permissions};
        let status = MemberStatus { muted: true, deafened: true, ..MemberStatus::default() };
        let deaf = PeerState { status, ..state(1, "Ben") };
        let mute =
            PeerState { permissions: Permissions::default().without_speak(), ..state(2, "Cleo") };
        let mut screen = screen(&[]);
        let permissions = Permissions::default().without_speak();
        let snapshot = Snapshot { peers: vec![mute, deaf], permissions, ..Snapshot::default() };
        screen.observe(&snapshot, &people(&[(1, "Ben"), (2, "Cleo")]));
        screen.judge(&Problems::default(), &snapshot);
        let [ben, cleo] = screen.people.as_slice() else { panic!("{:?}", screen.people) };
        assert_eq!(
            (ben.label.as_str(), ben.muted_itself, ben.deafened, ben.may_speak),
            ("Ben", true, true, true)
        );
        assert_eq!(
            (cleo.label.as_str(), cleo.muted_itself, cleo.may_speak),
            ("Cleo", false, false)
        );
        assert_eq!(screen.own.reaches, (1, 2), "the deafened one does not hear");
        assert!(screen.own.listening_only && screen.problems[0].contains("only listen"));
    }

    #[test]
    fn what_looks_the_same_is_the_same() {
        let quantised = |level_dbfs, loss| {
            let state = PeerState { level_dbfs: Some(level_dbfs), loss, ..state(1, "Ben") };
            Person::new(&state, &People::default())
        };
        assert_eq!(quantised(-20.04, 0.1), quantised(-20.3, 0.1001));
        assert_ne!(quantised(-20.0, 0.1), quantised(-21.0, 0.1));
        assert_eq!(quantised(f32::NAN, f32::NAN).loss_permille, 0);
        assert_eq!(quantised(f32::NEG_INFINITY, 2.0).level_dbfs, Some(-99));
    }

    #[test]
    fn the_time_to_the_next_try_counts_down() {
        let mut watch = LinkWatch::default();
        assert_eq!(
            (watch.link(Duration::ZERO), watch.seconds(Duration::ZERO)),
            (Link::Joining, None)
        );
        watch.event(&at(1000, joined()));
        watch.event(&at(1010, Event::Room(RoomEvent::Connected)));
        assert_eq!(watch.link(Duration::from_secs(2)), Link::Connected);
        watch.event(&at(
            5000,
            Event::Room(RoomEvent::ServerAway {
                why: "gone".into(),
                failure: None,
                silent_for: Duration::ZERO,
                retry_in: Duration::from_millis(2500),
            }),
        ));
        let away = |ms| watch.link(Duration::from_millis(ms));
        assert_eq!(
            [away(5000), away(6600), away(9000)],
            [3, 1, 0].map(|retry_s| Link::Away { retry_s })
        );
        assert_eq!(watch.seconds(Duration::from_secs(61)), Some(60));
    }

    #[test]
    fn everyone_who_records_is_named() {
        let mut screen = screen(&[(1, "Ben"), (2, "Cleo")]);
        screen.people[1].recording = true;
        screen.own.recording = true;
        assert_eq!(screen.recorders(), ["you", "Cleo"]);
    }
}
