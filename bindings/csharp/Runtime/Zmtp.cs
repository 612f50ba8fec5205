using System;

namespace Npcsdk
{
    /// <summary>
    /// One end of a ZMTP 3.1 connection (NULL mechanism, socket type DEALER) without a socket and without a clock:
    /// bytes in, frames out. Any number of bytes may arrive at once, down to one.
    /// </summary>
    internal sealed class ZmtpPeer
    {
        internal const int MaxFrame = 4 << 20;
        private const int Greeting = 64;
        private const byte More = 1, Long = 2, Command = 4;

        private byte[] incoming = new byte[4096];
        private int readFrom, readTo;
        private byte[] outgoing = new byte[4096];
        private int writeFrom, writeTo;
        private bool greeted;
        private bool revised; // our READY is on its way
        private double heardAt, pingedAt;
        private double peerPatience; // from its PING: silent for so long, it wishes us to count it as gone; 0: no wish

        /// <summary>Seconds without a byte after which a PING goes out, and after which the connection is dead.</summary>
        internal double PingAfter = 2, DeadAfter = 6;

        /// <summary>The handshake is done: frames may pass.</summary>
        internal bool Ready { get; private set; }

        /// <summary>Why the connection cannot go on; null while it can.</summary>
        internal string Failure { get; private set; }

        /// <summary>What the peer's ZMTP greeting said.</summary>
        internal int PeerMajor { get; private set; }

        internal string PeerType { get; private set; } = "";

        /// <summary>Begins a new connection; the buffers are kept.</summary>
        internal void Start(double now)
        {
            readFrom = readTo = writeFrom = writeTo = 0;
            greeted = revised = Ready = false;
            Failure = null;
            PeerMajor = 0;
            PeerType = "";
            peerPatience = 0;
            heardAt = pingedAt = now;
            int at = Reserve(Greeting);
            Array.Clear(outgoing, at, Greeting);
            outgoing[at] = 0xFF; // signature: FF, eight bytes, 7F
            outgoing[at + 9] = 0x7F;
            outgoing[at + 10] = 3; // version 3.1
            outgoing[at + 11] = 1;
            Ascii("NULL", at + 12);
            writeTo += Greeting;
        }

        // Bytes in

        /// <summary>Room for bytes to come; tell <see cref="Received"/> how many came.</summary>
        internal int Room(out byte[] buffer, out int at)
        {
            if (readFrom == readTo) readFrom = readTo = 0;
            if (incoming.Length - readTo < 1024)
            {
                int size = readTo - readFrom;
                byte[] target = size + 1024 > incoming.Length / 2 ? new byte[incoming.Length * 2] : incoming;
                Buffer.BlockCopy(incoming, readFrom, target, 0, size);
                incoming = target;
                readFrom = 0;
                readTo = size;
            }
            buffer = incoming;
            at = readTo;
            return incoming.Length - readTo;
        }

        internal void Received(int count, double now)
        {
            readTo += count;
            heardAt = now;
        }

        /// <summary>
        /// The next frame of a message, where it lies: valid until the next call of <see cref="Room"/>. Commands are
        /// answered on the way.
        /// </summary>
        internal bool TryRead(out byte[] buffer, out int at, out int count, out bool more)
        {
            buffer = incoming;
            at = count = 0;
            more = false;
            while (Failure == null)
            {
                if (!greeted)
                {
                    if (!ReadGreeting()) return false;
                    continue;
                }
                int have = readTo - readFrom;
                if (have < 2) return false;
                byte flags = incoming[readFrom];
                int head = (flags & Long) != 0 ? 9 : 2;
                if ((flags & ~(More | Long | Command)) != 0 || (flags & Command) != 0 && (flags & More) != 0)
                    return Fail("a frame has flags that do not exist: this is not ZMTP");
                if (have < head) return false;
                ulong size = incoming[readFrom + 1];
                if (head == 9)
                    for (int i = 2; i < 9; i++) size = size << 8 | incoming[readFrom + i];
                if (size > MaxFrame) return Fail("a frame of " + size + " bytes is too large");
                if ((ulong)(have - head) < size) return false;
                at = readFrom + head;
                count = (int)size;
                readFrom = at + count;
                if ((flags & Command) != 0)
                {
                    ReadCommand(at, count);
                    continue;
                }
                if (!Ready) return Fail("a message came before the handshake was done");
                more = (flags & More) != 0;
                return true;
            }
            return false;
        }

        // Bytes out

        /// <summary>Queues a message of one frame. Only while <see cref="Ready"/>.</summary>
        internal void Send(byte[] message, bool more = false)
        {
            int size = message.Length;
            bool small = size < 256;
            int at = Reserve(size + 9);
            outgoing[at++] = (byte)((more ? More : 0) | (small ? 0 : Long));
            if (small) outgoing[at++] = (byte)size;
            else
                for (int shift = 56; shift >= 0; shift -= 8) outgoing[at++] = (byte)((ulong)size >> shift);
            Buffer.BlockCopy(message, 0, outgoing, at, size);
            writeTo = at + size;
        }

        /// <summary>Bytes that wait to be sent; tell <see cref="Sent"/> how many went.</summary>
        internal int Outgoing(out byte[] buffer, out int at)
        {
            buffer = outgoing;
            at = writeFrom;
            return writeTo - writeFrom;
        }

        internal void Sent(int count)
        {
            writeFrom += count;
            if (writeFrom == writeTo) writeFrom = writeTo = 0;
        }

        /// <summary>Lets time pass: a PING when it has been quiet, a failure when it stays so.</summary>
        internal void Tick(double now)
        {
            if (Failure != null) return;
            double silent = now - heardAt;
            double patience = peerPatience > 0 ? Math.Min(peerPatience, DeadAfter) : DeadAfter;
            if (silent > patience) Fail("nothing was heard for " + patience + " s");
            else if (Ready && silent >= PingAfter && now - pingedAt >= PingAfter)
            {
                pingedAt = now;
                int at = Begin("PING", 2);
                outgoing[at++] = 0; // time to live, in tenths of a second; 0: as the peer likes
                outgoing[at++] = 0;
                writeTo = at;
            }
        }

        /// <summary>This side slept: the peer's silence proves nothing.</summary>
        internal void Forgive(double now) => heardAt = pingedAt = now;

        private bool ReadGreeting()
        {
            int have = readTo - readFrom;
            if (have > 0 && incoming[readFrom] != 0xFF || have > 9 && (incoming[readFrom + 9] & 1) == 0)
                return Fail("this is not a ZeroMQ server");
            if (have > 10)
            {
                PeerMajor = incoming[readFrom + 10];
                if (PeerMajor < 3) return Fail("the server speaks ZMTP " + PeerMajor + ", which is too old");
            }
            if (have < Greeting) return false;
            if (!Matches(readFrom + 12, "NULL") || incoming[readFrom + 16] != 0)
                return Fail("the server demands authentication (mechanism " + Utf8.Text(incoming, readFrom + 12, 5) + "), which this client does not have");
            readFrom += Greeting;
            greeted = true;
            if (!revised)
            {
                revised = true;
                // Two properties: each is a short name, and a value with a length of four bytes.
                int at = Begin("READY", 1 + 11 + 4 + 6 + 1 + 8 + 4);
                at = Property("Socket-Type", "DEALER", at);
                writeTo = Property("Identity", "", at);
            }
            return true;
        }

        private void ReadCommand(int at, int count)
        {
            int name = count > 0 ? incoming[at] : 255;
            if (name + 1 > count)
            {
                Fail("a command has no name");
                return;
            }
            int body = at + 1 + name, left = count - 1 - name;
            if (name == 5 && Matches(at + 1, "READY")) ReadReady(body, left);
            else if (name == 5 && Matches(at + 1, "ERROR"))
            {
                int size = left > 0 ? Math.Min(incoming[body], left - 1) : 0;
                Fail("the server refused the connection: " + (Utf8.Text(incoming, body + 1, size) ?? "(no reason)"));
            }
            else if (name == 4 && Matches(at + 1, "PING")) ReadPing(body, left);
            // PONG proves life, which any byte does. Others are a newer version's.
        }

        private void ReadReady(int at, int left)
        {
            int end = at + left;
            while (at < end)
            {
                int name = incoming[at];
                if (name == 0 || at + 1 + name + 4 > end) break;
                int value = at + 1 + name;
                uint size = (uint)(incoming[value] << 24 | incoming[value + 1] << 16 | incoming[value + 2] << 8 | incoming[value + 3]);
                if (size > end - value - 4) break;
                if (name == 11 && MatchesAnyCase(at + 1, "Socket-Type"))
                    PeerType = Utf8.Text(incoming, value + 4, (int)size) ?? "?";
                at = value + 4 + (int)size;
            }
            if (at != end) Fail("the server's READY cannot be read");
            else if (PeerType != "ROUTER" && PeerType != "DEALER" && PeerType != "REP")
                Fail("the server's socket is a " + PeerType + ", not a ROUTER");
            else Ready = true;
        }

        private void ReadPing(int at, int left)
        {
            if (left < 2 || left > 18)
            {
                Fail("a PING cannot be read");
                return;
            }
            peerPatience = (incoming[at] << 8 | incoming[at + 1]) / 10.0;
            int to = Begin("PONG", left - 2);
            Buffer.BlockCopy(incoming, at + 2, outgoing, to, left - 2);
            writeTo = to + left - 2;
        }

        /// <summary>The head of a command; returns where its body of <paramref name="body"/> bytes goes.</summary>
        private int Begin(string name, int body)
        {
            int at = Reserve(3 + name.Length + body);
            outgoing[at++] = Command;
            outgoing[at++] = (byte)(1 + name.Length + body);
            outgoing[at++] = (byte)name.Length;
            return Ascii(name, at);
        }

        private int Property(string name, string value, int at)
        {
            outgoing[at++] = (byte)name.Length;
            at = Ascii(name, at);
            outgoing[at++] = outgoing[at++] = outgoing[at++] = 0;
            outgoing[at++] = (byte)value.Length;
            return Ascii(value, at);
        }

        private int Ascii(string text, int at)
        {
            for (int i = 0; i < text.Length; i++) outgoing[at++] = (byte)text[i];
            return at;
        }

        private bool Matches(int at, string text)
        {
            for (int i = 0; i < text.Length; i++)
                if (incoming[at + i] != text[i]) return false;
            return true;
        }

        private bool MatchesAnyCase(int at, string text)
        {
            for (int i = 0; i < text.Length; i++)
                if ((incoming[at + i] | 0x20) != (text[i] | 0x20)) return false;
            return true;
        }

        private int Reserve(int count)
        {
            if (outgoing.Length - writeTo >= count) return writeTo;
            int size = writeTo - writeFrom;
            byte[] target = size + count > outgoing.Length ? new byte[Math.Max(outgoing.Length * 2, size + count)] : outgoing;
            Buffer.BlockCopy(outgoing, writeFrom, target, 0, size);
            outgoing = target;
            writeFrom = 0;
            return writeTo = size;
        }

        private bool Fail(string reason)
        {
            Failure = Failure ?? reason;
            return false;
        }
    }
}
