// One's own place in a room: the C library's handle with what C# expects around it.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Voicemesh
{
    /// <summary>A call failed; the message says why.</summary>
    public sealed class VoicemeshException : Exception
    {
        public VoicemeshException(Result result, string message) : base(message) { Result = result; }

        public Result Result { get; private set; }
    }

    /// <summary>How to join. A server and a room are enough; null or an empty text is the default.</summary>
    public sealed class JoinOptions
    {
        public string Server = "";
        public string Room = "";
        public string Name = "";
        /// <summary>A device's name, FILE.wav, tone:HZ, silence, null.</summary>
        public string Input = "";
        /// <summary>A device's name, FILE.wav, null.</summary>
        public string Output = "";
        /// <summary>Where the installation's secret is kept; in Unity, Application.persistentDataPath.</summary>
        public string StateDir = "";
        public string ExtraRootPem = "";
        /// <summary>The proxy to the server, or "none"; what the environment names if empty.</summary>
        public string Proxy = "";
        /// <summary>The room's password; the peer that joins an empty room sets it.</summary>
        public string Password = "";
        /// <summary>An access token, for servers that ask for one.</summary>
        public string Token = "";
        /// <summary>The game answers EventType.TokenNeeded with Lobby.SetToken.</summary>
        public bool RenewsToken;
        /// <summary>The microphone's channel to hear, counted from 1; 0 chooses by itself.</summary>
        public int InputChannel;
        public Presence Presence = Presence.Either;
        public Connections Connections = Connections.Automatic;
        /// <summary>A game with places; see Participant.SetPosition.</summary>
        public bool Positional;
        public Handedness Handedness = Handedness.Left;
        /// <summary>There is no microphone but the one of Microphone.OpenFeed.</summary>
        public bool ProgramInput;
        /// <summary>There is no speaker: the game plays what Participant.OpenVoice or Speaker.OpenMix gives.</summary>
        public bool ProgramOutput;
        /// <summary>Messages leave with Room.Flush alone.</summary>
        public bool ManualFlush;
        public bool RelayOnly;
        /// <summary>Does not encrypt end to end, so that the server can hear what it relays, unless the room's link has a key.</summary>
        public bool Unencrypted;
        /// <summary>16 random bytes, the same for all members, with which speech, texts and names are encrypted end to end; null for
        /// none. A voice over the game's own network is encrypted with a key only: hand it out by a way that the network's server
        /// does not see. Who has another key, or none, neither hears nor is heard, and is called "Member"; EventType.EncryptionChanged
        /// says "refused" or "unable" of it, and "verified" of one that has the key. Another length throws with Result.BadValue. In a
        /// room the key of the room's link comes first.</summary>
        public byte[] RoomKey;
        public bool Muted;
        public readonly Dictionary<string, string> Metadata = new Dictionary<string, string>();

        /// <summary>A link to a room with a new key: who joins by it encrypts end to end, and who does not have it hears
        /// nothing. The room may be a link itself: the new one then leads to that link's server.</summary>
        public static string NewLink(string server, string room)
        {
            Voicemesh.Room.CheckVersion();
            var at = Encoding.UTF8.GetBytes(server);
            var of = Encoding.UTF8.GetBytes(room);
            return Voicemesh.Room.Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_options_new_link(
                at, (UIntPtr)at.Length, of, (UIntPtr)of.Length, buffer, (UIntPtr)buffer.Length, out needed));
        }
    }

    /// <summary>What happened; which properties count depends on the type, as voicemesh.h says.</summary>
    public struct Event
    {
        public EventType Type;
        public PeerId Peer;
        public string Name;
        public string Text;
        public string Code;
        public bool On;
        /// <summary>How a member takes part, of StatusChanged.</summary>
        public MemberStatus Status;
        /// <summary>Talk groups: of Moved and Held, and the one of a Text; null if there are none.</summary>
        public string[] Groups;
        public Route Route;
        /// <summary>A message's bytes, in an array of their own; null if there is none.</summary>
        public byte[] Data;
        public bool IsReliable;
        public int Channel;
        /// <summary>Whose end TransactionDone tells; On says whether it is made.</summary>
        public ulong Transaction;
        /// <summary>What a peer publishes; null if there is nothing.</summary>
        public Dictionary<string, string> Metadata;
    }

    /// <summary>One's own place in a room. For one thread at a time; Dispose leaves, and may be called again.</summary>
    public sealed class Room : IDisposable
    {
        /// <summary>Under this key everybody publishes the token for Participant.Connect.</summary>
        public const string ReachabilityKey = "reachability";

        /// <summary>Everybody begins in this talk group.</summary>
        public const string GlobalGroup = "Global";

        /// Most values fit into so many bytes.
        private const int UsualBytes = 256;

        private ulong handle;

        /// <summary>Begins to join. Events report whether that works.</summary>
        public Room(JoinOptions options)
        {
            CheckVersion();
            using (var texts = new Texts())
            {
                var native = Options(options, texts);
                Check(Native.vmesh_room_join(ref native, out handle));
            }
        }

        /// Over a network of the game's own.
        internal Room(JoinOptions options, ref NativeNetwork network)
        {
            CheckVersion();
            using (var texts = new Texts())
            {
                var native = Options(options, texts);
                Check(Native.vmesh_over_new(ref native, ref network, out handle));
            }
        }

        internal ulong Handle { get { return handle; } }

        internal static void CheckVersion()
        {
            if (Native.vmesh_abi_version() != Native.AbiVersion)
            {
                throw new VoicemeshException(Result.System, "libvoicemesh is of another version than these scripts");
            }
        }

        private static NativeOptions Options(JoinOptions options, Texts texts)
        {
            var native = new NativeOptions();
            Check(Native.vmesh_options_init(ref native, (uint)Marshal.SizeOf(typeof(NativeOptions))));
            native.Server = texts.Add(options.Server);
            native.Room = texts.Add(options.Room);
            native.Name = texts.Add(options.Name);
            native.Input = texts.Add(options.Input);
            native.Output = texts.Add(options.Output);
            native.StateDir = texts.Add(options.StateDir);
            native.ExtraRootPem = texts.Add(options.ExtraRootPem);
            native.Proxy = texts.Add(options.Proxy);
            native.Password = texts.Add(options.Password);
            native.Token = texts.Add(options.Token);
            native.RenewsToken = options.RenewsToken ? 1 : 0;
            native.InputChannel = (uint)options.InputChannel;
            native.Metadata = texts.Add(options.Metadata);
            native.MetadataCount = (UIntPtr)options.Metadata.Count;
            native.Presence = (int)options.Presence;
            native.RelayOnly = options.RelayOnly ? 1 : 0;
            native.Unencrypted = options.Unencrypted ? 1 : 0;
            native.Muted = options.Muted ? 1 : 0;
            native.Connections = (int)options.Connections;
            native.Positional = options.Positional ? 1 : 0;
            native.Handedness = (int)options.Handedness;
            native.ProgramInput = options.ProgramInput ? 1 : 0;
            native.ProgramOutput = options.ProgramOutput ? 1 : 0;
            native.ManualFlush = options.ManualFlush ? 1 : 0;
            if (options.RoomKey != null)
            {
                native.RoomKey = texts.Add(options.RoomKey);
                native.RoomKeyLength = (UIntPtr)options.RoomKey.Length;
            }
            return native;
        }

        ~Room() { Native.vmesh_room_close(handle); }

        /// <summary>The next thing that happened, if anything did. Never blocks; nothing comes after Dispose.</summary>
        public bool Poll(out Event happened)
        {
            NativeEvent native;
            happened = new Event();
            if (!PollNative(out native))
            {
                return false;
            }
            happened.Type = (EventType)native.Type;
            happened.Peer = native.Peer;
            happened.Name = native.Name.ToString();
            happened.Text = native.Text.ToString();
            happened.Code = native.Code.ToString();
            happened.On = native.On != 0;
            happened.Route = (Route)native.Route;
            happened.IsReliable = native.Reliability != 0;
            happened.Channel = native.Channel;
            happened.Transaction = native.Transaction;
            if (happened.Type == EventType.Message || happened.Type == EventType.ChannelMessage)
            {
                happened.Data = new byte[(int)native.DataLength];
                Marshal.Copy(native.Data, happened.Data, 0, happened.Data.Length);
            }
            happened.Status = (MemberStatus)native.Status;
            happened.Groups = Strings(native.Groups, (int)native.GroupCount);
            happened.Metadata = Pairs(native.Metadata, (int)native.MetadataCount);
            return true;
        }

        /// <summary>One's own microphone.</summary>
        public Microphone Microphone { get { return new Microphone(this); } }

        /// <summary>What is heard.</summary>
        public Speaker Speaker { get { return new Speaker(this); } }

        /// <summary>What the room and its members publish, who owns it, and what moderators decide.</summary>
        public Lobby Lobby { get { return new Lobby(this); } }

        /// <summary>Another peer in the room.</summary>
        public Participant Participant(PeerId peer) { return new Participant(this, peer); }

        /// <summary>A talk group, by its name.</summary>
        public Group Group(string name) { return new Group(this, name); }

        /// <summary>A data channel to a peer, by its number.</summary>
        public Channel Channel(PeerId peer, byte number) { return new Channel(this, peer, number); }

        /// <summary>Begins a recording in a folder, one file per speaker. It is announced first: nothing is recorded before everyone
        /// in the room can see that it is on, a round trip to the server later; the event RecordingFailed says that it comes to
        /// nothing. Throws with
        /// Result.AlreadyRecording, with Result.ServerAway while the others could not learn of it, and with Result.Recording if
        /// nothing can be written there.</summary>
        public void StartRecording(string folder)
        {
            var bytes = Encoding.UTF8.GetBytes(folder);
            Check(Native.vmesh_room_start_recording(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Ends the recording, if one is kept.</summary>
        public void StopRecording() { Check(Native.vmesh_room_stop_recording(handle)); }

        /// <summary>Whether this peer records now, which everyone in the room can see.</summary>
        public bool IsRecording
        {
            get
            {
                int recording;
                Check(Native.vmesh_room_is_recording(handle, out recording));
                return recording != 0;
            }
        }

        /// <summary>Writes to everyone in the room.</summary>
        public void SendText(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Check(Native.vmesh_room_send_text(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Sends a part of an array to everyone, once each.</summary>
        public void SendToAll(byte[] data, int offset, int length, bool isReliable)
        {
            WithPinned(data, offset, length, start =>
                Native.vmesh_room_send_to_all(handle, start, (UIntPtr)length, isReliable ? 1 : 0));
        }

        /// <summary>With JoinOptions.ManualFlush, at the end of a frame.</summary>
        public void Flush() { Check(Native.vmesh_room_flush(handle)); }

        /// <summary>One value of what this peer publishes; null if there is no such key.</summary>
        public string Metadata(string key) { return MetadataOf(null, key); }

        /// <summary>The keys of what this peer publishes, in order.</summary>
        public IList<string> MetadataKeys { get { return MetadataKeysOf(null); } }

        /// <summary>The talk groups in which a moderator holds this peer; none if it is held in none.</summary>
        public IList<string> HeldIn { get { return HeldInOf(null); } }

        /// <summary>What the members compare to know that no server is between them: 30 digits in groups of five, the
        /// same for all; null where this peer does not encrypt end to end. Who joined by a link with a key need compare
        /// nothing.</summary>
        public string SafetyCode
        {
            get
            {
                return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_room_safety_code(
                    handle, buffer, (UIntPtr)buffer.Length, out needed));
            }
        }

        /// <summary>Speaks to a talk group until the handle is disposed of.</summary>
        public Transmission TransmitToGroup(string name, float volume, Priority priority, bool isPositional)
        {
            ulong transmission;
            var bytes = Encoding.UTF8.GetBytes(name);
            Check(Native.vmesh_room_transmit_to_group(handle, bytes, (UIntPtr)bytes.Length, volume, (int)priority,
                isPositional ? 1 : 0, out transmission));
            return new Transmission(transmission);
        }

        /// <summary>Speaks to one peer until the handle is disposed of.</summary>
        public Transmission TransmitToPeer(PeerId to, float volume, Priority priority, bool isPositional)
        {
            ulong transmission;
            Check(Native.vmesh_room_transmit_to_peer(handle, ref to, volume, (int)priority, isPositional ? 1 : 0,
                out transmission));
            return new Transmission(transmission);
        }

        /// <summary>Listens and speaks to those around this position; once a frame.</summary>
        public void MoveIn(ProximityGrid grid, Vector position)
        {
            Check(Native.vmesh_room_move_in(handle, grid.Handle, ref position));
        }

        public void LeaveGrid(ProximityGrid grid) { Check(Native.vmesh_room_leave_grid(handle, grid.Handle)); }

        /// <summary>Leaves the room, and waits until the others were told, at most a second.</summary>
        public void Dispose()
        {
            Native.vmesh_room_close(handle);
            GC.SuppressFinalize(this);
        }

        internal bool PollNative(out NativeEvent native)
        {
            native = new NativeEvent { Size = (uint)Marshal.SizeOf(typeof(NativeEvent)) };
            var result = Native.vmesh_events_poll(handle, ref native);
            if (result != Result.Closed)
            {
                Check(result);
            }
            return result == Result.Ok;
        }

        internal static void WithPinned(byte[] data, int offset, int length, Func<IntPtr, Result> call)
        {
            if (offset < 0 || length < 0 || offset > data.Length - length)
            {
                throw new ArgumentOutOfRangeException("offset", "the part lies outside of the array");
            }
            var pin = GCHandle.Alloc(data, GCHandleType.Pinned);
            try
            {
                Check(call(IntPtr.Add(pin.AddrOfPinnedObject(), offset)));
            }
            finally
            {
                pin.Free();
            }
        }

        internal static void Check(Result result)
        {
            if (result < 0)
            {
                throw new VoicemeshException(result, LastError());
            }
        }

        private static string LastError()
        {
            var text = Native.vmesh_last_error();
            var length = 0;
            while (Marshal.ReadByte(text, length) != 0)
            {
                length++;
            }
            return new NativeString { Data = text, Length = (UIntPtr)length }.ToString();
        }

        internal string MetadataOf(PeerId? of, string key)
        {
            var bytes = Encoding.UTF8.GetBytes(key);
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_participant_metadata(
                    handle, pointer, bytes, (UIntPtr)bytes.Length, buffer, (UIntPtr)buffer.Length, out needed));
            }
        }

        internal IList<string> MetadataKeysOf(PeerId? of)
        {
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return All(number => Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_participant_metadata_key(
                    handle, pointer, number, buffer, (UIntPtr)buffer.Length, out needed)));
            }
        }

        internal IList<string> HeldInOf(PeerId? of)
        {
            using (var who = new Who(of))
            {
                var pointer = who.Pointer;
                return All(number => Told((byte[] buffer, out UIntPtr needed) => Native.vmesh_participant_held_group(
                    handle, pointer, number, buffer, (UIntPtr)buffer.Length, out needed)));
            }
        }

        /// Texts by their number, up to the first that there is not.
        internal static IList<string> All(Func<UIntPtr, string> numbered)
        {
            var found = new List<string>();
            for (var text = numbered(UIntPtr.Zero); text != null; text = numbered((UIntPtr)found.Count))
            {
                found.Add(text);
            }
            return found;
        }

        internal delegate Result Telling(byte[] buffer, out UIntPtr needed);

        internal static string Told(Telling tell)
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

        private static Dictionary<string, string> Pairs(IntPtr pairs, int count)
        {
            if (count == 0)
            {
                return null;
            }
            var found = new Dictionary<string, string>(count);
            var size = Marshal.SizeOf(typeof(NativePair));
            for (var at = 0; at < count; at++)
            {
                var pair = (NativePair)Marshal.PtrToStructure(IntPtr.Add(pairs, at * size), typeof(NativePair));
                found[pair.Key.ToString()] = pair.Value.ToString();
            }
            return found;
        }

        private static string[] Strings(IntPtr strings, int count)
        {
            if (count == 0)
            {
                return null;
            }
            var found = new string[count];
            var size = Marshal.SizeOf(typeof(NativeString));
            for (var at = 0; at < count; at++)
            {
                found[at] = Marshal.PtrToStructure(IntPtr.Add(strings, at * size), typeof(NativeString)).ToString();
            }
            return found;
        }

        /// Texts outside of the collector's reach, for the time of one call.
        internal sealed class Texts : IDisposable
        {
            private readonly List<IntPtr> taken = new List<IntPtr>();

            public NativeString Add(string text)
            {
                var bytes = Encoding.UTF8.GetBytes(text ?? "");
                var data = Take(bytes.Length + 1);
                Marshal.Copy(bytes, 0, data, bytes.Length);
                return new NativeString { Data = data, Length = (UIntPtr)bytes.Length };
            }

            public IntPtr Add(byte[] bytes)
            {
                var data = Take(bytes.Length + 1);
                Marshal.Copy(bytes, 0, data, bytes.Length);
                return data;
            }

            public IntPtr Add(Dictionary<string, string> pairs)
            {
                var size = Marshal.SizeOf(typeof(NativePair));
                var data = Take(pairs.Count * size + 1);
                var at = 0;
                foreach (var pair in pairs)
                {
                    var native = new NativePair { Key = Add(pair.Key), Value = Add(pair.Value) };
                    Marshal.StructureToPtr(native, IntPtr.Add(data, at * size), false);
                    at++;
                }
                return data;
            }

            public IntPtr AddChanges(IDictionary<string, string> changes)
            {
                var size = Marshal.SizeOf(typeof(NativeChange));
                var data = Take(changes.Count * size + 1);
                var at = 0;
                foreach (var change in changes)
                {
                    var native = new NativeChange
                    {
                        Key = Add(change.Key), Value = Add(change.Value), Remove = change.Value == null ? 1 : 0
                    };
                    Marshal.StructureToPtr(native, IntPtr.Add(data, at * size), false);
                    at++;
                }
                return data;
            }

            public void Dispose()
            {
                foreach (var data in taken)
                {
                    Marshal.FreeHGlobal(data);
                }
                taken.Clear();
            }

            private IntPtr Take(int size)
            {
                var data = Marshal.AllocHGlobal(size);
                taken.Add(data);
                return data;
            }
        }
    }
}
