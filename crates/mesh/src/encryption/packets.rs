//! What is sealed on its way from the session, and opened on its way to it.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_e2ee::{Label, OpenError};
use voicemesh_session::network::NetworkEvent;
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, GroupText, HandshakeRequest, Header, KeyPackage, KeyRequest,
    Kind, Recipient, Relay, Routing, SealedPart, SealedText, SealedWith, TextData,
};
use voicemesh_wire::sealed_state::PLACEHOLDER_NAME;
use voicemesh_wire::{ClientId, PeerId, SessionId};

use super::{Encryption, KeyRoutes, MOST_OVERHEAD_BYTES};
use crate::checks::{Check, runs};
use crate::roster::Roster;
use crate::texts::TextPacket;

/// A packet of the session for several members, and what was made of it for all of them.
pub(crate) struct Outgoing<'a> {
    packet: &'a Bytes,
    for_everyone: Option<Bytes>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(packet: &'a Bytes) -> Self {
        Self { packet, for_everyone: None }
    }

    pub(crate) fn plain(&self) -> Bytes {
        self.packet.clone()
    }
}

/// What the server is sent.
pub(crate) enum ForServer {
    Packet(Bytes),
    /// A written message.
    Text(TextPacket),
}

impl Encryption {
    /// What one member is sent on a link; `None` if nothing is sent to it.
    pub(crate) fn seal(
        &mut self,
        now: Duration,
        outgoing: &mut Outgoing<'_>,
        to: PeerId,
    ) -> Option<Bytes> {
        let (header, _) = packet::open(outgoing.packet).ok()?;
        let Some(part) = SealedPart::of(outgoing.packet).ok()? else {
            return Some(outgoing.plain());
        };
        if !self.is_accepted(to) {
            return (!runs(Check::Accepted)).then(|| outgoing.plain());
        }
        let (clear, secret) = outgoing.packet.split_at(part.clear_bytes);
        match part.key {
            SealedWith::PairKey => self.sealed_to(to, label(header.kind), clear, secret),
            SealedWith::SenderKey => {
                if outgoing.for_everyone.is_none() {
                    outgoing.for_everyone = self.sealed(now, label(header.kind), clear, secret);
                }
                outgoing.for_everyone.clone()
            }
        }
    }

    /// What the server is sent in place of a packet.
    pub(crate) fn seal_for_server(
        &mut self,
        now: Duration,
        packet: Bytes,
        roster: &Roster,
    ) -> Vec<ForServer> {
        let Ok((header, body)) = packet::open(&packet) else { return Vec::new() };
        if header.kind.is_text() {
            // The session relays texts: what goes to the server could be read there.
            return Vec::new();
        }
        if self.has_room_key() && is_named(header.kind) {
            // What cannot be read might have the name in it.
            return unnamed(&header, body).map(ForServer::Packet).into_iter().collect();
        }
        let is_relay =
            matches!(header.kind, Kind::ServerRelayReliable | Kind::ServerRelayUnreliable);
        let Some(session) = header.session_id().filter(|_| is_relay) else {
            return vec![ForServer::Packet(packet)];
        };
        let Ok(relay) = Relay::decode(body) else { return Vec::new() };
        let Ok((inner, inner_body)) = packet::open(relay.packet) else { return Vec::new() };
        let inside = packet.slice_ref(relay.packet);
        let destinations: Vec<(ClientId, PeerId)> = relay
            .destinations
            .iter()
            .filter_map(|client| roster.clients.get(&client).map(|peer| (client, *peer)))
            .filter(|(_, peer)| self.is_accepted(*peer))
            .collect();
        let text = inner.kind.is_text().then(|| Text::read(inner.kind, inner_body)).flatten();
        let wrap = |clients: &[ClientId], packet: &[u8]| {
            let mut relayed = Vec::new();
            Relay::encode_packet(header.kind, session, clients, packet, &mut relayed);
            let sent = Bytes::from(relayed);
            match text {
                Some(_) => ForServer::Text(TextPacket { sent, plain: inside.clone() }),
                None => ForServer::Packet(sent),
            }
        };
        let key = match (SealedPart::of(&inside), text) {
            (_, Some(text)) => text.key,
            (Ok(Some(part)), None) => part.key,
            (Ok(None), None) if !inner.kind.is_text() => return vec![ForServer::Packet(packet)],
            (Ok(None) | Err(_), None) => return Vec::new(),
        };
        let mut outgoing = Outgoing::new(&inside);
        let mut sealed_for = |ring: &mut Self, peer| match text {
            Some(text) => ring.seal_text(now, session, text, inner, inner_body, peer),
            None => ring.seal(now, &mut outgoing, peer),
        };
        match key {
            SealedWith::PairKey => destinations
                .iter()
                .filter_map(|(client, peer)| {
                    sealed_for(self, *peer).map(|packet| wrap(&[*client], &packet))
                })
                .collect(),
            SealedWith::SenderKey => {
                let Some((_, first)) = destinations.first() else { return Vec::new() };
                let Some(sealed) = sealed_for(self, *first) else { return Vec::new() };
                let clients: Vec<ClientId> =
                    destinations.iter().map(|(client, _)| *client).collect();
                vec![wrap(&clients, &sealed)]
            }
        }
    }

    fn seal_text(
        &mut self,
        now: Duration,
        session: SessionId,
        text: Text,
        inner: Header,
        body: &[u8],
        to: PeerId,
    ) -> Option<Bytes> {
        let clear = SealedText { sender: text.sender, key: text.key, sealed: &[] }.encode(session);
        let mut secret = Vec::with_capacity(1 + body.len());
        secret.push(inner.kind.number());
        secret.extend_from_slice(body);
        match text.key {
            SealedWith::PairKey => self.sealed_to(to, Label::Data, &clear, &secret),
            SealedWith::SenderKey => self.sealed(now, Label::Data, &clear, &secret),
        }
    }

    fn sealed(
        &mut self,
        now: Duration,
        label: Label,
        clear: &[u8],
        secret: &[u8],
    ) -> Option<Bytes> {
        let mut output = output_for(clear, secret);
        let sealed = self.ring.seal(now, label, clear, secret, &mut output);
        sealed.ok().map(|()| output.into())
    }

    fn sealed_to(
        &mut self,
        to: PeerId,
        label: Label,
        clear: &[u8],
        secret: &[u8],
    ) -> Option<Bytes> {
        let mut output = output_for(clear, secret);
        let sealed = self.ring.seal_to(to, label, clear, secret, &mut output);
        sealed.ok().map(|()| output.into())
    }

    /// What the session learns of something that the network reports; `None` if that is nothing.
    pub(crate) fn open(
        &mut self,
        event: NetworkEvent<PeerId>,
        routes: &mut KeyRoutes<'_>,
    ) -> Option<NetworkEvent<PeerId>> {
        match event {
            NetworkEvent::FromServer(packet) => {
                let from = sender(&packet, routes.roster);
                self.open_packet(packet, from, routes).map(NetworkEvent::FromServer)
            }
            NetworkEvent::FromLink { link, packet } => {
                if self.is_only_acknowledged(link.peer, &packet) {
                    return Some(NetworkEvent::FromLink { link, packet });
                }
                let packet = self.open_packet(packet, Some(link.peer), routes)?;
                // Written messages come through the server only.
                let is_text = packet::open(&packet).is_ok_and(|(header, _)| header.kind.is_text());
                (!is_text).then_some(NetworkEvent::FromLink { link, packet })
            }
            other => Some(other),
        }
    }

    /// Speech of a member whose announcement was not accepted: the session drops it, since it may
    /// not speak, but acknowledges it, or the member would take the link for a stalled one.
    fn is_only_acknowledged(&self, peer: PeerId, packet: &[u8]) -> bool {
        !self.is_accepted(peer)
            && packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice())
    }

    fn open_packet(
        &mut self,
        packet: Bytes,
        from: Option<PeerId>,
        routes: &mut KeyRoutes<'_>,
    ) -> Option<Bytes> {
        let Ok((header, body)) = packet::open(&packet) else { return Some(packet) };
        match header.kind {
            Kind::KeyPackage => {
                let package = KeyPackage::decode(body).ok()?;
                self.take_package(from?, &package, routes);
                None
            }
            Kind::KeyRequest => {
                KeyRequest::decode(body).ok()?;
                self.give_again(from?, routes.now);
                None
            }
            Kind::SealedText => {
                let text = SealedText::decode(body).ok()?;
                let clear = &packet[..SealedText::CLEAR_BYTES];
                let plain =
                    self.opened(from?, text.key, Label::Data, (clear, text.sealed), &[], routes)?;
                plain_text(&header, &text, &plain)
            }
            _ => {
                let is_text = header.kind.is_text();
                let part = match SealedPart::of(&packet) {
                    Ok(None) if !is_text => return Some(packet),
                    Ok(part) => part,
                    Err(_) => return None,
                };
                let from = from?;
                let member = routes.roster.member(from);
                if member.is_some_and(|member| self.takes_plain(member)) {
                    // What could not be acknowledged is not taken.
                    return Some(packet).filter(|_| !header.kind.is_data());
                }
                let SealedPart { clear_bytes, key } = part?;
                let (clear, sealed) = packet.split_at(clear_bytes);
                self.opened(from, key, label(header.kind), (clear, sealed), clear, routes)
                    .map(Bytes::from)
            }
        }
    }

    /// Returns `prefix` followed by the plain text.
    fn opened(
        &mut self,
        from: PeerId,
        key: SealedWith,
        label: Label,
        (clear, sealed): (&[u8], &[u8]),
        prefix: &[u8],
        routes: &mut KeyRoutes<'_>,
    ) -> Option<Vec<u8>> {
        let mut output = Vec::with_capacity(prefix.len() + sealed.len());
        output.extend_from_slice(prefix);
        let opened = match key {
            SealedWith::SenderKey => {
                self.ring.open(routes.now, from, label, clear, sealed, &mut output)
            }
            SealedWith::PairKey => self.ring.open_from(from, label, clear, sealed, &mut output),
        };
        match opened {
            Ok(_) => Some(output),
            Err(error) => {
                tracing::trace!(peer = %from, %error, "a packet was not opened");
                let is_expected =
                    routes.roster.member(from).is_some_and(|member| member.capabilities.e2ee);
                if is_expected && matches!(error, OpenError::UnknownKey | OpenError::UnknownMember)
                {
                    self.ask(from, routes);
                }
                None
            }
        }
    }
}

/// What the seal of a text depends on.
#[derive(Clone, Copy)]
struct Text {
    sender: ClientId,
    key: SealedWith,
}

impl Text {
    fn read(kind: Kind, body: &[u8]) -> Option<Self> {
        if kind == Kind::GroupText {
            let sender = GroupText::decode(body).ok()?.sender;
            return Some(Self { sender, key: SealedWith::SenderKey });
        }
        let TextData { sender, recipient, .. } = TextData::decode(body).ok()?;
        let key = match recipient {
            Recipient::Group(_) => SealedWith::SenderKey,
            Recipient::Client(_) => SealedWith::PairKey,
        };
        Some(Self { sender, key })
    }
}

/// Whether the session names this peer in such a packet.
fn is_named(kind: Kind) -> bool {
    matches!(kind, Kind::HandshakeRequest | Kind::ClientState)
}

/// A packet in which the session names this peer, with the name that a server has of it instead.
fn unnamed(header: &Header, body: &[u8]) -> Option<Bytes> {
    let name = PLACEHOLDER_NAME.to_owned();
    let packet = match header.kind {
        Kind::HandshakeRequest => {
            HandshakeRequest { name, ..HandshakeRequest::decode(body).ok()? }.encode()
        }
        Kind::ClientState => {
            let ClientState { client, groups } = ClientState::decode(body).ok()?;
            let client = ClientInfo { name, ..client };
            ClientState { client, groups }.encode(header.session_id()?)
        }
        _ => return None,
    };
    Some(packet.into())
}

/// The packet in which the server would have passed on a text, if the seal is the one that its
/// recipients call for.
fn plain_text(header: &Header, text: &SealedText<'_>, plain: &[u8]) -> Option<Bytes> {
    let (number, body) = plain.split_first()?;
    let kind = Kind::from_number(*number).filter(|kind| kind.is_text())?;
    let Text { sender, key } = Text::read(kind, body)?;
    let session = header.session_id().filter(|_| (sender, key) == (text.sender, text.key))?;
    let packet = match kind {
        Kind::GroupText => GroupText::decode(body).ok()?.encode(session),
        _ => TextData::decode(body).ok()?.encode(session),
    };
    Some(packet.into())
}

/// What is in the clear, with room for what is sealed behind it.
fn output_for(clear: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(clear.len() + secret.len() + MOST_OVERHEAD_BYTES);
    output.extend_from_slice(clear);
    output
}

/// Who says to have sent a packet that came through the server.
fn sender(packet: &[u8], roster: &Roster) -> Option<PeerId> {
    let (header, body) = packet::open(packet).ok()?;
    let client = match header.kind {
        Kind::TextData => TextData::decode(body).ok()?.sender,
        Kind::GroupText => GroupText::decode(body).ok()?.sender,
        _ => Routing::read(packet).ok()?.sender,
    };
    let is_current = header.session_id().is_some() && header.session_id() == roster.session;
    roster.clients.get(&client).copied().filter(|_| is_current)
}

fn label(kind: Kind) -> Label {
    if kind.is_voice() { Label::Voice } else { Label::Data }
}
