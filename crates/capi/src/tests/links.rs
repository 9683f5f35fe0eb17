//! Direct links of a game's own network, handed over as functions: a host, who only passes speech
//! on, and two clients, one of whom speaks to the other. The game's networking is a hub in this
//! process, called from one thread as a game calls it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_void};
use std::mem::size_of;
use std::time::{Duration, Instant};

use crate::network::{vmesh_network, vmesh_network_event};
use crate::options::{vmesh_options, vmesh_options_init};
use crate::over::{vmesh_over_new, vmesh_over_run, vmesh_over_update};
use crate::room::{vmesh_room, vmesh_room_close};
use crate::vmesh_network_event_type::{self, *};
use crate::vmesh_result::*;
use crate::{VMESH_NUL_TERMINATED, vmesh_mode, vmesh_string};

const HOST: usize = 0;
const SPEAKER: usize = 1;
const LISTENER: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// Types of packets (PROTOCOL.md, section 3).
const VOICE: [u8; 2] = [2, 35];
const HANDSHAKE_P2P: u8 = 11;

/// Something that waits to be received.
struct Arrival {
    kind: vmesh_network_event_type,
    from: usize,
    link: u32,
    packet: Vec<u8>,
}

/// What one player's functions are given.
struct Player {
    number: usize,
    hub: &'static RefCell<Hub>,
}

#[derive(Default)]
struct Hub {
    waiting: [VecDeque<Arrival>; 3],
    /// What was received last stays until the next call.
    current: [Vec<u8>; 3],
    /// The link between the clients, while there is one.
    link: Option<u32>,
    /// It takes nothing.
    is_refusing: bool,
    /// Speech by this link; handshakes by any.
    voice_on_link: [u32; 3],
    handshakes: u32,
    /// Speech that the host has sent to the listener.
    voice_to_listener: u32,
    released: Vec<(usize, u32)>,
}

impl Hub {
    fn put(&mut self, to: usize, kind: vmesh_network_event_type, from: usize, packet: &[u8]) {
        let link = self.link.unwrap_or_default();
        self.waiting[to].push_back(Arrival { kind, from, link, packet: packet.to_vec() });
    }

    /// Both ends learn of a link that opens, or has ended.
    fn report(&mut self, kind: vmesh_network_event_type, link: u32) {
        for (at, other) in [(SPEAKER, LISTENER), (LISTENER, SPEAKER)] {
            self.waiting[at].push_back(Arrival { kind, from: other, link, packet: Vec::new() });
        }
    }

    fn open_link(&mut self, link: u32) {
        self.link = Some(link);
        self.report(VMESH_NETWORK_LINK_UP, link);
    }

    fn end_link(&mut self, link: u32) {
        self.link = None;
        self.report(VMESH_NETWORK_LINK_DOWN, link);
    }
}

/// The context of each call is a player that lives on.
fn player(context: *mut c_void) -> &'static Player {
    // SAFETY: the test hands over players that live as long as the program.
    unsafe { &*context.cast::<Player>() }
}

/// The packet that a function is given.
fn given(packet: *const u8, length: usize) -> &'static [u8] {
    // SAFETY: the library's promise, for the length of the call.
    unsafe { std::slice::from_raw_parts(packet, length) }
}

unsafe extern "C" fn connect(context: *mut c_void) -> i32 {
    let Player { number, hub } = player(context);
    hub.borrow_mut().put(*number, VMESH_NETWORK_CONNECTED, HOST, &[]);
    0
}

unsafe extern "C" fn host(context: *mut c_void) -> i32 {
    let Player { number, hub } = player(context);
    hub.borrow_mut().put(*number, VMESH_NETWORK_HOSTING, HOST, &[]);
    0
}

unsafe extern "C" fn end(_: *mut c_void) {}

unsafe extern "C" fn to_server(
    context: *mut c_void,
    _: i32,
    packet: *const u8,
    length: usize,
) -> i32 {
    let Player { number, hub } = player(context);
    hub.borrow_mut().put(HOST, VMESH_NETWORK_FROM_CLIENT, *number, given(packet, length));
    0
}

unsafe extern "C" fn to_client(
    context: *mut c_void,
    client: u64,
    _: i32,
    packet: *const u8,
    length: usize,
) -> i32 {
    let (hub, packet) = (player(context).hub, given(packet, length));
    let mut hub = hub.borrow_mut();
    hub.voice_to_listener += u32::from(client as usize == LISTENER && VOICE.contains(&packet[2]));
    hub.put(client as usize, VMESH_NETWORK_FROM_SERVER, HOST, packet);
    0
}

unsafe extern "C" fn to_link(
    context: *mut c_void,
    peer: u64,
    link: u32,
    _: i32,
    packet: *const u8,
    length: usize,
) -> i32 {
    let Player { number, hub } = player(context);
    let (mut hub, packet) = (hub.borrow_mut(), given(packet, length));
    if hub.link != Some(link) || hub.is_refusing {
        return -1;
    }
    hub.handshakes += u32::from(packet[2] == HANDSHAKE_P2P);
    if VOICE.contains(&packet[2]) {
        assert_eq!((*number, peer as usize), (SPEAKER, LISTENER), "only one speaks");
        hub.voice_on_link[link as usize] += 1;
    }
    hub.put(peer as usize, VMESH_NETWORK_FROM_LINK, *number, packet);
    0
}

unsafe extern "C" fn release(context: *mut c_void, peer: u64, link: u32) {
    let Player { number, hub } = player(context);
    assert_ne!(peer as usize, *number);
    hub.borrow_mut().released.push((*number, link));
}

unsafe extern "C" fn receive(context: *mut c_void, event: *mut vmesh_network_event) -> i32 {
    let Player { number, hub } = player(context);
    let hub = &mut *hub.borrow_mut();
    let Some(arrival) = hub.waiting[*number].pop_front() else { return VMESH_EMPTY as i32 };
    hub.current[*number] = arrival.packet;
    // SAFETY: the library gives a place for the event.
    let event = unsafe { &mut *event };
    event.r#type = arrival.kind as i32;
    event.peer = arrival.from as u64;
    event.link = arrival.link;
    event.data = hub.current[*number].as_ptr();
    event.length = hub.current[*number].len();
    VMESH_OK as i32
}

fn text(text: &'static CStr) -> vmesh_string {
    vmesh_string { data: text.as_ptr(), length: VMESH_NUL_TERMINATED }
}

fn open(number: usize, hub: &'static RefCell<Hub>) -> vmesh_room {
    let mut options = std::mem::MaybeUninit::<vmesh_options>::uninit();
    // SAFETY: room for so many bytes, all of which are written.
    let options = unsafe {
        let size = size_of::<vmesh_options>() as u32;
        assert_eq!(vmesh_options_init(options.as_mut_ptr(), size), VMESH_OK);
        options.assume_init()
    };
    let input = if number == SPEAKER { text(c"tone:300") } else { text(c"silence") };
    let options = vmesh_options { name: text(c"player"), input, output: text(c"null"), ..options };
    let player: &'static Player = Box::leak(Box::new(Player { number, hub }));
    let network = vmesh_network {
        size: size_of::<vmesh_network>() as u32,
        unreliable_bytes: 0,
        reliable_bytes: 0,
        reserved: 0,
        context: std::ptr::from_ref(player).cast_mut().cast(),
        connect: Some(connect),
        disconnect: Some(end),
        host: Some(host),
        stop_hosting: Some(end),
        send_to_server: Some(to_server),
        send_to_client: Some(to_client),
        receive: Some(receive),
        flush: None,
        end_client: None,
        send_to_link: Some(to_link),
        release_link: Some(release),
    };
    let mut voice = 0;
    // SAFETY: structures with their sizes, and a place for the handle.
    let opened = unsafe { vmesh_over_new(&options, &network, &raw mut voice) };
    assert_eq!(opened, VMESH_OK);
    let mode =
        if number == HOST { vmesh_mode::VMESH_MODE_HOST } else { vmesh_mode::VMESH_MODE_CLIENT };
    assert_eq!(vmesh_over_run(voice, mode as i32), VMESH_OK);
    voice
}

/// Frames of all three games until it is so.
fn until(voices: [vmesh_room; 3], hub: &RefCell<Hub>, what: &str, is_so: impl Fn(&Hub) -> bool) {
    let began = Instant::now();
    while !is_so(&hub.borrow()) {
        for voice in voices {
            assert_eq!(vmesh_over_update(voice), VMESH_OK);
        }
        let Hub { voice_on_link, voice_to_listener, released, handshakes, .. } = &*hub.borrow();
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: {voice_on_link:?} on links, {voice_to_listener} through the host, \
             {handshakes} handshakes, released {released:?}"
        );
        std::thread::yield_now();
    }
}

/// proves: D-31
#[test]
fn speech_takes_the_links_of_a_network_of_functions_and_the_server_where_they_refuse() {
    let hub: &'static RefCell<Hub> = Box::leak(Box::default());
    let voices = [HOST, SPEAKER, LISTENER].map(|number| open(number, hub));
    let relayed = |more: u32| {
        let before = hub.borrow().voice_to_listener;
        move |hub: &Hub| hub.voice_to_listener >= before + more
    };
    let direct = |link: usize, more: u32| {
        let before = hub.borrow().voice_on_link[link];
        move |hub: &Hub| hub.voice_on_link[link] >= before + more
    };
    until(voices, hub, "without a link the server passes it on", relayed(10));
    assert_eq!(hub.borrow().voice_on_link, [0; 3]);

    hub.borrow_mut().open_link(1);
    until(voices, hub, "speech goes by the link", direct(1, 20));
    assert!(hub.borrow().handshakes >= 2, "both have shaken hands on it");

    hub.borrow_mut().is_refusing = true;
    until(voices, hub, "what the link refuses the server passes on", relayed(10));
    hub.borrow_mut().is_refusing = false;
    until(voices, hub, "speech goes by the link again", direct(1, 10));

    hub.borrow_mut().open_link(2);
    until(voices, hub, "speech goes by the newer link, and the older one is released", {
        let is_direct = direct(2, 10);
        move |hub| is_direct(hub) && hub.released.contains(&(SPEAKER, 1))
    });

    hub.borrow_mut().end_link(2);
    until(voices, hub, "after the link's end the server passes it on", relayed(10));
    let before = hub.borrow().voice_on_link;
    until(voices, hub, "and goes on to", relayed(10));
    assert_eq!(hub.borrow().voice_on_link, before);
    for voice in voices {
        assert_eq!(vmesh_room_close(voice), VMESH_OK);
    }
}
