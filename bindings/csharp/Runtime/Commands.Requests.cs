namespace Npcsdk
{
    /// <summary>What protocol 1.1 has added: requests, and the beginnings of a line.</summary>
    internal sealed partial class Commands
    {
        internal byte[] Heard(string request, string conversation, string turn, long offset)
        {
            if (offset < 0) throw new NpcException("bad_offset", "The offset is negative.", "Count code points from 0.");
            BeginRequest("heard", request, 3);
            Id("conversation", conversation);
            Id("turn", turn);
            writer.Text("offset");
            writer.Integer(offset);
            return writer.Take();
        }

        internal byte[] Prepare(string request, string conversation)
        {
            BeginRequest("prepare", request, 1);
            Id("conversation", conversation);
            return writer.Take();
        }

        internal byte[] State(string request, string conversation, ValueMap state)
        {
            BeginRequest("state", request, 2);
            Id("conversation", conversation);
            Data("state", state ?? new ValueMap());
            return writer.Take();
        }

        internal byte[] Set(string request, string npc, string player, ValueMap values)
        {
            BeginRequest("set", request, 3);
            Id("npc", npc);
            Id("player", player);
            Data("values", values ?? new ValueMap());
            return writer.Take();
        }

        internal byte[] Remember(string request, string npc, string text, string player, double importance, double? at, string place)
        {
            if (text == null) throw new NpcException("bad_line", "The note is missing.", "Pass text.");
            BeginRequest("remember", request, 4 + (at.HasValue ? 1 : 0) + (string.IsNullOrEmpty(place) ? 0 : 1));
            Id("npc", npc);
            Text("text", text);
            if (player.Length == 0) Text("player", player); // nobody in particular
            else Id("player", player);
            Data("importance", importance);
            if (at.HasValue) Data("at", at.Value);
            if (!string.IsNullOrEmpty(place)) Text("place", place);
            return writer.Take();
        }

        internal byte[] Values(string request, string npc, string player)
        {
            BeginRequest("values", request, 2);
            Id("npc", npc);
            Id("player", player);
            return writer.Take();
        }

        internal byte[] Learn(string request, string npc, string subject, string attribute, string value, string text, string player, double importance, double? at, string place)
        {
            if (value == null || text == null) throw new NpcException("bad_line", "The fact is missing.", "Pass text.");
            BeginRequest("learn", request, 7 + (at.HasValue ? 1 : 0) + (string.IsNullOrEmpty(place) ? 0 : 1));
            Id("npc", npc);
            Id("subject", subject);
            Id("attribute", attribute);
            Text("value", value);
            Text("text", text);
            if (player.Length == 0) Text("player", player); // nobody in particular
            else Id("player", player);
            Data("importance", importance);
            if (at.HasValue) Data("at", at.Value);
            if (!string.IsNullOrEmpty(place)) Text("place", place);
            return writer.Take();
        }

        internal byte[] DeleteSlot(string request, string slot) => Slot("delete_slot", request, slot);

        internal byte[] ExportSlot(string request, string slot, string file)
        {
            if (file == null) throw new NpcException("bad_line", "The file is missing.", "Pass its path.");
            BeginRequest("export_slot", request, 2);
            Id("slot", slot);
            Text("file", file);
            return writer.Take();
        }

        internal byte[] ImportSlot(string request, string file, string slot)
        {
            if (file == null) throw new NpcException("bad_line", "The file is missing.", "Pass its path.");
            BeginRequest("import_slot", request, slot == null ? 1 : 2);
            Text("file", file);
            if (slot != null) Id("slot", slot);
            return writer.Take();
        }

        internal byte[] Forget(string request, string player)
        {
            BeginRequest("forget", request, 1);
            Id("player", player);
            return writer.Take();
        }

        internal byte[] Save(string request, string slot) => Slot("save", request, slot);

        internal byte[] Load(string request, string slot) => Slot("load", request, slot);

        internal byte[] Slots(string request)
        {
            BeginRequest("slots", request, 0);
            return writer.Take();
        }

        internal byte[] Subscribe(string request, string npc, bool on)
        {
            BeginRequest("subscribe", request, 2);
            Id("npc", npc);
            Data("on", on);
            return writer.Take();
        }

        internal byte[] Metrics(string request)
        {
            BeginRequest("metrics", request, 0);
            return writer.Take();
        }

        internal byte[] Typing(string conversation, string line)
        {
            if (line == null) throw new NpcException("bad_line", "The line is missing.", "Pass text.");
            Begin("typing", 2);
            Id("conversation", conversation);
            Text("line", line);
            return writer.Take();
        }

        private byte[] Slot(string kind, string request, string slot)
        {
            BeginRequest(kind, request, 1);
            Id("slot", slot);
            return writer.Take();
        }

        private void BeginRequest(string kind, string request, int others)
        {
            Begin(kind, others + 1);
            Id("request", request);
        }
    }
}
