using System;
using System.Collections.Generic;

namespace Npcsdk.Tests
{
    /// <summary>The state machine, and the client's promises about callbacks.</summary>
    internal static class PeerTests
    {
        internal static void Run()
        {
            Events();
            Exceptions();
            DisposeWithinACallback();
            Threads();
            Unanswered();
            Awaiting();
            Console.WriteLine("ok");
        }

        private static ValueMap Event(Turn turn, int seq, string kind, string key = "x", Value value = default(Value)) => new ValueMap
        {
            { "event", kind }, { "conversation", turn.Conversation.Id }, { "turn", turn.Id }, { "seq", seq }, { key, value },
        };

        private static void Until(NpcClient client, Func<bool> so, string what)
        {
            double end = Clock.Now + 5;
            while (!so() && Clock.Now < end) client.Poll();
            Check.That(so(), what);
        }

        private static void Start(Action<FakeServer, NpcClient, Conversation> act)
        {
            using (var server = new FakeServer())
            using (var client = new NpcClient(server.Address))
            {
                Conversation conversation = client.Open("mira");
                server.Welcome(client);
                act(server, client, conversation);
            }
        }

        private static void Events() => Start((server, client, conversation) =>
        {
            var said = new List<string>();
            conversation.OnText += (t, piece) => said.Add(piece.ToString());
            Turn turn = conversation.Say("hi");
            server.Send(Event(turn, 1, "text", "text", "a"));
            server.Send(Event(turn, 1, "text", "text", "again"));
            server.Send(new ValueMap { { "event", "text" }, { "conversation", "other" }, { "turn", "t" }, { "seq", 1 }, { "text", "no" } });
            server.Send(new ValueMap { { "event", "of a newer minor" }, { "conversation", "c1" } });
            server.Send(new byte[] { 0, 1, 0xC1 }); // noise
            server.Send(new byte[] { 1, 1, 0x80, 0, 1, 0x80 }); // a message of two frames
            server.Send(Event(turn, 2, "text", "text", "b"));
            server.Send(Event(turn, 3, "end", "reason", "stop"));
            Until(client, () => turn.IsOver, "it ends");
            Check.Same(string.Join("", said.ToArray()), "ab", "once and in order");
            Check.Same(turn.End.Reason, "stop", "reason");
            Check.Same(conversation.History, "h1", "history");
            Check.Same(conversation.Current, null, "nothing runs");
            Turn lost = conversation.Say("and now?");
            server.Send(new ValueMap { { "event", "welcome" }, { "epoch", "e2" } });
            client.Poll();
            Check.That(!lost.IsOver, "a welcome that nobody asked for changes nothing");
            server.Send(new ValueMap { { "event", "reset" }, { "code", "worker_died" }, { "message", "!" } });
            Until(client, () => lost.IsOver, "lost");
            Check.Same(lost.Error.Code, "worker_died", "code");
        });

        private static void Exceptions() => Start((server, client, conversation) =>
        {
            var said = new List<string>();
            int thrown = 0;
            conversation.OnText += (t, piece) =>
            {
                said.Add(piece.ToString());
                if (piece.Count == 1) throw new InvalidOperationException("a bug in the game");
            };
            client.Handle("bug", call => throw new InvalidOperationException("another"));
            Turn turn = conversation.Say("hi");
            server.Send(Event(turn, 1, "text", "text", "a"));
            server.Send(Event(turn, 2, "text", "text", "bb"));
            server.Send(Event(turn, 3, "action", "name", "bug"));
            server.Send(Event(turn, 4, "text", "text", "c"));
            server.Send(Event(turn, 5, "end", "reason", "stop"));
            double end = Clock.Now + 5;
            while (!turn.IsOver && Clock.Now < end)
            {
                try
                {
                    client.Poll();
                }
                catch (InvalidOperationException)
                {
                    thrown++;
                }
            }
            Check.Same(string.Join(",", said.ToArray()), "a,bb,c", "all is told once");
            Check.Same(thrown, 3, "exceptions come out of Poll");
        });

        private static void DisposeWithinACallback() => Start((server, client, conversation) =>
        {
            int after = 0, errors = 0;
            bool polled = true;
            conversation.OnError += (t, error) => errors++;
            conversation.OnText += (t, piece) =>
            {
                after++;
                polled = client.Poll();
                client.Dispose();
            };
            Turn turn = conversation.Say("hi");
            server.Send(Event(turn, 1, "text", "text", "a"));
            server.Send(Event(turn, 2, "text", "text", "b"));
            Until(client, () => turn.IsOver, "it ends");
            Check.Same(after, 1, "nothing comes after Dispose");
            Check.Same(errors, 1, "the turn's end is told");
            Check.That(!polled, "Poll within a callback does nothing");
            Check.Same(turn.Error.Code, "closed", "code");
            Check.That(client.IsOver && !client.Poll(), "over");
            Check.Throws("closed", () => client.Open("mira"), "after Dispose");
        });

        private static void Threads() => Start((server, client, conversation) =>
        {
            string code = null;
            var other = new System.Threading.Thread(() =>
            {
                try
                {
                    conversation.Say("hi");
                }
                catch (NpcException error)
                {
                    code = error.Code;
                }
            });
            other.Start();
            other.Join();
            Check.Same(code, "wrong_thread", "another thread");
        });

        private static void Unanswered() => Start((server, client, conversation) =>
        {
            ActionCall late = null;
            conversation.OnAction += call => late = call;
            Turn turn = conversation.Say("hi");
            ValueMap action = Event(turn, 1, "action", "name", "fetch");
            action["id"] = "a1";
            action["returns"] = "result";
            server.Send(action);
            Until(client, () => late != null, "the action");
            Check.That(late.WantsResult && !late.IsAnswered, "waits");
            Check.Throws("unencodable", () => late.Done(double.NaN), "a value that cannot be sent");
            Check.That(!late.IsAnswered, "may be answered again");
            late.Done(7);
            late.Fail("too late");
            Check.That(late.IsAnswered, "answered");
            server.Send(Event(turn, 2, "end", "reason", "stop"));
            Until(client, () => turn.IsOver, "it ends");
        });

        private static void Awaiting() => Start((server, client, conversation) =>
        {
            string told = "";
            Turn first = conversation.Say("hi");
            Follow(first, text => told += text);
            Follow(first, text => told += text);
            server.Send(Event(first, 1, "end", "text", "done "));
            Until(client, () => told != "", "the continuations ran");
            Check.Same(told, "done done ", "both");
            Follow(first, text => told = text);
            Check.Same(told, "done ", "one that is over goes on at once");
            Check.Same(first.AsTask().Result.Text, "done ", "as a task");
            Turn second = conversation.Say("hi");
            System.Threading.Tasks.Task<TurnEnd> task = second.AsTask();
            Follow(second, text => told = text);
            client.Dispose();
            Check.Same(told, "closed", "an error is thrown where it is awaited");
            Check.That(task.IsFaulted, "and in the task");
            GC.KeepAlive(task.Exception);
        });

        private static async void Follow(Turn turn, Action<string> tell)
        {
            try
            {
                tell((await turn).Text);
            }
            catch (NpcException error)
            {
                tell(error.Code);
            }
        }
    }
}
