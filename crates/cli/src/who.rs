//! The answer to `/who`: the own situation, and of everyone else the route and how they are heard.

use voicemesh::{PeerState, Route, ServerConnection, Snapshot};

use crate::encryption;
use crate::format::EVERYONE;
use crate::format::short;
use crate::live::cells::{cut, fit, width};
use crate::people::People;
use crate::reach::EXPOSED;
use crate::served_by::ServedBy;
use crate::text::{group_shown, harmless};

const COLUMNS: [&str; 5] = ["name", "route", "round trip", "lost", ""];
/// A longer row is cut, so that it fits a terminal of 80 columns beside the time.
const LONGEST_ROW: usize = 72;
/// A longer name is cut, so that a row fits a terminal of 80 columns beside the time.
const LONGEST_NAME: usize = 28;
/// So are the names of the groups.
const LONGEST_GROUPS: usize = 30;

/// A line about oneself, then a table. Of the room its name, and who passes on what is said there.
pub fn lines(
    snapshot: &Snapshot,
    people: &People,
    name: &str,
    (room, served_by): (&str, ServedBy),
    locked: bool,
) -> Vec<String> {
    let mut lines = vec![oneself(snapshot, name, (room, served_by), locked)];
    if snapshot.peers.is_empty() {
        lines.push("No other person is here yet.".to_owned());
        return lines;
    }
    let mut rows: Vec<[String; 5]> =
        snapshot.peers.iter().map(|state| row(state, people, served_by)).collect();
    rows.sort_by_cached_key(|row| row[0].to_lowercase());
    let headings = COLUMNS.map(str::to_owned);
    let table = std::iter::once(&headings).chain(&rows);
    let widest =
        |column: usize| table.clone().map(|row| width(&row[column])).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(widest);
    lines.extend(table.clone().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, columns)| fit(cell, columns));
        cut(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end(), LONGEST_ROW)
    }));
    lines
}

fn oneself(
    snapshot: &Snapshot,
    name: &str,
    (room, served_by): (&str, ServedBy),
    locked: bool,
) -> String {
    let (name, room) = (harmless(name), harmless(room));
    let state = if snapshot.connected { "connected to" } else { "not connected to" };
    let silent = if snapshot.connected && !snapshot.server_answers {
        format!(", but the {} does not answer", served_by.word())
    } else {
        String::new()
    };
    let muted = if snapshot.muted { ", muted" } else { "" };
    let deafened = if snapshot.deafened { ", deafened" } else { "" };
    let locked = if locked { " The room is closed to newcomers." } else { "" };
    let exposed =
        match snapshot.server_connection.as_ref().is_some_and(ServerConnection::is_exposed) {
            true => format!(" This connection is {EXPOSED}."),
            false => String::new(),
        };
    format!("You are {name}{muted}{deafened}, {state} “{room}”{silent}.{locked}{exposed}")
}

fn row(state: &PeerState, people: &People, served_by: ServedBy) -> [String; 5] {
    let route = match state.route {
        Route::Direct => "direct",
        Route::Relayed => served_by.word(),
        Route::None => "no sound",
    };
    let round_trip = state.round_trip.map_or("–".to_owned(), short);
    let (heard, concealed) = (state.frames_heard, state.frames_concealed);
    let lost = match heard + concealed {
        0 => "–".to_owned(),
        all => format!("{:.1} %", concealed as f64 * 100.0 / all as f64),
    };
    let status = state.status;
    let states = [
        (state.speaking, "speaks"),
        (status.listening_only, "listens only"),
        (status.muted && !status.listening_only, "muted"),
        (status.deafened, "deafened"),
        (!state.permissions.speak, "may not speak"),
        (!state.permissions.listen, "may not listen"),
        (state.muted, "off"),
        (status.recording, "REC"),
    ];
    let states = states.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word);
    let states = encryption::mark(state).into_iter().chain(states).map(str::to_owned);
    let states: Vec<String> = states.chain(in_groups(&state.groups)).collect();
    let states = states.join(", ");
    let label = people.label_as(state.peer, &state.name);
    [cut(&label, LONGEST_NAME), route.to_owned(), round_trip, lost, states]
}

/// The talk groups of one who does not just listen to everyone.
pub(crate) fn in_groups(groups: &[String]) -> Option<String> {
    let only_everyone = groups.iter().all(|group| group == EVERYONE);
    (!only_everyone).then(|| cut(&format!("in {}", group_names(groups)), LONGEST_GROUPS))
}

/// Talk groups in a sentence.
pub(crate) fn group_names(groups: &[String]) -> String {
    let names = groups
        .iter()
        .map(|group| if group == EVERYONE { "everyone".into() } else { group_shown(group) });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::people;
    use crate::summary::tests::state;

    const LOBBY: (&str, ServedBy) = ("lobby", ServedBy::Server);

    /// proves: D-52
    #[test]
    fn mode_connection_and_everyone_are_shown() {
        let relayed = PeerState {
            route: Route::Relayed,
            round_trip: None,
            speaking: false,
            frames_heard: 0,
            frames_concealed: 0,
            frames_from_copies: 0,
            frames_repaired: 0,
            ..state(2, "Cleo the Long")
        };
        let ben =
            PeerState { groups: ["Global".to_owned(), "Red".to_owned()].into(), ..state(1, "Ben") };
        let peers = vec![ben, relayed];
        let snapshot = Snapshot {
            connected: true,
            server_answers: true,
            mode: "client",
            muted: true,
            peers,
            ..Snapshot::default()
        };
        let people = people(&[(1, "Ben"), (2, "Cleo the Long")]);
        let expected = [
            "You are Ada, muted, connected to “lobby”.",
            "  name           route   round trip  lost",
            "  Ben            direct  12 ms       1.0 %  speaks, in everyone, Red",
            "  Cleo the Long  server  –           –",
        ];
        assert_eq!(lines(&snapshot, &people, "Ada", LOBBY, false), expected);
        let locked = lines(&snapshot, &people, "Ada", LOBBY, true);
        assert_eq!(
            locked[0],
            "You are Ada, muted, connected to “lobby”. The room is closed to newcomers."
        );
    }

    #[test]
    fn the_longest_row_fits_80_columns_beside_the_time() {
        let long = "Karl-Theodor von Guttenplag zu Sandhausen am Neckar";
        let status = voicemesh::MemberStatus {
            muted: true,
            deafened: true,
            listening_only: true,
            recording: true,
        };
        let groups = ["Global".to_owned(), "a group with a rather long name".to_owned()].into();
        let (permissions, route) = (voicemesh::Permissions::NONE, Route::None);
        let state = PeerState {
            permissions,
            status,
            groups,
            route,
            frames_concealed: 495,
            ..state(1, long)
        };
        let snapshot = Snapshot { peers: vec![state], ..Snapshot::default() };
        let lines = lines(&snapshot, &people(&[(1, long)]), "Ada", LOBBY, false);
        assert!(lines[1..].iter().all(|line| width(line) <= 72), "{lines:#?}");
    }

    #[test]
    fn a_server_that_does_not_answer_and_people_whom_nothing_reaches_are_named() {
        let peers = vec![PeerState {
            route: Route::None,
            round_trip: None,
            speaking: false,
            ..state(1, "Ben")
        }];
        let snapshot = Snapshot { connected: true, mode: "client", peers, ..Snapshot::default() };
        let lines = lines(&snapshot, &people(&[(1, "Ben")]), "Ada", LOBBY, false);
        assert_eq!(lines[0], "You are Ada, connected to “lobby”, but the server does not answer.");
        assert!(lines[2].contains("no sound"), "{}", lines[2]);
    }

    #[test]
    fn what_others_say_of_themselves_stands_behind_their_names() {
        let status = voicemesh::MemberStatus { muted: true, deafened: true, ..Default::default() };
        let peers = vec![PeerState { status, speaking: false, ..state(1, "Ben") }];
        let lines = lines(
            &Snapshot { peers, ..Snapshot::default() },
            &people(&[(1, "Ben")]),
            "Ada",
            LOBBY,
            false,
        );
        assert!(lines[2].ends_with("muted, deafened"), "{}", lines[2]);
    }

    #[test]
    fn who_is_alone_or_not_connected_is_told_so() {
        let lines = lines(&Snapshot::default(), &People::default(), "Ada", LOBBY, false);
        assert_eq!(
            lines,
            ["You are Ada, not connected to “lobby”.", "No other person is here yet."]
        );
    }
}
