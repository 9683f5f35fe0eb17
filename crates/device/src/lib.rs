//! Microphones and speakers, WAV files, silence.
