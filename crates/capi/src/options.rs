//! How to join.

use std::mem::{offset_of, size_of};
use std::time::Duration;

use voicemesh::{
    Activation, Connections, Handedness, InputSpec, JoinError, JoinOptions, NoiseSuppression,
    OutputSpec, Presence, Processing, RoomKey,
};

use crate::guard::{Fault, guarded};
use crate::memory::{self, Plain, Sized32};
use crate::{VMESH_NUL_TERMINATED, vmesh_pair, vmesh_result, vmesh_string};

/// How to join a room. vmesh_options_init fills in what is left open; a server and a room are
/// enough.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_options {
    /// sizeof(vmesh_options), set by vmesh_options_init.
    pub size: u32,
    /// No direct links, so that no other peer in the room sees this machine's address.
    pub relay_only: i32,
    /// The server: wss://host, or ws://host:port. A room's link in `room` comes first.
    pub server: vmesh_string,
    /// The room's name, at most 256 bytes, or its link, `https://host/r/ROOM`, which names the
    /// server as well and may carry an access token (`#t=TOKEN`) and the room's key (`#k=KEY`), with
    /// which no server can be in between what is encrypted end to end.
    pub room: vmesh_string,
    /// The name that others see, at most 64 bytes; "somebody" if empty.
    pub name: vmesh_string,
    /// The microphone: the default one if empty; the name of a device; FILE.wav, FILE.wav:loop,
    /// tone:HZ, silence, null.
    pub input: vmesh_string,
    /// The speaker: the default one if empty; the name of a device; FILE.wav, null.
    pub output: vmesh_string,
    /// Where the installation's secret is kept, by which it is known again; the user's
    /// configuration folder if empty.
    pub state_dir: vmesh_string,
    /// A folder to keep a recording in, which everyone in the room sees; none if empty.
    pub record: vmesh_string,
    /// A file with certificates (PEM) to trust beside those the system trusts: the server's own, or
    /// its authority's; none if empty.
    pub extra_root_pem: vmesh_string,
    /// The proxy to the server: `http://user:password@host:port`, https, socks5 or socks5h, or
    /// "none"; what the environment names (https_proxy, http_proxy, all_proxy, no_proxy) if empty.
    pub proxy: vmesh_string,
    /// The room's password, at most 128 bytes, checked by the server: the peer that joins an empty
    /// room sets it. None if empty.
    pub password: vmesh_string,
    /// What to publish about oneself; null if metadata_count is 0.
    pub metadata: *const vmesh_pair,
    /// How many pairs that are.
    pub metadata_count: usize,
    /// A vmesh_presence.
    pub presence: i32,
    /// A vmesh_activation.
    pub activation: i32,
    /// With push-to-talk, for how long sending goes on after the key is let go: at most 5000.
    pub release_ms: u32,
    /// What all that is sent may take of the uplink, in bits per second; 0: no limit.
    pub uplink_bps: u32,
    /// Joins muted.
    pub muted: i32,
    /// Says back what it hears.
    pub echo: i32,
    /// Whether the four that follow count. Otherwise everything that helps is done for a
    /// microphone, and nothing for a file.
    pub has_processing: i32,
    /// Removes what the loudspeaker plays.
    pub echo_cancellation: i32,
    /// A vmesh_noise.
    pub noise_suppression: i32,
    /// Makes quiet people louder.
    pub automatic_gain: i32,
    /// Removes rumble below the voice.
    pub high_pass: i32,
    /// Messages leave with vmesh_room_flush alone, at the end of a frame, and not by themselves.
    pub manual_flush: i32,
    /// A vmesh_connections.
    pub connections: i32,
    /// A game with places: the own speech is heard from where this peer stands, and the speaker
    /// plays two sides. See vmesh_participant_set_position.
    pub positional: i32,
    /// A vmesh_handedness.
    pub handedness: i32,
    /// There is no microphone but the one that vmesh_microphone_open_feed makes; input does not
    /// count.
    pub program_input: i32,
    /// There is no speaker: the program plays what vmesh_speaker_open_mix or
    /// vmesh_participant_open_voice gives; output does not count.
    pub program_output: i32,
    /// Does not encrypt end to end, so that the server can hear what it relays, unless the room's
    /// link has a key. Those who encrypt are asked before this peer hears them.
    pub unencrypted: i32,
    /// An access token, for servers that ask for one, at most 4096 bytes. None if empty.
    pub token: vmesh_string,
    /// The program answers VMESH_EVENT_TOKEN_NEEDED with vmesh_lobby_set_token; else a server that
    /// asks for another token refuses it.
    pub renews_token: i32,
    /// The channel of the microphone or file to hear, counted from 1. 0: channels that carry the
    /// same are mixed, and of others the loudest is heard.
    pub input_channel: u32,
    /// The key with which speech, texts and names are encrypted end to end: room_key_length bytes,
    /// random ones, the same for all members. It is copied. A voice over the game's own network is
    /// encrypted with a key only; hand it out by a way that the network's server does not see. A
    /// member with another key, or none, neither hears nor is heard, and is called "Member":
    /// VMESH_EVENT_ENCRYPTION_CHANGED says "refused" or "unable" of it, and "verified" of one that
    /// has the key. In a room the key of the room's link comes first. Null for none.
    pub room_key: *const u8,
    /// 16, or 0 where room_key is null. Anything else is VMESH_ERROR_BAD_VALUE.
    pub room_key_length: usize,
}

// SAFETY: numbers and raw pointers.
unsafe impl Plain for vmesh_options {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_options {
    const FIRST: usize = offset_of!(vmesh_options, unencrypted) + size_of::<i32>();
}

/// A text that a C program sets by its pointer alone.
const OPEN: vmesh_string = vmesh_string { data: std::ptr::null(), length: VMESH_NUL_TERMINATED };

pub(crate) const DEFAULTS: vmesh_options = vmesh_options {
    size: size_of::<vmesh_options>() as u32,
    relay_only: 0,
    server: OPEN,
    room: OPEN,
    name: OPEN,
    input: OPEN,
    output: OPEN,
    state_dir: OPEN,
    record: OPEN,
    extra_root_pem: OPEN,
    proxy: OPEN,
    password: OPEN,
    metadata: std::ptr::null(),
    metadata_count: 0,
    presence: 0,
    activation: 0,
    release_ms: 200,
    uplink_bps: 0,
    muted: 0,
    echo: 0,
    has_processing: 0,
    echo_cancellation: 1,
    noise_suppression: 3,
    automatic_gain: 1,
    high_pass: 1,
    manual_flush: 0,
    connections: 0,
    positional: 0,
    handedness: 0,
    program_input: 0,
    program_output: 0,
    unencrypted: 0,
    token: OPEN,
    renews_token: 0,
    input_channel: 0,
    room_key: std::ptr::null(),
    room_key_length: 0,
};

/// Sets every option to its default, and every text to the empty one with the length
/// VMESH_NUL_TERMINATED.
///
/// `size` is sizeof(vmesh_options), and options points to that many bytes. Errors:
/// VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_options_init(
    options: *mut vmesh_options,
    size: u32,
) -> vmesh_result {
    guarded(|| {
        if options.is_null() {
            return Err(Fault::null("options"));
        }
        memory::check_size::<vmesh_options>(size as usize, "options")?;
        // SAFETY: not null, so there is room for `size` bytes; what lies behind ours is made zero.
        unsafe {
            options.cast::<u8>().write_bytes(0, size as usize);
            memory::write_part(options.cast(), DEFAULTS, size as usize);
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

/// What the options say of the sound, for either builder: both have these methods.
macro_rules! sound_of {
    ($options:expr, $given:expr, $text:expr) => {{
        let mut options = $options
            .muted($given.muted != 0)
            .positional($given.positional != 0)
            .handedness(handedness($given.handedness)?);
        let (input, output) = ($text($given.input, "input")?, $text($given.output, "output")?);
        if $given.program_input != 0 {
            options = options.input(InputSpec::Program);
        } else if !input.is_empty() {
            options = options.input(input_spec(input)?);
        }
        if $given.input_channel != 0 {
            let channel = u16::try_from($given.input_channel)
                .map_err(|_| Fault::value("input_channel", $given.input_channel))?;
            options = options.input_channel(channel);
        }
        if $given.program_output != 0 {
            options = options.output(OutputSpec::Program);
        } else if !output.is_empty() {
            options = options.output(output_spec(output)?);
        }
        if $given.uplink_bps != 0 {
            options = options.uplink_bps($given.uplink_bps);
        }
        if let Some(activation) = activation($given.activation, $given.release_ms)? {
            options = options.activation(activation);
        }
        if $given.has_processing != 0 {
            options = options.processing(processing(
                $given.echo_cancellation,
                $given.noise_suppression,
                $given.automatic_gain,
                $given.high_pass,
            )?);
        }
        options
    }};
}

/// The caller's options for a voice over the game's own network.
///
/// # Safety
///
/// As [`read`].
pub(crate) unsafe fn read_over(
    options: *const vmesh_options,
) -> Result<voicemesh::over::Options, Fault> {
    // SAFETY: our caller's promise.
    let given = unsafe { memory::read_sized(options, DEFAULTS, "options")? };
    // SAFETY: our caller's promise, for each of them.
    let text = |string, what| unsafe { memory::string(string, what) };
    let name = match text(given.name, "name")? {
        "" => "somebody",
        name => name,
    };
    let options = sound_of!(voicemesh::over::Options::new(name), given, text);
    // SAFETY: our caller's promise.
    Ok(match unsafe { room_key(&given)? } {
        Some(key) => options.room_key(key),
        None => options,
    })
}

/// The caller's options in our terms.
///
/// # Safety
///
/// `options` is null or points to options whose texts and pairs are as their fields say.
pub(crate) unsafe fn read(options: *const vmesh_options) -> Result<JoinOptions, Fault> {
    // SAFETY: our caller's promise.
    let given = unsafe { memory::read_sized(options, DEFAULTS, "options")? };
    // SAFETY: our caller's promise, for each of them.
    let text = |string, what| unsafe { memory::string(string, what) };
    let options = JoinOptions::new(text(given.server, "server")?, text(given.room, "room")?)
        .relay_only(given.relay_only != 0)
        .echo(given.echo != 0)
        .encrypted(given.unencrypted == 0)
        .manual_flush(given.manual_flush != 0)
        .presence(presence(given.presence)?)
        .connections(connections(given.connections)?)
        .password(text(given.password, "password")?)
        .token(text(given.token, "token")?)
        .renews_token(given.renews_token != 0)
        // SAFETY: our caller's promise.
        .metadata(unsafe { memory::metadata(given.metadata, given.metadata_count)? });
    let mut options = sound_of!(options, given, text);
    // SAFETY: our caller's promise.
    if let Some(key) = unsafe { room_key(&given)? } {
        options = options.room_key(key);
    }
    if let name @ [_, ..] = text(given.name, "name")?.as_bytes() {
        options = options.name(String::from_utf8_lossy(name));
    }
    for (folder, what) in [
        (given.state_dir, "state_dir"),
        (given.record, "record"),
        (given.extra_root_pem, "extra_root_pem"),
    ] {
        let path = text(folder, what)?;
        options = match what {
            _ if path.is_empty() => options,
            "state_dir" => options.state_dir(path),
            "record" => options.record(path),
            _ => options.extra_root_pem(path),
        };
    }
    if let proxy @ [_, ..] = text(given.proxy, "proxy")?.as_bytes() {
        options = options.proxy(String::from_utf8_lossy(proxy));
    }
    Ok(options)
}

/// The key that the program hands over, if it does.
///
/// # Safety
///
/// `room_key` of the options is null or points to as many bytes as they say.
unsafe fn room_key(given: &vmesh_options) -> Result<Option<RoomKey>, Fault> {
    if given.room_key_length == 0 && given.room_key.is_null() {
        return Ok(None);
    }
    // SAFETY: our caller's promise.
    let bytes = unsafe { memory::bytes(given.room_key, given.room_key_length, "room_key")? };
    let key = bytes.try_into().map_err(|_| {
        let why = format!("a room key has 16 bytes, and not {}", bytes.len());
        Fault::new(vmesh_result::VMESH_ERROR_BAD_VALUE, why)
    })?;
    Ok(Some(RoomKey::new(key)))
}

pub(crate) fn input_spec(text: &str) -> Result<InputSpec, Fault> {
    text.parse().map_err(|error| Fault::new(vmesh_result::VMESH_ERROR_DEVICE, format!("{error}")))
}

pub(crate) fn output_spec(text: &str) -> Result<OutputSpec, Fault> {
    text.parse().map_err(|error| Fault::new(vmesh_result::VMESH_ERROR_DEVICE, format!("{error}")))
}

fn presence(value: i32) -> Result<Presence, Fault> {
    match value {
        0 => Ok(Presence::Either),
        1 => Ok(Presence::MustExist),
        2 => Ok(Presence::MustNotExist),
        _ => Err(Fault::value("presence", value)),
    }
}

fn connections(value: i32) -> Result<Connections, Fault> {
    match value {
        0 => Ok(Connections::Automatic),
        1 => Ok(Connections::Explicit),
        _ => Err(Fault::value("connections", value)),
    }
}

fn handedness(value: i32) -> Result<Handedness, Fault> {
    match value {
        0 => Ok(Handedness::Right),
        1 => Ok(Handedness::Left),
        _ => Err(Fault::value("handedness", value)),
    }
}

/// `None` for the default.
pub(crate) fn activation(value: i32, release_ms: u32) -> Result<Option<Activation>, Fault> {
    if release_ms > 5_000 {
        return Err(Fault::value("release_ms", release_ms));
    }
    match value {
        0 => Ok(None),
        1 => Ok(Some(Activation::Always)),
        2 => Ok(Some(Activation::Voice)),
        3 => Ok(Some(Activation::PushToTalk { release: Duration::from_millis(release_ms.into()) })),
        _ => Err(Fault::value("activation", value)),
    }
}

pub(crate) fn processing(
    echo: i32,
    noise: i32,
    gain: i32,
    high_pass: i32,
) -> Result<Processing, Fault> {
    let noise_suppression = match noise {
        0 => NoiseSuppression::Off,
        1 => NoiseSuppression::Low,
        2 => NoiseSuppression::Moderate,
        3 => NoiseSuppression::High,
        _ => return Err(Fault::value("noise_suppression", noise)),
    };
    Ok(Processing {
        echo_cancellation: echo != 0,
        noise_suppression,
        automatic_gain: gain != 0,
        high_pass: high_pass != 0,
    })
}

/// What keeps a join from beginning.
pub(crate) fn refused(error: &JoinError) -> Fault {
    let result = match error {
        JoinError::BadServer { .. } | JoinError::BadProxy { .. } => {
            vmesh_result::VMESH_ERROR_BAD_SERVER
        }
        JoinError::RoomTooLong
        | JoinError::RoomBlank
        | JoinError::RoomUnlinkable
        | JoinError::BadName(_) => vmesh_result::VMESH_ERROR_BAD_NAME,
        JoinError::NoRoomInLink(_) | JoinError::BadRoomInLink { .. } | JoinError::BadRoomKey(_) => {
            vmesh_result::VMESH_ERROR_BAD_NAME
        }
        JoinError::PasswordTooLong | JoinError::TokenTooLong => {
            vmesh_result::VMESH_ERROR_BAD_PASSWORD
        }
        JoinError::Input(_) | JoinError::Output(_) => vmesh_result::VMESH_ERROR_DEVICE,
        JoinError::Recording(_) => vmesh_result::VMESH_ERROR_RECORDING,
        JoinError::Certificate(_) => vmesh_result::VMESH_ERROR_CERTIFICATE,
        _ => vmesh_result::VMESH_ERROR_SYSTEM,
    };
    Fault::new(result, error.to_string())
}
