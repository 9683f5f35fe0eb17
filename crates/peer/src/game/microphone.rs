//! Sound that the game has captured itself.

use voicemesh_device::{Capture, DeviceError, MicrophoneFeed};

use super::GameCommand;
use crate::Peer;
use crate::engine::Command;
use crate::sound::waker;

impl Peer {
    /// A microphone whose samples the program writes itself: mono, `rate_hz` of 8,000 to 192,000. It takes the place of the
    /// microphone in use, and is processed like one; [`set_input`](Self::set_input) takes its place again. To have no other
    /// before it, join with [`InputSpec::Program`](crate::InputSpec::Program).
    ///
    /// The feed may move to another thread, and may outlive the peer.
    ///
    /// # Errors
    /// A rate outside of the range.
    pub fn open_microphone(&self, rate_hz: u32) -> Result<MicrophoneFeed, DeviceError> {
        let (capture, feed) = Capture::of_program(rate_hz, waker(&self.wake))?;
        self.command(Command::Game(GameCommand::UseMicrophone(Box::new(capture))));
        Ok(feed)
    }
}
