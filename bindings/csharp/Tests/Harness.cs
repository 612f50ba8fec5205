using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;

namespace Npcsdk.Tests
{
    /// <summary>
    /// A client that does what its standard input says and tells what happens on its standard output, one line each,
    /// fields divided by tabs. So a test in another language drives it like a game.
    /// </summary>
    internal static class Harness
    {
        private static readonly Dictionary<string, Turn> Turns = new Dictionary<string, Turn>();
        private static readonly Dictionary<string, ActionCall> Calls = new Dictionary<string, ActionCall>();
        private static readonly List<Conversation> Conversations = new List<Conversation>();

        internal static void Run(string address, double silence)
        {
            var lines = new ConcurrentQueue<string>();
            var reading = new Thread(() =>
            {
                for (string line; (line = Console.ReadLine()) != null;) lines.Enqueue(line);
                lines.Enqueue("quit");
            }) { IsBackground = true };
            reading.Start();
            var client = Connect(address, silence);
            double longest = 0;
            while (true)
            {
                while (lines.TryDequeue(out string line))
                {
                    string[] words = line.Split(new[] { ' ' }, 3);
                    if (words[0] == "quit")
                    {
                        long before = Stopwatch.GetTimestamp();
                        client.Dispose();
                        client.Dispose();
                        Out("quit", Milliseconds(before), longest);
                        return;
                    }
                    if (words[0] == "again")
                    {
                        client.Dispose();
                        Turns.Clear();
                        Conversations.Clear();
                        client = Connect(address, silence);
                        Out("again");
                    }
                    else Do(client, words);
                }
                long start = Stopwatch.GetTimestamp();
                client.Poll();
                longest = Math.Max(longest, Milliseconds(start));
                Thread.Sleep(1);
            }
        }

        private static NpcClient Connect(string address, double silence)
        {
            var client = new NpcClient(address, silence);
            client.Register(
                new ActionDefinition("open_gate", "Opens a gate.", returns: true).Text("gate"),
                call => call.Done("opened " + call.Arguments.Text("gate")));
            client.Handle("broken", call => throw new InvalidOperationException("a bug in the game"));
            client.OnReady += world => Out("ready", world.Name, world.Npcs.Count);
            client.OnProblem += error => Out("problem", error.Code);
            client.OnOverheard += one => Out("overheard", one.Npc, one.Player, one.Kind, one.Content.Text("line"));
            client.OnServerLost += error => Out("lost", error.Code, client.IsOver);
            Tell(client);
            return client;
        }

        private static async void Tell(NpcClient client)
        {
            try
            {
                WorldInfo world = await client.WhenReady();
                Out("awaited", world.Name);
            }
            catch (NpcException error)
            {
                Out("awaited", error.Code);
            }
        }

        private static void Do(NpcClient client, string[] words)
        {
            try
            {
                switch (words[0])
                {
                    case "open":
                        Conversation made = client.Open(words[1], "player", words.Length > 2 ? words[2] : null);
                        made.OnOpened += c => Out("opened", c.Id, c.History);
                        made.OnOpenFailed += (c, error) => Out("open failed", c.Id, error.Code);
                        made.OnText += (turn, piece) => Out("text", turn.Id, piece.Offset, piece.Span.ToString());
                        made.OnActionStarted += (turn, start) => Out("started", turn.Id, start.Id, start.Name);
                        made.OnRefused += (turn, refusal) => Out("refused", turn.Id, refusal.Code);
                        made.OnEnd += (turn, end) => Out("end", turn.Id, end.Reason, end.Text);
                        made.OnError += (turn, error) => Out("error", turn.Id, error.Code, error.Text);
                        made.OnAction += call =>
                        {
                            Calls[call.Id] = call;
                            Out("action", call.Turn.Id, call.Id, call, call.WantsResult);
                        };
                        Conversations.Add(made);
                        break;
                    case "say": Begin(Conversations[int.Parse(words[1])].Say(words[2])); break;
                    case "seeded": Begin(Conversations[int.Parse(words[1])].Say(words[2], new ValueMap { { "trust", 61 } }, 7)); break;
                    case "react": Begin(Conversations[int.Parse(words[1])].React(words[2])); break;
                    case "cancel": Conversations[int.Parse(words[1])].Cancel(); break;
                    case "close": Conversations[int.Parse(words[1])].Close(); break;
                    case "done": Calls[words[1]].Done(words[2]); break;
                    case "fail": Calls[words[1]].Fail(words[2]); break;
                    case "trouble": Out("trouble", client.ConnectionTrouble ?? ""); break;
                    case "prepare": Ask(Conversations[int.Parse(words[1])].Prepare()); break;
                    case "state": Ask(Conversations[int.Parse(words[1])].SetState(new ValueMap { { words[2], true } })); break;
                    case "typing": Conversations[int.Parse(words[1])].Typing(words[2]); break;
                    case "heard": Ask(Turns[words[1]].Heard(long.Parse(words[2]))); break;
                    case "set": Ask(client.SetValues(words[1], new ValueMap { { words[2], 70 } })); break;
                    case "remember": Ask(client.Remember(words[1], words[2])); break;
                    case "save": Ask(client.Save(words[1])); break;
                    case "load": Ask(client.Load(words[1])); break;
                    case "slots": Ask(client.Slots()); break;
                    case "metrics": Ask(client.Metrics()); break;
                    case "subscribe": Ask(client.Subscribe(words[1], words[2] == "on")); break;
                    case "late":
                        Check.Throws("too_late", () => client.Register(new ActionDefinition("x", "y")), "late");
                        break;
                    default: Out("what", words[0]); break;
                }
            }
            catch (NpcException error)
            {
                Out("threw", error.Code);
            }
        }

        private static async void Begin(Turn turn)
        {
            Out("turn", turn.Id);
            Turns[turn.Id] = turn;
            try
            {
                TurnEnd end = await turn;
                Out("then", turn.Id, end.Reason);
            }
            catch (NpcException error)
            {
                Out("then", turn.Id, error.Code);
            }
        }

        private static async void Ask(Request request)
        {
            try
            {
                Out("done", request.Kind, (Value)await request);
            }
            catch (NpcException error)
            {
                Out("refused request", request.Kind, error.Code);
            }
        }

        private static void Out(params object[] fields)
        {
            for (int i = 0; i < fields.Length; i++)
            {
                if (i > 0) Console.Write('\t');
                Console.Write(Convert.ToString(fields[i], System.Globalization.CultureInfo.InvariantCulture).Replace("\n", "\\n"));
            }
            Console.Write('\n');
            Console.Out.Flush();
        }

        private static double Milliseconds(long since) => (Stopwatch.GetTimestamp() - since) * 1000.0 / Stopwatch.Frequency;
    }
}
