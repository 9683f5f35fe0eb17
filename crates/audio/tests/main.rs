//! The chains of hearing and of a microphone.

mod hearing;
mod hearing_allocation;
mod speaking_allocation;
mod speaking_microphone;
