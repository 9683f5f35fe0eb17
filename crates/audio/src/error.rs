//! What can go wrong at the caller's side; what a remote sends is counted, never an error.

/// An error of a call into this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// A setting is outside what Opus takes; correct the setting.
    #[error("{setting} must be within {allowed}, not {given}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What it may be, for people.
        allowed: &'static str,
        /// What was asked for.
        given: u32,
    },
    /// The codec refused; with valid settings this means that memory has run out or the library is
    /// broken.
    #[error("the Opus codec failed: {0}")]
    Codec(#[from] audiopus::Error),
}
