//! How speech is sent, and by which routes: what listeners report and what paths do to packets,
//! weighed against the uplink.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

pub use crate::decision::{AudienceMember, Decision, LossReport, Paths, UplinkStatus};
use crate::estimate::{Observation, RATE_SPAN, Train, UplinkEstimate};
use crate::listener_path::{ListenerPath, OWN_LOSS, Reported, Seen};
use crate::path::PathState;
use crate::path_history::{Background, PacketLoss, PathHistory, Traffic};
use crate::plan::{
    AudienceStats, LINK_HEADER_BYTES, ListenerLoss, RELAY_HEADER_BYTES, RateLimits, SendPlan,
};
use crate::suspect::Suspect;
use crate::trial::RedundancyTrial;

/// A report that was not renewed for this long says nothing any more. Reports come only while this
/// peer speaks.
const REPORT_LIFE: Duration = Duration::from_secs(60);
/// Listeners of whom reports are kept. When there are more, new ones are not.
const LISTENERS: usize = 1024;
/// Paths are looked at this often while speech is sent …
const INTERVAL: Duration = Duration::from_millis(100);
/// … and for this long after it.
const AFTER_SPEECH: Duration = Duration::from_millis(800);
/// What was measured for this long is as good as older measurements.
const KNOWN_AFTER: Duration = Duration::from_secs(6);
/// Reports are compared with others that came within this time.
const LATEST: Duration = Duration::from_secs(3);
/// With a queue shorter than this on the way to the server, a relayed listener's loss is its own.
const RELAY_IS_CLEAR: Duration = Duration::from_millis(60);
/// A link's loss is known from this many packets on.
const LEAST_PACKETS: u64 = 10;
/// There must be this much more room than a listener needs, for so long, before its speech goes
/// directly again.
const ROOM: f64 = 1.5;
const ROOM_FOR: Duration = Duration::from_secs(5);
/// Between two such moves.
const MOVE_INTERVAL: Duration = Duration::from_millis(500);
/// A listener's speech goes directly again at most once in this time.
const RETURN_INTERVAL: Duration = Duration::from_secs(60);
/// What comes late or is missing for so long after another connection to the server is in use, was
/// sent by the former one or while there was none.
const RELAY_RENEWED_FOR: Duration = Duration::from_millis(1_500);
/// What does not fit for this long is said.
const TOO_SLOW_AFTER: Duration = Duration::from_secs(3);

/// The queue that paths have in common, from what each measured and for how long: a queue on the
/// uplink delays all of them, so the shortest is its measure. A path that came up while packets
/// queued takes that delay for its least; paths that have been measured for less than half as long
/// as another one are left out.
fn shared_queue(queues: &[(Duration, Duration)]) -> Option<Duration> {
    let longest = queues.iter().map(|(measured_for, _)| *measured_for).max()?.min(KNOWN_AFTER);
    queues
        .iter()
        .filter(|(measured_for, _)| *measured_for * 2 >= longest)
        .map(|(_, queueing)| *queueing)
        .min()
}

/// Decides how speech is sent. `P` names a listener.
#[derive(Debug)]
pub struct Feedback<P> {
    listeners: BTreeMap<P, Listener>,
    limits: RateLimits,
    plan: SendPlan,
    uplink: UplinkEstimate,
    relay: PathHistory,
    relay_further_header_bytes: u32,
    relay_renewed_at: Option<Duration>,
    background: Background,
    /// Listeners to whom speech is relayed although they have a link, or if they get one: for want
    /// of room, or because of the path.
    relayed: BTreeSet<P>,
    /// Who has no link.
    unlinked: BTreeSet<P>,
    /// How many frames share a relayed packet at least.
    relayed_frames: u8,
    sent_at: Option<Duration>,
    updated_at: Option<Duration>,
    room_since: Option<Duration>,
    moved_at: Duration,
    slow_since: Option<Duration>,
    is_too_slow: bool,
    trial: RedundancyTrial,
    probed: Option<P>,
    links_wait: bool,
    suspect: Suspect<P>,
    /// The links that lose more than others, whose loss is not counted as the uplink's.
    lossier: Vec<P>,
}

#[derive(Clone, Debug)]
struct Listener {
    loss: ListenerLoss,
    /// The share of frames that could not be repaired, smoothed.
    unrepaired: f32,
    reported_at: Duration,
    /// The newest report, until it is looked at.
    news: Option<Reported>,
    /// When it came, and whether it showed trouble.
    latest: Option<(Duration, bool)>,
    path: ListenerPath,
    /// It has been spoken to directly.
    was_direct: bool,
    returned_at: Option<Duration>,
    /// Of its link; zero until that is known.
    further_header_bytes: u32,
}

impl Listener {
    fn new(now: Duration) -> Self {
        Self {
            loss: ListenerLoss::default(),
            unrepaired: 0.0,
            reported_at: now,
            news: None,
            latest: None,
            path: ListenerPath::default(),
            was_direct: false,
            returned_at: None,
            further_header_bytes: 0,
        }
    }

    fn wants_copies(&self) -> bool {
        self.loss.wants_copies() && !self.path.is_too_narrow()
    }
}

impl<P: Copy + Ord + Debug> Feedback<P> {
    /// Nothing is known of the uplink, and nothing was said yet.
    pub fn new(limits: RateLimits) -> Self {
        let plan = SendPlan::choose(limits, AudienceStats::default());
        Self {
            listeners: BTreeMap::new(),
            limits,
            plan,
            uplink: UplinkEstimate::new(),
            relay: PathHistory::default(),
            relay_further_header_bytes: 0,
            relay_renewed_at: None,
            background: Background::default(),
            relayed: BTreeSet::new(),
            unlinked: BTreeSet::new(),
            relayed_frames: 1,
            sent_at: None,
            updated_at: None,
            room_since: None,
            moved_at: Duration::ZERO,
            slow_since: None,
            is_too_slow: false,
            trial: RedundancyTrial::default(),
            probed: None,
            links_wait: false,
            suspect: Suspect::default(),
            lossier: Vec::new(),
        }
    }

    /// Takes a report. It counts for the plan from the next frame on.
    pub fn report(&mut self, now: Duration, from: P, report: LossReport) {
        if self.listeners.len() >= LISTENERS && !self.listeners.contains_key(&from) {
            return;
        }
        let listener = self.listeners.entry(from).or_insert_with(|| Listener::new(now));
        listener.reported_at = now;
        listener.loss.report(report.expected.into(), report.lost.into(), report.mean_run);
        if report.expected > 0 {
            let share = |frames: u16| f32::from(frames) / f32::from(report.expected);
            let is_renewed = self.relay_renewed_at.is_some_and(|at| now < at + RELAY_RENEWED_FOR);
            // What was lost or came late while there was no connection says nothing of the path.
            if !is_renewed {
                let news = Reported { lost: share(report.lost), buffer: report.buffer };
                (listener.news, listener.latest) = (Some(news), Some((now, news.is_trouble())));
            }
            listener.unrepaired += (share(report.unrepaired) - listener.unrepaired) * 0.4;
        }
    }

    /// A listener reports what arrived of a train of probes. Only the one to which the latest train
    /// was sent is asked.
    pub fn train_arrived(
        &mut self,
        now: Duration,
        from: P,
        number: u16,
        received: u8,
        span: Duration,
    ) {
        if self.probed == Some(from) {
            self.uplink.train_arrived(now, number, received, span);
        }
    }

    /// A train was sent whole; `packet_bytes` is the size of each packet without the link's header.
    pub fn train_sent(&mut self, train: Train, packet_bytes: u32) {
        let further = self.probed.map_or(0, |who| self.further_header_bytes(who));
        self.uplink.train_sent(train, packet_bytes + LINK_HEADER_BYTES + further);
    }

    /// Another network: nothing is known of its uplink.
    pub fn network_changed(&mut self) {
        self.uplink = UplinkEstimate::new();
        self.relay.clear();
        self.relayed.clear();
        (self.suspect, self.trial) = (Suspect::default(), RedundancyTrial::default());
        for listener in self.listeners.values_mut() {
            (listener.path, listener.returned_at) = (ListenerPath::default(), None);
            listener.was_direct = false;
        }
    }

    /// Relayed speech goes over another connection to the server, because the former one was dead.
    pub fn relay_renewed(&mut self, now: Duration) {
        self.relay_renewed_at = Some(now);
    }

    /// Changes what is allowed, from the next decision on.
    pub fn allow(&mut self, limits: RateLimits) {
        self.limits = limits;
    }

    /// What is allowed.
    pub fn limits(&self) -> RateLimits {
        self.limits
    }

    /// A frame was sent.
    pub fn sent(&mut self, now: Duration) {
        self.sent_at = Some(now);
    }

    /// Nothing was sent for a while.
    pub fn is_silent(&self, now: Duration) -> bool {
        self.sent_at.is_none_or(|at| now >= at + AFTER_SPEECH)
    }

    /// Speech begins: chooses whose speech is relayed from its first frame on.
    pub fn begin(&mut self, now: Duration, paths: &impl Paths<P>) -> BTreeSet<P> {
        let audience = paths.audience();
        self.choose_routes(now, audience);
        self.choose_plan(now, audience, Observation::default());
        self.relayed.clone()
    }

    /// Looks at the paths, and chooses how the next frames go. `None` while it is not time to.
    pub fn update(&mut self, now: Duration, paths: &impl Paths<P>) -> Option<Decision<P>> {
        if self.is_silent(now) || self.updated_at.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        let is_sending = self.sent_at > self.updated_at;
        self.updated_at = Some(now);
        let audience = paths.audience();
        self.listeners.retain(|who, listener| {
            now < listener.reported_at + REPORT_LIFE
                || audience.iter().any(|member| member.who == *who)
        });
        let usual_bps = self.plan.uplink_bps;
        let (counts, expected) = (self.counts(audience), self.plan.expected_loss_percent);
        let can_send_less = SendPlan::sparse(self.limits, counts, expected, usual_bps)
            .is_sparser_than(usual_bps, counts);
        let seen = Observation { is_sending, can_send_less, ..self.look(now, paths, audience) };
        self.uplink.update(now, seen);
        self.keep_relayed_what_stalls(now, audience);
        if !self.uplink.is_testing() {
            self.choose_routes(now, audience);
        }
        self.choose_plan(now, audience, seen);
        self.links_wait = self.lacks_room_for_links(now, audience);
        let wanted_bps = self.wanted_bps(audience);
        let train = self
            .uplink
            .train(now, wanted_bps)
            .and_then(|train| Some((self.next_probed(audience)?, train)));
        Some(Decision { relayed: self.relayed.clone(), is_full: self.uplink.is_full(), train })
    }

    /// When [`update`](Self::update) chooses next, or [`links_wait`](Self::links_wait) changes
    /// because speech has ended: at once if that has passed, and `None` if not before a frame is
    /// sent.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let silent_at = self.sent_at? + AFTER_SPEECH;
        let next = self.updated_at.map_or(Duration::ZERO, |at| at + INTERVAL);
        if next < silent_at { Some(next) } else { self.links_wait.then_some(silent_at) }
    }

    /// Reads all paths; what concerns one of them alone is settled with it.
    fn look(
        &mut self,
        now: Duration,
        paths: &impl Paths<P>,
        audience: &[AudienceMember<P>],
    ) -> Observation {
        let PathState {
            counts,
            queueing: relay_queueing,
            measured_for,
            overdue,
            least_round_trip,
            further_header_bytes,
            ..
        } = paths.relay(now);
        self.relay_further_header_bytes = further_header_bytes;
        let mut overdues: Vec<Duration> = relay_queueing.map(|_| overdue).into_iter().collect();
        let mut round_trips: Vec<Duration> = least_round_trip.into_iter().collect();
        let relay = self.relay.read(now, counts).over(
            now,
            RATE_SPAN,
            RELAY_HEADER_BYTES + further_header_bytes,
        );
        let (mut sent_bps, mut delivered_bps) = (relay.sent_bps, relay.delivered_bps);
        let mut queues: Vec<_> =
            relay_queueing.map(|queueing| (measured_for, queueing)).into_iter().collect();
        let (mut losses, mut seen, mut probed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (loss_span, mut settled) = (self.uplink.loss_span(now), Vec::new());
        for member in audience {
            let Some(path) = paths.link(now, member.who) else { continue };
            if self.listeners.len() >= LISTENERS && !self.listeners.contains_key(&member.who) {
                continue;
            }
            let listener = self.listeners.entry(member.who).or_insert_with(|| Listener::new(now));
            listener.further_header_bytes = path.further_header_bytes;
            let history = listener.path.read(now, path.generation, path.counts);
            let headers = LINK_HEADER_BYTES + path.further_header_bytes;
            let traffic = history.over(now, RATE_SPAN, headers);
            (sent_bps, delivered_bps) =
                (sent_bps + traffic.sent_bps, delivered_bps + traffic.delivered_bps);
            let recent = history.over(now, loss_span, 0);
            settled.push((member.who, recent));
            let loss = recent.loss(LEAST_PACKETS);
            queues.extend(path.queueing.map(|queueing| (path.measured_for, queueing)));
            overdues.extend(path.queueing.map(|_| path.overdue));
            losses.extend(loss.map(|loss| (loss, member.who)));
            round_trips.extend(path.least_round_trip.filter(|_| path.queueing.is_some()));
            let round_trip = path.least_round_trip.unwrap_or_default();
            let Traffic { sent_bps, delivered_bps, .. } = traffic;
            seen.insert(
                member.who,
                Seen { queueing: path.queueing, loss, sent_bps, delivered_bps, round_trip },
            );
            probed.extend(path.probed_queueing.map(|queueing| (member.who, queueing)));
        }
        losses.sort_by(|(a, _), (b, _)| f32::total_cmp(a, b));
        let linked = audience.iter().filter(|member| member.has_link).count();
        let verdict = self.suspect.judge(now, &losses, linked, self.uplink.bps());
        // In a test they stay the same: of few packets, chance makes some links lose much, and
        // without those the loss would seem to have fallen.
        if !self.uplink.is_testing() {
            let at_most = verdict.uplink.unwrap_or(0.0) + OWN_LOSS;
            let is_lossier = |path: &Traffic| path.loss(1).is_some_and(|loss| loss > at_most);
            // Links that are sent nothing any more show nothing in a test: one that is in use must
            // be left.
            let is_of_use =
                |(who, path): &(P, Traffic)| path.settled > 0 && !self.relayed.contains(who);
            let is_one_left = settled.iter().any(|link| is_of_use(link) && !is_lossier(&link.1));
            let lossier = settled.iter().filter(|(_, path)| is_one_left && is_lossier(path));
            self.lossier = lossier.map(|(who, _)| *who).collect();
        }
        let common =
            settled.iter().filter(|(who, _)| !self.lossier.contains(who)).map(|(_, path)| path);
        let queueing = shared_queue(&queues);
        let links = queues.iter().skip(usize::from(relay_queueing.is_some()));
        let links_queueing = links.map(|(_, queueing)| *queueing).min();
        self.background.read(now, paths.background_bytes());
        let shared = Observation {
            sent_bps,
            delivered_bps,
            // What arrives now was sent as long ago as packets queue.
            background_bps: self.background.bps(now, RATE_SPAN + queueing.unwrap_or_default()),
            queueing,
            links_queueing,
            loss: verdict.uplink,
            packets: PacketLoss::of(common),
            is_of_several: losses.len() > 1,
            round_trip: round_trips.into_iter().min().unwrap_or_default(),
            are_several: overdues.len() > 1,
            overdue: overdues.into_iter().min().unwrap_or_default(),
            is_relaying: relay.sent_bps > 0.0,
            relay_waits: if relay.sent_bps > 0.0 {
                relay_queueing.unwrap_or_default()
            } else {
                Duration::ZERO
            },
            relay_overdue: if relay.sent_bps > 0.0 { overdue } else { Duration::ZERO },
            has_links: linked > 0,
            ..Observation::default()
        };
        let are_several = queues.len() + usize::from(losses.len() > queues.len()) > 1;
        // What most relayed listeners lose was lost before the server.
        let relay_is_clear = relay_queueing.is_some_and(|queueing| queueing < RELAY_IS_CLEAR);
        let reports = audience.iter().filter_map(|member| self.listeners.get(&member.who)?.news);
        let (few, all) = reports
            .fold((0, 0), |(few, all), news| (few + usize::from(news.is_trouble()), all + 1));
        let is_own = relay_is_clear && (few * 2 <= all || all == 1);
        // What comes late at the only one, or at most of them, may have waited on the uplink.
        let heard = audience.iter().filter_map(|member| self.listeners.get(&member.who)?.latest);
        let heard = heard.filter(|(at, _)| now < *at + LATEST);
        let (late, heard) =
            heard.fold((0, 0), |(late, all), (_, is_late)| (late + usize::from(is_late), all + 1));
        let are_compared = heard > 1 && late * 2 <= heard;
        for member in audience {
            let Some(listener) = self.listeners.get_mut(&member.who) else { continue };
            let is_relayed = !member.has_link || self.relayed.contains(&member.who);
            let news = listener.news.take().filter(|_| is_own && is_relayed);
            match seen.get(&member.who) {
                _ if verdict.own == Some(member.who) => listener.path.suspect(now),
                _ if verdict.cleared == Some(member.who) => listener.path.clear(now),
                Some(seen) if are_several && !is_relayed => {
                    listener.path.update(
                        now,
                        *seen,
                        shared.queueing.unwrap_or_default(),
                        shared.loss.unwrap_or(0.0),
                    );
                }
                _ => {
                    let probed = probed.get(&member.who).filter(|_| is_relayed);
                    let probed = probed
                        .copied()
                        .unwrap_or_default()
                        .saturating_sub(relay_queueing.unwrap_or_default());
                    listener.path.update_relayed(now, news, probed, are_compared);
                }
            }
        }
        shared
    }

    /// A link that stalls while the uplink is full stalls for that. When it answers again, its
    /// listener waits for room as others do: for a moment there is some, since the links that have
    /// stalled are sent nothing.
    fn keep_relayed_what_stalls(&mut self, now: Duration, audience: &[AudienceMember<P>]) {
        if !self.uplink.is_congested(now) || audience.len() == 1 {
            return;
        }
        for member in audience.iter().filter(|member| !member.has_link && member.has_relay) {
            if self.listeners.get(&member.who).is_some_and(|listener| listener.was_direct) {
                self.relayed.insert(member.who);
            }
        }
    }

    /// Who is sent speech directly: as many as the uplink has room for.
    fn choose_routes(&mut self, now: Duration, audience: &[AudienceMember<P>]) {
        self.relayed.retain(|who| audience.iter().any(|member| member.who == *who));
        let limit_bps = self.limit_bps(self.uplink.bps());
        let is_free = |member: &&AudienceMember<P>| member.has_link && member.has_relay;
        // Who has no link yet is not to be direct for a moment when one opens.
        for member in audience.iter().filter(|member| member.has_relay) {
            let is_relayed = self.is_relayed(member.who);
            let stays = |path: &ListenerPath| path.wants_relay() || is_relayed && path.is_late(now);
            if self.listeners.get(&member.who).is_some_and(|listener| stays(&listener.path)) {
                self.relayed.insert(member.who);
            }
        }
        let mut was_dropped = false;
        loop {
            let counts = self.counts(audience);
            let plan = SendPlan::choose(self.allowed(limit_bps, false), counts);
            let is_good = plan.is_good(self.limits.frame) || audience.len() == 1;
            if plan.is_within(Some(limit_bps)) && is_good {
                break;
            }
            let direct = audience
                .iter()
                .filter(is_free)
                .filter(|member| !self.relayed.contains(&member.who));
            let Some(worst) =
                direct.max_by(|a, b| f32::total_cmp(&self.badness(a.who), &self.badness(b.who)))
            else {
                break;
            };
            self.relayed.insert(worst.who);
            was_dropped = true;
        }
        if was_dropped {
            self.room_since = None;
        } else {
            self.move_back(now, audience, limit_bps);
        }
        for member in audience.iter().filter(|member| member.has_link) {
            if let Some(listener) = self.listeners.get_mut(&member.who) {
                listener.was_direct |= !self.relayed.contains(&member.who);
            }
        }
    }

    fn move_back(&mut self, now: Duration, audience: &[AudienceMember<P>], limit_bps: u32) {
        loop {
            let waiting = self.relayed.iter().filter(|who| {
                audience.iter().any(|member| member.who == **who && member.has_link)
                    && self.listeners.get(who).is_none_or(|listener| {
                        !listener.path.wants_relay()
                            && !listener.path.is_late(now)
                            && listener.returned_at.is_none_or(|at| now >= at + RETURN_INTERVAL)
                    })
            });
            let Some(best) = waiting
                .min_by(|a, b| f32::total_cmp(&self.badness(**a), &self.badness(**b)))
                .copied()
            else {
                self.room_since = None;
                return;
            };
            let full = |counts: AudienceStats| {
                f64::from(SendPlan::choose(self.allowed(u32::MAX, false), counts).uplink_bps)
            };
            let counts = self.counts(audience);
            // The relayed copy ends, if this was the last who was sent it.
            let relayed = self.relay_packets(audience, Some(best));
            let ended = (counts.relayed - relayed) * self.relay_further_header_bytes;
            let after = AudienceStats {
                direct: counts.direct + 1,
                relayed,
                further_header_bytes: counts.further_header_bytes + self.further_header_bytes(best)
                    - ended,
                ..counts
            };
            let (before_bps, after_bps) = (full(counts), full(after));
            if self.uplink.is_starting() {
                if after_bps > f64::from(limit_bps) {
                    return;
                }
                // The first time is no return.
                self.relayed.remove(&best);
                if self.listeners.get(&best).is_some_and(|listener| listener.was_direct) {
                    self.returned(now, best);
                }
                continue;
            }
            let needed_bps = before_bps + (after_bps - before_bps).max(0.0) * ROOM;
            if f64::from(limit_bps) < needed_bps {
                self.room_since = None;
                return;
            }
            let since = *self.room_since.get_or_insert(now);
            if now < since + ROOM_FOR || now < self.moved_at + MOVE_INTERVAL {
                return;
            }
            self.moved_at = now;
            self.relayed.remove(&best);
            self.returned(now, best);
            return;
        }
    }

    fn returned(&mut self, now: Duration, who: P) {
        if let Some(listener) = self.listeners.get_mut(&who) {
            listener.returned_at = Some(now);
        }
    }

    fn choose_plan(&mut self, now: Duration, audience: &[AudienceMember<P>], seen: Observation) {
        let counts = self.counts(audience);
        let budget_bps = self.limit_bps(self.uplink.budget_bps());
        let is_congested = self.uplink.is_congested(now);
        let plan = SendPlan::choose(self.allowed(budget_bps, !is_congested), counts);
        self.try_redundancy(now, plan, seen);
        self.unlinked =
            audience.iter().filter(|member| !member.has_link).map(|member| member.who).collect();
        let own = audience
            .iter()
            .filter(|member| self.is_relayed(member.who))
            .map(|member| self.own_frames(member.who));
        let (least, most) =
            own.fold((u8::MAX, 1), |(least, most), frames| (least.min(frames), most.max(frames)));
        let another_bps = plan.uplink_bps / (counts.direct + 1).max(1);
        let is_free = self.uplink.is_starting() && self.limits.uplink_bps.is_none();
        let has_room = is_free || plan.uplink_bps + another_bps <= budget_bps;
        self.relayed_frames = if least < most && !has_room { most } else { 1 };
        self.plan = if self.uplink.is_testing() {
            SendPlan::sparse(self.limits, counts, plan.expected_loss_percent, plan.uplink_bps)
        } else {
            plan
        };
        let is_full = seen.queueing.is_some_and(|queueing| queueing > Duration::from_millis(300))
            || seen.loss.is_some_and(|loss| loss > 0.1)
                && !self.uplink.is_testing()
                && is_congested;
        let is_lowest = !self.plan.is_within(Some(budget_bps))
            || is_full && !self.plan.is_good(self.limits.frame) && counts.direct <= 1;
        if is_lowest == self.is_too_slow {
            self.slow_since = None;
        } else if now >= *self.slow_since.get_or_insert(now) + TOO_SLOW_AFTER {
            (self.is_too_slow, self.slow_since) = (is_lowest, None);
        }
    }

    /// Redundancy that leaves as much unrepaired while more is lost makes matters worse: that loss
    /// is congestion.
    fn try_redundancy(&mut self, now: Duration, plan: SendPlan, seen: Observation) {
        let repairable = self.listeners.values().filter(|listener| !listener.path.is_too_narrow());
        let worst = repairable.max_by(|a, b| f32::total_cmp(&a.unrepaired, &b.unrepaired));
        let (unrepaired, packets) = (worst.map_or(0.0, |worst| worst.unrepaired), seen.packets);
        if self.trial.has_failed(now, !plan.copies.is_empty(), packets, unrepaired) {
            self.uplink.redundancy_failed(now, seen);
        }
    }

    fn limit_bps(&self, estimate_bps: u32) -> u32 {
        self.limits.uplink_bps.map_or(estimate_bps, |limit| limit.min(estimate_bps))
    }

    fn allowed(&self, uplink_bps: u32, redundancy: bool) -> RateLimits {
        RateLimits { uplink_bps: Some(uplink_bps), redundancy, ..self.limits }
    }

    /// Packets of a frame that go to the relay, but for this listener.
    fn relay_packets(&self, audience: &[AudienceMember<P>], without: Option<P>) -> u32 {
        // A bit for those that hear plain speech, and one for the others.
        let mut kinds = 0_u32;
        for member in audience {
            if Some(member.who) != without && self.is_sent_relayed(member) {
                kinds |= 1 << u32::from(member.hears_plain);
            }
        }
        kinds.count_ones()
    }

    fn is_sent_relayed(&self, member: &AudienceMember<P>) -> bool {
        member.has_relay && (!member.has_link || self.relayed.contains(&member.who))
    }

    fn counts(&self, audience: &[AudienceMember<P>]) -> AudienceStats {
        let relayed = self.relay_packets(audience, None);
        let (mut direct, mut further_header_bytes) = (0, relayed * self.relay_further_header_bytes);
        let mut with_copies = if self.are_copies_relayed() { relayed } else { 0 };
        let worst = self.worst_to_repair();
        for member in audience {
            if member.has_link && !self.is_sent_relayed(member) {
                direct += 1;
                with_copies += u32::from(self.wants_copies(member.who));
                further_header_bytes += self.further_header_bytes(member.who);
            }
        }
        AudienceStats {
            direct,
            relayed,
            worst_loss: worst.and_then(|loss| loss.loss()),
            loss_run: worst.map_or(0.0, |loss| loss.run()),
            with_copies,
            further_header_bytes,
        }
    }

    fn further_header_bytes(&self, who: P) -> u32 {
        self.listeners.get(&who).map_or(0, |listener| listener.further_header_bytes)
    }

    /// The most that the headers of a packet on a link take, beyond the least: assumed of links
    /// that are not open yet.
    fn most_further_header_bytes(&self) -> u32 {
        self.listeners.values().map(|listener| listener.further_header_bytes).max().unwrap_or(0)
    }

    /// Whether links that are not open yet should stay so for now: while this peer speaks, another
    /// direct copy would not fit, and what opening a link sends would take the place of speech. A
    /// first link opens when the uplink is not full.
    pub fn links_wait(&self, now: Duration) -> bool {
        self.links_wait && !self.is_silent(now)
    }

    fn lacks_room_for_links(&self, now: Duration, audience: &[AudienceMember<P>]) -> bool {
        let counts = self.counts(audience);
        let known = !self.uplink.is_starting();
        let limit_bps =
            if known { self.limit_bps(self.uplink.bps()) } else { self.limit_bps(u32::MAX) };
        let full = |direct| {
            let further = (direct - counts.direct) * self.most_further_header_bytes();
            let further_header_bytes = counts.further_header_bytes + further;
            let counts = AudienceStats { direct, further_header_bytes, ..counts };
            SendPlan::choose(self.allowed(u32::MAX, false), counts).uplink_bps
        };
        let (before_bps, after_bps) = (full(counts.direct), full(counts.direct + 1));
        let needed_bps = f64::from(before_bps) + f64::from(after_bps - before_bps) * ROOM;
        let waits = audience.iter().any(|member| member.has_link) || self.uplink.is_congested(now);
        waits && f64::from(limit_bps) < needed_bps
    }

    /// What everyone together would take over links, those that open next included, with room to
    /// spare.
    fn wanted_bps(&self, audience: &[AudienceMember<P>]) -> u32 {
        let linked = audience.iter().filter(|member| member.has_link).count();
        let direct = audience.len().min(linked + 2) as u32;
        let relayed = audience.iter().filter(|member| self.is_sent_relayed(member)).count();
        let all = AudienceStats {
            direct,
            relayed: u32::from(relayed > direct as usize),
            further_header_bytes: direct * self.most_further_header_bytes(),
            ..AudienceStats::default()
        };
        let full = SendPlan::choose(self.allowed(u32::MAX, false), all).uplink_bps;
        let wanted = (f64::from(full) * ROOM) as u32;
        self.limits.uplink_bps.map_or(wanted, |limit| wanted.min(limit))
    }

    /// Whom to send a train: each with a link in turn, since any of them may have a narrow
    /// downlink.
    fn next_probed(&mut self, audience: &[AudienceMember<P>]) -> Option<P> {
        let linked = || audience.iter().filter(|member| member.has_link).map(|member| member.who);
        let next = linked()
            .filter(|who| self.probed.is_none_or(|last| *who > last))
            .min()
            .or_else(|| linked().min());
        self.probed = next;
        next
    }

    /// How much worse than others the path to a listener is.
    fn badness(&self, who: P) -> f32 {
        self.listeners
            .get(&who)
            .map_or(0.0, |listener| listener.path.badness() + listener.loss.loss().unwrap_or(0.0))
    }

    /// How the next frames go.
    pub fn plan(&self) -> SendPlan {
        self.plan
    }

    /// What the uplink is worth.
    pub fn uplink(&self) -> UplinkStatus {
        let estimate_bps = (!self.uplink.is_starting()).then(|| self.uplink.bps());
        UplinkStatus { estimate_bps, is_too_slow: self.is_too_slow }
    }

    /// How many frames share a packet to this listener.
    pub fn frames_per_packet(&self, who: P) -> u8 {
        // Near the limit one relayed copy serves all, those with narrow downlinks included.
        let shared = if self.is_relayed(who) { self.relayed_frames } else { 1 };
        self.own_frames(who).max(self.plan.frames_per_packet).max(shared)
    }

    fn own_frames(&self, who: P) -> u8 {
        self.listeners
            .get(&who)
            .map_or(1, |listener| listener.path.frames_per_packet(self.limits.frame))
    }

    fn is_relayed(&self, who: P) -> bool {
        self.relayed.contains(&who) || self.unlinked.contains(&who)
    }

    /// Whether copies of earlier frames go to this listener: where they help it, or, of those to
    /// whom speech is relayed, another one, since one relayed packet serves them all.
    pub fn wants_copies(&self, who: P) -> bool {
        match self.is_relayed(who) {
            true => self.are_copies_relayed(),
            false => self.listeners.get(&who).is_some_and(Listener::wants_copies),
        }
    }

    fn are_copies_relayed(&self) -> bool {
        self.listeners
            .iter()
            .any(|(who, listener)| self.is_relayed(*who) && listener.wants_copies())
    }

    /// The loss that a listener reports, smoothed: 0 to 1; `None` until it has.
    pub fn loss(&self, who: P) -> Option<f32> {
        self.listeners.get(&who).and_then(|listener| listener.loss.loss())
    }

    /// The highest of these.
    pub fn worst_loss(&self) -> Option<f32> {
        self.listeners.values().filter_map(|listener| listener.loss.loss()).max_by(f32::total_cmp)
    }

    /// The losses of the listener that loses most of those whom redundancy would help.
    fn worst_to_repair(&self) -> Option<ListenerLoss> {
        let known = self.listeners.values().filter(|listener| listener.loss.loss().is_some());
        let known = known.map(|listener| {
            if listener.path.is_too_narrow() { ListenerLoss::NONE } else { listener.loss }
        });
        known.max_by(|a, b| f32::total_cmp(&a.loss().unwrap_or(0.0), &b.loss().unwrap_or(0.0)))
    }

    /// A room was left: its listeners are forgotten, what is known of the uplink is not.
    pub fn forget(&mut self) {
        self.listeners.clear();
        self.relayed.clear();
        self.suspect = Suspect::default();
        self.sent_at = None;
    }
}

#[cfg(test)]
mod chance;
#[cfg(test)]
mod lossy;
#[cfg(test)]
mod returning;
