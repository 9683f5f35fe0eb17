//! Pure PCM: encode, jitter buffer, decode, mix.
