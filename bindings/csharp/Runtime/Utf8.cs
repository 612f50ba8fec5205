namespace Npcsdk
{
    /// <summary>UTF-8, strict both ways and without an allocation of its own (the framework's may make fallback objects).</summary>
    internal static class Utf8
    {
        /// <summary>Bytes that the text takes, or -1 when it holds half of a surrogate pair.</summary>
        internal static int Count(string text)
        {
            int count = 0;
            for (int i = 0; i < text.Length; i++)
            {
                char c = text[i];
                if (c < 0x80) count++;
                else if (c < 0x800) count += 2;
                else if (!char.IsSurrogate(c)) count += 3;
                else if (char.IsHighSurrogate(c) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                {
                    count += 4;
                    i++;
                }
                else return -1;
            }
            return count;
        }

        /// <summary>Writes text for which <see cref="Count"/> was not -1, and returns the position behind it.</summary>
        internal static int Encode(string text, byte[] target, int at)
        {
            for (int i = 0; i < text.Length; i++)
            {
                int c = text[i];
                if (c < 0x80)
                {
                    target[at++] = (byte)c;
                    continue;
                }
                if (c < 0x800)
                {
                    target[at++] = (byte)(0xC0 | c >> 6);
                }
                else
                {
                    if (c >= 0xD800 && c < 0xE000)
                    {
                        c = char.ConvertToUtf32(text[i], text[++i]);
                        target[at++] = (byte)(0xF0 | c >> 18);
                        target[at++] = (byte)(0x80 | c >> 12 & 0x3F);
                    }
                    else target[at++] = (byte)(0xE0 | c >> 12);
                    target[at++] = (byte)(0x80 | c >> 6 & 0x3F);
                }
                target[at++] = (byte)(0x80 | c & 0x3F);
            }
            return at;
        }

        /// <summary>
        /// Decodes into <paramref name="target"/>, which must have room for as many characters as there are bytes.
        /// Returns the number of characters, or -1 for bytes that are not UTF-8.
        /// </summary>
        internal static int Decode(byte[] source, int at, int count, char[] target)
        {
            int end = at + count, made = 0;
            while (at < end)
            {
                int first = source[at++];
                if (first < 0x80)
                {
                    target[made++] = (char)first;
                    continue;
                }
                int more = first >= 0xC2 && first < 0xE0 ? 1 : first >= 0xE0 && first < 0xF0 ? 2 : first >= 0xF0 && first < 0xF5 ? 3 : 0;
                if (more == 0 || at + more > end) return -1;
                int point = first & (0x3F >> more);
                for (int i = 0; i < more; i++)
                {
                    int next = source[at++];
                    if ((next & 0xC0) != 0x80) return -1;
                    point = point << 6 | next & 0x3F;
                }
                if (more == 2 && (point < 0x800 || point >= 0xD800 && point < 0xE000)) return -1;
                if (more == 3)
                {
                    if (point < 0x10000 || point > 0x10FFFF) return -1;
                    point -= 0x10000;
                    target[made++] = (char)(0xD800 + (point >> 10));
                    point = 0xDC00 + (point & 0x3FF);
                }
                target[made++] = (char)point;
            }
            return made;
        }

        /// <summary>The text, or null for bytes that are not UTF-8.</summary>
        internal static string Text(byte[] source, int at, int count)
        {
            var characters = new char[count];
            int made = Decode(source, at, count, characters);
            return made < 0 ? null : new string(characters, 0, made);
        }

        internal static byte[] Bytes(string text)
        {
            int count = Count(text);
            if (count < 0) throw new NpcException("unencodable", "This text holds half of a surrogate pair.", "Send well-formed text.");
            var bytes = new byte[count];
            Encode(text, bytes, 0);
            return bytes;
        }

        internal static bool Same(byte[] source, int at, int count, byte[] other)
        {
            if (count != other.Length) return false;
            for (int i = 0; i < other.Length; i++)
                if (source[at + i] != other[i]) return false;
            return true;
        }
    }
}
