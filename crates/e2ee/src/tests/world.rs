//! A few members of a room, and how they come to know each other.

use std::time::Duration;

use uuid::Uuid;
use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::{PeerId, SessionId};

use crate::{Configuration, KeyRing, Label, MemberChange, OpenError, RoomKey, Seed};

pub(super) const ROOM: &str = "lobby";
pub(super) const ORIGIN: &str = "wss://voice.example";

pub(super) fn session() -> SessionId {
    SessionId::new(0x0102_0304).expect("not zero")
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The peer id of a test's member.
pub(super) fn peer(number: u8) -> PeerId {
    PeerId(Uuid::from_bytes([number; 16]))
}

pub(super) fn room_key() -> RoomKey {
    RoomKey::new([0x5A; 16])
}

/// What a ring is made from here; `run` is another one for each ring of a member.
pub(super) struct Maker {
    pub(super) room: &'static str,
    pub(super) room_key: Option<RoomKey>,
    pub(super) seed: u8,
    pub(super) max_members: usize,
}

impl Default for Maker {
    fn default() -> Self {
        Self { room: ROOM, room_key: Some(room_key()), seed: 0, max_members: 64 }
    }
}

impl Maker {
    pub(super) fn without_key() -> Self {
        Self { room_key: None, ..Self::default() }
    }

    pub(super) fn ring(&self, number: u8, run: u8) -> KeyRing {
        self.ring_of(number, number, run)
    }

    /// A ring of the peer `number` with the installation's secret of another.
    pub(super) fn ring_of(&self, number: u8, secret: u8, run: u8) -> KeyRing {
        let mut seed = [number; 32];
        seed[1] = run;
        seed[2] = self.seed;
        seed[3..8].fill(self.room.as_bytes()[0]);
        let configuration = Configuration {
            secret: &InstallationSecret([secret; 32]),
            origin: ORIGIN,
            room: self.room,
            instance: 0,
            peer: peer(number),
            room_key: self.room_key.clone(),
            max_members: self.max_members,
        };
        KeyRing::new(configuration, Seed::new(seed))
    }
}

/// Members with numbers from 1.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) rings: Vec<(u8, KeyRing)>,
}

impl World {
    /// This many members, who all know each other and have each other's keys.
    pub(super) fn of(maker: &Maker, count: u8) -> Self {
        let mut world = Self { now: Duration::from_secs(1000), rings: Vec::new() };
        for number in 1..=count {
            world.join(number, maker.ring(number, 0));
        }
        world
    }

    pub(super) fn ring(&mut self, number: u8) -> &mut KeyRing {
        let found = self.rings.iter_mut().find(|(other, _)| *other == number);
        &mut found.expect("such a member").1
    }

    /// A member comes, and all keys are exchanged.
    pub(super) fn join(&mut self, number: u8, mut ring: KeyRing) {
        let now = self.now;
        for (other, theirs) in &mut self.rings {
            theirs
                .set_member(now, session(), peer(number), &ring.announcement(session()))
                .expect("an announcement");
            ring.set_member(now, session(), peer(*other), &theirs.announcement(session()))
                .expect("an announcement");
        }
        self.rings.push((number, ring));
        self.deliver();
    }

    /// A member comes back with the ring that it had; it had not noticed that it was gone.
    pub(super) fn join_again(&mut self, number: u8, ring: KeyRing) {
        let now = self.now;
        for (_, theirs) in &mut self.rings {
            let change =
                theirs.set_member(now, session(), peer(number), &ring.announcement(session()));
            assert_eq!(change, Ok(MemberChange::Joined));
        }
        self.rings.push((number, ring));
        self.deliver();
    }

    /// A member is gone from everyone's room. Its own ring goes on, to see what it can still open.
    pub(super) fn leave(&mut self, number: u8) -> KeyRing {
        let at = self.rings.iter().position(|(other, _)| *other == number).expect("such a member");
        let (_, ring) = self.rings.remove(at);
        let now = self.now;
        self.rings.iter_mut().for_each(|(_, theirs)| theirs.remove_member(now, peer(number)));
        self.deliver();
        ring
    }

    /// Carries all packages; those to members who are not here are lost.
    pub(super) fn deliver(&mut self) {
        let now = self.now;
        for at in 0..self.rings.len() {
            while self.rings[at].1.agree_next() {}
            let from = peer(self.rings[at].0);
            while let Some((to, package)) = self.rings[at].1.poll_package() {
                let receiver = self.rings.iter_mut().find(|(number, _)| peer(*number) == to);
                let Some((_, receiver)) = receiver else { continue };
                receiver.accept_package(now, from, &package).expect("a package");
            }
        }
    }

    pub(super) fn pass(&mut self, time: f64) {
        let until = self.now + seconds(time);
        let mut handled = None;
        loop {
            let next = self.rings.iter().filter_map(|(_, ring)| ring.poll_timeout()).min();
            // In the twins of attacks a timer may have no effect.
            let Some(next) = next.filter(|next| *next <= until && handled != Some(*next)) else {
                break;
            };
            handled = Some(next);
            self.now = self.now.max(next);
            let now = self.now;
            self.rings.iter_mut().for_each(|(_, ring)| ring.update(now));
            self.deliver();
        }
        self.now = until;
    }

    pub(super) fn seal(&mut self, from: u8, label: Label, text: &[u8]) -> Vec<u8> {
        let now = self.now;
        let mut sealed = Vec::new();
        self.ring(from).seal(now, label, b"header", text, &mut sealed).expect("a payload");
        sealed
    }

    pub(super) fn open(
        &mut self,
        at: u8,
        from: u8,
        label: Label,
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let now = self.now;
        open(self.ring(at), now, from, label, sealed)
    }

    /// Everyone hears everyone.
    pub(super) fn assert_all_hear(&mut self) {
        let numbers: Vec<u8> = self.rings.iter().map(|(number, _)| *number).collect();
        for from in &numbers {
            let sealed = self.seal(*from, Label::Voice, b"good day");
            for at in numbers.iter().filter(|at| *at != from) {
                assert_eq!(
                    self.open(*at, *from, Label::Voice, &sealed),
                    Ok(b"good day".to_vec()),
                    "{from} at {at}"
                );
            }
        }
    }
}

pub(super) fn open(
    ring: &mut KeyRing,
    now: Duration,
    from: u8,
    label: Label,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut text = Vec::new();
    let opened = ring.open(now, peer(from), label, b"header", sealed, &mut text);
    assert!(opened.is_ok() || text.is_empty(), "a payload that is refused leaves nothing behind");
    opened.map(|_| text)
}
