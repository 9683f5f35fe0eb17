// The C example (examples/room.c) in C#, as a program without Unity: joins a room, answers texts, prints what happens as
// lines of JSON, and leaves when another peer writes "leave, NAME". In Unity, Play's loop stands in a MonoBehaviour's Update.

using System;
using System.Text;
using System.Threading;
using Voicemesh;

internal static class Program
{
    /// One frame of a game that draws 60 of them a second.
    private const int FrameMs = 16;

    private static int Main(string[] arguments)
    {
        Console.OutputEncoding = new UTF8Encoding(false);
        var options = new JoinOptions
        {
            Server = arguments[0],
            Room = arguments[1],
            Name = arguments[2],
            StateDir = arguments[3],
            Input = arguments[4],
            Output = arguments[5]
        };
        options.Metadata["engine"] = "mono";
        var room = new Room(options);
        while (Play(room, options.Name))
        {
            Thread.Sleep(FrameMs);
        }
        room.Dispose();
        room.Dispose();
        Event happened;
        if (room.Poll(out happened))
        {
            throw new Exception("something happened after the end");
        }
        try
        {
            room.Microphone.SetMuted(true);
            throw new Exception("it can be muted after the end");
        }
        catch (VoicemeshException closed)
        {
            if (closed.Result != Result.Closed)
            {
                throw;
            }
        }
        Console.WriteLine("{\"event\":\"done\"}");
        return 0;
    }

    /// What happened since the last frame; false when the game is over.
    private static bool Play(Room room, string ownName)
    {
        Event happened;
        while (room.Poll(out happened))
        {
            switch (happened.Type)
            {
                case EventType.Joined: Print("joined", happened); break;
                case EventType.Connected: Print("connected", happened); break;
                case EventType.PeerJoined: Print("peer-joined", happened); break;
                case EventType.PeerLeft: Print("peer-left", happened); break;
                case EventType.RouteChanged: Print("route-changed", happened); break;
                case EventType.FirstHeard: Print("first-heard", happened); break;
                // A peer muted or deafened itself, say: a game shows it beside the name.
                case EventType.StatusChanged: Print("status-changed", happened); break;
                case EventType.Text:
                    Print("text", happened);
                    if (happened.Text == "leave, " + ownName)
                    {
                        return false;
                    }
                    room.Participant(happened.Peer).SendText("you said: " + happened.Text);
                    break;
                case EventType.Refused: Print("refused", happened); return false;
                case EventType.Left: return false;
            }
        }
        return true;
    }

    private static void Print(string what, Event happened)
    {
        Console.WriteLine("{{\"event\":\"{0}\",\"peer\":\"{1}\",\"route\":{2},\"on\":{3},\"name\":{4},\"text\":{5},\"code\":{6},\"muted\":{7}}}",
            what, happened.Peer, (int)happened.Route, happened.On ? 1 : 0, Quoted(happened.Name), Quoted(happened.Text),
            Quoted(happened.Code), (happened.Status & MemberStatus.Muted) != 0 ? "true" : "false");
    }

    private static string Quoted(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (var letter in text)
        {
            if (letter == '"' || letter == '\\')
            {
                quoted.Append('\\').Append(letter);
            }
            else if (letter < ' ')
            {
                quoted.AppendFormat("\\u{0:x4}", (int)letter);
            }
            else
            {
                quoted.Append(letter);
            }
        }
        return quoted.Append('"').ToString();
    }
}
