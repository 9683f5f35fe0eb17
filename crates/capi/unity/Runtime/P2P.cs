// For those who come from UnityP2P: a server that owns a room, clients that join it, and events that the update of a frame
// raises. All of them are peers; none is needed by the others once they have met.

using System;
using System.Collections.Generic;

namespace Voicemesh
{
    /// <summary>Another peer in the room.</summary>
    public struct ConnectionId : IEquatable<ConnectionId>
    {
        public readonly PeerId Peer;

        public ConnectionId(PeerId peer) { Peer = peer; }

        public bool Equals(ConnectionId other) { return Peer == other.Peer; }

        public override bool Equals(object other) { return other is ConnectionId && Equals((ConnectionId)other); }

        public override int GetHashCode() { return Peer.GetHashCode(); }

        public static bool operator ==(ConnectionId left, ConnectionId right) { return left.Equals(right); }

        public static bool operator !=(ConnectionId left, ConnectionId right) { return !left.Equals(right); }

        public override string ToString() { return Peer.ToString(); }
    }

    /// <summary>How a message came.</summary>
    public enum NetEventType
    {
        UnreliableMessageReceived,
        ReliableMessageReceived
    }

    /// <summary>The bytes of a message within a buffer: ContentLength of them, from Offset on.</summary>
    public struct MessageBuffer
    {
        public byte[] Buffer;
        public int Offset;
        public int ContentLength;

        public static implicit operator byte[](MessageBuffer message) { return message.Buffer; }
    }

    /// <summary>A message: from whom, how, and what.</summary>
    public struct NetworkEvent
    {
        public NetEventType Type;
        public ConnectionId ConnectionId;
        public MessageBuffer MessageData;
    }

    /// <summary>What a server and a client have in common, which is everything but how they join.</summary>
    public abstract class P2PPeer : IDisposable
    {
        /// <summary>How long a client waits before it looks for its room again, at first and at most.</summary>
        private const int FirstWaitMs = 250;
        private const int LongestWaitMs = 8000;

        private readonly JoinOptions options;
        private readonly List<ConnectionId> connections = new List<ConnectionId>();
        private readonly bool waitsForTheRoom;
        private Room room;
        private bool isDisposed;
        private int waitMs = FirstWaitMs;
        private int triedAt;

        protected P2PPeer(JoinOptions options, bool waitsForTheRoom)
        {
            this.options = options;
            this.waitsForTheRoom = waitsForTheRoom;
            room = new Room(options);
        }

        /// <summary>A peer is in the room: raised once for each, also for those that were there before.</summary>
        public event Action<ConnectionId> OnConnection;

        /// <summary>A peer is no longer in the room.</summary>
        public event Action<ConnectionId> OnDisconnection;

        /// <summary>A peer sent a message.</summary>
        public event Action<NetworkEvent> OnReceivedMessage;

        /// <summary>A peer wrote a text: who, and what.</summary>
        public event Action<ConnectionId, string> OnText;

        /// <summary>Everything that happens, first and as it is: channels, metadata, the owner and so on.</summary>
        public event Action<Event> OnEvent;

        /// <summary>The room cannot be joined, now or ever: a code ("room-exists"), and a sentence.</summary>
        public event Action<string, string> OnFailure;

        /// <summary>The other peers in the room, in the order of arrival.</summary>
        public IList<ConnectionId> Connections { get { return connections.AsReadOnly(); } }

        /// <summary>The voice: mute, volumes, groups. Null while a client waits for its room, and after Dispose.</summary>
        public Room Voice { get { return room; } }

        /// <summary>Sends a message to one of the connections. Throws what cannot be sent; with Result.WouldBlock, later.</summary>
        public void SendMessage(ConnectionId to, byte[] data, bool isReliable)
        {
            SendMessage(to, data, 0, data.Length, isReliable);
        }

        /// <summary>The same with a part of an array.</summary>
        public void SendMessage(ConnectionId to, byte[] data, int offset, int length, bool isReliable)
        {
            Joined().Participant(to.Peer).Send(data, offset, length, isReliable);
        }

        /// <summary>Sends a message to everyone in the room, once each.</summary>
        public void SendMessageToAll(byte[] data, bool isReliable) { SendMessageToAll(data, 0, data.Length, isReliable); }

        /// <summary>The same with a part of an array.</summary>
        public void SendMessageToAll(byte[] data, int offset, int length, bool isReliable)
        {
            Joined().SendToAll(data, offset, length, isReliable);
        }

        /// <summary>Leaves; nothing is raised any more. May be called again.</summary>
        public void Dispose()
        {
            isDisposed = true;
            connections.Clear();
            Leave();
        }

        /// <summary>Raises what happened since the last frame. Handlers may dispose.</summary>
        protected void Update()
        {
            if (room == null && !isDisposed && Environment.TickCount - triedAt >= waitMs)
            {
                waitMs = Math.Min(waitMs * 2, LongestWaitMs);
                room = new Room(options);
            }
            Event happened;
            while (room != null && room.Poll(out happened))
            {
                Raise(happened);
            }
        }

        private void Raise(Event happened)
        {
            if (OnEvent != null)
            {
                OnEvent(happened);
            }
            var connection = new ConnectionId(happened.Peer);
            switch (happened.Type)
            {
                case EventType.Joined:
                    waitMs = FirstWaitMs;
                    break;
                case EventType.PeerJoined:
                    if (!connections.Contains(connection))
                    {
                        connections.Add(connection);
                        Tell(OnConnection, connection);
                    }
                    break;
                case EventType.PeerLeft:
                    if (connections.Remove(connection))
                    {
                        Tell(OnDisconnection, connection);
                    }
                    break;
                case EventType.Text:
                    if (OnText != null)
                    {
                        OnText(connection, happened.Text);
                    }
                    break;
                case EventType.Message:
                    if (OnReceivedMessage != null)
                    {
                        OnReceivedMessage(Message(connection, happened));
                    }
                    break;
                case EventType.Refused:
                    Leave();
                    if (waitsForTheRoom && happened.Code == "room-missing")
                    {
                        triedAt = Environment.TickCount;
                    }
                    else
                    {
                        isDisposed = true;
                        if (OnFailure != null)
                        {
                            OnFailure(happened.Code, happened.Text);
                        }
                    }
                    break;
            }
        }

        private static NetworkEvent Message(ConnectionId from, Event happened)
        {
            return new NetworkEvent
            {
                Type = happened.IsReliable
                    ? NetEventType.ReliableMessageReceived : NetEventType.UnreliableMessageReceived,
                ConnectionId = from,
                MessageData = new MessageBuffer { Buffer = happened.Data, ContentLength = happened.Data.Length }
            };
        }

        private Room Joined()
        {
            if (room == null)
            {
                throw new VoicemeshException(Result.Closed, "it is not in a room");
            }
            return room;
        }

        private void Leave()
        {
            if (room != null)
            {
                room.Dispose();
                room = null;
            }
        }

        private static void Tell(Action<ConnectionId> handlers, ConnectionId connection)
        {
            if (handlers != null)
            {
                handlers(connection);
            }
        }
    }

    /// <summary>Opens a room. If another peer has opened it already, OnFailure reports "room-exists".</summary>
    public sealed class P2PServer : P2PPeer
    {
        /// <summary>Opens the room of that name at a server: wss://host.</summary>
        public P2PServer(string signalingServer, string roomName)
            : this(new JoinOptions { Server = signalingServer, Room = roomName, Name = "server" })
        {
        }

        /// <summary>The same with more to choose.</summary>
        public P2PServer(JoinOptions options) : base(Opening(options), false) { }

        /// <summary>Once a frame.</summary>
        public void UpdateServer() { Update(); }

        private static JoinOptions Opening(JoinOptions options)
        {
            options.Presence = Presence.MustNotExist;
            return options;
        }
    }

    /// <summary>Joins a room that a P2PServer has opened, and waits for it if there is none yet.</summary>
    public sealed class P2PClient : P2PPeer
    {
        /// <summary>Joins the room of that name at a server: wss://host.</summary>
        public P2PClient(string signalingServer, string roomName)
            : this(new JoinOptions { Server = signalingServer, Room = roomName, Name = "client" })
        {
        }

        /// <summary>The same with more to choose.</summary>
        public P2PClient(JoinOptions options) : base(Joining(options), true) { }

        /// <summary>Once a frame.</summary>
        public void UpdateClient() { Update(); }

        private static JoinOptions Joining(JoinOptions options)
        {
            options.Presence = Presence.MustExist;
            return options;
        }
    }
}
