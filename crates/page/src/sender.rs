//! The state behind the exported functions.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_uplink::opening_pace::OpeningPace;
use voicemesh_uplink::path::{PathMonitor, PathState, RelayPath};
use voicemesh_uplink::plan::RateLimits;
use voicemesh_uplink::policy::{AudienceMember, Feedback, LossReport, Paths};
use voicemesh_uplink::{FrameDuration, Train};

/// Listeners that are looked at; what is said to more goes as to those without a link of their own.
pub const LISTENERS: usize = 256;
/// Words before the listeners in a decision.
const HEADER: usize = 16;
/// Length of the buffer, in words of 32 bits.
pub const WORDS: usize = HEADER + 2 * LISTENERS;
/// Links that are watched.
const LINKS: usize = 1_024;

/// In the second word of a listener as input: there is a bound link to it that is not stalled …
const HAS_LINK: u32 = 1;
/// … the server can relay to it …
const HAS_RELAY: u32 = 2;
/// … and it cannot encrypt, and is sent speech as it is.
const HEARS_PLAIN: u32 = 4;
/// In the second word of a listener that is decided about: its speech goes through the relay though
/// there is a link …
const RELAYED: u32 = 1;
/// … and it is sent copies of earlier frames, if any are sent. The bits from 8 on are the frames
/// that share a packet.
const WANTS_COPIES: u32 = 2;

/// How one page sends its speech.
#[derive(Debug)]
pub struct Sender {
    policy: Feedback<u32>,
    links: BTreeMap<u32, Link>,
    relay: RelayPath,
    background_bytes: u64,
    audience: Vec<AudienceMember<u32>>,
    train: Option<Train>,
    pace: OpeningPace,
}

/// The link in use to a listener.
#[derive(Debug)]
struct Link {
    generation: u32,
    path: PathMonitor,
}

struct Known<'a> {
    audience: &'a [AudienceMember<u32>],
    links: &'a BTreeMap<u32, Link>,
    relay: &'a RelayPath,
    background_bytes: u64,
}

impl Paths<u32> for Known<'_> {
    fn audience(&self) -> &[AudienceMember<u32>] {
        self.audience
    }

    fn link(&self, now: Duration, who: u32) -> Option<PathState> {
        let has_link = self.audience.iter().any(|member| member.who == who && member.has_link);
        let link = self.links.get(&who).filter(|_| has_link)?;
        Some(link.path.state(now, link.generation))
    }

    fn relay(&self, now: Duration) -> PathState {
        self.relay.monitor().state(now, 0)
    }

    fn background_bytes(&self) -> u64 {
        self.background_bytes
    }
}

impl Sender {
    /// A sender of frames of 20 ms with at most this bitrate, in bits per second.
    pub fn new(bitrate_bps: u32) -> Self {
        let limits = RateLimits {
            bitrate_bps,
            frame: FrameDuration::Ms20,
            uplink_bps: None,
            redundancy: true,
        };
        Self {
            policy: Feedback::new(limits),
            links: BTreeMap::new(),
            relay: RelayPath::new(),
            background_bytes: 0,
            audience: Vec::new(),
            train: None,
            pace: OpeningPace::default(),
        }
    }

    /// A packet of speech was given to a link: the number of its newest frame, and its bytes.
    pub fn sent(&mut self, now: Duration, who: u32, generation: u32, sequence: u16, bytes: u32) {
        if let Some(path) = self.path(who, generation) {
            path.sent(now, sequence, bytes as usize);
        }
    }

    /// A probe of a bound link was answered. One of a link that was replaced has no effect.
    pub fn probed(&mut self, now: Duration, who: u32, generation: u32, round_trip: Duration) {
        if self.links.get(&who).is_some_and(|link| generation < link.generation) {
            return;
        }
        if let Some(path) = self.path(who, generation) {
            path.probed(now, round_trip);
        }
    }

    fn path(&mut self, who: u32, generation: u32) -> Option<&mut PathMonitor> {
        if self.links.len() >= LINKS && !self.links.contains_key(&who) {
            return None;
        }
        let link =
            self.links.entry(who).or_insert_with(|| Link { generation, path: PathMonitor::new() });
        if link.generation != generation {
            *link = Link { generation, path: PathMonitor::new() };
        }
        Some(&mut link.path)
    }

    /// What was put on the wire so far for other things than speech, in bytes.
    pub fn background_sent(&mut self, bytes: u64) {
        self.background_bytes = bytes;
    }

    /// What the headers of a packet to the server take beyond a WebSocket on IPv4 without TLS.
    pub fn relay_headers(&mut self, further: u32) {
        self.relay.set_further_header_bytes(further);
    }

    /// A VoiceAck came on a link.
    pub fn acknowledged(
        &mut self,
        now: Duration,
        who: u32,
        generation: u32,
        newest: u16,
        earlier: u32,
        received_ms: Option<u32>,
    ) {
        let Some(link) = self.links.get_mut(&who).filter(|link| link.generation == generation)
        else {
            return;
        };
        let covers = |number: u16| {
            let behind = newest.wrapping_sub(number);
            (1..=32).contains(&behind) && earlier & 1 << (behind - 1) != 0
        };
        link.path.acknowledged(now, newest, received_ms, covers);
    }

    /// Speech was given to the relay; its bytes.
    pub fn relay_sent(&mut self, bytes: u32) {
        self.relay.voice_sent(bytes as usize);
    }

    /// The number of a ping to the server that is due behind the speech.
    pub fn ping_due(&mut self, now: Duration) -> Option<u16> {
        self.relay.ping_due(now)
    }

    /// The server answered a ping.
    pub fn answered(&mut self, now: Duration, number: u16) {
        self.relay.answered(now, number);
    }

    /// There is another connection to the server.
    pub fn relay_changed(&mut self) {
        self.relay = RelayPath::new();
    }

    /// The server answered a handshake.
    pub fn shook_hands(&mut self, now: Duration, asked_at: Duration) {
        self.relay.shook_hands(now, asked_at);
    }

    /// A ReceptionReport came.
    pub fn report(&mut self, now: Duration, who: u32, report: LossReport) {
        self.policy.report(now, who, report);
    }

    /// A BandwidthReport came.
    pub fn train_arrived(
        &mut self,
        now: Duration,
        who: u32,
        number: u16,
        received: u8,
        span: Duration,
    ) {
        self.policy.train_arrived(now, who, number, received, span);
    }

    /// The train that was asked for was given to the link whole; each packet has so many bytes.
    pub fn train_sent(&mut self, packet_bytes: u32) {
        if let Some(train) = self.train.take() {
            self.policy.train_sent(train, packet_bytes);
        }
    }

    /// A frame was sent.
    pub fn frame_sent(&mut self, now: Duration) {
        self.policy.sent(now);
    }

    /// Nothing was sent for a while: call [`begin`](Self::begin) before the next frame.
    pub fn is_silent(&self, now: Duration) -> bool {
        self.policy.is_silent(now)
    }

    /// Notes whether links may open: call it often, in silence as well, since a link that may open
    /// again does not do so beside others for some time.
    pub fn look_for_room(&mut self, now: Duration) {
        self.pace.set_lacks_room(now, self.policy.links_wait(now));
    }

    /// Begins to open a link, under a number by which it ends.
    ///
    /// # Errors
    ///
    /// None may begin now: when to ask again.
    pub fn opening_begins(&mut self, now: Duration) -> Result<u64, Duration> {
        self.look_for_room(now);
        self.pace.set_uplink(self.policy.uplink().estimate_bps);
        self.pace.begin(now)
    }

    /// A link is open or gone.
    pub fn opening_ended(&mut self, now: Duration, number: u64) {
        self.pace.ended(now, number);
    }

    /// Another network: nothing is known of its uplink.
    pub fn network_changed(&mut self) {
        self.policy.network_changed();
    }

    /// A link stalled without congestion: what became of the last packets says nothing about the
    /// uplink.
    pub fn link_stalled(&mut self, who: u32, generation: u32) {
        if let Some(link) = self.links.get_mut(&who).filter(|link| link.generation == generation) {
            link.path.restart();
        }
    }

    /// A peer is gone.
    pub fn forget(&mut self, who: u32) {
        self.links.remove(&who);
    }

    /// Speech begins: decides how its first frame goes. The first words of `buffer` are the
    /// listeners, two each.
    pub fn begin(&mut self, now: Duration, listeners: usize, buffer: &mut [u32; WORDS]) {
        self.read_audience(listeners, buffer);
        let known = Known {
            audience: &self.audience,
            links: &self.links,
            relay: &self.relay,
            background_bytes: self.background_bytes,
        };
        let relayed = self.policy.begin(now, &known);
        self.write(buffer, |who| relayed.contains(&who));
    }

    /// Decides how the next frames go; false while it is not time to. Call at least every 20 ms.
    pub fn update(&mut self, now: Duration, listeners: usize, buffer: &mut [u32; WORDS]) -> bool {
        self.read_audience(listeners, buffer);
        let known = Known {
            audience: &self.audience,
            links: &self.links,
            relay: &self.relay,
            background_bytes: self.background_bytes,
        };
        let Some(decision) = self.policy.update(now, &known) else { return false };
        self.train = decision.train.map(|(_, train)| train);
        self.write(buffer, |who| decision.relayed.contains(&who));
        buffer[0] = decision.is_full.into();
        if let Some((who, Train { number, packets, padding })) = decision.train {
            buffer[1..5].copy_from_slice(&[packets.into(), who, number.into(), padding.into()]);
        }
        true
    }

    fn read_audience(&mut self, listeners: usize, buffer: &[u32; WORDS]) {
        self.audience.clear();
        let (listeners, _) = buffer.as_chunks::<2>().0.split_at(listeners.min(LISTENERS));
        self.audience.extend(listeners.iter().map(|[who, ways]| AudienceMember {
            who: *who,
            has_link: ways & HAS_LINK != 0,
            has_relay: ways & HAS_RELAY != 0,
            hears_plain: ways & HEARS_PLAIN != 0,
        }));
    }

    /// Words 0 to 15: whether packets queue now; of a train to send: its packets (0: none), to
    /// whom, its number, its padding; bitrate in bits per second; expected loss in percent; how far
    /// behind the copies are, the nearest in the lowest byte; the estimate in bits per second (0:
    /// no limit was met); whether the uplink is too slow; listeners. Then the listeners, two words
    /// each.
    fn write(&self, buffer: &mut [u32; WORDS], is_relayed: impl Fn(u32) -> bool) {
        let (plan, uplink) = (self.policy.plan(), self.policy.uplink());
        let copies =
            plan.copies.iter().rev().fold(0, |packed, behind| packed << 8 | u32::from(*behind));
        buffer[..HEADER].fill(0);
        buffer[5..11].copy_from_slice(&[
            plan.bitrate_bps,
            plan.expected_loss_percent.into(),
            copies,
            uplink.estimate_bps.unwrap_or(0),
            uplink.is_too_slow.into(),
            self.audience.len() as u32,
        ]);
        for (member, words) in self.audience.iter().zip(buffer[HEADER..].as_chunks_mut::<2>().0) {
            let who = member.who;
            let relayed = if is_relayed(who) { RELAYED } else { 0 };
            let wants_copies = if self.policy.wants_copies(who) { WANTS_COPIES } else { 0 };
            *words =
                [who, relayed | wants_copies | u32::from(self.policy.frames_per_packet(who)) << 8];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_encrypt_is_relayed_a_packet_of_its_own() {
        let bitrate_bps = |ways: [u32; 2]| {
            let mut sender = Sender::new(32_000);
            let mut buffer = [0; WORDS];
            buffer[..4].copy_from_slice(&[1, ways[0], 2, ways[1]]);
            sender.begin(Duration::ZERO, 2, &mut buffer);
            sender.policy.plan().bitrate_bps
        };
        // One packet fits into the first estimate of an uplink, and two do not.
        assert_eq!(bitrate_bps([HAS_RELAY, HAS_RELAY]), 32_000);
        assert_eq!(bitrate_bps([HAS_RELAY | HEARS_PLAIN; 2]), 32_000);
        assert!(bitrate_bps([HAS_RELAY, HAS_RELAY | HEARS_PLAIN]) < 32_000);
    }
}
