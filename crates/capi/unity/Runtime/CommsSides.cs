// The server and the client of a game's network.

using System;

namespace Voicemesh
{
    internal struct NetworkReport
    {
        public NetworkEventType Type;
        public string Text;
    }

    /// What a server and a client report to.
    internal interface IComms<TPeer>
    {
        void Report(NetworkReport report);

        void FromServer(ArraySegment<byte> packet);

        void FromClient(TPeer source, ArraySegment<byte> packet);

        void ClientGone(TPeer peer);
    }

    /// <summary>One program's way to the server. The library makes a new one for each connection.</summary>
    public abstract class BaseClient<TServer, TClient, TPeer>
        where TServer : BaseServer<TServer, TClient, TPeer>
        where TClient : BaseClient<TServer, TClient, TPeer>
        where TPeer : struct, IEquatable<TPeer>
    {
        internal IComms<TPeer> Comms;

        /// <summary>Begins to connect. Call Connected when packets can be sent, however long that takes.</summary>
        public abstract void Connect();

        /// <summary>Ends the connection.</summary>
        public virtual void Disconnect() { }

        /// <summary>Called once a frame: hand each packet that has come to NetworkReceivedPacket.</summary>
        protected abstract void ReadMessages();

        /// <summary>Must arrive, and in order. If you find that one was lost, call FatalError. The array is used again after
        /// the call.</summary>
        protected abstract void SendReliable(ArraySegment<byte> packet);

        /// <summary>Now or not at all.</summary>
        protected abstract void SendUnreliable(ArraySegment<byte> packet);

        /// <summary>Packets can be sent now.</summary>
        protected void Connected() { Comms.Report(new NetworkReport { Type = NetworkEventType.Connected }); }

        /// <summary>The connection is lost; the text, if there is one, says why to a person.</summary>
        protected void Disconnected(string why = null)
        {
            Comms.Report(new NetworkReport { Type = NetworkEventType.Disconnected, Text = why });
        }

        /// <summary>What must arrive was lost: the session ends.</summary>
        protected void FatalError(string why)
        {
            Comms.Report(new NetworkReport { Type = NetworkEventType.Broken, Text = why });
        }

        /// <summary>A packet has come from the server. It is copied.</summary>
        protected void NetworkReceivedPacket(ArraySegment<byte> packet) { Comms.FromServer(packet); }

        internal void ReadFromNetwork() { ReadMessages(); }

        internal void SendOverNetwork(bool isReliable, ArraySegment<byte> packet)
        {
            if (isReliable)
            {
                SendReliable(packet);
            }
            else
            {
                SendUnreliable(packet);
            }
        }
    }

    /// <summary>The server, on the program that hosts a session.</summary>
    public abstract class BaseServer<TServer, TClient, TPeer>
        where TServer : BaseServer<TServer, TClient, TPeer>
        where TClient : BaseClient<TServer, TClient, TPeer>
        where TPeer : struct, IEquatable<TPeer>
    {
        internal IComms<TPeer> Comms;

        /// <summary>Begins to serve; what it throws says why it cannot.</summary>
        public abstract void Connect();

        /// <summary>Ends serving: all clients lose their connection.</summary>
        public abstract void Disconnect();

        /// <summary>Called once a frame: hand each packet that has come to NetworkReceivedPacket, with the connection it came
        /// by.</summary>
        protected abstract void ReadMessages();

        /// <summary>Must arrive, and in order. The array is used again after the call.</summary>
        protected abstract void SendReliable(TPeer destination, ArraySegment<byte> packet);

        /// <summary>Now or not at all.</summary>
        protected abstract void SendUnreliable(TPeer destination, ArraySegment<byte> packet);

        /// <summary>Ends one connection, which takes less than it is sent.</summary>
        protected virtual void DisconnectClient(TPeer client) { }

        /// <summary>A packet has come. It is copied.</summary>
        protected void NetworkReceivedPacket(TPeer source, ArraySegment<byte> packet) { Comms.FromClient(source, packet); }

        /// <summary>A client's connection is gone: call it as soon as that is known.</summary>
        protected void ClientDisconnected(TPeer client) { Comms.ClientGone(client); }

        internal void ReadFromNetwork() { ReadMessages(); }

        internal void EndOnNetwork(TPeer client) { DisconnectClient(client); }

        internal void SendOverNetwork(TPeer destination, bool isReliable, ArraySegment<byte> packet)
        {
            if (isReliable)
            {
                SendReliable(destination, packet);
            }
            else
            {
                SendUnreliable(destination, packet);
            }
        }
    }
}
