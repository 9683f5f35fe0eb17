// Voice over a network that the game has: extend BaseCommsNetwork, BaseServer and BaseClient. The names are those of Dissonance's
// base classes, so that an integration for it is ported by little more than its namespace.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace Voicemesh
{
    /// <summary>Nothing: for a network that needs no parameters.</summary>
    public struct Unit
    {
        public static readonly Unit None = new Unit();
    }

    /// <summary>What a voice is.</summary>
    public enum NetworkMode
    {
        None = 0,
        Client = 1,
        DedicatedServer = 2,
        /// <summary>Server and client in one program.</summary>
        Host = 3
    }

    public static class NetworkModeExtensions
    {
        public static bool IsServerEnabled(this NetworkMode mode)
        {
            return mode == NetworkMode.Host || mode == NetworkMode.DedicatedServer;
        }

        public static bool IsClientEnabled(this NetworkMode mode)
        {
            return mode == NetworkMode.Host || mode == NetworkMode.Client;
        }
    }

    /// <summary>Whether a voice is in a session.</summary>
    public enum ConnectionStatus
    {
        Disconnected,
        Connected
    }

    /// <summary>Starts and stops the voice, and makes the server and the client of the game's network. For one thread, to which
    /// that network belongs: call Update once a frame, and Dispose at the end.
    ///
    /// In host mode there is a server and no client: what the two send each other stays in the library, and comes neither over
    /// the network nor through this class.</summary>
    public abstract class BaseCommsNetwork<TServer, TClient, TPeer, TClientParam, TServerParam> : IComms<TPeer>, INetworkFunctions,
        IDisposable
        where TServer : BaseServer<TServer, TClient, TPeer>
        where TClient : BaseClient<TServer, TClient, TPeer>
        where TPeer : struct, IEquatable<TPeer>
    {
        /// Packets that wait for the next Update. With more, the connection by which most of them came ends.
        private const int Waiting = 16384;

        private readonly Room voice;
        private readonly Queue<Incoming> incoming = new Queue<Incoming>();
        private readonly Stack<byte[]> pool = new Stack<byte[]>();
        private readonly Dictionary<TPeer, ulong> numbers = new Dictionary<TPeer, ulong>();
        private readonly Dictionary<ulong, TPeer> peers = new Dictionary<ulong, TPeer>();
        private readonly Dictionary<ulong, int> waitingOf = new Dictionary<ulong, int>();
        private GCHandle self;
        private IntPtr lent = IntPtr.Zero;
        private int lentBytes;
        private byte[] outgoing = new byte[2048];
        private ulong lastNumber;
        private TServerParam serverParam;
        private TClientParam clientParam;
        private NetworkMode wanted;
        private bool hasStarted;
        private bool hasRead;
        private volatile bool isUpdating;
        private int freed;
        private bool isLost;
        private volatile bool isDisposed;
        private Exception thrown;

        /// <summary>The voice with its devices. Of the options count those of name, sound and key; null or empty is the default. The
        /// sizes are those of the largest packets that the network carries whole; 0 is 1200 and 16384.</summary>
        protected BaseCommsNetwork(JoinOptions options, int unreliableBytes = 0, int reliableBytes = 0)
        {
            self = GCHandle.Alloc(this);
            try
            {
                var table = NetworkFunctions.Table(self, unreliableBytes, reliableBytes);
                voice = new Room(options, ref table);
            }
            catch
            {
                self.Free();
                throw;
            }
        }

        /// <summary>Microphone, speaker, groups, texts and events. What needs a room throws with Result.NoRoom.</summary>
        public Room Voice { get { return voice; } }

        /// <summary>What runs, or was asked to and has not begun yet.</summary>
        public NetworkMode Mode { get { return wanted; } }

        public ConnectionStatus Status
        {
            get
            {
                var state = new NativeState { Size = (uint)Marshal.SizeOf(typeof(NativeState)) };
                Room.Check(Native.vmesh_room_snapshot(voice.Handle, ref state));
                return state.Connected != 0 ? ConnectionStatus.Connected : ConnectionStatus.Disconnected;
            }
        }

        /// <summary>Whether Initialize has run, which it does in the first Update.</summary>
        public bool IsInitialized { get; private set; }

        /// <summary>While this program serves.</summary>
        protected internal TServer Server { get; private set; }

        /// <summary>While this program is connected to another one's server, or tries to be.</summary>
        protected internal TClient Client { get; private set; }

        /// <summary>Once, before any networking.</summary>
        protected virtual void Initialize() { }

        /// <summary>Makes the object alone; its Connect begins to serve.</summary>
        protected abstract TServer CreateServer(TServerParam details);

        /// <summary>Makes the object alone; its Connect begins to connect.</summary>
        protected abstract TClient CreateClient(TClientParam details);

        /// <summary>Sees each packet before the server sends it; true if it need not be sent any more. Integrations that
        /// handle their loopback here find none: the host's own client is not a peer of the network.</summary>
        protected internal virtual bool PreprocessPacketToClient(ArraySegment<byte> packet, TPeer destination) { return false; }

        /// <summary>What was sent in this frame should leave now; for networks that collect packets.</summary>
        protected virtual void Flush() { }

        /// <summary>Serves, and takes part. Ends what ran before.</summary>
        public void RunAsHost(TServerParam serverParameters, TClientParam clientParameters)
        {
            Run(NetworkMode.Host, serverParameters, clientParameters);
        }

        /// <summary>Serves, without a part in it.</summary>
        public void RunAsDedicatedServer(TServerParam serverParameters)
        {
            Run(NetworkMode.DedicatedServer, serverParameters, clientParam);
        }

        /// <summary>Takes part.</summary>
        public void RunAsClient(TClientParam clientParameters)
        {
            Run(NetworkMode.Client, serverParam, clientParameters);
        }

        /// <summary>Ends what runs; harmless when nothing does.</summary>
        public void Stop() { Run(NetworkMode.None, serverParam, clientParam); }

        /// <summary>Instead of the four above: keeps the voice in the mode of the game's network. Call it each frame. What is
        /// lost, or does not start, is tried again after 1, 2, 4 and then every 8 seconds.</summary>
        public void Follow(NetworkMode mode, TServerParam serverParameters, TClientParam clientParameters)
        {
            serverParam = serverParameters;
            clientParam = clientParameters;
            wanted = mode;
            hasStarted = false;
            Room.Check(Native.vmesh_over_follow(voice.Handle, (int)mode));
        }

        /// <summary>A frame: reads and sends what there is. What Connect, ReadMessages and the other functions of the network
        /// throw comes out here.</summary>
        public virtual void Update()
        {
            if (!IsInitialized)
            {
                Initialize();
                IsInitialized = true;
            }
            hasRead = false;
            // A function of the network may call Update; that one has no effect.
            var isOutermost = !isUpdating;
            isUpdating = true;
            var result = Native.vmesh_over_update(voice.Handle);
            isUpdating = !isOutermost;
            if (isDisposed)
            {
                Free();
            }
            else
            {
                Room.Check(result);
                FollowEnd();
            }
            if (thrown != null)
            {
                var exception = thrown;
                thrown = null;
                throw new InvalidOperationException("the game's network threw: " + exception.Message, exception);
            }
        }

        /// <summary>Leaves, and gives the devices back. Where a function of the network calls it, the farewell leaves with the
        /// Update that called that.</summary>
        public virtual void Dispose()
        {
            if (isDisposed)
            {
                return;
            }
            isDisposed = true;
            voice.Dispose();
            Free();
            GC.SuppressFinalize(this);
        }

        /// When the library calls nothing any more; once, although Update may be on another thread.
        private void Free()
        {
            if (isUpdating || Interlocked.Exchange(ref freed, 1) != 0)
            {
                return;
            }
            self.Free();
            Marshal.FreeHGlobal(lent);
            lent = IntPtr.Zero;
            lentBytes = 0;
        }

        private void Run(NetworkMode mode, TServerParam serverParameters, TClientParam clientParameters)
        {
            serverParam = serverParameters;
            clientParam = clientParameters;
            wanted = mode;
            hasStarted = false;
            Room.Check(Native.vmesh_over_run(voice.Handle, (int)mode));
        }

        /// What was started by hand and has ended by itself is over.
        private void FollowEnd()
        {
            int mode;
            Room.Check(Native.vmesh_over_mode(voice.Handle, out mode));
            if (mode == (int)wanted)
            {
                hasStarted = true;
            }
            else if (hasStarted && mode == (int)NetworkMode.None)
            {
                wanted = NetworkMode.None;
            }
        }

        // What the client and the server report.

        void IComms<TPeer>.Report(NetworkReport report)
        {
            if (report.Type == NetworkEventType.Disconnected || report.Type == NetworkEventType.Broken)
            {
                // Once for each connection, however often its client says so.
                if (isLost)
                {
                    return;
                }
                isLost = true;
            }
            Add(new Incoming { Type = report.Type, Text = report.Text });
        }

        void IComms<TPeer>.FromServer(ArraySegment<byte> packet)
        {
            if (incoming.Count < Waiting)
            {
                Add(Copy(NetworkEventType.FromServer, 0, packet));
            }
            else if (!isLost)
            {
                isLost = true;
                Add(new Incoming { Type = NetworkEventType.Broken });
            }
        }

        void IComms<TPeer>.FromClient(TPeer source, ArraySegment<byte> packet)
        {
            if (incoming.Count >= Waiting && !MakeRoom(source))
            {
                return;
            }
            ulong number;
            if (!numbers.TryGetValue(source, out number))
            {
                number = ++lastNumber;
                numbers[source] = number;
                peers[number] = source;
                waitingOf[number] = 0;
            }
            waitingOf[number]++;
            Add(Copy(NetworkEventType.FromClient, number, packet));
        }

        /// Ends the connection by which most packets came that wait. False if it is this one.
        private bool MakeRoom(TPeer source)
        {
            // What came by connections that are gone by now is dropped first.
            Forget(one => one.Type == NetworkEventType.FromClient && !peers.ContainsKey(one.Peer));
            if (incoming.Count < Waiting)
            {
                return true;
            }
            ulong own;
            numbers.TryGetValue(source, out own);
            var most = own;
            foreach (var one in waitingOf)
            {
                if (most == 0 || one.Value > waitingOf[most])
                {
                    most = one.Key;
                }
            }
            TPeer peer;
            if (!peers.TryGetValue(most, out peer))
            {
                // Reports alone wait.
                return false;
            }
            Forget(one => one.Type == NetworkEventType.FromClient && one.Peer == most);
            ((IComms<TPeer>)this).ClientGone(peer);
            if (Server != null)
            {
                Server.EndOnNetwork(peer);
            }
            return most != own;
        }

        void IComms<TPeer>.ClientGone(TPeer peer)
        {
            ulong number;
            if (numbers.TryGetValue(peer, out number))
            {
                numbers.Remove(peer);
                peers.Remove(number);
                waitingOf.Remove(number);
                Add(new Incoming { Type = NetworkEventType.ClientGone, Peer = number });
            }
        }

        private Incoming Copy(NetworkEventType type, ulong peer, ArraySegment<byte> packet)
        {
            var bytes = pool.Count > 0 && packet.Count <= 2048 ? pool.Pop() : new byte[Math.Max(2048, packet.Count)];
            Buffer.BlockCopy(packet.Array, packet.Offset, bytes, 0, packet.Count);
            return new Incoming { Type = type, Peer = peer, Bytes = bytes, Length = packet.Count };
        }

        /// Twice as much as packets may take: reports are few.
        private void Add(Incoming one)
        {
            if (incoming.Count < 2 * Waiting)
            {
                incoming.Enqueue(one);
            }
        }

        /// What waits of a side or a connection that has ended says nothing more.
        private void Forget(Predicate<Incoming> isOver)
        {
            for (var left = incoming.Count; left > 0; left--)
            {
                var one = incoming.Dequeue();
                if (!isOver(one))
                {
                    incoming.Enqueue(one);
                }
            }
        }

        private static bool IsOfServer(Incoming one) { return one.Type >= NetworkEventType.Hosting; }

        private static bool IsOfClient(Incoming one) { return one.Type < NetworkEventType.Hosting; }

        // What the library asks for.

        void INetworkFunctions.Connect()
        {
            ((INetworkFunctions)this).Disconnect();
            Client = CreateClient(clientParam);
            Client.Comms = this;
            Client.Connect();
        }

        void INetworkFunctions.Disconnect()
        {
            var client = Client;
            Client = null;
            if (client != null)
            {
                client.Disconnect();
            }
            Forget(IsOfClient);
            isLost = false;
        }

        void INetworkFunctions.Host()
        {
            ((INetworkFunctions)this).StopHosting();
            Server = CreateServer(serverParam);
            Server.Comms = this;
            Server.Connect();
            Add(new Incoming { Type = NetworkEventType.Hosting });
        }

        void INetworkFunctions.StopHosting()
        {
            var server = Server;
            Server = null;
            if (server != null)
            {
                server.Disconnect();
            }
            Forget(IsOfServer);
            numbers.Clear();
            peers.Clear();
            waitingOf.Clear();
        }

        void INetworkFunctions.SendToServer(bool isReliable, IntPtr packet, int length)
        {
            if (Client == null)
            {
                throw new InvalidOperationException("there is no client");
            }
            Client.SendOverNetwork(isReliable, Outgoing(packet, length));
        }

        void INetworkFunctions.SendToClient(ulong client, bool isReliable, IntPtr packet, int length)
        {
            TPeer peer;
            if (Server == null || !peers.TryGetValue(client, out peer))
            {
                return;
            }
            var bytes = Outgoing(packet, length);
            if (!PreprocessPacketToClient(bytes, peer))
            {
                Server.SendOverNetwork(peer, isReliable, bytes);
            }
        }

        private ArraySegment<byte> Outgoing(IntPtr packet, int length)
        {
            if (outgoing.Length < length)
            {
                outgoing = new byte[length];
            }
            Marshal.Copy(packet, outgoing, 0, length);
            return new ArraySegment<byte>(outgoing, 0, length);
        }

        bool INetworkFunctions.Receive(ref NativeNetworkEvent happened)
        {
            if (!hasRead)
            {
                hasRead = true;
                if (Client != null)
                {
                    Client.ReadFromNetwork();
                }
                if (Server != null)
                {
                    Server.ReadFromNetwork();
                }
            }
            if (incoming.Count == 0)
            {
                return false;
            }
            var one = incoming.Dequeue();
            if (one.Type == NetworkEventType.FromClient && waitingOf.ContainsKey(one.Peer))
            {
                waitingOf[one.Peer]--;
            }
            happened.Type = (int)one.Type;
            happened.Peer = one.Peer;
            if (one.Bytes != null)
            {
                happened.Data = Lend(one.Bytes, one.Length);
                happened.Length = (UIntPtr)one.Length;
                if (one.Bytes.Length == 2048 && pool.Count < 256)
                {
                    pool.Push(one.Bytes);
                }
            }
            else if (one.Text != null)
            {
                var text = System.Text.Encoding.UTF8.GetBytes(one.Text + "\0");
                happened.Text = Lend(text, text.Length);
            }
            return true;
        }

        /// Bytes outside of the collector's reach, until the next call.
        private IntPtr Lend(byte[] bytes, int length)
        {
            if (lentBytes < length)
            {
                Marshal.FreeHGlobal(lent);
                lent = IntPtr.Zero;
                lent = Marshal.AllocHGlobal(Math.Max(length, 2048));
                lentBytes = Math.Max(length, 2048);
            }
            Marshal.Copy(bytes, 0, lent, length);
            return lent;
        }

        void INetworkFunctions.Flush() { Flush(); }

        void INetworkFunctions.EndClient(ulong client)
        {
            TPeer peer;
            if (Server != null && peers.TryGetValue(client, out peer))
            {
                numbers.Remove(peer);
                peers.Remove(client);
                waitingOf.Remove(client);
                Server.EndOnNetwork(peer);
            }
        }

        void INetworkFunctions.Threw(Exception exception) { thrown = thrown ?? exception; }

        private struct Incoming
        {
            public NetworkEventType Type;
            public ulong Peer;
            public byte[] Bytes;
            public int Length;
            public string Text;
        }
    }
}
