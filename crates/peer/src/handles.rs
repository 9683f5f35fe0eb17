//! The handles that a room and a voice over another network have alike.

mod controls;
mod group;
mod member;
mod sound;

pub(crate) use controls::Controls;

pub use group::Group;
pub use member::Member;
pub use sound::{Microphone, Speaker};
