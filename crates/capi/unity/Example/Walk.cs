// A server and two clients in one program, as in UnityP2P's example scene: they meet, talk, and leave. Prints what happens as lines
// of JSON, and ends by itself.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using Voicemesh;

internal sealed class Walk
{
    private const int FrameMs = 16;
    private const int PatienceMs = 20000;

    private readonly List<P2PClient> clients = new List<P2PClient>();
    private P2PServer server;
    private int connected;
    private int disconnected;
    private string refusal;
    private string folder;
    private readonly List<string> texts = new List<string>();

    private static int Main(string[] arguments)
    {
        new Walk().Play(arguments[0], arguments[1]);
        Console.WriteLine("{\"event\":\"done\"}");
        return 0;
    }

    private void Play(string url, string stateDir)
    {
        folder = stateDir;
        Func<string, JoinOptions> quiet = name => new JoinOptions
        {
            Server = url, Room = "walk", Name = name, StateDir = stateDir, Input = "silence", Output = "null"
        };
        // A client that is there before the room is waits for it.
        AddClient(quiet("early"));
        Until("the early client has looked for its room", () => clients[0].Voice == null);

        server = new P2PServer(quiet("server"));
        server.OnConnection += Connected;
        server.OnDisconnection += Disconnected;
        server.OnText += (from, text) => texts.Add(text);
        Until("the early client is in", () => server.Connections.Count == 1 && clients[0].Connections.Count == 1);

        var late = quiet("late");
        late.Input = "tone:500";
        late.Metadata["team"] = "red";
        AddClient(late);
        Until("everyone sees everyone", () => connected == 6 && clients[1].Connections.Count == 2);

        // A room has one server.
        var second = new P2PServer(quiet("second"));
        second.OnFailure += (code, why) => refusal = code;
        Until("the second server is refused", () => { second.UpdateServer(); return refusal == "room-exists"; });
        second.Dispose();

        clients[1].Voice.SendText("hello, all");
        Until("texts have come", () => texts.Contains("hello, all"));

        // Messages: a part of an array to one, a whole one to all.
        var data = Encoding.UTF8.GetBytes("..hello, server..");
        server.OnReceivedMessage += message =>
        {
            var said = Encoding.UTF8.GetString(message.MessageData.Buffer, message.MessageData.Offset,
                message.MessageData.ContentLength);
            texts.Add(said + " " + message.Type);
            server.SendMessage(message.ConnectionId, Encoding.UTF8.GetBytes("hello back"), true);
            server.SendMessageToAll(new byte[] { 1, 2, 3 }, true);
        };
        var answers = 0;
        var toAll = 0;
        foreach (var client in clients)
        {
            client.OnReceivedMessage += message =>
            {
                var said = Encoding.UTF8.GetString(message.MessageData.Buffer, message.MessageData.Offset,
                    message.MessageData.ContentLength);
                answers += said == "hello back" ? 1 : 0;
                toAll += said == "\x01\x02\x03" ? 1 : 0;
            };
        }
        foreach (var other in clients[1].Connections)
        {
            clients[1].SendMessage(other, data, 2, 13, true);
        }
        Until("the server has answered", () => answers == 1 && toAll == 2);
        Require("it came as it was sent", texts.Contains("hello, server ReliableMessageReceived"));

        PlayGame();
        Until("without a key all have one code to compare", () => server.Voice.SafetyCode != null
            && clients.TrueForAll(one => one.Voice.SafetyCode == server.Voice.SafetyCode));
        PlayPrivately(url, quiet);

        // Who leaves is gone for everyone, once.
        clients[1].Dispose();
        clients[1].Dispose();
        Until("two have seen one leave", () => disconnected == 2);
        Require("one is left", server.Connections.Count == 1 && clients[1].Connections.Count == 0);
        clients[0].Dispose();
        Until("the server is alone", () => server.Connections.Count == 0);
        server.Dispose();
        server.Dispose();
        server.UpdateServer();
    }

    /// Two who join by a link with a key: the server cannot listen to them.
    private void PlayPrivately(string url, Func<string, JoinOptions> quiet)
    {
        var link = JoinOptions.NewLink(url, "private walk");
        Require("each link has its own key", link.Contains("#k=") && link != JoinOptions.NewLink(url, "private walk"));
        var people = new List<Room>();
        foreach (var name in new[] { "ann", "ben" })
        {
            var options = quiet(name);
            options.Room = link;
            people.Add(new Room(options));
        }
        var verified = new[] { false, false };
        var text = "";
        var isSaid = false;
        Until("both have the key, and one reads the other", () =>
        {
            for (var number = 0; number < people.Count; number++)
            {
                Event happened;
                while (people[number].Poll(out happened))
                {
                    verified[number] |= happened.Type == EventType.EncryptionChanged && happened.Code == "verified";
                    text = number == 1 && happened.Type == EventType.Text ? happened.Text : text;
                }
            }
            if (verified[0] && verified[1] && !isSaid)
            {
                isSaid = true;
                people[0].SendText("behind the link");
            }
            return text == "behind the link";
        });
        Until("both see one code", () => people[0].SafetyCode.Length == 35 && people[0].SafetyCode == people[1].SafetyCode);
        foreach (var person in people)
        {
            person.Dispose();
        }
    }

    /// The server as a game: a channel, what the room publishes, where a peer stands, and its voice on a separate thread.
    private void PlayGame()
    {
        var voice = server.Voice;
        var late = default(PeerId);
        foreach (var connection in server.Connections)
        {
            if (voice.Participant(connection.Peer).Metadata("team") == "red")
            {
                late = connection.Peer;
            }
        }
        Require("the keys are listed", voice.Participant(late).MetadataKeys.Contains(Room.ReachabilityKey));
        Require("there is no such key", voice.Participant(late).Metadata("nothing") == null);

        var isMade = new Dictionary<ulong, bool>();
        var reached = "";
        server.OnEvent += happened =>
        {
            if (happened.Type == EventType.TransactionDone)
            {
                isMade[happened.Transaction] = happened.On;
            }
            if (happened.Type == EventType.ChannelMessage)
            {
                reached = happened.Channel + " " + Encoding.UTF8.GetString(happened.Data);
            }
        };
        var changes = new Dictionary<string, string> { { "map", "ice" }, { "weather", null } };
        // The peer that opened the room owns it.
        var own = voice.Lobby.SetMetadata(changes);
        var room = voice.Lobby.SetRoomMetadata(changes);
        Until("both are answered", () => isMade.Count == 2);
        Require("the owner publishes both", isMade[own] && isMade[room]);
        Until("and reads them", () => voice.Metadata("map") == "ice" && voice.Lobby.RoomMetadata("map") == "ice");

        // Everyone sees that a recording is kept.
        var seen = MemberStatus.None;
        clients[1].OnEvent += happened => seen = happened.Type == EventType.StatusChanged ? happened.Status : seen;
        voice.StartRecording(folder + "/recording");
        Until("the recording is seen", () => seen == MemberStatus.Recording);
        var second = Result.Ok;
        try
        {
            voice.StartRecording(folder + "/second");
        }
        catch (VoicemeshException refused)
        {
            second = refused.Result;
        }
        Require("one is kept at a time", second == Result.AlreadyRecording);
        voice.StopRecording();
        Until("its end is seen", () => seen == MemberStatus.None);

        var guest = clients[1].Voice;
        var self = default(PeerId);
        Until("the guest reads what the owner publishes", () =>
        {
            foreach (var connection in clients[1].Connections)
            {
                self = guest.Participant(connection.Peer).Metadata("map") == "ice" ? connection.Peer : self;
            }
            return self != default(PeerId);
        });
        Require("all know the owner", guest.Lobby.Owner == self && voice.Lobby.Owner == self);
        voice.Channel(late, 5).Open(true);
        guest.Channel(self, 5).Open(true);
        guest.Channel(self, 5).Send(Encoding.UTF8.GetBytes("..over the channel"), 2, 16);
        Until("it came over the channel", () => reached == "5 over the channel");

        var movedTo = "";
        var heldIn = "";
        var refusedOf = 0UL;
        clients[1].OnEvent += happened =>
        {
            if (happened.Type == EventType.Moved)
            {
                movedTo = happened.Groups[0];
            }
            if (happened.Type == EventType.Held && happened.Peer == late && happened.Groups != null)
            {
                heldIn = happened.Groups[0];
            }
            if (happened.Type == EventType.TransactionDone && !happened.On)
            {
                refusedOf = happened.Transaction;
            }
        };
        // A text to a talk group goes to those who listen to it.
        voice.Group("Red team").Join();
        var waited = 0;
        Until("the group has its text", () =>
        {
            // Again now and then, until the server knows who listens.
            if (waited++ % 60 == 0)
            {
                guest.Group("Red team").SendText("to the red team");
            }
            return texts.Contains("to the red team");
        });
        guest.Group("Blue team").SendText("to the blue team");
        guest.SendText("after it");
        Until("the next text has come", () => texts.Contains("after it"));
        Require("of another group nothing comes", !texts.Contains("to the blue team"));

        // The peer that opened the room may moderate the others; the answers come in the order of the questions.
        var muted = voice.Lobby.Moderate(Decision.Mute, late, null, 0);
        var moved = voice.Lobby.Moderate(Decision.Move, late, "Red team", 0);
        var heard = voice.Lobby.Moderate(Decision.Unmute, late, null, 0);
        Until("the decisions are answered", () => isMade.ContainsKey(heard));
        Require("they were carried out", isMade[muted] && isMade[moved] && isMade[heard]);
        var absent = voice.Lobby.Moderate(Decision.Kick, default(PeerId), null, 0);
        var guests = guest.Lobby.Moderate(Decision.Lock, default(PeerId), null, 0);
        Until("a decision about no member is answered", () => isMade.ContainsKey(absent));
        Require("it is refused", !isMade[absent]);
        Until("the guest has moved", () => movedTo == "Red team");
        Until("the guest is held there", () => heldIn == "Red team" && guest.HeldIn.Contains("Red team"));
        Until("the others see it", () => voice.Participant(late).HeldIn.Contains("Red team"));
        Require("no one else is held", voice.HeldIn.Count == 0 && guest.Participant(self).HeldIn.Count == 0);
        guest.Group(Room.GlobalGroup).Join();
        Until("the guest's own decision is answered", () => refusedOf == guests);

        // A server that asks for no token takes one all the same; text that is none is refused here.
        voice.Lobby.SetToken("head.claims.signature");

        voice.Speaker.SetListener(new Vector(0, 0, 0), new Vector(0, 0, 1), new Vector(0, 1, 0));
        voice.Participant(late).SetPosition(new Vector(1, 0, 0), new Vector(0, 0, 0));
        voice.Speaker.SetAttenuation(Attenuation.Linear, 1, 20, 1);
        using (var grid = new ProximityGrid("walk", 20, GridAxes.Ground))
        using (var speaking = voice.TransmitToPeer(late, 1, Priority.High, true))
        using (var microphone = voice.Microphone.OpenFeed(16000))
        using (var spoken = voice.Participant(late).OpenVoice(44100))
        using (var everyone = voice.Speaker.OpenMix(48000))
        {
            voice.MoveIn(grid, new Vector(5, 0, 5));
            speaking.Set(0.5f, Priority.Default, false);
            Require("there is room", microphone.Write(new float[160], 160) == 160);
            var isHeard = false;
            var isOver = false;
            var audio = new Thread(() =>
            {
                var data = new float[2 * 441];
                while (!Volatile.Read(ref isOver))
                {
                    // What an AudioSource with a clip of ones hands over.
                    for (var at = 0; at < data.Length; at++)
                    {
                        data[at] = 1;
                    }
                    spoken.Shape(data, 2);
                    everyone.Add(data, 2);
                    foreach (var sample in data)
                    {
                        if (Math.Abs(sample) > 0.05f)
                        {
                            Volatile.Write(ref isHeard, true);
                        }
                    }
                    Thread.Sleep(10);
                }
            });
            audio.Start();
            Until("the voice is heard", () => Volatile.Read(ref isHeard));
            bool isSpeaking;
            Until("and is loud", () => voice.Participant(late).Level(out isSpeaking) > -50 && isSpeaking);
            // It may go while it is read.
            spoken.Dispose();
            Volatile.Write(ref isOver, true);
            audio.Join();
            voice.LeaveGrid(grid);
        }
    }

    private void AddClient(JoinOptions options)
    {
        var client = new P2PClient(options);
        client.OnConnection += Connected;
        client.OnDisconnection += Disconnected;
        clients.Add(client);
    }

    private void Connected(ConnectionId connection)
    {
        connected++;
        Console.WriteLine("{{\"event\":\"connection\",\"id\":\"{0}\"}}", connection);
    }

    private void Disconnected(ConnectionId connection)
    {
        disconnected++;
        Console.WriteLine("{{\"event\":\"disconnection\",\"id\":\"{0}\"}}", connection);
    }

    /// Goes on with the game, frame by frame, until something is so.
    private void Until(string what, Func<bool> isSo)
    {
        for (var waited = 0; !isSo(); waited += FrameMs)
        {
            Require(what, waited < PatienceMs);
            if (server != null)
            {
                server.UpdateServer();
            }
            foreach (var client in clients)
            {
                client.UpdateClient();
            }
            Thread.Sleep(FrameMs);
        }
    }

    private static void Require(string what, bool isSo)
    {
        if (!isSo)
        {
            throw new Exception("not so: " + what);
        }
    }
}
