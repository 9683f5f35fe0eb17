//! What the sound system's library says beside its error codes. libasound writes it to standard
//! error, which belongs to the program; here it goes to the log.

/// Asks the sound system something. To be called in a thread that ends after it: libasound's
/// messages of that thread are kept from then on.
#[cfg(target_os = "linux")]
pub(crate) fn with_messages_logged<T>(ask: impl FnOnce() -> T) -> T {
    let messages = alsa::Output::local_error_handler();
    let answer = ask();
    if let Ok(messages) = messages {
        let messages = messages.borrow().to_string();
        messages.lines().for_each(|message| tracing::debug!(message, "libasound"));
    }
    answer
}

/// Asks the sound system something. Only libasound writes messages.
#[cfg(not(target_os = "linux"))]
pub(crate) fn with_messages_logged<T>(ask: impl FnOnce() -> T) -> T {
    ask()
}
