//! Replaces the device in use without blocking: the new one is opened on a separate thread, and the
//! old one is closed on another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use voicemesh_device::{Cause, DeviceError};

/// Devices that are being opened at a time; a sound system that hangs is not asked more often.
const MOST_OPENING: usize = 4;

/// Opens devices of one kind.
#[derive(Debug)]
pub(crate) struct DeviceSwap<D> {
    /// The newest; what was wanted before it is closed when it comes.
    pending: Option<Receiver<Result<D, DeviceError>>>,
    opening: Arc<AtomicUsize>,
}

impl<D> Default for DeviceSwap<D> {
    fn default() -> Self {
        Self { pending: None, opening: Arc::default() }
    }
}

impl<D: Send + 'static> DeviceSwap<D> {
    /// Begins to open a device. The answer comes by [`poll`](Self::poll), unless another is wanted
    /// before.
    pub(crate) fn begin(
        &mut self,
        open: impl FnOnce() -> Result<D, DeviceError> + Send + 'static,
    ) -> Result<(), String> {
        if self.opening.load(Ordering::Relaxed) >= MOST_OPENING {
            return Err("the sound system does not answer".to_owned());
        }
        let (answer, answered) = sync_channel(1);
        let opening = self.opening.clone();
        opening.fetch_add(1, Ordering::Relaxed);
        let work = move || {
            let opened = open();
            opening.fetch_sub(1, Ordering::Relaxed);
            // If it is no longer wanted, it is closed here.
            let _ = answer.send(opened);
        };
        let spawned = thread::Builder::new().name("voicemesh-device".to_owned()).spawn(work);
        if let Err(error) = spawned {
            self.opening.fetch_sub(1, Ordering::Relaxed);
            return Err(DeviceError::NoThread(Cause::of_system(error)).to_string());
        }
        self.pending = Some(answered);
        Ok(())
    }

    /// The device, once it is open, or why it is not.
    pub(crate) fn poll(&mut self) -> Option<Result<D, String>> {
        let answer = match self.pending.as_ref()?.try_recv() {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("it failed without a word".to_owned()),
        };
        self.pending = None;
        Some(answer)
    }
}

/// Closes a device, which may take a second, without being waited for.
pub(crate) fn close<D: Send + 'static>(device: D) {
    // Without a thread it is closed here all the same.
    let _ = thread::Builder::new().name("voicemesh-device".to_owned()).spawn(move || drop(device));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn answer<D: Send + 'static>(switch: &mut DeviceSwap<D>) -> Result<D, String> {
        loop {
            if let Some(answer) = switch.poll() {
                return answer;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn the_last_that_was_wanted_is_given_and_what_was_wanted_before_is_closed() {
        let mut switch = DeviceSwap::default();
        let (closed, told) = channel::<()>();
        let (go_on, wait) = channel::<()>();
        switch
            .begin(move || {
                let _ = wait.recv();
                Ok((1, Some(closed)))
            })
            .unwrap();
        switch.begin(|| Ok((2, None))).unwrap();
        assert_eq!(answer(&mut switch).unwrap().0, 2);
        go_on.send(()).unwrap();
        assert!(told.recv().is_err(), "its other end is gone with it");
        assert!(switch.poll().is_none());
    }

    #[test]
    fn a_device_that_cannot_be_opened_says_why() {
        let mut switch = DeviceSwap::<()>::default();
        switch.begin(|| Err(DeviceError::NoSoundSystem { why: "it is off".into() })).unwrap();
        assert!(answer(&mut switch).unwrap_err().contains("it is off"));
    }

    #[test]
    fn a_sound_system_that_hangs_is_not_asked_without_end() {
        let mut switch = DeviceSwap::<()>::default();
        let mut held = Vec::new();
        for _ in 0..MOST_OPENING {
            let (go_on, wait) = channel::<()>();
            held.push(go_on);
            switch
                .begin(move || {
                    let _ = wait.recv();
                    Ok(())
                })
                .unwrap();
        }
        assert!(switch.begin(|| Ok(())).is_err());
    }
}
