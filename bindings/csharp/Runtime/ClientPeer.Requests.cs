using System;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>The part of the state machine that knows what is asked for beside turns (protocol 1.1).</summary>
    internal sealed partial class ClientPeer
    {
        private readonly List<Request> requests = new List<Request>(); // without an answer, oldest first
        private readonly List<string> closing = new List<string>(); // conversations closed, and not answered yet

        /// <summary>Asks for something. Its <see cref="NoticeKind.Done"/> follows, with or without an error.</summary>
        internal void Ask(Request request)
        {
            requests.Add(request);
            SendRequests(false);
        }

        /// <summary>The beginnings of a line: worth nothing when they cannot be sent now.</summary>
        internal void Typing(Conversation conversation, string line)
        {
            byte[] payload = commands.Typing(conversation.Id, line);
            if (State != PeerState.Open || minor < 1) return;
            Ask(conversation);
            Outgoing.Add(payload);
        }

        private void SendRequests(bool again)
        {
            if (State != PeerState.Open) return;
            if (minor < 1) FailRequests(NpcError.NotSupported, sentOnly: false);
            for (int i = 0; i < requests.Count; i++)
            {
                Request request = requests[i];
                if (request.Epoch != null && !again) continue;
                if (request.Conversation != null && !request.Conversation.IsClosed) Ask(request.Conversation);
                request.Epoch = Epoch;
                Outgoing.Add(request.Payload);
            }
        }

        private void SendClosing()
        {
            for (int i = 0; i < closing.Count; i++) Outgoing.Add(commands.Close(closing[i]));
        }

        private void OnDone()
        {
            Request request = FindRequest();
            if (request != null) Answer(request, reader.Map(Field.Value), null);
        }

        /// <summary>Whether it is about a conversation that was being closed. It is, now.</summary>
        private bool OnClosed() => closing.Count > 0 && closing.Remove(reader.Text(Field.Conversation, ""));

        private void Answer(Request request, ValueMap value, NpcError error)
        {
            if (!requests.Remove(request)) return;
            Notices.Add(new Notice { Kind = NoticeKind.Done, Request = request, Body = (object)error ?? value });
        }

        /// <summary>Those of which nobody knows whether they were carried out, or all.</summary>
        private void FailRequests(NpcError error, bool sentOnly)
        {
            if (requests.Count == 0) return;
            foreach (Request request in requests.ToArray())
                if (!sentOnly || request.Epoch != null) Answer(request, null, error);
        }

        private void FailRequestsOlderThan(double then, NpcError error)
        {
            if (requests.Count == 0) return;
            foreach (Request request in requests.ToArray())
                if (Math.Max(request.Since, request.Epoch != null ? heardAt : 0) < then) Answer(request, null, error);
        }

        private Request FindRequest()
        {
            for (int i = 0; i < requests.Count; i++)
                if (reader.Same(Field.Request, requests[i].IdBytes)) return requests[i];
            return null;
        }
    }
}
