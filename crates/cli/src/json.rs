//! What `--json` prints: one object a line on standard output, for tests, the demo, benchmarks and
//! anybody's scripts.
//!
//! Every line has `event`, which names it, and `at_ms`. Moments and lengths of time are
//! milliseconds, with fractions; moments count from the call that joined. What is not known (yet)
//! is `null`. A `peer` is an id, the same across reconnects; names are in the normal form that
//! every peer makes of them. Keys may be added, never changed; so a reader passes over what it does
//! not know, events included.
//!
//! | `event` | further keys | when |
//! |---|---|---|
//! | `joining` | `server`, `room`, `name`, `relay_only`, `end_to_end` (what is said is encrypted end to end) | first line, before anything happens; missing if what was asked for is refused before |
//! | `hosting` | `port`, `links` (each with `link`, key included, and `reach`: `network`, `machine` alone, `internet`, `forwarded`) | this program hosts the call; again for `/host` |
//! | `joined` | `you`, `name`, `room`, `session`, `others`, `relay_only` | the server let this peer in; again after every rejoin. `name`: as the others see it; an access token may name another than `joining` |
//! | `connected` | | the session is complete: speech flows, texts can be sent; again after every rejoin |
//! | `peer-joined` | `peer`, `name`, `metadata` | another peer is in the room |
//! | `peer-left` | `peer`, `name`, `reason` | `reason`: `left`, `kicked`, `lost`, `restarted` |
//! | `metadata-changed` | `peer`, `name`, `metadata` | another peer publishes other metadata |
//! | `permissions-changed` | `peer`, `name`, `permissions` | a member, or this peer itself, may do this from now on: a list of `speak`, `listen`, `data`, `moderate` |
//! | `status-changed` | `peer`, `name`, `status` | how a member takes part, as its own program says: `muted`, `deafened`, `listening_only` (it has no microphone), `recording`, each true or false |
//! | `transaction-done` | `code`, `message` | a decision about a member or the room is made; else why not |
//! | `moved` | `groups` | a moderator has moved this peer to these talk groups |
//! | `held` | `peer`, `name`, `groups` | a moderator holds a member, or this peer itself, in these talk groups; an empty list: no longer |
//! | `room-locked` | `locked` | newcomers are not let in, or are again |
//! | `room-password` | `change` | the room's password was `set`, `changed` or `removed`; `present`: it has one at the join |
//! | `owner-right` | `state` | no member has the owner's right yet: `later` or `none` |
//! | `owner-changed` | `peer`, `name` | who decides about the room's metadata now |
//! | `room-metadata-changed` | `metadata` | what the room publishes |
//! | `reachability-changed` | `token` | how this peer can be reached from other sessions, for programs that hand it on; `null`: it cannot |
//! | `encryption-changed` | `peer`, `name`, `encryption`, `encrypted_before` (in an earlier run, as far as it is kept), `message` | `only-theirs` (it encrypts and this peer does not: it is heard here only if it allows that), else only where this peer encrypts: `waiting` (for its keys), `verified` (it has the room's key), `encrypted` (the room has none), `unable` (its program does not encrypt), `unencrypted` (the same, and `/allow` lets it and the server hear), `stopped` (it did before in this stay), `refused` (what it announces is not genuine; then with `message`); `unable`, `stopped` and `refused` are sent nothing, or what only earlier genuine keys open |
//! | `route-changed` | `peer`, `name`, `route` | `route`: `direct`, `relayed`, `none` |
//! | `first-heard` | `peer`, `name` | heard for the first time since it joined |
//! | `speaking` | `peer`, `name`, `speaking` | begins (`true`) or ceases to speak |
//! | `text` | `peer`, `name`, `private`, `group`, `text` | a peer wrote; `group`: the talk group it was written to, `null` if it is private |
//! | `server-connected` | `encrypted`, `local`, `proxy` | the server is connected to; `local`: it is on this machine; `proxy`: `null`, or `host:port` |
//! | `server-away` | `why`, `code`, `next_step`, `silent_ms`, `retry_in_ms` | the server cannot be reached; tried again by itself. `code` is `null` unless connecting failed or the server lets no one in for now (then it is the server's own, as in `refused`), `next_step` unless something is known to help. `silent_ms`: how long nothing had come on a connection that is lost |
//! | `refused` | `code`, `message`, `next_step`, `retry_after_ms` | the server does not let this peer in; `error` and `summary` follow |
//! | `replaced` | | joined from somewhere else with this identity; `error` and `summary` follow |
//! | `warned` | `code`, `message`, `text` | something was refused; the stay goes on; `text` is the written message, if that was refused and the server says which, else null |
//! | `group-refused` | `group` | a talk group was refused |
//! | `device-lost` | `device`, `why` | `device`: `input`, `output`; it is looked for by itself |
//! | `device-recovered` | `device` | it works again |
//! | `device-changed` | `device` | the microphone or speaker asked for is in use from now on |
//! | `device-refused` | `device`, `why` | the microphone or speaker asked for cannot be used; the one in use stays |
//! | `recording` | `recording` | the recording that this peer keeps has begun, and everyone can see that (`true`), or has ended (`false`) |
//! | `recording-failed` | `why` | a recording could not be begun, because the others could not see it, or has ended; the stay goes on |
//! | `left` | | this peer has left |
//! | `notice` | `message` | the answer to a typed command; and that a recording has begun, which everyone can see by then |
//! | `status` | as `summary`, without `reason` and `exit_code` | with `--status-interval`, and for `/who`; only peers that are present |
//! | `error` | `exit_code`, `message`, `next_step` | the command fails; the same sentence is on standard error. `next_step`: the part of it that helps, or `null` |
//! | `summary` | see below | last line; missing only if joining could not even begin |
//!
//! `summary`: `reason` (`quit`, `interrupted`, `duration`, `input-ended`, `refused`, `replaced`,
//! `gave-up`, `failed`), `exit_code`, `you`, `mode`, `connected`, `server_answers` (while it does
//! not, nothing is known to arrive through it), `locked` (newcomers are not let in), `muted`,
//! `deafened`, `listening_only` (there is no microphone), `permissions` (as in
//! `permissions-changed`), `joined_ms`, `connected_ms` (both of the first time), `joins`,
//! `frames_spoken`, `server_connection` (as `server-connected`, or `null` before the first),
//! `recording`, `talking`, `microphone` (`level_dbfs`, `peak_dbfs`, `noise_floor_dbfs`, `clipping`,
//! `speech_probability`, `sending`), `sending` (`bitrate_bps`, `worst_loss`, `copies`,
//! `uplink_bps`, `frames_per_packet`, `uplink_estimate_bps` (null while no limit was met),
//! `upload_too_slow`), and `peers`: everyone who was ever there, as last seen, at most a tenth of a
//! second before it left. Of each: `peer`, `name`, `label` (the name, and `#` with the beginning of
//! the id if it looks like another's), `present`, `route`, `round_trip_ms`, `speaking`,
//! `level_dbfs`, `frames_received`, `frames_heard`, `frames_concealed`, `frames_from_copies` and
//! `frames_repaired` (lost, and heard all the same), `buffer_ms` (how long its frames lately waited
//! to be heard), `loss` (lost on the way lately, before any repair, 0 to 1), `delay_ms` (from its
//! microphone to this speaker, measured), `recording`, `gain` (1 is as spoken), `muted` (not heard,
//! by one's own choice), `groups` (the talk groups it listens to, as far as they are known),
//! `status` and `permissions` (as in `status-changed` and `permissions-changed`), `first_heard_ms`,
//! `direct_ms` (the first moments of both).
//!
//! In a call over a host (`voicemesh host`, and `join` with a link to one) `server` and `room` of
//! `joining`, and `room` of `joined`, are the host's address and port without the key, at the host
//! `your call`; `server-away` is about the host; and nothing is said of what needs a server.
//!
//! `voicemesh mic --json` prints `microphone` with the keys of the same name above, ten times a
//! second, `notice` when the device is lost or back, and `summary` at the end: `seconds`,
//! `peak_dbfs`, `noise_floor_dbfs`, `speech_dbfs` (`null` if none was recognized),
//! `clipped_seconds`, `sent_seconds` and `advice`, a list of sentences.
//!
//! `voicemesh loopback --json` prints `loopback` once a second: `level_dbfs`, `sending`,
//! `loss_percent`, `buffer_ms`, `mouth_to_ear_ms` (`null` while nothing is heard), `bitrate_bps`,
//! `copies`; `notice` as above, and `summary` at the end: `frames_sent`, `frames_lost`,
//! `frames_late`, `frames_from_copies`, `frames_repaired`, `frames_concealed`, `concealed_ms`,
//! `stretched_ms`, `copies_sent`, `mean_packet_bytes`, `mean_buffer_ms`, `mouth_to_ear_ms`.
//!
//! `voicemesh devices --json` prints one `devices`: `inputs` and `outputs`, each a list of `name`
//! (for `--input` and `--output`), `description` and `default` (used when none is named), and `why`
//! there are no inputs or no outputs, a sentence, or `null` if there are both.
//!
//! Where one of these fails, its last line is `error`, as above. An option or a value that is not
//! understood is found before anything is printed, whatever the command: standard output stays
//! empty, the reason is on standard error, and the exit code is 2.
//!
//! With `--json`, standard input takes the same lines as without: text, or
//! [commands](crate::slash).

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use voicemesh::{
    ConnectFailure, DeviceEvent, DeviceRole, Event, MemberEncryption, MemberStatus,
    MicrophoneState, OwnerRightState, PeerId, PeerLeftReason, RoomEvent, Route, ServerConnection,
    TimedEvent, VoiceEvent,
};

use crate::end::End;
use crate::exit::Failure;
use crate::human::refusal_step;
use crate::people::People;
use crate::reach::next_step;
use crate::summary::{Seen, Summary};

/// One line. `event` and `at_ms` come first, for eyes.
#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    at_ms: f64,
    #[serde(flatten)]
    rest: Value,
}

fn line(event: &str, at: Duration, rest: Value) -> String {
    let line = Line { event, at_ms: millis(at), rest };
    // Only a map whose keys are no text can fail, and there is none.
    serde_json::to_string(&line).unwrap_or_default()
}

/// What happened in the room.
pub fn event(stamped: &TimedEvent, people: &People) -> String {
    line(stamped.event.kind().name(), stamped.at, said(&stamped.event, people))
}

/// The first line.
pub fn joining(server: &str, room: &str, name: &str, relay_only: bool, end_to_end: bool) -> String {
    let rest = json!({ "server": server, "room": room, "name": name, "relay_only": relay_only, "end_to_end": end_to_end });
    line("joining", Duration::ZERO, rest)
}

/// The answer to a typed command.
pub fn notice(at: Duration, message: &str) -> String {
    line("notice", at, json!({ "message": message }))
}

/// The command fails.
pub fn error(at: Duration, failure: &Failure) -> String {
    line(
        "error",
        at,
        json!({ "exit_code": failure.exit.code(), "message": failure.message, "next_step": failure.next_step }),
    )
}

/// The situation now.
pub fn status(at: Duration, summary: &Summary) -> String {
    line("status", at, Value::Object(situation(summary, |seen| seen.left_at.is_none())))
}

/// The last line.
pub fn summary(at: Duration, summary: &Summary, end: End) -> String {
    let mut rest = situation(summary, |_| true);
    rest.insert("reason".to_owned(), end.as_str().into());
    rest.insert("exit_code".to_owned(), end.exit().code().into());
    line("summary", at, Value::Object(rest))
}

/// As on the wire.
fn state_name(state: OwnerRightState) -> &'static str {
    match state {
        OwnerRightState::Held => "held",
        OwnerRightState::Later => "later",
        OwnerRightState::None => "none",
        OwnerRightState::Unknown => "unknown",
    }
}

/// What an event says, beside its name.
fn said(event: &Event, people: &People) -> Value {
    let of = |peer: &PeerId| json!({ "peer": peer.to_string(), "name": people.raw_name(*peer) });
    match event {
        Event::Room(RoomEvent::Joined { you, name, room, session, others, relay_only }) => {
            let you = you.to_string();
            json!({
                "you": you, "name": name, "room": room, "session": session, "others": others, "relay_only": relay_only,
            })
        }
        Event::Room(RoomEvent::Connected) => json!({}),
        Event::Room(RoomEvent::PeerJoined { peer, name, metadata }) => {
            json!({ "peer": peer.to_string(), "name": name, "metadata": metadata })
        }
        Event::Room(RoomEvent::PeerLeft { peer, name, reason }) => {
            json!({ "peer": peer.to_string(), "name": name, "reason": reason_name(*reason) })
        }
        Event::Room(RoomEvent::MetadataChanged { peer, metadata }) => {
            with(of(peer), "metadata", json!(metadata))
        }
        Event::Room(RoomEvent::PermissionsChanged { peer, permissions }) => {
            with(of(peer), "permissions", json!(permissions))
        }
        Event::Room(RoomEvent::StatusChanged { peer, status }) => {
            with(of(peer), "status", member_status(*status))
        }
        Event::Room(RoomEvent::RouteChanged { peer, route }) => {
            with(of(peer), "route", route_name(*route).into())
        }
        Event::Voice(VoiceEvent::FirstHeard { peer }) => of(peer),
        Event::Voice(VoiceEvent::Speaking { peer, speaking }) => {
            with(of(peer), "speaking", (*speaking).into())
        }
        Event::Room(RoomEvent::Text { from, name, private, group, text }) => {
            json!({ "peer": from.to_string(), "name": name, "private": private, "group": group, "text": text })
        }
        Event::Room(RoomEvent::ServerConnected(connection)) => server_connection(connection),
        Event::Room(RoomEvent::ServerAway { why, failure, silent_for, retry_in }) => {
            let code = failure.as_ref().map(ConnectFailure::code);
            let next_step = failure.as_ref().and_then(next_step);
            let (silent_ms, retry_in_ms) = (millis(*silent_for), millis(*retry_in));
            json!({
                "why": why, "code": code, "next_step": next_step, "silent_ms": silent_ms, "retry_in_ms": retry_in_ms,
            })
        }
        Event::Room(RoomEvent::Refused { code, message, retry_after }) => {
            let retry_after_ms = retry_after.map(millis);
            let (code, next_step) = (code.as_str(), refusal_step(code));
            json!({ "code": code, "message": message, "next_step": next_step, "retry_after_ms": retry_after_ms })
        }
        Event::Room(RoomEvent::OwnerChanged { owner }) => of(owner),
        Event::Room(RoomEvent::EncryptionChanged { peer, encryption, encrypted_before }) => {
            let event = with(of(peer), "encryption", encryption.name().into());
            let event = with(event, "encrypted_before", (*encrypted_before).into());
            match encryption {
                MemberEncryption::Refused(error) => {
                    with(event, "message", error.to_string().into())
                }
                _ => event,
            }
        }
        Event::Room(RoomEvent::RoomMetadataChanged { metadata }) => json!({ "metadata": metadata }),
        Event::Room(RoomEvent::ReachabilityChanged { token }) => json!({ "token": token }),
        Event::Room(RoomEvent::Replaced) => json!({}),
        Event::Room(RoomEvent::Warned { code, message, text }) => {
            json!({ "code": code.as_str(), "message": message, "text": text })
        }
        Event::Room(RoomEvent::Moved { groups }) => json!({ "groups": groups }),
        Event::Room(RoomEvent::Held { peer, groups }) => with(of(peer), "groups", json!(groups)),
        Event::Room(RoomEvent::RoomLocked { locked }) => json!({ "locked": locked }),
        Event::Room(RoomEvent::TransactionDone { result, .. }) => {
            let (code, message) = match result {
                Ok(()) => (None, None),
                Err(error) => (Some(error.code.as_str()), Some(error.message.as_str())),
            };
            json!({ "code": code, "message": message })
        }
        Event::Room(RoomEvent::RoomPassword { change }) => json!({ "change": change.name() }),
        Event::Room(RoomEvent::OwnerRight { state }) => json!({ "state": state_name(*state) }),
        Event::Voice(VoiceEvent::GroupRefused { group }) => json!({ "group": group }),
        Event::Device(DeviceEvent::Lost { which, why } | DeviceEvent::Refused { which, why }) => {
            json!({ "device": device_name(*which), "why": why })
        }
        Event::Device(DeviceEvent::Recovered { which }) => json!({ "device": device_name(*which) }),
        Event::Device(DeviceEvent::Changed { which }) => json!({ "device": device_name(*which) }),
        Event::Voice(VoiceEvent::Recording { recording }) => json!({ "recording": recording }),
        Event::Voice(VoiceEvent::RecordingFailed { why }) => json!({ "why": why }),
        Event::Room(RoomEvent::Left) => json!({}),
        Event::Room(RoomEvent::ConnectionRequested { peer }) => of(peer),
        // Messages and channels, which a person does not see, and events that are newer than this
        // command.
        _ => json!({}),
    }
}

fn situation(summary: &Summary, wanted: impl Fn(&Seen) -> bool) -> Map<String, Value> {
    let snapshot = &summary.snapshot;
    let peers =
        summary.peers().filter(|(_, seen)| wanted(seen)).map(|(peer, seen)| peer_state(peer, seen));
    let value = json!({
        "you": snapshot.you.map(|you| you.to_string()),
        "mode": snapshot.mode,
        "connected": snapshot.connected,
        "server_answers": snapshot.server_answers,
        "locked": summary.locked,
        "muted": snapshot.muted,
        "deafened": snapshot.deafened,
        "listening_only": snapshot.listening_only,
        "permissions": snapshot.permissions,
        "joined_ms": summary.joined_at.map(millis),
        "connected_ms": summary.connected_at.map(millis),
        "joins": summary.joins,
        "frames_spoken": snapshot.frames_spoken,
        "server_connection": snapshot.server_connection.as_ref().map(server_connection),
        "recording": snapshot.recording,
        "talking": snapshot.talking,
        "microphone": microphone(&snapshot.microphone),
        "sending": {
            "bitrate_bps": snapshot.sending.bitrate_bps,
            "worst_loss": rounded(snapshot.sending.worst_loss, 3),
            "copies": snapshot.sending.copies,
            "uplink_bps": snapshot.sending.uplink_bps,
            "frames_per_packet": snapshot.sending.frames_per_packet,
            "uplink_estimate_bps": snapshot.sending.uplink_estimate_bps,
            "upload_too_slow": snapshot.sending.upload_too_slow,
        },
        "peers": peers.collect::<Vec<Value>>(),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn server_connection(connection: &ServerConnection) -> Value {
    json!({ "encrypted": connection.encrypted, "local": connection.local, "proxy": connection.proxy })
}

/// What the microphone gives.
fn microphone(state: &MicrophoneState) -> Value {
    json!({
        "level_dbfs": rounded(state.level_dbfs, 1),
        "peak_dbfs": rounded(state.peak_dbfs, 1),
        "noise_floor_dbfs": rounded(state.noise_floor_dbfs, 1),
        "clipping": state.clipping,
        "speech_probability": rounded(state.speech_probability, 3),
        "sending": state.sending,
    })
}

/// A line of `voicemesh mic`.
pub(crate) fn microphone_line(at: Duration, state: &MicrophoneState) -> String {
    line("microphone", at, microphone(state))
}

/// A line of a command's own.
pub(crate) fn own_line(event: &str, at: Duration, rest: Value) -> String {
    line(event, at, rest)
}

/// To so many digits behind the point.
pub(crate) fn rounded(value: f32, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (f64::from(value) * unit).round() / unit
}

fn peer_state(peer: PeerId, seen: &Seen) -> Value {
    let state = seen.state.as_ref();
    json!({
        "peer": peer.to_string(),
        "name": seen.name,
        "label": state.map_or(&seen.name, |state| &state.label),
        "present": seen.left_at.is_none(),
        "route": route_name(state.map_or(Route::None, |state| state.route)),
        "round_trip_ms": state.and_then(|state| state.round_trip).map(millis),
        "speaking": state.is_some_and(|state| state.speaking),
        "level_dbfs": state.and_then(|state| state.level_dbfs).map(|level| rounded(level, 1)),
        "frames_received": state.map_or(0, |state| state.frames_received),
        "frames_heard": state.map_or(0, |state| state.frames_heard),
        "frames_concealed": state.map_or(0, |state| state.frames_concealed),
        "frames_from_copies": state.map_or(0, |state| state.frames_from_copies),
        "frames_repaired": state.map_or(0, |state| state.frames_repaired),
        "buffer_ms": state.map(|state| millis(state.buffer)),
        "loss": state.map(|state| rounded(state.loss, 3)),
        "delay_ms": state.and_then(|state| state.delay).map(millis),
        "recording": state.is_some_and(|state| state.recording),
        "gain": state.map(|state| rounded(state.gain, 2)),
        "groups": state.map(|state| &state.groups[..]),
        "muted": state.is_some_and(|state| state.muted),
        "status": state.map(|state| member_status(state.status)),
        "permissions": state.map(|state| state.permissions),
        "first_heard_ms": seen.first_heard_at.map(millis),
        "direct_ms": seen.direct_at.map(millis),
    })
}

fn member_status(status: MemberStatus) -> Value {
    let MemberStatus { muted, deafened, listening_only, recording } = status;
    json!({ "muted": muted, "deafened": deafened, "listening_only": listening_only, "recording": recording })
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}

/// To the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn route_name(route: Route) -> &'static str {
    match route {
        Route::None => "none",
        Route::Relayed => "relayed",
        Route::Direct => "direct",
    }
}

fn reason_name(reason: PeerLeftReason) -> &'static str {
    match reason {
        PeerLeftReason::Left => "left",
        PeerLeftReason::Kicked => "kicked",
        PeerLeftReason::Lost => "lost",
        PeerLeftReason::Restarted => "restarted",
        _ => "unknown",
    }
}

fn device_name(which: DeviceRole) -> &'static str {
    match which {
        DeviceRole::Input => "input",
        DeviceRole::Output => "output",
    }
}

#[cfg(test)]
mod tests {
    use voicemesh::{AnnouncementError, ErrorCode, Metadata, Snapshot};

    use super::*;
    use crate::exit::Exit;
    use crate::people::tests::{arrival, peer, people};
    use crate::summary::tests::{at, joined, state};

    const BEN: &str = "00010000-0000-0000-0000-000000000000";

    /// The line without `event` and `at_ms`, which are checked.
    fn rest(name: &str, event: Event) -> Value {
        let line = super::event(&at(1500, event), &people(&[(1, "Ben")]));
        assert!(line.starts_with(&format!("{{\"event\":\"{name}\",\"at_ms\":1500.0")), "{line}");
        assert!(!line.contains('\n'), "{line}");
        let Value::Object(mut map) = serde_json::from_str(&line).expect("JSON") else {
            panic!("{line}")
        };
        map.remove("event");
        map.remove("at_ms");
        Value::Object(map)
    }

    #[test]
    fn joining_and_the_session() {
        let you = "aaaa0000-0000-0000-0000-000000000000";
        let expected = json!({ "you": you, "name": "Ada", "room": "lobby", "session": 7, "others": 1, "relay_only": false });
        assert_eq!(rest("joined", joined()), expected);
        assert_eq!(rest("connected", Event::Room(RoomEvent::Connected)), json!({}));
        assert_eq!(rest("left", Event::Room(RoomEvent::Left)), json!({}));
        assert_eq!(rest("replaced", Event::Room(RoomEvent::Replaced)), json!({}));
    }

    #[test]
    fn the_others() {
        let metadata = Metadata::from([("kind".to_owned(), "echo".to_owned())]);
        let came = Event::Room(RoomEvent::PeerJoined {
            peer: peer(1),
            name: "Ben".into(),
            metadata: metadata.clone(),
        });
        assert_eq!(
            rest("peer-joined", came),
            json!({ "peer": BEN, "name": "Ben", "metadata": { "kind": "echo" } })
        );
        let changed = Event::Room(RoomEvent::MetadataChanged { peer: peer(1), metadata });
        assert_eq!(
            rest("metadata-changed", changed),
            json!({ "peer": BEN, "name": "Ben", "metadata": { "kind": "echo" } })
        );
        let encryption = |encryption| {
            let changed =
                RoomEvent::EncryptionChanged { peer: peer(1), encryption, encrypted_before: true };
            rest("encryption-changed", Event::Room(changed))
        };
        assert_eq!(
            encryption(MemberEncryption::Encrypted { verified: true }),
            json!({ "peer": BEN, "name": "Ben", "encryption": "verified", "encrypted_before": true })
        );
        let refused = encryption(MemberEncryption::Refused(AnnouncementError::NotAuthentic));
        assert_eq!(refused["encryption"], "refused");
        assert_eq!(refused["message"], AnnouncementError::NotAuthentic.to_string());
        for (reason, name) in [
            (PeerLeftReason::Left, "left"),
            (PeerLeftReason::Kicked, "kicked"),
            (PeerLeftReason::Lost, "lost"),
            (PeerLeftReason::Restarted, "restarted"),
        ] {
            let gone =
                Event::Room(RoomEvent::PeerLeft { peer: peer(1), name: "Ben".into(), reason });
            assert_eq!(
                rest("peer-left", gone),
                json!({ "peer": BEN, "name": "Ben", "reason": name })
            );
        }
        for (route, name) in
            [(Route::Direct, "direct"), (Route::Relayed, "relayed"), (Route::None, "none")]
        {
            let changed = Event::Room(RoomEvent::RouteChanged { peer: peer(1), route });
            assert_eq!(
                rest("route-changed", changed),
                json!({ "peer": BEN, "name": "Ben", "route": name })
            );
        }
    }

    #[test]
    fn what_they_say_and_write() {
        assert_eq!(
            rest("first-heard", Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) })),
            json!({ "peer": BEN, "name": "Ben" })
        );
        let speaking = Event::Voice(VoiceEvent::Speaking { peer: peer(1), speaking: true });
        assert_eq!(
            rest("speaking", speaking),
            json!({ "peer": BEN, "name": "Ben", "speaking": true })
        );
        let text = "two\nlines \u{1b}[2J \"quoted\"";
        let written = Event::Room(RoomEvent::Text {
            from: peer(1),
            name: "Ben".into(),
            private: true,
            group: None,
            text: text.into(),
        });
        assert_eq!(
            rest("text", written),
            json!({ "peer": BEN, "name": "Ben", "private": true, "group": null, "text": text })
        );
        let status = MemberStatus { muted: true, ..MemberStatus::default() };
        let changed =
            rest("status-changed", Event::Room(RoomEvent::StatusChanged { peer: peer(1), status }));
        assert_eq!(
            changed["status"],
            json!({ "muted": true, "deafened": false, "listening_only": false, "recording": false })
        );
    }

    #[test]
    fn troubles() {
        let retry_in = Duration::from_millis(2500);
        let away = |why: &str, failure, silent_for| {
            Event::Room(RoomEvent::ServerAway {
                why: why.to_owned(),
                failure,
                silent_for,
                retry_in,
            })
        };
        let expected = json!({
            "why": "no route", "code": null, "next_step": null, "silent_ms": 16000.0, "retry_in_ms": 2500.0,
        });
        assert_eq!(rest("server-away", away("no route", None, Duration::from_secs(16))), expected);
        let step = "Open any page in a browser and sign in.";
        let expected = json!({
            "why": "sign in", "code": "sign-in-required", "next_step": step, "silent_ms": 0.0, "retry_in_ms": 2500.0,
        });
        let failure = Some(ConnectFailure::SignInRequired);
        assert_eq!(rest("server-away", away("sign in", failure, Duration::ZERO)), expected);
        let connected = Event::Room(RoomEvent::ServerConnected(ServerConnection::new(
            false,
            true,
            Some("proxy:1".into()),
        )));
        let expected = json!({ "encrypted": false, "local": true, "proxy": "proxy:1" });
        assert_eq!(rest("server-connected", connected), expected);
        let refused = Event::Room(RoomEvent::Refused {
            code: ErrorCode::RoomFull,
            message: "full".into(),
            retry_after: None,
        });
        let full = json!({ "code": "room-full", "message": "full", "next_step": "Try again later, or take another room.", "retry_after_ms": null });
        assert_eq!(rest("refused", refused), full);
        let retry_after = Some(Duration::from_secs(4));
        let guessed = Event::Room(RoomEvent::Refused {
            code: ErrorCode::PasswordWait,
            message: "wait".into(),
            retry_after,
        });
        let wait = json!({ "code": "password-wait", "message": "wait", "next_step": "Wait a while, then try again.", "retry_after_ms": 4000.0 });
        assert_eq!(rest("refused", guessed), wait);
        let warned = Event::Room(RoomEvent::Warned {
            code: ErrorCode::Other("new".into()),
            message: "odd".into(),
            text: None,
        });
        assert_eq!(
            rest("warned", warned),
            json!({ "code": "new", "message": "odd", "text": null })
        );
        assert_eq!(
            rest("group-refused", Event::Voice(VoiceEvent::GroupRefused { group: "Red".into() })),
            json!({ "group": "Red" })
        );
        let lost =
            Event::Device(DeviceEvent::Lost { which: DeviceRole::Input, why: "unplugged".into() });
        assert_eq!(rest("device-lost", lost), json!({ "device": "input", "why": "unplugged" }));
        let failed = Event::Voice(VoiceEvent::RecordingFailed { why: "disk full".into() });
        assert_eq!(rest("recording-failed", failed), json!({ "why": "disk full" }));
        let back = Event::Device(DeviceEvent::Recovered { which: DeviceRole::Output });
        assert_eq!(rest("device-recovered", back), json!({ "device": "output" }));
        let refused = Event::Device(DeviceEvent::Refused {
            which: DeviceRole::Output,
            why: "it is in use".into(),
        });
        assert_eq!(
            rest("device-refused", refused),
            json!({ "device": "output", "why": "it is in use" })
        );
    }

    #[test]
    fn the_commands_own_lines() {
        let value = |line: String| serde_json::from_str::<Value>(&line).expect("JSON");
        let failure = Failure {
            next_step: Some("Plug one in.".into()),
            ..Failure::new(Exit::Device, "there is none")
        };
        let expected = json!({ "event": "error", "at_ms": 1.5, "exit_code": 5, "message": "there is none", "next_step": "Plug one in." });
        assert_eq!(value(error(Duration::from_micros(1500), &failure)), expected);
        let expected = json!({ "event": "notice", "at_ms": 2000.0, "message": "Muted." });
        assert_eq!(value(notice(Duration::from_secs(2), "Muted.")), expected);
        let first = value(joining("ws://x", "lobby", "Ada", true, false));
        assert_eq!(
            (&first["event"], &first["at_ms"], &first["relay_only"], &first["end_to_end"]),
            (&json!("joining"), &json!(0.0), &json!(true), &json!(false))
        );
    }

    #[test]
    fn status_and_summary_say_everything_about_everyone() {
        let mut summary = Summary::new();
        summary.event(&at(10, joined()));
        summary.event(&at(20, Event::Room(RoomEvent::Connected)));
        summary.event(&at(30, arrival(1, "Ben")));
        summary.event(&at(30, arrival(2, "Cleo")));
        summary.event(&at(60, Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) })));
        let snapshot =
            Snapshot { mode: "client", connected: true, frames_spoken: 50, ..Snapshot::default() };
        summary.observe(Snapshot {
            you: Some(peer(0xaaaa)),
            peers: vec![state(1, "Ben"), state(2, "Cleo")],
            ..snapshot
        });
        summary.event(&at(
            70,
            Event::Room(RoomEvent::PeerLeft {
                peer: peer(2),
                name: "Cleo".into(),
                reason: PeerLeftReason::Left,
            }),
        ));

        let now = Duration::from_millis(100);
        let value = |line: String| serde_json::from_str::<Value>(&line).expect("JSON");
        let (status, summary) =
            (value(status(now, &summary)), value(super::summary(now, &summary, End::Duration)));
        assert_eq!(status["peers"].as_array().map(Vec::len), Some(1), "only who is present");
        let ben = json!({
            "peer": BEN, "name": "Ben", "label": "Ben", "present": true, "route": "direct", "round_trip_ms": 12.345, "speaking": true,
            "level_dbfs": -20.0, "frames_received": 500, "frames_heard": 495, "frames_concealed": 5, "frames_from_copies": 2, "frames_repaired": 1, "buffer_ms": 40.0,
            "loss": 0.0, "delay_ms": null, "recording": false, "gain": 1.0, "groups": ["Global"], "muted": false,
            "status": { "muted": false, "deafened": false, "listening_only": false, "recording": false },
            "permissions": ["speak", "listen", "data"],
            "first_heard_ms": 60.0, "direct_ms": null,
        });
        assert_eq!(summary["peers"][0], ben);
        assert_eq!(summary["peers"][1]["present"], json!(false));
        for (key, expected) in [
            ("reason", json!("duration")),
            ("exit_code", json!(0)),
            ("mode", json!("client")),
            ("connected", json!(true)),
            ("server_answers", json!(false)),
            ("joined_ms", json!(10.0)),
            ("connected_ms", json!(20.0)),
            ("joins", json!(1)),
            ("frames_spoken", json!(50)),
            ("recording", json!(false)),
            ("server_connection", json!(null)),
            ("talking", json!(false)),
            (
                "sending",
                json!({
                    "bitrate_bps": 0, "worst_loss": 0.0, "copies": 0, "uplink_bps": 0, "frames_per_packet": 0,
                    "uplink_estimate_bps": null, "upload_too_slow": false,
                }),
            ),
        ] {
            assert_eq!(summary[key], expected, "{key}");
        }
    }
}
