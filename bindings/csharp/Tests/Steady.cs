using System;
using System.Diagnostics;
using System.Globalization;

namespace Npcsdk.Tests
{
    /// <summary>What a frame of the game costs: time and bytes of Poll with nothing to read, and with one token.</summary>
    internal static class Steady
    {
        private static long characters;

        internal static void Run(int count)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            GC.KeepAlive(new byte[100]);
            Check.That(GC.GetAllocatedBytesForCurrentThread() - before >= 100, "this runtime counts allocated bytes");
            using (var server = new FakeServer())
            using (var client = new NpcClient(server.Address))
            {
                Conversation conversation = client.Open("mira");
                conversation.OnText += Count;
                server.Welcome(client);
                Turn turn = conversation.Say("hello");
                int seq = 0;
                Tokens(server, client, turn, ref seq, 300, new double[300]); // the compiler's first calls, the buffers' growth
                Idle(client, 2000, new double[2000]);

                var idle = new double[count];
                long bytesIdle = Idle(client, count, idle);
                var tokens = new double[count];
                characters = 0;
                long bytesTokens = Tokens(server, client, turn, ref seq, count, tokens);
                Check.That(characters >= count, "all tokens came");
                Array.Sort(idle);
                Array.Sort(tokens);
                Console.WriteLine(string.Format(
                    CultureInfo.InvariantCulture,
                    "{{\"polls\": {0}, \"tokens\": {0}, \"bytes_idle\": {1}, \"bytes_tokens\": {2}, \"idle_us_p50\": {3:0.00}, "
                    + "\"idle_us_p99\": {4:0.00}, \"token_us_p50\": {5:0.00}, \"token_us_p99\": {6:0.00}}}",
                    count, bytesIdle, bytesTokens, idle[count / 2], idle[count * 99 / 100], tokens[count / 2], tokens[count * 99 / 100]));
            }
        }

        private static void Count(Turn turn, TextPiece piece)
        {
            ReadOnlySpan<char> span = piece.Span;
            characters += span.Length;
        }

        private static long Idle(NpcClient client, int count, double[] times)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < count; i++)
            {
                long start = Stopwatch.GetTimestamp();
                client.Poll();
                times[i] = Microseconds(start);
            }
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        private static long Tokens(FakeServer server, NpcClient client, Turn turn, ref int seq, int count, double[] times)
        {
            long bytes = 0;
            for (int i = 0; i < count; i++)
            {
                server.Send(server.Frame(new ValueMap
                {
                    { "conversation", "c1" }, { "turn", turn.Id }, { "seq", ++seq }, { "event", "text" }, { "text", " wördly" }, { "offset", 7 * seq },
                }));
                long was = characters;
                while (characters == was)
                {
                    long before = GC.GetAllocatedBytesForCurrentThread();
                    long start = Stopwatch.GetTimestamp();
                    client.Poll();
                    times[i] = Microseconds(start);
                    bytes += GC.GetAllocatedBytesForCurrentThread() - before;
                }
                if (i % 500 == 0) server.Swallow();
            }
            return bytes;
        }

        private static double Microseconds(long since) => (Stopwatch.GetTimestamp() - since) * 1e6 / Stopwatch.Frequency;
    }
}
