//! Who is in the session and who listens to what: the table that the server keeps and every client
//! replicates (PROTOCOL.md, section 7).

use std::collections::{BTreeMap, BTreeSet};

use voicemesh_wire::packet::{ClientInfo, ClientState};
use voicemesh_wire::{ClientId, GroupId};

/// One client and the groups it listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name, id and codec.
    pub info: ClientInfo,
    /// Groups by id; within one member no two names share an id.
    pub groups: BTreeMap<GroupId, String>,
}

impl Member {
    /// The member as one packet tells it.
    pub fn to_state(&self) -> ClientState {
        ClientState { client: self.info.clone(), groups: self.groups.values().cloned().collect() }
    }
}

/// The replicated table. Two tables are equal when they hold the same members with the same groups.
#[derive(Clone, Debug, Default)]
pub struct Table {
    members: BTreeMap<ClientId, Member>,
    // Derived from `members`, so that addressing a frame does not walk all of them.
    groups: BTreeMap<GroupId, BTreeMap<String, BTreeSet<ClientId>>>,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Table {}

impl Table {
    /// Adds a member or replaces all that was known of it.
    pub fn insert(&mut self, info: ClientInfo, groups: impl IntoIterator<Item = String>) {
        let id = info.id;
        self.remove(id);
        self.members.insert(id, Member { info, groups: BTreeMap::new() });
        for group in groups {
            self.join(id, &group);
        }
    }

    /// Changes what a member says of itself and leaves its groups; adds it without groups if it is
    /// new.
    pub fn set_info(&mut self, info: ClientInfo) {
        match self.members.get_mut(&info.id) {
            Some(member) => member.info = info,
            None => self.insert(info, []),
        }
    }

    /// Removes a member and gives back what was known of it.
    pub fn remove(&mut self, client: ClientId) -> Option<Member> {
        let member = self.members.remove(&client)?;
        for (group, name) in &member.groups {
            self.unlist(*group, name, client);
        }
        Some(member)
    }

    /// A member begins to listen. False if it is unknown or listens already.
    pub fn join(&mut self, client: ClientId, name: &str) -> bool {
        let Some(member) = self.members.get_mut(&client) else { return false };
        let group = GroupId::of(name);
        if member.groups.get(&group).is_some_and(|present| present == name) {
            return false;
        }
        if let Some(former) = member.groups.insert(group, name.to_owned()) {
            self.unlist(group, &former, client);
        }
        self.groups.entry(group).or_default().entry(name.to_owned()).or_default().insert(client);
        true
    }

    /// A member ceases to listen. False if it did not.
    pub fn leave(&mut self, client: ClientId, name: &str) -> bool {
        let Some(member) = self.members.get_mut(&client) else { return false };
        let group = GroupId::of(name);
        if member.groups.get(&group).is_none_or(|present| present != name) {
            return false;
        }
        member.groups.remove(&group);
        self.unlist(group, name, client);
        true
    }

    /// One member.
    pub fn member(&self, client: ClientId) -> Option<&Member> {
        self.members.get(&client)
    }

    /// All members in the order of their ids.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// Everyone who listens to a group of this id, whatever its name.
    pub fn listeners(&self, group: GroupId) -> impl Iterator<Item = ClientId> + '_ {
        self.groups.get(&group).into_iter().flat_map(|names| names.values().flatten().copied())
    }

    /// Everyone who listens to a group of exactly this name.
    pub fn listeners_of(&self, name: &str) -> impl Iterator<Item = ClientId> + '_ {
        let names = self.groups.get(&GroupId::of(name));
        names.and_then(|names| names.get(name)).into_iter().flatten().copied()
    }

    /// Whether a member listens to a group of this id.
    pub fn listens(&self, client: ClientId, group: GroupId) -> bool {
        self.members.get(&client).is_some_and(|member| member.groups.contains_key(&group))
    }

    /// Whether a member listens to one of these groups.
    pub fn listens_to_any(&self, client: ClientId, groups: &BTreeMap<GroupId, String>) -> bool {
        let own = self.members.get(&client).map(|member| &member.groups);
        own.is_some_and(|own| groups.iter().any(|(id, name)| own.get(id) == Some(name)))
    }

    /// Whether a client listens to another name with this name's id.
    pub fn is_shared(&self, name: &str) -> bool {
        self.groups
            .get(&GroupId::of(name))
            .is_some_and(|names| names.keys().any(|other| other != name))
    }

    /// Whether a group of this id has more than one name: the id alone does not say which is meant.
    pub fn is_ambiguous(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|names| names.len() > 1)
    }

    /// The groups with at least one listener: id, name and how many.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &str, usize)> {
        self.groups.iter().flat_map(|(id, names)| {
            names.iter().map(|(name, clients)| (*id, name.as_str(), clients.len()))
        })
    }

    fn unlist(&mut self, group: GroupId, name: &str, client: ClientId) {
        let Some(names) = self.groups.get_mut(&group) else { return };
        if let Some(clients) = names.get_mut(name) {
            clients.remove(&client);
            if clients.is_empty() {
                names.remove(name);
            }
        }
        if names.is_empty() {
            self.groups.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voicemesh_wire::packet::CodecSettings;

    fn info(id: u16) -> ClientInfo {
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        ClientInfo { name: format!("n{id}"), id: ClientId(id), codec }
    }

    /// proves: D-12
    #[test]
    fn the_group_list_holds_exactly_the_groups_with_a_listener() {
        let mut table = Table::default();
        table.insert(info(1), ["a".to_owned(), "b".to_owned()]);
        table.insert(info(2), ["b".to_owned()]);
        let names = |table: &Table| {
            table.groups().map(|(_, name, n)| (name.to_owned(), n)).collect::<BTreeSet<_>>()
        };
        assert_eq!(names(&table), BTreeSet::from([("a".into(), 1), ("b".into(), 2)]));
        assert!(table.leave(ClientId(1), "b"));
        assert!(!table.leave(ClientId(1), "b"));
        table.remove(ClientId(2));
        assert_eq!(names(&table), BTreeSet::from([("a".into(), 1)]));
        table.remove(ClientId(1));
        assert_eq!(names(&table), BTreeSet::new());
    }

    /// A client may want a name whose id is in use before it knows: until the server refuses it,
    /// both are in its table.
    ///
    /// proves: D-12, D-17
    #[test]
    fn a_group_goes_by_the_name_of_those_who_still_listen() {
        let mut seen = BTreeMap::new();
        let colliding = (0..)
            .map(|n| n.to_string())
            .find_map(|b| Some((seen.insert(GroupId::of(&b), b.clone())?, b)));
        let (a, b) = colliding.unwrap();
        for (refused, stays) in [(1, 2), (2, 1)] {
            let mut table = Table::default();
            table.insert(info(refused), [a.clone()]);
            table.insert(info(stays), [b.clone()]);
            table.leave(ClientId(refused), &a);
            assert_eq!(table.groups().collect::<Vec<_>>(), [(GroupId::of(&b), &b[..], 1)]);
        }
    }

    #[test]
    fn replacing_a_member_forgets_its_former_groups() {
        let mut table = Table::default();
        table.insert(info(1), ["a".to_owned()]);
        table.insert(info(1), ["b".to_owned()]);
        assert!(!table.listens(ClientId(1), GroupId::of("a")));
        assert!(table.listens(ClientId(1), GroupId::of("b")));
        assert!(!table.join(ClientId(9), "a"), "an unknown member joins nothing");
    }
}
