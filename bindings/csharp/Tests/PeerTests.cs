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
            Requests();
            OldServer();
            Coalesced();
            Waiting();
            Closing();
            Retracting();
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

        private static ValueMap Done(string id, string kind, ValueMap value) => new ValueMap
        {
            { "event", "done" }, { "request", id }, { "answers", kind }, { "value", value },
        };

        private static void Requests() => Start((server, client, conversation) =>
        {
            string told = "";
            Request save = client.Save("autosave 3"), slots = client.Slots(), heard = conversation.Say("hi").Heard(3);
            Check.That(server.Got(client, "autosave 3", "slots", "heard", Id(heard)), "they were sent");
            Answer(save, text => told += text);
            server.Send(Done(Id(slots), "slots", new ValueMap { { "slots", new ValueList { "autosave 3" } } }));
            server.Send(Done(Id(slots), "slots", new ValueMap())); // again: nothing
            server.Send(Done(Id(save), "save", new ValueMap()));
            server.Send(new ValueMap
            {
                { "event", "error" }, { "answers", "heard" }, { "request", Id(heard) }, { "code", "busy" }, { "message", "!" }, { "retry_ms", 1500 },
            });
            Until(client, () => heard.IsOver, "the last answer");
            Check.Same(slots.Value["slots"].AsList[0].AsText, "autosave 3", "value");
            Check.Same(told, "save{}", "awaited");
            Check.Same(heard.Error.Code + heard.Error.RetryMilliseconds, "busy1500", "error");
            Check.Same(heard.Value, null, "no value");
            Check.Throws("bad_id", () => client.Save(""), "an empty slot");
            Check.Throws("bad_offset", () => conversation.Current.Heard(-1), "a negative offset");
            Check.Throws("bad_line", () => client.Remember("mira", null), "no note");
            Check.Throws("unencodable", () => client.SetValues("mira", new ValueMap { { "mood", double.NaN } }), "no number");
            Overheard overheard = null;
            client.OnOverheard += one => overheard = one;
            server.Send(new ValueMap { { "event", "overheard" }, { "npc", "tom" }, { "content", new ValueMap { { "event", "said" }, { "line", "Psst" } } } });
            Until(client, () => overheard != null, "overheard");
            Check.Same(overheard.Npc + overheard.Kind + overheard.Content.Text("line"), "tomsaidPsst", "content");
            Request lost = client.Metrics();
            server.Send(new ValueMap { { "event", "reset" }, { "code", "worker_died" }, { "message", "!" } });
            Until(client, () => lost.IsOver, "lost");
            Check.Same(lost.Error.Code, "worker_died", "nobody knows whether it was carried out");
            Request open = client.Save("x"); // while it greets again
            client.Dispose();
            Check.Same(open.Error.Code, "closed", "Dispose ends requests");
            Check.Throws("closed", () => client.Save("x"), "after Dispose");
        });

        private static void OldServer()
        {
            using (var server = new FakeServer())
            using (var client = new NpcClient(server.Address))
            {
                Conversation conversation = client.Open("mira");
                Request early = client.Save("a");
                server.Welcome(client, minor: 0);
                Request late = conversation.Prepare();
                conversation.Typing("Wo ist");
                Until(client, () => late.IsOver, "answered here");
                Check.Same(early.Error.Code + " " + late.Error.Code, "not_supported not_supported", "protocol 1.0");
                Turn turn = conversation.Say("hi");
                Check.That(server.Got(client, "hi", turn.Id), "turns work all the same");
            }
        }

        private static void Coalesced() => Start((server, client, conversation) =>
        {
            string said = "";
            conversation.OnText += (t, piece) => said += piece.ToString();
            Turn turn = conversation.Say("hi");
            server.Send(Event(turn, 1, "text", "text", "a"));
            ValueMap several = Event(turn, 4, "text", "text", "bcd");
            several["first"] = 2;
            server.Send(several);
            server.Send(several); // heard before
            server.Send(Event(turn, 5, "of a newer minor"));
            server.Send(Event(turn, 6, "end", "reason", "stop"));
            Until(client, () => turn.IsOver, "it ends");
            Check.Same(said, "abcd", "several pieces in one, once; and what is not known counts");
        });

        private static void Waiting() => Start((server, client, conversation) =>
        {
            Turn first = conversation.Say("one"), second, third;
            first.Cancel();
            second = conversation.Say("two");
            third = conversation.Say("three");
            second.Cancel();
            Until(client, () => second.IsOver, "it never began");
            Check.Same(second.End.Reason, EndReason.Cancelled, "reason");
            Check.Same(third.Epoch, null, "the first has not ended: the third waits");
            server.Send(Event(first, 1, "end", "reason", "cancelled"));
            Until(client, () => first.IsOver, "the first ends");
            Check.That(server.Got(client, "three"), "and the third begins");
        });

        private static void Closing() => Start((server, client, conversation) =>
        {
            Request heard = conversation.Say("hi").Heard(1);
            conversation.Close();
            Check.Throws("closed", () => conversation.Prepare(), "a closed conversation");
            conversation.Typing("passed over");
            server.Send(new ValueMap { { "event", "error" }, { "code", "hello_first" } });
            client.Poll();
            Until(client, () => !client.IsConnected, "it greets again");
            server.Swallow();
            server.Send(new ValueMap { { "event", "welcome" }, { "epoch", "e1" }, { "protocol", new ValueList { 1, 1 } } });
            Check.That(server.Got(client, "close", "c1", "heard"), "what had no answer is sent again");
            int problems = 0;
            client.OnProblem += error => problems++;
            server.Send(new ValueMap { { "event", "error" }, { "code", "conversation_lost" }, { "answers", "close" }, { "conversation", "c1" } });
            server.Send(Done(Id(heard), "heard", new ValueMap()));
            Until(client, () => heard.IsOver, "answered");
            Check.Same(problems, 0, "it is closed either way");
        });

        private static void Retracting() => Start((server, client, conversation) =>
        {
            var carriedOut = new List<string>();
            conversation.OnAction += call => carriedOut.Add(call.Id);
            Turn turn = conversation.Say("hi");
            ValueMap action = Event(turn, 1, "action", "name", "fetch");
            action["id"] = "a1";
            server.Send(action);
            Until(client, () => carriedOut.Count == 1, "the first action");
            turn.Cancel();
            Check.That(server.Got(client, "cancel", "actions", "a1"), "the server is told what has happened");
            action = Event(turn, 2, "action", "name", "fetch");
            action["id"] = "a2";
            server.Send(action);
            ValueMap end = Event(turn, 3, "end", "reason", "cancelled");
            end["actions"] = new ValueList { "a1", "a2" };
            end["retracted"] = new ValueList { "a1", "a3" };
            server.Send(end);
            Until(client, () => turn.IsOver, "it ends");
            Check.Same(string.Join(",", carriedOut), "a1", "what came after the cancelling is not carried out");
            Check.Same(string.Join(",", turn.End.Actions) + " " + string.Join(",", turn.End.Retracted), "a1 a3,a2", "and is told");
        });

        private static string Id(Request request) => System.Text.Encoding.ASCII.GetString(request.IdBytes);

        private static async void Answer(Request request, Action<string> tell)
        {
            try
            {
                tell(request.Kind + (Value)await request);
            }
            catch (NpcException error)
            {
                tell(error.Code);
            }
        }

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
