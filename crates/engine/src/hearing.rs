//! The way in: each speaker's frames → jitter buffer → decoder → mix.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_audio::decode::{Listener, ListenerStats, Rendered};
use voicemesh_audio::mix::Mixer;
use voicemesh_audio::{AudioError, BLOCK_SAMPLES, Block};
use voicemesh_session::client::{Voice, Who};

/// Speakers decoded at a time. When there are more, the one that has been silent longest makes room; if all speak, the
/// newcomer is not heard, and counted.
const SPEAKERS: usize = 64;
/// A speaker that has been silent for this long gives its decoder back.
const IDLE: Duration = Duration::from_secs(30);
/// A speaker from whom nothing has come for this long may make room for another.
const SILENT: Duration = Duration::from_secs(2);

/// What was heard, of all speakers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HearingStats {
    /// Frames of speakers for whom there was no room.
    pub frames_without_room: u64,
}

/// Everyone who is heard.
#[derive(Debug)]
pub(crate) struct Hearing<P> {
    speakers: BTreeMap<Who<P>, Speaker>,
    settings: BTreeMap<Who<P>, Setting>,
    mixer: Mixer,
    scratch: Block,
    stats: HearingStats,
}

#[derive(Debug)]
struct Speaker {
    listener: Listener,
    heard_at: Duration,
    volume: f32,
    heard: bool,
    speaking: bool,
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
    /// The first frame of somebody from whom nothing was heard for a while.
    First(Who<P>),
    /// Somebody begins or ceases to be heard speaking.
    Speaking(Who<P>, bool),
}

/// Settings remembered for peers. When there are more, no new ones are kept.
const SETTINGS: usize = 1024;

impl<P: Copy + Ord> Hearing<P> {
    pub(crate) fn new() -> Self {
        Self {
            speakers: BTreeMap::new(),
            settings: BTreeMap::new(),
            mixer: Mixer::new(),
            scratch: [0.0; BLOCK_SAMPLES],
            stats: HearingStats::default(),
        }
    }

    pub(crate) fn receive(&mut self, now: Duration, voice: &Voice<P>) -> Result<(), AudioError> {
        if !self.speakers.contains_key(&voice.from) && !self.make_room(now) {
            self.stats.frames_without_room += 1;
            return Ok(());
        }
        let speaker = match self.speakers.entry(voice.from) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Speaker {
                listener: Listener::new()?,
                heard_at: now,
                volume: 1.0,
                heard: false,
                speaking: false,
            }),
        };
        speaker.heard_at = now;
        if !voice.frame.is_empty() && voice.behind == 0 {
            speaker.volume = voice.volume;
            speaker.listener.receive(now, voice.sequence, voice.burst, voice.last_of_burst, &voice.frame);
        }
        Ok(())
    }

    /// The next 10 ms of everyone together.
    pub(crate) fn render(&mut self, now: Duration, out: &mut Block, found: &mut Vec<Heard<P>>) {
        for (who, speaker) in &mut self.speakers {
            let setting = self.settings.get(who).copied().unwrap_or_default();
            speaker.listener.set_gain(if setting.muted { 0.0 } else { setting.gain * speaker.volume });
            let rendered = speaker.listener.render(now, &mut self.scratch);
            if rendered == Rendered::Speech && !speaker.heard {
                speaker.heard = true;
                found.push(Heard::First(*who));
            }
            self.mixer.add(&self.scratch);
            let speaking = speaker.listener.is_speaking();
            if speaking != speaker.speaking {
                speaker.speaking = speaking;
                found.push(Heard::Speaking(*who, speaking));
            }
        }
        self.mixer.finish(out);
        self.speakers.retain(|who, speaker| {
            let stays = now < speaker.heard_at + IDLE;
            if !stays && speaker.speaking {
                found.push(Heard::Speaking(*who, false));
            }
            stays
        });
    }

    /// Factor on a peer's speech; 1.0 is as spoken.
    pub(crate) fn set_gain(&mut self, who: Who<P>, gain: f32) {
        self.set(who, |setting| setting.gain = gain.clamp(0.0, 4.0));
    }

    pub(crate) fn set_peer_muted(&mut self, who: Who<P>, muted: bool) {
        self.set(who, |setting| setting.muted = muted);
    }

    pub(crate) fn set_deafened(&mut self, deafened: bool) {
        self.mixer.set_deafened(deafened);
    }

    pub(crate) fn is_deafened(&self) -> bool {
        self.mixer.is_deafened()
    }

    pub(crate) fn stats(&self) -> HearingStats {
        self.stats
    }

    pub(crate) fn listener_stats(&self, who: Who<P>) -> Option<ListenerStats> {
        self.speakers.get(&who).map(|speaker| speaker.listener.stats())
    }

    pub(crate) fn level_dbfs(&self, who: Who<P>) -> Option<f32> {
        self.speakers.get(&who).map(|speaker| speaker.listener.level_dbfs())
    }

    pub(crate) fn is_speaking(&self, who: Who<P>) -> bool {
        self.speakers.get(&who).is_some_and(|speaker| speaker.speaking)
    }

    /// Forgets everyone's speech; settings stay.
    pub(crate) fn clear(&mut self) {
        self.speakers.clear();
    }

    fn set(&mut self, who: Who<P>, change: impl FnOnce(&mut Setting)) {
        if self.settings.len() < SETTINGS || self.settings.contains_key(&who) {
            change(self.settings.entry(who).or_default());
        }
    }

    fn make_room(&mut self, now: Duration) -> bool {
        if self.speakers.len() < SPEAKERS {
            return true;
        }
        let quietest = self.speakers.iter().min_by_key(|(_, speaker)| speaker.heard_at);
        let Some(who) = quietest.filter(|(_, speaker)| now > speaker.heard_at + SILENT).map(|(who, _)| *who) else {
            return false;
        };
        self.speakers.remove(&who);
        true
    }
}
