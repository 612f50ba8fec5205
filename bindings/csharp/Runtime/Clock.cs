using System.Diagnostics;

namespace Npcsdk
{
    /// <summary>Seconds that only go forward: no change of the wall clock touches them.</summary>
    internal static class Clock
    {
        private static readonly double Tick = 1.0 / Stopwatch.Frequency;

        internal static double Now => Stopwatch.GetTimestamp() * Tick;
    }
}
