//! How speech is sent: bitrate, in-band FEC, copies and the length of packets follow what listeners
//! report, within what the uplink carries.
//!
//! A copy is an earlier frame in a later packet. One that is spaced as far as losses last in a row
//! repairs what FEC, which stands in the very next packet, cannot. Half of what copies cost is
//! saved in the bitrate: with headers, a stream of 32 kbit/s grows from 75 to 92 kbit/s, in as many
//! packets as before.

use std::ops::RangeInclusive;

use crate::FrameDuration;

/// The bitrates at which one voice sounds good, in bits per second: below, it becomes dull; above,
/// no difference is heard.
pub const RECOMMENDED_BITRATE_BPS: RangeInclusive<u32> = 16_000..=64_000;

/// What a link adds to a session packet, in bytes: IPv4, UDP, DTLS and SCTP with its padding. What
/// a path takes beyond that, it says itself
/// (`PathState::further_header_bytes`).
pub const LINK_HEADER_BYTES: u32 = 87;
/// The same on the relay's WebSocket: IPv4, TCP with timestamps, and WebSocket.
pub const RELAY_HEADER_BYTES: u32 = 60;
/// What a packet adds to its frame on a link: the session header as well (`tests/nets` compares it
/// with the wire).
pub const LINK_OVERHEAD_BYTES: u32 = LINK_HEADER_BYTES + 20;
/// The same on the relay's WebSocket, with the relay header for a few listeners.
pub const RELAY_OVERHEAD_BYTES: u32 = RELAY_HEADER_BYTES + 34;
/// What a link costs the speaker beside its packets, in bits per second: acknowledgements of the
/// listener's acknowledgements, and reports (measured: 6 packets a second).
pub const LINK_BACKGROUND_BPS: u32 = 5_000;
/// With one frame of 20 ms in a packet the bitrate falls no lower than this before packets get
/// longer …
const LOWEST_IN_SHORT_PACKETS_BPS: u32 = 24_000;
/// … and with 40 ms in a packet no lower than this.
const LOWEST_IN_MIDDLE_PACKETS_BPS: u32 = 20_000;
/// Speech in packets of middle length, and in the longest ones.
const MIDDLE_PACKET_MS: u64 = 40;
const LONGEST_PACKET_MS: u64 = 60;
/// Of what is usually sent, what is sent to see whether less is lost: no more than this if
/// possible, …
const SPARSE_PERCENT: u64 = 70;
/// … and at most this, or it would show nothing; …
const LEAST_SPARSE_PERCENT: u64 = 85;
/// … and this with several links, which are sent at least 20 kbit/s in packets of 40 ms.
const LEAST_SPARSE_PERCENT_OF_SEVERAL: u64 = 92;
/// Frames in the longest packets, if they are short (PROTOCOL.md §8).
const MOST_FRAMES_PER_PACKET: u64 = 4;
/// What one copy adds beside its bytes.
const COPY_HEADER_BYTES: u32 = 3;

/// From this loss on a listener is sent copies …
const COPIES_FROM: f32 = 0.03;
/// … until it is below this.
const COPIES_UNTIL: f32 = 0.015;
/// Below this loss nothing is spent on repair.
const WORTH_REPAIR: f32 = 0.005;

/// Of the loss that is shown, how much a second of reports changes.
const SMOOTHING: f32 = 0.2;
/// Smoothing of the loss by which copies are decided: of the difference to a higher loss it takes
/// this share …
const ATTACK: f32 = 0.6;
/// … and of that to a lower one this share: a good second says little about the next.
const RELEASE: f32 = 0.12;
/// Frames in a second of the usual frames; fewer count for less.
const FULL_REPORT_FRAMES: f32 = 50.0;
/// So many losses in a second say well how long they last.
const FULL_REPORT_LOSSES: f32 = 5.0;

/// What the encoder prepares for until the first report: a network of which nothing is known.
const FIRST_EXPECTED_LOSS_PERCENT: u8 = 10;
/// The encoder's expected loss never exceeds this: beyond it copies help, and in-band FEC cannot.
const MOST_EXPECTED_LOSS_PERCENT: u8 = 25;

/// From this loss on one copy is not enough.
const TWO_COPIES_FROM: f32 = 0.15;
/// Losses of so many frames in a row, on average, are bursts; what is lost at random has up to 1.25
/// of them at 20 %.
const BURSTS_FROM: f32 = 1.6;

/// Which copies go: how many frames behind. Chosen by measurement (`voicemesh-quality --only
/// spacing`): far enough to be outside of most bursts, near enough to keep the delay small.
fn spacing(frame: FrameDuration, loss: f32, loss_run: f32) -> &'static [u8] {
    let (many, bursts) = (loss >= TWO_COPIES_FROM, loss_run >= BURSTS_FROM);
    match frame {
        FrameDuration::Ms10 if many => &[4, 8],
        FrameDuration::Ms10 => &[6],
        FrameDuration::Ms20 if many => &[2, 4],
        FrameDuration::Ms20 if bursts => &[4],
        FrameDuration::Ms20 => &[3],
        FrameDuration::Ms40 => &[2],
        FrameDuration::Ms60 => &[1],
    }
}

/// What is left of the bitrate for each frame when it is sent so often: copies are paid for by
/// half.
const fn shared(bitrate_bps: u32, copies: usize) -> u32 {
    match copies {
        0 => bitrate_bps,
        1 => bitrate_bps / 4 * 3,
        _ => bitrate_bps / 5 * 3,
    }
}

/// What is known of one listener's losses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ListenerLoss {
    mean: Option<f32>,
    /// Frames lost in a row, on average.
    run: f32,
    /// Quick to rise and slow to fall.
    peak_loss: f32,
    wants_copies: bool,
}

impl ListenerLoss {
    /// Nothing is lost.
    pub(crate) const NONE: Self =
        Self { mean: Some(0.0), run: 0.0, peak_loss: 0.0, wants_copies: false };

    /// Takes a report: of so many frames, so many did not come, in runs of so many on average.
    pub fn report(&mut self, expected: u32, lost: u32, mean_run: f32) {
        if expected == 0 {
            return;
        }
        let fraction = lost.min(expected) as f32 / expected as f32;
        let weight = (expected as f32 / FULL_REPORT_FRAMES).min(1.0);
        let toward = |before: f32, share: f32| before + (fraction - before) * share * weight;
        self.mean = Some(self.mean.map_or(fraction, |mean| toward(mean, SMOOTHING)));
        if lost > 0 {
            // Runs say more the more of them there are.
            let weight = (lost as f32 / FULL_REPORT_LOSSES).min(1.0);
            let (before, mean_run) = (
                self.run.max(1.0),
                if mean_run.is_finite() { mean_run.clamp(1.0, 100.0) } else { 1.0 },
            );
            self.run = before + (mean_run - before) * SMOOTHING * weight;
        }
        self.peak_loss =
            toward(self.peak_loss, if fraction > self.peak_loss { ATTACK } else { RELEASE });
        self.wants_copies =
            self.peak_loss >= if self.wants_copies { COPIES_UNTIL } else { COPIES_FROM };
    }

    /// The smoothed loss, once reported: 0.0 to 1.0.
    pub fn loss(&self) -> Option<f32> {
        self.mean
    }

    /// How many frames are lost in a row, on average; 1 or more once any was lost.
    pub fn run(&self) -> f32 {
        self.run
    }

    /// Whether copies would help this listener.
    pub fn wants_copies(&self) -> bool {
        self.wants_copies
    }
}

/// Those who are spoken to at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudienceStats {
    /// Listeners that are sent a packet of their own, over a link.
    pub direct: u32,
    /// Packets that go to the relay, which copies each for others: a member that cannot encrypt is
    /// not sent the one of those that can.
    pub relayed: u32,
    /// The highest loss that one of them reported.
    pub worst_loss: Option<f32>,
    /// How many frames the same one loses in a row, on average.
    pub loss_run: f32,
    /// How many of the packets carry copies if there are any.
    pub with_copies: u32,
    /// What the packets of all of them together, one each, take beyond [`LINK_OVERHEAD_BYTES`] and
    /// [`RELAY_OVERHEAD_BYTES`]: IPv6, TURN, TLS.
    pub further_header_bytes: u32,
}

/// What the user, and the uplink, allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Payload bits per second on a network that loses nothing.
    pub bitrate_bps: u32,
    /// Speech per frame.
    pub frame: FrameDuration,
    /// What all packets together may take, headers included, in bits per second; `None` for no
    /// limit.
    pub uplink_bps: Option<u32>,
    /// Earlier frames may be sent again. Not while loss comes from sending too much.
    pub redundancy: bool,
}

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendPlan {
    /// Payload bits per second of a frame without copies.
    pub bitrate_bps: u32,
    /// The loss for which the encoder prepares, in percent.
    pub expected_loss_percent: u8,
    /// Which earlier frames go again, to those who want them.
    pub copies: &'static [u8],
    /// How many frames share a packet.
    pub frames_per_packet: u8,
    /// What all packets together take, in bits per second.
    pub uplink_bps: u32,
}

impl SendPlan {
    /// How to send to these listeners.
    ///
    /// What is over the limit is saved in this order: bitrate, redundancy, headers (more speech in
    /// a packet), bitrate again down to the lowest that sounds good. What is over even so is sent
    /// all the same: see [`SendPlan::is_within`].
    pub fn choose(limits: RateLimits, audience: AudienceStats) -> Self {
        let worst = audience.worst_loss;
        let expected_loss_percent = match worst {
            None => FIRST_EXPECTED_LOSS_PERCENT,
            Some(loss) if loss < WORTH_REPAIR => 0,
            Some(loss) => ((loss * 100.0).ceil() as u8).min(MOST_EXPECTED_LOSS_PERCENT),
        };
        let copies: &[u8] = match worst {
            Some(loss) if limits.redundancy && audience.with_copies > 0 => {
                spacing(limits.frame, loss, audience.loss_run)
            }
            _ => &[],
        };
        if !copies.is_empty() {
            let highest = shared(limits.bitrate_bps, copies.len());
            let lowest = limits.bitrate_bps.min(*RECOMMENDED_BITRATE_BPS.start());
            let form = FramePacking { copies, frames_per_packet: 1 };
            let bitrate_bps = fitting(limits, audience, form, highest.max(lowest), lowest);
            let uplink_bps = uplink(limits.frame, audience, form, bitrate_bps);
            // One copy repairs what FEC would, and FEC takes its bits from the frame (measured:
            // worse at 10 % loss, better at 20 %). It stays for those who are sent no copies.
            let everyone = audience.with_copies >= audience.direct + audience.relayed;
            let expected_loss_percent =
                if copies.len() == 1 && everyone { 0 } else { expected_loss_percent };
            let plan = Self {
                bitrate_bps,
                expected_loss_percent,
                copies,
                frames_per_packet: 1,
                uplink_bps,
            };
            if plan.is_within(limits.uplink_bps) {
                return plan;
            }
        }
        Self::without_copies(limits, audience, expected_loss_percent)
    }

    fn without_copies(
        limits: RateLimits,
        audience: AudienceStats,
        expected_loss_percent: u8,
    ) -> Self {
        let highest = limits.bitrate_bps;
        let (middle, longest) =
            (frames_in(limits.frame, MIDDLE_PACKET_MS), frames_in(limits.frame, LONGEST_PACKET_MS));
        let steps = [
            (1, LOWEST_IN_SHORT_PACKETS_BPS),
            (middle, LOWEST_IN_MIDDLE_PACKETS_BPS),
            (longest, *RECOMMENDED_BITRATE_BPS.start()),
        ];
        let mut plan = None;
        for (frames_per_packet, lowest) in steps {
            let form = FramePacking { copies: &[], frames_per_packet };
            let bitrate_bps = fitting(limits, audience, form, highest, highest.min(lowest));
            let uplink_bps = uplink(limits.frame, audience, form, bitrate_bps);
            let step = Self {
                bitrate_bps,
                expected_loss_percent,
                copies: &[],
                frames_per_packet,
                uplink_bps,
            };
            plan = Some(step);
            if step.is_within(limits.uplink_bps) {
                break;
            }
        }
        plan.expect("there are three steps")
    }

    /// As little as sounds good enough for a moment, instead of `usual_bps`: the lowest bitrate in
    /// packets of 40 ms, or in the longest ones if those do not save enough. With several links
    /// less is enough: their packets leave together, and longer ones are lost where only few bytes
    /// may come at once.
    pub fn sparse(
        limits: RateLimits,
        audience: AudienceStats,
        expected_loss_percent: u8,
        usual_bps: u32,
    ) -> Self {
        let bitrate_bps = limits.bitrate_bps.min(*RECOMMENDED_BITRATE_BPS.start());
        let in_packets_of = |ms| {
            let frames_per_packet = frames_in(limits.frame, ms);
            let uplink_bps = uplink(
                limits.frame,
                audience,
                FramePacking { copies: &[], frames_per_packet },
                bitrate_bps,
            );
            Self { bitrate_bps, expected_loss_percent, copies: &[], frames_per_packet, uplink_bps }
        };
        let middle = in_packets_of(MIDDLE_PACKET_MS);
        let most =
            if audience.direct > 1 { LEAST_SPARSE_PERCENT_OF_SEVERAL } else { SPARSE_PERCENT };
        match u64::from(middle.uplink_bps) * 100 <= u64::from(usual_bps) * most {
            true => middle,
            false => in_packets_of(LONGEST_PACKET_MS),
        }
    }

    /// Whether this takes so much less than `usual_bps` that it shows whether loss depends on what
    /// is sent to these.
    pub(crate) fn is_sparser_than(&self, usual_bps: u32, audience: AudienceStats) -> bool {
        let most = if audience.direct > 1 {
            LEAST_SPARSE_PERCENT_OF_SEVERAL
        } else {
            LEAST_SPARSE_PERCENT
        };
        u64::from(self.uplink_bps) * 100 <= u64::from(usual_bps) * most
    }

    /// Whether all packets together take no more than this many bits per second.
    pub fn is_within(&self, limit_bps: Option<u32>) -> bool {
        limit_bps.is_none_or(|limit| self.uplink_bps <= limit)
    }

    /// Whether speech sounds as it should, so that direct links are worth their headers: packets of
    /// at most 40 ms.
    pub fn is_good(&self, frame: FrameDuration) -> bool {
        u64::from(self.frames_per_packet) * frame.millis() < LONGEST_PACKET_MS
    }
}

/// How frames are put into packets.
#[derive(Clone, Copy)]
struct FramePacking {
    copies: &'static [u8],
    frames_per_packet: u8,
}

fn frames_in(frame: FrameDuration, ms: u64) -> u8 {
    ms.div_ceil(frame.millis()).clamp(1, MOST_FRAMES_PER_PACKET) as u8
}

/// The highest bitrate from `lowest` to `highest` within the limit, in steps of 1 kbit/s.
fn fitting(
    limits: RateLimits,
    audience: AudienceStats,
    form: FramePacking,
    highest: u32,
    lowest: u32,
) -> u32 {
    let Some(limit) = limits.uplink_bps else { return highest };
    let fits = |bitrate: &u32| uplink(limits.frame, audience, form, *bitrate) <= limit;
    (lowest..=highest).rev().step_by(1_000).find(fits).unwrap_or(lowest)
}

fn uplink(
    frame: FrameDuration,
    audience: AudienceStats,
    form: FramePacking,
    bitrate_bps: u32,
) -> u32 {
    let packet_ms = frame.millis() as u32 * u32::from(form.frames_per_packet);
    let packets_per_second = |packets: u32| packets * 1_000 / packet_ms;
    let packets = audience.direct + audience.relayed;
    let copied = audience.with_copies.min(packets) * form.copies.len() as u32;
    let payload = bitrate_bps.saturating_mul(packets + copied);
    let bundled = packets * u32::from(form.frames_per_packet - 1);
    let headers = packets_per_second(audience.direct) * LINK_OVERHEAD_BYTES
        + packets_per_second(audience.relayed) * RELAY_OVERHEAD_BYTES
        + packets_per_second(audience.further_header_bytes)
        + packets_per_second(copied + bundled) * COPY_HEADER_BYTES;
    payload
        .saturating_add(headers.saturating_mul(8))
        .saturating_add(audience.direct * LINK_BACKGROUND_BPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: RateLimits = RateLimits {
        bitrate_bps: 32_000,
        frame: FrameDuration::Ms20,
        uplink_bps: None,
        redundancy: true,
    };

    fn listeners(direct: u32, worst_loss: f32, with_copies: u32) -> AudienceStats {
        AudienceStats {
            direct,
            relayed: 0,
            worst_loss: Some(worst_loss),
            loss_run: 1.1,
            with_copies,
            further_header_bytes: 0,
        }
    }

    #[test]
    fn a_network_that_loses_nothing_is_given_nothing_to_repair_with() {
        let plan = SendPlan::choose(FREE, listeners(1, 0.0, 0));
        assert_eq!(
            (plan.bitrate_bps, plan.expected_loss_percent, plan.copies.len()),
            (32_000, 0, 0)
        );
    }

    #[test]
    fn before_the_first_report_frames_can_be_repaired() {
        let plan = SendPlan::choose(FREE, AudienceStats { direct: 1, ..AudienceStats::default() });
        assert_eq!((plan.bitrate_bps, plan.expected_loss_percent), (32_000, 10));
    }

    #[test]
    fn copies_are_paid_for_by_half_and_never_make_it_sound_bad() {
        let plan = SendPlan::choose(FREE, listeners(1, 0.1, 1));
        assert_eq!(
            (plan.bitrate_bps, plan.expected_loss_percent, plan.copies),
            (24_000, 0, &[3][..])
        );
        let mixed = SendPlan::choose(FREE, listeners(2, 0.1, 1));
        assert_eq!(mixed.expected_loss_percent, 10, "a listener without copies needs FEC");
        let rich =
            SendPlan::choose(RateLimits { bitrate_bps: 64_000, ..FREE }, listeners(1, 0.1, 1));
        assert_eq!(rich.bitrate_bps, 48_000);
        let poor =
            SendPlan::choose(RateLimits { bitrate_bps: 12_000, ..FREE }, listeners(1, 0.1, 1));
        assert_eq!(poor.bitrate_bps, 12_000, "what the user asked for is not raised");
    }

    #[test]
    fn bursts_are_answered_by_wider_spacing_and_heavy_loss_by_two_copies() {
        let plan = |loss, loss_run| {
            SendPlan::choose(FREE, AudienceStats { loss_run, ..listeners(1, loss, 1) })
        };
        assert_eq!(plan(0.1, 1.1).copies, [3]);
        assert_eq!(plan(0.1, 3.0).copies, [4]);
        assert_eq!((plan(0.2, 1.2).copies, plan(0.2, 1.2).bitrate_bps), (&[2, 4][..], 19_200));
        for frame in FrameDuration::ALL {
            let plan = SendPlan::choose(RateLimits { frame, ..FREE }, listeners(1, 0.1, 1));
            let behind = u64::from(plan.copies[0]) * frame.millis();
            assert!((60..=80).contains(&behind), "{behind} ms behind with {frame:?}");
        }
    }

    /// proves: D-33
    #[test]
    fn near_the_uplinks_limit_bitrate_redundancy_and_headers_are_saved_in_turn() {
        let within = |limit, audience| {
            SendPlan::choose(RateLimits { uplink_bps: Some(limit), ..FREE }, audience)
        };
        let many = listeners(10, 0.0, 0);
        let free = SendPlan::choose(FREE, many);
        assert_eq!(free.uplink_bps, 10 * (32_000 + 50 * 107 * 8 + LINK_BACKGROUND_BPS));
        assert_eq!(within(free.uplink_bps, many), free, "what fits is left as it is");
        let tight = within(720_000, many);
        assert!(
            (24_000..32_000).contains(&tight.bitrate_bps) && tight.frames_per_packet == 1,
            "{tight:?}"
        );
        let tighter = within(600_000, many);
        assert_eq!(tighter.frames_per_packet, 2, "{tighter:?}");
        assert!(tighter.uplink_bps <= 600_000 && tighter.bitrate_bps > 24_000, "{tighter:?}");
        let lossy = listeners(10, 0.1, 10);
        let without = within(600_000, lossy);
        assert!(without.copies.is_empty() && without.uplink_bps <= 600_000, "{without:?}");
        let none = within(1, many);
        assert_eq!((none.bitrate_bps, none.frames_per_packet), (16_000, 3), "sent all the same");
        assert!(!none.is_within(Some(1)) && !none.is_good(FrameDuration::Ms20));
    }

    /// proves: B-15
    #[test]
    fn while_too_much_is_sent_nothing_is_sent_twice() {
        let plan = SendPlan::choose(RateLimits { redundancy: false, ..FREE }, listeners(1, 0.1, 1));
        assert_eq!(
            (plan.copies.len(), plan.bitrate_bps, plan.expected_loss_percent),
            (0, 32_000, 10)
        );
    }

    #[test]
    fn what_a_test_sends_is_clearly_less_or_is_known_not_to_be() {
        for frame in FrameDuration::ALL {
            let limits = |limit| RateLimits { frame, uplink_bps: Some(limit), ..FREE };
            for (direct, limit) in
                [1, 4].into_iter().flat_map(|direct| (30..100).map(move |limit| (direct, limit)))
            {
                let audience = listeners(direct, 0.1, 0);
                let usual = SendPlan::choose(limits(limit * 1_000 * direct), audience).uplink_bps;
                let sparse = SendPlan::sparse(RateLimits { frame, ..FREE }, audience, 10, usual);
                assert!(
                    sparse.uplink_bps <= usual,
                    "{frame:?}, {limit} kbit/s: {sparse:?} instead of {usual}"
                );
                let (most, least_bps) = if direct > 1 { (0.92, 34_000) } else { (0.85, 36_000) };
                let is_clear = f64::from(sparse.uplink_bps) <= most * f64::from(usual);
                assert_eq!(sparse.is_sparser_than(usual, audience), is_clear);
                assert!(
                    is_clear || usual < 53_000 * direct,
                    "{frame:?}, {limit} kbit/s: {sparse:?} instead of {usual}"
                );
                assert!(
                    !is_clear || usual > least_bps * direct,
                    "{frame:?}, {limit} kbit/s: {sparse:?} instead of {usual}"
                );
            }
        }
    }

    #[test]
    fn packets_of_a_test_to_several_links_are_no_longer_than_they_must_be() {
        for (direct, frames_per_packet) in [(1, 3), (2, 2), (7, 2)] {
            let audience = listeners(direct, 0.1, 0);
            let usual = SendPlan::without_copies(
                RateLimits { uplink_bps: Some(47_000 * direct), ..FREE },
                audience,
                10,
            );
            assert_eq!((usual.frames_per_packet, usual.bitrate_bps), (2, 20_000));
            let sparse = SendPlan::sparse(FREE, audience, 10, usual.uplink_bps);
            assert_eq!(sparse.frames_per_packet, frames_per_packet, "{direct}");
            assert!(sparse.is_sparser_than(usual.uplink_bps, audience));
        }
    }

    #[test]
    fn one_relayed_copy_goes_through_30_kilobits_a_second() {
        let relayed = AudienceStats { relayed: 1, ..AudienceStats::default() };
        for frame in [FrameDuration::Ms20, FrameDuration::Ms40, FrameDuration::Ms60] {
            let plan =
                SendPlan::choose(RateLimits { uplink_bps: Some(30_000), frame, ..FREE }, relayed);
            assert!(plan.is_within(Some(30_000)), "{frame:?}: {plan:?}");
        }
    }

    #[test]
    fn a_relayed_packet_is_paid_for_once_however_many_hear_it() {
        let relayed =
            AudienceStats { relayed: 1, worst_loss: Some(0.0), ..AudienceStats::default() };
        assert_eq!(SendPlan::choose(FREE, relayed).uplink_bps, 32_000 + 50 * 94 * 8);
    }

    #[test]
    fn a_second_relayed_packet_is_paid_for_as_well() {
        let relayed =
            |relayed| AudienceStats { relayed, worst_loss: Some(0.0), ..listeners(1, 0.0, 0) };
        let [one, two] = [1, 2].map(|count| SendPlan::choose(FREE, relayed(count)).uplink_bps);
        assert_eq!(two - one, 32_000 + 50 * 94 * 8);
        let limits = RateLimits { uplink_bps: Some(one), ..FREE };
        let within = SendPlan::choose(limits, relayed(2));
        assert!(within.uplink_bps <= one && within.bitrate_bps < 32_000, "{within:?}");
    }

    #[test]
    fn longer_headers_are_paid_for_and_saved_by_longer_packets() {
        let ipv6 = AudienceStats { further_header_bytes: 3 * 20, ..listeners(3, 0.0, 0) };
        let (v4, v6) = (SendPlan::choose(FREE, listeners(3, 0.0, 0)), SendPlan::choose(FREE, ipv6));
        assert_eq!(v6.uplink_bps - v4.uplink_bps, 3 * 20 * 8 * 50);
        let limits = RateLimits { uplink_bps: Some(v4.uplink_bps), ..FREE };
        let within = SendPlan::choose(limits, ipv6);
        assert!(within.uplink_bps <= v4.uplink_bps && within.bitrate_bps < 32_000, "{within:?}");
        let relayed = |further_header_bytes, limit| {
            let audience =
                AudienceStats { relayed: 1, further_header_bytes, ..AudienceStats::default() };
            SendPlan::choose(RateLimits { uplink_bps: Some(limit), ..FREE }, audience)
        };
        assert_eq!(relayed(0, 62_000).frames_per_packet, 1);
        assert_eq!(relayed(22, 62_000).frames_per_packet, 2, "with TLS a packet more is too much");
    }

    #[test]
    fn loss_is_believed_quickly_and_forgotten_slowly() {
        let mut listener = ListenerLoss::default();
        assert_eq!(listener.loss(), None);
        listener.report(50, 0, 0.0);
        assert!(!listener.wants_copies());
        listener.report(50, 10, 1.2);
        assert!(listener.wants_copies(), "{listener:?}");
        let good_seconds = (0..100).take_while(|_| {
            listener.report(50, 0, 0.0);
            listener.wants_copies()
        });
        assert!((5..40).contains(&good_seconds.count()));
    }

    #[test]
    fn one_lost_frame_of_a_few_is_no_bad_network() {
        let mut listener = ListenerLoss::default();
        listener.report(50, 0, 0.0);
        listener.report(3, 1, 1.0);
        assert!(!listener.wants_copies(), "{listener:?}");
        listener.report(0, 0, 0.0);
        listener.report(10, 1_000, f32::NAN);
        assert!(listener.run().is_finite());
        assert!(listener.loss() <= Some(1.0));
    }
}
