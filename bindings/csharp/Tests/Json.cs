using System;
using System.Globalization;
using System.Text;

namespace Npcsdk.Tests
{
    /// <summary>Reads JSON into the library's own values: as much of it as the vectors need.</summary>
    internal sealed class Json
    {
        private readonly string text;
        private int at;

        private Json(string text)
        {
            this.text = text;
        }

        internal static Value Read(string text)
        {
            var json = new Json(text);
            Value value = json.Next();
            json.Space();
            if (json.at != text.Length) throw new FormatException("more than one value");
            return value;
        }

        private void Space()
        {
            while (at < text.Length && char.IsWhiteSpace(text[at])) at++;
        }

        private bool Takes(char c)
        {
            Space();
            if (at >= text.Length || text[at] != c) return false;
            at++;
            return true;
        }

        private void Wants(char c)
        {
            if (!Takes(c)) throw new FormatException("no " + c + " at " + at);
        }

        private Value Next()
        {
            Space();
            char c = text[at];
            if (c == '"') return Text();
            if (Takes('{'))
            {
                var map = new ValueMap();
                if (Takes('}')) return map;
                do
                {
                    Space();
                    string key = Text();
                    Wants(':');
                    map[key] = Next();
                }
                while (Takes(','));
                Wants('}');
                return map;
            }
            if (Takes('['))
            {
                var list = new ValueList();
                if (Takes(']')) return list;
                do list.Add(Next());
                while (Takes(','));
                Wants(']');
                return list;
            }
            int start = at;
            while (at < text.Length && "+-.eE".IndexOf(text[at]) >= 0 || at < text.Length && char.IsLetterOrDigit(text[at])) at++;
            string word = text.Substring(start, at - start);
            if (word == "true") return true;
            if (word == "false") return false;
            if (word == "null") return Value.Null;
            if (word.IndexOfAny(new[] { '.', 'e', 'E' }) < 0) return long.Parse(word, CultureInfo.InvariantCulture);
            return double.Parse(word, CultureInfo.InvariantCulture);
        }

        private string Text()
        {
            Wants('"');
            var made = new StringBuilder();
            for (; text[at] != '"'; at++)
            {
                if (text[at] != '\\')
                {
                    made.Append(text[at]);
                    continue;
                }
                char c = text[++at];
                if (c == 'u')
                {
                    made.Append((char)int.Parse(text.Substring(at + 1, 4), NumberStyles.HexNumber));
                    at += 4;
                }
                else made.Append(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
            }
            at++;
            return made.ToString();
        }
    }
}
