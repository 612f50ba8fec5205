using System;
using System.Collections.Generic;
using System.Threading.Tasks;

namespace Npcsdk
{
    /// <summary>
    /// A game's connection to <c>npcsdk serve</c>. Call <see cref="Poll"/> once a frame; every callback and every
    /// awaited continuation runs inside it, on the thread that made the client. Nothing here ever waits: without a
    /// server, turns end with an error and the client goes on looking for it.
    /// </summary>
    /// <remarks>
    /// An exception that a callback throws comes out of <see cref="Poll"/>; what remains to be told is told by the next
    /// <see cref="Poll"/>.
    /// </remarks>
    public sealed partial class NpcClient : IDisposable
    {
        public const string Version = "0.1.0";
        public const string DefaultAddress = "tcp://127.0.0.1:5990";

        private const int MessagesInAPoll = 512; // a flood may cost a frame this much; the rest is for the next

        private readonly TcpLink link;
        private readonly ClientPeer peer;
        private readonly Dictionary<string, Action<ActionCall>> handlers = new Dictionary<string, Action<ActionCall>>(StringComparer.Ordinal);
        private readonly int thread = Environment.CurrentManagedThreadId;
        private TaskCompletionSource<WorldInfo> whenReady;
        private int generation, told, conversations;
        private bool polling, begun;
        private double polledAt;

        /// <param name="address">As the server prints it, <c>tcp://host:port</c>.</param>
        /// <param name="silence">Seconds of silence after which the server counts as unreachable.</param>
        /// <exception cref="NpcException"><c>bad_address</c></exception>
        public NpcClient(string address = DefaultAddress, double silence = 5)
        {
            link = new TcpLink(address);
            peer = new ClientPeer(Guid.NewGuid().ToString("N"), "npcsdk-csharp " + Version, silence, Math.Min(1, silence / 3));
            Address = address;
        }

        public string Address { get; }

        /// <summary>The world, once it is there; null before, and while the server is not there.</summary>
        public WorldInfo World { get; private set; }

        /// <summary>The server has welcomed us on the connection that stands.</summary>
        public bool IsConnected => peer.State == PeerState.Open;

        /// <summary>The server ended it for good (another version, another client in our place), or <see cref="Dispose"/> did.</summary>
        public bool IsOver => peer.State == PeerState.Over;

        /// <summary>What is wrong with the connection, for people; null when nothing is.</summary>
        public string ConnectionTrouble => link.Trouble;

        /// <summary>The server's limits, from its welcome.</summary>
        public ValueMap Limits { get; private set; } = new ValueMap();

        /// <summary>How far the server is with loading its world.</summary>
        public event Action<LoadingInfo> OnLoading;

        /// <summary>The world is there. Comes again after each reconnection.</summary>
        public event Action<WorldInfo> OnReady;

        /// <summary>Something went wrong that is no turn's: <c>server_unreachable</c>, a refused command.</summary>
        public event Action<NpcError> OnProblem;

        /// <summary>The server lost its conversations, or ended the connection. Conversations are opened again by themselves.</summary>
        public event Action<NpcError> OnServerLost;

        /// <summary>
        /// Offers an action to characters, before the first <see cref="Poll"/>. Its handler is called within
        /// <see cref="Poll"/> and answers by <see cref="ActionCall.Done"/> or <see cref="ActionCall.Fail"/>, now or later.
        /// </summary>
        /// <exception cref="NpcException"><c>too_late</c>, <c>unencodable</c></exception>
        public void Register(ActionDefinition action, Action<ActionCall> handler = null)
        {
            Guard();
            if (begun) throw new NpcException("too_late", "Actions are registered before the first Poll.", "Make a new client.");
            peer.Register(action.ToValue());
            if (handler != null) handlers[action.Name] = handler;
        }

        /// <summary>Sets the handler of an action, also of one that the world defines; null removes it.</summary>
        public void Handle(string action, Action<ActionCall> handler)
        {
            Guard();
            if (handler == null) handlers.Remove(action);
            else handlers[action] = handler;
        }

        /// <summary>Begins a conversation. You may say something at once, also while there is no connection yet.</summary>
        /// <param name="npc">The character's id.</param>
        /// <param name="player">Who speaks. The npc remembers each player apart.</param>
        /// <param name="history">From an earlier <see cref="Conversation.History"/>, to go on with it.</param>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Conversation Open(string npc, string player = "player", string history = null)
        {
            Guard();
            var conversation = new Conversation(this, "c" + ++conversations, npc, player, history);
            peer.Open(conversation);
            Flush();
            return conversation;
        }

        /// <summary>
        /// Done when the world is there; its continuation runs within <see cref="Poll"/>, or where the caller's
        /// synchronization context wants it. Fails (<c>closed</c> …) only when the client is over.
        /// </summary>
        public Task<WorldInfo> WhenReady()
        {
            Guard();
            if (World != null) return Task.FromResult(World);
            whenReady = whenReady ?? new TaskCompletionSource<WorldInfo>();
            return whenReady.Task;
        }

        /// <summary>
        /// Takes what has arrived, tells it, and sends what is to be sent. Never waits, and allocates nothing when
        /// nothing has happened. Returns whether something was told. Within a callback it does nothing.
        /// </summary>
        public bool Poll()
        {
            if (polling || peer.State == PeerState.Over && peer.Notices.Count == 0) return false;
            if (Environment.CurrentManagedThreadId != thread) Guard();
            polling = begun = true;
            bool any = peer.Notices.Count > 0;
            try
            {
                Tell(); // what a callback's exception left over, and errors made since
                double now = Clock.Now;
                if (polledAt > 0 && now - polledAt > 2) link.Forgive(now); // the game slept, not the server
                polledAt = now;
                int left = MessagesInAPoll;
                do
                {
                    while (left > 0 && link.TryRead(out byte[] buffer, out int at, out int count, now))
                    {
                        left--;
                        Watch(now);
                        peer.Receive(buffer, at, count, now);
                        if (peer.Notices.Count == 0) continue;
                        any = true;
                        Tell();
                    }
                    Watch(now);
                }
                while (left > 0 && peer.State != PeerState.Over && link.Advance(now));
                Watch(now);
                peer.Tick(now);
                Send(now);
                any |= peer.Notices.Count > 0;
                Tell();
            }
            finally
            {
                polling = false;
            }
            if (peer.State == PeerState.Over) link.Close();
            else if (peer.Outgoing.Count > 0) Send(Clock.Now); // what callbacks asked for
            return any;
        }

        /// <summary>
        /// Says goodbye and ends. Never waits. Turns that were open end with the error <c>closed</c>: what awaits them
        /// goes on before this returns (or, from within a callback, after it). Twice does nothing.
        /// </summary>
        public void Dispose()
        {
            if (peer.State == PeerState.Over)
            {
                link.Close();
                return;
            }
            peer.Leave();
            Send(Clock.Now);
            link.Close();
            whenReady?.TrySetException(new NpcException(NpcError.Closed));
            whenReady = null;
            if (!polling) Poll(); // tells the ends of the turns
        }

        internal Turn Begin(Conversation conversation, bool happening, string text, ValueMap state, long? seed, int priority)
        {
            Guard();
            if (conversation.IsClosed) throw new NpcException("closed", "The conversation is closed.", "Open another.");
            string id = Guid.NewGuid().ToString("N").Substring(0, 16);
            byte[] payload = happening
                ? peer.Commands.React(conversation.Id, id, text, state, seed, priority)
                : peer.Commands.Say(conversation.Id, id, text, state, seed, priority);
            var turn = new Turn(conversation, id, payload, Clock.Now);
            peer.Begin(turn);
            Flush();
            return turn;
        }

        internal void Cancel(Turn turn)
        {
            peer.Cancel(turn);
            Flush();
        }

        internal void Result(Turn turn, string action, string status, Value value)
        {
            peer.Result(turn, action, status, value);
            Flush();
        }

        internal void Close(Conversation conversation)
        {
            peer.Close(conversation);
            Flush();
        }

        /// <summary>Tells the peer when the connection below it came or went.</summary>
        private void Watch(double now)
        {
            int current = link.IsUp ? link.Generation : 0;
            if (current == generation) return;
            if (generation != 0)
            {
                World = null;
                peer.TransportDown(now);
            }
            generation = current;
            if (current == 0) return;
            peer.TransportUp(now);
            Send(now);
        }

        private void Flush()
        {
            if (!polling && peer.Outgoing.Count > 0) Send(Clock.Now); // no need to wait for the next frame
        }

        private void Send(double now)
        {
            List<byte[]> outgoing = peer.Outgoing;
            for (int i = 0; i < outgoing.Count; i++) link.Send(outgoing[i]);
            outgoing.Clear();
            link.Flush(now);
        }

        private void Guard()
        {
            if (Environment.CurrentManagedThreadId != thread)
                throw new NpcException("wrong_thread", "The client belongs to the thread that made it.", "Call it from there: in Unity, the main thread.");
            if (peer.State == PeerState.Over) throw new NpcException("closed", "The connection is closed.", "Make a new client.");
        }

        private void Tell()
        {
            List<Notice> notices = peer.Notices;
            try
            {
                while (told < notices.Count) Tell(notices[told++]); // counted before: one that throws is not told twice
            }
            finally
            {
                if (told >= notices.Count)
                {
                    notices.Clear();
                    told = 0;
                }
            }
        }

        private void Tell(Notice notice)
        {
            Conversation conversation = notice.Conversation;
            Turn turn = notice.Turn;
            switch (notice.Kind)
            {
                case NoticeKind.Text: conversation.Text(turn, peer.Piece); break;
                case NoticeKind.ActionStarted: conversation.ActionStarted(turn, (ActionStart)notice.Body); break;
                case NoticeKind.Action: Act((ActionCall)notice.Body); break;
                case NoticeKind.Refused: conversation.Refused(turn, (Refusal)notice.Body); break;
                case NoticeKind.End:
                    var end = (TurnEnd)notice.Body;
                    turn.Complete(end, null);
                    try
                    {
                        conversation.Ended(turn, end);
                    }
                    finally
                    {
                        turn.Continue();
                    }
                    break;
                case NoticeKind.Error:
                    var error = (NpcError)notice.Body;
                    turn.Complete(null, error);
                    try
                    {
                        conversation.Failed(turn, error);
                    }
                    finally
                    {
                        turn.Continue();
                    }
                    break;
                case NoticeKind.Opened: conversation.Opened(); break;
                case NoticeKind.OpenFailed: conversation.OpenFailed((NpcError)notice.Body); break;
                case NoticeKind.Welcome: Limits = (ValueMap)notice.Body; break;
                case NoticeKind.Loading: OnLoading?.Invoke((LoadingInfo)notice.Body); break;
                case NoticeKind.Ready:
                    World = (WorldInfo)notice.Body;
                    TaskCompletionSource<WorldInfo> waiting = whenReady;
                    whenReady = null;
                    try
                    {
                        OnReady?.Invoke(World);
                    }
                    finally
                    {
                        waiting?.TrySetResult(World);
                    }
                    break;
                case NoticeKind.Done:
                    notice.Request.Complete(notice.Body as ValueMap, notice.Body as NpcError);
                    notice.Request.Continue();
                    break;
                case NoticeKind.Overheard: OnOverheard?.Invoke((Overheard)notice.Body); break;
                case NoticeKind.Problem: OnProblem?.Invoke((NpcError)notice.Body); break;
                case NoticeKind.Reset:
                case NoticeKind.Goodbye:
                    World = null;
                    if (IsOver)
                    {
                        whenReady?.TrySetException(new NpcException((NpcError)notice.Body));
                        whenReady = null;
                    }
                    OnServerLost?.Invoke((NpcError)notice.Body);
                    break;
            }
        }

        private void Act(ActionCall call)
        {
            if (!handlers.TryGetValue(call.Name, out Action<ActionCall> handler))
            {
                if (!call.Turn.Conversation.Act(call)) call.Fail("The game has nothing that carries out this action.");
                return;
            }
            try
            {
                handler(call);
            }
            catch (Exception error)
            {
                call.Fail(error.Message); // so that the character does not wait for an answer that never comes
                throw;
            }
        }
    }
}
