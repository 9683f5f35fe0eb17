/* voicemesh: voice between the people in a room. Written by cbindgen from crates/capi/src; see the guide in docs/.
 *
 * Rules that hold for every function:
 *
 * - Nothing is called back and nothing is thrown. What happens is polled. The one exception is a game's own network
 *   (vmesh_network), whose functions are called within vmesh_over_update and vmesh_room_close.
 * - Every function may be called from every thread. Calls on one handle wait for each other, never long; vmesh_events_poll on
 *   one handle belongs to one thread at a time, because the event it fills points into the handle.
 * - A handle is a number. One that was closed, or never was one, gives VMESH_ERROR_CLOSED or VMESH_ERROR_BAD_HANDLE.
 * - A pointer is either null, which is an error unless the function says otherwise, or points to as much as the function
 *   says. Nothing that is handed in is kept after the call, but the functions of a vmesh_network.
 * - Texts are UTF-8 with a length in bytes; VMESH_NUL_TERMINATED as a length stands for "up to the first NUL". Texts that are
 *   handed out end in a NUL that their length does not count.
 * - A structure that can grow begins with its size, as the program knows it: sizeof.
 * - Truths are int32_t: 0 is no, anything else is yes.
 * - A negative result is an error, and vmesh_last_error says it in a sentence.
 */

#ifndef VOICEMESH_H
#define VOICEMESH_H

#include <stddef.h>
#include <stdint.h>

/* As a length: the text ends before its first NUL. */
#define VMESH_NUL_TERMINATED ((size_t)-1)
/* The key of metadata under which every peer publishes its own reachability token by itself. */
#define VMESH_REACHABILITY_KEY "reachability"
/* Everybody begins in this talk group. */
#define VMESH_GLOBAL_GROUP "Global"




// Counts changes that break programs which were built before; see vmesh_abi_version.
#define VMESH_ABI_VERSION 0

// What a call came to. Errors are negative.
enum vmesh_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It worked.
  VMESH_OK = 0,
  // It worked, and there is nothing (more) to give.
  VMESH_EMPTY = 1,
  // A pointer is null that must not be.
  VMESH_ERROR_NULL = -1,
  // The handle was never given out, or is of another kind.
  VMESH_ERROR_BAD_HANDLE = -2,
  // The handle was closed.
  VMESH_ERROR_CLOSED = -3,
  // A structure's size is one that no version of this library knows.
  VMESH_ERROR_BAD_SIZE = -4,
  // A text is not UTF-8.
  VMESH_ERROR_BAD_TEXT = -5,
  // A number stands for no choice, or is out of bounds.
  VMESH_ERROR_BAD_VALUE = -6,
  // The address is not one of a server.
  VMESH_ERROR_BAD_SERVER = -7,
  // The name, or the room's name, is too long or blank, or the name has control characters.
  VMESH_ERROR_BAD_NAME = -8,
  // A microphone or speaker cannot be opened.
  VMESH_ERROR_DEVICE = -9,
  // A recording cannot be begun.
  VMESH_ERROR_RECORDING = -10,
  // A certificate cannot be read.
  VMESH_ERROR_CERTIFICATE = -11,
  // The operating system refuses a thread, a socket or randomness.
  VMESH_ERROR_SYSTEM = -12,
  // Too many handles are open.
  VMESH_ERROR_TOO_MANY = -13,
  // There is no such peer in the room.
  VMESH_ERROR_UNKNOWN_PEER = -14,
  // A buffer is too small; the size it needs was told.
  VMESH_ERROR_BUFFER = -15,
  // So much waits to be sent to that peer that no more is taken; try again in a later frame.
  VMESH_ERROR_WOULD_BLOCK = -16,
  // A message of this kind cannot be that large.
  VMESH_ERROR_TOO_LARGE = -17,
  // That peer takes no messages: a browser, or an older version.
  VMESH_ERROR_UNSUPPORTED = -18,
  // The channel is not open on this side.
  VMESH_ERROR_CHANNEL_CLOSED = -19,
  // The other side opened the channel as another kind.
  VMESH_ERROR_CHANNEL_MISMATCH = -20,
  // This peer has left the room.
  VMESH_ERROR_LEFT = -21,
  // The reachability token is none of that peer's.
  VMESH_ERROR_BAD_TOKEN = -22,
  // The password is too long.
  VMESH_ERROR_BAD_PASSWORD = -23,
  // A recording is kept already.
  VMESH_ERROR_ALREADY_RECORDING = -24,
  // The server is out of reach, and the others would not learn of it.
  VMESH_ERROR_SERVER_AWAY = -25,
  // The handle is a voice over the game's own network, which has no room.
  VMESH_ERROR_NO_ROOM = -26,
  // The handle is a place in a room, and not a voice over the game's own network.
  VMESH_ERROR_NO_NETWORK = -27,
  // A fault of this library. The handle should be closed.
  VMESH_ERROR_INTERNAL = -100,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_result vmesh_result;
#else
typedef int32_t vmesh_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What an event tells. A number that the program does not know is to be passed over.
enum vmesh_event_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Nothing: left by a vmesh_events_poll that gave VMESH_EMPTY.
  VMESH_EVENT_NONE = 0,
  // The server has let this peer in: peer (the own id), name (the room), text (the own name as
  // the others see it: an access token may name another than vmesh_options), count (how many
  // others), session. Comes again after every rejoin.
  VMESH_EVENT_JOINED = 1,
  // The session is complete: speech flows from here on.
  VMESH_EVENT_CONNECTED = 2,
  // A peer is in the room: peer, name, metadata.
  VMESH_EVENT_PEER_JOINED = 3,
  // A peer is no longer in the room: peer, name, reason (vmesh_leave_reason; VMESH_LEAVE_KICKED:
  // the server put it out, by a moderator's decision or by its own).
  VMESH_EVENT_PEER_LEFT = 4,
  // What a peer publishes has changed: peer, metadata (all of it).
  VMESH_EVENT_METADATA_CHANGED = 5,
  // Another way to a peer is in use: peer, route (vmesh_route).
  VMESH_EVENT_ROUTE_CHANGED = 6,
  // A peer is heard for the first time: peer.
  VMESH_EVENT_FIRST_HEARD = 7,
  // A peer begins or stops speaking: peer, on.
  VMESH_EVENT_SPEAKING = 8,
  // A peer wrote: peer, name, text, on (only to this peer), else groups (the one that it was
  // written to).
  VMESH_EVENT_TEXT = 9,
  // The server cannot be reached, and is tried again: text (why), code (what failed, if it could
  // not be connected to), wait_us (when).
  VMESH_EVENT_SERVER_AWAY = 10,
  // The server does not let this peer in, or has put it out, and it does not try again: code
  // ("kicked" and "banned" are a moderator's), text, on (the server said when trying again may
  // work), wait_us (when).
  VMESH_EVENT_REFUSED = 11,
  // This identity joined from somewhere else. It does not come back by itself.
  VMESH_EVENT_REPLACED = 12,
  // Something was refused, and the room goes on: code, text.
  VMESH_EVENT_WARNED = 13,
  // The server refused a talk group: name.
  VMESH_EVENT_GROUP_REFUSED = 14,
  // A device is gone, and looked for: device (vmesh_device_role), text (why).
  VMESH_EVENT_DEVICE_LOST = 15,
  // A device works again: device.
  VMESH_EVENT_DEVICE_RECOVERED = 16,
  // A recording could not be begun, or has ended: text (why).
  VMESH_EVENT_RECORDING_FAILED = 17,
  // This peer has left; nothing follows.
  VMESH_EVENT_LEFT = 18,
  // A message: peer (from), data, reliability (vmesh_reliability).
  VMESH_EVENT_MESSAGE = 19,
  // A message on a data channel: peer (from), channel, data, reliability.
  VMESH_EVENT_CHANNEL_MESSAGE = 20,
  // Both sides have opened a data channel alike: peer, channel, reliability.
  VMESH_EVENT_CHANNEL_OPENED = 21,
  // Both sides have opened a data channel, each as another kind: peer, channel, reliability
  // (this side's), theirs.
  VMESH_EVENT_CHANNEL_MISMATCH = 22,
  // The other side has closed a data channel: peer, channel.
  VMESH_EVENT_CHANNEL_CLOSED = 23,
  // The other side has closed every data channel: peer, undelivered_bytes.
  VMESH_EVENT_DISCONNECTED = 24,
  // The room's owner, the peer that has been in it longest: peer, possibly this one. Comes after
  // every VMESH_EVENT_JOINED, and when it changes.
  VMESH_EVENT_OWNER_CHANGED = 25,
  // A change of metadata or a decision of vmesh_lobby_moderate is made, or has failed:
  // transaction, on (it is made), else code, text.
  VMESH_EVENT_TRANSACTION_DONE = 26,
  // The room publishes something else now: metadata (all of it).
  VMESH_EVENT_ROOM_METADATA_CHANGED = 27,
  // The way to this peer has changed: text (the own token, which its metadata has too, as
  // VMESH_REACHABILITY_KEY).
  VMESH_EVENT_REACHABILITY_CHANGED = 28,
  // A peer requests a direct link, and this program has not called vmesh_participant_connect:
  // peer.
  VMESH_EVENT_CONNECTION_REQUESTED = 29,
  // The server is connected to: on (others on the network can read what goes there, because it
  // is not encrypted and the server not on this machine), name (the proxy it goes through, as
  // host:port; empty without one). VMESH_EVENT_JOINED follows if the server lets this peer in.
  VMESH_EVENT_SERVER_CONNECTED = 30,
  // A member, or this peer itself, may do this from now on: peer, text (of "speak", "listen",
  // "data" and "moderate" those that are allowed, with a space between). Without "speak" a
  // moderator has muted it for all, or its token forbids it. Not told at first of members that
  // may do all but "moderate".
  VMESH_EVENT_PERMISSIONS_CHANGED = 31,
  // The server asks for another access token, and the program joined with renews_token: code
  // ("token-required", "token-invalid" or "token-expired"), text. The answer is
  // vmesh_lobby_set_token, at any time later; links go on meanwhile.
  VMESH_EVENT_TOKEN_NEEDED = 32,
  // A moderator has moved this peer: it listens and speaks to these talk groups only: groups. It
  // does so already.
  VMESH_EVENT_MOVED = 33,
  // A moderator has closed the room to newcomers, or opened it again: on (it is closed). Comes
  // at the join too, if it is closed.
  VMESH_EVENT_ROOM_LOCKED = 34,
  // After a join, if no member has the owner's right to moderate: code ("later": the first
  // member gets it soon after the server's start; "none": no member gets it until the room has
  // been empty).
  VMESH_EVENT_OWNER_RIGHT = 35,
  // How a member takes part from now on, as its own program says: peer, status. Not told at
  // first where nothing of it is so.
  VMESH_EVENT_STATUS_CHANGED = 36,
  // The device that was chosen (vmesh_microphone_set_input, vmesh_speaker_set_output) is in use:
  // device.
  VMESH_EVENT_DEVICE_CHANGED = 37,
  // A moderator holds a member, or this peer itself, in these talk groups from now on, and it
  // listens and speaks to no other: peer, groups. Without groups it is held no longer.
  VMESH_EVENT_HELD = 38,
  // The recording that this peer keeps has begun, and everyone in the room can see that (on), or
  // has ended, for whatever reason.
  VMESH_EVENT_RECORDING = 39,
  // A moderator has decided about the room's password, which itself is not told: on (the room
  // has one), code ("set", "changed" or "removed"; "present" at the first join, if the room has
  // one).
  VMESH_EVENT_ROOM_PASSWORD = 40,
  // The device that was chosen (vmesh_microphone_set_input, vmesh_speaker_set_output) cannot be
  // used, and the one in use stays: device, text.
  VMESH_EVENT_DEVICE_REFUSED = 41,
  // How what passes between this peer and a member is encrypted from now on: peer, code
  // ("waiting" for its keys, "verified": encrypted, with the room's key, "encrypted": without
  // one, "unable": its program does not encrypt, "stopped": it did before, "refused": what it
  // announces is not genuine; these three are sent nothing, or what only earlier genuine keys
  // open; "unencrypted": it is sent speech as it is, vmesh_participant_allow_unencrypted;
  // "only-theirs": it encrypts and this peer does not, and is heard here only if it allows that),
  // on (it encrypted here in an earlier run, as far as the identity's folder tells).
  VMESH_EVENT_ENCRYPTION_CHANGED = 42,
  // Something that this library knows and this header does not.
  VMESH_EVENT_OTHER = 1000,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_event_type vmesh_event_type;
#else
typedef int32_t vmesh_event_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a peer is reached.
enum vmesh_route
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Not now.
  VMESH_ROUTE_NONE = 0,
  // Through the server.
  VMESH_ROUTE_RELAYED = 1,
  // Over a direct link.
  VMESH_ROUTE_DIRECT = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_route vmesh_route;
#else
typedef int32_t vmesh_route;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a peer is gone.
enum vmesh_leave_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It left.
  VMESH_LEAVE_LEFT = 0,
  // The server put it out.
  VMESH_LEAVE_KICKED = 1,
  // Nothing reaches it.
  VMESH_LEAVE_LOST = 2,
  // Its program was started again, and is back as a new arrival.
  VMESH_LEAVE_RESTARTED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_leave_reason vmesh_leave_reason;
#else
typedef int32_t vmesh_leave_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which end of the sound.
enum vmesh_device_role
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The microphone.
  VMESH_DEVICE_INPUT = 0,
  // The speaker.
  VMESH_DEVICE_OUTPUT = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_device_role vmesh_device_role;
#else
typedef int32_t vmesh_device_role;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a join requires of the room.
enum vmesh_presence
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It does not matter.
  VMESH_PRESENCE_EITHER = 0,
  // Another peer is in it; else VMESH_EVENT_REFUSED with the code "room-missing".
  VMESH_PRESENCE_MUST_EXIST = 1,
  // No other peer is in it; else VMESH_EVENT_REFUSED with the code "room-exists".
  VMESH_PRESENCE_MUST_NOT_EXIST = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_presence vmesh_presence;
#else
typedef int32_t vmesh_presence;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// When the microphone's sound is sent.
enum vmesh_activation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // By the kind of microphone: during speech for a real one, always for a file or a tone.
  VMESH_ACTIVATION_DEFAULT = 0,
  // Whenever there is any sound.
  VMESH_ACTIVATION_ALWAYS = 1,
  // During speech.
  VMESH_ACTIVATION_VOICE = 2,
  // While vmesh_microphone_set_talking says so.
  VMESH_ACTIVATION_PUSH_TO_TALK = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_activation vmesh_activation;
#else
typedef int32_t vmesh_activation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How much steady noise is removed from the microphone's sound.
enum vmesh_noise
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // None.
  VMESH_NOISE_OFF = 0,
  // About 6 dB.
  VMESH_NOISE_LOW = 1,
  // About 12 dB.
  VMESH_NOISE_MODERATE = 2,
  // About 18 dB.
  VMESH_NOISE_HIGH = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_noise vmesh_noise;
#else
typedef int32_t vmesh_noise;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a message travels.
enum vmesh_reliability
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It may be lost, doubled or overtaken, but comes whole if it comes.
  VMESH_UNRELIABLE = 0,
  // It comes exact, complete and in order.
  VMESH_RELIABLE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_reliability vmesh_reliability;
#else
typedef int32_t vmesh_reliability;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// To whom direct links are made.
enum vmesh_connections
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // To everyone in the room.
  VMESH_CONNECTIONS_AUTOMATIC = 0,
  // To those whom the program connects to with vmesh_participant_connect, if they connect as
  // well.
  VMESH_CONNECTIONS_EXPLICIT = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_connections vmesh_connections;
#else
typedef int32_t vmesh_connections;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which way the game's axes lie, with x to the right and y up.
enum vmesh_handedness
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Forward is -z: OpenGL, OpenAL, Godot, Bevy.
  VMESH_HANDEDNESS_RIGHT = 0,
  // Forward is +z: Unity, Direct3D.
  VMESH_HANDEDNESS_LEFT = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_handedness vmesh_handedness;
#else
typedef int32_t vmesh_handedness;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a voice gets softer with its distance d; see vmesh_speaker_set_attenuation.
enum vmesh_attenuation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Not at all.
  VMESH_ATTENUATION_NONE = 0,
  // reference / (reference + rolloff * (d - reference)).
  VMESH_ATTENUATION_INVERSE = 1,
  // 1 - rolloff * (d - reference) / (max - reference).
  VMESH_ATTENUATION_LINEAR = 2,
  // (d / reference) ^ -rolloff.
  VMESH_ATTENUATION_EXPONENTIAL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_attenuation vmesh_attenuation;
#else
typedef int32_t vmesh_attenuation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How urgent speech is: what is less urgent is lowered by 12 dB meanwhile.
enum vmesh_priority
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Below ordinary speech.
  VMESH_PRIORITY_LOW = -1,
  // Ordinary speech.
  VMESH_PRIORITY_DEFAULT = 0,
  // Above ordinary speech.
  VMESH_PRIORITY_MEDIUM = 1,
  // Above all.
  VMESH_PRIORITY_HIGH = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_priority vmesh_priority;
#else
typedef int32_t vmesh_priority;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Which axes of a position a proximity grid counts.
enum vmesh_axes
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // x and z: people on the ground of a world whose y points up.
  VMESH_AXES_GROUND = 0,
  // x and y: a flat world.
  VMESH_AXES_FLAT = 1,
  // All three, at three times as many groups.
  VMESH_AXES_SPACE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_axes vmesh_axes;
#else
typedef int32_t vmesh_axes;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What vmesh_lobby_moderate decides.
enum vmesh_decision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The others do not hear this member any more.
  VMESH_DECISION_MUTE = 0,
  // They hear it again.
  VMESH_DECISION_UNMUTE = 1,
  // It leaves the room, and may come back.
  VMESH_DECISION_KICK = 2,
  // It leaves, and neither its peer id nor its address is let in for so many seconds, at most
  // 86,400.
  VMESH_DECISION_BAN = 3,
  // Ends a ban.
  VMESH_DECISION_UNBAN = 4,
  // Its program listens and speaks to one talk group only.
  VMESH_DECISION_MOVE = 5,
  // Newcomers are not let in.
  VMESH_DECISION_LOCK = 6,
  // They are again.
  VMESH_DECISION_UNLOCK = 7,
  // The room's password from now on.
  VMESH_DECISION_SET_PASSWORD = 8,
  // The owner's right to moderate is that member's from now on.
  VMESH_DECISION_MAKE_OWNER = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_decision vmesh_decision;
#else
typedef int32_t vmesh_decision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a member takes part, as its own program says; the bits of a status.
enum vmesh_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Its microphone is muted.
  VMESH_STATUS_MUTED = 1,
  // It hears no one: its user chose so, or its speaker is gone.
  VMESH_STATUS_DEAFENED = 2,
  // It has no microphone.
  VMESH_STATUS_LISTENING_ONLY = 4,
  // It keeps a recording of the room.
  VMESH_STATUS_RECORDING = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_status vmesh_status;
#else
typedef int32_t vmesh_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a member may do; the bits of its permissions. Without VMESH_MAY_SPEAK a moderator has muted
// it for all, or its token forbids it.
enum vmesh_permission
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It is heard.
  VMESH_MAY_SPEAK = 1,
  // It hears others.
  VMESH_MAY_LISTEN = 2,
  // It may write and send messages.
  VMESH_MAY_SEND_DATA = 4,
  // It may decide about others.
  VMESH_MAY_MODERATE = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_permission vmesh_permission;
#else
typedef int32_t vmesh_permission;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a voice over a game's own network is.
enum vmesh_mode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Nothing runs.
  VMESH_MODE_NONE = 0,
  // A member of a session.
  VMESH_MODE_CLIENT = 1,
  // A session's server, without microphone and speaker.
  VMESH_MODE_SERVER = 2,
  // A session's server and a member of it in one program.
  VMESH_MODE_HOST = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_mode vmesh_mode;
#else
typedef int32_t vmesh_mode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a game's network reports; see vmesh_network_event.
enum vmesh_network_event_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Nothing.
  VMESH_NETWORK_NONE = 0,
  // The client has its connection to the server.
  VMESH_NETWORK_CONNECTED = 1,
  // The client has lost it: text (why, if the server said so).
  VMESH_NETWORK_DISCONNECTED = 2,
  // A packet on the reliable way was lost: the session ends.
  VMESH_NETWORK_BROKEN = 3,
  // A packet from the server to this client: data.
  VMESH_NETWORK_FROM_SERVER = 4,
  // The server serves.
  VMESH_NETWORK_HOSTING = 5,
  // It does not, or has stopped by itself: text (why).
  VMESH_NETWORK_HOSTING_FAILED = 6,
  // A packet to this server: peer (the connection it came by), data.
  VMESH_NETWORK_FROM_CLIENT = 7,
  // A connection to this server is gone: peer.
  VMESH_NETWORK_CLIENT_GONE = 8,
  // A direct link to another client is open: peer, link.
  VMESH_NETWORK_LINK_UP = 9,
  // It is gone: peer, link.
  VMESH_NETWORK_LINK_DOWN = 10,
  // A packet on a link: peer, link, data.
  VMESH_NETWORK_FROM_LINK = 11,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum vmesh_network_event_type vmesh_network_event_type;
#else
typedef int32_t vmesh_network_event_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A text that is handed in or out.
typedef struct vmesh_string {
  // UTF-8; null stands for the empty text.
  const char *data;
  // In bytes; handed in, it may be VMESH_NUL_TERMINATED.
  size_t length;
} vmesh_string;

// One entry of what a peer publishes about itself.
typedef struct vmesh_pair {
  // Its name.
  struct vmesh_string key;
  // Its value.
  struct vmesh_string value;
} vmesh_pair;

// How to join a room. vmesh_options_init fills in what is left open; a server and a room are
// enough.
typedef struct vmesh_options {
  // sizeof(vmesh_options), set by vmesh_options_init.
  uint32_t size;
  // No direct links, so that no other peer in the room sees this machine's address.
  int32_t relay_only;
  // The server: wss://host, or ws://host:port. A room's link in `room` comes first.
  struct vmesh_string server;
  // The room's name, at most 256 bytes, or its link, `https://host/r/ROOM`, which names the
  // server as well and may carry an access token (`#t=TOKEN`) and the room's key (`#k=KEY`), with
  // which no server can be in between what is encrypted end to end.
  struct vmesh_string room;
  // The name that others see, at most 64 bytes; "somebody" if empty.
  struct vmesh_string name;
  // The microphone: the default one if empty; the name of a device; FILE.wav, FILE.wav:loop,
  // tone:HZ, silence, null.
  struct vmesh_string input;
  // The speaker: the default one if empty; the name of a device; FILE.wav, null.
  struct vmesh_string output;
  // Where the installation's secret is kept, by which it is known again; the user's
  // configuration folder if empty.
  struct vmesh_string state_dir;
  // A folder to keep a recording in, which everyone in the room sees; none if empty.
  struct vmesh_string record;
  // A file with certificates (PEM) to trust beside those the system trusts: the server's own, or
  // its authority's; none if empty.
  struct vmesh_string extra_root_pem;
  // The proxy to the server: `http://user:password@host:port`, https, socks5 or socks5h, or
  // "none"; what the environment names (https_proxy, http_proxy, all_proxy, no_proxy) if empty.
  struct vmesh_string proxy;
  // The room's password, at most 128 bytes, checked by the server: the peer that joins an empty
  // room sets it. None if empty.
  struct vmesh_string password;
  // What to publish about oneself; null if metadata_count is 0.
  const struct vmesh_pair *metadata;
  // How many pairs that are.
  size_t metadata_count;
  // A vmesh_presence.
  int32_t presence;
  // A vmesh_activation.
  int32_t activation;
  // With push-to-talk, for how long sending goes on after the key is let go: at most 5000.
  uint32_t release_ms;
  // What all that is sent may take of the uplink, in bits per second; 0: no limit.
  uint32_t uplink_bps;
  // Joins muted.
  int32_t muted;
  // Says back what it hears.
  int32_t echo;
  // Whether the four that follow count. Otherwise everything that helps is done for a
  // microphone, and nothing for a file.
  int32_t has_processing;
  // Removes what the loudspeaker plays.
  int32_t echo_cancellation;
  // A vmesh_noise.
  int32_t noise_suppression;
  // Makes quiet people louder.
  int32_t automatic_gain;
  // Removes rumble below the voice.
  int32_t high_pass;
  // Messages leave with vmesh_room_flush alone, at the end of a frame, and not by themselves.
  int32_t manual_flush;
  // A vmesh_connections.
  int32_t connections;
  // A game with places: the own speech is heard from where this peer stands, and the speaker
  // plays two sides. See vmesh_participant_set_position.
  int32_t positional;
  // A vmesh_handedness.
  int32_t handedness;
  // There is no microphone but the one that vmesh_microphone_open_feed makes; input does not
  // count.
  int32_t program_input;
  // There is no speaker: the program plays what vmesh_speaker_open_mix or
  // vmesh_participant_open_voice gives; output does not count.
  int32_t program_output;
  // Does not encrypt end to end, so that the server can hear what it relays, unless the room's
  // link has a key. Those who encrypt are asked before this peer hears them.
  int32_t unencrypted;
  // An access token, for servers that ask for one, at most 4096 bytes. None if empty.
  struct vmesh_string token;
  // The program answers VMESH_EVENT_TOKEN_NEEDED with vmesh_lobby_set_token; else a server that
  // asks for another token refuses it.
  int32_t renews_token;
  // The channel of the microphone or file to hear, counted from 1. 0: channels that carry the
  // same are mixed, and of others the loudest is heard.
  uint32_t input_channel;
  // The key with which speech, texts and names are encrypted end to end: room_key_length bytes,
  // random ones, the same for all members. It is copied. A voice over the game's own network is
  // encrypted with a key only; hand it out by a way that the network's server does not see. A
  // member with another key, or none, neither hears nor is heard, and is called "Member":
  // VMESH_EVENT_ENCRYPTION_CHANGED says "refused" or "unable" of it, and "verified" of one that
  // has the key. In a room the key of the room's link comes first. Null for none.
  const uint8_t *room_key;
  // 16, or 0 where room_key is null. Anything else is VMESH_ERROR_BAD_VALUE.
  size_t room_key_length;
} vmesh_options;

// This program's own place in a room. 0 is none.
typedef uint64_t vmesh_room;

// A machine in a room: the same across reconnects. All zeros stands for no peer.
typedef struct vmesh_peer_id {
  // Its bytes, in the order in which it is written.
  uint8_t bytes[16];
} vmesh_peer_id;

// What happened. Which fields count stands at the vmesh_event_type; the others are 0, empty or
// null.
//
// The program owns the structure. What its texts and data point to belongs to the handle, and
// stays as it is until the next vmesh_events_poll on that handle, or vmesh_room_close.
typedef struct vmesh_event {
  // sizeof(vmesh_event), set by the program before the first vmesh_events_poll; it stays.
  uint32_t size;
  // A vmesh_event_type.
  int32_t type;
  // When, in microseconds since vmesh_room_join.
  uint64_t at_us;
  // Whom it is about or from.
  struct vmesh_peer_id peer;
  // The name that is shown of a peer; a room's or a group's name.
  struct vmesh_string name;
  // What was written; why something happened, for people.
  struct vmesh_string text;
  // Why something was refused, for programs: "room-missing", "room-full" and so on.
  struct vmesh_string code;
  // Bytes of a message; null if there are none.
  const uint8_t *data;
  // How many.
  size_t data_length;
  // What a peer publishes, ordered by key; null if there is nothing.
  const struct vmesh_pair *metadata;
  // How many pairs.
  size_t metadata_count;
  // When something is tried again, in microseconds from the event.
  uint64_t wait_us;
  // Reliable bytes of which it is not known that they arrived.
  uint64_t undelivered_bytes;
  // The number that vmesh_lobby_set_metadata or vmesh_lobby_set_room_metadata gave.
  uint64_t transaction;
  // The session's number.
  uint32_t session;
  // How many.
  uint32_t count;
  // Whether: see the event's type.
  int32_t on;
  // A vmesh_route.
  int32_t route;
  // A vmesh_leave_reason.
  int32_t reason;
  // A vmesh_device_role.
  int32_t device;
  // A data channel's number.
  int32_t channel;
  // A vmesh_reliability.
  int32_t reliability;
  // The other side's vmesh_reliability.
  int32_t theirs;
  // Bits of vmesh_status.
  int32_t status;
  // Talk groups; null if there are none.
  const struct vmesh_string *groups;
  // How many.
  size_t group_count;
} vmesh_event;

// One change of metadata.
typedef struct vmesh_change {
  // Of which key.
  struct vmesh_string key;
  // The new value; does not count with remove.
  struct vmesh_string value;
  // The key is removed.
  int32_t remove;
  // Zero.
  int32_t reserved;
} vmesh_change;

// A place, a direction or a velocity: in metres, or metres a second.
typedef struct vmesh_vector {
  // To the right.
  float x;
  // Up.
  float y;
  // Backward or forward; see vmesh_handedness.
  float z;
} vmesh_vector;

// Where a listener stands and looks.
typedef struct vmesh_pose {
  // Where.
  struct vmesh_vector position;
  // Where the nose points; of any length.
  struct vmesh_vector forward;
  // Where the top of the head points; of any length, and not along forward.
  struct vmesh_vector up;
} vmesh_pose;

// A point of a curve.
typedef struct vmesh_point {
  // In metres.
  float distance;
  // A factor of 0.0 to 2.0.
  float gain;
} vmesh_point;

// A proximity grid. 0 is none.
typedef uint64_t vmesh_grid;

// A talk group or a peer that is spoken to. 0 is none.
typedef uint64_t vmesh_transmission;

// One peer's voice, to be read. 0 is none.
typedef uint64_t vmesh_peer_voice;

// Everyone together, to be read. 0 is none.
typedef uint64_t vmesh_mix_voice;

// A microphone that the program writes. 0 is none.
typedef uint64_t vmesh_microphone_feed;

// One's own situation, as of a few milliseconds ago.
typedef struct vmesh_snapshot {
  // sizeof(vmesh_snapshot), set by the program.
  uint32_t size;
  // Whether this peer is in the room's session.
  int32_t connected;
  // The own id; zeros until VMESH_EVENT_JOINED.
  struct vmesh_peer_id you;
  // Frames that the microphone has made.
  uint64_t frames_spoken;
  // How many others there are.
  uint32_t peer_count;
  // Nothing is sent.
  int32_t muted;
  // Nothing is heard.
  int32_t deafened;
  // The key to talk is held.
  int32_t talking;
  // This peer keeps a recording of the room.
  int32_t recording;
  // What the microphone gives is sent now.
  int32_t sending;
  // How loud the microphone was lately, after processing: -120 is silence.
  float level_dbfs;
  // The loudest sample lately, as captured.
  float peak_dbfs;
  // How loud it is without speech.
  float noise_floor_dbfs;
  // How sure the detector is that there is speech: 0.0 to 1.0.
  float speech_probability;
  // Payload of one stream, in bits per second.
  uint32_t bitrate_bps;
  // What all streams together take during speech, in bits per second.
  uint32_t uplink_bps;
  // The most that a listener lost lately: 0.0 to 1.0.
  float worst_loss;
  // Whether the microphone was too loud for the device lately.
  int32_t clipping;
  // There is no microphone: none was chosen, or it is lost.
  int32_t listening_only;
  // Bits of vmesh_permission: what this peer may do.
  int32_t permissions;
  // In how many talk groups a moderator holds this peer; see vmesh_participant_held_group.
  uint32_t held_groups;
  // Zero.
  int32_t reserved;
  // Events that the program did not take in time, and that are lost.
  uint64_t events_dropped;
} vmesh_snapshot;

// Another peer, as of a few milliseconds ago.
typedef struct vmesh_peer_state {
  // sizeof(vmesh_peer_state).
  uint32_t size;
  // A vmesh_route.
  int32_t route;
  // Who.
  struct vmesh_peer_id peer;
  // The name to show: followed by # and the beginning of its id if it looks like the name of
  // another peer in the room.
  char name[72];
  // It speaks.
  int32_t speaking;
  // It is not heard because this peer muted it.
  int32_t muted;
  // It keeps a recording of the room.
  int32_t recording;
  // How loud it was lately: -120 is silence.
  float level_dbfs;
  // How loud it is heard: a factor.
  float gain;
  // Of its frames, those lost on the way lately: 0.0 to 1.0.
  float loss;
  // The link's round trip in microseconds; negative until measured.
  int64_t round_trip_us;
  // From its microphone to this speaker, in microseconds; negative until measured.
  int64_t delay_us;
  // How long its frames lately waited to be heard, in microseconds.
  int64_t buffer_us;
  // Frames received from it, each once.
  uint64_t frames_received;
  // Frames of it that were heard.
  uint64_t frames_heard;
  // Frames of it that were concealed.
  uint64_t frames_concealed;
  // Its place in the order of arrival; a peer that came earlier has a lower one.
  uint64_t order;
  // Bits of vmesh_status: how it takes part, as its own program says.
  int32_t status;
  // Bits of vmesh_permission: what it may do.
  int32_t permissions;
  // In how many talk groups a moderator holds it; see vmesh_participant_held_group.
  uint32_t held_groups;
  // Zero.
  int32_t reserved;
} vmesh_peer_state;

// A microphone or a speaker.
typedef struct vmesh_device {
  // sizeof(vmesh_device).
  uint32_t size;
  // A vmesh_device_role; a device that is both is listed twice.
  int32_t role;
  // It is opened when no name is given.
  int32_t is_default;
  // What vmesh_options and vmesh_microphone_set_input or vmesh_speaker_set_output open it by.
  char name[256];
  // A line for people, perhaps cut off.
  char description[256];
} vmesh_device;

// What a game's network reports: filled in by its receive function. Which fields count stands at
// the vmesh_network_event_type.
typedef struct vmesh_network_event {
  // sizeof(vmesh_network_event) of the library; do not write beyond it.
  uint32_t size;
  // A vmesh_network_event_type.
  int32_t type;
  // A connection or another client, by whatever number the network knows it: an index, a Steam
  // id.
  uint64_t peer;
  // Which of the links there have been to this peer: a later one has a higher number.
  uint32_t link;
  // Zero.
  int32_t reserved;
  // A packet. It must stay as it is until receive is called again, or vmesh_over_update returns.
  const uint8_t *data;
  // Its bytes.
  size_t length;
  // Why, for people: UTF-8 that ends in a NUL, for as long as data. May be null.
  const char *text;
} vmesh_network_event;

// A game's network: what it can do, as functions that begin it and return at once. Each is given
// the context. They are called by vmesh_over_update and vmesh_room_close, on the thread that calls
// those, and at no other time; they must not let exceptions out, and may call every other function
// of this library. Where one of them calls vmesh_room_close, the farewell leaves, and the
// functions are called, until the vmesh_over_update that called it returns. A result below 0 says
// that it failed.
//
// In host mode the network is asked to host, never to connect: what server and client of one
// program send each other stays in it.
typedef struct vmesh_network {
  // sizeof(vmesh_network), set by the program.
  uint32_t size;
  // The largest unreliable packet that the network carries whole, in bytes, from 512 on; 0 is
  // 1200, which is also the most that is used.
  uint32_t unreliable_bytes;
  // The largest reliable packet; 0 is 16384, which is also the most that is used.
  uint32_t reliable_bytes;
  // Zero.
  int32_t reserved;
  // Given to each function.
  void *context;
  // Begins to connect to the server; VMESH_NETWORK_CONNECTED reports success, however long that
  // takes. Nothing is sent before.
  int32_t (*connect)(void *context);
  // Ends the client, links included. Harmless when there is none. Nothing of the client is
  // reported from then on.
  void (*disconnect)(void *context);
  // Begins to serve; VMESH_NETWORK_HOSTING reports success.
  int32_t (*host)(void *context);
  // Ends the server: its clients lose their connection. Harmless when there is none. Nothing of
  // the server is reported from then on.
  void (*stop_hosting)(void *context);
  // The client sends a packet to the server, with a vmesh_reliability: reliable, it must arrive,
  // and in order; a failure then ends the session. Unreliable, now or not at all.
  int32_t (*send_to_server)(void *context, int32_t reliability, const uint8_t *packet, size_t length);
  // The server sends a packet to one connection; otherwise as send_to_server.
  int32_t (*send_to_client)(void *context,
                            uint64_t client,
                            int32_t reliability,
                            const uint8_t *packet,
                            size_t length);
  // Fills in the next thing that happened, each once: VMESH_OK, or VMESH_EMPTY if there is
  // nothing more. Called until then, in each vmesh_over_update. All is zero before but the size.
  int32_t (*receive)(void *context, struct vmesh_network_event *event);
  // What was sent should leave now: for networks that collect packets. May be null.
  void (*flush)(void *context);
  // The server ends one connection, which takes less than it is sent. May be null: the
  // connection stays, and its client joins anew.
  void (*end_client)(void *context, uint64_t client);
  // Sends a packet over a direct link that was reported with VMESH_NETWORK_LINK_UP. Null for a
  // network without links: all goes through the server.
  int32_t (*send_to_link)(void *context,
                          uint64_t peer,
                          uint32_t link,
                          int32_t reliability,
                          const uint8_t *packet,
                          size_t length);
  // A link is not used any more, and may be closed. May be null.
  void (*release_link)(void *context, uint64_t peer, uint32_t link);
} vmesh_network;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The last error of a call on this thread, as a sentence for people that ends in a NUL; the empty
// text if there was none.
//
// It is the library's, and stays as it is until the next call of this thread fails, or the thread
// ends. A call that succeeds does not change it.
const char *vmesh_last_error(void);

// What a result means, as a sentence for people that ends in a NUL. It is the library's, and
// constant.
//
// Takes any number; one that is no vmesh_result is said to be unknown.
const char *vmesh_result_text(int32_t result);

// Sets every option to its default, and every text to the empty one with the length
// VMESH_NUL_TERMINATED.
//
// `size` is sizeof(vmesh_options), and options points to that many bytes. Errors:
// VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE.
vmesh_result vmesh_options_init(struct vmesh_options *options, uint32_t size);

// The number VMESH_ABI_VERSION of the header that this library was built with. A program that was
// built with another should not go on.
uint32_t vmesh_abi_version(void);

// The library's version, "0.1.0" for example; constant.
const char *vmesh_version(void);

// Begins to join a room, and gives the handle. Events report whether that works:
// VMESH_EVENT_JOINED, VMESH_EVENT_SERVER_AWAY, VMESH_EVENT_REFUSED.
//
// The handle is the program's to close, with vmesh_room_close. Returns at once but for opening
// devices. Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_TEXT,
// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_SERVER, VMESH_ERROR_BAD_NAME, VMESH_ERROR_DEVICE,
// VMESH_ERROR_RECORDING, VMESH_ERROR_CERTIFICATE, VMESH_ERROR_SYSTEM, VMESH_ERROR_TOO_MANY; *room
// is then 0.
vmesh_result vmesh_room_join(const struct vmesh_options *options, vmesh_room *room);

// Copies a link to a room with a new key, drawn from the system's randomness, with a NUL behind it,
// into the program's buffer. Who joins by it encrypts end to end; who does not have it hears nothing
// of what is said. `room` may be a link itself: the new one then leads to that link's server.
//
// *needed, unless it is null, becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was
// copied, and the next call draws another key. Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT,
// VMESH_ERROR_BAD_SERVER, VMESH_ERROR_BAD_NAME, VMESH_ERROR_BUFFER, VMESH_ERROR_SYSTEM.
vmesh_result vmesh_options_new_link(const char *server,
                                    size_t server_length,
                                    const char *room,
                                    size_t room_length,
                                    char *buffer,
                                    size_t capacity,
                                    size_t *needed);

// The next thing that happened: VMESH_OK and an event, or VMESH_EMPTY and one of the type
// VMESH_EVENT_NONE. Never blocks. The order is that in which things happened.
//
// event->size must be set. What the event points to stays as it is until the next
// vmesh_events_poll on this handle, or vmesh_room_close; so one thread at a time polls a handle.
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_events_poll(vmesh_room room, struct vmesh_event *event);

// Waits until there is something to poll, at most so long: VMESH_OK if there is, VMESH_EMPTY if
// not. For programs without a frame loop of their own.
//
// Other threads can use the handle meanwhile, and closing it ends the waiting. Errors:
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_events_wait(vmesh_room room, uint32_t at_most_ms);

// Leaves the room, waits until the others have been told (at most a second), and closes the
// handle.
//
// Closing it again, or closing 0, does nothing and gives VMESH_OK. Calls that other threads make
// with the handle give VMESH_ERROR_CLOSED from now on. A program that ends without it is noticed
// by the others after some seconds. Of a voice over a game's network, a vmesh_over_update on
// another thread is waited for. Error: VMESH_ERROR_BAD_HANDLE.
vmesh_result vmesh_room_close(vmesh_room room);

// Muted, nothing is sent. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_microphone_set_muted(vmesh_room room, int32_t muted);

// Deafened, nothing is heard. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_speaker_set_deafened(vmesh_room room, int32_t deafened);

// Whether the key to talk is held; it matters with VMESH_ACTIVATION_PUSH_TO_TALK only. Errors:
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_microphone_set_talking(vmesh_room room, int32_t talking);

// When the microphone's sound is sent, from now on: a vmesh_activation, but not the default;
// release_ms as in vmesh_options.
//
// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_microphone_set_activation(vmesh_room room, int32_t activation, uint32_t release_ms);

// What is done to the microphone's sound, from now on; the four as in vmesh_options.
//
// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_microphone_set_processing(vmesh_room room,
                                             int32_t echo_cancellation,
                                             int32_t noise_suppression,
                                             int32_t automatic_gain,
                                             int32_t high_pass);

// Changes the microphone, named as in vmesh_options; the one in use goes on until the new one is
// open. VMESH_EVENT_DEVICE_REFUSED reports one that cannot be opened.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_DEVICE, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_microphone_set_input(vmesh_room room, const char *input, size_t length);

// Changes the speaker; otherwise as vmesh_microphone_set_input.
vmesh_result vmesh_speaker_set_output(vmesh_room room, const char *output, size_t length);

// Begins a recording of the room in a folder, one Ogg/Opus file per speaker, as `record` of
// vmesh_options does at the join. VMESH_OK means that it is announced: nothing is recorded before
// everyone in the room can see that it is on, which is when `recording` of vmesh_snapshot says so,
// a round trip to the server later. VMESH_EVENT_RECORDING_FAILED reports that it comes to nothing,
// or has ended early.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_RECORDING
// (nothing can be written there), VMESH_ERROR_ALREADY_RECORDING, VMESH_ERROR_SERVER_AWAY,
// VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_start_recording(vmesh_room room, const char *folder, size_t length);

// Ends the recording, if one is kept. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_stop_recording(vmesh_room room);

// Whether this peer records now: *recording becomes 1 once everyone in the room can see it, and 0
// when the recording has ended; as `recording` of vmesh_snapshot.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_is_recording(vmesh_room room, int32_t *recording);

// How loud a peer is heard: a factor from 0.0 to 4.0, 1.0 as spoken. A peer that is not in the
// room is passed over.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_set_gain(vmesh_room room, const struct vmesh_peer_id *of, float gain);

// Whether a peer is not heard. A peer that is not in the room is passed over.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_set_muted(vmesh_room room, const struct vmesh_peer_id *of, int32_t muted);

// The access token from now on; answers VMESH_EVENT_TOKEN_NEEDED. At most 4096 bytes.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_lobby_set_token(vmesh_room room, const char *token, size_t length);

// Writes to one peer: at most 4096 bytes. VMESH_EVENT_WARNED reports what cannot be sent.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_send_text(vmesh_room room,
                                         const struct vmesh_peer_id *to,
                                         const char *text,
                                         size_t length);

// Writes to everyone in the room; otherwise as vmesh_participant_send_text.
vmesh_result vmesh_room_send_text(vmesh_room room, const char *text, size_t length);

// Writes to everyone who listens to a talk group, whose name has at most 256 bytes: at most 4096
// bytes. This peer need not listen to it. vmesh_room_send_text writes to "Global". A text that
// cannot be sent raises VMESH_EVENT_WARNED.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_group_send_text(vmesh_room room,
                                   const char *group,
                                   size_t group_length,
                                   const char *text,
                                   size_t length);

// Begins to listen and speak to a talk group, whose name has at most 256 bytes. Everybody begins
// in "Global".
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_group_join(vmesh_room room, const char *name, size_t length);

// Ceases to listen and speak to a talk group. Errors as vmesh_group_join.
vmesh_result vmesh_group_leave(vmesh_room room, const char *name, size_t length);

// Sends a message to one peer. A reliable one (at most 256 KiB) arrives exact, complete and in
// order as long as both stay in the room; an unreliable one (at most 1,100 bytes) may be lost,
// doubled or overtaken. The bytes are copied.
//
// `reliability` is a vmesh_reliability; data may be null if length is 0. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_TOO_LARGE, VMESH_ERROR_UNKNOWN_PEER,
// VMESH_ERROR_UNSUPPORTED, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_send(vmesh_room room,
                                    const struct vmesh_peer_id *to,
                                    const uint8_t *data,
                                    size_t length,
                                    int32_t reliability);

// Sends a message to everyone in the room, once each; if it is not accepted, it is sent to no
// peer. Otherwise as vmesh_participant_send.
vmesh_result vmesh_room_send_to_all(vmesh_room room, const uint8_t *data, size_t length, int32_t reliability);

// Opens a data channel (0 to 255) to a peer from this side. Data flows once the other side has
// opened the same number alike, which VMESH_EVENT_CHANNEL_OPENED tells; until then it waits.
// VMESH_EVENT_CHANNEL_MISMATCH tells that it did so otherwise.
//
// Errors: as vmesh_participant_send.
vmesh_result vmesh_channel_open(vmesh_room room,
                                const struct vmesh_peer_id *with_peer,
                                uint8_t channel,
                                int32_t reliability);

// Closes a data channel; what was sent before arrives. Harmless when it is not open. Errors: as
// vmesh_participant_send.
vmesh_result vmesh_channel_close(vmesh_room room, const struct vmesh_peer_id *with_peer, uint8_t channel);

// Sends a message on a data channel that this side has open.
//
// Errors: as vmesh_participant_send, and VMESH_ERROR_CHANNEL_CLOSED, VMESH_ERROR_CHANNEL_MISMATCH.
vmesh_result vmesh_channel_send(vmesh_room room,
                                const struct vmesh_peer_id *to,
                                uint8_t channel,
                                const uint8_t *data,
                                size_t length);

// Closes every data channel with a peer, and drops what waits to be sent to it. It stays in the
// room, and is heard.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_close_channels(vmesh_room room, const struct vmesh_peer_id *from);

// How many reliable bytes wait to be sent to a peer, or are not known to have arrived.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_queued_bytes(vmesh_room room, const struct vmesh_peer_id *to, size_t *count);

// With vmesh_options.manual_flush: lets what was sent since the last time leave, at the end of a
// frame. Otherwise it does nothing.
//
// Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_flush(vmesh_room room);

// Gives the room's owner: the peer that has been in it longest, possibly this one. VMESH_EMPTY: it
// is not known yet.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_lobby_owner(vmesh_room room, struct vmesh_peer_id *owner);

// Changes what this peer publishes about itself, all of it together or none: at most 31 keys and 8
// KiB, beside its token. VMESH_EVENT_TRANSACTION_DONE tells how it went, with the number that
// *transaction becomes, which may be null.
//
// Errors, after which nothing follows: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT,
// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_lobby_set_metadata(vmesh_room room,
                                      const struct vmesh_change *changes,
                                      size_t count,
                                      uint64_t *transaction);

// Changes what the room publishes; otherwise as vmesh_lobby_set_metadata. Only the owner may; for
// any other peer, the change fails with the code "not-owner".
vmesh_result vmesh_lobby_set_room_metadata(vmesh_room room,
                                           const struct vmesh_change *changes,
                                           size_t count,
                                           uint64_t *transaction);

// Copies one value of what a peer publishes, oneself if `of` is null, with a NUL behind it, into
// the program's buffer. *needed, unless it is null, becomes the bytes that takes; with
// VMESH_ERROR_BUFFER nothing was copied. VMESH_EMPTY: it publishes no such key.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BUFFER, VMESH_ERROR_UNKNOWN_PEER,
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_metadata(vmesh_room room,
                                        const struct vmesh_peer_id *of,
                                        const char *key,
                                        size_t key_length,
                                        char *buffer,
                                        size_t capacity,
                                        size_t *needed);

// Copies one value of what the room publishes; otherwise as vmesh_participant_metadata.
vmesh_result vmesh_lobby_room_metadata(vmesh_room room,
                                       const char *key,
                                       size_t key_length,
                                       char *buffer,
                                       size_t capacity,
                                       size_t *needed);

// Copies the key with that number, from 0 on and ordered, of what a peer publishes; otherwise as
// vmesh_participant_metadata. VMESH_EMPTY: there are not so many.
vmesh_result vmesh_participant_metadata_key(vmesh_room room,
                                            const struct vmesh_peer_id *of,
                                            size_t number,
                                            char *buffer,
                                            size_t capacity,
                                            size_t *needed);

// Copies a key of what the room publishes; otherwise as vmesh_participant_metadata_key.
vmesh_result vmesh_lobby_room_metadata_key(vmesh_room room,
                                           size_t number,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *needed);

// Requests a direct link to a peer, by the token that it publishes as VMESH_REACHABILITY_KEY. With
// VMESH_CONNECTIONS_EXPLICIT both sides must do this; a side that has not receives
// VMESH_EVENT_CONNECTION_REQUESTED. The request holds until the peer leaves the room or
// vmesh_participant_disconnect. VMESH_EVENT_WARNED reports a token that is not the newest, or of a
// peer that is not in the room.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_TOKEN, VMESH_ERROR_WOULD_BLOCK,
// VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_connect(vmesh_room room,
                                       const struct vmesh_peer_id *to,
                                       const char *token,
                                       size_t length);

// Takes up a newer token of a connected peer. A link that works goes on; without one, it is tried
// at once.
//
// Errors: as vmesh_participant_connect.
vmesh_result vmesh_participant_update(vmesh_room room,
                                      const struct vmesh_peer_id *to,
                                      const char *token,
                                      size_t length);

// Closes the link to a peer; there is none until vmesh_participant_connect. Speech goes on,
// through the server.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_disconnect(vmesh_room room, const struct vmesh_peer_id *from);

// Lets a peer whose program cannot encrypt ("unable" in VMESH_EVENT_ENCRYPTION_CHANGED) hear what
// is said here, and so the server that relays it, or no more: "unencrypted". Off at first, and
// again when the peer has left, has started again or has another name: ask the player each time.
// What is written, and messages, are not sent to it all the same. In a room with a key, and for a peer that has
// encrypted before, this changes nothing.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_allow_unencrypted(vmesh_room room,
                                                 const struct vmesh_peer_id *of,
                                                 int32_t is_allowed);

// Says that this machine's network is another than before. A lost connection to the server is
// noticed without this.
//
// Errors: VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_network_changed(vmesh_room room);

// Decides about another member or the room: `decision` is a vmesh_decision. A member that may not
// moderate is answered with the code "not-moderator". `about` is the member, and may be null where
// none is meant. `text` is the group for VMESH_DECISION_MOVE and the password for
// VMESH_DECISION_SET_PASSWORD (of length 0 for none), else null with length 0. `seconds` counts
// with VMESH_DECISION_BAN. *transaction, unless it is null, is what VMESH_EVENT_TRANSACTION_DONE
// will name. What the connection's end left without an answer has failed, and is not sent again.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_WOULD_BLOCK,
// VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_lobby_moderate(vmesh_room room,
                                  int32_t decision,
                                  const struct vmesh_peer_id *about,
                                  const char *text,
                                  size_t text_length,
                                  uint32_t seconds,
                                  uint64_t *transaction);

// Where this peer's ears are. To be called each frame, as the next two; only the latest counts.
//
// Places need vmesh_options.positional. A peer is heard from its place if the program has told it,
// and if it says itself that what it says has one: by vmesh_options.positional, or as
// vmesh_room_transmit_to_group and vmesh_room_transmit_to_peer ask. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_VALUE (a number is none), VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_speaker_set_listener(vmesh_room room, const struct vmesh_pose *pose);

// Where another peer's mouth is, and how it moves; null for one that stands still. Between two
// calls it is assumed to go on moving for at most a quarter of a second. A peer that is not in the
// room is ignored; one that leaves loses its position.
//
// Errors: as vmesh_speaker_set_listener.
vmesh_result vmesh_participant_set_position(vmesh_room room,
                                            const struct vmesh_peer_id *of,
                                            const struct vmesh_vector *position,
                                            const struct vmesh_vector *velocity);

// Another peer stands nowhere: it is heard as it is. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_clear_position(vmesh_room room, const struct vmesh_peer_id *of);

// How voices get softer with distance: a vmesh_attenuation, the distance up to which they are as
// loud as spoken, the one beyond which they are silent, and how fast. At first
// VMESH_ATTENUATION_INVERSE, 1.0, 50.0, 1.0. Numbers that make no sense are taken to be the
// nearest that do.
//
// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_speaker_set_attenuation(vmesh_room room,
                                           int32_t kind,
                                           float reference,
                                           float max,
                                           float rolloff);

// The same by straight lines between points, of which there are 1 to 16, nearest first. The first
// gain holds before its point and the last behind; let that be 0.0 for silence.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_speaker_set_attenuation_points(vmesh_room room,
                                                  const struct vmesh_point *points,
                                                  size_t count);

// Makes a grid: who is near hears each other, by talk groups called by `prefix` (at most 128
// bytes) and their cell. Along each of the axes that count (a vmesh_axes), two who are within
// `range` metres of each other always hear each other, and two who are further apart than 2.25
// times that never do. Everyone in a room uses the same prefix, range and axes, and leaves
// "Global".
//
// The grid is the program's to close, with vmesh_grid_close. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_TOO_MANY; *grid is then 0.
vmesh_result vmesh_grid_new(const char *prefix, size_t length, float range, int32_t axes, vmesh_grid *grid);

// Listens to those around this position, and speaks to them, positionally. To be called each
// frame: only in another cell is there anything to do. A grid is of one peer.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (a number is none), VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_move_in(vmesh_room room, vmesh_grid grid, const struct vmesh_vector *position);

// Ceases to listen and to speak to a grid's groups. It can be moved in again. Errors:
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_leave_grid(vmesh_room room, vmesh_grid grid);

// Closes a grid, which ends the speaking; vmesh_room_leave_grid before it also ends the listening.
// Closing it again, or closing 0, does nothing. Error: VMESH_ERROR_BAD_HANDLE.
vmesh_result vmesh_grid_close(vmesh_grid grid);

// Speaks to a talk group until vmesh_transmission_close, in addition to all that is spoken to
// already. Where several handles speak to one audience, the highest volume and the highest
// priority count, and it is positional only if all are. VMESH_EVENT_WARNED reports what cannot be
// done (more than 64 audiences at a time).
//
// `volume` is a factor of 0.0 to 2.0; `priority` a vmesh_priority; `positional` says whether those
// who know where this peer stands hear it from there. The handle is the program's to close.
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_TOO_MANY,
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED; *transmission is then 0.
vmesh_result vmesh_room_transmit_to_group(vmesh_room room,
                                          const char *name,
                                          size_t length,
                                          float volume,
                                          int32_t priority,
                                          int32_t positional,
                                          vmesh_transmission *transmission);

// Speaks to one peer; otherwise as vmesh_room_transmit_to_group.
vmesh_result vmesh_room_transmit_to_peer(vmesh_room room,
                                         const struct vmesh_peer_id *to,
                                         float volume,
                                         int32_t priority,
                                         int32_t positional,
                                         vmesh_transmission *transmission);

// From the next frame on, otherwise; the three as in vmesh_room_transmit_to_group.
//
// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_transmission_set(vmesh_transmission transmission,
                                    float volume,
                                    int32_t priority,
                                    int32_t positional);

// Ceases to speak by this handle. Closing it again, or closing 0, does nothing. Error:
// VMESH_ERROR_BAD_HANDLE.
vmesh_result vmesh_transmission_close(vmesh_transmission transmission);

// Begins to listen to a talk group, without speaking to it: at most 64 of them.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_group_listen(vmesh_room room, const char *group, size_t length);

// Stops listening to a talk group; speaking to it is not affected. Errors: as vmesh_group_listen.
vmesh_result vmesh_group_stop_listening(vmesh_room room, const char *group, size_t length);

// Opens one peer's voice, for a game that has its own place for it: mono, at rate_hz of 8000 to
// 192000. While it is open, the peer is in no mix and no speaker. Mute and gain of the peer count;
// its position does not. Opened again, it goes to the new handle, and the old one reads silence;
// so it does after vmesh_room_close.
//
// The handle is the program's to close, with vmesh_peer_voice_close; 256 are open at most. Errors:
// VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (the rate), VMESH_ERROR_TOO_MANY,
// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED; *voice is then 0.
vmesh_result vmesh_participant_open_voice(vmesh_room room,
                                          const struct vmesh_peer_id *of,
                                          uint32_t rate_hz,
                                          vmesh_peer_voice *voice);

// Opens everyone together, in two sides, at rate_hz of 8000 to 192000. One is fed at a time:
// another takes its place.
//
// The handle is the program's to close, with vmesh_mix_voice_close. Errors: as
// vmesh_participant_open_voice.
vmesh_result vmesh_speaker_open_mix(vmesh_room room, uint32_t rate_hz, vmesh_mix_voice *mix);

// Opens a microphone that the program writes itself: mono, at rate_hz of 8000 to 192000. It takes
// the place of the one in use and is processed like one; vmesh_microphone_set_input takes its
// place again. To have no other before it, join with vmesh_options.program_input.
//
// The handle is the program's to close, with vmesh_microphone_feed_close. Errors: as
// vmesh_participant_open_voice.
vmesh_result vmesh_microphone_open_feed(vmesh_room room, uint32_t rate_hz, vmesh_microphone_feed *microphone);

// Fills `samples` with the next `count` of a voice. *given, unless it is null, becomes how many of
// them are sound; silence is behind them, and all is silence after an error.
//
// Made for an audio thread, as the next two: it waits for nothing, takes no memory, and shares no
// lock with any other handle; an error leaves vmesh_last_error as it is. One thread at a time
// reads a voice. VMESH_EMPTY: another thread reads or closes it just now. Errors:
// VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (not aligned, or too many), VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_peer_voice_read(vmesh_peer_voice voice, float *samples, size_t count, size_t *given);

// Fills `samples` with the next frames, which are two samples each: left and right. Otherwise as
// vmesh_peer_voice_read, but that *given counts frames as well.
vmesh_result vmesh_mix_voice_read(vmesh_mix_voice mix, float *samples, size_t frames, size_t *given);

// Hands over `count` samples. *taken, unless it is null, becomes how many there was room for:
// fewer if a second of samples already waits unread. A sample that is not a number becomes
// silence. Otherwise as vmesh_peer_voice_read.
vmesh_result vmesh_microphone_feed_write(vmesh_microphone_feed microphone,
                                         const float *samples,
                                         size_t count,
                                         size_t *taken);

// Closes a voice, from any thread: the peer is in the mix again. Closing it again, or closing 0,
// does nothing. Error: VMESH_ERROR_BAD_HANDLE.
vmesh_result vmesh_peer_voice_close(vmesh_peer_voice voice);

// Closes a mix; otherwise as vmesh_peer_voice_close.
vmesh_result vmesh_mix_voice_close(vmesh_mix_voice mix);

// Closes a microphone; otherwise as vmesh_peer_voice_close. Its sound is silence from then on,
// until vmesh_microphone_set_input or vmesh_microphone_open_feed.
vmesh_result vmesh_microphone_feed_close(vmesh_microphone_feed microphone);

// Tells one's own situation. state->size must be set.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_snapshot(vmesh_room room, struct vmesh_snapshot *state);

// Tells of everyone else, in order of arrival: at most `capacity` of them, one behind the other.
// *count becomes the number of all, which may be more.
//
// `size` is sizeof(vmesh_peer_state); peers may be null if capacity is 0. Errors:
// VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_peers(vmesh_room room,
                              struct vmesh_peer_state *peers,
                              uint32_t size,
                              size_t capacity,
                              size_t *count);

// How loud a peer is, and whether it speaks; for mouths and lamps, each frame, at the least cost.
// `of` null is oneself: *speaking is then whether what the microphone gives is sent. Either of the
// two may be null.
//
// *level_dbfs becomes -120 (silence) to 0, also for a peer that is not in the room; speech begins
// at about -50. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_level(vmesh_room room,
                                     const struct vmesh_peer_id *of,
                                     float *level_dbfs,
                                     int32_t *speaking);

// Copies the talk group with that number, from 0 on, in which a moderator holds a peer, oneself if
// `of` is null, with a NUL behind it, into the program's buffer. *needed, unless it is null,
// becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was copied. VMESH_EMPTY: it is not
// held in so many.
//
// Errors: VMESH_ERROR_BUFFER, VMESH_ERROR_UNKNOWN_PEER, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_participant_held_group(vmesh_room room,
                                          const struct vmesh_peer_id *of,
                                          size_t number,
                                          char *buffer,
                                          size_t capacity,
                                          size_t *needed);

// Copies what the members of the room compare to know that no server is between them, with a NUL
// behind it, into the program's buffer: 30 digits in groups of five, the same for all of them.
// *needed, unless it is null, becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was
// copied. VMESH_EMPTY: this peer does not encrypt end to end. Who joined by a link with a key
// need compare nothing.
//
// Errors: VMESH_ERROR_BUFFER, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_room_safety_code(vmesh_room room, char *buffer, size_t capacity, size_t *needed);

// Writes a peer's id as people see it: 36 characters and a NUL. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BUFFER.
vmesh_result vmesh_peer_id_text(const struct vmesh_peer_id *id, char *buffer, size_t capacity);

// Tells the microphones and speakers of this machine, defaults first: at most `capacity` of them.
// *count becomes the number of all. It asks the sound system, which may take a moment.
//
// `size` is sizeof(vmesh_device); devices may be null if capacity is 0. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_SIZE, VMESH_ERROR_DEVICE (there is no sound system).
vmesh_result vmesh_devices(struct vmesh_device *devices, uint32_t size, size_t capacity, size_t *count);

// Opens a voice over a network that the game has, without a server of ours and without a room. The
// network is asked nothing yet. Of the options count name, input, output, input_channel,
// activation, release_ms, uplink_bps, muted, the processing, positional, handedness, program_input,
// program_output and room_key, without which nothing is encrypted.
//
// All functions that take a vmesh_room take this handle; those about rooms, lobbies, moderation,
// messages, channels and recordings give VMESH_ERROR_NO_ROOM. The handle is the program's to
// close, with vmesh_room_close, on the network's thread. `network` is copied; each of its
// functions must be there but those that may be null, and be of use until vmesh_room_close
// returns, or, if one of them calls it, until vmesh_over_update does. Errors: VMESH_ERROR_NULL,
// VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_NAME,
// VMESH_ERROR_DEVICE, VMESH_ERROR_SYSTEM, VMESH_ERROR_TOO_MANY; *room is then 0.
vmesh_result vmesh_over_new(const struct vmesh_options *options,
                            const struct vmesh_network *network,
                            vmesh_room *room);

// Once a frame, on the thread to which the game's network belongs: does with the network what the
// voice wants, takes in what has come, and takes up the situation that vmesh_room_snapshot,
// vmesh_room_peers and vmesh_participant_level show until the next call.
//
// While it is not called nothing is sent, and what was said is left out, but for the last 400 ms.
// Errors: VMESH_ERROR_NO_NETWORK, VMESH_ERROR_WOULD_BLOCK (it is being called already: by another
// thread, or by the function of the network that calls it), VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_over_update(vmesh_room room);

// Keeps a voice in the mode of the game's own network, a vmesh_mode; call it each frame. What does
// not start, or is lost while the game's network is not, is tried again after 1, 2, 4 and then
// every 8 seconds; VMESH_EVENT_SERVER_AWAY reports that.
//
// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_NO_NETWORK, VMESH_ERROR_BAD_HANDLE,
// VMESH_ERROR_CLOSED.
vmesh_result vmesh_over_follow(vmesh_room room, int32_t mode);

// Starts a voice by hand, or stops it with VMESH_MODE_NONE; ends what ran before. What does not
// start, or ends by itself, is not tried again: VMESH_EVENT_REFUSED reports it. Where texts wait
// for the keys of others (room_key of the options), VMESH_MODE_NONE takes effect when they are
// sent, after 0.4 s at most, in which vmesh_over_update goes on; vmesh_over_mode says when.
// Errors as vmesh_over_follow.
vmesh_result vmesh_over_run(vmesh_room room, int32_t mode);

// What a voice is now: *mode becomes a vmesh_mode, as of the last vmesh_over_update. Whether it is
// in a session says `connected` of vmesh_snapshot.
//
// Errors: VMESH_ERROR_NULL, VMESH_ERROR_NO_NETWORK, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
vmesh_result vmesh_over_mode(vmesh_room room, int32_t *mode);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VOICEMESH_H */
