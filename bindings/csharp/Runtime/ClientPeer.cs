using System;
using System.Collections.Generic;

namespace Npcsdk
{
    internal enum NoticeKind : byte
    {
        Welcome, Loading, Ready, Opened, OpenFailed, Problem, Reset, Goodbye, Text, ActionStarted, Action, Refused, End, Error, Done, Overheard,
    }

    /// <summary>Something to tell the game.</summary>
    internal struct Notice
    {
        internal NoticeKind Kind;
        internal Conversation Conversation;
        internal Turn Turn;
        internal Request Request;
        internal object Body;
    }

    internal enum PeerState : byte { Idle, Greeting, Open, Over }

    /// <summary>
    /// The client's end of protocol 1.1 as a state machine: no socket, no thread, no clock of its own. It greets, keeps
    /// track of turns, and finds its way back after a broken connection or a restarted server.
    /// </summary>
    /// <remarks>
    /// What is worth telling is collected in <see cref="Notices"/>: each event of a turn once and in order, and for each
    /// turn that can no longer end by itself an error made here. At most one <see cref="NoticeKind.Text"/> is among them
    /// after each <see cref="Receive"/>, and its words are <see cref="Piece"/>.
    /// </remarks>
    internal sealed partial class ClientPeer
    {
        internal const double GreetEvery = 1; // seconds between hellos to a server that does not answer
        internal const double RetryAfter = 1; // seconds from a server's goodbye to the next hello
        private const int GapTries = 3; // to get again what was lost on the way; then the rest goes on without it

        internal readonly List<byte[]> Outgoing = new List<byte[]>();
        internal readonly List<Notice> Notices = new List<Notice>();
        internal TextPiece Piece;

        private static readonly string[] Features = { "actions", "react", "resume", "requests", "coalesced" };

        private readonly Commands commands = new Commands();
        private readonly EventReader reader = new EventReader();
        private readonly List<Conversation> conversations = new List<Conversation>();
        private readonly List<Turn> scratch = new List<Turn>();
        private readonly string client, sdk;
        private readonly List<ValueMap> actions = new List<ValueMap>();
        private readonly double silence, pingEvery;
        private readonly byte[] ping;
        private char[] characters = new char[256];
        private double greetingSince, helloAt, heardAt, pingAt, tickedAt, retryAt;
        private bool gaveUp, gap, up;
        private int gapTries;
        private long minor; // that both speak

        internal ClientPeer(string client, string sdk, double silence = 5, double pingEvery = 1)
        {
            this.client = client;
            this.sdk = sdk;
            this.silence = silence;
            this.pingEvery = pingEvery;
            ping = commands.Ping(0);
        }

        internal PeerState State { get; private set; }
        internal string Epoch { get; private set; }
        internal Commands Commands => commands;
        internal List<Conversation> Conversations => conversations;

        /// <summary>Seconds of the server's silence, as far as it matters.</summary>
        internal double HeardAt => heardAt;

        // What the application asks for

        internal void Register(ValueMap action)
        {
            actions.Add(action);
            commands.Hello(client, sdk, Features, actions, null, new ValueMap()); // what cannot be sent is an error here
        }

        internal void Connect(double now)
        {
            if (State != PeerState.Idle || now < retryAt) return;
            greetingSince = now;
            Greet(now);
        }

        internal void Open(Conversation conversation)
        {
            OpenCommand(conversation); // what cannot be sent is an error here
            conversations.Add(conversation);
            Ask(conversation);
        }

        /// <summary>Starts a turn. Behind one that was cancelled and has not ended yet, it waits for that end.</summary>
        internal void Begin(Turn turn)
        {
            Conversation conversation = turn.Conversation;
            Turn before = conversation.Turns.Count > 0 ? conversation.Turns[0] : null;
            conversation.Turns.Add(turn);
            if (before == null || !before.IsCancelled) Start(turn);
        }

        internal void Cancel(Turn turn)
        {
            if (turn.Over || turn.IsCancelled) return;
            turn.IsCancelled = true;
            if (turn.Epoch == null) FinishAndRelease(turn, new TurnEnd { Reason = EndReason.Cancelled }, null);
            else if (State == PeerState.Open) SendCancel(turn);
        }

        internal void Result(Turn turn, string action, string status, Value value)
        {
            byte[] payload = commands.Result(turn.Conversation.Id, turn.Id, action, status, value);
            if (turn.Over) return;
            turn.Results.Add(payload);
            if (State == PeerState.Open) Outgoing.Add(payload);
        }

        /// <summary>Ends a conversation; what was open in it ends as cancelled.</summary>
        internal void Close(Conversation conversation)
        {
            if (!conversations.Remove(conversation)) return;
            conversation.IsClosed = true;
            while (conversation.Turns.Count > 0) Finish(conversation.Turns[0], new TurnEnd { Reason = EndReason.Cancelled }, null);
            if (Epoch == null) return; // no server has heard of it
            closing.Add(conversation.Id);
            if (State == PeerState.Open) Outgoing.Add(commands.Close(conversation.Id));
        }

        internal void Leave()
        {
            if (State == PeerState.Open) Outgoing.Add(commands.Goodbye());
            FailAll(NpcError.Closed);
            State = PeerState.Over;
        }

        // What happens

        /// <summary>The connection stands (for the first time or again): who we are has to be said on it.</summary>
        internal void TransportUp(double now)
        {
            up = true;
            if (State == PeerState.Over || State == PeerState.Idle && now < retryAt) return;
            if (State != PeerState.Greeting) greetingSince = now;
            Greet(now);
        }

        internal void TransportDown(double now)
        {
            up = false;
            Outgoing.Clear();
            if (State != PeerState.Open) return;
            greetingSince = now;
            State = PeerState.Greeting;
            foreach (Conversation conversation in conversations) conversation.Asked = false;
        }

        /// <summary>Takes one message of the server's. What cannot be understood is passed over.</summary>
        internal void Receive(byte[] bytes, int at, int count, double now)
        {
            heardAt = now;
            if (!reader.Read(bytes, at, count)) return;
            switch (reader.Kind)
            {
                case EventKind.Text:
                case EventKind.ActionStarted:
                case EventKind.Action:
                case EventKind.Refused:
                case EventKind.End:
                    OnTurnEvent();
                    break;
                case EventKind.Error:
                    if (reader.Has(Field.Seq)) OnTurnEvent();
                    else OnProblem(now);
                    break;
                case EventKind.Welcome: OnWelcome(); break;
                case EventKind.Loading: Tell(NoticeKind.Loading, null, null, reader.Loading()); break;
                case EventKind.Ready: Tell(NoticeKind.Ready, null, null, reader.World()); break;
                case EventKind.Opened: OnOpened(); break;
                case EventKind.Closed: OnClosed(); break;
                case EventKind.Done: OnDone(); break;
                case EventKind.Overheard: Tell(NoticeKind.Overheard, null, null, reader.Overheard()); break;
                case EventKind.Reset: OnReset(now); break;
                case EventKind.Goodbye: OnGoodbye(now); break;
                case EventKind.Unknown:
                    if (reader.Has(Field.Seq)) OnTurnEvent(); // of a newer minor: it counts
                    break;
            }
        }

        /// <summary>Lets time pass: pings, greets again, gives up.</summary>
        internal void Tick(double now)
        {
            if (State == PeerState.Over) return;
            if (tickedAt > 0 && now - tickedAt > 2)
                heardAt = greetingSince = now; // this side slept (a debugger, a loading screen): the silence proves nothing
            tickedAt = now;
            switch (State)
            {
                case PeerState.Idle:
                    if (now >= retryAt) Connect(now);
                    return;
                case PeerState.Open:
                    if (now - heardAt > silence)
                    {
                        greetingSince = now - silence; // it has had its time
                        Greet(now);
                    }
                    else if (gap && now - helloAt >= 0.25)
                    {
                        gapTries++;
                        Greet(now);
                    }
                    else if (now - Math.Max(heardAt, pingAt) >= pingEvery)
                    {
                        pingAt = now;
                        Outgoing.Add(ping);
                    }
                    break;
                case PeerState.Greeting:
                    if (now - helloAt >= GreetEvery) Greet(now);
                    break;
            }
            if (State == PeerState.Greeting && now - greetingSince > silence) GiveUp(now);
        }

        // Connection

        private void Greet(double now)
        {
            State = PeerState.Greeting;
            helloAt = now;
            gap = false;
            Outgoing.Clear(); // it would reach a server that does not know us yet; the welcome sends it again
            if (!up) return;
            var seen = new ValueMap();
            foreach (Conversation conversation in conversations)
            {
                conversation.Asked = false;
                if (conversation.IsOpened) seen[conversation.Id] = conversation.Seq;
            }
            Outgoing.Add(commands.Hello(client, sdk, Features, actions, Epoch, seen));
        }

        private void OnWelcome()
        {
            string epoch = reader.Text(Field.Epoch);
            Value protocol = reader.Data(Field.Protocol);
            if (epoch == null || State != PeerState.Greeting) return;
            if (protocol.Kind == ValueKind.List && protocol.AsList.Count > 0 && !protocol.AsList[0].Equals(Commands.Major))
            {
                Over(new NpcError(
                    "unsupported_version",
                    "The server speaks protocol " + protocol.AsList[0] + ", this client " + Commands.Major + ".",
                    "Update the older of the two.",
                    "bridge_error"));
                return;
            }
            if (epoch != Epoch)
            {
                foreach (Conversation conversation in conversations)
                {
                    conversation.IsOpened = false;
                    conversation.Seq = 0;
                }
                Epoch = epoch;
                closing.Clear();
                foreach (Turn turn in AllTurns())
                    if (turn.Epoch != null && turn.Epoch != epoch) Finish(turn, null, NpcError.Lost);
                FailRequests(NpcError.RequestLost, sentOnly: true);
            }
            State = PeerState.Open;
            minor = MinorOf(protocol);
            gaveUp = false;
            Tell(NoticeKind.Welcome, null, null, reader.Map(Field.Limits));
            SendClosing();
            foreach (Conversation conversation in conversations) CatchUp(conversation);
            SendRequests(true);
        }

        private long MinorOf(Value protocol)
        {
            bool told = protocol.Kind == ValueKind.List && protocol.AsList.Count > 1 && protocol.AsList[1].Kind == ValueKind.Integer;
            return told ? Math.Min(protocol.AsList[1].AsInteger, commands.Minor) : 0;
        }

        /// <summary>Sends again what the server may not have: harmless if it has, since each is known by its id.</summary>
        private void CatchUp(Conversation conversation)
        {
            if (!conversation.IsOpened) Ask(conversation);
            conversation.Asked = true;
            for (int i = 0; i < conversation.Turns.Count; i++)
            {
                Turn turn = conversation.Turns[i];
                if (i > 0 && turn.Epoch == null && conversation.Turns[0].IsCancelled) break; // it waits for that one's end
                if (!turn.Accepted) Start(turn);
                if (turn.IsCancelled) SendCancel(turn);
                Outgoing.AddRange(turn.Results);
            }
        }

        private void OnOpened()
        {
            Conversation conversation = Find();
            if (conversation == null) return;
            conversation.IsOpened = true;
            conversation.History = reader.Text(Field.History) ?? conversation.History; // reopened, it goes on where it was
            Tell(NoticeKind.Opened, conversation, null, null);
        }

        private void OnProblem(double now)
        {
            NpcError error = reader.Error("error");
            if (error.Code == "hello_first")
            {
                if (State != PeerState.Open) return;
                greetingSince = now; // the server does not know us any more
                Greet(now);
                return;
            }
            if (reader.Has(Field.Request))
            {
                Request request = FindRequest();
                if (request != null) Answer(request, null, error);
                return;
            }
            Conversation conversation = Find();
            if (reader.Has(Field.Turn))
            {
                Turn turn = conversation == null ? null : Find(conversation);
                if (turn != null) FinishAndRelease(turn, null, error);
                return;
            }
            if (OnClosed()) return; // the server did not have it: closed all the same
            if (conversation != null && error.Code == "conversation_lost")
            {
                if (!conversation.IsOpened) return; // known already, and being opened again
                conversation.IsOpened = conversation.Asked = false;
                conversation.Seq = 0;
                foreach (Turn turn in Copy(conversation.Turns))
                    if (turn.Epoch != null) Finish(turn, null, NpcError.Lost);
                if (conversation.Turns.Count > 0) CatchUp(conversation);
                return;
            }
            if (conversation != null && reader.Text(Field.Answers) == "open")
            {
                conversation.IsOpened = conversation.Asked = false;
                foreach (Turn turn in Copy(conversation.Turns)) Finish(turn, null, error);
                Tell(NoticeKind.OpenFailed, conversation, null, error);
                return;
            }
            Tell(NoticeKind.Problem, conversation, null, error);
        }

        private void OnReset(double now)
        {
            NpcError error = reader.Error("bridge_error");
            foreach (Conversation conversation in conversations)
            {
                conversation.IsOpened = conversation.Asked = false;
                conversation.Seq = 0;
            }
            foreach (Turn turn in AllTurns())
                if (turn.Epoch != null) Finish(turn, null, error);
            FailRequests(error, sentOnly: true);
            closing.Clear();
            Tell(NoticeKind.Reset, null, null, error);
            if (State != PeerState.Open) return;
            greetingSince = now;
            Greet(now);
        }

        private void OnGoodbye(double now)
        {
            NpcError error = reader.Error("bridge_error");
            if (error.Code == "replaced" || error.Code == "unsupported_version")
            {
                Over(error);
                return;
            }
            // Anything else can pass: a restart, a place that becomes free, a world that its designer mends.
            FailAll(error);
            closing.Clear();
            foreach (Conversation conversation in conversations)
            {
                conversation.IsOpened = conversation.Asked = false;
                conversation.Seq = 0;
            }
            State = PeerState.Idle;
            retryAt = now + RetryAfter;
            Tell(NoticeKind.Goodbye, null, null, error);
        }

        /// <summary>Fails what has waited long enough; goes on greeting, so that a server that comes back is found.</summary>
        private void GiveUp(double now)
        {
            foreach (Turn turn in AllTurns())
                if (now - Math.Max(turn.Since, turn.Epoch != null ? heardAt : 0) > silence) Finish(turn, null, NpcError.Unreachable);
            FailRequestsOlderThan(now - silence, NpcError.Unreachable);
            if (gaveUp) return;
            gaveUp = true;
            Tell(NoticeKind.Problem, null, null, NpcError.Unreachable);
        }

        private void Over(NpcError error)
        {
            FailAll(error);
            State = PeerState.Over;
            Outgoing.Clear();
            Tell(NoticeKind.Goodbye, null, null, error);
        }
    }
}
