using System;

namespace Npcsdk
{
    /// <summary>What a game asks for beside conversations. Those marked "directs" need that role on a server that gives roles.</summary>
    public sealed partial class NpcClient
    {
        /// <summary>Something in the conversation of others that <see cref="Subscribe"/> asked for. Not told again after a reconnection.</summary>
        public event Action<Overheard> OnOverheard;

        /// <summary>Trust, mood and the like of a character towards a player: kept, and following saved games. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c>, <c>unencodable</c></exception>
        public Request SetValues(string npc, ValueMap values, string player = "player") =>
            Ask("set", null, id => peer.Commands.Set(id, npc, player, values));

        /// <summary>A note of the game's: the character knows it from now on. Directs.</summary>
        /// <param name="npc">Who is to know it.</param>
        /// <param name="text">What there is to know.</param>
        /// <param name="player">Whom it is about; empty: nobody in particular.</param>
        /// <param name="importance">0 … 1.</param>
        /// <param name="at">The game's time in seconds.</param>
        /// <param name="place">Where it happened; empty: not said.</param>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c>, <c>bad_line</c>, <c>unencodable</c></exception>
        public Request Remember(string npc, string text, string player = "", double importance = 0.5, double? at = null, string place = "") =>
            Ask("remember", null, id => peer.Commands.Remember(id, npc, text, player, importance, at, place));

        /// <summary>What is set of a character towards a player: <c>values</c> in the answer. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request Values(string npc, string player = "player") => Ask("values", null, id => peer.Commands.Values(id, npc, player));

        /// <summary>Something is so from now on, whatever was so before: "north gate", "state", "open". Directs.</summary>
        /// <param name="npc">Who is to know it: a character, a group, or * for everybody.</param>
        /// <param name="subject">What it is about.</param>
        /// <param name="attribute">What about it.</param>
        /// <param name="value">What that is now.</param>
        /// <param name="text">It in a sentence.</param>
        /// <param name="player">Whom it is about; empty: nobody in particular.</param>
        /// <param name="importance">0 … 1.</param>
        /// <param name="at">The game's time in seconds.</param>
        /// <param name="place">Where it happened; empty: not said.</param>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c>, <c>bad_line</c>, <c>unencodable</c></exception>
        public Request Learn(string npc, string subject, string attribute, string value, string text = "", string player = "", double importance = 0.5, double? at = null, string place = "") =>
            Ask("learn", null, id => peer.Commands.Learn(id, npc, subject, attribute, value, text, player, importance, at, place));

        /// <summary>Names this moment of the world's memory, to go with a saved game. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request Save(string slot) => Ask("save", null, id => peer.Commands.Save(id, slot));

        /// <summary>Goes back to a saved moment: what came after it is not remembered, and turns that run are cancelled. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request Load(string slot) => Ask("load", null, id => peer.Commands.Load(id, slot));

        /// <summary>The names of saved moments: <c>slots</c> in the answer. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c></exception>
        public Request Slots() => Ask("slots", null, id => peer.Commands.Slots(id));

        /// <summary>Forgets a saved moment, and what nothing else remembers. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request DeleteSlot(string slot) => Ask("delete_slot", null, id => peer.Commands.DeleteSlot(id, slot));

        /// <summary>Writes a saved moment into a file on the server's machine, to ship inside the game's own save. Administers.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c>, <c>bad_line</c></exception>
        public Request ExportSlot(string slot, string file) => Ask("export_slot", null, id => peer.Commands.ExportSlot(id, slot, file));

        /// <summary>Takes in such a file, under the name that it had or another: <c>slot</c> in the answer. Administers.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c>, <c>bad_line</c></exception>
        public Request ImportSlot(string file, string slot = null) => Ask("import_slot", null, id => peer.Commands.ImportSlot(id, file, slot));

        /// <summary>Erases every trace of a player; the answer counts <c>records</c>, <c>slots</c> and <c>conversations</c>. Administers.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request Forget(string player) => Ask("forget", null, id => peer.Commands.Forget(id, player));

        /// <summary>Overhears what is said with a character in the conversations of others: <see cref="OnOverheard"/>. Directs.</summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_id</c></exception>
        public Request Subscribe(string npc, bool on = true) => Ask("subscribe", null, id => peer.Commands.Subscribe(id, npc, on));

        /// <summary>How the server is doing: numbers by name. Administers.</summary>
        /// <exception cref="NpcException"><c>closed</c></exception>
        public Request Metrics() => Ask("metrics", null, id => peer.Commands.Metrics(id));

        internal Request Heard(Turn turn, long offset) =>
            Ask("heard", turn.Conversation, id => peer.Commands.Heard(id, turn.Conversation.Id, turn.Id, offset));

        internal Request Prepare(Conversation conversation) =>
            Ask("prepare", conversation, id => peer.Commands.Prepare(id, conversation.Id));

        internal Request SetState(Conversation conversation, ValueMap state) =>
            Ask("state", conversation, id => peer.Commands.State(id, conversation.Id, state));

        internal void Typing(Conversation conversation, string line)
        {
            Guard();
            if (conversation.IsClosed) return;
            peer.Typing(conversation, line);
            Flush();
        }

        private Request Ask(string kind, Conversation conversation, Func<string, byte[]> encode)
        {
            Guard();
            if (conversation != null && conversation.IsClosed) throw new NpcException("closed", "The conversation is closed.", "Open another.");
            string id = Guid.NewGuid().ToString("N").Substring(0, 16);
            var request = new Request(id, kind, conversation, encode(id), Clock.Now);
            peer.Ask(request);
            Flush();
            return request;
        }
    }
}
