//! Whom the engine speaks to: by the groups that it has joined, and by the handles that a program
//! holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::PeerId;

use super::transmit_options::{SharedOptions, TransmitOptions};

/// The handle of groups that were joined; it is let go of by name.
pub(crate) const JOINED: u64 = 0;
/// The most handles at a time. Further ones are refused: no speech is sent by them.
const HANDLES: usize = 1024;

/// Whom the handles speak to, all together.
#[derive(Debug, Default)]
pub(crate) struct Audiences(BTreeMap<VoiceTarget<PeerId>, BTreeMap<u64, HandleRef>>);

#[derive(Debug)]
enum HandleRef {
    /// By the engine itself.
    Here(Arc<SharedOptions>),
    /// By a handle of the program.
    There(Weak<SharedOptions>),
}

impl HandleRef {
    fn options(&self) -> Option<TransmitOptions> {
        match self {
            Self::Here(token) => Some(token.get()),
            Self::There(token) => token.upgrade().map(|token| token.get()),
        }
    }
}

impl Audiences {
    /// Adds a handle, or takes up its new options; says whether there was room.
    pub(crate) fn put(
        &mut self,
        handle: u64,
        target: VoiceTarget<PeerId>,
        token: Arc<SharedOptions>,
    ) -> bool {
        let held: usize = self.0.values().map(BTreeMap::len).sum();
        let known = self.0.get(&target).is_some_and(|handles| handles.contains_key(&handle));
        if held >= HANDLES && !known {
            return false;
        }
        let held = if handle == JOINED {
            HandleRef::Here(token)
        } else {
            HandleRef::There(Arc::downgrade(&token))
        };
        self.0.entry(target).or_default().insert(handle, held);
        true
    }

    pub(crate) fn remove(&mut self, handle: u64, target: &VoiceTarget<PeerId>) {
        if let Some(handles) = self.0.get_mut(target) {
            handles.remove(&handle);
        }
    }

    /// The targets to which this handle speaks.
    pub(crate) fn held_by(&self, handle: u64) -> Vec<VoiceTarget<PeerId>> {
        let held = self.0.iter().filter(|(_, handles)| handles.contains_key(&handle));
        held.map(|(target, _)| target.clone()).collect()
    }

    /// All that is spoken to.
    pub(crate) fn targets(&self) -> Vec<VoiceTarget<PeerId>> {
        self.0.keys().cloned().collect()
    }

    /// How a target is to be spoken to, if it is.
    pub(crate) fn wanted(&mut self, target: &VoiceTarget<PeerId>) -> Option<TransmitOptions> {
        let handles = self.0.get(target)?;
        let wanted =
            handles.values().filter_map(HandleRef::options).reduce(|one, other| TransmitOptions {
                volume: one.volume.max(other.volume),
                priority: one.priority.max(other.priority),
                positional: one.positional && other.positional,
            });
        if wanted.is_none() {
            self.0.remove(target);
        }
        wanted
    }

    /// Forgets handles that the program has dropped; gives their targets.
    pub(crate) fn sweep(&mut self) -> Vec<VoiceTarget<PeerId>> {
        let mut changed = Vec::new();
        for (target, handles) in &mut self.0 {
            let before = handles.len();
            handles.retain(|_, held| held.options().is_some());
            if handles.len() < before {
                changed.push(target.clone());
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::packet::Priority;

    use super::*;

    /// proves: B-11
    #[test]
    fn handles_to_one_audience_add_up_and_the_last_to_go_closes_it() {
        let target = VoiceTarget::Group("team".to_owned());
        let mut audiences = Audiences::default();
        let options =
            |volume, priority, positional| TransmitOptions { volume, priority, positional };
        let near = Arc::new(SharedOptions::new(options(0.5, Priority::High, true)));
        let radio = Arc::new(SharedOptions::new(options(f32::NAN, Priority::Low, false)));
        assert_eq!(audiences.wanted(&target), None);
        assert!(audiences.put(7, target.clone(), near.clone()));
        assert_eq!(audiences.held_by(7), std::slice::from_ref(&target));
        assert_eq!(audiences.held_by(JOINED), []);
        assert_eq!(audiences.wanted(&target), Some(options(0.5, Priority::High, true)));
        assert!(audiences.put(8, target.clone(), radio.clone()));
        assert_eq!(audiences.wanted(&target), Some(options(1.0, Priority::High, false)));
        assert_eq!(audiences.sweep(), []);
        drop(near);
        assert_eq!(audiences.sweep(), std::slice::from_ref(&target));
        radio.set(options(9.0, Priority::Medium, true));
        assert_eq!(audiences.wanted(&target), Some(options(2.0, Priority::Medium, true)));
        audiences.put(
            JOINED,
            target.clone(),
            Arc::new(SharedOptions::new(TransmitOptions::default())),
        );
        drop(radio);
        assert_eq!(
            audiences.wanted(&target),
            Some(TransmitOptions::default()),
            "it was joined as well"
        );
        audiences.remove(JOINED, &target);
        assert_eq!(audiences.wanted(&target), None);
        assert!(audiences.0.is_empty());
    }

    #[test]
    fn the_number_of_handles_is_bounded() {
        let mut audiences = Audiences::default();
        let target = VoiceTarget::Group("team".to_owned());
        let token = Arc::new(SharedOptions::new(TransmitOptions::default()));
        assert!((1..=HANDLES as u64).all(|handle| audiences.put(
            handle,
            target.clone(),
            token.clone()
        )));
        assert!(!audiences.put(HANDLES as u64 + 1, target.clone(), token.clone()));
        assert!(audiences.put(1, target, token), "one that is known may change");
    }
}
