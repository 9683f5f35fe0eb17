//! How much of one member is passed on to another.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;

use crate::address::AddressTag;
use crate::output::Sender;

/// So long after its first packet a pair may speak twice as much: a frame is one packet in each of
/// two sessions while the pair changes from one to the other.
const DOUBLED: Duration = Duration::from_secs(10);
/// What a peer has used up is remembered for this long after it has left, so that it has no more by
/// coming again.
const REMEMBERED: Duration = DOUBLED;
/// Peers that have left and are remembered.
const FORMER: usize = 128;

/// What of one speaker is passed on to one listener; what is more is dropped. Known from header and
/// size alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceRates {
    /// A frame every 10 ms and a tenth more. At once: what a stalled link had not delivered of the
    /// last second.
    pub packets: Rate,
    /// Their bytes.
    pub bytes: Rate,
}

impl Default for VoiceRates {
    fn default() -> Self {
        Self {
            packets: Rate { burst: 128.0, per_second: 110.0 },
            bytes: Rate { burst: 48_000.0, per_second: 24_000.0 },
        }
    }
}

/// The game's own bytes: a tenth more than what a member of this project sends through the relay to
/// all others together.
const DATA: VoiceRates = VoiceRates {
    packets: Rate { burst: 1_000.0, per_second: 2_000.0 },
    bytes: Rate { burst: 256_000.0, per_second: 1_100_000.0 },
};
/// What is neither speech nor data, text or signal. This project sends reports and questions about
/// clocks, a few each second.
const OTHER: VoiceRates = VoiceRates {
    packets: Rate { burst: 1_000.0, per_second: 250.0 },
    bytes: Rate { burst: 512_000.0, per_second: 256_000.0 },
};
/// An attempt to open a link is about a dozen signals and 4 kB; attempts follow each other at least
/// two seconds apart, and soon much later.
const SIGNALS: VoiceRates = VoiceRates {
    packets: Rate { burst: 128.0, per_second: 8.0 },
    bytes: Rate { burst: 65_536.0, per_second: 8_192.0 },
};
/// Each counts among its sender's messages.
const TEXTS: VoiceRates = VoiceRates {
    packets: Rate { burst: 200.0, per_second: 20.0 },
    bytes: Rate { burst: 131_072.0, per_second: 16_384.0 },
};

/// What passes from all members of one address to one receiver together, so that an address with
/// many peers is no louder than a few of them. Bytes; a packet counts 64 more.
struct AddressRates {
    all: Rate,
    /// Each of them has this for itself, whatever the others send.
    own: Rate,
}

const OVERHEAD_BYTES: usize = 64;
/// Speech of the usual bitrate is 9 kB a second: a school whose pupils all speak at once has that for
/// each, and as much again for the fifteen of them that send more.
const VOICE_OF_ADDRESS: AddressRates = AddressRates {
    all: Rate { burst: 1_000_000.0, per_second: 256_000.0 },
    own: Rate { burst: 24_000.0, per_second: 9_000.0 },
};
const DATA_OF_ADDRESS: AddressRates = AddressRates {
    all: Rate { burst: 512_000.0, per_second: 1_100_000.0 },
    own: Rate { burst: 64_000.0, per_second: 16_000.0 },
};
const OTHER_OF_ADDRESS: AddressRates = AddressRates {
    all: Rate { burst: 2_000_000.0, per_second: 256_000.0 },
    own: Rate { burst: 16_000.0, per_second: 4_000.0 },
};
/// A full room behind one router that comes back twice.
const SIGNALS_OF_ADDRESS: AddressRates = AddressRates {
    all: Rate { burst: 524_288.0, per_second: 65_536.0 },
    own: Rate { burst: 16_384.0, per_second: 2_048.0 },
};
const TEXTS_OF_ADDRESS: AddressRates = AddressRates {
    all: Rate { burst: 262_144.0, per_second: 32_768.0 },
    own: Rate { burst: 16_384.0, per_second: 2_048.0 },
};

/// What is limited apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TrafficClass {
    Voice,
    Data,
    Signal,
    Text,
    Other,
}

impl TrafficClass {
    fn of_pair(self, voice: &VoiceRates) -> &VoiceRates {
        match self {
            Self::Voice => voice,
            Self::Data => &DATA,
            Self::Signal => &SIGNALS,
            Self::Text => &TEXTS,
            Self::Other => &OTHER,
        }
    }

    fn of_address(self) -> &'static AddressRates {
        match self {
            Self::Voice => &VOICE_OF_ADDRESS,
            Self::Data => &DATA_OF_ADDRESS,
            Self::Signal => &SIGNALS_OF_ADDRESS,
            Self::Text => &TEXTS_OF_ADDRESS,
            Self::Other => &OTHER_OF_ADDRESS,
        }
    }
}

/// All pairs of one room of which one has sent to the other. Peers are what is counted, so that
/// another connection of the same peer has no more.
#[derive(Debug, Default)]
pub(super) struct Policing {
    pairs: BTreeMap<(PeerId, PeerId, TrafficClass), Pair>,
    /// What all members of an address have left towards a receiver; full ones are forgotten.
    addresses: BTreeMap<(AddressTag, PeerId, TrafficClass), TokenBucket>,
    /// Peers that have left, with the time, in order.
    former: VecDeque<(PeerId, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    since: Duration,
    packets: TokenBucket,
    bytes: TokenBucket,
    /// Bytes beside those that all members of the sender's address share.
    own: Option<TokenBucket>,
}

impl Policing {
    /// Whether a packet of this size passes.
    pub(super) fn passes(
        &mut self,
        now: Duration,
        voice: &VoiceRates,
        (from, to): (Sender, PeerId),
        class: TrafficClass,
        bytes: usize,
    ) -> bool {
        let rates = class.of_pair(voice);
        let of_address = from.address.map(|address| (address, class.of_address()));
        let full = TokenBucket::full;
        let pair = self.pairs.entry((from.peer, to, class)).or_insert_with(|| Pair {
            since: now,
            packets: full(now, rates.packets),
            bytes: full(now, rates.bytes),
            own: of_address.map(|(_, rates)| full(now, rates.own)),
        });
        let factor =
            if class == TrafficClass::Voice && now < pair.since + DOUBLED { 2.0 } else { 1.0 };
        let steady = |rate: Rate| Rate { per_second: rate.per_second * factor, ..rate };
        let passes = pair.packets.take(now, steady(rates.packets), 1.0)
            && pair.bytes.take(now, steady(rates.bytes), bytes as f64);
        let Some((address, rates)) = of_address.filter(|_| passes) else { return passes };
        let cost = (bytes + OVERHEAD_BYTES) as f64;
        let own_rate = steady(rates.own);
        // What is for all is left to those for whom their own is too little.
        if pair.own.as_mut().is_some_and(|own| own.take(now, own_rate, cost)) {
            return true;
        }
        let all = self.addresses.entry((address, to, class));
        all.or_insert_with(|| full(now, rates.all)).take(now, rates.all, cost)
    }

    /// A peer has come, or come back.
    pub(super) fn entered(&mut self, peer: PeerId) {
        self.former.retain(|(former, _)| *former != peer);
    }

    /// A peer has left. Those that left before them are forgotten when they are too many.
    pub(super) fn left(&mut self, now: Duration, peer: PeerId) {
        self.entered(peer);
        self.former.push_back((peer, now));
        self.tidy(now);
        while self.former.len() > FORMER {
            self.forget_first();
        }
    }

    /// Forgets those who left long ago.
    pub(super) fn tidy(&mut self, now: Duration) {
        while self.former.front().is_some_and(|(_, left_at)| now >= *left_at + REMEMBERED) {
            self.forget_first();
        }
        self.addresses.retain(|(.., class), bucket| {
            let rate = class.of_address().all;
            bucket.tokens_at(now, rate) < rate.burst
        });
    }

    fn forget_first(&mut self) {
        if let Some((peer, _)) = self.former.pop_front() {
            self.pairs.retain(|(from, to, _), _| *from != peer && *to != peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const A: PeerId = PeerId(Uuid::from_u128(1));
    const B: PeerId = PeerId(Uuid::from_u128(2));

    fn by(peer: PeerId, address: Option<u128>) -> Sender {
        Sender { peer, address: address.map(AddressTag) }
    }

    fn passes(policing: &mut Policing, now: Duration, class: TrafficClass, bytes: usize) -> bool {
        policing.passes(now, &VoiceRates::default(), (by(A, None), B), class, bytes)
    }

    fn passed(
        policing: &mut Policing,
        from_ms: u64,
        to_ms: u64,
        every_us: u64,
        bytes: usize,
    ) -> u64 {
        let times =
            (from_ms * 1_000..to_ms * 1_000).step_by(every_us as usize).map(Duration::from_micros);
        times.filter(|now| passes(policing, *now, TrafficClass::Voice, bytes)).count() as u64
    }

    #[test]
    fn speech_in_frames_of_10_ms_passes_whole() {
        let mut policing = Policing::default();
        assert_eq!(passed(&mut policing, 0, 60_000, 10_000, 200), 6_000);
        assert_eq!(
            passed(&mut policing, 60_000, 120_000, 20_000, 450),
            3_000,
            "at the highest bitrate"
        );
    }

    #[test]
    fn a_flood_passes_at_the_rate_of_speech() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 1_000, 100);
        let passed = passed(&mut policing, 12_000, 22_000, 1_000, 100);
        assert!((1_095..=1_105).contains(&passed), "{passed} in 10 s");
    }

    #[test]
    fn large_packets_pass_at_the_rate_of_speech_in_bytes() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 10_000, 1_200);
        let passed = passed(&mut policing, 12_000, 22_000, 10_000, 1_200);
        assert!((199..=201).contains(&passed), "{passed} in 10 s");
    }

    #[test]
    fn a_second_that_was_not_delivered_passes_at_once() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 20_000, 100);
        passed(&mut policing, 20_000, 20_001, 2_000, 100);
        let at_once = (0..200)
            .filter(|_| passes(&mut policing, Duration::from_secs(25), TrafficClass::Voice, 100))
            .count();
        assert_eq!(at_once, 128);
    }

    #[test]
    fn who_leaves_and_comes_again_has_no_more() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 1_000, 100);
        let mut sum = 0;
        for second in 12..22 {
            policing.left(Duration::from_secs(second), A);
            policing.tidy(Duration::from_secs(second));
            policing.entered(A);
            sum += passed(&mut policing, second * 1_000, second * 1_000 + 1_000, 1_000, 100);
        }
        assert!((1_095..=1_105).contains(&sum), "{sum} in 10 s");
        policing.left(Duration::from_secs(22), A);
        policing.tidy(Duration::from_secs(31));
        assert_eq!(policing.pairs.len(), 1, "it may come back");
        policing.tidy(Duration::from_secs(32));
        assert!(policing.pairs.is_empty() && policing.former.is_empty());
    }

    #[test]
    fn a_bounded_number_of_those_who_left_is_remembered() {
        let mut policing = Policing::default();
        for number in 0..1_000 {
            let peer = PeerId(Uuid::from_u128(10 + number));
            policing.passes(
                Duration::ZERO,
                &VoiceRates::default(),
                (by(peer, None), B),
                TrafficClass::Voice,
                100,
            );
            policing.left(Duration::ZERO, peer);
        }
        assert_eq!((policing.former.len(), policing.pairs.len()), (FORMER, FORMER));
    }

    #[test]
    fn data_passes_as_fast_as_it_is_sent_and_a_flood_of_it_does_not() {
        let mut policing = Policing::default();
        let mut passed = |from_ms: u64, every_us: usize, class: TrafficClass| {
            let times = (from_ms * 1_000..(from_ms + 10_000) * 1_000)
                .step_by(every_us)
                .map(Duration::from_micros);
            times.filter(|now| passes(&mut policing, *now, class, 1_020)).count()
        };
        assert_eq!(passed(0, 1_020, TrafficClass::Data), 9_804, "1 MB/s");
        assert!((10_700..=11_100).contains(&passed(20_000, 300, TrafficClass::Data)));
        assert!((2_500..=3_100).contains(&passed(0, 300, TrafficClass::Other)));
    }

    /// A pair that moves between two sessions speaks in both for a moment.
    #[test]
    fn a_speaker_has_twice_the_rate_for_ten_seconds_and_then_the_rate() {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        let mut passed = |seconds: std::ops::Range<u64>| {
            let mut passed = 0;
            for ms in seconds.start * 1_000..seconds.end * 1_000 {
                let now = Duration::from_millis(ms);
                let (from, class) = (by(A, None), TrafficClass::Voice);
                passed += u32::from(policing.passes(now, &rates, (from, B), class, 50));
            }
            passed
        };
        // The first second has the 128 that may come at once as well.
        assert!((300..=350).contains(&passed(0..1)));
        assert!((1_970..=1_990).contains(&passed(1..10)), "220 a second");
        assert!((2_190..=2_210).contains(&passed(10..30)), "110 a second");
    }

    /// Bytes that pass within ten seconds from so many peers of one address, each of which sends a
    /// packet of this size every millisecond.
    fn passed_of_crowd(class: TrafficClass, peers: u128, bytes: usize) -> usize {
        let mut policing = Policing::default();
        let mut passed = 0;
        for ms in 0..10_000 {
            let now = Duration::from_millis(ms);
            for number in 0..peers {
                let from = by(PeerId(Uuid::from_u128(10 + number)), Some(7));
                let rates = VoiceRates::default();
                passed += usize::from(policing.passes(now, &rates, (from, B), class, bytes));
            }
        }
        passed * bytes
    }

    #[test]
    fn many_peers_of_one_address_send_one_receiver_little_more_than_one_of_them() {
        for (class, bytes, most) in [
            (TrafficClass::Voice, 1_000, 256_000 * 10 + 1_000_000),
            (TrafficClass::Data, 1_000, 1_100_000 * 10 + 512_000),
            (TrafficClass::Signal, 1_200, 65_536 * 10 + 524_288),
            (TrafficClass::Text, 4_096, 32_768 * 10 + 262_144),
            (TrafficClass::Other, 1_000, 256_000 * 10 + 2_000_000),
        ] {
            let rates = class.of_address();
            let factor = if class == TrafficClass::Voice { 2.0 } else { 1.0 };
            let own = (rates.own.burst + rates.own.per_second * 10.0 * factor) as usize;
            let crowd = passed_of_crowd(class, 60, bytes);
            assert!(crowd <= most + 60 * own, "{class:?}: {crowd}");
            assert!(crowd >= most / 2, "{class:?}: {crowd}");
        }
    }

    /// Frames of 20 ms of so many members of one address, each in turn; how many of them pass within
    /// half a minute.
    fn speech_passed(speakers: u128, bytes: usize) -> u32 {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        let mut passed = 0;
        for ms in (0..30_000).step_by(20) {
            for number in 0..speakers {
                let from = by(PeerId(Uuid::from_u128(10 + number)), Some(7));
                let now = Duration::from_millis(ms) + Duration::from_micros(number as u64 * 300);
                let passes = policing.passes(now, &rates, (from, B), TrafficClass::Voice, bytes);
                passed += u32::from(passes);
            }
        }
        passed
    }

    #[test]
    fn a_school_behind_one_router_speaks_all_at_once_and_a_choir_at_the_highest_bitrate() {
        assert_eq!(speech_passed(63, 115), 63 * 1_500, "32 kbit/s and its headers");
        assert_eq!(speech_passed(24, 265), 24 * 1_500, "90 kbit/s");
    }

    #[test]
    fn crowds_that_send_all_that_speech_may_leave_a_neighbour_its_own_speech() {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        let mut heard = 0;
        for ms in 0..30_000 {
            let now = Duration::from_millis(ms);
            for number in 0..62 {
                let hostile = by(PeerId(Uuid::from_u128(10 + number)), Some(7));
                policing.passes(now, &rates, (hostile, B), TrafficClass::Voice, 1_000);
            }
            let is_due = ms % 20 == 0;
            let friend = (by(A, Some(7)), B);
            heard += usize::from(
                is_due && policing.passes(now, &rates, friend, TrafficClass::Voice, 115),
            );
        }
        assert_eq!(heard, 1_500);
    }

    #[test]
    fn what_others_of_its_address_send_leaves_a_peer_something() {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        let friend = by(A, Some(7));
        let mut heard = 0;
        for ms in 0..10_000 {
            let now = Duration::from_millis(ms);
            for number in 0..20 {
                let hostile = by(PeerId(Uuid::from_u128(10 + number)), Some(7));
                policing.passes(now, &rates, (hostile, B), TrafficClass::Data, 1_000);
            }
            let is_due = ms % 50 == 0;
            heard += usize::from(
                is_due && policing.passes(now, &rates, (friend, B), TrafficClass::Data, 600),
            );
        }
        assert_eq!(heard, 200, "twelve kilobytes a second");
    }

    #[test]
    fn a_room_of_fifty_behind_one_router_opens_its_links_twice_in_a_row() {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        for round in 0..2 {
            for number in 0..49 {
                let from = by(PeerId(Uuid::from_u128(10 + number)), Some(7));
                // An offer, ten candidates and their end.
                for (signal, bytes) in [1_400].into_iter().chain([280; 10]).chain([150]).enumerate()
                {
                    let now = Duration::from_millis(2_000 * round + signal as u64);
                    let passes =
                        policing.passes(now, &rates, (from, B), TrafficClass::Signal, bytes);
                    assert!(passes, "signal {signal} of {number}");
                }
            }
        }
    }

    #[test]
    fn what_addresses_have_left_is_forgotten_once_it_is_all() {
        let mut policing = Policing::default();
        let rates = VoiceRates::default();
        for number in 0..1_000 {
            let from = by(PeerId(Uuid::from_u128(10 + number)), Some(number));
            // More than each has for itself.
            for _ in 0..5 {
                policing.passes(Duration::ZERO, &rates, (from, B), TrafficClass::Text, 4_000);
            }
        }
        policing.tidy(Duration::ZERO);
        assert_eq!(policing.addresses.len(), 1_000);
        policing.tidy(Duration::from_secs(1));
        assert!(policing.addresses.is_empty());
    }
}
