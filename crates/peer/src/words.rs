//! What tests demand of every sentence for people.

/// Words of libraries and of operating systems.
const FOREIGN: [&str; 12] = [
    "os error",
    "rustls",
    "tungstenite",
    "hyper",
    "handshake",
    "ALSA",
    "snd_",
    "errno",
    "ECONN",
    "No such file",
    "Permission denied",
    "reports error",
];

/// The sentence has the next step, and no word that is not ours.
pub(crate) fn assert_says_what_next(error: &dyn std::fmt::Display, step: &str) {
    let sentence = error.to_string();
    assert!(sentence.contains(step), "{step}: {sentence}");
    assert!(!FOREIGN.iter().any(|word| sentence.contains(word)), "{sentence}");
}
