using System;

namespace Npcsdk.Tests
{
    /// <summary>Forms that no vector has: every width, hostile bytes, what must be refused.</summary>
    internal static class MsgpackTests
    {
        internal static void Run()
        {
            Widths();
            Texts();
            Refused();
            Garbage();
            Values();
            Console.WriteLine("ok");
        }

        private static void Widths()
        {
            foreach (long edge in new[] { 0L, 31, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, long.MaxValue })
                foreach (long near in new[] { edge, edge == long.MaxValue ? edge : edge + 1, -edge, -edge - 1 })
                    Check.That(Round(near).AsInteger == near, "integer " + near);
            foreach (ulong big in new[] { (ulong)long.MaxValue + 1, ulong.MaxValue })
                Check.That(Round(big).AsUnsigned == big, "unsigned " + big);
            foreach (double real in new[] { 0.0, -1.5, 1e308, double.Epsilon, 0.1 })
                Check.That(Round(real).AsNumber == real, "number " + real);
            Check.Same(Read(0xCA, 0x3F, 0xC0, 0, 0).AsNumber, 1.5, "single precision");
            Check.Same(Read(0xCA, 0x80, 0, 0, 1).AsNumber, -Math.Pow(2, -149), "single precision, denormal");
            Check.Same(Read(0xD9, 1, 0x61).AsText, "a", "a longer form than is needed");
            foreach (int length in new[] { 0, 31, 32, 255, 256, 65535, 65536 })
                Check.Same(Round(new string('x', length)).AsText.Length, length, "text of " + length);
            foreach (int length in new[] { 0, 15, 16, 65535, 65536 })
            {
                var list = new ValueList();
                var map = new ValueMap();
                for (int i = 0; i < length; i++)
                {
                    list.Add(i);
                    map.Add("k" + i, i);
                }
                Check.That(Round(list).Equals((Value)list), "list of " + length);
                Check.That(Round(map).Equals((Value)map), "map of " + length);
            }
        }

        private static void Texts()
        {
            foreach (string text in new[] { "", "a", "é", "門番さん", "🚪🙂", "\u0000", "\uFFFF", "\U0010FFFF" })
            {
                Check.Same(Round(text).AsText, text, "text");
                Check.Same(BitConverter.ToString(Utf8.Bytes(text)), BitConverter.ToString(System.Text.Encoding.UTF8.GetBytes(text)), "UTF-8");
            }
            var random = new Random(7);
            var strict = new System.Text.UTF8Encoding(false, true);
            var bytes = new byte[6];
            for (int round = 0; round < 20000; round++)
            {
                for (int i = 0; i < bytes.Length; i++)
                    bytes[i] = (byte)(random.Next(3) == 0 ? random.Next(0x80) : random.Next(0x80, 0x100));
                string wanted;
                try
                {
                    wanted = strict.GetString(bytes, 0, bytes.Length);
                }
                catch (ArgumentException)
                {
                    wanted = null;
                }
                Check.Same(Utf8.Text(bytes, 0, bytes.Length), wanted, "UTF-8 of " + BitConverter.ToString(bytes));
            }
        }

        private static void Refused()
        {
            Check.Throws("unencodable", () => Round("\uD83D"), "half a pair");
            Check.Throws("unencodable", () => Round("\uDE00x"), "the other half");
            Check.Throws("unencodable", () => Round(double.NaN), "not a number");
            Check.Throws("unencodable", () => Round(double.PositiveInfinity), "infinite");
            Value deep = 1;
            for (int i = 0; i < 32; i++) deep = new ValueList { deep };
            Check.That(Round(deep).Equals(deep), "32 levels");
            Check.Throws("unencodable", () => Round(new ValueList { deep }), "33 levels");
            var own = new ValueList();
            own.Add(own);
            Check.Throws("unencodable", () => Round(own), "a list within itself");
            var commands = new Commands();
            Check.Throws("too_large", () => commands.Say("c", "t", new string('x', 1 << 20), null, null), "a long line");
            Check.Throws("bad_id", () => commands.Close(""), "an empty id");
            Check.Throws("bad_id", () => commands.Close(new string('x', 129)), "a long id");
            Check.Throws("bad_seed", () => commands.Say("c", "t", "", null, -1), "a negative seed");
            Check.Throws("bad_priority", () => commands.Say("c", "t", "", null, null, 10), "a priority above 9");
            Check.That(commands.Ping(7).Length == 21, "an encoding that threw leaves nothing behind");
        }

        private static void Garbage()
        {
            foreach (byte[] bad in new[]
            {
                new byte[0], new byte[] { 0xC1 }, new byte[] { 0xC4, 0 }, new byte[] { 0xD4, 0, 0 }, new byte[] { 0x81, 1, 1 },
                new byte[] { 0xDF, 0xFF, 0xFF, 0xFF, 0xFF }, new byte[] { 0xDD, 0x7F, 0xFF, 0xFF, 0xFF },
                new byte[] { 0xDB, 0xFF, 0xFF, 0xFF, 0xFF, 1 }, new byte[] { 0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0 },
                new byte[] { 0xA1, 0xFF }, new byte[] { 0x92, 1 },
            })
            {
                var reader = new MsgpackReader(bad, 0, bad.Length);
                reader.Data();
                Check.That(reader.Failed, "refused: " + BitConverter.ToString(bad));
            }
            var deep = new byte[100000];
            for (int i = 0; i < deep.Length; i++) deep[i] = 0x91;
            var skipping = new MsgpackReader(deep, 0, deep.Length);
            skipping.Skip();
            Check.That(skipping.Failed, "a bottomless list");
            var random = new Random(11);
            var events = new EventReader();
            byte[] seed = { 0x83, 0xA5, 0x65, 0x76, 0x65, 0x6E, 0x74, 0xA4, 0x74, 0x65, 0x78, 0x74, 0xA4, 0x74, 0x65, 0x78, 0x74, 0xA2, 0x68, 0x69, 0xA3, 0x73, 0x65, 0x71, 1 };
            var mutated = new byte[seed.Length];
            for (int round = 0; round < 100000; round++)
            {
                Buffer.BlockCopy(seed, 0, mutated, 0, seed.Length);
                for (int change = random.Next(1, 4); change > 0; change--) mutated[random.Next(seed.Length)] = (byte)random.Next(256);
                if (!events.Read(mutated, 0, mutated.Length)) continue;
                events.Text(Field.Text);
                events.Natural(Field.Seq);
                events.TurnEnd();
                events.World();
            }
        }

        private static void Values()
        {
            var map = new ValueMap { { "b", 1 }, { "a", "x" }, { "b", 2 } };
            Check.Same(map.ToString(), "{b: 2, a: x}", "order and replacement");
            Check.That(map["missing"].IsNull && map.Text("b") == "" && map.Number("b") == 2, "reading");
            Check.Throws("wrong_type", () => Check.That(map["a"].AsInteger == 0, ""), "another kind");
            for (int i = 0; i < 100; i++) map["k" + i] = i;
            Check.That(map["k99"].AsInteger == 99 && map["a"].AsText == "x" && map.Count == 102, "many keys");
            map.Clear();
            Check.That(map.Count == 0 && !map.ContainsKey("a"), "empty again");
        }

        private static Value Round(Value value)
        {
            var writer = new MsgpackWriter();
            writer.Data(value);
            byte[] bytes = writer.Take();
            var skipping = new MsgpackReader(bytes, 0, bytes.Length);
            skipping.Skip();
            Check.That(!skipping.Failed && skipping.AtEnd, "goes over it");
            return Read(bytes);
        }

        private static Value Read(params byte[] bytes)
        {
            var reader = new MsgpackReader(bytes, 0, bytes.Length);
            Value value = reader.Data();
            Check.That(!reader.Failed && reader.AtEnd, "reads");
            return value;
        }
    }
}
