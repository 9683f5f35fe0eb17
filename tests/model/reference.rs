//! The reference: who wants what, and so who may hear what. It knows nothing of packets, tables or
//! routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use voicemesh_session::client::Participant;
use voicemesh_session::network::NetworkEvent;
use voicemesh_wire::packet::{self, Kind, Recipient, VoiceCopies, VoiceData};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::net::Peer;

/// The world found something that is not as the reference says.
pub fn fail(what: impl Into<String>) -> ! {
    // Not `panic!`: a failing world is run again and again while its commands are reduced.
    std::panic::resume_unwind(Box::new(what.into()))
}

/// The groups of the world. The last two have one id.
pub fn groups() -> &'static [String] {
    static GROUPS: OnceLock<Vec<String>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let mut seen = BTreeMap::new();
        let colliding = (0..).find_map(|n| {
            let name = format!("group-{n}");
            let earlier = seen.insert(GroupId::of(&name), name.clone())?;
            Some([earlier, name])
        });
        let plain = ["Global", "Lobby", ""].map(str::to_owned);
        plain.into_iter().chain(colliding.expect("16 bits are soon full")).collect()
    })
}

/// Another name with the same id.
pub fn namesake(name: &str) -> Option<&'static str> {
    let id = GroupId::of(name);
    groups().iter().map(String::as_str).find(|other| *other != name && GroupId::of(other) == id)
}

/// Whom a member speaks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Group(String),
    Peer(Peer),
    Client(SessionId, ClientId),
}

/// What one member wants.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    pub online: bool,
    pub groups: BTreeSet<String>,
    pub targets: BTreeSet<Target>,
    /// Closed, but the next frame still goes there.
    pub closing: BTreeSet<Target>,
}

impl Wants {
    /// Ids are of one session: who was addressed by one in another is not addressed any more.
    pub fn new_session(&mut self) {
        let lasts = |target: &Target| !matches!(target, Target::Client(..));
        self.targets.retain(lasts);
        self.closing.retain(lasts);
    }
}

/// Something that was said or written.
#[derive(Debug)]
struct Said {
    by: Peer,
    to: BTreeSet<Target>,
    /// Those of them that may be served or not: a target that closed before it ever carried a frame
    /// is gone at once.
    perhaps: BTreeSet<Target>,
    /// By id: a text names a group by nothing else.
    to_group_id: Option<GroupId>,
    /// Without a roster, a listener knows speakers by their ids, of which each session has others.
    heard_by: BTreeSet<(Peer, Option<SessionId>)>,
}

#[derive(Debug, Default)]
pub struct Reference {
    pub members: Vec<Wants>,
    pub has_hostile: bool,
    /// Without a roster, a peer can be addressed only once a link says which client it is.
    pub has_roster: bool,
    /// Nothing has been under way for a while.
    pub is_quiet: bool,
    /// Who was given which id.
    admitted: BTreeMap<(SessionId, ClientId), Peer>,
    /// What has been wanted since all was last quiet: only this can have been in the way.
    recent_groups: BTreeSet<String>,
    frames: Vec<Said>,
    /// Frames before this one cannot be heard again, but inside a later packet.
    settled: usize,
    texts: Vec<Said>,
}

impl Reference {
    pub fn new(members: usize, has_hostile: bool, has_roster: bool) -> Self {
        Self {
            members: vec![Wants::default(); members],
            has_hostile,
            has_roster,
            ..Self::default()
        }
    }

    pub fn admit(&mut self, session: SessionId, client: ClientId, peer: Peer) {
        let known = *self.admitted.entry((session, client)).or_insert(peer);
        if known != peer {
            fail(format!("{client:?} of {session:?} was {known} and is now {peer}"));
        }
    }

    pub fn owner(&self, session: SessionId, client: ClientId) -> Option<Peer> {
        self.admitted.get(&(session, client)).copied()
    }

    pub fn peer(&self, who: Participant<Peer>) -> Peer {
        match who {
            Participant::Peer(peer) => peer,
            Participant::Client(session, client) => self
                .owner(session, client)
                .unwrap_or_else(|| fail(format!("no client was ever {who:?}"))),
        }
    }

    pub fn joins_group(&mut self, peer: Peer, group: &str) {
        self.members[usize::from(peer)].groups.insert(group.to_owned());
        self.recent_groups.insert(group.to_owned());
    }

    /// A name may be refused only because of another with its id.
    pub fn check_refusal(&self, peer: Peer, group: &str) {
        let rival =
            namesake(group).filter(|rival| self.has_hostile || self.recent_groups.contains(*rival));
        if rival.is_none() {
            fail(format!("{peer} was refused {group:?}, which is free"));
        }
    }

    pub fn refused_group(&mut self, peer: Peer, group: &str) {
        self.check_refusal(peer, group);
        if !self.members[usize::from(peer)].groups.remove(group) {
            fail(format!("{peer} was refused {group:?}, which it did not want"));
        }
    }

    /// A frame by all open targets, and those that close with it; its number is its content.
    pub fn speaks(&mut self, peer: Peer) -> u64 {
        let wants = &mut self.members[usize::from(peer)];
        let mut perhaps = std::mem::take(&mut wants.closing);
        let to = wants.targets.union(&perhaps).cloned().collect();
        if !self.has_roster {
            perhaps.extend(
                wants.targets.iter().filter(|target| matches!(target, Target::Peer(_))).cloned(),
            );
        }
        self.frames.push(Said {
            by: peer,
            to,
            perhaps,
            to_group_id: None,
            heard_by: BTreeSet::new(),
        });
        self.frames.len() as u64 - 1
    }

    pub fn writes(&mut self, peer: Peer, session: SessionId, recipient: Recipient) -> usize {
        let (to, to_group_id) = match recipient {
            Recipient::Group(group) => (BTreeSet::new(), Some(group)),
            Recipient::Client(client) => (BTreeSet::from([Target::Client(session, client)]), None),
        };
        self.texts.push(Said {
            by: peer,
            to,
            perhaps: BTreeSet::new(),
            to_group_id,
            heard_by: BTreeSet::new(),
        });
        self.texts.len() - 1
    }

    /// The text written last was not sent.
    pub fn takes_back_text(&mut self) {
        self.texts.pop();
    }

    /// `peer` heard a frame from `from` that says it is this one.
    pub fn hears(&mut self, peer: Peer, who: Participant<Peer>, number: u64) {
        let from = self.peer(who);
        let known_in = match who {
            Participant::Peer(_) => None,
            Participant::Client(session, _) => Some(session),
        };
        let frame = self.frames.get(number as usize).filter(|_| number as usize >= self.settled);
        let Some(frame) = frame else { fail(format!("{peer} heard what was never said")) };
        self.check(frame, "frame", peer, from);
        if !self.frames[number as usize].heard_by.insert((peer, known_in)) {
            fail(format!("{peer} heard frame {number} of {from} twice"));
        }
    }

    /// `peer` heard a frame from `from` again, or for the first time inside a later one's packet.
    pub fn may_hear(&self, peer: Peer, from: Peer, number: u64) {
        let Some(frame) = self.frames.get(number as usize) else {
            fail(format!("{peer} heard what was never said"))
        };
        self.check(frame, "copied frame", peer, from);
    }

    /// What only others are addressed by does not reach the hostile member. Which groups it listens
    /// to is its own matter.
    pub fn overheard(&self, peer: Peer, event: &NetworkEvent<Peer>) {
        let (NetworkEvent::FromServer(packet) | NetworkEvent::FromLink { packet, .. }) = event
        else {
            return;
        };
        let Ok((header, body)) = packet::open(packet) else { return };
        let frames: Vec<&[u8]> = match header.kind {
            Kind::VoiceData => {
                VoiceData::decode(body).into_iter().map(|voice| voice.frame).collect()
            }
            Kind::VoiceCopies => {
                let Ok(voice) = VoiceCopies::decode(body) else { return };
                voice.copies.iter().map(|copy| copy.frame).chain([voice.frame]).collect()
            }
            _ => return,
        };
        for frame in frames {
            let number = <[u8; 8]>::try_from(frame).map_or(u64::MAX, u64::from_be_bytes);
            let Some(frame) = self.frames.get(number as usize) else { continue };
            let is_group = |target: &Target| matches!(target, Target::Group(_));
            if !frame.to.iter().any(is_group) && !self.reaches(&frame.to, peer, |_| false) {
                fail(format!(
                    "a frame of {} to {:?} reached the hostile member {peer}",
                    frame.by, frame.to
                ));
            }
        }
    }

    /// Who leaves forgets whom it heard: what is still under way and finds it back in time is news
    /// to it.
    pub fn leaves(&mut self, peer: Peer) {
        let wants = &mut self.members[usize::from(peer)];
        wants.online = false;
        wants.new_session();
        for said in &mut self.frames {
            said.heard_by.retain(|(heard, _)| *heard != peer);
        }
    }

    pub fn reads(&mut self, peer: Peer, from: Peer, number: usize) {
        let Some(text) = self.texts.get(number) else {
            fail(format!("{peer} read what was never written"))
        };
        self.check(text, "text", peer, from);
        if !self.texts[number].heard_by.insert((peer, None)) {
            fail(format!("{peer} read text {number} of {from} twice"));
        }
    }

    fn check(&self, said: &Said, what: &str, peer: Peer, from: Peer) {
        if said.by != from {
            fail(format!("a {what} of {} reached {peer} as {from}'s", said.by));
        }
        if !self.is_for(said, &said.to, peer) {
            let listens = &self.members[usize::from(peer)].groups;
            fail(format!(
                "a {what} of {from} to {:?} reached {peer}, who listens to {listens:?}",
                said.to
            ));
        }
    }

    fn is_for(&self, said: &Said, to: &BTreeSet<Target>, peer: Peer) -> bool {
        let listens = &self.members[usize::from(peer)].groups;
        let by_id =
            said.to_group_id.is_some_and(|id| listens.iter().any(|group| GroupId::of(group) == id));
        // A packet names groups by id. In a frame that reaches a client by another of its targets,
        // as it does while news of a leave is under way, a name that shares its id with one that is
        // listened to cannot be told from it.
        let in_doubt = |group: &str| {
            !self.is_quiet
                && to.len() > 1
                && namesake(group).is_some_and(|name| listens.contains(name))
        };
        let by_target = self.reaches(to, peer, |group| listens.contains(group) || in_doubt(group));
        said.by != peer && (by_id || by_target)
    }

    fn reaches(&self, to: &BTreeSet<Target>, peer: Peer, listens: impl Fn(&str) -> bool) -> bool {
        to.iter().any(|target| match target {
            Target::Group(group) => listens(group),
            Target::Peer(target) => *target == peer,
            Target::Client(session, client) => self.owner(*session, *client) == Some(peer),
        })
    }

    /// In a quiet, lossless world: who has to have heard everything said since the last quiet
    /// moment. `present` are those in the session.
    pub fn check_all_heard(&mut self, present: &BTreeSet<Peer>) {
        for (what, all) in [("frame", &self.frames[self.settled..]), ("text", &self.texts)] {
            for said in all {
                let must = &said.to - &said.perhaps;
                let heard: BTreeSet<_> = said.heard_by.iter().map(|(peer, _)| *peer).collect();
                let deaf = present
                    .iter()
                    .find(|peer| self.is_for(said, &must, **peer) && !heard.contains(peer));
                if let Some(deaf) = deaf {
                    fail(format!(
                        "a {what} of {} to {:?} {:?} never reached {deaf}",
                        said.by, said.to, said.to_group_id
                    ));
                }
            }
        }
        self.forget();
    }

    /// Nothing is under way any more: what was said cannot be heard again.
    pub fn forget(&mut self) {
        self.settled = self.frames.len();
        self.texts.clear();
        self.recent_groups =
            self.members.iter().flat_map(|wants| wants.groups.iter().cloned()).collect();
    }
}
