//! The way in: each speaker's frames → jitter buffer → decoder → mix.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use voicemesh_audio::decode::{Reception, Rendered, VoiceDecoder, VoiceDecoderStats};
use voicemesh_audio::mix::{Ducking, Mixer, Width};
use voicemesh_audio::space::{Gains, Panner, Panning, Placement, Space, StereoBlock};
use voicemesh_audio::{AudioError, BLOCK_SAMPLES, Block, FrameDuration};
use voicemesh_session::client::{Participant, Voice};
use voicemesh_session::route::Route;
use voicemesh_uplink::plan::ListenerLoss;
use voicemesh_wire::packet::{ClockEcho, Priority};

use crate::clocks::{Clock, FramePosition};
use crate::lateness::Lateness;

/// Speakers decoded at a time. When there are more, the one that has been silent longest makes
/// room; if all speak, the newcomer is not heard, and counted.
const SPEAKERS: usize = 64;
/// A speaker that has been silent for this long gives its decoder back.
const IDLE: Duration = Duration::from_secs(30);
/// A speaker from whom nothing has come for this long may make room for another.
const SILENT: Duration = Duration::from_secs(2);

/// What was heard, of all speakers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Frames of speakers for whom there was no room.
    pub frames_without_room: u64,
}

/// Everyone who is heard.
#[derive(Debug)]
pub(crate) struct Playout<P> {
    speakers: BTreeMap<Participant<P>, RemoteVoice>,
    settings: BTreeMap<Participant<P>, Setting>,
    pub(crate) space: Space,
    placements: BTreeMap<Participant<P>, Placement>,
    mixer: Mixer,
    scratch: Block,
    stats: PlayoutStats,
    lateness: Lateness,
}

/// Interval of reports to a speaker about how well it is received …
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// … and of the first one that says that speech comes late.
const FIRST_LATE_REPORT: Duration = Duration::from_millis(200);
/// Frames that must wait this long show a full way here: links that open would fill it further.
const LATE: Duration = Duration::from_millis(250);
/// Relayed speech that goes on and of which nothing has come for this long is late, though nothing
/// waits: TCP is silent until it has repaired a loss, and opening links would cost it more of them.
const STALLED: Duration = Duration::from_millis(200);
/// Speech that stopped in the middle for [`SILENT`] or longer, or while there was no connection to
/// the server, met an outage, not a narrow way: for this long, what queued meanwhile may make frames
/// wait.
const CATCHES_UP_FOR: Duration = Duration::from_secs(4);
/// Speech that stopped in the middle on a link and goes on through the relay was rescued from a link
/// that died. It comes late, up to a second of it at once, and for this long that says nothing of the
/// way here either: it kept the next link from opening for two seconds more. …
const RESCUE_TAKES: Duration = Duration::from_secs(2);
/// … So seldom only, so that a link that stalls again and again hides no full way.
const RESCUES_APART: Duration = Duration::from_secs(10);
/// What was lost before a pause of this length says nothing of the path any more.
const LOSS_LIFE: Duration = Duration::from_secs(10);
/// Pauses of a speaker that are remembered; the oldest is forgotten first. Frames that come late
/// belong before the last or the one before.
const PAUSES: usize = 8;

#[derive(Debug)]
struct RemoteVoice {
    listener: VoiceDecoder,
    heard_at: Duration,
    /// No pause was announced with the newest frame.
    goes_on: bool,
    /// On which the newest frame came; none yet.
    route: Option<Route>,
    /// Until then, what waits to be played says nothing of the way here.
    catches_up_until: Duration,
    /// When it was last rescued from a link that died.
    rescued_at: Option<Duration>,
    volume: f32,
    priority: Priority,
    ducking: Ducking,
    /// Whether its speech is to be placed in space.
    positional: bool,
    panner: Panner,
    heard: bool,
    speaking: bool,
    talkspurts: Talkspurts,
    newest: u64,
    frame: Duration,
    clock: Clock,
    loss: ListenerLoss,
    reported_at: Duration,
    /// The last report said that speech comes late.
    reported_late: bool,
}

impl RemoteVoice {
    fn new(now: Duration) -> Result<Self, AudioError> {
        Ok(Self {
            listener: VoiceDecoder::new()?,
            heard_at: now,
            goes_on: false,
            route: None,
            catches_up_until: Duration::ZERO,
            rescued_at: None,
            volume: 1.0,
            priority: Priority::Default,
            ducking: Ducking::default(),
            positional: false,
            panner: Panner::default(),
            heard: false,
            speaking: false,
            talkspurts: Talkspurts::default(),
            newest: 0,
            frame: Duration::from_millis(FrameDuration::Ms20.millis()),
            clock: Clock::default(),
            loss: ListenerLoss::default(),
            reported_at: now,
            reported_late: false,
        })
    }

    /// How long relayed speech has stopped without a pause; `None` below `STALLED`, and from `SILENT`
    /// on, when the speaker may be gone.
    fn stalled_for(&self, now: Duration) -> Option<Duration> {
        let silent_for = now.saturating_sub(self.heard_at);
        let is_relayed = self.route == Some(Route::Relayed);
        let relay_goes_on = self.goes_on && is_relayed && now >= self.catches_up_until;
        (relay_goes_on && (STALLED..SILENT).contains(&silent_for)).then_some(silent_for)
    }

    /// When speech comes late, if nothing more is received or rendered: because frames wait long, or
    /// because nothing of relayed speech that goes on has come for `stall`.
    fn late_span(&self, stall: Duration) -> Option<Range<Duration>> {
        let waits = Duration::from_secs_f32(self.listener.buffer_ms().max(0.0) / 1e3);
        let is_relayed = self.route == Some(Route::Relayed);
        let start = if waits >= LATE {
            self.catches_up_until
        } else if self.goes_on && is_relayed {
            self.catches_up_until.max(self.heard_at + stall)
        } else {
            return None;
        };
        let span = start..self.heard_at + SILENT;
        (!span.is_empty()).then_some(span)
    }

    /// When the next report is due.
    fn report_due(&self) -> Duration {
        let usual = self.reported_at + REPORT_INTERVAL;
        let late = self.late_span(LATE).filter(|_| !self.reported_late);
        let first = late.and_then(|span| {
            let first = span.start.max(self.reported_at + FIRST_LATE_REPORT);
            (first < span.end).then_some(first)
        });
        first.map_or(usual, |first| first.min(usual))
    }

    /// When its clock is to be asked next; `None` if it is not heard.
    fn probe_due(&self) -> Option<Duration> {
        Some(self.clock.probe_due(self.playing()?))
    }

    /// Where it is heard at the moment.
    fn playing(&self) -> Option<FramePosition> {
        let playing = self.listener.playing()?;
        Some(FramePosition { sequence: playing.sequence, talkspurt: playing.talkspurt })
    }

    /// What to tell the speaker about how it is received. Speech that has stalled comes so late at
    /// least: a report that waited for the next frame would say so when it is over.
    fn report(&mut self, now: Duration) -> Option<Reception> {
        let stalled_for = self.stalled_for(now);
        let missing = Reception { expected: 1, ..Reception::default() };
        let mut reception = self.listener.take_reception().or(stalled_for.map(|_| missing))?;
        let stalled_ms = stalled_for.unwrap_or_default().as_secs_f32() * 1e3;
        let catches_up = now < self.catches_up_until;
        reception.buffer_ms = if catches_up { 0.0 } else { reception.buffer_ms.max(stalled_ms) };
        Some(reception)
    }

    /// The place of a frame by the low bits of its number, near the newest.
    fn place(&self, low: u16) -> FramePosition {
        let ahead = low.wrapping_sub(self.newest as u16) as i16;
        let sequence = self.newest.wrapping_add_signed(ahead.into());
        FramePosition { sequence, talkspurt: self.talkspurts.of_sequence(sequence) }
    }
}

/// Which frames follow each other without a pause. The sender's counter steps only when every
/// target closes; a pause in between it is announced with the frame before it.
#[derive(Debug, Default)]
struct Talkspurts {
    /// The newest value of the sender's counter, extended.
    counter: u64,
    /// Pauses that are no longer remembered one by one.
    before: u64,
    /// The last frame before each pause, ascending.
    pauses: VecDeque<u64>,
}

impl Talkspurts {
    /// Numbers the talkspurt that a frame belongs to: never smaller for a later frame.
    fn note(&mut self, sequence: u64, counter: u64, pause_follows: bool) -> u64 {
        self.counter = self.counter.max(counter);
        if pause_follows && !self.pauses.contains(&sequence) {
            let place = self.pauses.partition_point(|pause| *pause < sequence);
            self.pauses.insert(place, sequence);
            if self.pauses.len() > PAUSES {
                self.pauses.pop_front();
                self.before += 1;
            }
        }
        counter + self.pauses_before(sequence)
    }

    fn of_sequence(&self, sequence: u64) -> u64 {
        self.counter + self.pauses_before(sequence)
    }

    fn pauses_before(&self, sequence: u64) -> u64 {
        self.before + self.pauses.partition_point(|pause| *pause < sequence) as u64
    }
}

/// What the user set for a peer; outlives the peer's speech.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Setting {
    gain: f32,
    muted: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { gain: 1.0, muted: false }
    }
}

/// What rendering brings to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<P> {
    /// The first frame of a speaker after a while of silence.
    First(Participant<P>),
    /// A speaker begins or ceases to be heard.
    Speaking(Participant<P>, bool),
}

/// Whether one speaker's part goes into the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    /// It does.
    In,
    /// It is heard in another way.
    Out,
}

/// Settings remembered for peers. When there are more, no new ones are kept.
const SETTINGS: usize = 1024;

impl<P: Copy + Ord> Playout<P> {
    pub(crate) fn new() -> Self {
        Self {
            speakers: BTreeMap::new(),
            settings: BTreeMap::new(),
            space: Space::default(),
            placements: BTreeMap::new(),
            mixer: Mixer::new(),
            scratch: [0.0; BLOCK_SAMPLES],
            stats: PlayoutStats::default(),
            lateness: Lateness::default(),
        }
    }

    /// When [`settle`](Self::settle), [`reports`](Self::reports) and
    /// [`poll_probes`](Self::poll_probes) are to be called: at once if that has passed.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let speakers = || self.speakers.values();
        let reports = speakers().map(RemoteVoice::report_due);
        let probes = speakers().filter_map(RemoteVoice::probe_due);
        let spans = speakers().filter_map(|speaker| speaker.late_span(STALLED));
        reports.chain(probes).chain(self.lateness.timeout(spans)).min()
    }

    pub(crate) fn receive(&mut self, now: Duration, voice: &Voice<P>) -> Result<(), AudioError> {
        self.observe_lateness(now, voice.from);
        let done = self.take(now, voice);
        self.observe_lateness(now, voice.from);
        done
    }

    fn observe_lateness(&mut self, now: Duration, who: Participant<P>) {
        let span = self.speakers.get(&who).and_then(|speaker| speaker.late_span(STALLED));
        if let Some(span) = span {
            self.lateness.observe(now, &span);
        }
    }

    fn take(&mut self, now: Duration, voice: &Voice<P>) -> Result<(), AudioError> {
        if !self.speakers.contains_key(&voice.from) && !self.make_room(now) {
            self.stats.frames_without_room += 1;
            return Ok(());
        }
        let speaker = match self.speakers.entry(voice.from) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(RemoteVoice::new(now)?)
            }
        };
        if speaker.goes_on && now >= speaker.heard_at + SILENT {
            speaker.catches_up_until = now + CATCHES_UP_FOR;
        }
        let stopped_for = now.saturating_sub(speaker.heard_at);
        speaker.heard_at = now;
        if voice.frame.is_empty() {
            speaker.goes_on &= !voice.last_of_talkspurt;
            return Ok(());
        }
        let talkspurt =
            speaker.talkspurts.note(voice.sequence, voice.talkspurt, voice.pause_follows);
        if voice.behind > 0 {
            speaker.listener.receive_copy(
                now,
                voice.sequence,
                talkspurt,
                voice.behind.into(),
                &voice.frame,
            );
            return Ok(());
        }
        speaker.volume = voice.volume;
        speaker.priority = voice.priority;
        speaker.positional = voice.positional;
        let last = voice.last_of_talkspurt || voice.pause_follows;
        if voice.sequence >= speaker.newest {
            let route = speaker.route.replace(voice.route);
            let was_direct = (route, voice.route) == (Some(Route::Direct), Route::Relayed);
            let is_rescued = was_direct && speaker.goes_on && stopped_for >= STALLED;
            if is_rescued && speaker.rescued_at.is_none_or(|at| now >= at + RESCUES_APART) {
                speaker.rescued_at = Some(now);
                speaker.catches_up_until = speaker.catches_up_until.max(now + RESCUE_TAKES);
            }
            speaker.goes_on = !last;
        }
        speaker.newest = speaker.newest.max(voice.sequence);
        speaker.frame = voicemesh_audio::packet_duration(&voice.frame).unwrap_or(speaker.frame);
        speaker.listener.receive(now, voice.sequence, talkspurt, last, &voice.frame);
        Ok(())
    }

    /// Makes the next 10 ms of everyone, heard at `plays_at`; [`mix`](Self::mix) gives their sum.
    /// Each speaker's own part is shown to `each` first, and is left out of the sum if that says
    /// so.
    pub(crate) fn render(
        &mut self,
        now: Duration,
        plays_at: Duration,
        found: &mut Vec<Heard<P>>,
        mut each: impl FnMut(Participant<P>, &Block) -> Mixing,
    ) {
        let speaking =
            self.speakers.iter().filter(|(who, speaker)| speaker.speaking && !self.is_muted(**who));
        let highest = speaking.map(|(_, speaker)| speaker.priority).max().unwrap_or(Priority::Low);
        for (who, speaker) in &mut self.speakers {
            if let Some(span) = speaker.late_span(STALLED) {
                self.lateness.observe(now, &span);
            }
            let setting = self.settings.get(who).copied().unwrap_or_default();
            let ducking = speaker.ducking.next(speaker.priority < highest);
            speaker.listener.set_gain(if setting.muted {
                0.0
            } else {
                setting.gain * speaker.volume * ducking
            });
            let rendered = speaker.listener.render(now, &mut self.scratch);
            if let Some(span) = speaker.late_span(STALLED) {
                self.lateness.observe(now, &span);
            }
            if rendered == Rendered::Speech && !speaker.heard {
                speaker.heard = true;
                found.push(Heard::First(*who));
            }
            if let Some(playing) = speaker.listener.playing() {
                let place =
                    FramePosition { sequence: playing.sequence, talkspurt: playing.talkspurt };
                speaker.clock.observe_playout(plays_at, place, playing.offset, speaker.frame);
            }
            if each(*who, &self.scratch) == Mixing::In {
                let placed = self.placements.get(who).filter(|_| speaker.positional);
                let gains =
                    placed.map_or(Gains::UNPLACED, |placed| self.space.gains(placed.at(now)));
                match speaker.panner.next(gains, rendered == Rendered::Silence) {
                    Panning::Unplaced => self.mixer.add(&self.scratch),
                    Panning::Silent => {}
                    Panning::Between(from, to) => self.mixer.add_placed(&self.scratch, from, to),
                }
            }
            let speaking = speaker.listener.is_speaking();
            if speaking != speaker.speaking {
                speaker.speaking = speaking;
                found.push(Heard::Speaking(*who, speaking));
            }
        }
        self.speakers.retain(|who, speaker| {
            let stays = now < speaker.heard_at + IDLE;
            if !stays && speaker.speaking {
                found.push(Heard::Speaking(*who, false));
            }
            stays
        });
    }

    /// The sum of what was rendered last.
    pub(crate) fn mix(&mut self, out: &mut Block) {
        self.mixer.finish(out);
    }

    /// The same for two ears; says whether they differ.
    pub(crate) fn mix_stereo(&mut self, out: &mut StereoBlock) -> Width {
        self.mixer.finish_stereo(out)
    }

    /// A speaker's position. More than [`SETTINGS`] are not kept.
    pub(crate) fn set_placement(&mut self, who: Participant<P>, placement: Option<Placement>) {
        match placement {
            Some(placement)
                if self.placements.len() < SETTINGS || self.placements.contains_key(&who) =>
            {
                self.placements.insert(who, placement);
            }
            Some(_) => {}
            None => drop(self.placements.remove(&who)),
        }
    }

    /// Whom to tell now how well they are received.
    pub(crate) fn reports(&mut self, now: Duration) -> Vec<(Participant<P>, Reception)> {
        let mut due = Vec::new();
        for (who, speaker) in &mut self.speakers {
            if now < speaker.report_due() {
                continue;
            }
            let is_late = speaker.late_span(LATE).is_some_and(|span| span.contains(&now));
            (speaker.reported_at, speaker.reported_late) = (now, is_late);
            if let Some(reception) = speaker.report(now) {
                speaker.loss.report(reception.expected, reception.lost, reception.mean_loss_run);
                due.push((*who, reception));
            } else if now >= speaker.heard_at + LOSS_LIFE {
                speaker.loss = ListenerLoss::default();
            }
        }
        due
    }

    /// Finds whether speech comes late.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.observe_all(now);
        self.lateness.settle(now);
    }

    fn observe_all(&mut self, now: Duration) {
        for span in self.speakers.values().filter_map(|speaker| speaker.late_span(STALLED)) {
            self.lateness.observe(now, &span);
        }
    }

    /// Whether links should not open now, because speech comes late: as of the last
    /// [`settle`](Self::settle).
    pub(crate) fn links_wait(&self) -> bool {
        self.lateness.links_wait()
    }

    /// Whether speech comes late while some of it is relayed: as of the last
    /// [`settle`](Self::settle).
    pub(crate) fn is_late(&self) -> bool {
        let mut routes = self.speakers.values().map(|speaker| speaker.route);
        self.lateness.is_late() && routes.any(|route| route == Some(Route::Relayed))
    }

    /// Relayed speech comes another way from now on: that it was late says nothing of this one, nor
    /// does what has queued meanwhile.
    pub(crate) fn relay_renewed(&mut self, now: Duration) {
        self.lateness.forget();
        for speaker in self.speakers.values_mut() {
            speaker.catches_up_until = now + CATCHES_UP_FOR;
        }
    }

    /// Whose clock to ask now, and with which time.
    pub(crate) fn poll_probes(&mut self, now: Duration) -> Vec<(Participant<P>, u64)> {
        let playing = self.speakers.iter_mut().filter_map(|(who, speaker)| {
            let place = speaker.playing()?;
            Some((*who, speaker.clock.poll_probe(now, place)?))
        });
        playing.collect()
    }

    /// Takes the answer to a clock probe.
    pub(crate) fn handle_echo(&mut self, now: Duration, who: Participant<P>, echo: &ClockEcho) {
        if let Some(speaker) = self.speakers.get_mut(&who) {
            let mut clock = std::mem::take(&mut speaker.clock);
            clock.handle_echo(now, echo, |low| Some(speaker.place(low)));
            speaker.clock = clock;
        }
    }

    /// From a participant's microphone to this speaker, once measured.
    pub(crate) fn delay(&self, who: Participant<P>) -> Option<Duration> {
        self.speakers.get(&who).and_then(|speaker| speaker.clock.delay())
    }

    /// The share of a speaker's frames that was lost lately.
    pub(crate) fn loss(&self, who: Participant<P>) -> f32 {
        self.speakers.get(&who).and_then(|speaker| speaker.loss.loss()).unwrap_or(0.0)
    }

    /// Settings for one speaker.
    pub(crate) fn setting(&self, who: Participant<P>) -> (f32, bool) {
        let Setting { gain, muted } = self.settings.get(&who).copied().unwrap_or_default();
        (gain, muted)
    }

    fn is_muted(&self, who: Participant<P>) -> bool {
        self.settings.get(&who).is_some_and(|setting| setting.muted)
    }

    /// Factor on a peer's speech; 1.0 is as spoken.
    pub(crate) fn set_gain(&mut self, who: Participant<P>, gain: f32) {
        self.set(who, |setting| setting.gain = gain.clamp(0.0, 4.0));
    }

    pub(crate) fn set_peer_muted(&mut self, who: Participant<P>, muted: bool) {
        self.set(who, |setting| setting.muted = muted);
    }

    pub(crate) fn set_deafened(&mut self, deafened: bool) {
        self.mixer.set_deafened(deafened);
    }

    pub(crate) fn is_deafened(&self) -> bool {
        self.mixer.is_deafened()
    }

    pub(crate) fn stats(&self) -> PlayoutStats {
        self.stats
    }

    pub(crate) fn listener_stats(&self, who: Participant<P>) -> Option<VoiceDecoderStats> {
        self.speakers.get(&who).map(|speaker| speaker.listener.stats())
    }

    pub(crate) fn level_dbfs(&self, who: Participant<P>) -> Option<f32> {
        self.speakers.get(&who).map(|speaker| speaker.listener.level_dbfs())
    }

    pub(crate) fn is_speaking(&self, who: Participant<P>) -> bool {
        self.speakers.get(&who).is_some_and(|speaker| speaker.speaking)
    }

    /// Forgets a speaker's speech: its numbers begin anew. Says whether it was speaking.
    pub(crate) fn forget(&mut self, now: Duration, who: Participant<P>) -> bool {
        self.observe_lateness(now, who);
        self.speakers.remove(&who).is_some_and(|speaker| speaker.speaking)
    }

    /// Forgets everyone's speech; settings stay.
    pub(crate) fn clear(&mut self, now: Duration) {
        self.observe_all(now);
        self.speakers.clear();
    }

    fn set(&mut self, who: Participant<P>, change: impl FnOnce(&mut Setting)) {
        if self.settings.len() < SETTINGS || self.settings.contains_key(&who) {
            change(self.settings.entry(who).or_default());
        }
    }

    fn make_room(&mut self, now: Duration) -> bool {
        if self.speakers.len() < SPEAKERS {
            return true;
        }
        let quietest = self.speakers.iter().min_by_key(|(_, speaker)| speaker.heard_at);
        let Some(who) =
            quietest.filter(|(_, speaker)| now > speaker.heard_at + SILENT).map(|(who, _)| *who)
        else {
            return false;
        };
        self.speakers.remove(&who);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_speech_are_told_apart_also_for_frames_that_come_late() {
        let mut talkspurts = Talkspurts::default();
        assert_eq!(talkspurts.note(100, 5, false), 5);
        assert_eq!(talkspurts.note(102, 5, true), 5);
        assert_eq!(talkspurts.note(103, 5, false), 6);
        assert_eq!(talkspurts.note(101, 5, false), 5, "it was late");
        assert_eq!(talkspurts.note(102, 5, true), 5, "and this one came twice");
        assert_eq!(
            talkspurts.note(104, 6, false),
            7,
            "a step of the counter begins a talkspurt too"
        );
        assert_eq!(talkspurts.of_sequence(105), 7);
        let mut last = 7;
        for sequence in 105..200 {
            let talkspurt = talkspurts.note(sequence, 6, sequence % 3 == 0);
            assert!(talkspurt >= last);
            last = talkspurt;
        }
        assert!(talkspurts.pauses.len() <= PAUSES);
        assert_eq!(last, 7 + 32, "a pause after each third of them");
    }

    /// 20 ms of silence, as Opus encodes it.
    const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

    /// Speech that stops in the middle and comes back through the relay, with what queued meanwhile
    /// at once, 100 ms after that.
    fn after_a_stop(before: Route, stop: Duration) -> Playout<u32> {
        let mut playout = Playout::<u32>::new();
        let mut voice = Voice {
            from: Participant::Peer(1),
            sequence: 0,
            talkspurt: 1,
            last_of_talkspurt: false,
            volume: 1.0,
            priority: Priority::Default,
            positional: false,
            route: Route::Relayed,
            behind: 0,
            pause_follows: false,
            frame: bytes::Bytes::from_static(SILENCE),
        };
        let mut now = Duration::from_secs(1);
        let mut go_on =
            |playout: &mut Playout<u32>, span: Duration, comes: Option<Route>, waiting: u64| {
                let mut waiting = waiting;
                for ms in (0..span.as_millis()).step_by(10) {
                    if let Some(route) = comes.filter(|_| ms % 20 == 0) {
                        voice.route = route;
                        for _ in 0..=std::mem::take(&mut waiting) {
                            playout.receive(now, &voice).expect("a decoder");
                            voice.sequence += 1;
                        }
                    }
                    playout.render(now, now, &mut Vec::new(), |_, _| Mixing::In);
                    now += Duration::from_millis(10);
                }
                playout.settle(now);
                playout.links_wait()
            };
        assert!(!go_on(&mut playout, Duration::from_secs(2), Some(before), 0));
        go_on(&mut playout, stop, None, 0);
        // Long enough for what the stop itself says to be over.
        go_on(&mut playout, Duration::from_millis(1_500), None, 0);
        go_on(&mut playout, Duration::from_millis(100), Some(Route::Relayed), 40);
        playout
    }

    fn links_wait_after_a_stop(before: Route, stop: Duration) -> bool {
        after_a_stop(before, stop).links_wait()
    }

    /// What a direct path holds up says nothing of the way from the server.
    #[test]
    fn relayed_speech_is_late_only_where_some_is_relayed() {
        let mut playout = after_a_stop(Route::Relayed, Duration::ZERO);
        assert!(playout.links_wait() && playout.is_late());
        for speaker in playout.speakers.values_mut() {
            speaker.route = Some(Route::Direct);
        }
        assert!(playout.links_wait() && !playout.is_late());
    }

    #[test]
    fn what_queued_in_an_outage_does_not_keep_links_from_opening() {
        let relayed = Route::Relayed;
        assert!(links_wait_after_a_stop(relayed, Duration::ZERO), "a full way");
        assert!(!links_wait_after_a_stop(relayed, Duration::from_secs(3)), "an outage");
        assert!(!links_wait_after_a_stop(Route::Direct, Duration::ZERO), "a link that died");
    }
}
