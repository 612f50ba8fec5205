// A game without an engine: a gate, and whoever the server's world has.
//
//     npcsdk serve                                 (in another terminal)
//     mcs -langversion:7.2 -out:game.exe Runtime/*.cs Samples~/Console/Program.cs && mono game.exe
//
// What an engine does sixty times a second is the loop in Main: Poll, and draw.

using System;
using System.Collections.Concurrent;
using System.Threading;
using Npcsdk;

internal static class Program
{
    private static Conversation conversation;
    private static bool speaking;
    private static bool gateIsOpen;

    private static int Main(string[] arguments)
    {
        string address = arguments.Length > 0 ? arguments[0] : NpcClient.DefaultAddress;
        ConcurrentQueue<string> lines = ReadLines();
        using (var client = new NpcClient(address))
        {
            client.Register(
                new ActionDefinition("open_gate", "Opens a gate of the town.", returns: true)
                    .Text("gate", "Which gate.", from: "state.nearby"),
                OpenGate);
            client.OnLoading += loading => Console.WriteLine("[the server loads: " + loading.Stage + "]");
            client.OnProblem += problem => Console.WriteLine("[" + problem + "]");
            client.OnServerLost += error => Console.WriteLine("[" + error + "]");
            Meet(client);

            while (!client.IsOver)
            {
                client.Poll();
                if (conversation != null && !speaking && lines.TryDequeue(out string line))
                {
                    if (line.Length == 0) break;
                    Say(line);
                }
                Thread.Sleep(5); // an engine would draw a frame here
            }
        }
        return 0;
    }

    private static async void Meet(NpcClient client)
    {
        try
        {
            WorldInfo world = await client.WhenReady();
            NpcInfo npc = world.Npcs[0];
            Console.WriteLine("You are in " + world.Name + ", and meet " + npc.Name + ". An empty line leaves.");
            conversation = client.Open(npc.Id);
            conversation.OnText += (turn, piece) => Console.Write(piece.Buffer, 0, piece.Count); // word by word
        }
        catch (NpcException error)
        {
            Console.WriteLine("[" + error.Message + "]");
        }
    }

    private static async void Say(string line)
    {
        speaking = true;
        try
        {
            var state = new ValueMap { { "nearby", new ValueList { "north gate" } }, { "gate_open", gateIsOpen } };
            TurnEnd end = await conversation.Say(line, state);
            Console.WriteLine(end.Reason == EndReason.Stop ? "" : " [" + end.Reason + "]");
        }
        catch (NpcException error)
        {
            Console.WriteLine("[" + error.Message + "]"); // the game goes on, and the client finds the server again
        }
        finally
        {
            speaking = false;
        }
    }

    private static void OpenGate(ActionCall call)
    {
        gateIsOpen = true;
        Console.WriteLine();
        Console.WriteLine("* The " + call.Arguments.Text("gate") + " swings open. *");
        call.Done("The gate is open.");
    }

    // A console waits for its player, so it does so in a thread of its own; a game has a text field instead.
    private static ConcurrentQueue<string> ReadLines()
    {
        var lines = new ConcurrentQueue<string>();
        var reading = new Thread(() =>
        {
            string line;
            while ((line = Console.ReadLine()) != null) lines.Enqueue(line);
            lines.Enqueue("");
        }) { IsBackground = true };
        reading.Start();
        return lines;
    }
}
