using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;

namespace Npcsdk.Tests
{
    /// <summary>Just enough of a server to send a client what a test wants, from the client's own thread.</summary>
    internal sealed class FakeServer : IDisposable
    {
        private readonly TcpListener listener = new TcpListener(IPAddress.Loopback, 0);
        private readonly MsgpackWriter writer = new MsgpackWriter();
        private Socket socket;

        internal FakeServer()
        {
            listener.Start();
            Address = "tcp://127.0.0.1:" + ((IPEndPoint)listener.LocalEndpoint).Port;
        }

        internal string Address { get; }

        /// <summary>Takes the connection up to the welcome, and the conversation c1 up to its opening.</summary>
        internal void Welcome(NpcClient client, int minor = 1)
        {
            client.Poll();
            while (!listener.Pending()) client.Poll();
            socket = listener.AcceptSocket();
            socket.NoDelay = true;
            var hello = new byte[64];
            hello[0] = 0xFF;
            hello[9] = 0x7F;
            hello[10] = 3;
            hello[11] = 1;
            System.Text.Encoding.ASCII.GetBytes("NULL").CopyTo(hello, 12);
            socket.Send(hello);
            socket.Send(new byte[] { 4, 28, 5, (byte)'R', (byte)'E', (byte)'A', (byte)'D', (byte)'Y', 11 });
            socket.Send(System.Text.Encoding.ASCII.GetBytes("Socket-Type\0\0\0\u0006ROUTER"));
            while (socket.Available < 120) client.Poll(); // the greeting, READY and a hello
            Send(new ValueMap { { "event", "welcome" }, { "epoch", "e1" }, { "protocol", new ValueList { 1, minor } } });
            Send(new ValueMap { { "event", "opened" }, { "conversation", "c1" }, { "npc", "mira" }, { "player", "player" }, { "history", "h1" } });
            double end = Clock.Now + 5;
            while (!client.IsConnected && Clock.Now < end) client.Poll();
            Check.That(client.IsConnected, "welcomed");
        }

        internal byte[] Frame(ValueMap message)
        {
            writer.Data(message);
            byte[] payload = writer.Take();
            var frame = new byte[payload.Length + 2];
            frame[1] = (byte)payload.Length;
            Check.That(payload.Length < 256, "short");
            payload.CopyTo(frame, 2);
            return frame;
        }

        internal void Send(ValueMap message) => Send(Frame(message));

        internal void Send(byte[] frame) => socket.Send(frame);

        /// <summary>Whether the client has sent this much, in whatever order.</summary>
        internal bool Got(NpcClient client, params string[] words)
        {
            var all = new System.Text.StringBuilder();
            var buffer = new byte[4096];
            double end = Clock.Now + 5;
            while (Clock.Now < end)
            {
                client.Poll();
                if (socket.Available > 0) all.Append(System.Text.Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer)));
                string got = all.ToString();
                if (Array.TrueForAll(words, got.Contains)) return true;
            }
            return false;
        }

        /// <summary>Throws away what the client sent.</summary>
        internal void Swallow()
        {
            var buffer = new byte[4096];
            while (socket.Available > 0) socket.Receive(buffer);
        }

        public void Dispose()
        {
            socket?.Close();
            listener.Stop();
        }
    }
}
