// The C library as C# sees it: voicemesh.h, structure by structure. Everything here is blittable, and nothing is called back but
// what NativeNetwork.cs has, so that it works the same under Mono and IL2CPP.

using System;
using System.Runtime.InteropServices;

namespace Voicemesh
{
    /// <summary>What a call came to; errors are negative.</summary>
    public enum Result
    {
        Ok = 0,
        Empty = 1,
        Null = -1,
        BadHandle = -2,
        Closed = -3,
        BadSize = -4,
        BadText = -5,
        BadValue = -6,
        BadServer = -7,
        BadName = -8,
        Device = -9,
        Recording = -10,
        Certificate = -11,
        System = -12,
        TooMany = -13,
        UnknownPeer = -14,
        Buffer = -15,
        WouldBlock = -16,
        TooLarge = -17,
        Unsupported = -18,
        ChannelClosed = -19,
        ChannelMismatch = -20,
        Left = -21,
        BadToken = -22,
        BadPassword = -23,
        AlreadyRecording = -24,
        /// <summary>The others could not learn of it.</summary>
        ServerAway = -25,
        /// <summary>A voice over the game's own network has no room.</summary>
        NoRoom = -26,
        /// <summary>A place in a room has no network of the game's.</summary>
        NoNetwork = -27,
        Internal = -100
    }

    /// <summary>What an event tells. More may come; a number without a name is to be passed over.</summary>
    public enum EventType
    {
        None = 0,
        Joined = 1,
        Connected = 2,
        PeerJoined = 3,
        PeerLeft = 4,
        MetadataChanged = 5,
        RouteChanged = 6,
        FirstHeard = 7,
        Speaking = 8,
        Text = 9,
        ServerAway = 10,
        Refused = 11,
        Replaced = 12,
        Warned = 13,
        GroupRefused = 14,
        DeviceLost = 15,
        DeviceRecovered = 16,
        RecordingFailed = 17,
        Left = 18,
        Message = 19,
        ChannelMessage = 20,
        ChannelOpened = 21,
        ChannelMismatch = 22,
        ChannelClosed = 23,
        Disconnected = 24,
        OwnerChanged = 25,
        TransactionDone = 26,
        RoomMetadataChanged = 27,
        ReachabilityChanged = 28,
        ConnectionRequested = 29,
        ServerConnected = 30,
        PermissionsChanged = 31,
        TokenNeeded = 32,
        Moved = 33,
        RoomLocked = 34,
        OwnerRight = 35,
        StatusChanged = 36,
        DeviceChanged = 37,
        /// <summary>A moderator holds a member, perhaps oneself, in Event.Groups; null: it is held no longer.</summary>
        Held = 38,
        /// <summary>The recording that this peer keeps has begun, and everyone can see that (Event.On), or has ended.</summary>
        Recording = 39,
        /// <summary>The room has a password (Event.On) or none. Event.Code: "set", "changed", "removed"; "present" at the first join.</summary>
        RoomPassword = 40,
        /// <summary>The device that was asked for cannot be used, and the one in use stays: Event.Device, and why in Event.Text.</summary>
        DeviceRefused = 41,
        /// <summary>How what passes between oneself and a member is encrypted, where one of them encrypts: Event.Peer, Event.Code ("waiting", "verified", "encrypted", "unable", "unencrypted", "stopped", "refused", "only-theirs").</summary>
        EncryptionChanged = 42
    }

    /// <summary>How a member takes part, as its own program says.</summary>
    [Flags]
    public enum MemberStatus
    {
        None = 0,
        Muted = 1,
        Deafened = 2,
        /// <summary>It has no microphone.</summary>
        ListeningOnly = 4,
        Recording = 8
    }

    /// <summary>What a moderator decides.</summary>
    public enum Decision
    {
        Mute = 0,
        Unmute = 1,
        Kick = 2,
        Ban = 3,
        Unban = 4,
        Move = 5,
        Lock = 6,
        Unlock = 7,
        SetPassword = 8,
        MakeOwner = 9
    }

    /// <summary>How a peer is reached.</summary>
    public enum Route
    {
        None = 0,
        Relayed = 1,
        Direct = 2
    }

    /// <summary>Whom a join wants to find in the room.</summary>
    public enum Presence
    {
        Either = 0,
        MustExist = 1,
        MustNotExist = 2
    }

    /// <summary>To whom direct links are made.</summary>
    public enum Connections
    {
        /// <summary>To everyone in the room.</summary>
        Automatic = 0,
        /// <summary>To those whom both sides connect to, with Participant.Connect.</summary>
        Explicit = 1
    }

    /// <summary>Which way the game's axes lie; Unity's are left-handed.</summary>
    public enum Handedness
    {
        Right = 0,
        Left = 1
    }

    /// <summary>How a voice gets softer with its distance.</summary>
    public enum Attenuation
    {
        None = 0,
        Inverse = 1,
        Linear = 2,
        Exponential = 3
    }

    /// <summary>How urgent speech is: what is less urgent is lowered meanwhile.</summary>
    public enum Priority
    {
        Low = -1,
        Default = 0,
        Medium = 1,
        High = 2
    }

    /// <summary>Which axes of a position a grid counts.</summary>
    public enum GridAxes
    {
        Ground = 0,
        Flat = 1,
        Space = 2
    }

    /// <summary>A place, a direction or a velocity: laid out as Unity's Vector3, in metres.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Vector
    {
        public float X;
        public float Y;
        public float Z;

        public Vector(float x, float y, float z)
        {
            X = x;
            Y = y;
            Z = z;
        }
    }

    /// <summary>A machine in a room: the same across reconnects.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PeerId : IEquatable<PeerId>
    {
        // The id's bytes, eight and eight.
        private readonly ulong first;
        private readonly ulong second;

        public bool Equals(PeerId other) { return first == other.first && second == other.second; }

        public override bool Equals(object other) { return other is PeerId && Equals((PeerId)other); }

        public override int GetHashCode() { return first.GetHashCode() ^ second.GetHashCode(); }

        public static bool operator ==(PeerId left, PeerId right) { return left.Equals(right); }

        public static bool operator !=(PeerId left, PeerId right) { return !left.Equals(right); }

        public override string ToString()
        {
            var text = new byte[37];
            var id = this;
            Native.vmesh_peer_id_text(ref id, text, (UIntPtr)text.Length);
            return System.Text.Encoding.ASCII.GetString(text, 0, 36);
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeString
    {
        public IntPtr Data;
        public UIntPtr Length;

        public override string ToString()
        {
            if (Data == IntPtr.Zero || Length == UIntPtr.Zero)
            {
                return "";
            }
            var bytes = new byte[(int)Length];
            Marshal.Copy(Data, bytes, 0, bytes.Length);
            return System.Text.Encoding.UTF8.GetString(bytes);
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativePair
    {
        public NativeString Key;
        public NativeString Value;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeChange
    {
        public NativeString Key;
        public NativeString Value;
        public int Remove;
        public int Reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativePose
    {
        public Vector Position;
        public Vector Forward;
        public Vector Up;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeOptions
    {
        public uint Size;
        public int RelayOnly;
        public NativeString Server;
        public NativeString Room;
        public NativeString Name;
        public NativeString Input;
        public NativeString Output;
        public NativeString StateDir;
        public NativeString Record;
        public NativeString ExtraRootPem;
        public NativeString Proxy;
        public NativeString Password;
        public IntPtr Metadata;
        public UIntPtr MetadataCount;
        public int Presence;
        public int Activation;
        public uint ReleaseMs;
        public uint UplinkBps;
        public int Muted;
        public int Echo;
        public int HasProcessing;
        public int EchoCancellation;
        public int NoiseSuppression;
        public int AutomaticGain;
        public int HighPass;
        public int ManualFlush;
        public int Connections;
        public int Positional;
        public int Handedness;
        public int ProgramInput;
        public int ProgramOutput;
        public int Unencrypted;
        public NativeString Token;
        public int RenewsToken;
        public uint InputChannel;
        public IntPtr RoomKey;
        public UIntPtr RoomKeyLength;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeEvent
    {
        public uint Size;
        public int Type;
        public ulong AtUs;
        public PeerId Peer;
        public NativeString Name;
        public NativeString Text;
        public NativeString Code;
        public IntPtr Data;
        public UIntPtr DataLength;
        public IntPtr Metadata;
        public UIntPtr MetadataCount;
        public ulong WaitUs;
        public ulong UndeliveredBytes;
        public ulong Transaction;
        public uint Session;
        public uint Count;
        public int On;
        public int Route;
        public int Reason;
        public int Device;
        public int Channel;
        public int Reliability;
        public int Theirs;
        public int Status;
        public IntPtr Groups;
        public UIntPtr GroupCount;
    }

    internal static partial class Native
    {
#if UNITY_IOS && !UNITY_EDITOR
        // Linked into the program.
        public const string Library = "__Internal";
#else
        public const string Library = "voicemesh";
#endif

        /// VMESH_ABI_VERSION of the header that this file was written after.
        public const uint AbiVersion = 0;

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern uint vmesh_abi_version();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern IntPtr vmesh_last_error();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_options_init(ref NativeOptions options, uint size);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_join(ref NativeOptions options, out ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_events_poll(ulong room, ref NativeEvent happened);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_close(ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_microphone_set_muted(ulong room, int muted);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speaker_set_deafened(ulong room, int deafened);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_microphone_set_talking(ulong room, int talking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_set_gain(ulong room, ref PeerId of, float gain);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_set_muted(ulong room, ref PeerId of, int muted);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_start_recording(ulong room, byte[] folder, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_stop_recording(ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_is_recording(ulong room, out int recording);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_send_text(ulong room, ref PeerId to, byte[] text, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_send_text(ulong room, byte[] text, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_send(ulong room, ref PeerId to, IntPtr data, UIntPtr length, int reliability);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_send_to_all(ulong room, IntPtr data, UIntPtr length, int reliability);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_group_join(ulong room, byte[] name, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_group_leave(ulong room, byte[] name, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_group_send_text(
            ulong room, byte[] group, UIntPtr groupLength, byte[] text, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_set_token(ulong room, byte[] token, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_moderate(
            ulong room, int decision, ref PeerId about, byte[] text, UIntPtr length, uint seconds, out ulong transaction);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_peer_id_text(ref PeerId id, byte[] buffer, UIntPtr capacity);
    }
}
