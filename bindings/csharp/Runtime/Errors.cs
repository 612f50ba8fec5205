using System;

namespace Npcsdk
{
    /// <summary>What went wrong, in words for a person, and a code for a program.</summary>
    public sealed class NpcError
    {
        public NpcError(
            string code, string message, string hint = "", string kind = "error", string text = "", long retryMilliseconds = 0)
        {
            Code = code;
            Message = message;
            Hint = hint;
            Kind = kind;
            Text = text;
            RetryMilliseconds = retryMilliseconds;
        }

        /// <summary>Stable, for programs: <c>server_unreachable</c>, <c>turn_lost</c>, <c>npc_unknown</c> …</summary>
        public string Code { get; }

        public string Message { get; }

        /// <summary>What to do about it; may be empty.</summary>
        public string Hint { get; }

        /// <summary>The family of the error.</summary>
        public string Kind { get; }

        /// <summary>What the character had said before its turn failed.</summary>
        public string Text { get; }

        /// <summary>With the code <c>busy</c>: come back after so long. Otherwise 0.</summary>
        public long RetryMilliseconds { get; }

        public override string ToString() => Hint.Length == 0 ? Message + " (" + Code + ")" : Message + " " + Hint + " (" + Code + ")";

        internal static readonly NpcError Unreachable = new NpcError(
            "server_unreachable",
            "The server does not answer.",
            "Check that it runs (npcsdk serve) and that the address is right; then say it again.",
            "bridge_error");

        internal static readonly NpcError Lost = new NpcError(
            "turn_lost",
            "The server was restarted and lost this turn.",
            "Say it again; what the character had remembered before is kept.",
            "bridge_error");

        internal static readonly NpcError RequestLost = new NpcError(
            "request_lost",
            "The server was restarted; nobody knows whether this was carried out.",
            "Ask again.",
            "bridge_error");

        internal static readonly NpcError NotSupported = new NpcError(
            "not_supported", "The server speaks protocol 1.0, which has no requests.", "Update the server.", "bridge_error");

        internal static readonly NpcError Closed = new NpcError("closed", "The connection was closed.", "", "bridge_error");
    }

    /// <summary>The one exception of this library: a mistake of the caller's, or a turn that failed and was awaited.</summary>
    public sealed class NpcException : Exception
    {
        public NpcException(string code, string message, string hint = "")
            : this(new NpcError(code, message, hint)) { }

        public NpcException(NpcError error)
            : base(error.ToString())
        {
            Error = error;
        }

        public NpcError Error { get; }

        public string Code => Error.Code;
    }
}
