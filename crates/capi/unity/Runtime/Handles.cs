// What a room's calls are grouped by, as in Rust: microphone, speaker, lobby, participants, groups, channels. They take no memory and
// may be made anew for each call. And handles that are held: to speak by, and a grid.

using System;
using System.Collections.Generic;
using System.Text;

namespace Voicemesh
{
    /// <summary>One's own microphone.</summary>
    public struct Microphone
    {
        private readonly Room room;

        internal Microphone(Room room) { this.room = room; }

        /// <summary>Muted, nothing is sent.</summary>
        public void SetMuted(bool muted) { Room.Check(Native.vmesh_microphone_set_muted(room.Handle, muted ? 1 : 0)); }

        /// <summary>Whether the key to talk is held.</summary>
        public void SetTalking(bool talking) { Room.Check(Native.vmesh_microphone_set_talking(room.Handle, talking ? 1 : 0)); }

        /// <summary>A microphone that the game writes itself, mono.</summary>
        public MicrophoneFeed OpenFeed(int rateHz)
        {
            ulong feed;
            Room.Check(Native.vmesh_microphone_open_feed(room.Handle, (uint)rateHz, out feed));
            return new MicrophoneFeed(feed);
        }
    }

    /// <summary>What is heard.</summary>
    public struct Speaker
    {
        private readonly Room room;

        internal Speaker(Room room) { this.room = room; }

        /// <summary>Deafened, nothing is heard.</summary>
        public void SetDeafened(bool deafened) { Room.Check(Native.vmesh_speaker_set_deafened(room.Handle, deafened ? 1 : 0)); }

        /// <summary>Where the ears are; once a frame.</summary>
        public void SetListener(Vector position, Vector forward, Vector up)
        {
            var pose = new NativePose { Position = position, Forward = forward, Up = up };
            Room.Check(Native.vmesh_speaker_set_listener(room.Handle, ref pose));
        }

        /// <summary>As loud as spoken up to reference metres, silent beyond max.</summary>
        public void SetAttenuation(Attenuation kind, float reference, float max, float rolloff)
        {
            Room.Check(Native.vmesh_speaker_set_attenuation(room.Handle, (int)kind, reference, max, rolloff));
        }

        /// <summary>Everyone together, in two sides.</summary>
        public MixVoice OpenMix(int rateHz)
        {
            ulong mix;
            Room.Check(Native.vmesh_speaker_open_mix(room.Handle, (uint)rateHz, out mix));
            return new MixVoice(mix);
        }
    }

    /// <summary>What the room and its members publish, who owns it, and what moderators decide.</summary>
    public struct Lobby
    {
        private readonly Room room;

        internal Lobby(Room room) { this.room = room; }

        /// <summary>The peer that has been in the room longest, possibly this one; null while that is not known.</summary>
        public PeerId? Owner
        {
            get
            {
                PeerId owner;
                var result = Native.vmesh_lobby_owner(room.Handle, out owner);
                Room.Check(result);
                return result == Result.Ok ? owner : (PeerId?)null;
            }
        }

        /// <summary>Changes what this peer publishes, all of it or nothing; null as a value removes the key. TransactionDone
        /// tells how it went, by the number returned.</summary>
        public ulong SetMetadata(IDictionary<string, string> changes)
        {
            using (var texts = new Room.Texts())
            {
                ulong transaction;
                var native = texts.AddChanges(changes);
                Room.Check(Native.vmesh_lobby_set_metadata(room.Handle, native, (UIntPtr)changes.Count, out transaction));
                return transaction;
            }
        }

        /// <summary>Changes what the room publishes, as SetMetadata does; only its owner may.</summary>
        public ulong SetRoomMetadata(IDictionary<string, string> changes)
        {
            using (var texts = new Room.Texts())
            {
                ulong transaction;
                var native = texts.AddChanges(changes);
                Room.Check(Native.vmesh_lobby_set_room_metadata(room.Handle, native, (UIntPtr)changes.Count, out transaction));
                return transaction;
            }
        }

        /// <summary>One value of what the room publishes; null if there is no such key.</summary>
        public string RoomMetadata(string key)
        {
            var handle = room.Handle;
            var bytes = Encoding.UTF8.GetBytes(key);
            return Room.Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_lobby_room_metadata(
                handle, bytes, (UIntPtr)bytes.Length, buffer, (UIntPtr)buffer.Length, out needed));
        }

        /// <summary>The access token from now on; answers EventType.TokenNeeded.</summary>
        public void SetToken(string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Room.Check(Native.vmesh_lobby_set_token(room.Handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Decides about another member or the room. The text is the group of Move and the password of SetPassword, the
        /// seconds are those of Ban. Gives what TransactionDone will name.</summary>
        public ulong Moderate(Decision decision, PeerId about, string text, int seconds)
        {
            var bytes = Encoding.UTF8.GetBytes(text ?? "");
            ulong transaction;
            Room.Check(Native.vmesh_lobby_moderate(
                room.Handle, (int)decision, ref about, bytes, (UIntPtr)bytes.Length, (uint)seconds, out transaction));
            return transaction;
        }
    }

    /// <summary>Another peer in the room.</summary>
    public struct Participant
    {
        private readonly Room room;
        private PeerId peer;

        internal Participant(Room room, PeerId peer)
        {
            this.room = room;
            this.peer = peer;
        }

        /// <summary>Who.</summary>
        public PeerId Peer { get { return peer; } }

        /// <summary>How loud it is heard: 0 to 4, 1 as spoken.</summary>
        public void SetGain(float gain) { Room.Check(Native.vmesh_participant_set_gain(room.Handle, ref peer, gain)); }

        /// <summary>Muted, it is not heard here.</summary>
        public void SetMuted(bool muted) { Room.Check(Native.vmesh_participant_set_muted(room.Handle, ref peer, muted ? 1 : 0)); }

        /// <summary>How loud it is, in dBFS (-120 is silence), and whether it speaks: for mouths and lamps.</summary>
        public float Level(out bool isSpeaking)
        {
            float level;
            int speaking;
            Room.Check(Native.vmesh_participant_level(room.Handle, ref peer, out level, out speaking));
            isSpeaking = speaking != 0;
            return level;
        }

        /// <summary>Where its mouth is, and how it moves; once a frame.</summary>
        public void SetPosition(Vector position, Vector velocity)
        {
            Room.Check(Native.vmesh_participant_set_position(room.Handle, ref peer, ref position, ref velocity));
        }

        /// <summary>It stands nowhere: it is heard as it is.</summary>
        public void ClearPosition() { Room.Check(Native.vmesh_participant_clear_position(room.Handle, ref peer)); }

        /// <summary>Its voice, mono, at the engine's rate (AudioSettings.outputSampleRate).</summary>
        public PeerVoice OpenVoice(int rateHz)
        {
            ulong voice;
            Room.Check(Native.vmesh_participant_open_voice(room.Handle, ref peer, (uint)rateHz, out voice));
            return new PeerVoice(voice);
        }

        public void SendText(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Room.Check(Native.vmesh_participant_send_text(room.Handle, ref peer, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Sends a part of an array.</summary>
        public void Send(byte[] data, int offset, int length, bool isReliable)
        {
            var handle = room.Handle;
            var to = peer;
            Room.WithPinned(data, offset, length, start =>
                Native.vmesh_participant_send(handle, ref to, start, (UIntPtr)length, isReliable ? 1 : 0));
        }

        /// <summary>Reliable bytes that wait to be sent to it, or are not known to have arrived.</summary>
        public long QueuedBytes
        {
            get
            {
                UIntPtr count;
                var to = peer;
                Room.Check(Native.vmesh_participant_queued_bytes(room.Handle, ref to, out count));
                return (long)(ulong)count;
            }
        }

        /// <summary>Closes every data channel with it.</summary>
        public void CloseChannels() { Room.Check(Native.vmesh_participant_close_channels(room.Handle, ref peer)); }

        /// <summary>Wants a direct link, by the token in its metadata.</summary>
        public void Connect(string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Room.Check(Native.vmesh_participant_connect(room.Handle, ref peer, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Takes up a newer token of a connected peer.</summary>
        public void Update(string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Room.Check(Native.vmesh_participant_update(room.Handle, ref peer, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Closes the link to it; speech goes on through the server.</summary>
        public void Disconnect() { Room.Check(Native.vmesh_participant_disconnect(room.Handle, ref peer)); }

        /// <summary>Whether one whose program cannot encrypt ("unable") may hear this player, and so the server: its speech as it is, and nothing else, until it leaves. Ask the player each time.</summary>
        public void AllowUnencrypted(bool isAllowed)
        {
            Room.Check(Native.vmesh_participant_allow_unencrypted(room.Handle, ref peer, isAllowed ? 1 : 0));
        }

        /// <summary>One value of what it publishes; null if there is no such key.</summary>
        public string Metadata(string key) { return room.MetadataOf(peer, key); }

        /// <summary>The keys of what it publishes, in order.</summary>
        public IList<string> MetadataKeys { get { return room.MetadataKeysOf(peer); } }

        /// <summary>The talk groups in which a moderator holds it.</summary>
        public IList<string> HeldIn { get { return room.HeldInOf(peer); } }
    }

    /// <summary>A talk group.</summary>
    public struct Group
    {
        private readonly Room room;
        private readonly string name;

        internal Group(Room room, string name)
        {
            this.room = room;
            this.name = name;
        }

        /// <summary>Listens and speaks to it.</summary>
        public void Join()
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Room.Check(Native.vmesh_group_join(room.Handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Ceases to listen and speak to it.</summary>
        public void Leave()
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Room.Check(Native.vmesh_group_leave(room.Handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Listens to it without speaking to it.</summary>
        public void Listen()
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Room.Check(Native.vmesh_group_listen(room.Handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Stops listening to it; speaking to it is not affected.</summary>
        public void StopListening()
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Room.Check(Native.vmesh_group_stop_listening(room.Handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Writes to everyone who listens to it.</summary>
        public void SendText(string text)
        {
            var group = Encoding.UTF8.GetBytes(name);
            var bytes = Encoding.UTF8.GetBytes(text);
            Room.Check(Native.vmesh_group_send_text(
                room.Handle, group, (UIntPtr)group.Length, bytes, (UIntPtr)bytes.Length));
        }
    }

    /// <summary>A data channel to a peer.</summary>
    public struct Channel
    {
        private readonly Room room;
        private PeerId peer;
        private readonly byte number;

        internal Channel(Room room, PeerId peer, byte number)
        {
            this.room = room;
            this.peer = peer;
            this.number = number;
        }

        /// <summary>Opens it from this side; ChannelOpened tells that the other side has as well.</summary>
        public void Open(bool isReliable)
        {
            Room.Check(Native.vmesh_channel_open(room.Handle, ref peer, number, isReliable ? 1 : 0));
        }

        public void Close() { Room.Check(Native.vmesh_channel_close(room.Handle, ref peer, number)); }

        /// <summary>Sends a part of an array on it.</summary>
        public void Send(byte[] data, int offset, int length)
        {
            var handle = room.Handle;
            var to = peer;
            var channel = number;
            Room.WithPinned(data, offset, length, start =>
                Native.vmesh_channel_send(handle, ref to, channel, start, (UIntPtr)length));
        }
    }

    /// <summary>A talk group or a peer that is spoken to, until Dispose.</summary>
    public sealed class Transmission : IDisposable
    {
        private readonly ulong handle;

        internal Transmission(ulong handle) { this.handle = handle; }

        ~Transmission() { Native.vmesh_transmission_close(handle); }

        /// <summary>From now on otherwise: a factor of 0 to 2, how urgent, and whether from this peer's place.</summary>
        public void Set(float volume, Priority priority, bool isPositional)
        {
            Room.Check(Native.vmesh_transmission_set(handle, volume, (int)priority, isPositional ? 1 : 0));
        }

        public void Dispose()
        {
            Native.vmesh_transmission_close(handle);
            GC.SuppressFinalize(this);
        }
    }

    /// <summary>Who is near hears each other; see Room.MoveIn. Everyone in a room uses the same prefix, range and axes.</summary>
    public sealed class ProximityGrid : IDisposable
    {
        internal readonly ulong Handle;

        public ProximityGrid(string prefix, float range, GridAxes axes)
        {
            var bytes = Encoding.UTF8.GetBytes(prefix);
            Room.Check(Native.vmesh_grid_new(bytes, (UIntPtr)bytes.Length, range, (int)axes, out Handle));
        }

        ~ProximityGrid() { Native.vmesh_grid_close(Handle); }

        public void Dispose()
        {
            Native.vmesh_grid_close(Handle);
            GC.SuppressFinalize(this);
        }
    }
}
