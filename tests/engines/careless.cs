// What a careless game does with its network: disposes of the voice within a function of the network, says every
// frame that it has lost its connection, and lets packets wait for an Update that does not come. Prints what became of it.

using System;
using Voicemesh;

internal struct Number : IEquatable<Number>
{
    public int Value;

    public bool Equals(Number other) { return Value == other.Value; }

    public override int GetHashCode() { return Value; }
}

internal sealed class Network : BaseCommsNetwork<Server, Client, Number, Unit, Unit>
{
    public Action<Client> Reads = client => { };

    public Network() : base(new JoinOptions { Name = "Ada", Input = "silence", Output = "null" }) { }

    public Server Hosted { get { return Server; } }

    protected override Server CreateServer(Unit details) { return new Server(); }

    protected override Client CreateClient(Unit details) { return new Client(this); }
}

internal sealed class Server : BaseServer<Server, Client, Number>
{
    public int Ended { get; private set; }

    public bool HasEndedFirst { get; private set; }

    public override void Connect() { }

    public override void Disconnect() { }

    protected override void ReadMessages() { }

    protected override void SendReliable(Number destination, ArraySegment<byte> packet) { }

    protected override void SendUnreliable(Number destination, ArraySegment<byte> packet) { }

    protected override void DisconnectClient(Number client)
    {
        Ended++;
        HasEndedFirst |= client.Value == 0;
    }

    public void Receive(int from) { NetworkReceivedPacket(new Number { Value = from }, new ArraySegment<byte>(new byte[20])); }
}

internal sealed class Client : BaseClient<Server, Client, Number>
{
    private readonly Network network;

    public Client(Network network) { this.network = network; }

    public override void Connect() { }

    public void Lose() { Disconnected("the cable is out"); }

    protected override void ReadMessages() { network.Reads(this); }

    protected override void SendReliable(ArraySegment<byte> packet) { }

    protected override void SendUnreliable(ArraySegment<byte> packet) { }
}

internal static class Careless
{
    private const int Frames = 300;

    private static int Main()
    {
        var disposed = new Network { Reads = null };
        var calls = 0;
        disposed.Reads = client =>
        {
            calls++;
            disposed.Dispose();
        };
        disposed.RunAsClient(Unit.None);
        for (var frame = 0; calls == 0; frame++)
        {
            disposed.Update();
            System.Threading.Thread.Sleep(1);
        }
        Console.WriteLine("{{\"event\":\"disposed\",\"calls\":{0}}}", calls);

        var lost = new Network { Reads = client => client.Lose() };
        lost.RunAsClient(Unit.None);
        var refused = 0;
        for (var frame = 0; refused == 0 || frame < Frames; frame++)
        {
            lost.Update();
            Event happened;
            while (lost.Voice.Poll(out happened))
            {
                refused += happened.Type == EventType.Refused ? 1 : 0;
            }
            System.Threading.Thread.Sleep(1);
        }
        lost.Dispose();
        Console.WriteLine("{{\"event\":\"lost\",\"refused\":{0}}}", refused);

        var flooded = new Network();
        flooded.RunAsHost(Unit.None, Unit.None);
        while (flooded.Hosted == null)
        {
            flooded.Update();
            System.Threading.Thread.Sleep(1);
        }
        var hosted = flooded.Hosted;
        var before = GC.GetTotalMemory(true);
        // One that says little, and two that flood.
        hosted.Receive(0);
        for (var packet = 0; packet < 1000000; packet++)
        {
            hosted.Receive(1 + packet % 2);
        }
        hosted.Receive(0);
        var megabytes = (GC.GetTotalMemory(true) - before) >> 20;
        var ended = hosted.Ended;
        flooded.Update();
        flooded.Dispose();
        Console.WriteLine(
            "{{\"event\":\"flooded\",\"ended\":{0},\"ended_first\":{1},\"megabytes\":{2}}}",
            ended,
            hosted.HasEndedFirst ? "true" : "false",
            megabytes);
        return 0;
    }
}
