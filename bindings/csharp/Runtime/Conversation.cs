using System;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>
    /// One npc and a player, with a history. Made by <see cref="NpcClient.Open"/>; it lives through reconnections
    /// and restarts of the server by itself. All callbacks come from within <see cref="NpcClient.Poll"/>.
    /// </summary>
    public sealed class Conversation
    {
        internal readonly NpcClient Client;
        internal readonly byte[] IdBytes;
        internal readonly List<Turn> Turns = new List<Turn>(); // not ended, oldest first
        internal bool Asked; // sent on this connection
        internal bool IsOpened; // the server has it
        internal long Seq; // of the last event that arrived

        internal Conversation(NpcClient client, string id, string npc, string player, string history)
        {
            Client = client;
            Id = id;
            IdBytes = Utf8.Bytes(id);
            Npc = npc;
            Player = player;
            History = history;
        }

        public string Id { get; }
        public string Npc { get; }
        public string Player { get; }

        /// <summary>
        /// The name under which this history can be continued, also after a restart: keep it with the saved game.
        /// Null until <see cref="OnOpened"/>.
        /// </summary>
        public string History { get; internal set; }

        public bool IsClosed { get; internal set; }

        /// <summary>The turn that is running, or null.</summary>
        public Turn Current => Turns.Count > 0 ? Turns[0] : null;

        public event Action<Conversation> OnOpened;

        /// <summary>It could not be opened, or (for ever) not any more.</summary>
        public event Action<Conversation, NpcError> OnOpenFailed;

        /// <summary>A piece of speech. The piece lies in a buffer that is used again; see <see cref="TextPiece"/>.</summary>
        public event Action<Turn, TextPiece> OnText;

        public event Action<Turn, ActionStart> OnActionStarted;

        /// <summary>The character does something. Not called for actions with a handler of their own.</summary>
        public event Action<ActionCall> OnAction;

        public event Action<Turn, Refusal> OnRefused;
        public event Action<Turn, TurnEnd> OnEnd;

        /// <summary>The turn failed, and is over.</summary>
        public event Action<Turn, NpcError> OnError;

        /// <summary>
        /// The player speaks. Returns at once; the turn's events follow. Await it for its end:
        /// <c>TurnEnd end = await conversation.Say("Good evening!");</c>
        /// </summary>
        /// <param name="line">What the player says.</param>
        /// <param name="state">What is so in the game now; conditions and actions look at it. Copied at once.</param>
        /// <param name="seed">For repeatable sampling.</param>
        /// <param name="priority">Of several characters' turns at once the highest goes first, -9 to 9: say 1 for whom the
        /// player faces, and -1 for the crowd.</param>
        /// <exception cref="NpcException"><c>closed</c>, <c>unencodable</c>, <c>too_large</c>.</exception>
        public Turn Say(string line, ValueMap state = null, long? seed = null, int priority = 0) =>
            Client.Begin(this, false, line, state, seed, priority);

        /// <summary>Something happened in the game, and the character may remark on it. Otherwise as <see cref="Say"/>.</summary>
        public Turn React(string happening, ValueMap state = null, long? seed = null, int priority = 0) =>
            Client.Begin(this, true, happening, state, seed, priority);

        /// <summary>Stops what is running. It still ends, with the reason <c>cancelled</c>; you may speak on at once.</summary>
        public void Cancel()
        {
            for (int i = Turns.Count - 1; i >= 0; i--) Turns[i].Cancel();
        }

        /// <summary>The player walks up to the character: its first word comes sooner. Gives <c>computed</c> and <c>cached</c> tokens.</summary>
        /// <exception cref="NpcException"><c>closed</c></exception>
        public Request Prepare() => Client.Prepare(this);

        /// <summary>What is so in the game now, without a line.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>unencodable</c>, <c>too_large</c></exception>
        public Request SetState(ValueMap state) => Client.SetState(this, state);

        /// <summary>
        /// The beginnings of a line, for when the player pauses: the character may get ready for it. Not answered, and
        /// passed over while there is no connection.
        /// </summary>
        public void Typing(string line) => Client.Typing(this, line);

        /// <summary>Ends the conversation. The npc's memory and the history stay.</summary>
        public void Close() => Client.Close(this);

        internal void Opened() => OnOpened?.Invoke(this);

        internal void OpenFailed(NpcError error) => OnOpenFailed?.Invoke(this, error);

        internal void Text(Turn turn, TextPiece piece) => OnText?.Invoke(turn, piece);

        internal void ActionStarted(Turn turn, ActionStart start) => OnActionStarted?.Invoke(turn, start);

        internal bool Act(ActionCall call)
        {
            if (OnAction == null) return false;
            OnAction(call);
            return true;
        }

        internal void Refused(Turn turn, Refusal refusal) => OnRefused?.Invoke(turn, refusal);

        internal void Ended(Turn turn, TurnEnd end) => OnEnd?.Invoke(turn, end);

        internal void Failed(Turn turn, NpcError error) => OnError?.Invoke(turn, error);
    }
}
