//! What happened, in a structure that the caller owns; its texts belong to the handle, until the
//! next poll.

use std::ffi::c_char;
use std::mem::{offset_of, size_of};
use std::time::Duration;

use voicemesh::{
    Bytes, DataEvent, DeviceEvent, DeviceRole, ErrorCode, Event, MemberStatus, Metadata,
    OwnerRightState, PasswordChange, PeerId, PeerLeftReason, Permissions, Reliability, RoomEvent,
    Route, TimedEvent, VoiceEvent,
};

use crate::memory::{Plain, Sized32};
use crate::vmesh_event_type as of;
use crate::{
    vmesh_device_role, vmesh_leave_reason, vmesh_pair, vmesh_peer_id, vmesh_permission,
    vmesh_reliability, vmesh_route, vmesh_status, vmesh_string,
};

/// What happened. Which fields count stands at the vmesh_event_type; the others are 0, empty or
/// null.
///
/// The program owns the structure. What its texts and data point to belongs to the handle, and
/// stays as it is until the next vmesh_events_poll on that handle, or vmesh_room_close.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_event {
    /// sizeof(vmesh_event), set by the program before the first vmesh_events_poll; it stays.
    pub size: u32,
    /// A vmesh_event_type.
    pub r#type: i32,
    /// When, in microseconds since vmesh_room_join.
    pub at_us: u64,
    /// Whom it is about or from.
    pub peer: vmesh_peer_id,
    /// The name that is shown of a peer; a room's or a group's name.
    pub name: vmesh_string,
    /// What was written; why something happened, for people.
    pub text: vmesh_string,
    /// Why something was refused, for programs: "room-missing", "room-full" and so on.
    pub code: vmesh_string,
    /// Bytes of a message; null if there are none.
    pub data: *const u8,
    /// How many.
    pub data_length: usize,
    /// What a peer publishes, ordered by key; null if there is nothing.
    pub metadata: *const vmesh_pair,
    /// How many pairs.
    pub metadata_count: usize,
    /// When something is tried again, in microseconds from the event.
    pub wait_us: u64,
    /// Reliable bytes of which it is not known that they arrived.
    pub undelivered_bytes: u64,
    /// The number that vmesh_lobby_set_metadata or vmesh_lobby_set_room_metadata gave.
    pub transaction: u64,
    /// The session's number.
    pub session: u32,
    /// How many.
    pub count: u32,
    /// Whether: see the event's type.
    pub on: i32,
    /// A vmesh_route.
    pub route: i32,
    /// A vmesh_leave_reason.
    pub reason: i32,
    /// A vmesh_device_role.
    pub device: i32,
    /// A data channel's number.
    pub channel: i32,
    /// A vmesh_reliability.
    pub reliability: i32,
    /// The other side's vmesh_reliability.
    pub theirs: i32,
    /// Bits of vmesh_status.
    pub status: i32,
    /// Talk groups; null if there are none.
    pub groups: *const vmesh_string,
    /// How many.
    pub group_count: usize,
}

// SAFETY: numbers and raw pointers.
unsafe impl Plain for vmesh_event {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_event {
    const FIRST: usize = offset_of!(vmesh_event, status) + size_of::<i32>();
}

const NOTHING: vmesh_string = vmesh_string { data: c"".as_ptr(), length: 0 };

pub(crate) const NONE: vmesh_event = vmesh_event {
    size: size_of::<vmesh_event>() as u32,
    r#type: of::VMESH_EVENT_NONE as i32,
    at_us: 0,
    peer: vmesh_peer_id { bytes: [0; 16] },
    name: NOTHING,
    text: NOTHING,
    code: NOTHING,
    data: std::ptr::null(),
    data_length: 0,
    metadata: std::ptr::null(),
    metadata_count: 0,
    wait_us: 0,
    undelivered_bytes: 0,
    transaction: 0,
    session: 0,
    count: 0,
    on: 0,
    route: 0,
    reason: 0,
    device: 0,
    channel: 0,
    reliability: 0,
    theirs: 0,
    status: 0,
    groups: std::ptr::null(),
    group_count: 0,
};

/// What the event that was given last points to. Its memory is used again for the next one.
#[derive(Default)]
pub(crate) struct Current {
    name: Vec<u8>,
    text: Vec<u8>,
    code: Vec<u8>,
    /// Keys and values, each with its NUL.
    entries: Vec<u8>,
    pairs: Vec<vmesh_pair>,
    /// Names in `entries`.
    groups: Vec<vmesh_string>,
    /// A message as it came; not copied.
    data: Bytes,
}

// SAFETY: the pairs and groups point into `entries` of the same Current, which only `&mut self`
// changes.
unsafe impl Send for Current {}

impl Current {
    /// Keeps what the event consists of, and gives it as the caller shall see it.
    pub(crate) fn keep(&mut self, timed: TimedEvent) -> vmesh_event {
        self.fill(timed.event, vmesh_event { at_us: micros(timed.at), ..NONE })
    }

    /// Nothing: what was kept can go.
    pub(crate) fn clear(&mut self) -> vmesh_event {
        self.pairs.clear();
        self.groups.clear();
        self.data = Bytes::new();
        NONE
    }

    fn fill(&mut self, event: Event, blank: vmesh_event) -> vmesh_event {
        let blank = vmesh_event { r#type: event.kind().number(), ..blank };
        let about = |peer: PeerId| vmesh_event { peer: peer.into(), ..blank };
        match event {
            Event::Room(RoomEvent::Joined { you, name, room, session, others, relay_only }) => {
                vmesh_event {
                    name: hold(&mut self.name, &room),
                    text: hold(&mut self.text, &name),
                    session,
                    count: u32::try_from(others).unwrap_or(u32::MAX),
                    on: relay_only.into(),
                    ..about(you)
                }
            }
            Event::Room(RoomEvent::Connected) => blank,
            Event::Room(RoomEvent::PeerJoined { peer, name, metadata }) => {
                let event = vmesh_event { name: hold(&mut self.name, &name), ..about(peer) };
                self.with_metadata(&metadata, event)
            }
            Event::Room(RoomEvent::PeerLeft { peer, name, reason }) => vmesh_event {
                name: hold(&mut self.name, &name),
                reason: reason_number(reason) as i32,
                ..about(peer)
            },
            Event::Room(RoomEvent::MetadataChanged { peer, metadata }) => {
                self.with_metadata(&metadata, about(peer))
            }
            Event::Room(RoomEvent::RouteChanged { peer, route }) => {
                vmesh_event { route: route_number(route) as i32, ..about(peer) }
            }
            Event::Voice(VoiceEvent::FirstHeard { peer }) => about(peer),
            Event::Voice(VoiceEvent::Speaking { peer, speaking }) => {
                vmesh_event { on: speaking.into(), ..about(peer) }
            }
            Event::Room(RoomEvent::Text { from, name, private, group, text }) => {
                let event = vmesh_event {
                    name: hold(&mut self.name, &name),
                    text: hold(&mut self.text, &text),
                    on: private.into(),
                    ..about(from)
                };
                self.with_groups(group.as_slice(), event)
            }
            Event::Room(RoomEvent::ServerConnected(connection)) => vmesh_event {
                name: hold(&mut self.name, connection.proxy.as_deref().unwrap_or_default()),
                on: connection.is_exposed().into(),
                ..blank
            },
            Event::Room(RoomEvent::ServerAway { why, failure, retry_in, .. }) => vmesh_event {
                code: hold(
                    &mut self.code,
                    failure.as_ref().map(voicemesh::ConnectFailure::code).unwrap_or_default(),
                ),
                text: hold(&mut self.text, &why),
                wait_us: micros(retry_in),
                ..blank
            },
            Event::Room(RoomEvent::Refused { code, message, retry_after }) => {
                let refused = vmesh_event {
                    on: retry_after.is_some().into(),
                    wait_us: retry_after.map_or(0, micros),
                    ..blank
                };
                self.with_code(&code, &message, refused)
            }
            Event::Room(RoomEvent::PermissionsChanged { peer, permissions }) => {
                let names = permissions.names().collect::<Vec<_>>().join(" ");
                vmesh_event { text: hold(&mut self.text, &names), ..about(peer) }
            }
            Event::Room(RoomEvent::StatusChanged { peer, status }) => {
                vmesh_event { status: status_bits(status), ..about(peer) }
            }
            Event::Room(RoomEvent::Moved { groups }) => self.with_groups(&groups, blank),
            Event::Room(RoomEvent::Held { peer, groups }) => self.with_groups(&groups, about(peer)),
            Event::Voice(VoiceEvent::Recording { recording }) => {
                vmesh_event { on: recording.into(), ..blank }
            }
            Event::Room(RoomEvent::RoomLocked { locked }) => {
                vmesh_event { on: locked.into(), ..blank }
            }
            Event::Room(RoomEvent::RoomPassword { change }) => vmesh_event {
                on: (change != PasswordChange::Removed).into(),
                code: hold(&mut self.code, change.name()),
                ..blank
            },
            Event::Room(RoomEvent::OwnerRight { state }) => {
                vmesh_event { code: hold(&mut self.code, right_name(state)), ..blank }
            }
            Event::Room(RoomEvent::TokenNeeded { code, message }) => {
                self.with_code(&code, &message, blank)
            }
            Event::Room(RoomEvent::OwnerChanged { owner }) => about(owner),
            Event::Room(RoomEvent::TransactionDone { transaction, result }) => {
                let done = vmesh_event { transaction: transaction.0, ..blank };
                match result {
                    Ok(()) => vmesh_event { on: 1, ..done },
                    Err(error) => self.with_code(&error.code, &error.message, done),
                }
            }
            Event::Room(RoomEvent::RoomMetadataChanged { metadata }) => {
                self.with_metadata(&metadata, blank)
            }
            Event::Room(RoomEvent::EncryptionChanged { peer, encryption, encrypted_before }) => {
                let code = hold(&mut self.code, encryption.name());
                vmesh_event { code, on: encrypted_before.into(), ..about(peer) }
            }
            Event::Room(RoomEvent::ReachabilityChanged { token }) => {
                vmesh_event { text: hold(&mut self.text, &token), ..blank }
            }
            Event::Room(RoomEvent::ConnectionRequested { peer }) => about(peer),
            Event::Room(RoomEvent::Replaced) => blank,
            Event::Room(RoomEvent::Warned { code, message, .. }) => {
                self.with_code(&code, &message, blank)
            }
            Event::Voice(VoiceEvent::GroupRefused { group }) => {
                vmesh_event { name: hold(&mut self.name, &group), ..blank }
            }
            Event::Device(
                DeviceEvent::Lost { which, why } | DeviceEvent::Refused { which, why },
            ) => vmesh_event {
                device: device_number(which) as i32,
                text: hold(&mut self.text, &why),
                ..blank
            },
            Event::Device(DeviceEvent::Recovered { which }) => {
                vmesh_event { device: device_number(which) as i32, ..blank }
            }
            Event::Device(DeviceEvent::Changed { which }) => {
                vmesh_event { device: device_number(which) as i32, ..blank }
            }
            Event::Voice(VoiceEvent::RecordingFailed { why }) => {
                vmesh_event { text: hold(&mut self.text, &why), ..blank }
            }
            Event::Data(DataEvent::Message { from, data, reliability }) => {
                self.with_data(data, reliability, about(from))
            }
            Event::Data(DataEvent::ChannelMessage { from, channel, data, reliability }) => {
                let event = vmesh_event { channel: channel.into(), ..about(from) };
                self.with_data(data, reliability, event)
            }
            Event::Data(DataEvent::ChannelOpened { peer, channel, reliability }) => vmesh_event {
                channel: channel.into(),
                reliability: number(reliability),
                ..about(peer)
            },
            Event::Data(DataEvent::ChannelMismatch { peer, channel, ours, theirs }) => {
                vmesh_event {
                    channel: channel.into(),
                    reliability: number(ours),
                    theirs: number(theirs),
                    ..about(peer)
                }
            }
            Event::Data(DataEvent::ChannelClosed { peer, channel }) => {
                vmesh_event { channel: channel.into(), ..about(peer) }
            }
            Event::Data(DataEvent::Disconnected { peer, undelivered_bytes }) => vmesh_event {
                undelivered_bytes: u64::try_from(undelivered_bytes).unwrap_or(u64::MAX),
                ..about(peer)
            },
            Event::Room(RoomEvent::Left) => blank,
            // The enum of the crate below may grow before this one does.
            other => vmesh_event {
                text: hold(&mut self.text, &format!("{other:?}")),
                r#type: of::VMESH_EVENT_OTHER as i32,
                ..blank
            },
        }
    }

    fn with_data(&mut self, data: Bytes, how: Reliability, event: vmesh_event) -> vmesh_event {
        self.data = data;
        vmesh_event {
            data: self.data.as_ptr(),
            data_length: self.data.len(),
            reliability: number(how),
            ..event
        }
    }

    fn with_code(&mut self, code: &ErrorCode, message: &str, event: vmesh_event) -> vmesh_event {
        vmesh_event {
            code: hold(&mut self.code, code.as_str()),
            text: hold(&mut self.text, message),
            ..event
        }
    }

    fn with_groups(&mut self, groups: &[String], event: vmesh_event) -> vmesh_event {
        self.groups.clear();
        self.hold_entries(groups.iter());
        let mut rest = self.entries.as_slice();
        for group in groups {
            self.groups
                .push(vmesh_string { data: rest.as_ptr().cast::<c_char>(), length: group.len() });
            rest = rest.get(group.len() + 1..).unwrap_or_default();
        }
        if self.groups.is_empty() {
            return event;
        }
        vmesh_event { groups: self.groups.as_ptr(), group_count: self.groups.len(), ..event }
    }

    /// Keeps all of them, each with its NUL: what is pointed to must not move any more.
    fn hold_entries<'a>(&mut self, texts: impl Iterator<Item = &'a String>) {
        self.entries.clear();
        for text in texts {
            self.entries.extend_from_slice(text.as_bytes());
            self.entries.push(0);
        }
    }

    fn with_metadata(&mut self, metadata: &Metadata, event: vmesh_event) -> vmesh_event {
        self.pairs.clear();
        self.hold_entries(metadata.iter().flat_map(|(key, value)| [key, value]));
        let mut rest = self.entries.as_slice();
        for (key, value) in metadata {
            let pair = [key, value].map(|text| {
                let string =
                    vmesh_string { data: rest.as_ptr().cast::<c_char>(), length: text.len() };
                rest = rest.get(text.len() + 1..).unwrap_or_default();
                string
            });
            self.pairs.push(vmesh_pair { key: pair[0], value: pair[1] });
        }
        if self.pairs.is_empty() {
            return event;
        }
        vmesh_event { metadata: self.pairs.as_ptr(), metadata_count: self.pairs.len(), ..event }
    }
}

fn right_name(state: OwnerRightState) -> &'static str {
    match state {
        OwnerRightState::Held => "held",
        OwnerRightState::Later => "later",
        OwnerRightState::None => "none",
        OwnerRightState::Unknown => "unknown",
    }
}

pub(crate) fn status_bits(status: MemberStatus) -> i32 {
    let MemberStatus { muted, deafened, listening_only, recording } = status;
    let bits = [
        (muted, vmesh_status::VMESH_STATUS_MUTED),
        (deafened, vmesh_status::VMESH_STATUS_DEAFENED),
        (listening_only, vmesh_status::VMESH_STATUS_LISTENING_ONLY),
        (recording, vmesh_status::VMESH_STATUS_RECORDING),
    ];
    bits.into_iter().filter(|(is_so, _)| *is_so).map(|(_, bit)| bit as i32).sum()
}

pub(crate) fn permission_bits(permissions: Permissions) -> i32 {
    let Permissions { speak, listen, data, moderate } = permissions;
    let bits = [
        (speak, vmesh_permission::VMESH_MAY_SPEAK),
        (listen, vmesh_permission::VMESH_MAY_LISTEN),
        (data, vmesh_permission::VMESH_MAY_SEND_DATA),
        (moderate, vmesh_permission::VMESH_MAY_MODERATE),
    ];
    bits.into_iter().filter(|(is_so, _)| *is_so).map(|(_, bit)| bit as i32).sum()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Keeps a text with its NUL.
fn hold(place: &mut Vec<u8>, text: &str) -> vmesh_string {
    place.clear();
    place.extend_from_slice(text.as_bytes());
    place.push(0);
    vmesh_string { data: place.as_ptr().cast(), length: text.len() }
}

pub(crate) fn route_number(route: Route) -> vmesh_route {
    match route {
        Route::None => vmesh_route::VMESH_ROUTE_NONE,
        Route::Relayed => vmesh_route::VMESH_ROUTE_RELAYED,
        Route::Direct => vmesh_route::VMESH_ROUTE_DIRECT,
    }
}

fn reason_number(reason: PeerLeftReason) -> vmesh_leave_reason {
    match reason {
        PeerLeftReason::Left => vmesh_leave_reason::VMESH_LEAVE_LEFT,
        PeerLeftReason::Kicked => vmesh_leave_reason::VMESH_LEAVE_KICKED,
        PeerLeftReason::Restarted => vmesh_leave_reason::VMESH_LEAVE_RESTARTED,
        // `Lost`, and what a later version may add.
        _ => vmesh_leave_reason::VMESH_LEAVE_LOST,
    }
}

fn device_number(which: DeviceRole) -> vmesh_device_role {
    match which {
        DeviceRole::Input => vmesh_device_role::VMESH_DEVICE_INPUT,
        DeviceRole::Output => vmesh_device_role::VMESH_DEVICE_OUTPUT,
    }
}

fn number(how: Reliability) -> i32 {
    match how {
        Reliability::Unreliable => vmesh_reliability::VMESH_UNRELIABLE as i32,
        Reliability::Reliable => vmesh_reliability::VMESH_RELIABLE as i32,
    }
}
