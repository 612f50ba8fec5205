using System;
using System.Collections.Generic;

namespace Npcsdk.Tests
{
    /// <summary>
    /// The state machine alone, under events in any order, broken connections and time that jumps: whatever comes, a
    /// turn is told once that it is over, and nothing of it after that; and in the end all turns are over.
    /// </summary>
    internal static class PeerFuzz
    {
        private static readonly string[] Kinds =
        {
            "text", "text", "text", "action", "action_started", "refused", "end", "error", "welcome", "welcome", "opened", "closed",
            "ready", "loading", "reset", "pong", "goodbye", "newer", "done", "done",
        };

        private static readonly string[] Codes =
        {
            "hello_first", "conversation_lost", "turn_in_progress", "npc_unknown", "shutting_down", "server_full",
        };

        internal static void Run(int rounds)
        {
            for (int round = 0; round < rounds; round++) Once(new Random(round));
            Console.WriteLine("ok");
        }

        private static void Once(Random random)
        {
            var peer = new ClientPeer("client", "test");
            var writer = new MsgpackWriter();
            var conversations = new List<Conversation>();
            var running = new HashSet<Turn>();
            double now = 100;
            var asked = new HashSet<Request>();
            int made = 0;
            for (int step = 0; step < 150; step++)
            {
                now += random.Next(20) == 0 ? random.NextDouble() * 9 : random.NextDouble() * 0.1;
                switch (random.Next(15))
                {
                    case 0: peer.TransportUp(now); break;
                    case 1: peer.TransportDown(now); break;
                    case 2: peer.Tick(now); break;
                    case 3:
                        if (conversations.Count > 3) break;
                        conversations.Add(new Conversation(null, "c" + conversations.Count, "mira", "player", null));
                        peer.Open(conversations[conversations.Count - 1]);
                        break;
                    case 4:
                    case 5:
                        if (conversations.Count == 0) break;
                        Conversation to = conversations[random.Next(conversations.Count)];
                        if (to.IsClosed || peer.State == PeerState.Over) break;
                        string id = "t" + made++;
                        var turn = new Turn(to, id, peer.Commands.Say(to.Id, id, "hi", null, null), now);
                        running.Add(turn);
                        peer.Begin(turn);
                        break;
                    case 14:
                        if (peer.State == PeerState.Over) break;
                        Conversation of = conversations.Count > 0 && random.Next(2) == 0 ? conversations[random.Next(conversations.Count)] : null;
                        string name = "r" + made++;
                        var request = new Request(name, "metrics", of, peer.Commands.Metrics(name), now);
                        asked.Add(request);
                        peer.Ask(request);
                        break;
                    case 6:
                        foreach (Turn one in new List<Turn>(running))
                            if (random.Next(3) == 0) peer.Cancel(one);
                        break;
                    case 7:
                        if (conversations.Count > 0 && random.Next(4) == 0) peer.Close(conversations[random.Next(conversations.Count)]);
                        break;
                    default:
                        writer.Data(Message(random, conversations, running, asked));
                        byte[] bytes = writer.Take();
                        peer.Receive(bytes, 0, bytes.Length, now);
                        break;
                }
                Look(peer, running, asked);
                if (random.Next(2) == 0) peer.Outgoing.Clear();
            }
            peer.Leave();
            Look(peer, running, asked);
            Check.Same(running.Count, 0, "turns that never ended");
            Check.Same(asked.Count, 0, "requests without an answer");
        }

        private static ValueMap Message(Random random, List<Conversation> conversations, HashSet<Turn> running, HashSet<Request> asked)
        {
            string kind = Kinds[random.Next(Kinds.Length)];
            var message = new ValueMap { { "event", kind }, { "epoch", "e" + random.Next(2) }, { "protocol", new ValueList { 1, random.Next(8) == 0 ? 0 : 1 } }, { "id", "a" }, { "name", "n" }, { "text", "x" } };
            message["code"] = Codes[random.Next(Codes.Length)];
            Conversation conversation = conversations.Count > 0 ? conversations[random.Next(conversations.Count)] : null;
            if (conversation != null && random.Next(8) > 0)
            {
                message["conversation"] = conversation.Id;
                if (kind != "error" || random.Next(2) == 0) message["seq"] = Math.Max(0, conversation.Seq + random.Next(-1, 4));
                if (random.Next(3) == 0) message["answers"] = "open";
            }
            var turns = new List<Turn>(running);
            if (turns.Count > 0 && random.Next(4) > 0) message["turn"] = turns[random.Next(turns.Count)].Id;
            var requests = new List<Request>(asked);
            if (requests.Count > 0 && (kind == "done" || random.Next(6) == 0))
                message["request"] = System.Text.Encoding.ASCII.GetString(requests[random.Next(requests.Count)].IdBytes);
            return message;
        }

        private static void Look(ClientPeer peer, HashSet<Turn> running, HashSet<Request> asked)
        {
            foreach (Notice notice in peer.Notices)
            {
                if (notice.Request != null) Check.That(asked.Remove(notice.Request), "a request is answered once");
                if (notice.Turn == null) continue;
                Check.That(running.Contains(notice.Turn), "nothing comes after a turn's end: " + notice.Kind);
                if (notice.Kind == NoticeKind.End || notice.Kind == NoticeKind.Error) running.Remove(notice.Turn);
            }
            peer.Notices.Clear();
        }
    }
}
