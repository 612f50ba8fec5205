using System;
using System.Collections;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>What a <see cref="Value"/> holds.</summary>
    public enum ValueKind : byte { Null, Bool, Integer, Number, Text, List, Map }

    /// <summary>
    /// The game's own data on the wire: null, booleans, 64-bit integers, finite numbers, text, lists, and maps with
    /// text keys. Made by conversion from C# values; read by <c>As…</c>, which throw an <see cref="NpcException"/>
    /// (code <c>wrong_type</c>) for another kind.
    /// </summary>
    public readonly struct Value : IEquatable<Value>
    {
        private static readonly object Unsigned = new object(); // marks integers above long.MaxValue

        private readonly object reference;
        private readonly long bits;

        /// <summary>What the value holds.</summary>
        public readonly ValueKind Kind;

        private Value(ValueKind kind, long bits, object reference)
        {
            Kind = kind;
            this.bits = bits;
            this.reference = reference;
        }

        public static Value Null => default(Value);

        public static implicit operator Value(bool value) => new Value(ValueKind.Bool, value ? 1 : 0, null);
        public static implicit operator Value(int value) => new Value(ValueKind.Integer, value, null);
        public static implicit operator Value(long value) => new Value(ValueKind.Integer, value, null);
        public static implicit operator Value(ulong value) =>
            new Value(ValueKind.Integer, unchecked((long)value), value > long.MaxValue ? Unsigned : null);
        public static implicit operator Value(double value) =>
            new Value(ValueKind.Number, BitConverter.DoubleToInt64Bits(value), null);
        public static implicit operator Value(string value) =>
            value == null ? default(Value) : new Value(ValueKind.Text, 0, value);
        public static implicit operator Value(ValueList value) =>
            value == null ? default(Value) : new Value(ValueKind.List, 0, value);
        public static implicit operator Value(ValueMap value) =>
            value == null ? default(Value) : new Value(ValueKind.Map, 0, value);

        public bool IsNull => Kind == ValueKind.Null;

        /// <summary>An integer above <see cref="long.MaxValue"/>: only <see cref="AsUnsigned"/> reads it.</summary>
        public bool IsUnsigned => ReferenceEquals(reference, Unsigned);

        public bool AsBool => Kind == ValueKind.Bool ? bits != 0 : throw Wrong("a boolean");
        public long AsInteger => Kind == ValueKind.Integer && !IsUnsigned ? bits : throw Wrong("a signed integer");
        public ulong AsUnsigned =>
            Kind == ValueKind.Integer && (IsUnsigned || bits >= 0) ? unchecked((ulong)bits) : throw Wrong("an integer from 0");
        public string AsText => Kind == ValueKind.Text ? (string)reference : throw Wrong("text");
        public ValueList AsList => Kind == ValueKind.List ? (ValueList)reference : throw Wrong("a list");
        public ValueMap AsMap => Kind == ValueKind.Map ? (ValueMap)reference : throw Wrong("a map");

        /// <summary>A number; an integer is welcome where a number is due.</summary>
        public double AsNumber
        {
            get
            {
                if (Kind == ValueKind.Number) return BitConverter.Int64BitsToDouble(bits);
                if (Kind == ValueKind.Integer) return IsUnsigned ? unchecked((ulong)bits) : (double)bits;
                throw Wrong("a number");
            }
        }

        public bool Equals(Value other)
        {
            if (Kind != other.Kind) return false;
            switch (Kind)
            {
                case ValueKind.Null: return true;
                case ValueKind.Text: return (string)reference == (string)other.reference;
                case ValueKind.List: return ((ValueList)reference).SameAs((ValueList)other.reference);
                case ValueKind.Map: return ((ValueMap)reference).SameAs((ValueMap)other.reference);
                default: return bits == other.bits && IsUnsigned == other.IsUnsigned;
            }
        }

        public override bool Equals(object other) => other is Value && Equals((Value)other);

        public override int GetHashCode() =>
            Kind == ValueKind.Text ? ((string)reference).GetHashCode() : (int)Kind * 397 ^ bits.GetHashCode();

        public override string ToString()
        {
            switch (Kind)
            {
                case ValueKind.Null: return "null";
                case ValueKind.Bool: return bits != 0 ? "true" : "false";
                case ValueKind.Integer:
                    return IsUnsigned ? unchecked((ulong)bits).ToString() : bits.ToString();
                case ValueKind.Number:
                    return AsNumber.ToString("R", System.Globalization.CultureInfo.InvariantCulture);
                case ValueKind.Text: return (string)reference;
                default: return reference.ToString();
            }
        }

        private NpcException Wrong(string wanted) =>
            new NpcException("wrong_type", "The value is " + Kind + ", not " + wanted + ".", "Look at Kind first.");
    }

    /// <summary>A list of values: <c>new ValueList { "gate", "well" }</c>.</summary>
    public sealed class ValueList : List<Value>
    {
        internal bool SameAs(ValueList other)
        {
            if (Count != other.Count) return false;
            for (int i = 0; i < Count; i++)
                if (!this[i].Equals(other[i])) return false;
            return true;
        }

        public override string ToString()
        {
            var text = new System.Text.StringBuilder("[");
            for (int i = 0; i < Count; i++) text.Append(i == 0 ? "" : ", ").Append(this[i].ToString());
            return text.Append(']').ToString();
        }
    }

    /// <summary>
    /// A map with text keys, in the order in which they were added: <c>new ValueMap { { "trust", 61 } }</c>.
    /// A key set twice keeps its place and takes the later value.
    /// </summary>
    public sealed class ValueMap : IEnumerable<KeyValuePair<string, Value>>
    {
        private const int Linear = 8; // up to here, a search is quicker than hashing and needs no second table

        private readonly List<KeyValuePair<string, Value>> pairs = new List<KeyValuePair<string, Value>>();
        private Dictionary<string, int> index;

        public int Count => pairs.Count;

        internal KeyValuePair<string, Value> At(int position) => pairs[position];

        /// <summary>The value of a key; null (<see cref="Value.Null"/>) when the key is missing.</summary>
        public Value this[string key]
        {
            get
            {
                int at = Find(key);
                return at < 0 ? default(Value) : pairs[at].Value;
            }
            set
            {
                if (key == null) throw new ArgumentNullException(nameof(key));
                int at = Find(key);
                var pair = new KeyValuePair<string, Value>(key, value);
                if (at >= 0)
                {
                    pairs[at] = pair;
                    return;
                }
                pairs.Add(pair);
                if (index != null) index[key] = pairs.Count - 1;
                else if (pairs.Count > Linear)
                {
                    index = new Dictionary<string, int>(StringComparer.Ordinal);
                    for (int i = 0; i < pairs.Count; i++) index[pairs[i].Key] = i;
                }
            }
        }

        public void Add(string key, Value value) => this[key] = value;

        public bool ContainsKey(string key) => Find(key) >= 0;

        /// <summary>Text of a key, or <paramref name="otherwise"/> when it is missing or not text.</summary>
        public string Text(string key, string otherwise = "")
        {
            Value value = this[key];
            return value.Kind == ValueKind.Text ? value.AsText : otherwise;
        }

        /// <summary>A number of a key, or <paramref name="otherwise"/> when it is missing or no number.</summary>
        public double Number(string key, double otherwise = 0)
        {
            Value value = this[key];
            return value.Kind == ValueKind.Number || value.Kind == ValueKind.Integer ? value.AsNumber : otherwise;
        }

        /// <summary>Empties the map and keeps its storage, for a state that is filled anew each turn.</summary>
        public void Clear()
        {
            pairs.Clear();
            index = null;
        }

        public IEnumerator<KeyValuePair<string, Value>> GetEnumerator() => pairs.GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => pairs.GetEnumerator();

        internal bool SameAs(ValueMap other)
        {
            if (Count != other.Count) return false;
            foreach (KeyValuePair<string, Value> pair in pairs)
                if (!other.ContainsKey(pair.Key) || !other[pair.Key].Equals(pair.Value)) return false;
            return true;
        }

        public override string ToString()
        {
            var text = new System.Text.StringBuilder("{");
            for (int i = 0; i < pairs.Count; i++)
                text.Append(i == 0 ? "" : ", ").Append(pairs[i].Key).Append(": ").Append(pairs[i].Value.ToString());
            return text.Append('}').ToString();
        }

        private int Find(string key)
        {
            int at;
            if (index != null) return index.TryGetValue(key, out at) ? at : -1;
            for (at = pairs.Count - 1; at >= 0; at--)
                if (pairs[at].Key == key) break;
            return at;
        }
    }
}
