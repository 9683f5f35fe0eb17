//! Events as lines for people.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh::{DeviceRole, ErrorCode, Event, PeerId, PeerLeftReason, Route, Stamped};

use crate::people::People;
use crate::text::harmless;

/// Who speaks again after a shorter pause than this gets no new line.
const PAUSE: Duration = Duration::from_secs(3);
/// While the server is away, tries that follow each other faster than this are not told one by one.
const QUICK_RETRY: Duration = Duration::from_secs(1);

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
    /// Somebody or something came (back).
    Came,
    /// Somebody left.
    Went,
    /// Somebody speaks.
    Voice,
    /// Somebody wrote.
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
pub struct Stay {
    /// The server's address.
    pub server: String,
    /// Nobody named the server.
    pub server_by_default: bool,
    /// The room.
    pub room: String,
    /// The own name.
    pub name: String,
    /// No direct connections.
    pub relay_only: bool,
    /// What this program does there.
    pub part: Part,
}

/// Turns events into lines. Remembers what has been said, so that nothing is said twice.
#[derive(Clone, Debug)]
pub struct Human {
    stay: Stay,
    has_joined: bool,
    is_leaving: bool,
    /// Whether the outage that lasts now has been told.
    away_told: bool,
    /// When somebody was last known to speak.
    spoke_at: BTreeMap<PeerId, Duration>,
}

impl Human {
    /// Nothing has been said yet.
    pub fn new(stay: Stay) -> Self {
        Self { stay, has_joined: false, is_leaving: false, away_told: false, spoke_at: BTreeMap::new() }
    }

    /// What is said before anything happens.
    pub fn opening(&self) -> Vec<Line> {
        let stay = &self.stay;
        let addresses = if stay.relay_only {
            "Relay only: nobody in the room sees this machine's network address; all goes through the server."
        } else {
            "Peers see each other's network addresses when they are directly connected; --relay-only prevents that."
        };
        let by_default = if stay.server_by_default { " (this machine; --server names another)" } else { "" };
        let (room, name, server) = (harmless(&stay.room), harmless(&stay.name), harmless(&stay.server));
        vec![plain(addresses), plain(format!("Joining “{room}” at {server}{by_default} as {name} …"))]
    }

    /// What is said once the peer works, whether or not the server has answered.
    pub fn invitation(&self) -> Option<Line> {
        let text = "Type to write to everybody; /help lists commands; Ctrl-C leaves.";
        (self.stay.part == Part::Talk).then(|| plain(text))
    }

    /// From here on the others going means nothing: oneself goes.
    pub fn leaving(&mut self) {
        self.is_leaving = true;
    }

    /// What to say about an event.
    pub fn event(&mut self, stamped: &Stamped, people: &People) -> Option<Line> {
        match &stamped.event {
            Event::Joined { room, others, relay_only, .. } => Some(self.joined(room, *others, *relay_only)),
            Event::PeerJoined { peer, name, .. } => {
                Some(line(Mood::Came, format!("{} is here.", people.label_as(*peer, name))))
            }
            Event::PeerLeft { peer, name, reason } => {
                self.spoke_at.remove(peer);
                let label = people.label_as(*peer, name);
                (!self.is_leaving).then(|| line(Mood::Went, format!("{label} {}.", departure(*reason))))
            }
            Event::RouteChanged { peer, route } => (!self.is_leaving).then(|| route_line(&people.label(*peer), *route)),
            Event::FirstHeard { peer } => {
                self.spoke_at.insert(*peer, stamped.at);
                Some(line(Mood::Voice, format!("You hear {}.", people.label(*peer))))
            }
            Event::Speaking { peer, speaking } => self.speaks(stamped.at, *peer, *speaking, people),
            Event::Text { from, name, private, text } => {
                let to = if *private { " (to you alone)" } else { "" };
                Some(line(Mood::Text, format!("{}{to}: {}", people.label_as(*from, name), harmless(text.trim_end()))))
            }
            Event::ServerAway { why, retry_in } => self.server_away(why, *retry_in),
            Event::Warned { message, .. } => Some(trouble(format!("That did not work: {}", sentence(message)))),
            Event::GroupRefused { group } => Some(trouble(format!(
                "The server refuses the group “{}”: another group has its number, or there are too many. Take another name.",
                harmless(group)
            ))),
            Event::DeviceLost { which, why } => Some(device_lost(*which, why)),
            Event::DeviceRecovered { which } => Some(line(Mood::Came, format!("Your {} works again.", device(*which)))),
            Event::Left => {
                let room = harmless(&self.stay.room);
                self.has_joined.then(|| plain(format!("You have left “{room}”.")))
            }
            // The session being complete is no news to a person. The others end the command with a sentence of their own.
            Event::Connected | Event::MetadataChanged { .. } | Event::Refused { .. } | Event::Replaced => None,
            // An event that is newer than this command.
            _ => None,
        }
    }

    fn joined(&mut self, room: &str, others: usize, relay_only: bool) -> Line {
        let again = std::mem::replace(&mut self.has_joined, true);
        self.away_told = false;
        let room = harmless(room);
        let others = match others {
            0 => "nobody else is there".to_owned(),
            1 => "one other is there".to_owned(),
            more => format!("{more} others are there"),
        };
        let relayed = if relay_only { " This server relays everything; nobody sees another's address." } else { "" };
        let text = match (again, self.stay.part) {
            // Who was reached directly meanwhile is there, too, whatever the server counts.
            (true, _) => format!("Back in “{room}”."),
            (false, Part::Talk) => format!("You are in “{room}”; {others}.{relayed}"),
            (false, Part::Echo) => {
                let name = harmless(&self.stay.name);
                format!("The echo peer “{name}” is in “{room}” and says back what it hears; {others}.{relayed}")
            }
        };
        line(Mood::Came, text)
    }

    /// A line for the beginning of speech, but not after every breath.
    fn speaks(&mut self, at: Duration, peer: PeerId, speaking: bool, people: &People) -> Option<Line> {
        let before = self.spoke_at.insert(peer, at);
        let is_news = before.is_none_or(|before| at.saturating_sub(before) > PAUSE);
        (speaking && is_news).then(|| line(Mood::Voice, format!("{} speaks.", people.label(peer))))
    }

    fn server_away(&mut self, why: &str, retry_in: Duration) -> Option<Line> {
        let why = harmless(why.trim_end_matches('.')).into_owned();
        let retry = format!("It is tried again in {}.", short(retry_in));
        if std::mem::replace(&mut self.away_told, true) {
            return (retry_in >= QUICK_RETRY).then(|| trouble(format!("The server is still away: {why}. {retry}")));
        }
        if self.has_joined {
            return Some(trouble(format!("The server is away: {why}. Direct connections go on. {retry}")));
        }
        let hint = if self.stay.server_by_default {
            "Start one with `voicemesh serve`, or name another with --server."
        } else {
            "Is the address right, and does the server run?"
        };
        let server = harmless(&self.stay.server);
        Some(trouble(format!("The server at {server} does not answer: {why}. {retry} {hint}")))
    }
}

/// Why one is not let in, and what next.
pub fn refusal(code: &ErrorCode, message: &str, room: &str) -> String {
    let room = harmless(room);
    match code {
        ErrorCode::RoomFull => format!("The room “{room}” is full. Try again later, or take another room."),
        ErrorCode::ServerFull => "The server is full. Try again later, or take another server.".to_owned(),
        ErrorCode::RoomMissing => {
            format!("Nobody is in “{room}”. Check the name, or be the first: join without --must-exist.")
        }
        ErrorCode::RoomExists => {
            format!("Somebody is in “{room}” already. Take another name, or join without --must-not-exist.")
        }
        ErrorCode::TooManyJoins => {
            "The server has had too many joins from here. Wait a minute and try again.".to_owned()
        }
        ErrorCode::BadName => "The server does not take this name. Choose another with --name.".to_owned(),
        ErrorCode::BadRoom => "The server does not take this room's name. Choose a shorter one.".to_owned(),
        ErrorCode::UnsupportedProtocol => {
            format!("The server and this program are of different ages: {} Update the older one.", sentence(message))
        }
        code => format!("The server refused: {} ({})", sentence(message), harmless(code.as_str())),
    }
}

/// What happened when the same identity joined from somewhere else.
pub fn replaced(room: &str) -> String {
    let room = harmless(room);
    format!("You joined “{room}” from somewhere else, so this connection ended. Join again to come back here.")
}

/// A length of time for people.
pub fn short(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.95 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds if seconds < 119.5 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
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

fn route_line(label: &str, route: Route) -> Line {
    match route {
        Route::Direct => line(Mood::Plain, format!("{label} is connected directly.")),
        Route::Relayed => line(Mood::Plain, format!("{label} is connected through the server.")),
        Route::None => trouble(format!("{label} cannot be reached at the moment.")),
    }
}

fn departure(reason: PeerLeftReason) -> &'static str {
    match reason {
        PeerLeftReason::Kicked => "was put out by the server",
        PeerLeftReason::Lost => "is gone: neither the server nor a direct connection reaches it any more",
        PeerLeftReason::Restarted => "starts anew",
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
        DeviceRole::Input => "Nobody hears you until it is back; you hear the others.",
        DeviceRole::Output => "You hear nobody until it is back; the others hear you.",
    };
    let why = harmless(why.trim_end_matches('.'));
    trouble(format!("Your {} does not work any more: {why}. {effect} It is looked for by itself.", device(which)))
}

#[cfg(test)]
mod tests {
    use voicemesh::Metadata;

    use super::*;
    use crate::people::tests::{arrival, peer, people};
    use crate::tally::tests::{at, joined};

    fn stay(relay_only: bool, part: Part) -> Stay {
        let (server, room, name) = ("ws://127.0.0.1:8080".to_owned(), "lobby".to_owned(), "Ada".to_owned());
        Stay { server, server_by_default: true, room, name, relay_only, part }
    }

    fn human() -> Human {
        Human::new(stay(false, Part::Talk))
    }

    /// What a fresh view says about one event, with Ben present.
    fn said(event: Event) -> String {
        human().event(&at(1000, event), &people(&[(1, "Ben")])).map_or(String::new(), |line| line.text)
    }

    fn away(retry_ms: u64) -> Event {
        Event::ServerAway { why: "connection refused".into(), retry_in: Duration::from_millis(retry_ms) }
    }

    /// proves: S-14
    #[test]
    fn the_first_line_says_who_sees_addresses() {
        let first = |relay_only| human_with(relay_only).opening()[0].text.clone();
        assert!(first(false).contains("see each other's network addresses") && first(false).contains("--relay-only"));
        assert!(first(true).contains("nobody in the room sees this machine's network address"));
    }

    fn human_with(relay_only: bool) -> Human {
        Human::new(stay(relay_only, Part::Talk))
    }

    #[test]
    fn the_opening_names_room_server_and_name() {
        let text = human().opening()[1].text.clone();
        assert_eq!(text, "Joining “lobby” at ws://127.0.0.1:8080 (this machine; --server names another) as Ada …");
        assert!(human().invitation().is_some_and(|line| line.text.contains("/help")));
        assert_eq!(Human::new(stay(false, Part::Echo)).invitation(), None, "nobody types to an echo");
    }

    #[test]
    fn joining_and_joining_again() {
        let mut human = human();
        let mut say = |event| human.event(&at(0, event), &People::default()).map(|line| line.text);
        assert_eq!(say(joined()).as_deref(), Some("You are in “lobby”; one other is there."));
        assert_eq!(say(Event::Connected), None);
        assert_eq!(say(joined()).as_deref(), Some("Back in “lobby”."));
        assert_eq!(say(Event::Left).as_deref(), Some("You have left “lobby”."));
    }

    #[test]
    fn an_echo_says_that_it_is_one() {
        let mut echo = Human::new(Stay { name: "echo".into(), ..stay(false, Part::Echo) });
        let line = echo.event(&at(0, joined()), &People::default()).expect("a line");
        assert_eq!(line.text, "The echo peer “echo” is in “lobby” and says back what it hears; one other is there.");
    }

    #[test]
    fn who_came_and_left_and_why() {
        assert_eq!(said(arrival(1, "Ben")), "Ben is here.");
        let left = |reason| said(Event::PeerLeft { peer: peer(1), name: "Ben".into(), reason });
        assert_eq!(left(PeerLeftReason::Left), "Ben left.");
        assert_eq!(left(PeerLeftReason::Kicked), "Ben was put out by the server.");
        assert!(left(PeerLeftReason::Lost).starts_with("Ben is gone: neither the server"));
        assert_eq!(left(PeerLeftReason::Restarted), "Ben starts anew.");
        assert_eq!(said(Event::MetadataChanged { peer: peer(1), metadata: Metadata::new() }), "");
    }

    #[test]
    fn which_route_each_has() {
        let route = |route| said(Event::RouteChanged { peer: peer(1), route });
        assert_eq!(route(Route::Direct), "Ben is connected directly.");
        assert_eq!(route(Route::Relayed), "Ben is connected through the server.");
        assert_eq!(route(Route::None), "Ben cannot be reached at the moment.");
    }

    #[test]
    fn speech_is_told_once_and_not_after_every_breath() {
        let (mut human, people) = (human(), people(&[(1, "Ben")]));
        let mut say = |ms, event| human.event(&at(ms, event), &people).map(|line| line.text);
        let speaks = |speaking| Event::Speaking { peer: peer(1), speaking };
        assert_eq!(say(0, Event::FirstHeard { peer: peer(1) }).as_deref(), Some("You hear Ben."));
        assert_eq!(say(10, speaks(true)), None, "that was said");
        assert_eq!(say(9_000, speaks(false)), None);
        assert_eq!(say(11_000, speaks(true)), None, "a breath");
        assert_eq!(say(12_000, speaks(false)), None);
        assert_eq!(say(20_000, speaks(true)).as_deref(), Some("Ben speaks."));
    }

    #[test]
    fn texts_are_shown_harmlessly() {
        let text = |private, text: &str| {
            said(Event::Text { from: peer(1), name: "Ben".into(), private, text: text.to_owned() })
        };
        assert_eq!(text(false, "hello\n"), "Ben: hello");
        assert_eq!(text(true, "psst"), "Ben (to you alone): psst");
        assert_eq!(text(false, "\u{1b}[2Jhi\nAda left."), "Ben: ␛[2Jhi⏎Ada left.");
    }

    #[test]
    fn a_server_that_is_away_is_told_with_the_next_try() {
        let mut human = human();
        let mut say = |event| human.event(&at(0, event), &People::default()).map_or(String::new(), |line| line.text);
        let first = say(away(1500));
        assert!(first.starts_with("The server at ws://127.0.0.1:8080 does not answer: connection refused."), "{first}");
        assert!(first.contains("tried again in 1.5 s") && first.contains("voicemesh serve"), "{first}");
        assert!(say(away(1500)).starts_with("The server is still away"), "the hint is given once");
        say(joined());
        let later = say(away(200));
        assert!(later.starts_with("The server is away: connection refused.") && later.contains("go on"), "{later}");
        assert_eq!([say(away(400)), say(away(900))], ["", ""], "quick tries are not told one by one");
        assert!(say(away(2000)).contains("tried again in 2.0 s"));
    }

    #[test]
    fn lost_devices_are_told_with_what_it_means() {
        let lost = |which| said(Event::DeviceLost { which, why: "it was unplugged".into() });
        assert!(
            lost(DeviceRole::Input).starts_with("Your microphone does not work any more: it was unplugged. Nobody")
        );
        assert!(lost(DeviceRole::Output).contains("You hear nobody"));
        assert_eq!(said(Event::DeviceRecovered { which: DeviceRole::Input }), "Your microphone works again.");
    }

    #[test]
    fn refusals_say_what_next() {
        let refused = |code| refusal(&code, "no", "lobby");
        assert!(refused(ErrorCode::RoomFull).contains("“lobby” is full"));
        assert!(refused(ErrorCode::RoomMissing).contains("--must-exist"));
        assert!(refused(ErrorCode::RoomExists).contains("--must-not-exist"));
        assert_eq!(refused(ErrorCode::Other("odd".into())), "The server refused: no. (odd)");
        assert!(replaced("lobby").contains("from somewhere else"));
        assert_eq!(
            said(Event::Warned { code: ErrorCode::BadField, message: "too long".into() }),
            "That did not work: too long."
        );
        assert!(said(Event::GroupRefused { group: "Red\u{7}".into() }).contains("“Red␇”"));
        assert_eq!(said(Event::Refused { code: ErrorCode::RoomFull, message: "full".into() }), "");
        assert_eq!(said(Event::Replaced), "");
    }

    #[test]
    fn when_oneself_leaves_the_others_do_not() {
        let mut human = human();
        human.leaving();
        let left = Event::PeerLeft { peer: peer(1), name: "Ben".into(), reason: PeerLeftReason::Left };
        assert_eq!(human.event(&at(0, left), &people(&[(1, "Ben")])), None);
    }

    #[test]
    fn lengths_of_time() {
        let of = |millis| short(Duration::from_millis(millis));
        assert_eq!([of(12), of(1500), of(30_000), of(600_000)], ["12 ms", "1.5 s", "30 s", "10 min"]);
    }
}
