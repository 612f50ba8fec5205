using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>
    /// What a client sends, as bytes. Throws <see cref="NpcException"/>: <c>unencodable</c>, <c>too_large</c>,
    /// <c>bad_id</c>.
    /// </summary>
    internal sealed partial class Commands
    {
        internal const int Major = 1;

        /// <summary>The minor version that is spoken.</summary>
        internal int Minor = 1;

        private readonly MsgpackWriter writer = new MsgpackWriter();

        internal byte[] Hello(
            string client, string sdk, IReadOnlyList<string> features, IReadOnlyList<ValueMap> actions, string epoch, ValueMap seen)
        {
            Begin("hello", epoch == null ? 6 : 7);
            Id("client", client);
            writer.Text("protocol");
            writer.List(2);
            writer.Integer(Major);
            writer.Integer(Minor);
            Text("sdk", sdk);
            writer.Text("features");
            writer.List(features.Count);
            for (int i = 0; i < features.Count; i++) writer.Text(features[i]);
            writer.Text("actions");
            writer.List(actions.Count);
            for (int i = 0; i < actions.Count; i++) writer.Data(actions[i]);
            if (epoch != null) Text("epoch", epoch);
            Data("seen", seen);
            return writer.Take();
        }

        internal byte[] Open(string conversation, string npc, string player, string history)
        {
            Begin("open", history == null ? 3 : 4);
            Id("conversation", conversation);
            Id("npc", npc);
            Id("player", player);
            if (history != null) Id("history", history);
            return writer.Take();
        }

        internal byte[] Close(string conversation)
        {
            Begin("close", 1);
            Id("conversation", conversation);
            return writer.Take();
        }

        internal byte[] Say(string conversation, string turn, string line, ValueMap state, long? seed, int priority = 0) =>
            Turn("say", "line", conversation, turn, line, state, seed, priority);

        internal byte[] React(string conversation, string turn, string happening, ValueMap state, long? seed, int priority = 0) =>
            Turn("react", "happening", conversation, turn, happening, state, seed, priority);

        /// <param name="actions">The turn's actions that the game was given; null: leaves them out.</param>
        internal byte[] Cancel(string conversation, string turn, IReadOnlyList<string> actions)
        {
            Begin("cancel", actions == null ? 2 : 3);
            Id("conversation", conversation);
            Id("turn", turn);
            if (actions == null) return writer.Take();
            writer.Text("actions");
            writer.List(actions.Count);
            for (int i = 0; i < actions.Count; i++) writer.Text(actions[i]);
            return writer.Take();
        }

        internal byte[] Result(string conversation, string turn, string action, string status, Value value)
        {
            Begin("result", value.IsNull ? 4 : 5);
            Id("conversation", conversation);
            Id("turn", turn);
            Text("action", action);
            Text("status", status);
            if (!value.IsNull) Data("value", value);
            return writer.Take();
        }

        internal byte[] Ping(long nonce)
        {
            Begin("ping", 1);
            writer.Text("nonce");
            writer.Integer(nonce);
            return writer.Take();
        }

        internal byte[] Goodbye()
        {
            Begin("goodbye", 0);
            return writer.Take();
        }

        private byte[] Turn(
            string kind, string key, string conversation, string turn, string text, ValueMap state, long? seed, int priority)
        {
            if (text == null) throw new NpcException("bad_line", "The line is missing.", "Pass text.");
            if (seed < 0) throw new NpcException("bad_seed", "The seed is negative.", "Use 0 to 2^63-1.");
            if (priority < -9 || priority > 9)
                throw new NpcException("bad_priority", "The priority is " + priority + ".", "Use -9 to 9.");
            Begin(kind, 4 + (seed.HasValue ? 1 : 0) + (priority != 0 ? 1 : 0));
            Id("conversation", conversation);
            Id("turn", turn);
            Text(key, text);
            if (state == null)
            {
                writer.Text("state");
                writer.Map(0);
            }
            else Data("state", state);
            if (seed.HasValue)
            {
                writer.Text("seed");
                writer.Integer(seed.Value);
            }
            if (priority != 0)
            {
                writer.Text("priority");
                writer.Integer(priority);
            }
            return writer.Take();
        }

        private void Begin(string kind, int others)
        {
            writer.Reset(); // an encoding that threw may have left a beginning
            writer.Map(others + 1);
            Text("command", kind);
        }

        private void Text(string key, string value)
        {
            writer.Text(key);
            writer.Text(value);
        }

        private void Data(string key, Value value)
        {
            writer.Text(key);
            writer.Data(value);
        }

        private void Id(string key, string value)
        {
            // The limit counts code points; a name that keeps it in UTF-16 units keeps it in those.
            if (string.IsNullOrEmpty(value) || value.Length > 128)
                throw new NpcException("bad_id", "The " + key + " is not text of 1 to 128 characters.", "Use a shorter id.");
            Text(key, value);
        }
    }
}
