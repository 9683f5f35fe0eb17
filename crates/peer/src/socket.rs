//! One WebSocket to the signaling server: a task that connects, writes what waits, and hands on
//! what comes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use voicemesh_common::lock;
use voicemesh_session::network::Reliability;
use voicemesh_wire::limits::{SERVER_MESSAGE_BYTES, UNRELIABLE_PACKET_BYTES};
use voicemesh_wire::packet::{self, Kind};
use voicemesh_wire::signaling::CLOSE_TAKEN_OVER;

use crate::connect::{Connector, Received, ServerSocket};
use crate::inbox::{EngineGone, WorkerSender};
use crate::network_watch::NetworkWatch;
use crate::receive_window::{self, ReceiveWindow};
use voicemesh_mesh::{CarrierEvent, SocketEvent};

/// Voice waiting to be written. When there is more, the oldest is dropped.
const VOICE_PACKETS: usize = 32;
/// Packets of games' own bytes that wait to be written. One more is dropped: what must arrive is
/// sent again.
const DATA_PACKETS: usize = 128;
/// Of these, so many are written before what else has come meanwhile.
const DATA_PACKETS_AT_ONCE: usize = 8;
/// Pings whose answers are waited for: 6 s of them while speech is relayed.
const PINGS: usize = 32;
/// Voice older than this is not written any more.
const VOICE_AGE: Duration = Duration::from_millis(400);
/// What must arrive and waits to be written; a server that lets more than this pile up is as good
/// as gone.
const RELIABLE_BYTES: usize = 1024 * 1024;
/// What the server's machine has not acknowledged after this ends the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(15);
/// About two packets of speech.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 512;
/// What a TLS 1.3 record adds to a message: its header, the type of its content, and the tag of
/// AES-GCM or ChaCha20-Poly1305 (RFC 8446 §5.2).
const TLS_RECORD_BYTES: u32 = 5 + 1 + 16;
/// By how much the header of IPv6 is longer than that of IPv4.
const IPV6_BYTES: u32 = 20;
/// What waits when the socket is closed is still written, for so long.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(700);
/// A message from the server: a roster of a full room with everyone's metadata is the largest.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const BUFFER_BYTES: usize = 8 * 1024;
/// While bytes come, the engine gets a notice of it this often: the answer to a join may take
/// minutes by a narrow path.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The engine's end of a socket. Dropping it closes the socket after what waits has been written.
#[derive(Debug)]
pub(crate) struct Socket {
    outgoing: Arc<Outgoing>,
    /// Its end is the notice.
    _abandon: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Outgoing {
    queue: Mutex<Queue>,
    changed: Notify,
    further_header_bytes: AtomicU32,
    relayed_speech_is_late: AtomicBool,
    pings: Mutex<Pings>,
}

/// Pings that are not answered yet, and the shortest round trip so far.
#[derive(Debug, Default)]
struct Pings {
    sent: VecDeque<(u16, Instant)>,
    least_round_trip: Option<Duration>,
}

#[derive(Debug, Default)]
struct Queue {
    reliable: VecDeque<Message>,
    reliable_bytes: usize,
    voice: VecDeque<(Instant, Message)>,
    data: VecDeque<Bytes>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Wanted,
    Overflow,
}

impl Socket {
    /// `farewell` is held until the socket has said all it had to say.
    pub(crate) fn open(
        runtime: &Handle,
        connector: Arc<Connector>,
        generation: u32,
        inbox: WorkerSender,
        watch: NetworkWatch,
        farewell: SyncSender<Infallible>,
    ) -> Self {
        let outgoing = Arc::new(Outgoing::default());
        let tcp = Mutex::default();
        let task = Task { connector, generation, inbox, watch, outgoing: outgoing.clone(), tcp };
        let (abandon, abandoned) = oneshot::channel();
        runtime.spawn(async move {
            task.run(abandoned).await;
            drop(farewell);
        });
        Self { outgoing, _abandon: abandon }
    }

    pub(crate) fn send_text(&self, text: String) {
        self.send_reliable(Message::text(text));
    }

    pub(crate) fn send_packet(&self, reliability: Reliability, packet: Bytes) {
        match reliability {
            Reliability::Reliable => self.send_reliable(Message::binary(packet)),
            Reliability::Unreliable if packet::is_relayed_data(&packet) => {
                let mut queue = self.outgoing.lock();
                if queue.data.len() < DATA_PACKETS {
                    queue.data.push_back(packet);
                }
                drop(queue);
                self.outgoing.changed.notify_one();
            }
            Reliability::Unreliable => self.send_voice(Message::binary(packet)),
        }
    }

    /// What IPv6 and TLS add to a packet, in bytes; zero until it is connected.
    pub(crate) fn further_header_bytes(&self) -> u32 {
        self.outgoing.further_header_bytes.load(Ordering::Relaxed)
    }

    /// Asks the server for an answer behind the voice that waits.
    pub(crate) fn ping(&self, number: u16) {
        lock(&self.outgoing.pings).sent(number, Instant::now());
        self.send_voice(Message::Ping(Bytes::copy_from_slice(&number.to_be_bytes())));
    }

    /// The way from the server is full: what is on it at once is bounded.
    pub(crate) fn set_relayed_speech_is_late(&self, is_late: bool) {
        self.outgoing.relayed_speech_is_late.store(is_late, Ordering::Relaxed);
    }

    fn send_voice(&self, message: Message) {
        let mut queue = self.outgoing.lock();
        if queue.voice.len() == VOICE_PACKETS {
            queue.voice.pop_front();
        }
        queue.voice.push_back((Instant::now(), message));
        drop(queue);
        self.outgoing.changed.notify_one();
    }

    fn send_reliable(&self, message: Message) {
        let mut queue = self.outgoing.lock();
        if queue.reliable_bytes + message.len() > RELIABLE_BYTES {
            queue.end = Some(End::Overflow);
        } else {
            queue.reliable_bytes += message.len();
            queue.reliable.push_back(message);
        }
        drop(queue);
        self.outgoing.changed.notify_one();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut queue = self.outgoing.lock();
        queue.end.get_or_insert(End::Wanted);
        // Speech that could not be written by now goes by another connection, or is old.
        queue.voice.clear();
        drop(queue);
        self.outgoing.changed.notify_one();
    }
}

impl Pings {
    fn sent(&mut self, number: u16, at: Instant) {
        if self.sent.len() == PINGS {
            self.sent.pop_front();
        }
        self.sent.push_back((number, at));
    }

    fn answered(&mut self, number: u16) {
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == number) else { return };
        if let Some((_, at)) = self.sent.drain(..=at).next_back() {
            let least = self.least_round_trip.unwrap_or(Duration::MAX);
            self.least_round_trip = Some(at.elapsed().min(least));
        }
    }
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// The server has answered this ping.
    fn answered(&self, number: u16) {
        lock(&self.pings).answered(number);
    }

    /// Has the receive buffer follow what arrives while relayed speech comes late.
    async fn bound_what_comes(
        &self,
        received: &Received,
        mut set_buffer: impl FnMut(usize),
    ) -> Infallible {
        let mut window = ReceiveWindow::new();
        let mut interval = tokio::time::interval(receive_window::INTERVAL);
        let began = Instant::now();
        loop {
            interval.tick().await;
            let is_late = self.relayed_speech_is_late.load(Ordering::Relaxed);
            let round_trip = lock(&self.pings).least_round_trip;
            let size = window.update(began.elapsed(), received.bytes(), is_late, round_trip);
            if let Some(size) = size {
                set_buffer(size);
            }
        }
    }

    /// Everything to be written now, and whether that is the end.
    fn take(&self, into: &mut Vec<Message>) -> Option<End> {
        let mut queue = self.lock();
        into.extend(queue.reliable.drain(..));
        queue.reliable_bytes = 0;
        // A ping is of use however long it waited: that is what its answer tells.
        let fresh = |(since, message): &(Instant, Message)| {
            message.is_ping() || since.elapsed() <= VOICE_AGE
        };
        into.extend(queue.voice.drain(..).filter(fresh).map(|(_, message)| message));
        let data = queue.data.len().min(DATA_PACKETS_AT_ONCE);
        into.extend(queue.data.drain(..data).map(Message::binary));
        if !queue.data.is_empty() {
            self.changed.notify_one();
        }
        queue.end
    }
}

struct Task {
    connector: Arc<Connector>,
    generation: u32,
    inbox: WorkerSender,
    watch: NetworkWatch,
    outgoing: Arc<Outgoing>,
    /// The connection beneath, to set its options later, and since when it is.
    tcp: Mutex<Option<(socket2::Socket, Instant)>>,
}

impl Task {
    /// Ends when the connection does, or a moment after the engine has dropped its end.
    #[expect(clippy::disallowed_methods, reason = "a time limit: the connection may end before")]
    async fn run(self, abandoned: oneshot::Receiver<()>) {
        let abandoned = async {
            let _ = abandoned.await;
            tokio::time::sleep(LEAVE_TIMEOUT).await;
        };
        let result = tokio::select! {
            result = self.connect_and_serve() => result,
            () = abandoned => Ok(()),
        };
        // The server sees the end of the connection only when no copy of it is left.
        *lock(&self.tcp) = None;
        if let Err(event) = result {
            let _ = self.tell(event).await;
        }
    }

    fn connected(&self, tcp: &TcpStream) {
        if let Ok(server) = tcp.peer_addr() {
            self.watch.reached(server);
            let is_v6 = server.is_ipv6() && !server.ip().to_canonical().is_ipv4();
            let bytes = if is_v6 { IPV6_BYTES } else { 0 };
            self.outgoing.further_header_bytes.store(bytes, Ordering::Relaxed);
        }
        set_options(tcp);
        // Not needed for correctness: without it the system alone chooses the window.
        let tcp = socket2::SockRef::from(tcp).try_clone().ok();
        *lock(&self.tcp) = tcp.map(|tcp| (tcp, Instant::now()));
    }

    async fn connect_and_serve(&self) -> Result<(), SocketEvent> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES))
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let (websocket, connection) = self
            .connector
            .connect(config, &|tcp| self.connected(tcp))
            .await
            .map_err(SocketEvent::Failed)?;
        // One round trip, and a few more where it is encrypted; a ping, if there is one, says it
        // better.
        let opened_in = lock(&self.tcp).as_ref().map(|(_, since)| since.elapsed());
        lock(&self.outgoing.pings).least_round_trip = opened_in;
        if connection.encrypted {
            self.outgoing.further_header_bytes.fetch_add(TLS_RECORD_BYTES, Ordering::Relaxed);
        }
        for event in [SocketEvent::Connected(connection), SocketEvent::Open] {
            self.tell(event).await.map_err(|EngineGone| SocketEvent::Closed(String::new()))?;
        }
        self.serve(websocket).await.map_err(SocketEvent::Closed)
    }

    async fn serve(&self, websocket: ServerSocket) -> Result<(), String> {
        let received = websocket.get_ref().received();
        let (mut sink, mut stream) = websocket.split();
        let write = async {
            let mut waiting = Vec::new();
            loop {
                let changed = self.outgoing.changed.notified();
                let end = self.outgoing.take(&mut waiting);
                let something = !waiting.is_empty();
                for message in waiting.drain(..) {
                    sink.feed(message).await.map_err(|error| ended(&error))?;
                }
                if something {
                    sink.flush().await.map_err(|error| ended(&error))?;
                }
                match end {
                    Some(End::Wanted) => {
                        // The server's answer is read: closed with something unread, the connection
                        // would be torn down, and the farewell lost with it.
                        let closing = async {
                            let _ = sink.close().await;
                            std::future::pending::<()>().await;
                        };
                        let _ = timeout(LEAVE_TIMEOUT, closing).await;
                        return Ok(());
                    }
                    Some(End::Overflow) => return Err("it takes nothing any more".to_owned()),
                    None => changed.await,
                }
            }
        };
        let read = async {
            while let Some(message) = stream.next().await {
                let told = match message.map_err(|error| ended(&error))? {
                    Message::Text(text) => {
                        self.tell(SocketEvent::Text(text.as_str().to_owned())).await
                    }
                    Message::Binary(packet) => self.packet(packet).await,
                    Message::Close(frame) => {
                        let code = frame.map(|frame| u16::from(frame.code));
                        if code == Some(CLOSE_TAKEN_OVER) {
                            let _ = self.tell(SocketEvent::TakenOver).await;
                            return Ok(());
                        }
                        return Err("it closed the connection".to_owned());
                    }
                    Message::Pong(payload) => match <[u8; 2]>::try_from(&payload[..]) {
                        Ok(number) => {
                            let number = u16::from_be_bytes(number);
                            self.outgoing.answered(number);
                            self.tell(SocketEvent::Pong(number)).await
                        }
                        Err(_) => Ok(()),
                    },
                    Message::Ping(_) | Message::Frame(_) => Ok(()),
                };
                // Without an engine, nothing takes what arrives, and what is being written goes on.
                let (Ok(()) | Err(EngineGone)) = told;
            }
            Err("it closed the connection".to_owned())
        };
        let progress = async {
            let mut seen = received.bytes();
            let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
            loop {
                interval.tick().await;
                let bytes = received.bytes();
                if std::mem::replace(&mut seen, bytes) != bytes {
                    let (Ok(()) | Err(EngineGone)) = self.tell(SocketEvent::Receiving).await;
                }
            }
        };
        let bound = self.outgoing.bound_what_comes(&received, |size| self.set_receive_buffer(size));
        tokio::select! {
            () = progress => Ok(()),
            never = bound => match never {},
            result = write => result,
            // The server's answer to this side's end is no fault.
            result = read => if self.outgoing.lock().end == Some(End::Wanted) { Ok(()) } else { result },
        }
    }

    fn set_receive_buffer(&self, bytes: usize) {
        if let Some((tcp, _)) = lock(&self.tcp).as_ref() {
            let set = tcp.set_recv_buffer_size(bytes);
            tracing::debug!(bytes, ?set, "the receive window follows what arrives");
        }
    }

    async fn packet(&self, packet: Bytes) -> Result<(), EngineGone> {
        let kind = packet::open(&packet).map(|(header, _)| header.kind);
        let (is_voice, is_data) = (kind.is_ok_and(Kind::is_voice), kind.is_ok_and(Kind::is_data));
        if is_data && packet.len() > UNRELIABLE_PACKET_BYTES {
            return Ok(());
        }
        let event = CarrierEvent::Socket {
            generation: self.generation,
            event: SocketEvent::Packet(packet),
        };
        match (is_voice, is_data) {
            (true, _) => self.inbox.put_lossy(event),
            (_, true) => self.inbox.put_data(event),
            _ => self.inbox.put(event).await,
        }
    }

    async fn tell(&self, event: SocketEvent) -> Result<(), EngineGone> {
        self.inbox.put(CarrierEvent::Socket { generation: self.generation, event }).await
    }
}

/// What the kernel takes before it has sent it goes out however old it is by then; what waits here
/// is dropped when it is too old to be heard, and its age shows that the way is full. The limit of
/// what is not acknowledged is not needed for correctness: whether the server answers is asked of
/// it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_options(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "the kernel keeps its own limit of unsent bytes");
    }
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_options(_tcp: &TcpStream) {}

fn ended(error: &Error) -> String {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "it closed the connection".to_owned(),
        other => {
            tracing::debug!(error = %other, "the connection to the server ended");
            match other {
                Error::Io(error) if error.kind() == ErrorKind::TimedOut => {
                    "it does not answer any more".to_owned()
                }
                Error::Io(_) => "the connection broke".to_owned(),
                Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                    "the connection broke".to_owned()
                }
                _ => "it does not keep to the protocol, or a proxy before it does not".to_owned(),
            }
        }
    }
}

const _: () = assert!(SERVER_MESSAGE_BYTES < MESSAGE_BYTES);

#[cfg(test)]
mod words_tests {
    use std::io;

    use super::*;

    #[test]
    fn why_a_connection_ended_is_said_without_the_words_of_libraries() {
        let io = |kind| Error::Io(io::Error::new(kind, "os error 104"));
        for (error, words) in [
            (Error::ConnectionClosed, "it closed the connection"),
            (Error::Protocol(ProtocolError::ResetWithoutClosingHandshake), "the connection broke"),
            (io(ErrorKind::ConnectionReset), "the connection broke"),
            (io(ErrorKind::TimedOut), "it does not answer any more"),
            (
                Error::Utf8("invalid utf-8".to_owned()),
                "it does not keep to the protocol, or a proxy before it does not",
            ),
        ] {
            assert_eq!(ended(&error), words);
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn while_relayed_speech_is_late_little_is_on_its_way_from_the_server() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let tcp = TcpStream::connect(address).await.expect("it listens");
        let socket = socket2::SockRef::from(&tcp);
        let before = socket.recv_buffer_size().expect("it is known");
        let (outgoing, received) = (Outgoing::default(), Received::default());
        outgoing.relayed_speech_is_late.store(true, Ordering::Relaxed);
        lock(&outgoing.pings).least_round_trip = Some(Duration::from_millis(20));
        let bounded = Notify::new();
        let bound = outgoing.bound_what_comes(&received, |size| {
            socket.set_recv_buffer_size(size).expect("it can be set");
            bounded.notify_one();
        });
        tokio::select! {
            never = bound => match never {},
            () = bounded.notified() => {}
        }
        let bytes = socket.recv_buffer_size().expect("it is known");
        // Linux takes twice what is asked for, for its own records.
        assert!(bytes <= 8 * 1024 && bytes < before, "{bytes}, {before} before");
    }

    #[tokio::test]
    async fn the_least_round_trip_of_pings_is_kept_however_many_are_on_their_way() {
        let outgoing = Outgoing::default();
        let ping = |number: u16, ago: u64| {
            let at = Instant::now().checked_sub(Duration::from_millis(ago)).expect("a time");
            lock(&outgoing.pings).sent(number, at);
        };
        ping(1, 8_000);
        outgoing.answered(7);
        assert_eq!(lock(&outgoing.pings).least_round_trip, None, "not the last one");
        outgoing.answered(1);
        ping(2, 4_000);
        outgoing.answered(2);
        ping(3, 6_000);
        for number in 4..100 {
            ping(number, 6_000);
        }
        outgoing.answered(98);
        assert_eq!(lock(&outgoing.pings).sent.len(), 1, "the others were before it");
        let least = lock(&outgoing.pings).least_round_trip.expect("three have been answered");
        assert!((4_000..6_000).contains(&least.as_millis()), "{least:?}");
    }

    #[tokio::test]
    async fn a_connection_to_the_server_keeps_little_unsent_and_gives_up_after_15_s() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let tcp = TcpStream::connect(address).await.expect("it listens");
        set_options(&tcp);
        let socket = socket2::SockRef::from(&tcp);
        assert_eq!(socket.tcp_notsent_lowat().expect("it is known"), 512);
        let limit = socket.tcp_user_timeout().expect("it is known");
        assert_eq!(limit, Some(Duration::from_secs(15)));
    }
}
