//! How old speech is when it is heard: one process speaks chirps from a file, another writes what
//! it hears into a file.
//!
//! Both simulated devices move 10 ms at a time. A sample leaves the mouth when its 10 ms begin, so
//! that recording them counts; it is at the ear when its turn comes in the 10 ms that the speaker
//! has just taken. Each device logs the moment at which its first 10 ms begin, with the machine's
//! clock; from there its file counts time. The age of a chirp is where it correlates best with what
//! was heard.

use std::time::Duration;

use voicemesh_tests::process::Program;
use voicemesh_tests::wav;

use crate::programs::{
    Folder, PATIENCE, Server, Way, at_ms, join_command, wait_for, wait_for_direct,
};
use crate::report::Row;
use crate::run::Scale;

const TARGET_MS: f64 = 80.0;
const RATE: f64 = wav::SAMPLE_RATE as f64;
const STEP_S: f64 = 0.010;
const STEP_SAMPLES: usize = 480;

const SPOKEN: Duration = Duration::from_secs(15);
const SPOKEN_QUICK: Duration = Duration::from_secs(6);
/// Chirps before this are not counted: links open, the jitter buffer finds its size.
const SETTLING_S: f64 = 3.0;
/// The last chirp is this long before the end of the file.
const TAIL_S: f64 = 1.0;
/// Not a multiple of a frame, so that chirps fall on every part of one.
const CHIRP_EVERY_S: f64 = 0.503;
const CHIRP_S: f64 = 0.060;
const CHIRP_HZ: (f64, f64) = (500.0, 3_000.0);
/// Between the chirps, so that there is always something to send.
const NOISE_AMPLITUDE: f32 = 0.005;
/// No chirp is looked for that is older.
const OLDEST_S: f64 = 0.4;
/// Below this, what was found is not the chirp: coded chirps reach 0.47 to 0.98, noise 0.25.
const LEAST_CORRELATION: f64 = 0.4;
/// Coarse search: an eighth of the chirp's shortest wave.
const COARSE_SAMPLES: usize = 2;

/// Row 3, relayed and direct.
pub fn measure(scale: Scale) -> Vec<Row> {
    let ways = [
        ("mouth to ear, 10 ms devices, 20 ms frames, relayed", Way::Relayed),
        ("mouth to ear, 10 ms devices, 20 ms frames, direct", Way::Direct),
    ];
    let rows = ways.into_iter().map(|(name, way)| {
        let runs: Vec<Vec<f64>> = (0..scale.runs()).map(|_| run(scale, way)).collect();
        let values = runs.concat();
        let note = format!("{} chirps in {} runs", values.len(), runs.len());
        Row { name, unit: "ms", target: Some(TARGET_MS), values, note }
    });
    rows.collect()
}

fn run(scale: Scale, way: Way) -> Vec<f64> {
    let length = if scale == Scale::Quick { SPOKEN_QUICK } else { SPOKEN };
    let spoken = Spoken::new(length.as_secs_f64());
    let folder = Folder::create();
    let (spoken_file, heard_file) = (folder.file("spoken.wav"), folder.file("heard.wav"));
    wav::write(&spoken_file, &spoken.samples).unwrap_or_else(|error| panic!("{error}"));
    let mut server = Server::start();
    let heard_path = heard_file.display().to_string();
    let mut ear = start(&server, &folder, "ear", way, "silence", &heard_path);
    let ear_began_s = device_began_s(&mut ear, "speaker");
    wait_for(&mut ear, "connected");
    let mut mouth =
        start(&server, &folder, "mouth", way, &spoken_file.display().to_string(), "null");
    let mouth_began_s = device_began_s(&mut mouth, "microphone");
    if way == Way::Direct {
        let direct_ms = at_ms(&wait_for_direct(&mut mouth));
        wait_for_direct(&mut ear);
        assert!(direct_ms < SETTLING_S * 1e3, "direct only after {direct_ms} ms");
    }
    // Over when the mouth's own time is; the gate ends speech half a second after the file.
    mouth.wait_for("the end of speech", length + PATIENCE, |json| json["event"] == "summary");
    ear.interrupt();
    ear.wait_for_exit(PATIENCE);
    for program in [&mouth, &ear] {
        assert!(
            !program.transcript().contains("held up"),
            "a device could not keep its pace\n{}",
            program.transcript()
        );
    }
    server.program.kill();
    let heard = wav::read(&heard_file).unwrap_or_else(|error| panic!("{error}"));
    // A clock that passes midnight in between.
    let ahead_s = (mouth_began_s - ear_began_s).rem_euclid(24.0 * 3600.0);
    let ages = spoken.ages_ms(&heard, ahead_s);
    assert!(
        ages.len() * 10 >= spoken.counted().count() * 9,
        "only {} chirps were heard",
        ages.len()
    );
    ages
}

fn start(
    server: &Server,
    folder: &Folder,
    name: &str,
    way: Way,
    input: &str,
    output: &str,
) -> Program {
    let mut command = join_command(server, folder, name, way, input, output);
    command.env("VOICEMESH_LOG", "warn,voicemesh_device=debug");
    if name == "mouth" {
        command.args([
            "--duration",
            &(wav::read(input.as_ref()).map_or(0, |spoken| spoken.len()) as f64 / RATE).to_string(),
        ]);
    }
    Program::start(name, command)
}

/// Seconds since midnight at which a device's first step began, by the machine's clock.
fn device_began_s(program: &mut Program, which: &str) -> f64 {
    let mark = format!("the simulated {which} begins");
    program.wait_for_text(&mark, PATIENCE, |line| {
        if line.contains(&mark) { time_of_day_s(line) } else { None }
    })
}

/// Of a line that begins with a time such as `2026-01-31T12:34:56.789012Z`.
fn time_of_day_s(line: &str) -> Option<f64> {
    let (_, time) = line.split_whitespace().next()?.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Chirps over a quiet noise.
pub struct Spoken {
    samples: Vec<f32>,
    chirp: Vec<f32>,
    starts: Vec<usize>,
}

impl Spoken {
    pub fn new(length_s: f64) -> Self {
        let chirp = chirp();
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * NOISE_AMPLITUDE
        };
        let mut samples: Vec<f32> = (0..(length_s * RATE) as usize).map(|_| noise()).collect();
        let times = (1..)
            .map(|number| f64::from(number) * CHIRP_EVERY_S)
            .take_while(|time_s| time_s + TAIL_S < length_s);
        let starts: Vec<usize> = times.map(|time_s| (time_s * RATE) as usize).collect();
        for start in &starts {
            samples[*start..*start + chirp.len()]
                .iter_mut()
                .zip(&chirp)
                .for_each(|(sample, chirp)| *sample += chirp);
        }
        Self { samples, chirp, starts }
    }

    /// The samples of one step of a device; `None` behind the last whole one.
    pub fn block(&self, number: u32) -> Option<[f32; STEP_SAMPLES]> {
        let first = number as usize * STEP_SAMPLES;
        self.samples.get(first..first + STEP_SAMPLES)?.try_into().ok()
    }

    /// The chirps that count.
    pub fn counted(&self) -> impl Iterator<Item = usize> + '_ {
        self.starts.iter().copied().filter(|start| *start as f64 / RATE >= SETTLING_S)
    }

    /// How old each chirp is when it is heard. The microphone's file begins `ahead_s` after the
    /// speaker's.
    pub fn ages_ms(&self, heard: &[f32], ahead_s: f64) -> Vec<f64> {
        let ages = self.counted().filter_map(|start| {
            // The speaker takes its first 10 ms when they have passed.
            let spoken_s = start as f64 / RATE + ahead_s - STEP_S;
            let first = (spoken_s * RATE).round() as usize;
            let last = first + (OLDEST_S * RATE) as usize + self.chirp.len();
            let found = find(&self.chirp, heard.get(first..last)?)?;
            Some(((first + found) as f64 / RATE - spoken_s) * 1e3)
        });
        ages.collect()
    }
}

fn chirp() -> Vec<f32> {
    let length = (CHIRP_S * RATE) as usize;
    let sample = |number: usize| {
        let (time_s, part) = (number as f64 / RATE, number as f64 / length as f64);
        let hz = CHIRP_HZ.0 + (CHIRP_HZ.1 - CHIRP_HZ.0) * part / 2.0;
        let envelope = (std::f64::consts::PI * part).sin().powi(2);
        (0.5 * envelope * (std::f64::consts::TAU * hz * time_s).sin()) as f32
    };
    (0..length).map(sample).collect()
}

/// Where `wanted` begins in `samples`.
fn find(wanted: &[f32], samples: &[f32]) -> Option<usize> {
    let lags = samples.len() - wanted.len();
    let best = |lags: &mut dyn Iterator<Item = usize>| {
        lags.map(|lag| (lag, correlation(wanted, &samples[lag..])))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    };
    let (near, _) = best(&mut (0..lags).step_by(COARSE_SAMPLES))?;
    let (lag, correlation) =
        best(&mut (near.saturating_sub(COARSE_SAMPLES)..lags.min(near + COARSE_SAMPLES + 1)))?;
    (correlation >= LEAST_CORRELATION).then_some(lag)
}

fn correlation(wanted: &[f32], samples: &[f32]) -> f64 {
    let (mut product, mut power, mut wanted_power) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (wanted, sample) in wanted.iter().zip(samples) {
        product += wanted * sample;
        power += sample * sample;
        wanted_power += wanted * wanted;
    }
    f64::from(product) / f64::from(power * wanted_power).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_what_was_spoken_is_found() {
        let spoken = Spoken::new(6.0);
        let age_s = 0.0625;
        for ahead_s in [0.0, 0.75] {
            // What the speaker's file holds, had everything taken exactly this long.
            let shift = ((ahead_s - STEP_S + age_s) * RATE).round() as usize;
            let mut heard = vec![0.0; shift];
            heard.extend(spoken.samples.iter().map(|sample| sample * 0.7));
            heard.resize(heard.len() + 48_000, 0.0);
            let ages = spoken.ages_ms(&heard, ahead_s);
            assert_eq!(ages.len(), spoken.counted().count());
            assert!(ages.iter().all(|age_ms| (age_ms - age_s * 1e3).abs() < 0.05), "{ages:?}");
        }
    }

    #[test]
    fn noise_is_no_chirp() {
        let spoken = Spoken::new(6.0);
        assert!(spoken.counted().count() > 3);
        assert_eq!(spoken.ages_ms(&spoken.samples[..20_000].repeat(15), 0.2), [0.0; 0]);
    }

    #[test]
    fn the_time_of_a_log_line_is_read() {
        assert_eq!(time_of_day_s("2026-01-31T01:02:03.500000Z DEBUG x: y"), Some(3723.5));
        assert_eq!(time_of_day_s("nothing of that kind"), None);
    }
}
