//! How much echo is removed in a simulated room, how soon, and what the near speaker loses in
//! double talk.

use voicemesh_audio::{
    BLOCK_SAMPLES, Block,
    process::{Activation, Microphone, MicrophoneConfig, NoiseSuppression, Processing},
};

use crate::{
    echo_room::Room,
    noise_sources::{
        FRAME_SAMPLES, Noise, active_level_dbfs, frame_levels_dbfs, mean_square, speech_frames,
    },
    report::{Options, Row},
    speech,
};

/// Samples in a millisecond.
const MS: usize = 48;

/// The echo's delay from these times on: a laptop's usual one, one through a sound server, and
/// something between.
pub const DELAYS_MS: [(usize, usize); 3] = [(0, 40), (20_000, 120), (40_000, 70)];

/// How long one run lasts.
pub const RUN_MS: usize = 60_000;

/// The echo is measured from here on after the start or a change of delay.
pub const SETTLED_AFTER_MS: usize = 5_000;

/// Noise of the microphone itself.
const MICROPHONE_NOISE_DBFS: f32 = -72.0;

/// Frames of one look at convergence: half a second.
const LOOK_FRAMES: usize = 50;

/// What a microphone in a room hears of a far speaker, and perhaps of a near one.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What the loudspeaker plays.
    pub played: Vec<f32>,
    /// What of it reaches the microphone.
    pub echo: Vec<f32>,
    /// What the near speaker says, where the microphone is.
    pub near: Vec<f32>,
    /// The microphone's own noise.
    pub noise: Vec<f32>,
}

impl Scene {
    /// One voice after the other from afar, beginning with the given one; no near speech.
    #[must_use]
    pub fn far_end(
        first_voice: usize,
        room: Room,
        samples: usize,
        delays: &[(usize, usize)],
    ) -> Self {
        let played = talk(first_voice, samples);
        let echo = room.echo(&played, delays);
        let gain = 10_f32.powf(MICROPHONE_NOISE_DBFS / 20.0);
        let noise = Noise::White
            .make(room.seed + 1_000, samples)
            .into_iter()
            .map(|sample| sample * gain)
            .collect();
        Self { near: vec![0.0; samples], played, echo, noise }
    }

    /// The same with near speech from a moment on, so much louder than the echo.
    #[must_use]
    pub fn with_near(mut self, first_voice: usize, over_echo_db: f64, from: usize) -> Self {
        let near = talk(first_voice, self.near.len() - from);
        let gain_db =
            active_level_dbfs(&self.echo[from..]) + over_echo_db - active_level_dbfs(&near);
        let gain = 10_f64.powf(gain_db / 20.0) as f32;
        self.near[from..].iter_mut().zip(near).for_each(|(slot, sample)| *slot = sample * gain);
        self
    }

    /// The same from a loudspeaker that bends what is loud: the microphone hears tones that were
    /// not played.
    #[must_use]
    pub fn with_distorting_loudspeaker(mut self, room: Room, delays: &[(usize, usize)]) -> Self {
        let bent: Vec<f32> = self.played.iter().map(|sample| (3.0 * sample).tanh() / 3.0).collect();
        self.echo = room.echo(&bent, delays);
        self
    }

    /// The same without a far speaker.
    #[must_use]
    pub fn near_alone(mut self) -> Self {
        self.played.fill(0.0);
        self.echo.fill(0.0);
        self
    }

    /// What comes out of the processing, sample for sample as late as it adds.
    #[must_use]
    pub fn process(&self, processing: Processing) -> Vec<f32> {
        let mut microphone =
            Microphone::new(MicrophoneConfig { processing, activation: Activation::Always })
                .unwrap_or_else(|error| panic!("{error}"));
        let heard: Vec<f32> = self
            .echo
            .iter()
            .zip(&self.near)
            .zip(&self.noise)
            .map(|((echo, near), noise)| echo + near + noise)
            .collect();
        let mut out = Vec::with_capacity(heard.len());
        for (heard, played) in heard.as_chunks::<BLOCK_SAMPLES>().0.iter().zip(blocks(&self.played))
        {
            microphone.played(played);
            microphone.push(heard);
            match microphone.next_block() {
                Some(block) => out.extend_from_slice(block),
                None => out.extend_from_slice(&[0.0; BLOCK_SAMPLES]),
            }
        }
        out
    }
}

/// How an echo was removed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Removal {
    /// Energy of the echo over energy of what came out, once settled, while the far speaker spoke.
    pub settled_db: f64,
    /// From the start, and from the slowest change of delay, until half a second was reduced by 25
    /// dB.
    pub converged_ms: (Option<usize>, Option<usize>),
}

/// Measures what came out of a scene without a near speaker.
#[must_use]
pub fn removal(scene: &Scene, out: &[f32], delays: &[(usize, usize)]) -> Removal {
    let active = speech_frames(&scene.echo);
    let energy = |samples: &[f32], frames: std::ops::Range<usize>| -> f64 {
        frames
            .filter(|frame| active[*frame])
            .map(|frame| mean_square(&samples[frame * FRAME_SAMPLES..(frame + 1) * FRAME_SAMPLES]))
            .sum()
    };
    let reduction_db = |frames: std::ops::Range<usize>| {
        10.0 * (energy(&scene.echo, frames.clone()) / energy(out, frames).max(1e-12)).log10()
    };
    let frames = active.len();
    let begins: Vec<usize> = delays.iter().map(|(from, _)| from / FRAME_SAMPLES).collect();
    let parts = begins.iter().enumerate().map(|(part, begin)| {
        let end = begins.get(part + 1).copied().unwrap_or(frames);
        (*begin, end)
    });
    let settled = |begin: usize| begin + SETTLED_AFTER_MS * MS / FRAME_SAMPLES;
    let total = |samples: &[f32]| -> f64 {
        parts.clone().map(|(begin, end)| energy(samples, settled(begin)..end)).sum()
    };
    let converged = |begin: usize, end: usize| {
        (begin..end - LOOK_FRAMES)
            .find(|from| {
                energy(&scene.echo, *from..from + LOOK_FRAMES) > 0.0
                    && reduction_db(*from..from + LOOK_FRAMES) >= 25.0
            })
            .map(|from| (from - begin) * FRAME_SAMPLES / MS)
    };
    let times: Vec<Option<usize>> =
        parts.clone().map(|(begin, end)| converged(begin, end)).collect();
    let slowest = times[1..].iter().try_fold(0, |slowest, time| time.map(|time| slowest.max(time)));
    Removal {
        settled_db: 10.0 * (total(&scene.echo) / total(out).max(1e-12)).log10(),
        converged_ms: (times[0], slowest),
    }
}

/// What of the near speaker is missing in double talk, in decibels: of each 20 ms of what came out,
/// only that part counts which has the shape of what comes out without a far voice (so residual
/// echo counts for nothing).
#[must_use]
pub fn near_loss_db(near_alone: &[f32], double_talk: &[f32], from: usize) -> f64 {
    let frame = 2 * FRAME_SAMPLES;
    let threshold = active_level_dbfs(&near_alone[from..]) - 20.0;
    let (mut whole, mut kept) = (0.0, 0.0);
    for (alone, both) in
        near_alone[from..].chunks_exact(frame).zip(double_talk[from..].chunks_exact(frame))
    {
        if frame_levels_dbfs(alone).iter().all(|level| *level < threshold) {
            continue;
        }
        let product: f64 =
            alone.iter().zip(both).map(|(alone, both)| f64::from(*alone) * f64::from(*both)).sum();
        let energy: f64 = alone.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        whole += energy;
        kept += product.max(0.0).powi(2) / energy;
    }
    10.0 * (whole / kept.max(1e-12)).log10()
}

/// The voices in turn, with half a second between them.
fn talk(first_voice: usize, samples: usize) -> Vec<f32> {
    let mut talk = Vec::with_capacity(samples);
    for voice in (0..speech::VOICES.len()).cycle().skip(first_voice) {
        if talk.len() >= samples {
            break;
        }
        talk.extend(speech::load(speech::VOICES[voice]));
        talk.extend([0.0; 500 * MS]);
    }
    talk.truncate(samples);
    talk
}

fn blocks(samples: &[f32]) -> &[Block] {
    samples.as_chunks::<BLOCK_SAMPLES>().0
}

/// Echo in three rooms and double talk in them.
#[must_use]
pub fn figures(options: &Options) -> Vec<Row> {
    let rooms = [(150.0, 6.0), (200.0, 6.0), (250.0, 0.0)];
    let mut rows = Vec::new();
    for (place, (rt60_ms, loss_db)) in rooms.into_iter().enumerate() {
        for seed in 0..options.seeds() {
            let room = Room { rt60_ms, loss_db, seed: seed * 100 + place as u64 };
            let voice = place + seed as usize;
            rows.push(removal_row(voice, room));
            rows.push(double_talk_row(voice, room));
        }
    }
    rows
}

/// Echo suppression as people use it; gain would hide what was removed.
const WHOLE: Processing = Processing {
    echo_cancellation: true,
    noise_suppression: NoiseSuppression::High,
    automatic_gain: false,
    high_pass: true,
};

fn removal_row(voice: usize, room: Room) -> Row {
    let delays = DELAYS_MS.map(|(from, delay)| (from * MS, delay * MS));
    let scene = Scene::far_end(voice, room, RUN_MS * MS, &delays);
    let measure = |scene: &Scene, processing| removal(scene, &scene.process(processing), &delays);
    let alone = measure(&scene, Processing { echo_cancellation: true, ..Processing::OFF });
    let whole = measure(&scene, WHOLE);
    let distorted = measure(&scene.clone().with_distorting_loudspeaker(room, &delays), WHOLE);
    let shown =
        |time: Option<usize>| time.map_or_else(|| "never".to_owned(), |time| format!("{time} ms"));
    let condition = format!("{room}, delay 40 → 120 → 70 ms, from 5 s after each change");
    Row::new("echo removed, canceller alone", &condition, alone.settled_db, "dB")
        .wanted("≥ 30".to_owned(), alone.settled_db >= 30.0)
        .with("25 dB from the start after", shown(alone.converged_ms.0))
        .with("from the slowest change after", shown(alone.converged_ms.1))
        .with("with noise suppression", format!("{:.1} dB", whole.settled_db))
        .with("and a distorting loudspeaker", format!("{:.1} dB", distorted.settled_db))
}

fn double_talk_row(voice: usize, room: Room) -> Row {
    let from = 10_000 * MS;
    let far = Scene::far_end(voice, room, 30_000 * MS, &[(0, 40 * MS)]);
    let loss = |over_echo_db: f64| {
        let scene = far.clone().with_near(voice + 2, over_echo_db, from);
        near_loss_db(&scene.clone().near_alone().process(WHOLE), &scene.process(WHOLE), from)
    };
    Row::new(
        "near speaker lost in double talk",
        &format!("{room}, both equally loud"),
        loss(0.0),
        "dB",
    )
    .at_most(8.0)
    .with("6 dB louder than the echo", format!("{:.1} dB", loss(6.0)))
    .with("6 dB quieter", format!("{:.1} dB", loss(-6.0)))
}

#[cfg(test)]
mod tests;
