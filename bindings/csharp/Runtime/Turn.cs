using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>One line in, a stream of events out. Await it for its end.</summary>
    public sealed class Turn : Awaited<TurnEnd>
    {
        internal readonly byte[] IdBytes;
        internal readonly byte[] Payload;
        internal readonly double Since; // when it was asked for
        internal readonly List<byte[]> Results = new List<byte[]>();
        internal readonly List<string> Given = new List<string>(); // ids of actions that the game was given
        internal readonly List<string> Late = new List<string>(); // and of those that came after it had cancelled
        internal string Epoch; // in which it was sent; null: not sent yet
        internal bool Accepted; // an event of it has arrived
        internal bool IsCancelled;
        internal bool Over; // nothing more of it will be told

        internal Turn(Conversation conversation, string id, byte[] payload, double since)
        {
            Conversation = conversation;
            Id = id;
            IdBytes = Utf8.Bytes(id);
            Payload = payload;
            Since = since;
        }

        public Conversation Conversation { get; }
        public string Id { get; }

        /// <summary>How it ended; null while it runs, and when it failed.</summary>
        public TurnEnd End => Outcome;

        /// <summary>Stops it; it still ends, with the reason <c>cancelled</c> or with what came first. No action of it comes any more.</summary>
        public void Cancel() => Conversation.Client.Cancel(this);

        /// <summary>
        /// The player heard only the first so many code points of it: history and memory keep that much. For speech that
        /// was interrupted, also of a turn that is over or that you cancel. Told twice, the first counts.
        /// </summary>
        /// <exception cref="NpcException"><c>closed</c>, <c>bad_offset</c></exception>
        public Request Heard(long offset) => Conversation.Client.Heard(this, offset);
    }
}
