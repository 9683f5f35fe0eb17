//! A game's network as a table of functions, which are called from two calls of the game's alone.

use std::ffi::{CStr, c_char, c_void};
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use voicemesh::Bytes;
use voicemesh::over::network::{
    Delivery, Destination, DisconnectReason, LinkId, NetworkError, NetworkEvent, PacketLimits,
    Reliability,
};
use voicemesh::over::{Network, Pump};
use voicemesh_common::lock;

use crate::guard::Fault;
use crate::memory::{self, Plain, Sized32};
use crate::{vmesh_network_event_type, vmesh_reliability, vmesh_result};

/// Smaller packets than this carry no session.
const LEAST_BYTES: u32 = 512;

/// What a game's network reports: filled in by its receive function. Which fields count stands at
/// the vmesh_network_event_type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_network_event {
    /// sizeof(vmesh_network_event) of the library; do not write beyond it.
    pub size: u32,
    /// A vmesh_network_event_type.
    pub r#type: i32,
    /// A connection or another client, by whatever number the network knows it: an index, a Steam
    /// id.
    pub peer: u64,
    /// Which of the links there have been to this peer: a later one has a higher number.
    pub link: u32,
    /// Zero.
    pub reserved: i32,
    /// A packet. It must stay as it is until receive is called again, or vmesh_over_update returns.
    pub data: *const u8,
    /// Its bytes.
    pub length: usize,
    /// Why, for people: UTF-8 that ends in a NUL, for as long as data. May be null.
    pub text: *const c_char,
}

/// A game's network: what it can do, as functions that begin it and return at once. Each is given
/// the context. They are called by vmesh_over_update and vmesh_room_close, on the thread that calls
/// those, and at no other time; they must not let exceptions out, and may call every other function
/// of this library. Where one of them calls vmesh_room_close, the farewell leaves, and the
/// functions are called, until the vmesh_over_update that called it returns. A result below 0 says
/// that it failed.
///
/// In host mode the network is asked to host, never to connect: what server and client of one
/// program send each other stays in it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_network {
    /// sizeof(vmesh_network), set by the program.
    pub size: u32,
    /// The largest unreliable packet that the network carries whole, in bytes, from 512 on; 0 is
    /// 1200, which is also the most that is used.
    pub unreliable_bytes: u32,
    /// The largest reliable packet; 0 is 16384, which is also the most that is used.
    pub reliable_bytes: u32,
    /// Zero.
    pub reserved: i32,
    /// Given to each function.
    pub context: *mut c_void,
    /// Begins to connect to the server; VMESH_NETWORK_CONNECTED reports success, however long that
    /// takes. Nothing is sent before.
    pub connect: Option<unsafe extern "C" fn(context: *mut c_void) -> i32>,
    /// Ends the client, links included. Harmless when there is none. Nothing of the client is
    /// reported from then on.
    pub disconnect: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Begins to serve; VMESH_NETWORK_HOSTING reports success.
    pub host: Option<unsafe extern "C" fn(context: *mut c_void) -> i32>,
    /// Ends the server: its clients lose their connection. Harmless when there is none. Nothing of
    /// the server is reported from then on.
    pub stop_hosting: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// The client sends a packet to the server, with a vmesh_reliability: reliable, it must arrive,
    /// and in order; a failure then ends the session. Unreliable, now or not at all.
    pub send_to_server: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            reliability: i32,
            packet: *const u8,
            length: usize,
        ) -> i32,
    >,
    /// The server sends a packet to one connection; otherwise as send_to_server.
    pub send_to_client: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            client: u64,
            reliability: i32,
            packet: *const u8,
            length: usize,
        ) -> i32,
    >,
    /// Fills in the next thing that happened, each once: VMESH_OK, or VMESH_EMPTY if there is
    /// nothing more. Called until then, in each vmesh_over_update. All is zero before but the size.
    pub receive:
        Option<unsafe extern "C" fn(context: *mut c_void, event: *mut vmesh_network_event) -> i32>,
    /// What was sent should leave now: for networks that collect packets. May be null.
    pub flush: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// The server ends one connection, which takes less than it is sent. May be null: the
    /// connection stays, and its client joins anew.
    pub end_client: Option<unsafe extern "C" fn(context: *mut c_void, client: u64)>,
    /// Sends a packet over a direct link that was reported with VMESH_NETWORK_LINK_UP. Null for a
    /// network without links: all goes through the server.
    pub send_to_link: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            peer: u64,
            link: u32,
            reliability: i32,
            packet: *const u8,
            length: usize,
        ) -> i32,
    >,
    /// A link is not used any more, and may be closed. May be null.
    pub release_link: Option<unsafe extern "C" fn(context: *mut c_void, peer: u64, link: u32)>,
}

// SAFETY: numbers and raw pointers.
unsafe impl Plain for vmesh_network_event {}
// SAFETY: numbers, raw pointers, and addresses of functions, of which none is null.
unsafe impl Plain for vmesh_network {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_network {
    const FIRST: usize = offset_of!(vmesh_network, release_link) + size_of::<usize>();
}

pub(crate) const NO_NETWORK: vmesh_network = vmesh_network {
    size: 0,
    unreliable_bytes: 0,
    reliable_bytes: 0,
    reserved: 0,
    context: std::ptr::null_mut(),
    connect: None,
    disconnect: None,
    host: None,
    stop_hosting: None,
    send_to_server: None,
    send_to_client: None,
    receive: None,
    flush: None,
    end_client: None,
    send_to_link: None,
    release_link: None,
};

pub(crate) fn no_network() -> Fault {
    Fault::new(
        vmesh_result::VMESH_ERROR_NO_NETWORK,
        "the handle is a place in a room; open a voice over the game's own network with vmesh_over_new",
    )
}

/// The game's half of its network, as long as the handle is open.
#[derive(Default)]
pub(crate) struct OpenNetwork {
    pump: Mutex<Option<Pump<ProgramNetwork>>>,
    /// On which thread the network's functions are being called by an update.
    updating: Mutex<Option<ThreadId>>,
    /// One of these functions has closed the voice.
    closed_within: AtomicBool,
}

impl OpenNetwork {
    pub(crate) fn new(pump: Pump<ProgramNetwork>) -> Self {
        Self {
            pump: Mutex::new(Some(pump)),
            updating: Mutex::default(),
            closed_within: AtomicBool::new(false),
        }
    }

    pub(crate) fn update(&self) -> Result<(), Fault> {
        let mut pump = match self.pump.try_lock() {
            Ok(pump) => pump,
            // A panic of ours in between; what is there is whole.
            Err(TryLockError::Poisoned(pump)) => pump.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Fault::new(
                    vmesh_result::VMESH_ERROR_WOULD_BLOCK,
                    "vmesh_over_update is being called already; call it once a frame, from one thread",
                ));
            }
        };
        let _updating = Updating::begin(&self.updating);
        pump.as_mut().ok_or_else(no_network)?.update();
        Ok(())
    }

    /// The voice is gone: its farewell leaves. Within a function that update has called, update does
    /// it; an update on another thread is waited for, so that no function is called later.
    pub(crate) fn close(&self) {
        if *lock(&self.updating) == Some(thread::current().id()) {
            self.closed_within.store(true, Ordering::Relaxed);
        } else {
            let pump = lock(&self.pump).take();
            drop(pump);
        }
    }

    /// Whether a function that an update has called has closed the voice.
    pub(crate) fn is_closed_within(&self) -> bool {
        self.closed_within.load(Ordering::Relaxed)
    }
}

/// While an update calls the network's functions.
struct Updating<'a>(&'a Mutex<Option<ThreadId>>);

impl<'a> Updating<'a> {
    fn begin(thread: &'a Mutex<Option<ThreadId>>) -> Self {
        *lock(thread) = Some(thread::current().id());
        Self(thread)
    }
}

impl Drop for Updating<'_> {
    fn drop(&mut self) {
        *lock(self.0) = None;
    }
}

/// A network of functions that the program has handed over.
pub(crate) struct ProgramNetwork {
    table: vmesh_network,
    limits: PacketLimits,
}

// SAFETY: the functions are called, and the context is handed to them, on the threads on which the
// program calls vmesh_over_update and vmesh_room_close, which the header leaves to it.
unsafe impl Send for ProgramNetwork {}

impl ProgramNetwork {
    pub(crate) fn new(table: vmesh_network) -> Result<Self, Fault> {
        let has_all = table.connect.is_some()
            && table.disconnect.is_some()
            && table.host.is_some()
            && table.stop_hosting.is_some()
            && table.send_to_server.is_some()
            && table.send_to_client.is_some()
            && table.receive.is_some();
        if !has_all {
            return Err(Fault::null("a function of the network"));
        }
        let most = PacketLimits::default();
        let limits = PacketLimits {
            unreliable_bytes: limit(table.unreliable_bytes, most.unreliable_bytes)?,
            reliable_bytes: limit(table.reliable_bytes, most.reliable_bytes)?,
        };
        Ok(Self { table, limits })
    }

    fn event(&self, event: &vmesh_network_event) -> Option<NetworkEvent<u64>> {
        use vmesh_network_event_type as of;
        let is = |one: of| event.r#type == one as i32;
        let link = LinkId { peer: event.peer, generation: event.link };
        if is(of::VMESH_NETWORK_CONNECTED) {
            Some(NetworkEvent::Connected)
        } else if is(of::VMESH_NETWORK_DISCONNECTED) {
            let reason = words(event).map_or(DisconnectReason::Lost, DisconnectReason::Refused);
            Some(NetworkEvent::Disconnected(reason))
        } else if is(of::VMESH_NETWORK_BROKEN) {
            Some(NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken))
        } else if is(of::VMESH_NETWORK_FROM_SERVER) {
            Some(NetworkEvent::FromServer(self.packet(event)))
        } else if is(of::VMESH_NETWORK_HOSTING) {
            Some(NetworkEvent::Hosting)
        } else if is(of::VMESH_NETWORK_HOSTING_FAILED) {
            let why = words(event).unwrap_or_else(|| "the network does not serve".to_owned());
            Some(NetworkEvent::HostingFailed(why))
        } else if is(of::VMESH_NETWORK_FROM_CLIENT) {
            Some(NetworkEvent::FromClient { peer: event.peer, packet: self.packet(event) })
        } else if is(of::VMESH_NETWORK_CLIENT_GONE) {
            Some(NetworkEvent::ClientGone { peer: event.peer })
        } else if is(of::VMESH_NETWORK_LINK_UP) {
            Some(NetworkEvent::LinkUp(link))
        } else if is(of::VMESH_NETWORK_LINK_DOWN) {
            Some(NetworkEvent::LinkDown(link))
        } else if is(of::VMESH_NETWORK_FROM_LINK) {
            Some(NetworkEvent::FromLink { link, packet: self.packet(event) })
        } else {
            None
        }
    }

    /// A copy. Of one that is too large as much as shows that.
    fn packet(&self, event: &vmesh_network_event) -> Bytes {
        let most = self.limits.reliable_bytes.max(self.limits.unreliable_bytes) + 1;
        let length = event.length.min(most);
        // SAFETY: the header's promise: null, or that many bytes.
        let bytes = unsafe { memory::bytes(event.data, length, "data") };
        Bytes::copy_from_slice(bytes.unwrap_or_default())
    }
}

fn limit(given: u32, most: usize) -> Result<usize, Fault> {
    match given {
        0 => Ok(most),
        1..LEAST_BYTES => Err(Fault::value("a packet's size", given)),
        given => Ok(most.min(given as usize)),
    }
}

fn words(event: &vmesh_network_event) -> Option<String> {
    if event.text.is_null() {
        return None;
    }
    // SAFETY: not null, so it ends in a NUL, by the header's promise.
    Some(unsafe { CStr::from_ptr(event.text) }.to_string_lossy().into_owned())
}

fn sent(result: Option<i32>) -> Result<(), NetworkError> {
    match result {
        Some(0..) => Ok(()),
        Some(_) | None => Err(NetworkError::NotConnected),
    }
}

fn number(reliability: Reliability) -> i32 {
    match reliability {
        Reliability::Reliable => vmesh_reliability::VMESH_RELIABLE as i32,
        Reliability::Unreliable => vmesh_reliability::VMESH_UNRELIABLE as i32,
    }
}

impl Network for ProgramNetwork {
    type Peer = u64;
    type ClientParameters = ();
    type ServerParameters = ();

    fn limits(&self) -> PacketLimits {
        self.limits
    }

    fn connect(&mut self, _now: Duration, (): ()) -> Result<(), NetworkError> {
        // SAFETY: the header's promise, as for each of the calls below.
        sent(self.table.connect.map(|connect| unsafe { connect(self.table.context) }))
    }

    fn disconnect(&mut self, _now: Duration) {
        if let Some(disconnect) = self.table.disconnect {
            // SAFETY: the header's promise.
            unsafe { disconnect(self.table.context) };
        }
    }

    fn host(&mut self, _now: Duration, (): ()) -> Result<(), NetworkError> {
        // SAFETY: the header's promise.
        sent(self.table.host.map(|host| unsafe { host(self.table.context) }))
    }

    fn stop_hosting(&mut self, _now: Duration) {
        if let Some(stop_hosting) = self.table.stop_hosting {
            // SAFETY: the header's promise.
            unsafe { stop_hosting(self.table.context) };
        }
    }

    fn poll(&mut self, _now: Duration) -> Option<NetworkEvent<u64>> {
        let receive = self.table.receive?;
        let mut event = vmesh_network_event {
            size: size_of::<vmesh_network_event>() as u32,
            r#type: 0,
            peer: 0,
            link: 0,
            reserved: 0,
            data: std::ptr::null(),
            length: 0,
            text: std::ptr::null(),
        };
        // SAFETY: the header's promise, and a place for the event.
        let result = unsafe { receive(self.table.context, &raw mut event) };
        // A type that is none ends the reading of this frame, as VMESH_EMPTY does.
        if result == vmesh_result::VMESH_OK as i32 { self.event(&event) } else { None }
    }

    fn send_to_server(
        &mut self,
        _now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        sent(self.table.send_to_server.map(|send| {
            // SAFETY: the header's promise.
            unsafe { send(self.table.context, number(reliability), packet.as_ptr(), packet.len()) }
        }))
    }

    fn send_to_client(
        &mut self,
        _now: Duration,
        to: u64,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let reliability = match delivery {
            Delivery::Reliable => Reliability::Reliable,
            Delivery::Voice | Delivery::Data => Reliability::Unreliable,
        };
        sent(self.table.send_to_client.map(|send| {
            // SAFETY: the header's promise.
            unsafe {
                send(self.table.context, to, number(reliability), packet.as_ptr(), packet.len())
            }
        }))
    }

    fn end_client(&mut self, _now: Duration, client: u64) {
        if let Some(end_client) = self.table.end_client {
            // SAFETY: the header's promise.
            unsafe { end_client(self.table.context, client) };
        }
    }

    fn send_to_links(
        &mut self,
        _now: Duration,
        destinations: &mut Vec<Destination<u64>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let Some(send) = self.table.send_to_link else { return };
        destinations.retain(|Destination { link, .. }| {
            // SAFETY: the header's promise.
            let result = unsafe {
                send(
                    self.table.context,
                    link.peer,
                    link.generation,
                    number(reliability),
                    packet.as_ptr(),
                    packet.len(),
                )
            };
            result < 0
        });
    }

    fn flush(&mut self, _now: Duration) {
        if let Some(flush) = self.table.flush {
            // SAFETY: the header's promise.
            unsafe { flush(self.table.context) };
        }
    }

    fn release_link(&mut self, _now: Duration, link: LinkId<u64>) {
        if let Some(release_link) = self.table.release_link {
            // SAFETY: the header's promise.
            unsafe { release_link(self.table.context, link.peer, link.generation) };
        }
    }
}
