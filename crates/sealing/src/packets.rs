//! What is sealed on its way from the session, and opened on its way to it.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_e2ee::{KeyRing, Label, OpenError};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, GroupText, HandshakeRequest, Header, KeyPackage, KeyRequest,
    Kind, Recipient, Relay, Routing, SealedPart, SealedText, SealedWith, TextData,
};
use voicemesh_wire::sealed_state::PLACEHOLDER_NAME;
use voicemesh_wire::{ClientId, DisplayName, PeerId, SessionId};

/// What a sealed payload takes more than a plain one, in bytes, at most.
pub const MOST_OVERHEAD_BYTES: usize = 22;
/// The usual overhead: an SFrame header of three or four bytes, and the tag.
pub const OVERHEAD_BYTES: u32 = 20;

/// A packet of the session for several members, and what was made of it for all of them.
#[derive(Debug)]
pub struct Outgoing<'a> {
    packet: &'a Bytes,
    for_everyone: Option<Bytes>,
}

impl<'a> Outgoing<'a> {
    /// A packet of which nothing was made yet.
    pub fn new(packet: &'a Bytes) -> Self {
        Self { packet, for_everyone: None }
    }

    /// As the session made it.
    pub fn plain(&self) -> Bytes {
        self.packet.clone()
    }
}

/// What the server is sent.
#[derive(Clone, Debug)]
pub enum ForServer {
    /// A packet, sealed or nothing to be sealed.
    Packet(Bytes),
    /// A written message.
    Text {
        /// As it is sent.
        sent: Bytes,
        /// Before it was sealed.
        plain: Bytes,
    },
}

/// What a packet says.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// This packet is for the session.
    Packet(Bytes),
    /// A member gives its keys.
    Keys(KeyPackage<'a>),
    /// A member has no key for what it gets.
    KeysWanted,
    /// How a member is called, which the server does not know.
    Name(String),
    /// There is no key to open it with: its sender can be asked.
    NoKey,
    /// It has no effect.
    Nothing,
}

/// What one member is sent on a link; `None` if nothing is sent to it. `hears_plain`: speech is sent
/// to it as it is if it cannot encrypt.
pub fn seal(
    ring: &mut KeyRing,
    now: Duration,
    outgoing: &mut Outgoing<'_>,
    to: PeerId,
    hears_plain: bool,
) -> Option<Bytes> {
    let (header, _) = packet::open(outgoing.packet).ok()?;
    if header.kind.is_text() {
        // The session relays texts.
        return None;
    }
    let Some(part) = SealedPart::of(outgoing.packet).ok()? else {
        return Some(outgoing.plain());
    };
    if ring.identity(to).is_none() {
        return (hears_plain && header.kind.is_voice()).then(|| outgoing.plain());
    }
    let (clear, secret) = outgoing.packet.split_at(part.clear_bytes);
    match part.key {
        SealedWith::PairKey => sealed_to(ring, to, label(header.kind), clear, secret),
        SealedWith::SenderKey => {
            if outgoing.for_everyone.is_none() {
                outgoing.for_everyone = sealed(ring, now, label(header.kind), clear, secret);
            }
            outgoing.for_everyone.clone()
        }
    }
}

/// What the server is sent in place of a packet: what is relayed goes to those of its destinations
/// whose announcement was accepted, and a text is sent in no other way. Of the other destinations
/// those that `hears_plain` names get speech as it is, in a packet of their own.
pub fn seal_for_server(
    ring: &mut KeyRing,
    now: Duration,
    packet: Bytes,
    peer_of: impl Fn(ClientId) -> Option<PeerId>,
    hears_plain: impl Fn(PeerId) -> bool,
) -> Vec<ForServer> {
    let Ok((header, body)) = packet::open(&packet) else { return Vec::new() };
    if header.kind.is_text() {
        // The session relays texts: what goes to the server could be read there.
        return Vec::new();
    }
    let is_relay = matches!(header.kind, Kind::ServerRelayReliable | Kind::ServerRelayUnreliable);
    let Some(session) = header.session_id().filter(|_| is_relay) else {
        return vec![ForServer::Packet(packet)];
    };
    let Ok(relay) = Relay::decode(body) else { return Vec::new() };
    let Ok((inner, inner_body)) = packet::open(relay.packet) else { return Vec::new() };
    let inside = packet.slice_ref(relay.packet);
    let (destinations, others): (Vec<_>, Vec<_>) = relay
        .destinations
        .iter()
        .filter_map(|client| Some((client, peer_of(client)?)))
        .partition(|(_, peer)| ring.identity(*peer).is_some());
    let text = inner.kind.is_text().then(|| Text::read(inner.kind, inner_body)).flatten();
    let wrap = |clients: &[ClientId], packet: &[u8]| {
        let mut relayed = Vec::new();
        Relay::encode_packet(header.kind, session, clients, packet, &mut relayed);
        let sent = Bytes::from(relayed);
        match text {
            Some(_) => ForServer::Text { sent, plain: inside.clone() },
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
    let mut sealed_for = |ring: &mut KeyRing, peer| match text {
        Some(text) => seal_text(ring, now, session, text, (inner, inner_body), peer),
        None => seal(ring, now, &mut outgoing, peer, false),
    };
    let clients = |members: &[(ClientId, PeerId)]| -> Vec<ClientId> {
        members.iter().map(|(client, _)| *client).collect()
    };
    let mut sent: Vec<ForServer> = match key {
        SealedWith::PairKey => destinations
            .iter()
            .filter_map(|(client, peer)| {
                sealed_for(ring, *peer).map(|packet| wrap(&[*client], &packet))
            })
            .collect(),
        SealedWith::SenderKey => {
            let sealed = destinations.first().and_then(|(_, first)| sealed_for(ring, *first));
            sealed.map(|sealed| wrap(&clients(&destinations), &sealed)).into_iter().collect()
        }
    };
    if inner.kind.is_voice() {
        let plain: Vec<_> = others.into_iter().filter(|(_, peer)| hears_plain(*peer)).collect();
        sent.extend((!plain.is_empty()).then(|| wrap(&clients(&plain), &inside)));
    }
    sent
}

fn seal_text(
    ring: &mut KeyRing,
    now: Duration,
    session: SessionId,
    text: Text,
    (inner, body): (Header, &[u8]),
    to: PeerId,
) -> Option<Bytes> {
    let clear = SealedText { sender: text.sender, key: text.key, sealed: &[] }.encode(session);
    let mut secret = Vec::with_capacity(1 + body.len());
    secret.push(inner.kind.number());
    secret.extend_from_slice(body);
    match text.key {
        SealedWith::PairKey => sealed_to(ring, to, Label::Data, &clear, &secret),
        SealedWith::SenderKey => sealed(ring, now, Label::Data, &clear, &secret),
    }
}

fn sealed(
    ring: &mut KeyRing,
    now: Duration,
    label: Label,
    clear: &[u8],
    secret: &[u8],
) -> Option<Bytes> {
    let mut output = output_for(clear, secret);
    let sealed = ring.seal(now, label, clear, secret, &mut output);
    sealed.ok().map(|()| output.into())
}

fn sealed_to(
    ring: &mut KeyRing,
    to: PeerId,
    label: Label,
    clear: &[u8],
    secret: &[u8],
) -> Option<Bytes> {
    let mut output = output_for(clear, secret);
    let sealed = ring.seal_to(to, label, clear, secret, &mut output);
    sealed.ok().map(|()| output.into())
}

/// What a packet says that came from this member, or from one that is not known. `takes_plain`:
/// what the member says is taken as it is.
pub fn open<'a>(
    ring: &mut KeyRing,
    now: Duration,
    packet: &'a Bytes,
    from: Option<PeerId>,
    takes_plain: bool,
) -> Incoming<'a> {
    read(ring, now, packet, from, takes_plain).unwrap_or(Incoming::Nothing)
}

fn read<'a>(
    ring: &mut KeyRing,
    now: Duration,
    packet: &'a Bytes,
    from: Option<PeerId>,
    takes_plain: bool,
) -> Option<Incoming<'a>> {
    let Ok((header, body)) = packet::open(packet) else {
        return Some(Incoming::Packet(packet.clone()));
    };
    match header.kind {
        Kind::KeyPackage => {
            from?;
            Some(Incoming::Keys(KeyPackage::decode(body).ok()?))
        }
        Kind::KeyRequest => {
            from?;
            KeyRequest::decode(body).ok()?;
            Some(Incoming::KeysWanted)
        }
        Kind::SealedText => {
            let text = SealedText::decode(body).ok()?;
            let clear = &packet[..SealedText::CLEAR_BYTES];
            let part = (clear, text.sealed);
            match opened(ring, now, from?, text.key, Label::Data, part, &[]) {
                Ok(plain) => match name_in(&text, &plain) {
                    Some(name) => Some(Incoming::Name(name)),
                    None => plain_text(&header, &text, &plain).map(Incoming::Packet),
                },
                Err(error) => Some(unopened(error)),
            }
        }
        _ => {
            let is_text = header.kind.is_text();
            let part = match SealedPart::of(packet) {
                Ok(None) if !is_text => return Some(Incoming::Packet(packet.clone())),
                Ok(part) => part,
                Err(_) => return None,
            };
            let from = from?;
            if takes_plain {
                // What could not be acknowledged is not taken.
                let is_data = header.kind.is_data();
                return (!is_data).then(|| Incoming::Packet(packet.clone()));
            }
            let SealedPart { clear_bytes, key } = part?;
            let (clear, sealed) = packet.split_at(clear_bytes);
            Some(match opened(ring, now, from, key, label(header.kind), (clear, sealed), clear) {
                Ok(plain) => Incoming::Packet(plain.into()),
                Err(error) => unopened(error),
            })
        }
    }
}

fn unopened(error: OpenError) -> Incoming<'static> {
    match error {
        OpenError::UnknownKey | OpenError::UnknownMember => Incoming::NoKey,
        _ => Incoming::Nothing,
    }
}

/// Returns `prefix` followed by the plain text.
fn opened(
    ring: &mut KeyRing,
    now: Duration,
    from: PeerId,
    key: SealedWith,
    label: Label,
    (clear, sealed): (&[u8], &[u8]),
    prefix: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut output = Vec::with_capacity(prefix.len() + sealed.len());
    output.extend_from_slice(prefix);
    let opened = match key {
        SealedWith::SenderKey => ring.open(now, from, label, clear, sealed, &mut output),
        SealedWith::PairKey => ring.open_from(from, label, clear, sealed, &mut output),
    };
    match opened {
        Ok(_) => Ok(output),
        Err(error) => {
            tracing::trace!(peer = %from, %error, "a packet was not opened");
            Err(error)
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

/// A packet for the server; if the session names this peer in it, with the name that a server has of
/// it instead. `None` of one that might have the name in it and cannot be read.
pub fn unnamed(packet: Bytes) -> Option<Bytes> {
    let (header, body) = packet::open(&packet).ok()?;
    let name = PLACEHOLDER_NAME.to_owned();
    match header.kind {
        Kind::HandshakeRequest => {
            Some(HandshakeRequest { name, ..HandshakeRequest::decode(body).ok()? }.encode().into())
        }
        Kind::ClientState => {
            let ClientState { client, groups } = ClientState::decode(body).ok()?;
            let client = ClientInfo { name, ..client };
            Some(ClientState { client, groups }.encode(header.session_id()?).into())
        }
        _ => Some(packet),
    }
}

/// Tells one member how this one is called, in a packet like a text's.
pub fn seal_name(
    ring: &mut KeyRing,
    session: SessionId,
    sender: ClientId,
    name: &str,
    to: PeerId,
) -> Option<Bytes> {
    let clear = SealedText { sender, key: SealedWith::PairKey, sealed: &[] }.encode(session);
    let secret = [&[Kind::ClientState.number()], name.as_bytes()].concat();
    sealed_to(ring, to, Label::Data, &clear, &secret)
}

fn name_in(text: &SealedText<'_>, plain: &[u8]) -> Option<String> {
    let (number, name) = plain.split_first()?;
    let is_name = *number == Kind::ClientState.number() && text.key == SealedWith::PairKey;
    let name = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    DisplayName::parse(name).ok().map(|name| name.as_str().to_owned())
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

/// Who says to have sent a packet that came through the server, and in which session.
pub fn sender(packet: &[u8]) -> Option<(SessionId, ClientId)> {
    let (header, body) = packet::open(packet).ok()?;
    let client = match header.kind {
        Kind::TextData => TextData::decode(body).ok()?.sender,
        Kind::GroupText => GroupText::decode(body).ok()?.sender,
        _ => Routing::read(packet).ok()?.sender,
    };
    Some((header.session_id()?, client))
}

fn label(kind: Kind) -> Label {
    if kind.is_voice() { Label::Voice } else { Label::Data }
}
