//! WAV files as microphone and as speaker.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::beside::{create_beside, is_unused, rename_finished, unfinished};
use crate::{Cause, DeviceError, InputSpec, OutputSpec, SAMPLE_RATE, downmix, file_words, riff};

/// The longest file that is played; it is held in memory, 11.5 MB a minute. A longer one is
/// refused.
const MOST_SECONDS: u32 = 30 * 60;
/// Bytes read of a file: more than 30 minutes of eight channels of 32 bits.
const MOST_READ: u64 = 3 << 30;
/// A file's header is made true, and its data handed to the system, this often: 500 ms.
const STEPS_BETWEEN_FLUSHES: u32 = 50;
/// What a WAV header can count, less the header; about 12 hours. Then the file is finished and the
/// rest is lost.
const MOST_WRITTEN: u32 = (u32::MAX - 1_024) / 2;

/// Files of one name in one folder.
const MOST_OF_ONE_NAME: u32 = 10_000;

/// Reads a whole file as 48 kHz mono. `channel`, counted from 1, is the one to hear; without it the
/// channels are mixed.
pub(crate) fn load(path: &Path, channel: Option<u16>) -> Result<Vec<f32>, DeviceError> {
    read_mono(path, channel).map_err(|why| DeviceError::BadWav { path: path.into(), why })
}

fn read_mono(path: &Path, channel: Option<u16>) -> Result<Vec<f32>, Cause> {
    let mut file = Vec::new();
    // To open a pipe waits for who writes to it, and to read it for the end.
    if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        return Err("only whole files are played, and it is a pipe or a device".into());
    }
    let opened = File::open(path).map_err(Cause::of_file)?;
    opened.take(MOST_READ).read_to_end(&mut file).map_err(Cause::of_file)?;
    let clip = riff::decode(&file, MOST_SECONDS)?;
    if let Some(channel) = channel.filter(|channel| usize::from(*channel) > clip.channels) {
        return Err(downmix::no_such_channel(clip.channels, channel).into());
    }
    voicemesh_resample::clip(
        downmix::of_clip(clip.samples, clip.channels, clip.rate_hz, channel),
        clip.rate_hz,
        SAMPLE_RATE,
    )
    .map_err(|error| {
        tracing::debug!(%error, "a WAV file was not resampled");
        format!("its {} samples a second cannot be converted", clip.rate_hz).into()
    })
}

/// A file that is played as a microphone would be destroyed by writing what is heard into it; also
/// under another name. No file is opened: to open a pipe waits for who writes to it.
///
/// # Errors
///
/// [`DeviceError::SameFile`].
pub fn refuse_same_file(input: &InputSpec, output: &OutputSpec) -> Result<(), DeviceError> {
    let (InputSpec::Wav { path, .. }, OutputSpec::Wav(written)) = (input, output) else {
        return Ok(());
    };
    if is_same_file(path, written) || is_same_file(path, &unfinished(written)) {
        return Err(DeviceError::SameFile { path: written.clone() });
    }
    Ok(())
}

/// Also where a name is a link. What is not there yet is the same under the same name.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        #[cfg(unix)]
        (Ok(about), Ok(about_other)) => {
            use std::os::unix::fs::MetadataExt as _;
            (about.dev(), about.ino()) == (about_other.dev(), about_other.ino())
        }
        // Files only: here their numbers are known of open ones alone.
        #[cfg(not(unix))]
        (Ok(about), Ok(about_other)) => {
            about.is_file()
                && about_other.is_file()
                && same_file::is_same_file(one, other).unwrap_or(false)
        }
        (Err(_), Err(_)) => {
            let absolute = [one, other].map(|path| std::path::absolute(path).ok());
            absolute[0].is_some() && absolute[0] == absolute[1]
        }
        _ => false,
    }
}

/// A speaker that writes what it plays.
pub(crate) struct WavSpeaker {
    /// What it is called when it is finished.
    path: PathBuf,
    /// What it is called until then.
    unfinished: PathBuf,
    writer: WavWriter<BufWriter<File>>,
    steps_unflushed: u32,
}

impl WavSpeaker {
    /// Creates the file under the name that it has until it is finished, which ends in `.part`; it
    /// is a valid, empty WAV file from then on. A file of the other name stays as it is: the new
    /// one has a number then ([`unused_wav`]).
    pub(crate) fn create(path: &Path, channels: usize) -> Result<Self, DeviceError> {
        let (channels, sample_format) = (channels as u16, SampleFormat::Int);
        let spec =
            WavSpec { channels, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format };
        let failed = |why| DeviceError::CannotWriteWav { path: path.into(), why };
        let (path, file) =
            create_beside(names(path)).map_err(|error| failed(Cause::of_file(error)))?;
        let unfinished = unfinished(&path);
        let begun = WavWriter::new(BufWriter::new(file), spec).and_then(|mut writer| {
            writer.flush()?;
            Ok(writer)
        });
        let writer = begun.map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            failed(Cause::new(plain(&error), error))
        })?;
        Ok(Self { path, unfinished, writer, steps_unflushed: 0 })
    }

    /// The file that is written, as it is called meanwhile.
    pub(crate) fn written(&self) -> &Path {
        &self.unfinished
    }

    /// Writes 10 ms of all channels. After an error the speaker is to be dropped.
    pub(crate) fn play(&mut self, step: &[f32]) -> Result<(), String> {
        if self.writer.len() > MOST_WRITTEN - step.len() as u32 {
            return Err("a WAV file cannot be longer".into());
        }
        for sample in step {
            self.writer.write_sample(to_i16(*sample)).map_err(|error| plain(&error))?;
        }
        self.steps_unflushed += 1;
        if self.steps_unflushed >= STEPS_BETWEEN_FLUSHES {
            self.steps_unflushed = 0;
            self.writer.flush().map_err(|error| plain(&error))?;
        }
        Ok(())
    }

    /// Ends the file and gives it its name. (Dropping leaves it under the other one.)
    pub(crate) fn finish(self) -> Result<(), String> {
        self.writer.finalize().map_err(|error| plain(&error))?;
        rename_finished(&self.unfinished, names(&self.path)).map_err(|error| file_words(&error))
    }
}

/// The file that [`OutputSpec::Wav`](crate::OutputSpec) writes: this one, or the first of
/// `name-2.wav`, `name-3.wav`, … that is not there yet.
#[must_use]
pub fn unused_wav(path: &Path) -> PathBuf {
    names(path).find(|name| is_unused(name)).unwrap_or_else(|| path.to_owned())
}

fn names(path: &Path) -> impl Iterator<Item = PathBuf> {
    let (stem, extension) =
        (path.file_stem().unwrap_or_default(), path.extension().unwrap_or_default());
    let numbered = move |number: u32| {
        let mut name = stem.to_owned();
        name.push(format!("-{number}."));
        name.push(extension);
        path.with_file_name(name)
    };
    std::iter::once(path.to_owned()).chain((2..=MOST_OF_ONE_NAME).map(numbered))
}

/// The scale by which a 16-bit file is read here, so that what was read is written exactly.
fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

fn plain(error: &hound::Error) -> String {
    match error {
        hound::Error::IoError(error) => file_words(error),
        other => {
            tracing::debug!(error = %other, "a WAV file was refused");
            "this sound does not fit into a WAV file".to_owned()
        }
    }
}
