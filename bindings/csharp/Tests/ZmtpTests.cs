using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;

namespace Npcsdk.Tests
{
    /// <summary>The ZMTP peer against a real libzmq ROUTER that echoes, and against bytes that no peer should send.</summary>
    internal static class ZmtpTests
    {
        /// <summary>Echoes messages of many sizes; the bytes pass in pieces of <paramref name="piece"/> both ways (0: as they come).</summary>
        internal static void Echo(int port, int piece)
        {
            var zmtp = new ZmtpPeer();
            using (var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true })
            {
                socket.Connect(new IPEndPoint(IPAddress.Loopback, port));
                zmtp.Start(Clock.Now);
                var sizes = new List<int> { 0, 1, 2, 254, 255, 256, 257, 1000, 4095, 4096, 5000 };
                if (piece == 0) sizes.AddRange(new[] { 65535, 65536, 1 << 20 });
                var wanted = new Queue<byte[]>();
                var waiting = new byte[1 << 16];
                int have = 0, sent = 0;
                bool multipart = false;
                double end = Clock.Now + 20;
                socket.ReceiveTimeout = 5000;
                while (sent < sizes.Count || wanted.Count > 0)
                {
                    Check.That(Clock.Now < end, "in time");
                    if (zmtp.Ready && sent < sizes.Count && wanted.Count < 3)
                    {
                        var message = new byte[sizes[sent]];
                        new Random(sent).NextBytes(message);
                        if (sent++ % 4 == 3)
                        {
                            zmtp.Send(new byte[] { 1, 2, 3 }, true); // a message of two frames
                            wanted.Enqueue(new byte[] { 1, 2, 3 });
                        }
                        zmtp.Send(message);
                        wanted.Enqueue(message);
                    }
                    while (true)
                    {
                        int count = zmtp.Outgoing(out byte[] outgoing, out int from);
                        if (count == 0) break;
                        zmtp.Sent(socket.Send(outgoing, from, piece == 0 ? count : Math.Min(piece, count), SocketFlags.None));
                    }
                    bool read = false;
                    while (zmtp.TryRead(out byte[] buffer, out int at, out int size, out bool more))
                    {
                        byte[] next = wanted.Dequeue();
                        multipart |= more;
                        Check.Same(size, next.Length, "a frame's size");
                        for (int i = 0; i < size; i++) Check.That(buffer[at + i] == next[i], "a frame's bytes");
                        read = true;
                    }
                    Check.Same(zmtp.Failure, null, "the connection");
                    if (read || zmtp.Ready && sent < sizes.Count && wanted.Count < 3) continue;
                    if (have == 0) have = socket.Receive(waiting);
                    Check.That(have > 0, "the server stays");
                    int room = zmtp.Room(out byte[] into, out int place);
                    int taken = Math.Min(Math.Min(room, have), piece == 0 ? have : piece);
                    Buffer.BlockCopy(waiting, 0, into, place, taken);
                    Buffer.BlockCopy(waiting, taken, waiting, 0, have - taken);
                    have -= taken;
                    zmtp.Received(taken, Clock.Now);
                }
                Check.That(multipart, "frames with MORE came");
                Check.Same(zmtp.PeerType, "ROUTER", "the peer's type, from READY");
                Console.WriteLine("ok");
            }
        }

        internal static void Alone()
        {
            EveryCut();
            Heartbeats();
            Wrong();
            Garbage();
            Console.WriteLine("ok");
        }

        private static byte[] Join(params byte[][] parts)
        {
            var all = new List<byte>();
            foreach (byte[] part in parts) all.AddRange(part);
            return all.ToArray();
        }

        private static byte[] Ascii(string text) => System.Text.Encoding.ASCII.GetBytes(text);

        private static byte[] Greeting(string mechanism = "NULL", byte major = 3)
        {
            var greeting = new byte[64];
            greeting[0] = 0xFF;
            greeting[9] = 0x7F;
            greeting[10] = major;
            greeting[11] = 1;
            Ascii(mechanism).CopyTo(greeting, 12);
            return greeting;
        }

        private static byte[] Frame(byte flags, byte[] body)
        {
            if ((flags & 2) == 0) return Join(new[] { flags, (byte)body.Length }, body);
            return Join(new byte[] { flags, 0, 0, 0, 0, 0, 0, (byte)(body.Length >> 8), (byte)body.Length }, body);
        }

        private static byte[] Named(string name, params byte[][] body) => Join(new[] { (byte)name.Length }, Ascii(name), Join(body));

        private static byte[] Ready(string type = "ROUTER") => Named(
            "READY", new byte[] { 11 }, Ascii("Socket-Type"), new byte[] { 0, 0, 0, (byte)type.Length }, Ascii(type),
            new byte[] { 6 }, Ascii("X-More"), new byte[] { 0, 0, 0, 2, 1, 2 });

        private static void Feed(ZmtpPeer zmtp, byte[] bytes, int from, int count, double now)
        {
            while (count > 0)
            {
                int room = zmtp.Room(out byte[] buffer, out int at);
                int taken = Math.Min(room, count);
                Buffer.BlockCopy(bytes, from, buffer, at, taken);
                zmtp.Received(taken, now);
                from += taken;
                count -= taken;
            }
        }

        private static List<string> Drain(ZmtpPeer zmtp)
        {
            var frames = new List<string>();
            while (zmtp.TryRead(out byte[] buffer, out int at, out int count, out bool more))
                frames.Add(BitConverter.ToString(buffer, at, count) + (more ? "+" : ""));
            return frames;
        }

        private static void EveryCut()
        {
            byte[] stream = Join(
                Greeting(), Frame(4, Ready()), Frame(0, Ascii("hello")), Frame(1, Ascii("a")), Frame(0, Ascii("b")),
                Frame(2, new byte[300]), Frame(6, Named("PING", new byte[] { 0, 50 }, Ascii("ctx"))), Frame(4, Named("NEWER")),
                Frame(2, Ascii("short in a long frame")), Frame(0, new byte[0]));
            string wanted = null;
            for (int cut = 0; cut <= stream.Length; cut++)
            {
                var zmtp = new ZmtpPeer();
                zmtp.Start(0);
                Feed(zmtp, stream, 0, cut, 0);
                List<string> frames = Drain(zmtp);
                Feed(zmtp, stream, cut, stream.Length - cut, 0);
                frames.AddRange(Drain(zmtp));
                Check.Same(zmtp.Failure, null, "cut at " + cut);
                string got = string.Join(" ", frames.ToArray());
                wanted = wanted ?? got;
                Check.Same(got, wanted, "cut at " + cut);
                Check.Same(frames.Count, 6, "frames, cut at " + cut);
                int count = zmtp.Outgoing(out byte[] outgoing, out int at);
                string sent = System.Text.Encoding.ASCII.GetString(outgoing, at, count);
                Check.That(sent.Contains("Socket-Type") && sent.EndsWith("\u0004PONGctx"), "READY and PONG went out");
            }
        }

        private static ZmtpPeer Handshaken()
        {
            var zmtp = new ZmtpPeer();
            zmtp.Start(0);
            byte[] bytes = Join(Greeting(), Frame(4, Ready()));
            Feed(zmtp, bytes, 0, bytes.Length, 0);
            Drain(zmtp);
            Check.That(zmtp.Ready, "the handshake");
            zmtp.Sent(zmtp.Outgoing(out _, out _));
            return zmtp;
        }

        private static void Heartbeats()
        {
            ZmtpPeer zmtp = Handshaken();
            zmtp.Tick(1.9);
            Check.Same(zmtp.Outgoing(out _, out _), 0, "quiet for a moment");
            zmtp.Tick(2.1);
            int count = zmtp.Outgoing(out byte[] bytes, out int at);
            Check.Same(BitConverter.ToString(bytes, at, count), "04-07-04-50-49-4E-47-00-00", "a PING");
            zmtp.Sent(count);
            zmtp.Tick(2.2);
            Check.Same(zmtp.Outgoing(out _, out _), 0, "one PING is enough");
            byte[] pong = Frame(4, Named("PONG"));
            Feed(zmtp, pong, 0, pong.Length, 3);
            Drain(zmtp);
            zmtp.Tick(8.9);
            Check.Same(zmtp.Failure, null, "alive");
            zmtp.Tick(9.1);
            Check.That(zmtp.Failure != null, "dead after six seconds of silence");
            zmtp = Handshaken();
            byte[] ping = Frame(4, Named("PING", new byte[] { 0, 10 }));
            Feed(zmtp, ping, 0, ping.Length, 1);
            Drain(zmtp);
            zmtp.Tick(2.2);
            Check.That(zmtp.Failure != null, "dead after the time to live that the peer set");
            zmtp = Handshaken();
            zmtp.Forgive(100);
            zmtp.Tick(101);
            Check.Same(zmtp.Failure, null, "forgiven");
        }

        private static void Wrong()
        {
            Fails("not a ZeroMQ", Ascii("HTTP/1.1 400 Bad Request\r\n\r\n"));
            Fails("authentication", Greeting("CURVE"));
            Fails("authentication", Greeting("NULLX"));
            Fails("too old", Greeting("NULL", 1));
            Fails("not a ROUTER", Greeting(), Frame(4, Ready("PUB")));
            Fails("refused the connection: no such luck", Greeting(), Frame(4, Named("ERROR", new byte[] { 12 }, Ascii("no such luck"))));
            Fails("refused", Greeting(), Frame(4, Named("ERROR")));
            Fails("before the handshake", Greeting(), Frame(0, Ascii("x")));
            Fails("flags", Greeting(), new byte[] { 8, 0 });
            Fails("flags", Greeting(), new byte[] { 5, 0 });
            Fails("no name", Greeting(), new byte[] { 4, 0 });
            Fails("no name", Greeting(), new byte[] { 4, 1, 9 });
            Fails("READY cannot", Greeting(), Frame(4, Named("READY", new byte[] { 200, 1 })));
            Fails("READY cannot", Greeting(), Frame(4, Named("READY", new byte[] { 1, 65, 255, 255, 255, 255 })));
            Fails("too large", Greeting(), Frame(4, Ready()), new byte[] { 2, 255, 255, 255, 255, 255, 255, 255, 255 });
            Fails("too large", Greeting(), Frame(4, Ready()), new byte[] { 2, 0, 0, 0, 0, 0, 0x40, 0, 1 });
            Fails("PING", Greeting(), Frame(4, Ready()), Frame(4, Named("PING", new byte[1])));
            Fails("PING", Greeting(), Frame(4, Ready()), Frame(4, Named("PING", new byte[19])));
        }

        private static void Fails(string why, params byte[][] parts)
        {
            byte[] bytes = Join(parts);
            var zmtp = new ZmtpPeer();
            zmtp.Start(0);
            for (int i = 0; i < bytes.Length && zmtp.Failure == null; i++)
            {
                Feed(zmtp, bytes, i, 1, 0);
                Drain(zmtp);
            }
            Check.That(zmtp.Failure != null && zmtp.Failure.Contains(why), why + ": " + zmtp.Failure);
        }

        private static void Garbage()
        {
            var random = new Random(3);
            byte[] good = Join(Greeting(), Frame(4, Ready()), Frame(2, new byte[300]), Frame(4, Named("PING", new byte[5])));
            var zmtp = new ZmtpPeer();
            for (int round = 0; round < 30000; round++)
            {
                var bytes = (byte[])good.Clone();
                for (int change = random.Next(1, 5); change > 0; change--) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                zmtp.Start(0);
                int cut = random.Next(bytes.Length);
                Feed(zmtp, bytes, 0, cut, 0);
                Drain(zmtp);
                if (zmtp.Failure == null) Feed(zmtp, bytes, cut, bytes.Length - cut, 0);
                Drain(zmtp);
            }
        }
    }
}
