// One's place in a room, as a game wants it: channels, the lobby's metadata, places, and handles to speak by.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Voicemesh
{
    public sealed partial class Peer
    {
        /// <summary>Under this key everybody publishes the token for ConnectPeer.</summary>
        public const string ReachabilityKey = "reachability";

        /// <summary>Everybody begins in this talk group.</summary>
        public const string GlobalGroup = "Global";

        /// Most values fit into so many bytes.
        private const int UsualBytes = 256;

        /// <summary>The peer that has been in the room longest, possibly this one; null while that is not known.</summary>
        public PeerId? Owner
        {
            get
            {
                PeerId owner;
                var result = Native.vmesh_get_owner(handle, out owner);
                Check(result);
                return result == Result.Ok ? owner : (PeerId?)null;
            }
        }

        /// <summary>Opens a data channel from this side; ChannelOpened tells that the other side has as well.</summary>
        public void OpenChannel(PeerId to, byte channel, bool isReliable)
        {
            Check(Native.vmesh_open_channel(handle, ref to, channel, isReliable ? 1 : 0));
        }

        public void CloseChannel(PeerId to, byte channel) { Check(Native.vmesh_close_channel(handle, ref to, channel)); }

        /// <summary>Sends a part of an array on a data channel.</summary>
        public void SendOn(PeerId to, byte channel, byte[] data, int offset, int length)
        {
            WithPinned(data, offset, length, start =>
                Native.vmesh_send_on(handle, ref to, channel, start, (UIntPtr)length));
        }

        /// <summary>Closes every data channel with a peer.</summary>
        public void Disconnect(PeerId from) { Check(Native.vmesh_disconnect(handle, ref from)); }

        /// <summary>Reliable bytes that wait to be sent, or are not known to have arrived.</summary>
        public long QueuedBytes(PeerId to)
        {
            UIntPtr count;
            Check(Native.vmesh_queued_bytes(handle, ref to, out count));
            return (long)(ulong)count;
        }

        /// <summary>With JoinOptions.ManualFlush, at the end of a frame.</summary>
        public void Flush() { Check(Native.vmesh_flush(handle)); }

        /// <summary>Changes what this peer publishes, all of it or nothing; null as a value removes the key. TransactionDone
        /// tells how it went, by the number returned.</summary>
        public ulong SetMetadata(IDictionary<string, string> changes)
        {
            using (var texts = new Texts())
            {
                ulong transaction;
                var native = texts.AddChanges(changes);
                Check(Native.vmesh_set_metadata(handle, native, (UIntPtr)changes.Count, out transaction));
                return transaction;
            }
        }

        /// <summary>Changes what the room publishes, as SetMetadata does; only its owner may.</summary>
        public ulong SetRoomMetadata(IDictionary<string, string> changes)
        {
            using (var texts = new Texts())
            {
                ulong transaction;
                var native = texts.AddChanges(changes);
                Check(Native.vmesh_set_room_metadata(handle, native, (UIntPtr)changes.Count, out transaction));
                return transaction;
            }
        }

        /// <summary>One value of what a peer publishes, or oneself (null); null if there is no such key.</summary>
        public string Metadata(PeerId? of, string key)
        {
            var bytes = Encoding.UTF8.GetBytes(key);
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_get_metadata(
                    handle, pointer, bytes, (UIntPtr)bytes.Length, buffer, (UIntPtr)buffer.Length, out needed));
            }
        }

        /// <summary>The keys of what a peer publishes, or oneself (null), in order.</summary>
        public IList<string> MetadataKeys(PeerId? of)
        {
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return All(number => Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_get_metadata_key(
                    handle, pointer, number, buffer, (UIntPtr)buffer.Length, out needed)));
            }
        }

        /// <summary>The talk groups in which a moderator holds this peer; none if it is held in none.</summary>
        public IList<string> HeldIn { get { return HeldInOf(null); } }

        /// <summary>What the members compare to know that no server is between them: 30 digits in groups of five, the
        /// same for all; null where this peer does not encrypt end to end. Who joined by a link with a key need compare
        /// nothing.</summary>
        public string SafetyCode
        {
            get
            {
                return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_get_safety_code(
                    handle, buffer, (UIntPtr)buffer.Length, out needed));
            }
        }

        /// <summary>A link to a room with a new key: who joins by it encrypts end to end, and who does not have it hears
        /// nothing. The room may be a link itself: the new one then leads to that link's server.</summary>
        public static string NewLink(string server, string room)
        {
            CheckVersion();
            var at = Encoding.UTF8.GetBytes(server);
            var of = Encoding.UTF8.GetBytes(room);
            return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_new_link(
                at, (UIntPtr)at.Length, of, (UIntPtr)of.Length, buffer, (UIntPtr)buffer.Length, out needed));
        }

        /// <summary>The talk groups in which a moderator holds a member, or oneself (null).</summary>
        public IList<string> HeldInOf(PeerId? of)
        {
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return All(number => Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_get_held_group(
                    handle, pointer, number, buffer, (UIntPtr)buffer.Length, out needed)));
            }
        }

        /// <summary>One value of what the room publishes; null if there is no such key.</summary>
        public string RoomMetadata(string key)
        {
            var bytes = Encoding.UTF8.GetBytes(key);
            return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_get_room_metadata(
                handle, bytes, (UIntPtr)bytes.Length, buffer, (UIntPtr)buffer.Length, out needed));
        }

        /// <summary>Wants a direct link, by the token in the peer's metadata.</summary>
        public void ConnectPeer(PeerId to, string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Check(Native.vmesh_connect_peer(handle, ref to, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Takes up a newer token of a connected peer.</summary>
        public void UpdatePeer(PeerId to, string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Check(Native.vmesh_update_peer(handle, ref to, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Closes the link to a peer; speech goes on through the server.</summary>
        public void DisconnectPeer(PeerId from) { Check(Native.vmesh_disconnect_peer(handle, ref from)); }

        /// <summary>How loud a peer is, in dBFS (-120 is silence), and whether it speaks: for mouths and lamps.</summary>
        public float Level(PeerId of, out bool isSpeaking)
        {
            float level;
            int speaking;
            Check(Native.vmesh_get_level(handle, ref of, out level, out speaking));
            isSpeaking = speaking != 0;
            return level;
        }

        /// <summary>Where the ears are; once a frame.</summary>
        public void SetListener(Vector position, Vector forward, Vector up)
        {
            var pose = new NativePose { Position = position, Forward = forward, Up = up };
            Check(Native.vmesh_set_listener(handle, ref pose));
        }

        /// <summary>Where a peer's mouth is, and how it moves; once a frame.</summary>
        public void SetPosition(PeerId of, Vector position, Vector velocity)
        {
            Check(Native.vmesh_set_position(handle, ref of, ref position, ref velocity));
        }

        /// <summary>A peer stands nowhere: it is heard as it is.</summary>
        public void ClearPosition(PeerId of) { Check(Native.vmesh_clear_position(handle, ref of)); }

        /// <summary>As loud as spoken up to reference metres, silent beyond max.</summary>
        public void SetAttenuation(Attenuation kind, float reference, float max, float rolloff)
        {
            Check(Native.vmesh_set_attenuation(handle, (int)kind, reference, max, rolloff));
        }

        /// <summary>Speaks to a talk group until the handle is disposed of.</summary>
        public SpeakingTo SpeakToGroup(string name, float volume, Priority priority, bool isPositional)
        {
            ulong speaking;
            var bytes = Encoding.UTF8.GetBytes(name);
            Check(Native.vmesh_speak_to_group(handle, bytes, (UIntPtr)bytes.Length, volume, (int)priority,
                isPositional ? 1 : 0, out speaking));
            return new SpeakingTo(speaking);
        }

        /// <summary>Speaks to one peer until the handle is disposed of.</summary>
        public SpeakingTo SpeakToPeer(PeerId to, float volume, Priority priority, bool isPositional)
        {
            ulong speaking;
            Check(Native.vmesh_speak_to_peer(handle, ref to, volume, (int)priority, isPositional ? 1 : 0, out speaking));
            return new SpeakingTo(speaking);
        }

        /// <summary>Listens to a talk group without speaking to it.</summary>
        public void Listen(string group)
        {
            var bytes = Encoding.UTF8.GetBytes(group);
            Check(Native.vmesh_listen(handle, bytes, (UIntPtr)bytes.Length));
        }

        public void Unlisten(string group)
        {
            var bytes = Encoding.UTF8.GetBytes(group);
            Check(Native.vmesh_unlisten(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Listens and speaks to those around this position; once a frame.</summary>
        public void MoveIn(ProximityGrid grid, Vector position)
        {
            Check(Native.vmesh_move_in_grid(handle, grid.Handle, ref position));
        }

        public void LeaveGrid(ProximityGrid grid) { Check(Native.vmesh_leave_grid(handle, grid.Handle)); }

        /// <summary>One peer's voice, mono, at the engine's rate (AudioSettings.outputSampleRate).</summary>
        public PeerVoice OpenVoice(PeerId of, int rateHz)
        {
            ulong voice;
            Check(Native.vmesh_open_voice(handle, ref of, (uint)rateHz, out voice));
            return new PeerVoice(voice);
        }

        /// <summary>Everyone together, in two sides.</summary>
        public MixVoice OpenMix(int rateHz)
        {
            ulong mix;
            Check(Native.vmesh_open_mix(handle, (uint)rateHz, out mix));
            return new MixVoice(mix);
        }

        /// <summary>A microphone that the game writes itself, mono.</summary>
        public MicrophoneFeed OpenMicrophone(int rateHz)
        {
            ulong microphone;
            Check(Native.vmesh_open_microphone(handle, (uint)rateHz, out microphone));
            return new MicrophoneFeed(microphone);
        }

        /// Texts by their number, up to the first that there is not.
        private static IList<string> All(Func<UIntPtr, string> numbered)
        {
            var found = new List<string>();
            for (var text = numbered(UIntPtr.Zero); text != null; text = numbered((UIntPtr)found.Count))
            {
                found.Add(text);
            }
            return found;
        }

        private delegate Result Telling(byte[] buffer, out UIntPtr needed);

        private static string Told(Telling tell)
        {
            UIntPtr needed;
            var buffer = new byte[UsualBytes];
            var result = tell(buffer, out needed);
            // It may grow between two calls.
            while (result == Result.Buffer)
            {
                buffer = new byte[(int)needed];
                result = tell(buffer, out needed);
            }
            Check(result);
            return result == Result.Ok ? Encoding.UTF8.GetString(buffer, 0, (int)needed - 1) : null;
        }

        /// A peer's id where null stands for oneself.
        private sealed class Who : IDisposable
        {
            public readonly IntPtr Pointer = IntPtr.Zero;

            public Who(PeerId? of)
            {
                if (of.HasValue)
                {
                    Pointer = Marshal.AllocHGlobal(Marshal.SizeOf(typeof(PeerId)));
                    Marshal.StructureToPtr(of.Value, Pointer, false);
                }
            }

            public void Dispose() { Marshal.FreeHGlobal(Pointer); }
        }
    }

    /// <summary>A talk group or a peer that is spoken to, until Dispose.</summary>
    public sealed class SpeakingTo : IDisposable
    {
        private readonly ulong handle;

        internal SpeakingTo(ulong handle) { this.handle = handle; }

        ~SpeakingTo() { Native.vmesh_stop_speaking(handle); }

        /// <summary>From now on otherwise: a factor of 0 to 2, how urgent, and whether from this peer's place.</summary>
        public void Set(float volume, Priority priority, bool isPositional)
        {
            Peer.Check(Native.vmesh_set_speaking(handle, volume, (int)priority, isPositional ? 1 : 0));
        }

        public void Dispose()
        {
            Native.vmesh_stop_speaking(handle);
            GC.SuppressFinalize(this);
        }
    }

    /// <summary>Who is near hears each other; see Peer.MoveIn. Everyone in a room uses the same prefix, range and axes.</summary>
    public sealed class ProximityGrid : IDisposable
    {
        internal readonly ulong Handle;

        public ProximityGrid(string prefix, float range, GridAxes axes)
        {
            var bytes = Encoding.UTF8.GetBytes(prefix);
            Peer.Check(Native.vmesh_create_grid(bytes, (UIntPtr)bytes.Length, range, (int)axes, out Handle));
        }

        ~ProximityGrid() { Native.vmesh_close_grid(Handle); }

        public void Dispose()
        {
            Native.vmesh_close_grid(Handle);
            GC.SuppressFinalize(this);
        }
    }
}
