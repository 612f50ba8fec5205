namespace Npcsdk
{
    /// <summary>
    /// Something that was asked of the server beside turns (protocol 1.1): <c>await client.Save("autosave 3");</c>
    /// gives what came back, a map that may be empty, or throws an <see cref="NpcException"/>. Leaving it alone is fine.
    /// </summary>
    /// <remarks>
    /// It lives through a broken connection and is carried out once. Requests that are under way together may be carried
    /// out in any order: await one before you build on it. One that needs the world fails with <c>not_ready</c> before
    /// <see cref="NpcClient.OnReady"/>.
    /// </remarks>
    public sealed class Request : Awaited<ValueMap>
    {
        internal readonly byte[] IdBytes;
        internal readonly byte[] Payload;
        internal readonly Conversation Conversation; // null: of none
        internal readonly double Since;
        internal string Epoch; // in which it was sent; null: not sent yet

        internal Request(string id, string kind, Conversation conversation, byte[] payload, double since)
        {
            IdBytes = Utf8.Bytes(id);
            Kind = kind;
            Conversation = conversation;
            Payload = payload;
            Since = since;
        }

        /// <summary>The protocol's word for it: <c>save</c>, <c>heard</c> …</summary>
        public string Kind { get; }

        /// <summary>What came back; null while nothing has, and when it failed.</summary>
        public ValueMap Value => Outcome;
    }

    /// <summary>Something in the conversation of others with a character that was subscribed to.</summary>
    public sealed class Overheard
    {
        public string Npc { get; internal set; } = "";
        public string Player { get; internal set; } = "";
        public string History { get; internal set; } = "";
        public string Turn { get; internal set; } = "";

        /// <summary>
        /// What was said to the character (<c>event</c> is <c>said</c>, with <c>line</c>; or <c>happened</c>, with
        /// <c>happening</c>), or an event of its turn as on the protocol's page.
        /// </summary>
        public ValueMap Content { get; internal set; } = new ValueMap();

        /// <summary><c>said</c>, <c>happened</c>, <c>text</c>, <c>action</c>, <c>end</c> …</summary>
        public string Kind => Content.Text("event");
    }
}
