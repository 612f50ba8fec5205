using System;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading.Tasks;

namespace Npcsdk
{
    /// <summary>
    /// A connection that makes itself again: a non-blocking TCP socket below a <see cref="ZmtpPeer"/>. No call waits, no
    /// thread is started, and nothing is kept for a server that is not there.
    /// </summary>
    internal sealed class TcpLink
    {
        private const double FirstWait = 0.05, LongestWait = 0.5; // seconds between attempts
        private const double ConnectWithin = 3, HandshakeWithin = 3;

        private static readonly byte[] Unread = new byte[4096]; // nobody looks at it
        private enum Phase : byte { Waiting, Resolving, Connecting, Greeting, Up, Closed }

        private readonly ZmtpPeer zmtp = new ZmtpPeer();
        private readonly string host;
        private readonly int port;
        private IPAddress[] addresses;
        private int attempt; // over the addresses of a name
        private Task<IPAddress[]> resolving;
        private Socket socket;
        private Phase phase;
        private double since, wait = FirstWait;
        private bool inMessage; // the rest of a message of several frames is being passed over

        /// <exception cref="NpcException"><c>bad_address</c></exception>
        internal TcpLink(string address)
        {
            const string scheme = "tcp://";
            int colon = address == null ? -1 : address.LastIndexOf(':');
            if (address == null || !address.StartsWith(scheme, StringComparison.Ordinal) || colon < scheme.Length + 1
                || !int.TryParse(address.Substring(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out port)
                || port < 1 || port > 65535)
                throw new NpcException("bad_address", "The address '" + address + "' cannot be used.", "Write it as tcp://127.0.0.1:5990.");
            host = address.Substring(scheme.Length, colon - scheme.Length).Trim('[', ']');
            if (IPAddress.TryParse(host, out IPAddress known)) addresses = new[] { known };
            else if (host == "localhost") addresses = new[] { IPAddress.Loopback, IPAddress.IPv6Loopback };
            since = double.NegativeInfinity; // the first attempt is at once
        }

        /// <summary>Messages pass.</summary>
        internal bool IsUp => phase == Phase.Up;

        /// <summary>Counts the connections that came up: another number is another connection.</summary>
        internal int Generation { get; private set; }

        /// <summary>Why the last connection ended or did not come about; for people. Null when there was no such thing.</summary>
        internal string Trouble { get; private set; }

        /// <summary>
        /// Does what can be done now. True when bytes have arrived: then read all messages before the next call.
        /// </summary>
        internal bool Advance(double now)
        {
            switch (phase)
            {
                case Phase.Waiting:
                    if (now - since >= wait) Begin(now);
                    return false;
                case Phase.Resolving:
                    if (!resolving.IsCompleted) return false;
                    addresses = resolving.Status == TaskStatus.RanToCompletion ? resolving.Result : null;
                    if (resolving.IsFaulted) GC.KeepAlive(resolving.Exception); // looked at, so that nobody reports it
                    resolving = null;
                    if (addresses == null || addresses.Length == 0)
                    {
                        addresses = null;
                        Drop("the name '" + host + "' is not known", now);
                    }
                    else Begin(now);
                    return false;
                case Phase.Connecting:
                    if (!Connected(now)) return false;
                    break;
                case Phase.Closed:
                    return false;
            }
            zmtp.Tick(now);
            bool got = Read(now);
            if (phase == Phase.Greeting && now - since > HandshakeWithin) Drop("the server accepts connections, and says nothing", now);
            return got;
        }

        /// <summary>
        /// The next message of one frame, where it lies: valid until the next <see cref="Advance"/>. Others are not of
        /// this protocol, and are passed over.
        /// </summary>
        internal bool TryRead(out byte[] buffer, out int at, out int count, double now)
        {
            buffer = null;
            at = count = 0;
            if (phase != Phase.Greeting && phase != Phase.Up) return false;
            while (true)
            {
                bool read = zmtp.TryRead(out buffer, out at, out count, out bool more);
                if (zmtp.Failure != null)
                {
                    Drop(zmtp.Failure, now);
                    return false;
                }
                if (phase == Phase.Greeting && zmtp.Ready)
                {
                    phase = Phase.Up;
                    Generation++;
                    wait = FirstWait;
                    Trouble = null;
                }
                if (!read) return false;
                bool whole = !more && !inMessage;
                inMessage = more;
                if (whole) return true;
            }
        }

        /// <summary>Queues a message; without effect while not <see cref="IsUp"/>.</summary>
        internal void Send(byte[] message)
        {
            if (phase == Phase.Up) zmtp.Send(message);
        }

        /// <summary>Hands what is queued to the system, as much as it takes.</summary>
        internal void Flush(double now)
        {
            while (phase == Phase.Greeting || phase == Phase.Up)
            {
                int count = zmtp.Outgoing(out byte[] buffer, out int at);
                if (count == 0) return;
                int sent = socket.Send(buffer, at, count, SocketFlags.None, out SocketError error);
                if (error == SocketError.Success) zmtp.Sent(sent);
                else if (error == SocketError.WouldBlock || error == SocketError.NoBufferSpaceAvailable) return;
                else Drop("the connection broke: " + error, now);
            }
        }

        internal void Forgive(double now) => zmtp.Forgive(now);

        /// <summary>Ends it at once; what the system has already taken still goes out.</summary>
        internal void Close()
        {
            phase = Phase.Closed;
            Release();
        }

        private void Begin(double now)
        {
            since = now;
            if (addresses == null)
            {
                phase = Phase.Resolving;
                resolving = Dns.GetHostAddressesAsync(host); // the one thing that a system may wait for
                return;
            }
            IPAddress address = addresses[attempt++ % addresses.Length];
            try
            {
                socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false, NoDelay = true };
                phase = Phase.Connecting;
                socket.Connect(new IPEndPoint(address, port));
            }
            catch (SocketException error)
            {
                if (error.SocketErrorCode == SocketError.WouldBlock || error.SocketErrorCode == SocketError.InProgress) return;
                Drop("no connection: " + error.SocketErrorCode, now);
            }
        }

        private bool Connected(double now)
        {
            bool refused = false;
            try
            {
                // A failed attempt is writable on Unix; on Windows it is in error, and never writable.
                bool writable = socket.Poll(0, SelectMode.SelectWrite);
                if (!writable && !(refused = socket.Poll(0, SelectMode.SelectError)))
                {
                    if (now - since > ConnectWithin) Drop("no connection within " + ConnectWithin + " s", now);
                    return false;
                }
                var status = (int)socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.Error);
                if (refused || status != 0)
                {
                    Drop("no connection: " + (status == 0 ? SocketError.ConnectionRefused : (SocketError)status), now);
                    return false;
                }
            }
            catch (SocketException error)
            {
                Drop("no connection: " + error.SocketErrorCode, now);
                return false;
            }
            phase = Phase.Greeting;
            since = now;
            inMessage = false;
            zmtp.Start(now);
            return true;
        }

        private bool Read(double now)
        {
            if (zmtp.Failure != null)
            {
                Drop(zmtp.Failure, now);
                return false;
            }
            int room = zmtp.Room(out byte[] buffer, out int at);
            int count = socket.Receive(buffer, at, room, SocketFlags.None, out SocketError error);
            if (error == SocketError.Success && count > 0)
            {
                zmtp.Received(count, now);
                return true;
            }
            if (error == SocketError.WouldBlock || error == SocketError.Interrupted) return false;
            string reason = error == SocketError.Success ? "the server closed the connection" : "the connection broke: " + error;
            // libzmq goes without a word when the other side's mechanism is not its own.
            Drop(phase == Phase.Greeting ? reason + " in the handshake; it may demand authentication" : reason, now);
            return false;
        }

        private void Drop(string reason, double now)
        {
            Trouble = reason;
            Release();
            phase = Phase.Waiting;
            since = now;
            wait = Math.Min(wait * 2, LongestWait);
        }

        private void Release()
        {
            Socket old = socket;
            socket = null;
            if (old == null) return;
            try
            {
                old.Shutdown(SocketShutdown.Send); // so that a goodbye still arrives
                // Closing a socket with something unread resets the connection, and what the server has not read yet may be
                // thrown away: so that is read first, as far as it is there.
                for (int round = 0; round < 256 && old.Available > 0; round++) old.Receive(Unread);
            }
            catch (SocketException)
            {
                // It was not connected, or is no more.
            }
            catch (ObjectDisposedException)
            {
                // The same, on some systems.
            }
            old.Close(); // returns at once: the system sends the rest by itself
        }
    }
}
