using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>
    /// An action that the game offers to characters:
    /// <c>new ActionDefinition("open_gate", "Opens a gate.", returns: true).Text("gate", from: "state.nearby")</c>.
    /// </summary>
    public sealed class ActionDefinition
    {
        private readonly ValueMap properties = new ValueMap();
        private readonly ValueList required = new ValueList();
        private readonly ValueMap parameters;

        /// <param name="name">Letters, digits, <c>_ - .</c>; at most 64.</param>
        /// <param name="description">What the model is told.</param>
        /// <param name="returns">Whether the character waits for the game's answer.</param>
        /// <param name="when">Offered only while this holds in the state: <c>trust &gt;= 60</c>.</param>
        /// <param name="timeout">Seconds to wait for an answer.</param>
        /// <param name="parameters">A JSON Schema of the arguments, in place of the methods of this class.</param>
        public ActionDefinition(
            string name, string description, bool returns = false, string when = null, double? timeout = null, ValueMap parameters = null)
        {
            Name = name;
            Description = description;
            Returns = returns;
            When = when;
            Timeout = timeout;
            this.parameters = parameters;
        }

        public string Name { get; }
        public string Description { get; }
        public bool Returns { get; }
        public string When { get; }
        public double? Timeout { get; }

        /// <summary>An argument that is text; <paramref name="from"/> names a list in the state: only values in it are legal.</summary>
        public ActionDefinition Text(string name, string description = null, string from = null, bool optional = false)
        {
            ValueMap schema = Property(name, "string", description, optional);
            if (from != null) schema["x-from"] = from;
            return this;
        }

        /// <summary>An argument that is one of a few words.</summary>
        public ActionDefinition Choice(string name, params string[] choices)
        {
            var list = new ValueList();
            for (int i = 0; i < choices.Length; i++) list.Add(choices[i]);
            Property(name, "string", null, false)["enum"] = list;
            return this;
        }

        public ActionDefinition Integer(
            string name, long? minimum = null, long? maximum = null, string description = null, bool optional = false)
        {
            ValueMap schema = Property(name, "integer", description, optional);
            if (minimum.HasValue) schema["minimum"] = minimum.Value;
            if (maximum.HasValue) schema["maximum"] = maximum.Value;
            return this;
        }

        public ActionDefinition Number(string name, string description = null, bool optional = false)
        {
            Property(name, "number", description, optional);
            return this;
        }

        public ActionDefinition Flag(string name, string description = null, bool optional = false)
        {
            Property(name, "boolean", description, optional);
            return this;
        }

        internal ValueMap ToValue()
        {
            var schema = parameters;
            if (schema == null)
            {
                schema = new ValueMap { { "type", "object" }, { "properties", properties } };
                if (required.Count > 0) schema["required"] = required;
            }
            var map = new ValueMap
            {
                { "name", Name }, { "description", Description }, { "parameters", schema }, { "returns", Returns ? "result" : "nothing" },
            };
            if (When != null) map["when"] = When;
            if (Timeout.HasValue) map["timeout"] = Timeout.Value;
            return map;
        }

        private ValueMap Property(string name, string type, string description, bool optional)
        {
            var schema = new ValueMap { { "type", type } };
            if (description != null) schema["description"] = description;
            properties[name] = schema;
            if (!optional) required.Add(name);
            return schema;
        }
    }

    /// <summary>Something the character does. Carry it out, and answer when <see cref="WantsResult"/>.</summary>
    public sealed class ActionCall
    {
        internal ActionCall(Turn turn, EventReader reader)
        {
            Turn = turn;
            Id = reader.Text(Field.Id, "");
            Name = reader.Text(Field.Name, "");
            Arguments = reader.Map(Field.Arguments);
            Offset = System.Math.Max(0, reader.Natural(Field.Offset));
            Repaired = reader.Flag(Field.Repaired);
            WantsResult = reader.Text(Field.Returns) == "result";
        }

        public Turn Turn { get; }
        public string Id { get; }
        public string Name { get; }
        public ValueMap Arguments { get; }

        /// <summary>Where in the turn's text it happens, in Unicode code points.</summary>
        public long Offset { get; }

        /// <summary>The model misspelled the call, and what it meant was clear.</summary>
        public bool Repaired { get; }

        /// <summary>The character waits for <see cref="Done"/> or <see cref="Fail"/>; they may come in a later frame.</summary>
        public bool WantsResult { get; }

        /// <summary>Whether it has been answered.</summary>
        public bool IsAnswered { get; private set; }

        /// <summary>It is done; the value is told to the character. The first answer counts.</summary>
        public void Done(Value value = default(Value)) => Answer("done", value);

        /// <summary>It could not be done; the reason is told to the character.</summary>
        public void Fail(string reason) => Answer("failed", reason);

        public override string ToString() => Name + Arguments;

        private void Answer(string status, Value value)
        {
            if (!WantsResult || IsAnswered) return;
            Turn.Conversation.Client.Result(Turn, Id, status, value);
            IsAnswered = true;
        }
    }
}
