using System;
using System.Collections.Generic;
using System.IO;

namespace Npcsdk.Tests
{
    /// <summary>Every message of the protocol, as fields and as bytes, both ways.</summary>
    internal static class VectorTests
    {
        internal static void Run(string path)
        {
            ValueMap file = Json.Read(File.ReadAllText(path)).AsMap;
            Check.Same(file["protocol"].AsList[0].AsInteger, (long)Commands.Major, "major");
            int client = 0, server = 0, newer = 0;
            foreach (Value one in file["messages"].AsList)
            {
                ValueMap vector = one.AsMap;
                string name = vector.Text("name");
                ValueMap fields = vector["fields"].AsMap;
                byte[] bytes = Bytes(vector.Text("bytes"));
                Data(name, fields, bytes);
                bool command = vector.Text("from") == "client";
                if (command ? Command(name, fields, bytes) : Event(name, fields, bytes))
                {
                    if (command) client++;
                    else server++;
                }
                else newer++;
            }
            Check.That(client >= 29 && server >= 26, "all messages of protocol 1.1 are there: " + client + ", " + server);
            Console.WriteLine(client + " commands, " + server + " events, " + newer + " of a newer minor passed over");
        }

        private static void Data(string name, ValueMap fields, byte[] bytes)
        {
            var writer = new MsgpackWriter();
            writer.Data(fields);
            Check.Same(Hex(writer.Take()), Hex(bytes), name + ", fields to bytes");
            var reader = new MsgpackReader(bytes, 0, bytes.Length);
            Value value = reader.Data();
            Check.That(!reader.Failed && reader.AtEnd, name + " reads to its end");
            Check.That(value.Equals((Value)fields), name + ", bytes to fields: " + value + " is not " + fields);
        }

        private static bool Command(string name, ValueMap f, byte[] bytes)
        {
            var commands = new Commands();
            string conversation = f.Text("conversation"), turn = f.Text("turn"), request = f.Text("request");
            long? seed = f.ContainsKey("seed") ? f["seed"].AsInteger : (long?)null;
            int priority = f.ContainsKey("priority") ? (int)f["priority"].AsInteger : 0;
            byte[] made;
            switch (f.Text("command"))
            {
                case "hello":
                    var features = new List<string>();
                    foreach (Value feature in f["features"].AsList) features.Add(feature.AsText);
                    var actions = new List<ValueMap>();
                    foreach (Value action in f["actions"].AsList) actions.Add(action.AsMap);
                    commands.Minor = (int)f["protocol"].AsList[1].AsInteger;
                    made = commands.Hello(f.Text("client"), f.Text("sdk"), features, actions, f.Text("epoch", null), f["seen"].AsMap);
                    break;
                case "open": made = commands.Open(conversation, f.Text("npc"), f.Text("player"), f.Text("history", null)); break;
                case "close": made = commands.Close(conversation); break;
                case "say": made = commands.Say(conversation, turn, f.Text("line"), f["state"].AsMap, seed, priority); break;
                case "react": made = commands.React(conversation, turn, f.Text("happening"), f["state"].AsMap, seed, priority); break;
                case "cancel": made = commands.Cancel(conversation, turn, Texts(f["actions"])); break;
                case "result": made = commands.Result(conversation, turn, f.Text("action"), f.Text("status"), f["value"]); break;
                case "ping": made = commands.Ping(f["nonce"].AsInteger); break;
                case "goodbye": made = commands.Goodbye(); break;
                case "heard": made = commands.Heard(request, conversation, turn, f["offset"].AsInteger); break;
                case "prepare": made = commands.Prepare(request, conversation); break;
                case "typing": made = commands.Typing(conversation, f.Text("line")); break;
                case "state": made = commands.State(request, conversation, f["state"].AsMap); break;
                case "set": made = commands.Set(request, f.Text("npc"), f.Text("player"), f["values"].AsMap); break;
                case "remember":
                    double? at = f.ContainsKey("at") ? f.Number("at") : (double?)null;
                    made = commands.Remember(request, f.Text("npc"), f.Text("text"), f.Text("player"), f.Number("importance"), at, f.Text("place", ""));
                    break;
                case "values": made = commands.Values(request, f.Text("npc"), f.Text("player")); break;
                case "learn":
                    double? when = f.ContainsKey("at") ? f.Number("at") : (double?)null;
                    made = commands.Learn(request, f.Text("npc"), f.Text("subject"), f.Text("attribute"), f.Text("value"), f.Text("text"), f.Text("player"), f.Number("importance"), when, f.Text("place", ""));
                    break;
                case "delete_slot": made = commands.DeleteSlot(request, f.Text("slot")); break;
                case "export_slot": made = commands.ExportSlot(request, f.Text("slot"), f.Text("file")); break;
                case "import_slot": made = commands.ImportSlot(request, f.Text("file"), f.Text("slot", null)); break;
                case "forget": made = commands.Forget(request, f.Text("player")); break;
                case "save": made = commands.Save(request, f.Text("slot")); break;
                case "load": made = commands.Load(request, f.Text("slot")); break;
                case "slots": made = commands.Slots(request); break;
                case "subscribe": made = commands.Subscribe(request, f.Text("npc"), f["on"].AsBool); break;
                case "metrics": made = commands.Metrics(request); break;
                default: return false;
            }
            if (Hex(made) != Hex(bytes) && made.Length != bytes.Length) return false; // a newer minor's further field
            Check.Same(Hex(made), Hex(bytes), name + ", as a command");
            return true;
        }

        private static bool Event(string name, ValueMap f, byte[] bytes)
        {
            var reader = new EventReader();
            var padded = new byte[bytes.Length + 7]; // not at the beginning, and not to the end
            Buffer.BlockCopy(bytes, 0, padded, 3, bytes.Length);
            Check.That(reader.Read(padded, 3, bytes.Length), name + " is read");
            if (reader.Kind == EventKind.Unknown) return false;
            Check.Same(Kind(reader.Kind), f.Text("event"), name + ": kind");
            foreach (Field field in (Field[])Enum.GetValues(typeof(Field)))
            {
                string key = field == Field.RetryMs ? "retry_ms" : field.ToString().ToLowerInvariant();
                Check.That(reader.Data(field).Equals(f[key]), name + ": " + key);
                Check.Same(reader.Has(field), !f[key].IsNull, name + " has " + key);
                if (f[key].Kind == ValueKind.Text)
                {
                    Check.Same(reader.Text(field), f.Text(key), name + ": " + key);
                    Check.That(reader.Same(field, Utf8.Bytes(f.Text(key))), name + ": bytes of " + key);
                    var buffer = new char[0];
                    int count = reader.TextInto(field, ref buffer);
                    Check.Same(new string(buffer, 0, count), f.Text(key), name + ": characters of " + key);
                }
                if (f[key].Kind == ValueKind.Integer) Check.Same(reader.Natural(field), f[key].AsInteger, name + ": " + key);
                if (f[key].Kind == ValueKind.Bool) Check.Same(reader.Flag(field), f[key].AsBool, name + ": " + key);
            }
            for (int cut = 0; cut < bytes.Length; cut++)
                Check.That(!reader.Read(bytes, 0, cut), name + " cut at " + cut + " is not a message");
            reader.Read(bytes, 0, bytes.Length);
            Typed(name, reader, f);
            return true;
        }

        private static void Typed(string name, EventReader reader, ValueMap f)
        {
            switch (reader.Kind)
            {
                case EventKind.End:
                    TurnEnd end = reader.TurnEnd();
                    Check.Same(end.Reason, f.Text("reason"), name);
                    Check.Same(end.Text, f.Text("text"), name);
                    Check.Same(string.Join(",", end.Actions), string.Join(",", Texts(f["actions"]) ?? new List<string>()), name);
                    Check.Same(string.Join(",", end.Retracted), string.Join(",", Texts(f["retracted"]) ?? new List<string>()), name);
                    Check.That(((Value)end.Tokens).Equals(f["tokens"]) && ((Value)end.Timings).Equals(f["timings"]), name);
                    Check.That(((Value)end.Recalled).Equals(f["recalled"]) && ((Value)end.Dropped).Equals(f["dropped"]), name);
                    Check.That(((Value)end.Explanation).Equals(f["explanation"]), name);
                    break;
                case EventKind.Refused:
                    Refusal refusal = reader.Refusal();
                    Check.Same(refusal.Name + refusal.Code + refusal.Message + refusal.Raw + refusal.Id + refusal.Offset,
                        f.Text("name") + f.Text("code") + f.Text("message") + f.Text("raw") + f.Text("id") + f["offset"], name);
                    break;
                case EventKind.Ready:
                    WorldInfo world = reader.World();
                    Check.Same(world.Name, f.Text("world"), name);
                    Check.Same(world.Npcs.Count, f["npcs"].AsList.Count, name);
                    Check.Same(world.Find("mira").Voice, "low", name);
                    Check.Same(world.Find("tom").Name, "Old Tom", name);
                    Check.Same(world.Find("nobody"), null, name);
                    break;
                case EventKind.Loading:
                    Check.Same(reader.Loading().Progress, f.ContainsKey("progress") ? f.Number("progress") : (double?)null, name);
                    break;
                case EventKind.Overheard:
                    Overheard heard = reader.Overheard();
                    Check.Same(heard.Npc + heard.Player + heard.History + heard.Turn,
                        f.Text("npc") + f.Text("player") + f.Text("history") + f.Text("turn"), name);
                    Check.That(((Value)heard.Content).Equals(f["content"]), name);
                    Check.Same(heard.Kind, f["content"].AsMap.Text("event"), name);
                    break;
                case EventKind.Error:
                    NpcError error = reader.Error("error");
                    Check.Same(error.Code + error.Message + error.Hint + error.Text,
                        f.Text("code") + f.Text("message") + f.Text("hint") + f.Text("text"), name);
                    Check.Same(error.RetryMilliseconds, f.ContainsKey("retry_ms") ? f["retry_ms"].AsInteger : 0, name);
                    break;
            }
        }

        private static List<string> Texts(Value list)
        {
            if (list.IsNull) return null;
            var texts = new List<string>();
            foreach (Value one in list.AsList) texts.Add(one.AsText);
            return texts;
        }

        private static string Kind(EventKind kind) =>
            kind == EventKind.ActionStarted ? "action_started" : kind.ToString().ToLowerInvariant();

        private static byte[] Bytes(string hex)
        {
            var bytes = new byte[hex.Length / 2];
            for (int i = 0; i < bytes.Length; i++) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return bytes;
        }

        private static string Hex(byte[] bytes) => BitConverter.ToString(bytes);
    }
}
