// Voice over a plain UDP socket, as a game that brings its own networking has it: an integration in three classes, and a program
// that hosts or joins.
//
//   mono Udp.exe host PORT NAME INPUT OUTPUT [KEY]
//   mono Udp.exe join PORT NAME INPUT OUTPUT [KEY]
//
// KEY, 16 bytes in base64, encrypts end to end between those who have it. It prints what happens as lines of JSON, and ends with standard input. A reliable datagram is sent again until it is
// acknowledged, which is as much as an example needs: it knows no congestion and no security.

using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using Voicemesh;

/// A client as the server knows it.
internal struct Remote : IEquatable<Remote>
{
    public IPEndPoint Address;

    public bool Equals(Remote other) { return Address.Equals(other.Address); }

    public override bool Equals(object other) { return other is Remote && Equals((Remote)other); }

    public override int GetHashCode() { return Address.GetHashCode(); }
}

internal sealed class UdpNetwork : BaseCommsNetwork<UdpServer, UdpClientSide, Remote, int, int>
{
    public UdpNetwork(JoinOptions options) : base(options) { }

    protected override UdpServer CreateServer(int port) { return new UdpServer(port); }

    protected override UdpClientSide CreateClient(int port) { return new UdpClientSide(port); }
}

/// One end of a way between two sockets: kind, number, packet.
internal sealed class Line
{
    public const byte Hello = 0, Unreliable = 1, Reliable = 2, Ack = 3, Bye = 4;
    private const int Header = 5;
    private const int AgainMs = 100;
    private const int GoneMs = 5000;
    private const int Kept = 4096;

    private readonly Socket socket;
    private readonly IPEndPoint to;
    private readonly SortedDictionary<uint, byte[]> unacknowledged = new SortedDictionary<uint, byte[]>();
    private readonly SortedDictionary<uint, byte[]> early = new SortedDictionary<uint, byte[]>();
    private uint next, expected;
    private int heardAt = Environment.TickCount, sentAt = Environment.TickCount;

    public Line(Socket socket, IPEndPoint to)
    {
        this.socket = socket;
        this.to = to;
    }

    public bool IsGone { get { return Environment.TickCount - heardAt > GoneMs || unacknowledged.Count > Kept; } }

    public void Send(bool isReliable, ArraySegment<byte> packet)
    {
        var datagram = Datagram(isReliable ? Reliable : Unreliable, isReliable ? next++ : 0, packet);
        if (isReliable)
        {
            unacknowledged[next - 1] = datagram;
        }
        Put(datagram);
    }

    public void Say(byte kind) { Put(Datagram(kind, 0, new ArraySegment<byte>(new byte[0]))); }

    /// What has come on this line; hands over the packets that are due.
    public void Take(byte[] datagram, int length, Action<ArraySegment<byte>> received)
    {
        heardAt = Environment.TickCount;
        var number = BitConverter.ToUInt32(datagram, 1);
        var packet = new ArraySegment<byte>(datagram, Header, length - Header);
        if (datagram[0] == Unreliable)
        {
            received(packet);
        }
        else if (datagram[0] == Ack)
        {
            unacknowledged.Remove(number);
        }
        else if (datagram[0] == Reliable)
        {
            Put(Datagram(Ack, number, new ArraySegment<byte>(new byte[0])));
            if (number >= expected && number - expected < Kept)
            {
                var copy = new byte[packet.Count];
                Buffer.BlockCopy(datagram, Header, copy, 0, copy.Length);
                early[number] = copy;
            }
            byte[] due;
            while (early.TryGetValue(expected, out due))
            {
                early.Remove(expected++);
                received(new ArraySegment<byte>(due));
            }
        }
    }

    /// Once a frame: what was not acknowledged, again, and a sign of life.
    public void Repeat()
    {
        if (Environment.TickCount - sentAt < AgainMs)
        {
            return;
        }
        sentAt = Environment.TickCount;
        Say(Hello);
        foreach (var datagram in unacknowledged.Values)
        {
            Put(datagram);
        }
    }

    /// The next datagram of a socket, if there is one that can be one of a line's.
    public static int Receive(Socket socket, byte[] into, ref EndPoint from)
    {
        while (socket.Available > 0)
        {
            try
            {
                var length = socket.ReceiveFrom(into, ref from);
                if (length >= Header)
                {
                    return length;
                }
            }
            catch (SocketException)
            {
                // The other end is not there (yet).
            }
        }
        return 0;
    }

    private static byte[] Datagram(byte kind, uint number, ArraySegment<byte> packet)
    {
        var datagram = new byte[Header + packet.Count];
        datagram[0] = kind;
        Buffer.BlockCopy(BitConverter.GetBytes(number), 0, datagram, 1, 4);
        if (packet.Count > 0)
        {
            Buffer.BlockCopy(packet.Array, packet.Offset, datagram, Header, packet.Count);
        }
        return datagram;
    }

    private void Put(byte[] datagram)
    {
        try
        {
            socket.SendTo(datagram, to);
        }
        catch (SocketException)
        {
            // As if it was lost on the way.
        }
    }
}

internal sealed class UdpServer : BaseServer<UdpServer, UdpClientSide, Remote>
{
    private readonly int port;
    private readonly byte[] datagram = new byte[65536];
    private readonly Dictionary<Remote, Line> lines = new Dictionary<Remote, Line>();
    private Socket socket;

    public UdpServer(int port) { this.port = port; }

    public override void Connect()
    {
        socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
    }

    public override void Disconnect()
    {
        foreach (var line in lines.Values)
        {
            line.Say(Line.Bye);
        }
        socket.Close();
    }

    protected override void ReadMessages()
    {
        EndPoint from = new IPEndPoint(IPAddress.Any, 0);
        int length;
        while ((length = Line.Receive(socket, datagram, ref from)) > 0)
        {
            var remote = new Remote { Address = (IPEndPoint)from };
            Line line;
            if (datagram[0] == Line.Bye)
            {
                if (lines.Remove(remote))
                {
                    ClientDisconnected(remote);
                }
                continue;
            }
            if (!lines.TryGetValue(remote, out line))
            {
                if (datagram[0] != Line.Hello)
                {
                    continue;
                }
                line = new Line(socket, remote.Address);
                lines[remote] = line;
                line.Say(Line.Hello);
            }
            line.Take(datagram, length, packet => NetworkReceivedPacket(remote, packet));
        }
        foreach (var one in new List<KeyValuePair<Remote, Line>>(lines))
        {
            one.Value.Repeat();
            if (one.Value.IsGone)
            {
                lines.Remove(one.Key);
                ClientDisconnected(one.Key);
            }
        }
    }

    protected override void SendReliable(Remote destination, ArraySegment<byte> packet) { Send(destination, true, packet); }

    protected override void SendUnreliable(Remote destination, ArraySegment<byte> packet) { Send(destination, false, packet); }

    protected override void DisconnectClient(Remote client) { lines.Remove(client); }

    private void Send(Remote destination, bool isReliable, ArraySegment<byte> packet)
    {
        Line line;
        if (lines.TryGetValue(destination, out line))
        {
            line.Send(isReliable, packet);
        }
    }
}

internal sealed class UdpClientSide : BaseClient<UdpServer, UdpClientSide, Remote>
{
    private readonly IPEndPoint server;
    private readonly byte[] datagram = new byte[65536];
    private Socket socket;
    private Line line;
    private bool isConnected;

    public UdpClientSide(int port) { server = new IPEndPoint(IPAddress.Loopback, port); }

    public override void Connect()
    {
        socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        line = new Line(socket, server);
        line.Say(Line.Hello);
    }

    public override void Disconnect()
    {
        line.Say(Line.Bye);
        socket.Close();
    }

    protected override void ReadMessages()
    {
        EndPoint from = new IPEndPoint(IPAddress.Any, 0);
        int length;
        while ((length = Line.Receive(socket, datagram, ref from)) > 0)
        {
            if (!from.Equals(server))
            {
                continue;
            }
            if (datagram[0] == Line.Bye)
            {
                Disconnected();
                return;
            }
            if (!isConnected)
            {
                isConnected = true;
                Connected();
            }
            line.Take(datagram, length, NetworkReceivedPacket);
        }
        line.Repeat();
        if (line.IsGone)
        {
            Disconnected("the host does not answer");
        }
    }

    protected override void SendReliable(ArraySegment<byte> packet) { line.Send(true, packet); }

    protected override void SendUnreliable(ArraySegment<byte> packet) { line.Send(false, packet); }
}

internal static class Udp
{
    /// One frame of a game that draws 60 of them a second.
    private const int FrameMs = 16;

    private static volatile bool ends;

    private static int Main(string[] arguments)
    {
        var mode = arguments[0] == "host" ? NetworkMode.Host : NetworkMode.Client;
        var port = int.Parse(arguments[1]);
        var options = new JoinOptions { Name = arguments[2], Input = arguments[3], Output = arguments[4] };
        if (arguments.Length > 5)
        {
            // 16 random bytes that the game hands to all players with the invitation.
            options.RoomKey = Convert.FromBase64String(arguments[5]);
        }
        var input = new Thread(() =>
        {
            Console.In.ReadLine();
            ends = true;
        });
        input.IsBackground = true;
        input.Start();
        using (var network = new UdpNetwork(options))
        {
            while (!ends)
            {
                // What the game is; with StartHost and StopHost of a menu, RunAsHost and Stop.
                network.Follow(mode, port, port);
                network.Update();
                Event happened;
                while (network.Voice.Poll(out happened))
                {
                    Print(network, happened);
                }
                Thread.Sleep(FrameMs);
            }
            try
            {
                network.Voice.SendToAll(new byte[1], 0, 1, true);
            }
            catch (VoicemeshException refused)
            {
                Console.WriteLine("{{\"event\":\"refused\",\"result\":\"{0}\",\"mode\":\"{1}\",\"status\":\"{2}\"}}",
                    refused.Result, network.Mode, network.Status);
            }
        }
        Console.WriteLine("{\"event\":\"done\"}");
        return 0;
    }

    private static void Print(UdpNetwork network, Event happened)
    {
        switch (happened.Type)
        {
            case EventType.PeerJoined:
                network.Voice.Participant(happened.Peer).SendText("hello " + happened.Name);
                Line("peer-joined", happened.Name, "");
                break;
            case EventType.PeerLeft: Line("peer-left", happened.Name, ""); break;
            case EventType.FirstHeard: Line("first-heard", "", ""); break;
            case EventType.Text: Line("text", happened.Name, happened.Text); break;
            case EventType.EncryptionChanged: Line("encryption", happened.Peer.ToString(), happened.Code); break;
            case EventType.ServerAway: Line("server-away", "", happened.Text); break;
            case EventType.Warned: Line("warned", "", happened.Text); break;
        }
    }

    private static void Line(string what, string name, string text)
    {
        Console.WriteLine("{{\"event\":\"{0}\",\"name\":\"{1}\",\"text\":\"{2}\"}}", what, name, text.Replace('"', '\''));
    }
}
