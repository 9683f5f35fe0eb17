//! A sound server for a test: PulseAudio with a virtual speaker and a virtual microphone (Linux).
//!
//! ```text
//! program ─→ sink "speaker" ─→ its monitor ─→ record("speaker.monitor")
//! play_into_microphone ─→ sink "feed" ─→ its monitor, remapped ─→ source "microphone" ─→ program
//! ```
//!
//! Both are the defaults, so that a program which asks for the default devices gets them; no other
//! sound server is touched and none starts by itself. A null sink takes about two seconds ahead
//! when a stream begins: discard the first [`PRERENDERED`] of a measurement, or align with
//! [`crate::hear`](mod@crate::hear), which finds the speech wherever it is.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Program;
use crate::skip;

/// The sink that a program plays to.
pub const SPEAKER: &str = "speaker";
/// What was played to the speaker, as a source.
pub const SPEAKER_MONITOR: &str = "speaker.monitor";
/// The source that a program records from.
pub const MICROPHONE: &str = "microphone";
/// What a null sink takes ahead when a stream begins, and somewhat more.
pub const PRERENDERED: Duration = Duration::from_millis(2_500);

/// Everybody may use the server, but clients that do not ask libpulse (ours) are refused if they
/// show no cookie at all.
const COOKIE: [u8; 256] = [0; 256];

const START_PATIENCE: Duration = Duration::from_secs(20);
/// Recorded pieces on their way; beyond that `parec` waits, then the server drops.
const MOST_PIECES: usize = 4_096;
const PIECE_BYTES: usize = 4_096;
/// A recorder asks for this much at a time.
const LATENCY_MS: &str = "20";

/// A running private sound server; ended when dropped. Drop its players and recorders first.
pub struct Pulse {
    daemon: Program,
    directory: PathBuf,
}

/// A running recording.
pub struct Recording {
    recorder: Child,
    pieces: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

/// A file being played.
pub struct Playing(Program);

impl Pulse {
    /// Starts a sound server. None (said loudly) where there is none to start.
    ///
    /// # Panics
    /// With `CI=true` where PulseAudio is not installed; and if it is but does not come up.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        if !skip::can_run(test, false, &["pulseaudio", "paplay", "parec", "pactl"]) {
            return None;
        }
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("voicemesh-pulse-{}-{number}", std::process::id()));
        make_private(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let script = script(&directory);
        std::fs::write(&script, setup(&directory))
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        std::fs::write(cookie(&directory), COOKIE)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        Some(Self { daemon: start_daemon(&directory, &script), directory })
    }

    /// Ends the server without warning, if it still runs, and starts it again at the same place.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = start_daemon(&self.directory, &script(&self.directory));
    }

    /// Makes `command` use this server and no other, also through ALSA's PulseAudio plug-in.
    pub fn use_in(&self, command: &mut Command) {
        set_environment(command, &self.directory);
    }

    /// The server itself: kill it, or pause it, to see what a program does then.
    pub fn daemon(&mut self) -> &mut Program {
        &mut self.daemon
    }

    /// Tells the server to change something, as `pactl` does.
    ///
    /// # Panics
    /// If it refuses.
    pub fn control(&self, arguments: &[&str]) {
        let mut command = Command::new("pactl");
        command.args(arguments);
        self.use_in(&mut command);
        let output = command.output().unwrap_or_else(|error| panic!("pactl: {error}"));
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Plays a file into a sink that was made with [`control`](Self::control), once.
    #[must_use]
    pub fn play_into(&self, file: &Path, sink: &str) -> Playing {
        self.play(file, sink)
    }

    /// Plays a file into the virtual microphone, once.
    #[must_use]
    pub fn play_into_microphone(&self, file: &Path) -> Playing {
        self.play(file, "feed")
    }

    /// Plays a file to the virtual speaker, once.
    #[must_use]
    pub fn play_to_speaker(&self, file: &Path) -> Playing {
        self.play(file, SPEAKER)
    }

    /// Records a source, 48 kHz mono: [`MICROPHONE`] or [`SPEAKER_MONITOR`]. Returns when sound
    /// comes, so that nothing that is played from then on is missed.
    ///
    /// # Panics
    /// If the recorder does not start.
    #[must_use]
    pub fn record(&self, source: &str) -> Recording {
        let mut command = Command::new("parec");
        command.args([
            "--raw",
            "--format=s16le",
            "--rate=48000",
            "--channels=1",
            "--latency-msec",
            LATENCY_MS,
        ]);
        command.args(["--device", source]).stdin(Stdio::null()).stdout(Stdio::piped());
        self.use_in(&mut command);
        let mut recorder = command.spawn().unwrap_or_else(|error| panic!("parec: {error}"));
        let mut pipe = recorder.stdout.take().unwrap_or_else(|| panic!("parec without a pipe"));
        let (sender, pieces) = sync_channel(MOST_PIECES);
        thread::spawn(move || {
            let mut piece = [0; PIECE_BYTES];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut recording = Recording { recorder, pieces, bytes: Vec::new() };
        recording.receive(START_PATIENCE);
        recording
    }

    fn play(&self, file: &Path, sink: &str) -> Playing {
        let mut command = Command::new("paplay");
        command.args(["--device", sink]).arg(file);
        self.use_in(&mut command);
        Playing(Program::start("paplay", command))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // Gone before its directory is, else it would write there again.
        self.daemon.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Playing {
    /// Waits until the whole file was played.
    ///
    /// # Panics
    /// If that takes longer than `patience`, or fails.
    pub fn wait(mut self, patience: Duration) {
        let status = self.0.wait_for_exit(patience);
        assert!(status.success(), "{}", self.0.transcript());
    }
}

impl Recording {
    /// Waits until there are `length` of sound since the beginning or the last call, and takes
    /// them.
    ///
    /// # Panics
    /// If they do not come within `length` and another 20 s.
    #[must_use]
    pub fn take(&mut self, length: Duration) -> Vec<f32> {
        let wanted = (length.as_secs_f64() * 48_000.0) as usize * 2;
        let deadline = Instant::now() + length + START_PATIENCE;
        while self.bytes.len() < wanted {
            self.receive(deadline.saturating_duration_since(Instant::now()));
        }
        samples(self.bytes.drain(..wanted))
    }

    fn receive(&mut self, patience: Duration) {
        let piece = self.pieces.recv_timeout(patience);
        let so_far = self.bytes.len();
        self.bytes.extend(
            piece.unwrap_or_else(|error| panic!("recorded {so_far} bytes, then nothing: {error}")),
        );
    }

    /// Ends the recording and returns what has not been taken.
    #[must_use]
    pub fn stop(mut self) -> Vec<f32> {
        let _ = self.recorder.kill();
        while let Ok(piece) = self.pieces.recv() {
            self.bytes.extend(piece);
        }
        samples(std::mem::take(&mut self.bytes).into_iter())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.recorder.kill();
        let _ = self.recorder.wait();
    }
}

fn samples(bytes: impl Iterator<Item = u8>) -> Vec<f32> {
    let bytes: Vec<u8> = bytes.collect();
    bytes
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
        .collect()
}

fn setup(directory: &Path) -> String {
    let socket = socket(directory);
    format!(
        "load-module module-native-protocol-unix auth-anonymous=1 socket={}\n\
         load-module module-null-sink sink_name={SPEAKER} rate=48000 channels=1\n\
         load-module module-null-sink sink_name=feed rate=48000 channels=1\n\
         load-module module-remap-source source_name={MICROPHONE} master=feed.monitor channels=1 remix=no\n\
         set-default-sink {SPEAKER}\n\
         set-default-source {MICROPHONE}\n",
        socket.display()
    )
}

fn start_daemon(directory: &Path, script: &Path) -> Program {
    let mut command = Command::new("pulseaudio");
    command.args([
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--disable-shm=yes",
    ]);
    command.args(["--log-level=info", "--log-target=stderr", "--fail=yes", "--file"]).arg(script);
    set_environment(&mut command, directory);
    let mut daemon = Program::start("pulseaudio", command);
    daemon.wait_for_line("Daemon startup complete", START_PATIENCE);
    daemon
}

fn script(directory: &Path) -> PathBuf {
    directory.join("setup.pa")
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("native")
}

fn cookie(directory: &Path) -> PathBuf {
    directory.join("cookie")
}

fn set_environment(command: &mut Command, directory: &Path) {
    command.env("XDG_RUNTIME_DIR", directory).env("PULSE_RUNTIME_PATH", directory);
    command
        .env("HOME", directory)
        .env("XDG_CONFIG_HOME", directory)
        .env("PULSE_CONFIG_PATH", directory);
    command.env("PULSE_SERVER", format!("unix:{}", socket(directory).display()));
    command
        .env_remove("PULSE_SINK")
        .env_remove("PULSE_SOURCE")
        .env("PULSE_COOKIE", cookie(directory));
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("DISPLAY");
}

/// A directory that only we may enter, as the server demands.
fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let _ = std::fs::remove_dir_all(directory);
    std::fs::DirBuilder::new().mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hear::{Floor, compare};
    use crate::speech;

    const LENGTH: Duration = Duration::from_secs(7);

    /// Records long enough for what is pre-rendered, the speech and some delay.
    fn heard(mut recording: Recording, voice: &str) -> Vec<f32> {
        let spoken = Duration::from_secs_f64(speech::load(voice).len() as f64 / 48_000.0);
        recording.take(PRERENDERED + spoken + Duration::from_secs(1))
    }

    #[test]
    fn what_is_played_into_the_microphone_is_heard_from_it_and_not_from_the_speaker() {
        let Some(pulse) = Pulse::start("what_is_played_into_the_microphone_is_heard_from_it")
        else {
            return;
        };
        let microphone = pulse.record(MICROPHONE);
        let speaker = pulse.record(SPEAKER_MONITOR);
        let playing = pulse.play_into_microphone(&speech::path("announcer"));
        let hearing = compare(&speech::load("announcer"), &heard(microphone, "announcer"));
        hearing.verdict(&Floor::default()).unwrap();
        playing.wait(LENGTH + START_PATIENCE);
        assert!(speaker.stop().iter().all(|sample| *sample == 0.0), "the speaker must be silent");
    }

    #[test]
    fn what_is_played_to_the_speaker_is_heard_from_its_monitor() {
        let Some(pulse) = Pulse::start("what_is_played_to_the_speaker_is_heard_from_its_monitor")
        else {
            return;
        };
        let monitor = pulse.record(SPEAKER_MONITOR);
        let playing = pulse.play_to_speaker(&speech::path("reader"));
        let hearing = compare(&speech::load("reader"), &heard(monitor, "reader"));
        hearing.verdict(&Floor::default()).unwrap();
        playing.wait(LENGTH + START_PATIENCE);
    }

    #[test]
    fn the_virtual_devices_are_the_default_ones() {
        let Some(pulse) = Pulse::start("the_virtual_devices_are_the_default_ones") else { return };
        if !skip::can_run("the_virtual_devices_are_the_default_ones", false, &["pactl"]) {
            return;
        }
        let mut command = Command::new("pactl");
        command.arg("info");
        pulse.use_in(&mut command);
        let mut info = Program::start("pactl", command);
        info.wait_for_line("Default Sink: speaker", START_PATIENCE);
        info.wait_for_line("Default Source: microphone", START_PATIENCE);
    }
}
