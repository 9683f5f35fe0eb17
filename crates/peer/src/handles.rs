//! The handles that a room and a voice over another network have alike.

mod controls;
mod group;
mod member;
mod proximity;
mod sound;
mod transmission;

pub(crate) use controls::Controls;

pub use group::Group;
pub use member::Member;
pub use proximity::{GridAxes, GridChange, ProximityGrid};
pub use sound::{Microphone, Speaker};
pub use transmission::Transmission;
