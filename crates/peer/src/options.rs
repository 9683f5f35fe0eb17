//! What it takes to join a room.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use voicemesh_audio::encode::SpeechConfig;
use voicemesh_audio::process::{Activation, MicrophoneConfig, Processing};
use voicemesh_audio::space::Handedness;
use voicemesh_common::shortened;
use voicemesh_device::{InputSpec, OutputSpec};
use voicemesh_e2ee::{RoomKey, RoomKeyError};
use voicemesh_engine::{EngineConfig, EngineError, VoiceEngine};
use voicemesh_wire::invitation::{Invitation, percent_decoded};
use voicemesh_wire::limits::{PASSWORD_BYTES, TOKEN_BYTES};
use voicemesh_wire::names::NameError;
use voicemesh_wire::signaling::{AccessToken, Metadata, Password, Presence};
use voicemesh_wire::{DisplayName, RoomName};

use crate::connect::{BadProxy, Proxy};
use crate::join_error::JoinError;
use crate::pasted::{self, Pasted};
use crate::server_url::{NOT_ENCODED, ServerUrl, room_problem};
use voicemesh_mesh::Connections;

/// What stands in a link as it is (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How to join a room. A server and a room are enough; everything else has a default.
///
/// ```
/// let options = voicemesh::JoinOptions::new("wss://voice.example.org", "lobby").name("Ada");
/// ```
#[derive(Clone, Debug)]
pub struct JoinOptions {
    pub(crate) server: String,
    pub(crate) room: String,
    pub(crate) name: String,
    pub(crate) sound: SoundOptions,
    pub(crate) relay_only: bool,
    pub(crate) presence: Presence,
    pub(crate) password: Option<Password>,
    pub(crate) token: Option<AccessToken>,
    pub(crate) renews_token: bool,
    pub(crate) connections: Connections,
    pub(crate) metadata: Metadata,
    pub(crate) record: Option<PathBuf>,
    pub(crate) manual_flush: bool,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) extra_root_pem: Option<PathBuf>,
    pub(crate) proxy: Option<String>,
    pub(crate) encrypted: bool,
    /// Of the link; damaged ones are errors only where they are used.
    pub(crate) room_key: Option<Result<RoomKey, RoomKeyError>>,
}

impl JoinOptions {
    /// Joins `room` at `server` (`wss://host`, no port or path needed) with the default microphone
    /// and speaker.
    pub fn new(server: impl Into<String>, room: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            room: room.into(),
            name: "somebody".to_owned(),
            sound: SoundOptions::default(),
            relay_only: false,
            presence: Presence::Either,
            password: None,
            token: None,
            renews_token: false,
            connections: Connections::default(),
            metadata: Metadata::new(),
            record: None,
            manual_flush: false,
            state_dir: None,
            extra_root_pem: None,
            proxy: None,
            encrypted: true,
            room_key: None,
        }
    }

    /// Joins the room of a link, as invitations have it: `https://host/r/ROOM`, or with a path
    /// before `/r/` if the server is below one. An access token behind the `#` (`#t=TOKEN`) is
    /// taken, and so is the room's key (`#k=KEY`), with which what is said is
    /// [`encrypted`](Self::encrypted). A `#` with neither behind it, or with what is left of a key,
    /// is a damaged key: [`given_room_key`](Self::given_room_key) and joining refuse it.
    ///
    /// # Errors
    ///
    /// When the link is no server's address, or names no room.
    pub fn from_link(link: &str) -> Result<Self, JoinError> {
        // What is behind the # is secret: no error repeats it.
        let (link, fragment) = pasted::split_fragment(link);
        without_secret(link)?;
        let (url, room) =
            ServerUrl::parse_link(link).map_err(|why| JoinError::bad_server(link, why))?;
        let room = room.ok_or_else(|| match room_problem(link) {
            Some(why) => JoinError::bad_room_in_link(link, why),
            None => JoinError::NoRoomInLink(shortened(link).into_owned()),
        })?;
        let (room_key, token) = secrets_in(fragment);
        Ok(Self { room_key, token, ..Self::new(url.given(), room) })
    }

    /// If the room is a link to one, takes server, room, access token and room key from it: an
    /// address with a scheme, `host.name/r/ROOM`, or `/r/ROOM` at the server given.
    /// [`Room::join`](crate::Room::join) does this first, so that a pasted invitation is never a
    /// room's name. If the link is to another server than the one given, the access token, the
    /// password and the room key given are dropped.
    ///
    /// # Errors
    ///
    /// When the link is no server's address, or names no room.
    pub fn follow_link(mut self) -> Result<Self, JoinError> {
        self.refuse_fragment()?;
        let pasted = pasted::read(&self.room);
        if pasted != Pasted::Command {
            without_secret(pasted::split_fragment(&self.room).0)?;
        }
        match pasted {
            Pasted::Name => {}
            Pasted::Argument(room) => self.room = room.to_owned(),
            Pasted::Command => {
                // What stands behind it may be a password.
                let why = "it is a command; give the room's name or the link alone";
                return Err(JoinError::bad_room_in_link("voicemesh join …", why));
            }
            Pasted::Path { room, fragment } => {
                let (key, token) = secrets_in(fragment);
                self.room = percent_decoded(room)
                    .ok_or_else(|| JoinError::bad_room_in_link(room, NOT_ENCODED))?;
                self.token = token.or(self.token);
                self.room_key = key.or(self.room_key);
            }
            // What is behind the # is secret.
            Pasted::Words(link) => {
                let why = "other words stand beside the address";
                return Err(JoinError::bad_room_in_link(pasted::split_fragment(link).0, why));
            }
            Pasted::Slip(link) => {
                let why = "it must begin with https:// and end with /r/ and the room's name";
                return Err(JoinError::bad_room_in_link(pasted::split_fragment(link).0, why));
            }
            Pasted::Link(link) => {
                let linked = Self::from_link(link)?;
                // What the program gave for its own server is not for another one, which a pasted
                // text names.
                if !self.server.is_empty() && !is_same_server(&self.server, &linked.server) {
                    (self.token, self.password, self.room_key) = (None, None, None);
                }
                (self.server, self.room) = (linked.server, linked.room);
                self.token = linked.token.or(self.token);
                self.room_key = linked.room_key.or(self.room_key);
            }
        }
        without_secret(&self.room)?;
        Ok(self)
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether an address is that of this server, however it is written.
    pub fn is_at(&self, server: &str) -> bool {
        is_same_server(&self.server, server)
    }

    /// The same with a new key of the room, from the system's randomness: who is given the
    /// [`invitation`](Self::invitation) has it, and no one else.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers, and for a link's key that was damaged.
    pub fn new_room_key(self) -> Result<Self, JoinError> {
        self.given_room_key()?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(JoinError::no_random)?;
        Ok(self.room_key(RoomKey::new(key)))
    }

    /// The link by which others join the same room: `https://voice.example.org/r/ROOM`, and the
    /// room's key behind a `#` if there is one. That makes it a secret. It never contains the
    /// access token or the password.
    ///
    /// # Errors
    ///
    /// When server or room make no sense, and for a room's key that was damaged.
    pub fn invitation(&self) -> Result<String, JoinError> {
        let (url, room) = (self.checked_server()?, self.checked_room()?);
        let room = utf8_percent_encode(room.as_str(), UNRESERVED);
        let link = format!("{}/r/{room}", url.page());
        Ok(match self.given_room_key()? {
            Some(key) => format!("{link}#k={}", key.to_text()),
            None => link,
        })
    }

    /// The room's key: that of the link, if it has been followed, or the one given.
    ///
    /// # Errors
    ///
    /// When the link's was damaged.
    pub fn given_room_key(&self) -> Result<Option<&RoomKey>, JoinError> {
        Ok(self.room_key.as_ref().map(Result::as_ref).transpose().map_err(|error| *error)?)
    }

    /// Whether what is said is encrypted end to end: it was asked for, or the room has a key.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted || self.room_key.is_some()
    }

    /// The access token.
    pub fn access_token(&self) -> Option<&AccessToken> {
        self.token.as_ref()
    }

    /// The room's name.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// The name that others see.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The microphone.
    #[must_use]
    pub fn input(self, input: InputSpec) -> Self {
        Self { sound: SoundOptions { input, ..self.sound }, ..self }
    }

    /// The channel of the microphone or file to hear, counted from 1. Without it channels that
    /// carry the same are mixed, and of others the loudest is heard.
    #[must_use]
    pub fn input_channel(self, channel: u16) -> Self {
        Self { sound: SoundOptions { input_channel: Some(channel), ..self.sound }, ..self }
    }

    /// The speaker.
    #[must_use]
    pub fn output(self, output: OutputSpec) -> Self {
        Self { sound: SoundOptions { output, ..self.sound }, ..self }
    }

    /// How speech is encoded.
    #[must_use]
    pub fn speech(self, speech: SpeechConfig) -> Self {
        Self { sound: SoundOptions { speech, ..self.sound }, ..self }
    }

    /// No direct links, so that no other peer in the room sees this machine's address; all goes
    /// through the server.
    #[must_use]
    pub fn relay_only(self, relay_only: bool) -> Self {
        Self { relay_only, ..self }
    }

    /// Whether another peer must, or must not, be in the room already.
    #[must_use]
    pub fn presence(self, presence: Presence) -> Self {
        Self { presence, ..self }
    }

    /// The room's password, at most 128 bytes. The peer that joins an empty room sets it; without
    /// one, the room has none.
    #[must_use]
    pub fn password(self, password: impl Into<Password>) -> Self {
        Self { password: Some(password.into()).filter(|password| !password.is_empty()), ..self }
    }

    /// An access token, for servers that ask for one.
    #[must_use]
    pub fn token(self, token: impl Into<AccessToken>) -> Self {
        Self { token: Some(token.into()).filter(|token| !token.is_empty()), ..self }
    }

    /// Whether the program answers [`RoomEvent::TokenNeeded`](crate::RoomEvent::TokenNeeded) with
    /// [`Lobby::set_token`](crate::Lobby::set_token). Otherwise a server that asks for another
    /// token ends the stay ([`RoomEvent::Refused`](crate::RoomEvent::Refused)).
    #[must_use]
    pub fn renews_token(self, renews_token: bool) -> Self {
        Self { renews_token, ..self }
    }

    /// To whom direct links are made. Without this: to everyone.
    #[must_use]
    pub fn connections(self, connections: Connections) -> Self {
        Self { connections, ..self }
    }

    /// What to publish about oneself.
    #[must_use]
    pub fn metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Joins muted.
    #[must_use]
    pub fn muted(self, muted: bool) -> Self {
        Self { sound: SoundOptions { muted, ..self.sound }, ..self }
    }

    /// Says back what it hears, instead of what a microphone gives.
    #[must_use]
    pub fn echo(self, echo: bool) -> Self {
        Self { sound: SoundOptions { echo, ..self.sound }, ..self }
    }

    /// What is done to the microphone's sound. Without this: everything that helps for a
    /// microphone, and nothing for a file or a tone.
    #[must_use]
    pub fn processing(self, processing: Processing) -> Self {
        Self { sound: SoundOptions { processing: Some(processing), ..self.sound }, ..self }
    }

    /// When the microphone's sound is sent. Without this: during speech for a microphone, and
    /// always for a file or a tone.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { sound: SoundOptions { activation: Some(activation), ..self.sound }, ..self }
    }

    /// What all that is sent may take of the uplink, in bits per second: near it, speech is sent
    /// with fewer bits.
    #[must_use]
    pub fn uplink_bps(self, uplink_bps: u32) -> Self {
        Self { sound: SoundOptions { uplink_bps: Some(uplink_bps), ..self.sound }, ..self }
    }

    /// Keeps a recording of the room in this folder, one file per speaker, from the moment when the
    /// server lets this peer in. Everyone in the room sees that it is on.
    #[must_use]
    pub fn record(self, folder: impl Into<PathBuf>) -> Self {
        Self { record: Some(folder.into()), ..self }
    }

    /// What the program sends (messages, data channels) stays here until it calls
    /// [`Room::flush`](crate::Room::flush), as at the end of a frame. Without this it leaves at
    /// once. Speech does not wait for it.
    #[must_use]
    pub fn manual_flush(self, manual_flush: bool) -> Self {
        Self { manual_flush, ..self }
    }

    /// Where the installation's secret is kept, by which it is known again; the user's
    /// configuration folder otherwise.
    #[must_use]
    pub fn state_dir(self, state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: Some(state_dir.into()), ..self }
    }

    /// Encrypts speech, texts and messages end to end: what is said here is sent to members that
    /// encrypt as well, and to no others, and the server cannot read it. On by default, and always
    /// where the link has a key, where no server can be in between. Without a key, only comparing
    /// [`Snapshot::safety_code`](crate::Snapshot::safety_code) tells.
    /// [`PeerState::encryption`](crate::PeerState::encryption) says how it stands with each member.
    /// Without the room's key, plain speech and texts of members that do not encrypt are heard, and
    /// [`Participant::allow_unencrypted`](crate::Participant::allow_unencrypted) lets one of them
    /// hear this peer.
    #[must_use]
    pub fn encrypted(self, encrypted: bool) -> Self {
        Self { encrypted, ..self }
    }

    /// The room's key, as a link has it. What is said is then
    /// [`encrypted`](Self::encrypted).
    #[must_use]
    pub fn room_key(self, key: RoomKey) -> Self {
        Self { room_key: Some(Ok(key)), ..self }
    }

    /// Connects to the server through this proxy, whatever the environment says and wherever the
    /// server is: `http://[user:password@]host[:port]`, `https://…`, `socks5://…` or `socks5h://…`;
    /// `none` for no proxy. Without this, the environment names one (`https_proxy`, `http_proxy`,
    /// `all_proxy`, `no_proxy`, as for curl) for servers outside of this machine and of private
    /// networks. Direct links to others do not go through it; see [`relay_only`](Self::relay_only).
    #[must_use]
    pub fn proxy(self, proxy: impl Into<String>) -> Self {
        Self { proxy: Some(proxy.into()), ..self }
    }

    /// Certificates (PEM) to trust beside those the system trusts: of the authority that signed the
    /// server's, or the server's own.
    #[must_use]
    pub fn extra_root_pem(self, path: impl Into<PathBuf>) -> Self {
        Self { extra_root_pem: Some(path.into()), ..self }
    }

    /// A game with places: the own speech to groups is to be heard from where this peer stands, and
    /// the speaker plays two sides. See
    /// [`Member::set_position`](crate::Member::set_position).
    #[must_use]
    pub fn positional(self, positional: bool) -> Self {
        Self { sound: SoundOptions { positional, ..self.sound }, ..self }
    }

    /// Which way the game's axes lie: [`Handedness::Left`] for Unity; [`Handedness::Right`], which
    /// is the default, for Godot and Bevy.
    #[must_use]
    pub fn handedness(self, handedness: Handedness) -> Self {
        Self { sound: SoundOptions { handedness, ..self.sound }, ..self }
    }

    /// The proxy to the server, if one is to be used.
    pub(crate) fn chosen_proxy(&self, url: &ServerUrl) -> Result<Option<Proxy>, JoinError> {
        let variable = |name: &str| std::env::var(name).ok();
        let bad = |BadProxy { variable, why }| JoinError::BadProxy { variable, why };
        Proxy::choose(self.proxy.as_deref(), url, variable).map_err(bad)
    }

    /// Whether this join, or a later one, carries what must not be read on the way to the server.
    pub(crate) fn has_secret(&self) -> bool {
        let has_key = self.given_room_key().is_ok_and(|key| key.is_some());
        self.password.is_some() || self.token.is_some() || self.renews_token || has_key
    }

    /// The names in the form that is shown.
    pub(crate) fn checked_names(&self) -> Result<(RoomName, DisplayName), JoinError> {
        let room = self.checked_room()?;
        Ok((room, DisplayName::parse(&self.name).map_err(JoinError::BadName)?))
    }

    fn checked_room(&self) -> Result<RoomName, JoinError> {
        let room = RoomName::parse(&self.room).map_err(|error| match error {
            NameError::TooLong => JoinError::RoomTooLong,
            _ => JoinError::RoomBlank,
        })?;
        if matches!(room.as_str(), "." | "..") {
            return Err(JoinError::RoomUnlinkable);
        }
        Ok(room)
    }

    pub(crate) fn checked_server(&self) -> Result<ServerUrl, JoinError> {
        if self.password.as_ref().is_some_and(|password| password.len() > PASSWORD_BYTES) {
            return Err(JoinError::PasswordTooLong);
        }
        if self.token.as_ref().is_some_and(|token| token.len() > TOKEN_BYTES) {
            return Err(JoinError::TokenTooLong);
        }
        self.refuse_fragment()?;
        ServerUrl::parse(&self.server).map_err(|why| JoinError::bad_server(&self.server, why))
    }

    /// Refuses a server's address with a fragment, or with a key or token that a program has put
    /// elsewhere: it would be passed over, and shown wherever the server is named.
    fn refuse_fragment(&self) -> Result<(), JoinError> {
        let Some(at) = pasted::fragment_at(&self.server) else { return Ok(()) };
        let why = match self.server.contains('#') {
            true => "what stands behind its # belongs to a link; give the whole link as the room",
            false => {
                "a key or token stands in it, where the server would see it; copy the link again, and give the whole link as the room"
            }
        };
        Err(JoinError::bad_server(&self.server[..at], why))
    }
}

/// Refuses what has a key or token where the server would see it, and repeats none of it.
fn without_secret(room: &str) -> Result<(), JoinError> {
    let Some(at) = pasted::secret_at(room) else { return Ok(()) };
    let why = "a key or token stands in the room's name, where the server would see it";
    Err(JoinError::bad_room_in_link(&room[..at], why))
}

/// The room's key and the access token in the fragment of a link. A key that was cut off or cannot
/// be read is damaged, not absent, and so is one of which not even the name is left.
fn secrets_in(fragment: &str) -> (Option<Result<RoomKey, RoomKeyError>>, Option<AccessToken>) {
    let Invitation { key, token } = Invitation::parse(fragment);
    let has_key = match (&key, &token) {
        (Some(_), _) => true,
        (None, Some(_)) => pasted::has_more_than_token(fragment),
        (None, None) => !fragment.is_empty(),
    };
    let room_key = || key.ok_or(RoomKeyError).and_then(|key| RoomKey::from_text(&key));
    (has_key.then(room_key), token)
}

/// The devices, and what happens to the sound of both.
#[derive(Clone, Debug)]
pub(crate) struct SoundOptions {
    pub(crate) input: InputSpec,
    pub(crate) input_channel: Option<u16>,
    pub(crate) output: OutputSpec,
    pub(crate) speech: SpeechConfig,
    pub(crate) muted: bool,
    /// What is heard is said, instead of what a microphone gives.
    pub(crate) echo: bool,
    pub(crate) processing: Option<Processing>,
    pub(crate) activation: Option<Activation>,
    pub(crate) uplink_bps: Option<u32>,
    pub(crate) positional: bool,
    pub(crate) handedness: Handedness,
}

impl Default for SoundOptions {
    fn default() -> Self {
        Self {
            input: InputSpec::Device(None),
            input_channel: None,
            output: OutputSpec::Device(None),
            speech: SpeechConfig::default(),
            muted: false,
            echo: false,
            processing: None,
            activation: None,
            uplink_bps: None,
            positional: false,
            handedness: Handedness::default(),
        }
    }
}

impl SoundOptions {
    pub(crate) fn microphone(&self) -> MicrophoneChoice {
        MicrophoneChoice { processing: self.processing, activation: self.activation }
    }

    /// An engine of this name. `seed` is drawn at random.
    ///
    /// # Errors
    ///
    /// When the codec cannot.
    pub(crate) fn engine<P: Copy + Ord + std::fmt::Debug>(
        &self,
        name: &str,
        is_simulated_input: bool,
        seed: u64,
    ) -> Result<VoiceEngine<P>, EngineError> {
        let mut engine = VoiceEngine::new(EngineConfig {
            speech: self.speech,
            microphone: self.microphone().config(is_simulated_input),
            uplink_bps: self.uplink_bps,
            ..EngineConfig::new(name, seed)
        })?;
        engine.set_muted(self.muted);
        Ok(engine)
    }
}

/// What the program has set of the microphone's sound; the rest follows from the kind of
/// microphone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MicrophoneChoice {
    pub(crate) processing: Option<Processing>,
    pub(crate) activation: Option<Activation>,
}

impl MicrophoneChoice {
    pub(crate) fn config(self, is_simulated: bool) -> MicrophoneConfig {
        let (processing, activation) = match is_simulated {
            true => (Processing::OFF, Activation::Always),
            false => (Processing::default(), Activation::default()),
        };
        MicrophoneConfig {
            processing: self.processing.unwrap_or(processing),
            activation: self.activation.unwrap_or(activation),
        }
    }
}

/// Whether both texts are addresses of one server.
fn is_same_server(one: &str, other: &str) -> bool {
    let origin = |text| ServerUrl::parse_link(text).map(|(url, _)| url.origin());
    matches!((origin(one), origin(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_with_a_token_a_password_or_a_room_key_carries_a_secret() {
        let plain = || JoinOptions::new("192.168.1.5:8080", "lobby");
        assert!(!plain().name("Ada").has_secret());
        assert!(plain().token("eyJ").has_secret());
        assert!(plain().password("tea").has_secret());
        assert!(plain().renews_token(true).has_secret());
        let link = format!("192.168.1.5:8080/r/lobby#k={}", RoomKey::new([7; 16]).to_text());
        let linked = JoinOptions::new("wss://other", &link).follow_link().unwrap();
        assert!(linked.has_secret(), "who reads what is sent could join or be shown as another");
    }

    #[test]
    fn a_pasted_link_is_followed_and_a_name_is_not() {
        let followed = |room: &str| {
            JoinOptions::new("wss://other", room)
                .follow_link()
                .map(|options| (options.server, options.room))
        };
        let here = |server: &str, room: &str| Ok((server.to_owned(), room.to_owned()));
        let is = |text: &str, expected: Result<(String, String), ()>| {
            assert_eq!(followed(text).map_err(|_| ()), expected, "{text}")
        };
        is(
            " https://voice.example.org/r/tea%20time/ ",
            here("wss://voice.example.org", "tea time"),
        );
        is("wss://voice.example.org/voice/r/lobby", here("wss://voice.example.org/voice", "lobby"));
        is("voice.example.org/r/lobby#t=x", here("voice.example.org", "lobby"));
        for name in ["lobby", "a/r/b", "see voice.example.org/r/lobby", "1.5", "a.b/r/", "./r/x"] {
            is(name, here("wss://other", name));
        }
        is("voice.example.org:8080/a/r/lobby/", here("voice.example.org:8080/a", "lobby"));
        is("r/tea%20time", here("wss://other", "tea time"));
        for link in ["https://voice.example.org/", "voice.example.org/r/a/b", "localhost:80/r/.."] {
            is(link, Err(()));
        }
        let path = JoinOptions::new("wss://other", "/r/x#t=secret").password("sesame");
        let path = path.follow_link().unwrap();
        assert!(path.access_token().is_some() && path.password.is_some());
        let token = JoinOptions::new("wss://other", "https://a.example/r/x#t=secret")
            .follow_link()
            .unwrap();
        assert!(token.access_token().is_some());
    }

    /// The page's tests read the same file.
    #[test]
    fn what_is_pasted_is_a_link_or_a_name_as_the_vectors_say() {
        #[derive(serde::Deserialize)]
        struct Vectors {
            texts: Vec<Text>,
        }
        #[derive(serde::Deserialize)]
        struct Text {
            text: String,
            is: String,
            room: Option<String>,
        }
        let vectors: Vectors = serde_json::from_str(voicemesh_vectors::PASTED)
            .expect("the vectors are what this test expects");
        assert!(vectors.texts.len() > 20);
        for Text { text, is, room } in vectors.texts {
            let expected = match is.as_str() {
                "name" => Some(("wss://other".to_owned(), text.clone())),
                "path" | "command" => room.map(|room| ("wss://other".to_owned(), room)),
                _ => room.map(|room| (String::new(), room)),
            };
            let followed = JoinOptions::new("wss://other", &text).follow_link().ok();
            // A damaged key is an error where it is used.
            let followed = followed.filter(|options| options.given_room_key().is_ok());
            let found = followed.map(|options| match options.server.as_str() {
                "wss://other" => (options.server, options.room),
                _ => (String::new(), options.room),
            });
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn secrets_for_one_server_are_not_sent_to_another_that_a_pasted_link_names() {
        for (server, link, are_kept) in [
            ("wss://game.example", "https://game.example/r/x", true),
            ("wss://game.example", "game.example/r/x", true),
            ("wss://game.example", "lobby", true),
            ("", "https://other.example/r/x", true),
            ("wss://game.example", "https://other.example/r/x", false),
            ("wss://game.example", "https://game.example:444/r/x", false),
            ("wss://game.example", "ws://game.example/r/x", false),
            ("wss://game.example/voice", "https://game.example/other/r/x", false),
        ] {
            let options = JoinOptions::new(server, link)
                .token(AccessToken::from("secret"))
                .password("sesame");
            let options = options.follow_link().unwrap();
            assert_eq!(
                (options.token.is_some(), options.password.is_some()),
                (are_kept, are_kept),
                "{server} {link}"
            );
        }
    }

    #[test]
    fn a_link_that_is_given_as_the_server_is_refused_and_its_secrets_are_not_repeated() {
        const KEY: &str = "cm9vbS1rZXktNy1oaWRlcw";
        let changed = [
            "#k=",
            "%23k=",
            "%2523k=",
            "＃k=",
            "﹟k=",
            "?k=",
            "&k=",
            ";k=",
            "%3Fk=",
            "%26k=",
            "&#35;k=",
            "&num;k=",
            "# k=",
            "#\u{200b}k=",
            "/#/k=",
            "#key=",
            "?token=",
            "&t=",
            "#",
        ];
        let fragments = changed.map(|mark| format!("{mark}{KEY}")).into_iter();
        let of_other_kinds = ["#", "#x", "%23", "#t=secret.token.x"].map(str::to_owned);
        let at = [
            "https://voice.example.org/r/tea",
            "ws://voice.example.org:80",
            "voice.example.org/v/",
        ];
        let servers = fragments.chain(of_other_kinds);
        let servers = servers.flat_map(|fragment| at.map(|at| format!("{at}{fragment}")));
        for server in servers {
            let options = JoinOptions::new(&server, "tea");
            for room in ["tea", "https://other.example/r/tea", "/r/tea"] {
                let refused = JoinOptions::new(&server, room).follow_link().expect_err("refused");
                let said = format!("{refused} {refused:?}");
                assert!(said.contains("give the whole link as the room"), "{said}");
                assert!(said.contains("voice.example.org") && !said.contains("k="), "{said}");
                assert!(!said.contains("secret") && !said.contains(KEY), "{said}");
            }
            assert!(matches!(options.invitation(), Err(JoinError::BadServer { .. })));
        }
        for server in
            ["ws://[fe80::1%25eth0]:8080", "https://voice.example.org/a&b?x=1", "例え.テスト"]
        {
            let plain = JoinOptions::new(server, "tea").follow_link();
            assert!(plain.and_then(|options| options.invitation()).is_ok(), "{server}");
        }
    }

    /// Neither a link nor a name of a room with a key in it is repeated from its mark on.
    #[test]
    fn what_is_refused_for_a_secret_in_it_repeats_none_of_it() {
        const KEY: &str = "cm9vbS1rZXktNy1oaWRlcw";
        for text in [
            "tea%3Fk=",
            "tea﹟k=",
            "tea;k=",
            "tea&num;k=",
            "tea# k=",
            "tea#key=",
            "tea#\u{200b}k=",
            "127.0.0.1:8080/r/tea# k=",
            "/r/tea%2523k=",
            "https://voice.example.org/r/tea?token=",
            "https://voice.example.org/r/tea%23k=",
            "https://voice.example.org/?x=1&t=",
            "see https://voice.example.org/r/tea?k=",
            "https:/voice.example.org/r/tea&k=",
        ] {
            let text = format!("{text}{KEY}");
            let refused = JoinOptions::new("wss://other", &text).follow_link().expect_err(&text);
            let said = format!("{refused} {refused:?}");
            assert!(said.contains("a key or token stands in") && !said.contains(KEY), "{said}");
        }
        for fragment in [
            "",
            "k",
            KEY,
            "/k=cm9vbS1rZXktNy1oaWRlcw",
            "k:x",
            "t=x&k",
            "t=x&amp;k=cm9vbS1rZXktNy1oaWRlcw",
        ] {
            let link = format!("https://voice.example.org/r/tea#{fragment}");
            let options = JoinOptions::from_link(&link).expect("a room");
            assert!(options.is_encrypted(), "{link}");
            for refused in [options.invitation().map(drop), options.new_room_key().map(drop)] {
                assert!(matches!(refused, Err(JoinError::BadRoomKey(_))), "{link}: {refused:?}");
            }
        }
    }

    #[test]
    fn of_what_is_long_an_error_repeats_the_beginning() {
        let long = |beginning: &str, part: &str| beginning.to_owned() + &part.repeat(100_000);
        for (server, room) in [
            (long("http://h/", "&"), "tea".to_owned()),
            (long("http://h/", "%25"), "tea".to_owned()),
            (long("h", "x"), "tea".to_owned()),
            ("wss://other".to_owned(), long("https://h/r/", "%")),
            ("wss://other".to_owned(), long("https://h/", "?")),
            ("wss://other".to_owned(), long("/r/", "%")),
            ("wss://other".to_owned(), long("see https://h/r/", "x")),
            ("wss://other".to_owned(), long("tea#k=", "#")),
            ("wss://other".to_owned(), long("tea", ")")),
        ] {
            let options = JoinOptions::new(&server, &room).name("Ada").follow_link();
            let refused = options.and_then(JoinOptions::prepare).expect_err("refused");
            let said = format!("{refused} {refused:?}");
            assert!(said.len() < 1_000, "{} bytes: {}", said.len(), &said[..100]);
        }
    }

    /// A link leads back to where it was made, and gives away no more than the room's key.
    #[test]
    fn an_invitation_has_server_room_and_key_and_no_other_secret() {
        for (server, room, link) in [
            ("wss://voice.example.org", "tea", "https://voice.example.org/r/tea"),
            ("voice.example.org", " tea ", "https://voice.example.org/r/tea"),
            ("https://voice.example.org:444/v", "a/b", "https://voice.example.org:444/v/r/a%2Fb"),
            ("ws://127.0.0.1:8080", "Café #1?", "http://127.0.0.1:8080/r/Caf%C3%A9%20%231%3F"),
            ("192.168.1.5:8080", "tea", "192.168.1.5:8080/r/tea"),
            ("[fd00::1]", "tea", "https://[fd00::1]/r/tea"),
            ("ws://[::1]:8080", "a.b-c_d~", "http://[::1]:8080/r/a.b-c_d~"),
        ] {
            let options = JoinOptions::new(server, room).password("sesame");
            let options = options.token(AccessToken::from("secret"));
            assert_eq!(options.invitation().ok().as_deref(), Some(link), "{server} {room}");
            let options = options.new_room_key().expect("random numbers");
            let with_key = options.encrypted(false).invitation().expect("an address and a room");
            let key = with_key.strip_prefix(link).and_then(|rest| rest.strip_prefix("#k="));
            assert_eq!(key.map(str::len), Some(22), "{with_key}");
            let followed = JoinOptions::from_link(&with_key).expect("a link");
            assert!(followed.is_encrypted() && followed.room() == room.trim(), "{with_key}");
            assert!(followed.clone().encrypted(false).is_encrypted(), "with a key always");
            assert_eq!(followed.invitation().ok(), Some(with_key));
        }
        let damaged = JoinOptions::from_link("https://a.example/r/x#k=short").expect("a link");
        assert!(matches!(damaged.invitation(), Err(JoinError::BadRoomKey(_))));
        let unlinkable = JoinOptions::new("a.example", "..").invitation();
        assert!(matches!(unlinkable, Err(JoinError::RoomUnlinkable)));
    }

    #[test]
    fn rooms_that_no_link_can_name_are_refused() {
        for room in [".", "..", " .. "] {
            let checked = JoinOptions::new("wss://other", room).name("Ada").checked_names();
            assert!(matches!(checked, Err(JoinError::RoomUnlinkable)), "{room}");
        }
    }
}
