using System;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>What a server sends, by kind.</summary>
    internal enum EventKind : byte
    {
        Unknown, Welcome, Loading, Ready, Opened, Closed, Text, ActionStarted, Action, Refused, End, Error, Pong, Reset, Goodbye,
        Done, Overheard,
    }

    /// <summary>The fields that an event can have.</summary>
    internal enum Field : byte
    {
        Event, Conversation, Turn, Seq, Text, Offset, Id, Name, Arguments, Returns, Repaired, Code, Message, Hint, Kind, Answers,
        Raw, Reason, Tokens, Timings, Recalled, Dropped, Explanation, Epoch, Protocol, Sdk, Features, Limits, Stage, Progress,
        World, Npcs, Npc, Player, History, Nonce, First, Request, Value, Content, RetryMs, Actions, Retracted,
    }

    /// <summary>
    /// One event, read in place: where its fields lie, without a copy and without an allocation. Valid until the
    /// bytes change or the next <see cref="Read"/>.
    /// </summary>
    internal sealed class EventReader
    {
        private static readonly byte[][] FieldNames = Names(
            "event", "conversation", "turn", "seq", "text", "offset", "id", "name", "arguments", "returns", "repaired", "code",
            "message", "hint", "kind", "answers", "raw", "reason", "tokens", "timings", "recalled", "dropped", "explanation", "epoch",
            "protocol", "sdk", "features", "limits", "stage", "progress", "world", "npcs", "npc", "player", "history", "nonce",
            "first", "request", "value", "content", "retry_ms",
            "actions", "retracted");

        private static readonly byte[][] KindNames = Names(
            "", "welcome", "loading", "ready", "opened", "closed", "text", "action_started", "action", "refused", "end", "error",
            "pong", "reset", "goodbye", "done", "overheard");

        private readonly int[] places = new int[FieldNames.Length]; // 0: the field is missing
        private byte[] source = Array.Empty<byte>();
        private int end;

        internal EventKind Kind { get; private set; }

        /// <summary>
        /// Takes one message. False when it is not one msgpack map with an <c>event</c>. An unknown kind is true,
        /// with <see cref="EventKind.Unknown"/>.
        /// </summary>
        internal bool Read(byte[] bytes, int at, int count)
        {
            source = bytes;
            end = at + count;
            Kind = EventKind.Unknown;
            Array.Clear(places, 0, places.Length);
            var reader = new MsgpackReader(bytes, at, count);
            for (int left = reader.Map(); left > 0 && !reader.Failed; left--)
            {
                int length = reader.Text(out int start);
                int field = reader.Failed ? -1 : Find(FieldNames, start, length);
                int place = reader.At;
                reader.Skip();
                if (field >= 0) places[field] = place;
            }
            if (reader.Failed || !reader.AtEnd) return false;
            int size = TextAt(Field.Event, out int begin);
            if (size < 0) return false;
            Kind = (EventKind)Math.Max(0, Find(KindNames, begin, size));
            return true;
        }

        internal bool Has(Field field) => places[(int)field] != 0 && source[places[(int)field]] != 0xC0;

        /// <summary>Where a field's text lies; -1 when the field is missing or no text.</summary>
        internal int TextAt(Field field, out int start)
        {
            start = 0;
            if (places[(int)field] == 0) return -1;
            MsgpackReader reader = At(field);
            int count = reader.Text(out start);
            return reader.Failed ? -1 : count;
        }

        /// <summary>A field's text; null when it is missing or not well-formed text.</summary>
        internal string Text(Field field)
        {
            int count = TextAt(field, out int start);
            return count < 0 ? null : Utf8.Text(source, start, count);
        }

        internal string Text(Field field, string otherwise) => Text(field) ?? otherwise;

        /// <summary>A field's text into a buffer that grows as it must; -1 when it is missing or not well-formed.</summary>
        internal int TextInto(Field field, ref char[] buffer)
        {
            int count = TextAt(field, out int start);
            if (count > buffer.Length) buffer = new char[Math.Max(count, buffer.Length * 2)];
            return count < 0 ? -1 : Utf8.Decode(source, start, count, buffer);
        }

        internal bool Same(Field field, byte[] text)
        {
            int count = TextAt(field, out int start);
            return count >= 0 && Utf8.Same(source, start, count, text);
        }

        /// <summary>An integer from 0; -1 when the field is missing or something else.</summary>
        internal long Natural(Field field)
        {
            if (!Has(field)) return -1;
            MsgpackReader reader = At(field);
            long value = reader.Natural();
            return reader.Failed ? -1 : value;
        }

        internal bool Flag(Field field)
        {
            if (!Has(field)) return false;
            MsgpackReader reader = At(field);
            return reader.Bool() && !reader.Failed;
        }

        internal Value Data(Field field)
        {
            if (!Has(field)) return default(Value);
            MsgpackReader reader = At(field);
            Value value = reader.Data();
            return reader.Failed ? default(Value) : value;
        }

        internal ValueMap Map(Field field)
        {
            Value value = Data(field);
            return value.Kind == ValueKind.Map ? value.AsMap : new ValueMap();
        }

        internal ValueList List(Field field)
        {
            Value value = Data(field);
            return value.Kind == ValueKind.List ? value.AsList : new ValueList();
        }

        private string[] Ids(Field field)
        {
            ValueList list = List(field);
            var ids = new List<string>(list.Count);
            for (int i = 0; i < list.Count; i++)
                if (list[i].Kind == ValueKind.Text) ids.Add(list[i].AsText);
            return ids.ToArray();
        }

        internal NpcError Error(string kind) => new NpcError(
            Text(Field.Code, "unknown"), Text(Field.Message, ""), Text(Field.Hint, ""), Text(Field.Kind, kind), Text(Field.Text, ""),
            Math.Max(0, Natural(Field.RetryMs)));

        internal TurnEnd TurnEnd() => new TurnEnd
        {
            Reason = Text(Field.Reason, ""),
            Text = Text(Field.Text, ""),
            Actions = Ids(Field.Actions),
            Retracted = Ids(Field.Retracted),
            Tokens = Map(Field.Tokens),
            Timings = Map(Field.Timings),
            Recalled = List(Field.Recalled),
            Dropped = List(Field.Dropped),
            Explanation = Map(Field.Explanation),
        };

        internal Refusal Refusal() => new Refusal
        {
            Name = Text(Field.Name, ""),
            Code = Text(Field.Code, ""),
            Message = Text(Field.Message, ""),
            Raw = Text(Field.Raw, ""),
            Id = Text(Field.Id, ""),
            Offset = Math.Max(0, Natural(Field.Offset)),
        };

        internal ActionStart ActionStart() => new ActionStart
        {
            Id = Text(Field.Id, ""),
            Name = Text(Field.Name, ""),
            Offset = Math.Max(0, Natural(Field.Offset)),
        };

        internal Overheard Overheard() => new Overheard
        {
            Npc = Text(Field.Npc, ""),
            Player = Text(Field.Player, ""),
            History = Text(Field.History, ""),
            Turn = Text(Field.Turn, ""),
            Content = Map(Field.Content),
        };

        internal LoadingInfo Loading()
        {
            Value progress = Data(Field.Progress);
            bool known = progress.Kind == ValueKind.Number || progress.Kind == ValueKind.Integer;
            return new LoadingInfo { Stage = Text(Field.Stage, ""), Progress = known ? progress.AsNumber : (double?)null };
        }

        internal WorldInfo World()
        {
            ValueList list = List(Field.Npcs);
            var npcs = new List<NpcInfo>(list.Count);
            for (int i = 0; i < list.Count; i++)
            {
                if (list[i].Kind != ValueKind.Map) continue;
                ValueMap one = list[i].AsMap;
                npcs.Add(new NpcInfo { Id = one.Text("id"), Name = one.Text("name"), Role = one.Text("role"), Voice = one.Text("voice", null) });
            }
            return new WorldInfo { Name = Text(Field.World, ""), Npcs = npcs };
        }

        private MsgpackReader At(Field field)
        {
            int place = places[(int)field];
            return new MsgpackReader(source, place, end - place);
        }

        private int Find(byte[][] names, int start, int length)
        {
            byte first = length > 0 ? source[start] : (byte)0;
            for (int i = 0; i < names.Length; i++)
            {
                byte[] name = names[i];
                if (name.Length == length && length > 0 && name[0] == first && Utf8.Same(source, start, length, name)) return i;
            }
            return -1;
        }

        private static byte[][] Names(params string[] names)
        {
            var bytes = new byte[names.Length][];
            for (int i = 0; i < names.Length; i++) bytes[i] = Utf8.Bytes(names[i]);
            return bytes;
        }
    }
}
