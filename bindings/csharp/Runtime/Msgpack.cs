using System;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>Writes the msgpack that messages are made of, in the shortest forms.</summary>
    internal sealed class MsgpackWriter
    {
        internal const int MessageBytes = 1 << 20;
        internal const int Depth = 32; // of the game's own data

        private byte[] buffer = new byte[256];
        private int length;

        /// <summary>What was written since the last call, as a message of its own.</summary>
        internal byte[] Take()
        {
            int size = length;
            length = 0;
            if (size > MessageBytes)
                throw new NpcException(
                    "too_large",
                    "A message of " + size + " bytes is larger than the limit of " + MessageBytes + ".",
                    "Send less at once: a shorter line, or less state.");
            var message = new byte[size];
            Buffer.BlockCopy(buffer, 0, message, 0, size);
            return message;
        }

        internal void Reset() => length = 0;

        internal void Map(int count) => Header(count, 0x80, 16, 0xDE);

        internal void List(int count) => Header(count, 0x90, 16, 0xDC);

        internal void Null() => Byte(0xC0);

        internal void Bool(bool value) => Byte(value ? (byte)0xC3 : (byte)0xC2);

        internal void Text(string text)
        {
            int count = Utf8.Count(text);
            if (count < 0) throw Unencodable("holds half of a surrogate pair");
            if (count < 32) Byte((byte)(0xA0 | count));
            else if (count < 0x100) Number(0xD9, 1, (ulong)count);
            else if (count < 0x10000) Number(0xDA, 2, (ulong)count);
            else Number(0xDB, 4, (ulong)count);
            Room(count);
            length = Utf8.Encode(text, buffer, length);
        }

        internal void Integer(long value)
        {
            if (value >= 0) Unsigned((ulong)value);
            else if (value >= -32) Byte(unchecked((byte)value));
            else if (value >= sbyte.MinValue) Number(0xD0, 1, unchecked((ulong)value));
            else if (value >= short.MinValue) Number(0xD1, 2, unchecked((ulong)value));
            else if (value >= int.MinValue) Number(0xD2, 4, unchecked((ulong)value));
            else Number(0xD3, 8, unchecked((ulong)value));
        }

        internal void Unsigned(ulong value)
        {
            if (value < 0x80) Byte((byte)value);
            else if (value < 0x100) Number(0xCC, 1, value);
            else if (value < 0x10000) Number(0xCD, 2, value);
            else if (value < 0x100000000) Number(0xCE, 4, value);
            else Number(0xCF, 8, value);
        }

        internal void Real(double value)
        {
            if (double.IsNaN(value) || double.IsInfinity(value)) throw Unencodable("holds a number that is not finite");
            Number(0xCB, 8, unchecked((ulong)BitConverter.DoubleToInt64Bits(value)));
        }

        internal void Data(Value value, int depth = 0)
        {
            if (depth > Depth) throw Unencodable("is nested deeper than " + Depth + " levels");
            switch (value.Kind)
            {
                case ValueKind.Null: Null(); break;
                case ValueKind.Bool: Bool(value.AsBool); break;
                case ValueKind.Integer:
                    if (value.IsUnsigned) Unsigned(value.AsUnsigned);
                    else Integer(value.AsInteger);
                    break;
                case ValueKind.Number: Real(value.AsNumber); break;
                case ValueKind.Text: Text(value.AsText); break;
                case ValueKind.List:
                    ValueList list = value.AsList;
                    List(list.Count);
                    for (int i = 0; i < list.Count; i++) Data(list[i], depth + 1);
                    break;
                default:
                    ValueMap map = value.AsMap;
                    Map(map.Count);
                    for (int i = 0; i < map.Count; i++)
                    {
                        KeyValuePair<string, Value> pair = map.At(i);
                        Text(pair.Key);
                        Data(pair.Value, depth + 1);
                    }
                    break;
            }
        }

        private static NpcException Unencodable(string reason) => new NpcException(
            "unencodable",
            "This cannot be sent: it " + reason + ".",
            "Use null, booleans, finite numbers of 64 bits, well-formed text, lists and maps with text keys.");

        private void Header(int count, int shortForm, int below, byte longForm)
        {
            if (count < below) Byte((byte)(shortForm | count));
            else if (count < 0x10000) Number(longForm, 2, (ulong)count);
            else Number((byte)(longForm + 1), 4, (ulong)count);
        }

        private void Byte(byte value)
        {
            Room(1);
            buffer[length++] = value;
        }

        private void Number(byte head, int size, ulong value)
        {
            Room(size + 1);
            buffer[length++] = head;
            for (int shift = (size - 1) * 8; shift >= 0; shift -= 8) buffer[length++] = unchecked((byte)(value >> shift));
        }

        private void Room(int count)
        {
            if (length + count > buffer.Length) Array.Resize(ref buffer, Math.Max(buffer.Length * 2, length + count));
        }
    }

    /// <summary>
    /// Reads msgpack in place. Nothing throws: what cannot be read sets <see cref="Failed"/>, which stays, and gives
    /// empty values from there on.
    /// </summary>
    internal struct MsgpackReader
    {
        private const int MaxDepth = 40; // a message around the game's own data

        internal readonly byte[] Source;
        internal int At;
        internal bool Failed;
        private readonly int end;

        internal MsgpackReader(byte[] source, int at, int count)
        {
            Source = source;
            At = at;
            end = at + count;
            Failed = false;
        }

        internal bool AtEnd => At == end;

        internal int Map()
        {
            int head = Head();
            if ((head & 0xF0) == 0x80) return head & 0x0F;
            int count = head == 0xDE ? Size(2) : head == 0xDF ? Size(4) : Fail();
            return Sensible(count, 2);
        }

        internal int List()
        {
            int head = Head();
            if ((head & 0xF0) == 0x90) return head & 0x0F;
            int count = head == 0xDC ? Size(2) : head == 0xDD ? Size(4) : Fail();
            return Sensible(count, 1);
        }

        /// <summary>Text, left where it is: its bytes begin at <paramref name="start"/>.</summary>
        internal int Text(out int start)
        {
            int head = Head();
            int count = (head & 0xE0) == 0xA0 ? head & 0x1F : head == 0xD9 ? Size(1) : head == 0xDA ? Size(2) : head == 0xDB ? Size(4) : Fail();
            start = At;
            if (count < 0 || count > end - At) return Fail();
            At += count;
            return count;
        }

        internal string Text()
        {
            int count = Text(out int start);
            string text = Failed ? null : Utf8.Text(Source, start, count);
            if (text == null) Fail();
            return text ?? "";
        }

        /// <summary>An integer from 0 that fits into a long.</summary>
        internal long Natural()
        {
            Value value = Data();
            if (value.Kind == ValueKind.Integer && !value.IsUnsigned && value.AsInteger >= 0) return value.AsInteger;
            return Fail();
        }

        internal double Real()
        {
            Value value = Data();
            return value.Kind == ValueKind.Number || value.Kind == ValueKind.Integer ? value.AsNumber : Fail();
        }

        internal bool Bool()
        {
            int head = Head();
            if (head != 0xC2 && head != 0xC3) Fail();
            return head == 0xC3;
        }

        /// <summary>Whether null stands here, and if so goes over it.</summary>
        internal bool Null()
        {
            if (Failed || At >= end || Source[At] != 0xC0) return false;
            At++;
            return true;
        }

        /// <summary>Any value. Only lists, maps and text allocate.</summary>
        internal Value Data(int depth = 0)
        {
            if (Failed || At >= end || depth > MaxDepth)
            {
                Fail();
                return default(Value);
            }
            int head = Source[At];
            if (head >= 0xA0 && head < 0xC0 || head >= 0xD9 && head < 0xDC) return Text();
            if (head >= 0x80 && head < 0x90 || head == 0xDE || head == 0xDF)
            {
                var map = new ValueMap();
                for (int left = Map(); left > 0 && !Failed; left--)
                {
                    string key = Text();
                    map[key] = Data(depth + 1);
                }
                return map;
            }
            if (head >= 0x90 && head < 0xA0 || head == 0xDC || head == 0xDD)
            {
                var list = new ValueList();
                for (int left = List(); left > 0 && !Failed; left--) list.Add(Data(depth + 1));
                return list;
            }
            At++;
            if (head < 0x80) return head;
            if (head >= 0xE0) return head - 0x100;
            switch (head)
            {
                case 0xC0: return default(Value);
                case 0xC2: return false;
                case 0xC3: return true;
                case 0xCA: return Finite(Single(unchecked((int)Bits(4))));
                case 0xCB: return Finite(BitConverter.Int64BitsToDouble(unchecked((long)Bits(8))));
                case 0xCC: return Bits(1);
                case 0xCD: return Bits(2);
                case 0xCE: return Bits(4);
                case 0xCF: return Bits(8);
                case 0xD0: return unchecked((sbyte)Bits(1));
                case 0xD1: return unchecked((short)Bits(2));
                case 0xD2: return unchecked((int)Bits(4));
                case 0xD3: return unchecked((long)Bits(8));
            }
            Fail(); // binary, extensions, and the one code that is never used
            return default(Value);
        }

        /// <summary>Goes over any value, and looks whether it could be read.</summary>
        internal void Skip(int depth = 0)
        {
            if (Failed || At >= end || depth > MaxDepth)
            {
                Fail();
                return;
            }
            int head = Source[At];
            if (head >= 0xA0 && head < 0xC0 || head >= 0xD9 && head < 0xDC) Text(out _);
            else if (head >= 0x80 && head < 0x90 || head == 0xDE || head == 0xDF)
            {
                for (int left = Map(); left > 0 && !Failed; left--)
                {
                    Text(out _);
                    Skip(depth + 1);
                }
            }
            else if (head >= 0x90 && head < 0xA0 || head == 0xDC || head == 0xDD)
            {
                for (int left = List(); left > 0 && !Failed; left--) Skip(depth + 1);
            }
            else Data(depth); // a scalar
        }

        private static double Single(int bits)
        {
            int exponent = bits >> 23 & 0xFF, mantissa = bits & 0x7FFFFF;
            if (exponent == 0xFF) return double.NaN; // or infinite: refused alike
            double size = exponent == 0 ? mantissa * Math.Pow(2, -149) : (mantissa | 0x800000) * Math.Pow(2, exponent - 150);
            return bits < 0 ? -size : size;
        }

        private Value Finite(double value)
        {
            if (double.IsNaN(value) || double.IsInfinity(value)) Fail();
            return value;
        }

        private int Head()
        {
            if (Failed || At >= end) return Fail() - 1; // -1 matches no form
            return Source[At++];
        }

        private ulong Bits(int size)
        {
            if (Failed || size > end - At) return (ulong)Fail();
            ulong value = 0;
            for (int i = 0; i < size; i++) value = value << 8 | Source[At++];
            return value;
        }

        private int Size(int size)
        {
            ulong value = Bits(size);
            return value > int.MaxValue ? Fail() : (int)value;
        }

        /// <summary>A count that the bytes left cannot hold is a lie: nothing is allocated for it.</summary>
        private int Sensible(int count, int each) => count > (end - At) / each ? Fail() : count;

        private int Fail()
        {
            Failed = true;
            return 0;
        }
    }
}
