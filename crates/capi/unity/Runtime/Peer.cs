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
        /// <summary>The game answers EventType.TokenNeeded with Peer.SetToken.</summary>
        public bool RenewsToken;
        /// <summary>The microphone's channel to hear, counted from 1; 0 chooses by itself.</summary>
        public int InputChannel;
        public Presence Presence = Presence.Either;
        public Connections Connections = Connections.Automatic;
        /// <summary>A game with places; see Peer.SetPosition.</summary>
        public bool Positional;
        public Handedness Handedness = Handedness.Left;
        /// <summary>There is no microphone but the one of Peer.OpenMicrophone.</summary>
        public bool ProgramInput;
        /// <summary>There is no speaker: the game plays what Peer.OpenVoice or Peer.OpenMix gives.</summary>
        public bool ProgramOutput;
        /// <summary>Messages leave with Peer.Flush alone.</summary>
        public bool ManualFlush;
        public bool RelayOnly;
        public bool Muted;
        public readonly Dictionary<string, string> Metadata = new Dictionary<string, string>();
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
    public sealed partial class Peer : IDisposable
    {
        private ulong handle;

        /// <summary>Begins to join. Events report whether that works.</summary>
        public Peer(JoinOptions options)
        {
            CheckVersion();
            using (var texts = new Texts())
            {
                var native = Options(options, texts);
                Check(Native.vmesh_join(ref native, out handle));
            }
        }

        /// Over a network of the game's own.
        internal Peer(JoinOptions options, ref NativeNetwork network)
        {
            CheckVersion();
            using (var texts = new Texts())
            {
                var native = Options(options, texts);
                Check(Native.vmesh_over_open(ref native, ref network, out handle));
            }
        }

        internal ulong Handle { get { return handle; } }

        private static void CheckVersion()
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
            native.Muted = options.Muted ? 1 : 0;
            native.Connections = (int)options.Connections;
            native.Positional = options.Positional ? 1 : 0;
            native.Handedness = (int)options.Handedness;
            native.ProgramInput = options.ProgramInput ? 1 : 0;
            native.ProgramOutput = options.ProgramOutput ? 1 : 0;
            native.ManualFlush = options.ManualFlush ? 1 : 0;
            return native;
        }

        ~Peer() { Native.vmesh_close(handle); }

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

        public void SetMuted(bool muted) { Check(Native.vmesh_set_muted(handle, muted ? 1 : 0)); }

        public void SetDeafened(bool deafened) { Check(Native.vmesh_set_deafened(handle, deafened ? 1 : 0)); }

        public void SetTalking(bool talking) { Check(Native.vmesh_set_talking(handle, talking ? 1 : 0)); }

        /// <summary>How loud a peer is heard: 0 to 4, 1 as spoken.</summary>
        public void SetGain(PeerId of, float gain) { Check(Native.vmesh_set_gain(handle, ref of, gain)); }

        public void SetPeerMuted(PeerId of, bool muted) { Check(Native.vmesh_set_peer_muted(handle, ref of, muted ? 1 : 0)); }

        /// <summary>Begins a recording in a folder, one file per speaker. It is announced first: nothing is recorded before everyone
        /// in the room can see that it is on, a round trip to the server later; the event RecordingFailed says that it comes to
        /// nothing. Throws with
        /// Result.AlreadyRecording, with Result.ServerAway while the others could not learn of it, and with Result.Recording if
        /// nothing can be written there.</summary>
        public void StartRecording(string folder)
        {
            var bytes = Encoding.UTF8.GetBytes(folder);
            Check(Native.vmesh_start_recording(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Ends the recording, if one is kept.</summary>
        public void StopRecording() { Check(Native.vmesh_stop_recording(handle)); }

        /// <summary>Whether this peer records now, which everyone in the room can see.</summary>
        public bool IsRecording
        {
            get
            {
                int recording;
                Check(Native.vmesh_is_recording(handle, out recording));
                return recording != 0;
            }
        }

        public void SendText(PeerId to, string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Check(Native.vmesh_send_text(handle, ref to, bytes, (UIntPtr)bytes.Length));
        }

        public void SendTextToAll(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            Check(Native.vmesh_send_text_to_all(handle, IntPtr.Zero, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Writes to everyone who listens to a talk group.</summary>
        public void SendGroupText(string group, string text)
        {
            var name = Encoding.UTF8.GetBytes(group);
            var bytes = Encoding.UTF8.GetBytes(text);
            Check(Native.vmesh_send_group_text(handle, name, (UIntPtr)name.Length, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>The access token from now on; answers EventType.TokenNeeded.</summary>
        public void SetToken(string token)
        {
            var bytes = Encoding.UTF8.GetBytes(token);
            Check(Native.vmesh_set_token(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Decides about another member or the room. The text is the group of Move and the password of SetPassword, the
        /// seconds are those of Ban. Gives what TransactionDone will name.</summary>
        public ulong Moderate(Decision decision, PeerId about, string text, int seconds)
        {
            var bytes = Encoding.UTF8.GetBytes(text ?? "");
            ulong transaction;
            Check(Native.vmesh_moderate(
                handle, (int)decision, ref about, bytes, (UIntPtr)bytes.Length, (uint)seconds, out transaction));
            return transaction;
        }

        /// <summary>Sends a part of an array to one peer.</summary>
        public void Send(PeerId to, byte[] data, int offset, int length, bool isReliable)
        {
            WithPinned(data, offset, length, start =>
                Native.vmesh_send(handle, ref to, start, (UIntPtr)length, isReliable ? 1 : 0));
        }

        /// <summary>Sends a part of an array to everyone, once each.</summary>
        public void SendToAll(byte[] data, int offset, int length, bool isReliable)
        {
            WithPinned(data, offset, length, start =>
                Native.vmesh_send_to_all(handle, start, (UIntPtr)length, isReliable ? 1 : 0));
        }

        public void JoinGroup(string name)
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Check(Native.vmesh_join_group(handle, bytes, (UIntPtr)bytes.Length));
        }

        public void LeaveGroup(string name)
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            Check(Native.vmesh_leave_group(handle, bytes, (UIntPtr)bytes.Length));
        }

        /// <summary>Leaves the room, and waits until the others were told, at most a second.</summary>
        public void Dispose()
        {
            Native.vmesh_close(handle);
            GC.SuppressFinalize(this);
        }

        internal bool PollNative(out NativeEvent native)
        {
            native = new NativeEvent { Size = (uint)Marshal.SizeOf(typeof(NativeEvent)) };
            var result = Native.vmesh_poll(handle, ref native);
            if (result != Result.Closed)
            {
                Check(result);
            }
            return result == Result.Ok;
        }

        private static void WithPinned(byte[] data, int offset, int length, Func<IntPtr, Result> call)
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
        private sealed class Texts : IDisposable
        {
            private readonly List<IntPtr> taken = new List<IntPtr>();

            public NativeString Add(string text)
            {
                var bytes = Encoding.UTF8.GetBytes(text ?? "");
                var data = Take(bytes.Length + 1);
                Marshal.Copy(bytes, 0, data, bytes.Length);
                return new NativeString { Data = data, Length = (UIntPtr)bytes.Length };
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
