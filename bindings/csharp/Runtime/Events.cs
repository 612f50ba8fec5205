using System;
using System.Collections.Generic;
using System.Text;

namespace Npcsdk
{
    /// <summary>
    /// A piece of speech. It lies in a buffer that is used again: read it in the callback, and call
    /// <see cref="ToString"/> only if you must keep it.
    /// </summary>
    public readonly struct TextPiece
    {
        /// <summary>The buffer; the piece is <see cref="Count"/> characters of it from 0.</summary>
        public readonly char[] Buffer;

        public readonly int Count;

        /// <summary>Where the piece begins in the turn's text, in Unicode code points.</summary>
        public readonly long Offset;

        internal TextPiece(char[] buffer, int count, long offset)
        {
            Buffer = buffer;
            Count = count;
            Offset = offset;
        }

        public ReadOnlySpan<char> Span => new ReadOnlySpan<char>(Buffer, 0, Count);

        public void AppendTo(StringBuilder text) => text.Append(Buffer, 0, Count);

        public override string ToString() => new string(Buffer, 0, Count);
    }

    /// <summary>A character of the world.</summary>
    public sealed class NpcInfo
    {
        public string Id { get; internal set; } = "";
        public string Name { get; internal set; } = "";
        public string Role { get; internal set; } = "";

        /// <summary>For the game's own use; null when none was given.</summary>
        public string Voice { get; internal set; }
    }

    /// <summary>The world that a server has loaded.</summary>
    public sealed class WorldInfo
    {
        public string Name { get; internal set; } = "";
        public IReadOnlyList<NpcInfo> Npcs { get; internal set; } = Array.Empty<NpcInfo>();

        /// <summary>The character of an id, or null.</summary>
        public NpcInfo Find(string id)
        {
            for (int i = 0; i < Npcs.Count; i++)
                if (Npcs[i].Id == id) return Npcs[i];
            return null;
        }
    }

    /// <summary>How far a world is with loading.</summary>
    public sealed class LoadingInfo
    {
        public string Stage { get; internal set; } = "";

        /// <summary>0 … 1, or null where it is not known.</summary>
        public double? Progress { get; internal set; }
    }

    /// <summary>The character begins an action whose arguments are still being made up.</summary>
    public sealed class ActionStart
    {
        public string Id { get; internal set; } = "";
        public string Name { get; internal set; } = "";
        public long Offset { get; internal set; }
    }

    /// <summary>The model tried something that is not allowed; there is nothing to do.</summary>
    public sealed class Refusal
    {
        public string Name { get; internal set; } = "";
        public string Code { get; internal set; } = "";
        public string Message { get; internal set; } = "";
        public string Raw { get; internal set; } = "";

        /// <summary>Of the <see cref="ActionStart"/> that announced it, or empty.</summary>
        public string Id { get; internal set; } = "";

        public long Offset { get; internal set; }
    }

    /// <summary>Why a turn ended: the closed list of protocol 1.</summary>
    public static class EndReason
    {
        public const string Stop = "stop";
        public const string Length = "length";
        public const string Cancelled = "cancelled";
        public const string Rounds = "rounds";
    }

    /// <summary>The end of a turn: all that was said, and what it took.</summary>
    public sealed class TurnEnd
    {
        /// <summary>One of <see cref="EndReason"/>, or a reason that a newer server has.</summary>
        public string Reason { get; internal set; } = "";

        public string Text { get; internal set; } = "";

        /// <summary>Ids of the actions that the game was given.</summary>
        public IReadOnlyList<string> Actions { get; internal set; } = Array.Empty<string>();

        /// <summary>
        /// Ids of actions that the character had begun when the turn was cancelled, and that the game was not given: they
        /// have not happened, and the character knows.
        /// </summary>
        public IReadOnlyList<string> Retracted { get; internal set; } = Array.Empty<string>();

        /// <summary><c>prompt</c>, <c>cached</c>, <c>computed</c>, <c>generated</c>.</summary>
        public ValueMap Tokens { get; internal set; } = new ValueMap();

        /// <summary>In milliseconds: <c>recall_ms</c>, <c>sdk_ms</c>, <c>first_token_ms</c>, <c>total_ms</c>.</summary>
        public ValueMap Timings { get; internal set; } = new ValueMap();

        /// <summary>What the character remembered for this turn: maps of <c>source text score reason</c>.</summary>
        public ValueList Recalled { get; internal set; } = new ValueList();

        /// <summary>What found no place in the prompt: maps of <c>what tokens</c>.</summary>
        public ValueList Dropped { get; internal set; } = new ValueList();

        /// <summary>For people who look into a turn; see the protocol's page.</summary>
        public ValueMap Explanation { get; internal set; } = new ValueMap();

        public override string ToString() => Text;
    }
}
