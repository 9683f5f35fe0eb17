//! What members say, and what reaches them, held against the reference.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::client::OutgoingFrame;
use voicemesh_session::network::carry_out;
use voicemesh_session::route::Route;
use voicemesh_session::{Client, ClientEvent};

use super::{FRAME, World};
use crate::net::{Peer, Port};
use crate::reference::fail;

impl World {
    pub(super) fn speak_if_due(&mut self, peer: Peer) {
        let member = &mut self.members[usize::from(peer)];
        if member.talking == 0 || self.now < member.next_frame_at {
            return;
        }
        member.talking -= 1;
        member.next_frame_at = self.now + FRAME;
        self.say(peer);
    }

    /// One frame, now.
    pub fn say(&mut self, peer: Peer) -> usize {
        let number = self.reference.speaks(peer);
        let frame = Bytes::from(number.to_be_bytes().to_vec());
        // Every other frame carries the two before it to some, and now and then a pause follows.
        self.with_client(peer, |client, now, _| {
            let copies: &[u8] = if number.is_multiple_of(2) { &[1, 2] } else { &[] };
            let wants_copies = |_| !number.is_multiple_of(3);
            let pause_follows = number.is_multiple_of(7);
            let spoken = OutgoingFrame {
                pause_follows,
                copies,
                wants_copies: &wants_copies,
                ..OutgoingFrame::plain(frame)
            };
            client.send_spoken(now, &spoken).listeners
        })
    }

    pub(super) fn with_client<T>(
        &mut self,
        peer: Peer,
        f: impl FnOnce(&mut Client<Peer>, Duration, &mut Port<'_>) -> T,
    ) -> T {
        let mut port = Port { net: &mut self.net, me: peer };
        let client = &mut self.members[usize::from(peer)].client;
        let done = f(client, self.now, &mut port);
        carry_out(self.now, client, &mut port);
        done
    }

    pub(super) fn drain(&mut self, peer: Peer) {
        while let Some(event) = self.members[usize::from(peer)].client.poll_event() {
            self.notice(peer, event);
        }
    }

    fn notice(&mut self, peer: Peer, event: ClientEvent<Peer>) {
        let member = &mut self.members[usize::from(peer)];
        match event {
            ClientEvent::Joined { session, you } => {
                if self.reference.owner(session, you) != Some(peer) {
                    fail(format!("{peer} believes to be {you:?} of {session:?}"));
                }
                member.present.clear();
                if member.sessions.last() != Some(&session) {
                    member.sessions.push(session);
                    self.reference.members[usize::from(peer)].new_session();
                }
            }
            ClientEvent::MemberJoined { who, client, .. } => {
                if self.reference.peer(who) == peer || !member.present.insert(client) {
                    fail(format!("{peer} was told that {who:?} came, who is there already"));
                }
            }
            ClientEvent::MemberLeft { client, .. } => {
                if !member.present.remove(&client) {
                    fail(format!("{peer} was told that {client:?} left, who was not there"));
                }
            }
            ClientEvent::GroupRefused { group } => self.reference.refused_group(peer, &group),
            ClientEvent::RouteChanged { who, route } => {
                let before = if route == Route::None {
                    member.routes.remove(&who)
                } else {
                    member.routes.insert(who, route)
                };
                if before.unwrap_or(Route::None) == route {
                    fail(format!(
                        "{peer} was told that the route to {who:?} changed to what it was"
                    ));
                }
            }
            ClientEvent::Voice(voice) => {
                let from = self.reference.peer(voice.from);
                if voice.behind == 0 {
                    member.heard.push((from, voice.sequence, voice.route));
                }
                let is_honest = usize::from(from) < self.members.len();
                if from == peer {
                    fail(format!("{peer} heard itself"));
                } else if is_honest && !voice.frame.is_empty() {
                    let number = <[u8; 8]>::try_from(&voice.frame[..]).map(u64::from_be_bytes);
                    let number = number.unwrap_or(u64::MAX);
                    if voice.behind == 0 {
                        self.reference.hears(peer, voice.from, number);
                    } else {
                        self.reference.may_hear(peer, from, number);
                    }
                }
            }
            ClientEvent::Text { from, client, text, .. } => {
                let from = self.reference.peer(from);
                let session =
                    *member.sessions.last().unwrap_or_else(|| fail("text outside of a session"));
                if self.reference.owner(session, client) != Some(from) {
                    fail(format!("a text of {client:?} reached {peer} as {from}'s"));
                }
                if usize::from(from) < self.members.len() {
                    self.reference.reads(peer, from, text.parse().unwrap_or(usize::MAX));
                }
            }
            ClientEvent::SessionEnded(reason) => member.ended.push(reason),
            ClientEvent::Extension { from, .. } => {
                if usize::from(self.reference.peer(from)) < self.members.len() {
                    fail(format!(
                        "{peer} received a packet as {from:?}'s that no honest member sends"
                    ));
                }
            }
            // These members have no engine, which would answer the questions of `ClockAsked`.
            ClientEvent::Rejoining { .. }
            | ClientEvent::GroupsChanged { .. }
            | ClientEvent::ClockAsked { .. } => {}
            other => fail(format!("an event that this test does not know: {other:?}")),
        }
    }
}
