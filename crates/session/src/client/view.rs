//! A client's view of one session: its own id, and the replicated table.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::packet::{ClientInfo, HandshakeResponse};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::table::Table;

/// A session as this client sees it, or last saw it.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) session: SessionId,
    pub(super) you: ClientId,
    pub(super) table: Table,
    /// Clients that the server lost but a link still reaches, with the groups they had
    /// (PROTOCOL.md, section 10).
    pub(super) kept: Table,
    pub(super) kept_until: BTreeMap<ClientId, Duration>,
    /// When another session took this one's place.
    pub(super) retired_at: Option<Duration>,
}

impl View {
    pub(super) fn new(
        session: SessionId,
        own: ClientInfo,
        groups: impl IntoIterator<Item = String>,
    ) -> Self {
        let you = own.id;
        let mut table = Table::default();
        table.insert(own, groups);
        Self {
            session,
            you,
            table,
            kept: Table::default(),
            kept_until: BTreeMap::new(),
            retired_at: None,
        }
    }

    /// Fills the table from the server's answer. Names that the answer does not list for a group id
    /// are unknown, and their listeners wait for the ClientState that tells them.
    pub(super) fn fill(&mut self, response: HandshakeResponse) {
        for client in response.clients {
            if client.id != self.you {
                self.table.insert(client, []);
            }
        }
        let names: BTreeMap<GroupId, &String> =
            response.groups.iter().map(|name| (GroupId::of(name), name)).collect();
        for listeners in &response.listeners {
            if let Some(name) = names.get(&listeners.group) {
                for client in listeners.clients.iter().filter(|client| **client != self.you) {
                    self.table.join(*client, name);
                }
            }
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The own client id in it.
    pub fn you(&self) -> ClientId {
        self.you
    }

    /// Who is in it and who listens to what.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether a client, which the server has lost, is still reached by a link.
    pub fn keeps(&self, client: ClientId) -> bool {
        self.kept.member(client).is_some()
    }

    /// Whether a client listens to a group of this name, or did when the server lost it. Another
    /// name with the same id is another group.
    pub(super) fn listens(&self, client: ClientId, group: GroupId, name: &str) -> bool {
        let member = self.table.member(client).or_else(|| self.kept.member(client));
        member.is_some_and(|member| member.groups.get(&group).is_some_and(|own| own == name))
    }

    pub(super) fn keep(&mut self, client: ClientId, until: Duration) {
        if let Some(member) = self.table.remove(client) {
            self.kept.insert(member.info, member.groups.into_values());
            self.kept_until.insert(client, until);
        }
    }

    pub(super) fn forget_kept(&mut self, client: ClientId) {
        self.kept.remove(client);
        self.kept_until.remove(&client);
    }
}
