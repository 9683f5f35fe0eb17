//! How much the uplink carries: one estimate for all links of a peer and for the relay.
//!
//! Delay-based, at the sender, as in Google's congestion control (draft-ietf-rmcat-gcc-02) with
//! LEDBAT's measure of the queue (RFC 6817): a queue that stands above its threshold lowers the
//! estimate to 0.85 of what still arrives, and until it has drained less than that is sent. An
//! estimate that was never exceeded doubles while packets arrive as fast as they are sent (slow
//! start); later it grows slowly, or at once when a train of probes shows that there is room.
//!
//! Queues of a few packets and policers lose packets without delaying them. Loss alone is therefore
//! tested: less is sent for a moment. If the loss falls, by more than chance explains, or as much
//! arrives as before, it is congestion; if the same share is lost, it is the path, and redundancy
//! helps against it. Near the least that can be sent, nothing less would tell them apart: there the
//! estimate stays, and trains of probes may raise it.

use std::time::Duration;

use crate::path_history::PacketLoss;

/// Assumed of an uplink of which nothing is known: one copy of speech, directly or through the
/// relay.
const FIRST_ESTIMATE_BPS: f64 = 100_000.0;
const LOWEST_ESTIMATE_BPS: f64 = 20_000.0;
const HIGHEST_ESTIMATE_BPS: f64 = 100_000_000.0;
/// A queue longer than this, for longer than [`OVERUSE_AFTER`], is congestion.
const QUEUE_LIMIT: Duration = Duration::from_millis(60);
const OVERUSE_AFTER: Duration = Duration::from_millis(150);
/// A queue shorter than this has drained.
const QUEUE_DRAINED: Duration = Duration::from_millis(25);
/// Of what still arrives, what is sent after congestion; and until the queue has drained.
const BACK_OFF: f64 = 0.85;
const DRAIN: f64 = 0.7;
/// The same for a queue longer than [`LONG_QUEUE`].
const DRAIN_FAST: f64 = 0.5;
const LONG_QUEUE: Duration = Duration::from_millis(400);
/// Of what arrives when the first limit is met without a queue: a policer's bucket, which was full,
/// lets pass more than its rate for a moment.
const WITHOUT_BUCKET: f64 = 0.85;
/// Of what is sent, what is taken to arrive at least: with a long queue or much loss, and without.
const SURELY_CARRIED: f64 = 0.3;
const LIKELY_CARRIED: f64 = 0.6;
/// What was lowered shows after this and the time that packets queue.
const SETTLE: Duration = Duration::from_millis(500);
/// Growth per second once the limit was met.
const GROWTH_PER_S: f64 = 0.05;
/// The estimate grows by itself up to this share of what arrived when the limit was met; beyond, a
/// train must show room.
const BELOW_CEILING: f64 = 0.92;
/// The same where it may be a policer, and speech is relayed beside links: its bucket let more pass
/// than it carries, and for each packet that it drops of TCP, relayed speech stands still for 0.2 s.
const BELOW_POLICED: f64 = 0.85;
/// Where there is no link for a train, it grows beyond as well until one relayed copy sounds good …
const GOOD_COPY_BPS: f64 = 45_000.0;
/// … twice as fast after each such time without a queue …
const FASTER_AFTER: Duration = Duration::from_secs(2);
/// … but not oftener than this.
const MOST_DOUBLINGS: u64 = 3;
/// While opening links send this share of what speech does, a queue that stays is theirs.
const BACKGROUND_QUEUES: f64 = 0.25;
/// Between two doublings in slow start: what was sent more must have had time to show in
/// acknowledgements. This, and two round trips.
const START_STEP: Duration = Duration::from_millis(100);
/// In the first moments, and after each doubling, nothing is proved: acknowledgements that stay
/// away for so long then mean that too much was sent, rather than that the path is dead.
const UNPROVED: Duration = Duration::from_secs(2);
const STALLED: Duration = Duration::from_millis(250);
const STALL_BACK_OFF: f64 = 0.5;
/// After congestion the estimate stands still for this long, twice as long each time it had grown
/// before.
const FIRST_HOLD: Duration = Duration::from_secs(4);
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// A train is sent after at most this: an uplink may have become wider.
const LONGEST_TRAIN_HOLD: Duration = Duration::from_secs(12);
/// Without congestion for this long, the next one begins with [`FIRST_HOLD`].
const CALM: Duration = Duration::from_secs(60);
/// Loss above this, without a queue, is tested.
const LOSS_TESTED: f32 = 0.03;
/// Loss above this is congestion without a test, …
const LOSS_OVERWHELMING: f32 = 0.35;
/// … if of so few packets chance does not explain more of it than this.
const SURELY_OVERWHELMING: f64 = 0.25;
/// … when it stays for so long.
const OVERWHELMING_STAYS: Duration = Duration::from_millis(300);
/// Loss is tested when it has stayed for so long; the share that is lost is known better by then.
const LOSS_STAYS: Duration = Duration::from_millis(500);
/// At the lowest rate it must have stayed for this long.
const LOWEST_STAYS: Duration = Duration::from_millis(1_500);
/// Loss is looked at over this time.
const LOSS_SPAN: Duration = Duration::from_millis(1_200);
/// Rates are those of this time. In a shorter phrase they include the pause before it.
pub(crate) const RATE_SPAN: Duration = Duration::from_millis(700);
/// In a test, less is sent for this long, …
const TEST: Duration = Duration::from_millis(2_000);
/// … and for at most this long while too few packets were sent to decide.
const LONGEST_TEST: Duration = Duration::from_millis(4_000);
/// Between two looks at the paths more time passes only in a pause of speech, which counts as this
/// much.
const LONGEST_STEP: Duration = Duration::from_millis(200);
/// A test that began so long ago is over: the uplink may be another by now.
const STALE_TEST: Duration = Duration::from_secs(30);
/// What was sent before the test is settled after this.
const TEST_SETTLE: Duration = Duration::from_millis(800);
/// Of loss that comes from sending too much, this share is left in a test.
const LOSS_LEFT: f64 = 0.2;
/// With so much evidence (a logarithm of likelihoods) a test ends: the loss comes from sending too
/// much, …
const SURELY_CONGESTION: f64 = 3.5;
/// … or is the path's own.
const SURELY_PATH: f64 = -1.5;
/// When the longest test ends, this much is enough for congestion.
const LIKELY_CONGESTION: f64 = 1.5;
/// What arrives is compared when less than this share is sent: otherwise chance changes it as much.
const MUCH_LESS: f64 = 0.7;
/// What is lost more than the path's own loss is more than chance in this many standard errors: it
/// is looked at often.
const SURELY_MORE: f64 = 2.4;
/// What is sent is about as much as when the loss of the path was found, redundancy included.
const SAME_RATE: f64 = 1.2;
/// Loss that grows while this much more is sent needs no test.
const MUCH_MORE: f64 = 1.5;
/// The same before a limit was met, for loss that links begin to have together.
const CLEARLY_MORE: f64 = 1.25;
/// That is more than chance in this many standard errors.
const BEGAN_TO_LOSE: f64 = 3.3;
/// Of so many packets that were sent before at least.
const ENOUGH_CLEAR: u64 = 50;
/// When a test decides nothing and the estimate had been lowered, the next one begins after this.
const DOUBTED_FOR: Duration = Duration::from_secs(10);
/// The path's own loss is tested again after this, and after twice as long each time that it was
/// found again.
const FIRST_PATH_LOSS_LIFE: Duration = Duration::from_secs(45);
const LONGEST_PATH_LOSS_LIFE: Duration = Duration::from_secs(180);
/// Between two trains of probes when the last one showed room, and when it did not.
const TRAIN_INTERVAL: Duration = Duration::from_secs(1);
const TRAIN_RETRY: Duration = Duration::from_secs(5);
/// A train that arrives faster than this times the estimate shows room, …
const SHOWS_ROOM: f64 = 1.3;
/// … of which this is believed at once, and more when the next train confirms it: a busy machine
/// may have taken the packets of one train out of its socket together.
const UNCONFIRMED_GROWTH: f64 = 1.3;
/// Of what a train shows, what is believed.
const TRAIN_SHARE: f64 = 0.9;
/// A train confirms one that arrived at most this long ago.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(8);
/// Relayed speech that waits this long while links have no queue: TCP yields to what a policer
/// drops, and speech on links does not.
const RELAY_STARVES: Duration = Duration::from_millis(400);
/// The same before a limit was met, when it began after more was sent.
const RELAY_BEGINS_TO_WAIT: Duration = Duration::from_millis(120);
/// That lasts: after a pause of the server what waited comes at once.
const STARVES_FOR: Duration = Duration::from_millis(500);
/// Less is then sent for this long, …
const RELAY_SPARED_FOR: Duration = Duration::from_secs(8);
/// … of the estimate.
const RELAY_SPARED: f64 = 0.75;
/// What a train showed is proved when that much was sent for this long without loss: a policer lets
/// a train pass that fits its bucket.
const PROVED_AFTER: Duration = Duration::from_secs(10);
/// Clearly more than what was proved before.
const BEYOND_PROVED: f64 = 1.05;
/// When a train showed room that there was not, trains count for nothing for this long, and twice
/// as long each further time.
const FIRST_DISBELIEF: Duration = Duration::from_secs(60);
const LONGEST_DISBELIEF: Duration = Duration::from_secs(240);
/// For so long after a limit that lost packets without delaying them, trains count one step at a
/// time.
const POLICED_FOR: Duration = Duration::from_secs(20);
/// While speech is relayed, for so long …
const RELAY_POLICED_FOR: Duration = Duration::from_secs(180);
/// … and beyond what arrived then by steps so small that a policer drops few packets of them: of 8 %
/// it drops so many that TCP, and relayed speech with it, stands still for more than a second.
const POLICED_STEP: f64 = 1.03;
/// Up to what arrived then, the steps are larger: that is an uncertain measure.
const POLICED_RETURN: f64 = 1.08;
/// A train that arrives this many times faster than the estimate may have fitted into a bucket.
const WIRE_SPEED: f64 = 100.0;
/// What is clearly more than what was proved before, of such a step.
const BEYOND_POLICED: f64 = 1.015;
/// A train adds at most this much queue if the estimate is right.
const TRAIN_SECONDS: f64 = 0.1;
/// Packets in a train: what a link's congestion window lets out at once.
const TRAIN_PACKETS: u8 = 4;
const LEAST_PADDING: f64 = 120.0;
const MOST_PADDING: f64 = 1_000.0;

/// What was seen of all paths together in the last moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Observation {
    /// Speech was sent since the last look.
    pub is_sending: bool,
    /// A test would send clearly less than what is sent now.
    pub can_send_less: bool,
    /// Sent, and known to have arrived, in bits per second; headers included.
    pub sent_bps: f64,
    pub delivered_bps: f64,
    /// Sent beside speech, above all to open links.
    pub background_bps: f64,
    /// The queue that all paths have in common; `None` while nothing is measured.
    pub queueing: Option<Duration>,
    /// The shortest queue of a link; `None` while none is measured.
    pub links_queueing: Option<Duration>,
    /// The loss that all links have in common; `None` while too little was sent.
    pub loss: Option<f32>,
    /// The packets of the links that have it in common.
    pub packets: PacketLoss,
    /// Several links have it in common, and each is sent speech.
    pub is_of_several: bool,
    /// The shortest round trip of a path in use.
    pub round_trip: Duration,
    /// For how long an acknowledgement has been missing on every path.
    pub overdue: Duration,
    /// There are several such paths: it is not one of them that is dead.
    pub are_several: bool,
    /// Some of the speech is relayed.
    pub is_relaying: bool,
    /// How long relayed speech waits; zero while none is relayed.
    pub relay_waits: Duration,
    /// For how long an acknowledgement of relayed speech has been missing; zero while none is
    /// relayed.
    pub relay_overdue: Duration,
    /// There is a link to which a train of probes can be sent.
    pub has_links: bool,
}

impl Observation {
    /// What arrives of what is sent. Without a queue that is no more than what is sent: what seems to
    /// be more had waited for TCP to send it again, and comes in a lump.
    fn carried_bps(&self) -> f64 {
        match self.is_without_queue() {
            true => self.delivered_bps.min(self.sent_bps),
            false => self.delivered_bps,
        }
    }

    /// Only the relay shows a queue, and links lose packets: it may be TCP, which waits for what a
    /// policer dropped to be sent again.
    fn may_be_policed(&self) -> bool {
        let links_queue = self.links_queueing.is_some_and(|queueing| queueing > QUEUE_LIMIT);
        self.is_relays_queue() && !links_queue && self.loss >= Some(LOSS_TESTED)
    }

    fn is_relays_queue(&self) -> bool {
        self.is_relaying && self.queueing == Some(self.relay_waits)
    }

    /// Packets of links are on their way as shortly as ever.
    fn are_links_quick(&self) -> bool {
        self.links_queueing.is_some_and(|queueing| queueing <= QUEUE_DRAINED)
    }

    /// Packets are lost where they do not queue, or TCP waits for those that were.
    fn is_without_queue(&self) -> bool {
        self.queueing.unwrap_or_default() <= QUEUE_LIMIT
            || self.is_relays_queue() && self.are_links_quick()
    }

    /// Links lose nothing to speak of, and relayed speech does not wait.
    fn is_clear(&self) -> bool {
        let loses = self.packets.lost > 1 && self.loss >= Some(LOSS_TESTED);
        !loses && self.relay_waits.max(self.relay_overdue) <= QUEUE_LIMIT
    }
}

/// A train of probes to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Its number, which the report names.
    pub number: u16,
    /// How many probes it has.
    pub packets: u8,
    /// Bytes of padding in each.
    pub padding: u16,
}

/// The estimate, and how it came about.
#[derive(Clone, Debug)]
pub(crate) struct UplinkEstimate {
    estimate_bps: f64,
    /// No limit was met yet.
    is_starting: bool,
    doubled_at: Duration,
    /// Until then a stall is taken for congestion.
    unproved_until: Option<Duration>,
    /// All of several paths stalled: until then, or until one answers, the uplink is taken for full.
    stalled_until: Option<Duration>,
    updated_at: Option<Duration>,
    /// For how long speech has been sent without a pause.
    unbroken_for: Duration,
    overused_since: Option<Duration>,
    is_draining: bool,
    queueing: Duration,
    /// The queue when the estimate was lowered last.
    lowered_with: Duration,
    lowered_at: Option<Duration>,
    /// What arrived when the limit was met last.
    ceiling_bps: Option<f64>,
    /// For how long speech has been sent without a queue while the estimate grew beyond that
    /// without a train.
    beyond_for: Duration,
    lower_again_at: Duration,
    has_grown: bool,
    hold: Duration,
    hold_until: Duration,
    /// For how long speech was sent while there was loss that is to be tested.
    unexplained_for: Option<Duration>,
    test: Option<LossTest>,
    path_loss: Option<PathLoss>,
    path_loss_life: Duration,
    before_loss: Option<BeforeLoss>,
    clear: ClearPaths,
    /// What became of the packets of the last moments, …
    packets: PacketLoss,
    /// … and of those of the last seconds, since the estimate was lowered.
    recent: PacketLoss,
    recent_at: Duration,
    next_train: u16,
    train_at: Duration,
    train: Option<SentTrain>,
    /// When the last train showed room, and how much.
    shown: Option<(Duration, f64)>,
    /// A limit was met that lost packets without delaying them, as a policer does.
    policed: Option<Policed>,
    /// A limit was met that may have been such a one.
    maybe_policed: Option<Policed>,
    /// Some of the speech is relayed.
    is_relaying: bool,
    /// What a train showed and speech has not proved yet.
    unproved: Option<Unproved>,
    /// Since when relayed speech has waited too long.
    relay_starves_since: Option<Duration>,
    /// Until then less is sent, for the sake of relayed speech.
    relay_spared_until: Option<Duration>,
    /// Trains count for nothing until then, and for how long the next time.
    disbelieved_until: Duration,
    disbelief: Duration,
}

/// The estimate as it was before trains raised it.
#[derive(Clone, Copy, Debug)]
struct Unproved {
    proved_bps: f64,
    /// What became of packets until then.
    packets: PacketLoss,
    /// For how long more than that was sent without loss.
    sent_for: Duration,
}

/// Before a limit was met: paths that lose nothing to speak of, and on which nothing waits.
#[derive(Clone, Copy, Debug, Default)]
struct ClearPaths {
    /// What was sent then, in bits per second; zero while that is not known.
    sent_bps: f64,
    /// What is sent too much may pass for a moment: this is to stay clear before it counts.
    newest_bps: f64,
    /// What became of the packets of links.
    packets: PacketLoss,
    counted_at: Duration,
}

/// A limit that lost packets without delaying them.
#[derive(Clone, Copy, Debug)]
struct Policed {
    /// When it was met last.
    at: Duration,
    /// The most that arrived when it was.
    most_bps: f64,
}

/// Less is sent for a moment, to see what becomes of the loss.
#[derive(Clone, Copy, Debug)]
struct LossTest {
    began: Duration,
    /// For how long speech was sent in it.
    spoken: Duration,
    before: Observation,
    estimate_bps: f64,
}

/// What was estimated before loss lowered it.
#[derive(Clone, Copy, Debug)]
struct BeforeLoss {
    estimate_bps: f64,
    seen: Observation,
}

/// The share that the path itself loses, whatever is sent.
#[derive(Clone, Copy, Debug)]
struct PathLoss {
    share: f32,
    /// What was sent when that was found, and what became of it.
    sent_bps: f64,
    packets: PacketLoss,
    /// When packets were last added to those.
    counted_at: Duration,
    until: Duration,
}

#[derive(Clone, Copy, Debug)]
struct SentTrain {
    train: Train,
    bytes: f64,
}

impl UplinkEstimate {
    pub(crate) fn new() -> Self {
        Self {
            estimate_bps: FIRST_ESTIMATE_BPS,
            is_starting: true,
            doubled_at: Duration::ZERO,
            unproved_until: None,
            stalled_until: None,
            updated_at: None,
            unbroken_for: Duration::ZERO,
            overused_since: None,
            is_draining: false,
            queueing: Duration::ZERO,
            lowered_with: Duration::ZERO,
            lowered_at: None,
            ceiling_bps: None,
            beyond_for: Duration::ZERO,
            lower_again_at: Duration::ZERO,
            has_grown: false,
            hold: FIRST_HOLD,
            hold_until: Duration::ZERO,
            unexplained_for: None,
            test: None,
            path_loss: None,
            path_loss_life: FIRST_PATH_LOSS_LIFE,
            before_loss: None,
            clear: ClearPaths::default(),
            packets: PacketLoss::default(),
            recent: PacketLoss::default(),
            recent_at: Duration::ZERO,
            next_train: 0,
            train_at: Duration::ZERO,
            train: None,
            shown: None,
            policed: None,
            maybe_policed: None,
            is_relaying: false,
            relay_starves_since: None,
            unproved: None,
            relay_spared_until: None,
            disbelieved_until: Duration::ZERO,
            disbelief: FIRST_DISBELIEF,
        }
    }

    /// A limit was met, and later this much was carried.
    #[cfg(test)]
    pub(crate) fn known(bps: u32) -> Self {
        Self { estimate_bps: bps.into(), is_starting: false, ..Self::new() }
    }

    /// A limit is met.
    #[cfg(test)]
    pub(crate) fn lower_by(&mut self, now: Duration, seen: Observation) {
        self.lower(now, seen);
    }

    /// What the uplink carries, in bits per second.
    pub(crate) fn bps(&self) -> u32 {
        self.estimate_bps as u32
    }

    /// What may be sent now: less than the estimate while a queue drains.
    pub(crate) fn budget_bps(&self) -> u32 {
        let share = match self.is_draining {
            true if self.queueing > LONG_QUEUE => DRAIN_FAST,
            true => DRAIN,
            false if self.relay_spared_until.is_some() => RELAY_SPARED,
            false => 1.0,
        };
        (self.estimate_bps * share) as u32
    }

    /// No limit was met yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Packets are few and small for a moment, to tell congestion from a lossy path.
    pub(crate) fn is_testing(&self) -> bool {
        self.test.is_some()
    }

    /// Over how long loss is to be looked at now: in a test, since less has been sent.
    pub(crate) fn loss_span(&self, now: Duration) -> Duration {
        let sparse_for = |test: LossTest| now.saturating_sub(test.began + TEST_SETTLE);
        self.test.map_or(LOSS_SPAN, |test| sparse_for(test).max(TEST_SETTLE))
    }

    /// Whether more packets would be a mistake: a limit was met lately, or one is being looked for.
    pub(crate) fn is_congested(&self, now: Duration) -> bool {
        self.is_testing()
            || self.is_draining
            || self.stalled_until.is_some()
            || self.relay_spared_until.is_some()
            || self.lowered_at.is_some_and(|at| now < at + 2 * FIRST_HOLD)
    }

    /// Whether packets queue now. A link that stalls then is full rather than dead.
    pub(crate) fn is_full(&self) -> bool {
        self.is_draining || self.overused_since.is_some() || self.stalled_until.is_some()
    }

    /// Redundancy was tried and has not helped: the loss is congestion.
    pub(crate) fn redundancy_failed(&mut self, now: Duration, seen: Observation) {
        self.lower_for_loss(now, seen, seen);
    }

    /// Takes what was seen. Call about every 100 ms while speech is sent, and shortly after it.
    pub(crate) fn update(&mut self, now: Duration, seen: Observation) {
        let since_last = self.updated_at.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        let elapsed = since_last.min(LONGEST_STEP);
        self.updated_at = Some(now);
        let is_unbroken = seen.is_sending && since_last <= LONGEST_STEP;
        self.unbroken_for = if is_unbroken { self.unbroken_for + elapsed } else { Duration::ZERO };
        let queueing = seen.queueing.unwrap_or_default();
        self.queueing = queueing;
        self.is_relaying = seen.is_relaying;
        if queueing > QUEUE_LIMIT {
            self.overused_since.get_or_insert(now);
        } else {
            self.overused_since = None;
        }
        if queueing < QUEUE_DRAINED && now >= self.lower_again_at {
            self.is_draining = false;
        }
        if self.path_loss.is_some_and(|path| now >= path.until) {
            self.path_loss = None;
        }
        if self.lowered_at.is_some_and(|at| now >= at + CALM) && now >= self.disbelieved_until {
            (self.hold, self.lowered_at, self.before_loss) = (FIRST_HOLD, None, None);
        }
        // A policer takes from relayed speech more than is gained by looking for its rate so soon.
        if self.lowered_at.is_none() && !self.may_be_policed(now) {
            self.ceiling_bps = None;
        }
        self.test = self.test.filter(|test| now < test.began + STALE_TEST);
        let loss = seen.loss.unwrap_or(0.0);
        let beyond = self.beyond(now);
        if let Some(unproved) = &mut self.unproved
            && seen.is_sending
            && loss < LOSS_TESTED
            && unproved.is_exceeded_by(seen, beyond)
        {
            unproved.sent_for += elapsed;
            self.unproved.take_if(|unproved| unproved.sent_for >= PROVED_AFTER);
        }
        if !self.is_unexplained(loss) || since_last > LONGEST_STEP {
            self.unexplained_for = None;
        }
        if seen.packets.settled > 0 {
            self.packets = seen.packets;
        }
        if seen.is_sending && now >= self.recent_at + LOSS_SPAN {
            (self.recent, self.recent_at) = (self.recent.faded().and(seen.packets), now);
        }
        if let Some(path) = &mut self.path_loss
            && seen.is_sending
            && self.test.is_none()
            && self.before_loss.is_none()
            && !seen.packets.is_more_than(path.packets, 1.0)
            && now >= path.counted_at + LOSS_SPAN
            && seen.sent_bps < path.sent_bps * SAME_RATE
        {
            (path.packets, path.counted_at) = (path.packets.and(seen.packets), now);
        }
        if self.is_starting && seen.is_sending && self.knows_rates() {
            self.clear.count(now, seen);
        }
        let answers = seen.queueing.is_some() && seen.overdue < STALLED;
        self.stalled_until.take_if(|until| answers || now >= *until);
        self.spare_relay(now, seen);
        let unproved_until = *self.unproved_until.get_or_insert(now + UNPROVED);
        if self.is_starting && now < unproved_until && seen.overdue >= STALLED {
            self.estimate_bps = (self.estimate_bps * STALL_BACK_OFF).max(LOWEST_ESTIMATE_BPS);
            self.unproved_until = Some(now);
            // A single path may as well be dead, so that speech looks for another one.
            self.stalled_until = seen.are_several.then_some(now + UNPROVED);
        } else if self.overused_since.is_some_and(|since| now >= since + OVERUSE_AFTER) {
            self.test = None;
            if now >= self.lower_again_at {
                self.lower(now, seen);
            }
        } else if self.test.is_some() || self.is_unexplained(loss) && now >= self.lower_again_at {
            // After the last packet of a phrase nothing more is learned of loss.
            if seen.is_sending {
                self.weigh_loss(now, elapsed, loss, seen);
            }
        } else if seen.queueing.is_some_and(|queueing| queueing < QUEUE_DRAINED) {
            self.grow(now, seen, elapsed);
        }
    }

    /// Sends less while relayed speech starves beside links without a queue.
    fn spare_relay(&mut self, now: Duration, seen: Observation) {
        self.relay_spared_until.take_if(|until| now >= *until);
        let starves = seen.relay_waits >= RELAY_STARVES
            || self.is_starting && self.clear.relay_began_to_wait(seen);
        if !starves || !seen.has_links || self.overused_since.is_some() {
            self.relay_starves_since = None;
            return;
        }
        if now < *self.relay_starves_since.get_or_insert(now) + STARVES_FOR {
            return;
        }
        self.relay_spared_until = Some(now + RELAY_SPARED_FOR);
        // The server may be what is slow: only what no limit or train has proved is taken back for
        // good.
        let beyond = self.beyond(now);
        let is_unproved =
            self.unproved.is_some_and(|unproved| unproved.is_exceeded_by(seen, beyond));
        if let Some(unproved) = self.unproved.filter(|_| is_unproved) {
            self.disbelieve(now, unproved, seen);
        } else if self.is_starting && now >= self.lower_again_at {
            self.lower(now, seen);
        }
    }

    /// Tests loss that nothing explains, or goes on with the test.
    fn weigh_loss(&mut self, now: Duration, elapsed: Duration, loss: f32, seen: Observation) {
        if let Some(test) = &mut self.test {
            test.spoken += elapsed;
            let test = *test;
            if test.spoken >= TEST {
                self.finish_test(now, test, seen);
            }
            return;
        }
        let lasted = self.unexplained_for.map_or(Duration::ZERO, |lasted| lasted + elapsed);
        self.unexplained_for = Some(lasted);
        let stays = lasted >= OVERWHELMING_STAYS;
        let is_overwhelming = loss >= LOSS_OVERWHELMING
            && seen.packets.at_least() >= SURELY_OVERWHELMING
            && self
                .path_loss
                .is_none_or(|path| seen.packets.is_more_than(path.packets, SURELY_MORE));
        let beyond = self.beyond(now);
        if let Some(unproved) = self.unproved
            && stays
            && unproved.is_exceeded_by(seen, beyond)
            && (unproved.packets.lost == 0 || seen.packets.is_more_than(unproved.packets, 2.0))
        {
            self.disbelieve(now, unproved, seen);
        } else if is_overwhelming && stays
            || self.has_grown_with_rate(seen)
            || self.is_starting && self.knows_rates() && self.clear.began_to_lose(seen)
        {
            self.lower_for_loss(now, seen, seen);
        } else if lasted >= LOSS_STAYS && self.knows_rates() && seen.can_send_less {
            self.test = Some(LossTest {
                began: now,
                spoken: Duration::ZERO,
                before: seen,
                estimate_bps: self.estimate_bps,
            });
        } else if let Some(before) = self.before_loss
            && lasted >= LOWEST_STAYS
            && self.knows_rates()
            && !seen.can_send_less
            && self.is_lost_all_the_same(before.seen, seen)
        {
            self.take_back(now, before.seen);
            self.is_of_path(now, before.seen, loss);
        }
    }

    /// The limit by which trains count by small steps, if there is one.
    fn small_steps(&self, now: Duration) -> Option<Policed> {
        self.policed.filter(|policed| self.is_relaying && now < policed.at + RELAY_POLICED_FOR)
    }

    /// The same for a train that showed this: an uplink that became wide shows its new rate, and the
    /// bucket of a policer that of the wire.
    fn small_steps_after(&self, now: Duration, measured_bps: f64) -> Option<Policed> {
        let shows_wire = measured_bps > WIRE_SPEED * self.estimate_bps;
        self.small_steps(now).or_else(|| self.doubted_steps(now).filter(|_| shows_wire))
    }

    fn doubted_steps(&self, now: Duration) -> Option<Policed> {
        self.maybe_policed
            .filter(|policed| self.is_relaying && now < policed.at + RELAY_POLICED_FOR)
    }

    fn may_be_policed(&self, now: Duration) -> bool {
        self.small_steps(now).or_else(|| self.doubted_steps(now)).is_some()
    }

    /// So many times what was proved is clearly more than that.
    fn beyond(&self, now: Duration) -> f64 {
        match self.may_be_policed(now) {
            true => BEYOND_POLICED,
            false => BEYOND_PROVED,
        }
    }

    /// The train passed and speech does not: back to a little less than what was proved.
    fn disbelieve(&mut self, now: Duration, unproved: Unproved, seen: Observation) {
        let proved_bps = unproved.proved_bps;
        let proved = Observation {
            delivered_bps: proved_bps,
            sent_bps: proved_bps,
            background_bps: 0.0,
            ..seen
        };
        self.lower_for_loss(now, proved, seen);
        // What was too much is known now.
        self.policed = self.policed.map(|policed| Policed { most_bps: proved_bps, ..policed });
        self.disbelieved_until = now + self.disbelief;
        self.disbelief = (self.disbelief * 2).min(LONGEST_DISBELIEF);
    }

    /// Lowers the estimate because of the loss that was seen `before`: if that is found to be the
    /// path's own, it is taken back.
    fn lower_for_loss(&mut self, now: Duration, seen: Observation, before: Observation) {
        let before = self
            .before_loss
            .unwrap_or(BeforeLoss { estimate_bps: self.estimate_bps, seen: before });
        self.lower(now, seen);
        self.before_loss = Some(before);
        (self.path_loss, self.path_loss_life) = (None, FIRST_PATH_LOSS_LIFE);
    }

    /// As little is sent as can be, and as much of it is lost as when the estimate was lowered for
    /// that, and not because what arrives is all that fits.
    fn is_lost_all_the_same(&self, before: Observation, seen: Observation) -> bool {
        let sent = seen.sent_bps / before.sent_bps.max(1.0);
        let delivered = seen.delivered_bps / before.delivered_bps.max(1.0);
        sent < MUCH_LESS
            && delivered < f64::midpoint(sent, 1.0)
            && evidence_of_congestion(before.packets, seen.packets) <= SURELY_PATH
    }

    fn is_unexplained(&self, loss: f32) -> bool {
        let Some(path) = self.path_loss else { return loss >= LOSS_TESTED };
        let is_more =
            self.before_loss.is_some() || self.packets.is_more_than(path.packets, SURELY_MORE);
        loss >= path.share * 1.6 + LOSS_TESTED && is_more
    }

    /// The rates are those of speech, without a pause.
    fn knows_rates(&self) -> bool {
        self.unbroken_for >= RATE_SPAN
    }

    /// The path lost less when less was sent: what it loses more now is congestion, without a test.
    fn has_grown_with_rate(&self, seen: Observation) -> bool {
        let has_grown = |path: PathLoss| {
            seen.sent_bps >= path.sent_bps * MUCH_MORE
                && seen.packets.is_more_than(path.packets, 2.0)
        };
        self.knows_rates() && self.path_loss.is_some_and(has_grown)
    }

    fn finish_test(&mut self, now: Duration, test: LossTest, seen: Observation) {
        let ratio = |after: f64, before: f64| self.knows_rates().then(|| after / before.max(1.0));
        let sent = ratio(seen.sent_bps, test.before.sent_bps);
        let delivered = ratio(seen.delivered_bps, test.before.delivered_bps);
        // As much arrives though much less is sent: the path was full, and may be even now, of what
        // links send that open.
        let was_full = sent.zip(delivered).is_some_and(|(sent, delivered)| {
            sent < MUCH_LESS && delivered > f64::midpoint(sent, 1.0)
        });
        let evidence = evidence_of_congestion(test.before.packets, seen.packets);
        // None of the links may be left: nothing is learned.
        let is_empty = seen.packets.settled == 0;
        let is_decided =
            was_full || is_empty || !(SURELY_PATH..SURELY_CONGESTION).contains(&evidence);
        if !is_decided && test.spoken < LONGEST_TEST {
            return;
        }
        self.test = None;
        if is_empty {
            return;
        }
        if was_full || evidence >= LIKELY_CONGESTION {
            self.estimate_bps = test.estimate_bps;
            let carried = test.before.carried_bps().max(seen.carried_bps());
            let sent_bps = test.before.sent_bps.max(seen.sent_bps);
            let carried = Observation { sent_bps, delivered_bps: carried, ..seen };
            self.lower_for_loss(now, carried, test.before);
            self.is_draining = false;
        } else {
            if evidence <= SURELY_PATH || evidence < 0.0 && self.before_loss.is_some() {
                self.take_back(now, test.before);
            }
            self.is_draining = false;
            self.is_of_path(now, test.before, seen.loss.unwrap_or(0.0));
            if evidence <= SURELY_PATH {
                self.path_loss_life = (self.path_loss_life * 2).min(LONGEST_PATH_LOSS_LIFE);
            }
            if self.lowered_at.is_some() {
                self.path_loss =
                    self.path_loss.map(|path| PathLoss { until: now + DOUBTED_FOR, ..path });
            }
        }
    }

    /// What was taken for congestion before was none.
    fn take_back(&mut self, now: Duration, seen: Observation) {
        let before = self.before_loss.take();
        let estimate_bps =
            before.map_or(0.0, |before| before.estimate_bps.min(before.seen.sent_bps * 1.5));
        self.estimate_bps = self.estimate_bps.max(seen.sent_bps * 1.5).max(estimate_bps);
        if before.is_some() {
            self.disbelieved_until = now;
        }
        (self.lowered_at, self.ceiling_bps) = (None, None);
        (self.policed, self.maybe_policed) = (None, None);
        (self.hold, self.hold_until) = (FIRST_HOLD, now);
    }

    /// What was lost is the path's own, for a while.
    fn is_of_path(&mut self, now: Duration, before: Observation, loss: f32) {
        let share = before.loss.unwrap_or(0.0).max(loss);
        let Observation { sent_bps, packets, .. } = before;
        self.path_loss = Some(PathLoss {
            share,
            sent_bps,
            packets,
            counted_at: now,
            until: now + self.path_loss_life,
        });
    }

    fn lower(&mut self, now: Duration, seen: Observation) {
        if self.has_grown {
            self.hold = (self.hold * 2).min(LONGEST_HOLD);
        }
        // What arrives within a moment is an uncertain measure; a long queue makes it a better one.
        let sent = seen.sent_bps.min(self.estimate_bps);
        let loses_much = seen.packets.at_least() >= SURELY_OVERWHELMING;
        let least = match loses_much || seen.queueing > Some(LONG_QUEUE) {
            true => SURELY_CARRIED,
            false => LIKELY_CARRIED,
        };
        // What opening links sent arrives as well: without it a full uplink would seem to carry
        // almost nothing.
        let arrived_bps = seen.carried_bps();
        let bucket = if self.is_starting && seen.is_without_queue() { WITHOUT_BUCKET } else { 1.0 };
        let carried = (arrived_bps.max(sent * least) + seen.background_bps) * bucket;
        // What seems to arrive may be old packets in a lump. A queue that has not become shorter
        // since the last time says that it was too much.
        let queueing = seen.queueing.unwrap_or_default();
        let is_stuck = self.is_draining
            && queueing >= self.lowered_with
            && !queueing.is_zero()
            && seen.background_bps < BACKGROUND_QUEUES * seen.sent_bps;
        let most = if is_stuck { self.estimate_bps * BACK_OFF } else { self.estimate_bps };
        self.estimate_bps =
            most.min(carried * BACK_OFF).max(LOWEST_ESTIMATE_BPS).min(self.estimate_bps);
        self.lowered_with = queueing;
        // What arrives at a moment may be less than the policer's rate, and hardly more.
        let before = self.policed.filter(|policed| now < policed.at + RELAY_POLICED_FOR);
        let most_bps = before.map_or(0.0, |policed| policed.most_bps).max(arrived_bps);
        let policed = Policed { at: now, most_bps };
        self.policed = (queueing <= QUEUE_LIMIT).then_some(policed);
        let may_be_policed = seen.may_be_policed() || seen.is_without_queue();
        self.maybe_policed = may_be_policed.then_some(policed);
        self.beyond_for = Duration::ZERO;
        self.ceiling_bps = Some(carried);
        self.is_starting = false;
        self.has_grown = false;
        self.is_draining = true;
        self.lowered_at = Some(now);
        self.lower_again_at = now + SETTLE + seen.queueing.unwrap_or_default();
        self.hold_until = now + self.hold;
        self.train_at = now + self.hold.min(LONGEST_TRAIN_HOLD);
        (self.train, self.shown, self.unproved) = (None, None, None);
        self.before_loss = None;
        (self.recent, self.recent_at) = (PacketLoss::default(), now);
    }

    fn grow(&mut self, now: Duration, seen: Observation, elapsed: Duration) {
        let arrives = seen.delivered_bps >= 0.7 * seen.sent_bps && seen.overdue < QUEUE_DRAINED;
        if self.is_starting {
            if arrives
                && seen.sent_bps >= 0.35 * self.estimate_bps
                && now >= self.doubled_at + START_STEP + 2 * seen.round_trip
            {
                self.doubled_at = now;
                self.unproved_until = Some(now + UNPROVED);
                self.estimate_bps = (self.estimate_bps * 2.0).min(HIGHEST_ESTIMATE_BPS);
            }
        } else if now >= self.hold_until
            && self.relay_spared_until.is_none()
            && arrives
            && seen.sent_bps >= 0.6 * self.estimate_bps
        {
            let is_policed = seen.has_links && self.may_be_policed(now);
            let below = if is_policed { BELOW_POLICED } else { BELOW_CEILING };
            let most = self.ceiling_bps.map_or(f64::INFINITY, |ceiling| ceiling * below);
            let growth_per_s = if self.estimate_bps < most {
                GROWTH_PER_S
            } else if seen.has_links || self.estimate_bps >= GOOD_COPY_BPS {
                self.beyond_for = Duration::ZERO;
                0.0
            } else {
                // The ceiling may be wrong, and only speech itself can show that.
                let doublings =
                    (self.beyond_for.as_secs() / FASTER_AFTER.as_secs()).min(MOST_DOUBLINGS);
                self.beyond_for += elapsed;
                GROWTH_PER_S * f64::from(1_u32 << doublings)
            };
            if growth_per_s > 0.0 {
                self.estimate_bps *= 1.0 + growth_per_s * elapsed.as_secs_f64();
                self.has_grown = true;
            }
        }
    }

    /// A train of probes to send, if more than the estimate is wanted and it is time to look for
    /// it.
    pub(crate) fn train(&mut self, now: Duration, wanted_bps: u32) -> Option<Train> {
        let is_calm = self.test.is_none()
            && !self.is_draining
            && self.overused_since.is_none()
            && self.relay_spared_until.is_none();
        let train_at = self.train_at.max(self.disbelieved_until);
        // A train would only empty the policer's bucket, and TCP would lose what comes after it.
        let is_step_unproved =
            self.small_steps(now).zip(self.unproved).is_some_and(|(policed, unproved)| {
                self.estimate_bps >= policed.next_step_bps(unproved.proved_bps)
            });
        if self.is_starting
            || !is_calm
            || is_step_unproved
            || f64::from(wanted_bps) <= self.estimate_bps
            || now < train_at
        {
            return None;
        }
        self.train_at = now + TRAIN_RETRY;
        self.next_train = self.next_train.wrapping_add(1);
        let gaps = f64::from(TRAIN_PACKETS - 1);
        let padding = (self.estimate_bps * TRAIN_SECONDS / 8.0 / gaps)
            .clamp(LEAST_PADDING, MOST_PADDING) as u16;
        Some(Train { number: self.next_train, packets: TRAIN_PACKETS, padding })
    }

    /// The train was sent; each of its packets has `bytes`, headers included.
    pub(crate) fn train_sent(&mut self, train: Train, bytes: u32) {
        self.train = Some(SentTrain { train, bytes: bytes.into() });
    }

    /// What arrived of a train.
    pub(crate) fn train_arrived(
        &mut self,
        now: Duration,
        number: u16,
        received: u8,
        span: Duration,
    ) {
        // Where the path loses by itself, one packet may be missing: what arrived shows no more
        // than there is.
        let missing = u8::from(self.path_loss.is_some() && self.before_loss.is_none());
        let is_whole = |sent: &SentTrain| {
            (sent.train.packets - missing..=sent.train.packets).contains(&received)
        };
        let Some(SentTrain { bytes, .. }) =
            self.train.filter(|sent| sent.train.number == number && is_whole(sent))
        else {
            return;
        };
        self.train = None;
        let seconds = span.as_secs_f64().max(0.000_5);
        let measured_bps = f64::from(received - 1) * bytes * 8.0 / seconds;
        let shown = self.shown.take().filter(|(at, _)| now <= *at + CONFIRMED_WITHIN);
        // What was not believed of the last train is room already.
        let needed_bps = if shown.is_some() {
            self.estimate_bps / TRAIN_SHARE
        } else {
            SHOWS_ROOM * self.estimate_bps
        };
        if measured_bps > needed_bps {
            let (growth, least_bps) = shown
                .map_or((UNCONFIRMED_GROWTH, measured_bps), |(_, before_bps)| {
                    (2.0, measured_bps.min(before_bps))
                });
            let small_steps = self.small_steps_after(now, measured_bps);
            let unproved = Unproved {
                proved_bps: self.estimate_bps,
                packets: self.recent,
                sent_for: Duration::ZERO,
            };
            let proved_bps = self.unproved.get_or_insert(unproved).proved_bps;
            let growth_bps = growth * self.estimate_bps;
            // Where a train may pass that speech does not, each step is to be proved.
            let most_bps = match (small_steps, self.policed) {
                (Some(policed), _) => growth_bps.min(policed.next_step_bps(proved_bps)),
                (None, Some(policed)) if now < policed.at + POLICED_FOR => {
                    growth_bps.min(UNCONFIRMED_GROWTH * proved_bps)
                }
                (None, _) => growth_bps,
            };
            let most_bps = most_bps.min(HIGHEST_ESTIMATE_BPS);
            let before_bps = self.estimate_bps;
            let share =
                if self.may_be_policed(now) { TRAIN_SHARE * BELOW_POLICED } else { TRAIN_SHARE };
            self.estimate_bps = (share * least_bps).max(before_bps).min(most_bps.max(before_bps));
            self.ceiling_bps = self.ceiling_bps.map(|ceiling| ceiling.max(self.estimate_bps));
            self.has_grown = true;
            self.train_at =
                now + if self.estimate_bps > before_bps { TRAIN_INTERVAL } else { TRAIN_RETRY };
            self.shown = Some((now, measured_bps));
        }
    }
}

impl Policed {
    /// Up to where one step goes from what was proved.
    fn next_step_bps(self, proved_bps: f64) -> f64 {
        let beyond_bps = POLICED_STEP * proved_bps.max(self.most_bps);
        beyond_bps.min(POLICED_RETURN * proved_bps)
    }
}

impl ClearPaths {
    fn count(&mut self, now: Duration, seen: Observation) {
        // What chance takes when no more is sent than that belongs to them as well: only moments
        // without loss would make any loss seem new.
        let is_clear = seen.is_clear();
        if now < self.counted_at + RATE_SPAN || !is_clear && self.is_exceeded_by(seen) {
            return;
        }
        if is_clear {
            (self.sent_bps, self.newest_bps) = (self.newest_bps, seen.sent_bps);
        }
        (self.packets, self.counted_at) = (self.packets.faded().and(seen.packets), now);
    }

    /// Clearly more is sent than when nothing was lost and nothing waited.
    fn is_exceeded_by(self, seen: Observation) -> bool {
        self.sent_bps > 0.0 && seen.sent_bps >= self.sent_bps * CLEARLY_MORE
    }

    /// Several links began to lose together after more was sent.
    fn began_to_lose(self, seen: Observation) -> bool {
        seen.is_of_several
            && self.packets.settled >= ENOUGH_CLEAR
            && self.is_exceeded_by(seen)
            && seen.packets.is_more_than(self.packets, BEGAN_TO_LOSE)
    }

    /// Relayed speech began to wait after more was sent, and links carry what they are sent.
    fn relay_began_to_wait(self, seen: Observation) -> bool {
        seen.relay_waits.max(seen.relay_overdue) >= RELAY_BEGINS_TO_WAIT
            && seen.are_links_quick()
            && self.is_exceeded_by(seen)
    }
}

impl Unproved {
    /// Whether so many times what was proved is sent.
    fn is_exceeded_by(self, seen: Observation, beyond: f64) -> bool {
        seen.sent_bps + seen.background_bps >= self.proved_bps * beyond
    }
}

/// How much likelier what was lost in a test is if most of the loss before it came from sending too
/// much than if all of that is the path's own: the logarithm of the ratio, as in Wald's sequential
/// test.
fn evidence_of_congestion(before: PacketLoss, during: PacketLoss) -> f64 {
    // A test begins when much was lost; some of that was chance: three quarters of a standard
    // error.
    let lost = before.lost as f64;
    let usual = (lost - (0.75 * lost.sqrt()).max(1.0)) / before.settled.max(1) as f64;
    let usual = usual.clamp(0.01, 0.9);
    let left = usual * LOSS_LEFT;
    let arrived = during.settled.saturating_sub(during.lost) as f64;
    during.lost as f64 * (left / usual).ln() + arrived * ((1.0 - left) / (1.0 - usual)).ln()
}

#[cfg(test)]
mod tests;
