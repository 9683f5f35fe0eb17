//! What arrives of others' speech, and what listeners say of ours.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::SessionId;
use voicemesh_wire::packet::{
    Copy, CopyList, FromMember, Priority, Target, TargetKind, TargetList, VoiceCopies, VoiceData,
    VoiceHeader,
};

use super::core::Core;
use super::event::{ClientEvent, Dropped, Participant, Voice};
use crate::route::Route;
use crate::stream::{Accepted, Interruption, ReplayWindow};

/// VoiceData, or VoiceCopies.
#[derive(Clone, Copy, Debug)]
pub(super) struct VoicePacket<'a> {
    session: SessionId,
    pub header: VoiceHeader,
    targets: TargetList<'a>,
    copies: Option<CopyList<'a>>,
    bundled: u8,
    pause_follows: bool,
    frame: &'a [u8],
}

impl<'a> VoicePacket<'a> {
    /// The speech that a member says, if it is that.
    pub(super) fn of(session: SessionId, said: FromMember<'a>) -> Result<Self, FromMember<'a>> {
        Ok(match said {
            FromMember::VoiceData(VoiceData { header, targets, frame }) => Self {
                session,
                header,
                targets,
                copies: None,
                bundled: 0,
                pause_follows: false,
                frame,
            },
            FromMember::VoiceCopies(VoiceCopies {
                header,
                targets,
                pause_follows,
                bundled,
                copies,
                frame,
            }) => Self {
                session,
                header,
                targets,
                copies: Some(copies),
                bundled,
                pause_follows,
                frame,
            },
            FromMember::ReceptionReport(_)
            | FromMember::ClockProbe(_)
            | FromMember::ClockEcho(_)
            | FromMember::Data(_)
            | FromMember::KeyPackage(_)
            | FromMember::KeyRequest(_)
            | FromMember::SealedText(_)
            | FromMember::Unassigned(_) => return Err(said),
        })
    }

    /// Nothing is said after it for now.
    pub(super) fn ends_speech(&self) -> bool {
        self.pause_follows || self.frame.is_empty()
    }

    /// Frames that came before, or should have.
    fn copies(&self) -> impl Iterator<Item = Copy<'a>> {
        let bundled = self.bundled;
        self.copies.into_iter().flat_map(CopyList::iter).filter(move |copy| copy.behind > bundled)
    }

    /// The frame this far behind the newest, which is sent in this packet for the first time.
    fn bundled(&self, behind: u8) -> Option<&'a [u8]> {
        let found =
            self.copies.into_iter().flat_map(CopyList::iter).find(|copy| copy.behind == behind);
        found.map(|copy| copy.frame)
    }
}

#[derive(Debug, Default)]
pub(super) struct HeardStream {
    window: ReplayWindow,
    pub heard_at: Duration,
    /// Its speaker lacks the permission to speak.
    is_silenced: bool,
    /// The target by which its last frame reached this client, with the target's opening.
    reached_by: Option<(TargetKind, u8)>,
}

/// The speech of others.
#[derive(Debug)]
pub(super) struct VoiceReceiver<P> {
    pub streams: BTreeMap<Participant<P>, HeardStream>,
}

impl<P> Default for VoiceReceiver<P> {
    fn default() -> Self {
        Self { streams: BTreeMap::new() }
    }
}

impl<P: std::marker::Copy + Ord + Debug> VoiceReceiver<P> {
    /// Frames whose sender has been established. They are heard if one of the targets is this
    /// client or a group that it listens to, and if they are new. A copy does not count as its
    /// frame's coming: should that come as well, it is heard of, so that what was lost can be told
    /// from what was late.
    pub(super) fn voice(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        packet: &Bytes,
        voice: VoicePacket<'_>,
        from: Participant<P>,
        route: Route,
    ) -> Result<(), Dropped> {
        let (mut heard, reached_by) =
            self.addressed(core, voice.session, voice.targets, from, route)?;
        let last_of_talkspurt = heard.last_of_talkspurt;
        let stream = self.streams.entry(from).or_default();
        // What comes late, or twice by both routes, says nothing of what is addressed now.
        if stream.window.is_ahead(voice.header.sequence)
            && stream.reached_by.replace(reached_by).is_some_and(|former| former != reached_by)
        {
            stream.window.interrupt(Interruption::BySpeaker);
        }
        for behind in (1..=voice.bundled).rev() {
            let Some(frame) = voice.bundled(behind) else { continue };
            let number = voice.header.sequence.wrapping_sub(u16::from(behind));
            let stream = self.streams.entry(from).or_default();
            let Ok(Accepted { sequence, talkspurt }) =
                stream.window.accept(now, number, voice.header.talkspurt)
            else {
                continue;
            };
            let frame = packet.slice_ref(frame);
            core.push(ClientEvent::Voice(Voice {
                sequence,
                talkspurt,
                last_of_talkspurt: false,
                frame,
                ..heard.clone()
            }));
        }
        let stream = self.streams.entry(from).or_default();
        let Accepted { sequence, talkspurt } =
            stream.window.accept(now, voice.header.sequence, voice.header.talkspurt)?;
        stream.heard_at = now;
        if last_of_talkspurt {
            stream.window.interrupt(Interruption::BySpeaker);
        }
        heard.talkspurt = talkspurt;
        for copy in voice.copies() {
            let Some(earlier) = sequence.checked_sub(u64::from(copy.behind)) else { continue };
            let is_new =
                self.streams.get(&from).is_some_and(|stream| !stream.window.has_seen(earlier));
            if is_new && !copy.frame.is_empty() {
                let frame = packet.slice_ref(copy.frame);
                let copied = Voice {
                    sequence: earlier,
                    behind: copy.behind,
                    last_of_talkspurt: false,
                    frame,
                    ..heard.clone()
                };
                core.push(ClientEvent::Voice(copied));
            }
        }
        let (pause_follows, frame) = (voice.pause_follows, packet.slice_ref(voice.frame));
        core.push(ClientEvent::Voice(Voice {
            sequence,
            last_of_talkspurt,
            pause_follows,
            frame,
            ..heard
        }));
        Ok(())
    }

    /// Takes the permissions of all members anew. What was said while it could not be heard is no
    /// loss.
    pub(super) fn follow_permissions(&mut self, core: &mut Core<P>) {
        let former = std::mem::replace(&mut core.permissions, core.roster.own_permissions);
        let listens_anew = former.listen != core.permissions.listen;
        for (who, heard) in &mut self.streams {
            let is_silenced =
                !core.roster.permissions(who.peer()).speak || core.is_held_elsewhere(*who);
            if std::mem::replace(&mut heard.is_silenced, is_silenced) != is_silenced || listens_anew
            {
                heard.window.interrupt(Interruption::ByListener);
            }
        }
    }

    /// A speaker comes back: meanwhile it may have had other listeners.
    pub(super) fn interrupt_stream(&mut self, who: Participant<P>) {
        if let Some(heard) = self.streams.get_mut(&who) {
            heard.window.interrupt(Interruption::ByListener);
        }
    }

    /// Speakers may have had other listeners than this client for a while.
    pub(super) fn interrupt_streams(&mut self) {
        self.streams
            .values_mut()
            .for_each(|heard| heard.window.interrupt(Interruption::ByListener));
    }

    /// What of a packet is the same for all its frames, and the first target by which it reaches
    /// this client.
    fn addressed(
        &self,
        core: &Core<P>,
        session: SessionId,
        targets: TargetList<'_>,
        from: Participant<P>,
        route: Route,
    ) -> Result<(Voice<P>, (TargetKind, u8)), Dropped> {
        let you = core.view_of(session).ok_or(Dropped::WrongSession)?.you;
        let reaches_us = |target: &Target| match target.kind {
            TargetKind::Client(client) => client == you,
            TargetKind::Group(group) => core.groups.contains_key(&group),
        };
        let mut heard = Voice {
            from,
            sequence: 0,
            talkspurt: 0,
            last_of_talkspurt: true,
            volume: 0.0,
            priority: Priority::Low,
            positional: false,
            route,
            behind: 0,
            pause_follows: false,
            frame: Bytes::new(),
        };
        let mut first = None;
        for target in targets.iter().filter(reaches_us) {
            first.get_or_insert((target.kind, target.session));
            heard.last_of_talkspurt &= target.closing;
            heard.volume = heard.volume.max(target.volume_factor());
            heard.priority = heard.priority.max(target.priority);
            heard.positional |= target.positional;
        }
        first.map(|first| (heard, first)).ok_or(Dropped::NotAddressed)
    }
}
