//! The status of this peer that the others see.

use std::time::Duration;

use voicemesh_wire::signaling::MemberStatus;

use super::Engine;
use crate::event::{DeviceRole, Event};

impl Engine {
    /// Cheap enough for every turn: the mesh says it only when it has changed.
    pub(super) fn update_status(&mut self, now: Duration) {
        let status = MemberStatus {
            muted: self.comms.is_muted(),
            deafened: self.comms.is_deafened(),
            listening_only: self.microphone_lost || !self.sound.has_input(),
            recording: self.recorder.is_some(),
        };
        self.comms.network_mut().set_status(now, status);
    }

    pub(super) fn device_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::DeviceLost { which: DeviceRole::Input, .. } => self.microphone_lost = true,
            Event::DeviceRecovered { which: DeviceRole::Input } => self.microphone_lost = false,
            _ => {}
        }
        self.tell(now, event);
    }
}
