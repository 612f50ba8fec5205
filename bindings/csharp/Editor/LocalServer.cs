using System;
using System.Diagnostics;
using UnityEditor;

namespace Npcsdk.Editor
{
    /// <summary>
    /// <c>npcsdk serve</c> as a process of the editor's: it lives through reloads of the scripts and through plays, and
    /// ends with the editor. Its number is kept in the session, since everything else is forgotten in a reload.
    /// </summary>
    [InitializeOnLoad]
    public static class LocalServer
    {
        private const string Key = "npcsdk.server";

        static LocalServer()
        {
            EditorApplication.quitting += Stop;
        }

        public static bool IsRunning => Find() != null;

        /// <summary>Starts it, unless it runs.</summary>
        /// <param name="program">The command, such as <c>npcsdk</c> or the path of it in a virtual environment.</param>
        /// <param name="address">Where it listens.</param>
        /// <param name="world">The world's folder, or empty for the world that ships.</param>
        /// <param name="problem">What went wrong, for the inspector; null when nothing did.</param>
        public static bool Start(string program, string address, string world, out string problem)
        {
            problem = null;
            if (IsRunning) return true;
            var how = new ProcessStartInfo
            {
                FileName = program,
                Arguments = Arguments(address, world),
                UseShellExecute = false, // and nothing redirected: a reload would leave nobody to read it
            };
            try
            {
                using (Process process = Process.Start(how))
                {
                    SessionState.SetInt(Key, process.Id);
                }
                return true;
            }
            catch (System.ComponentModel.Win32Exception error)
            {
                problem = "'" + program + "' cannot be started (error " + error.NativeErrorCode + "). Install it with pip, or give its whole path.";
                return false;
            }
        }

        /// <summary>Ends it. What characters remember is safe: it was on the disk before it was acknowledged.</summary>
        public static void Stop()
        {
            using (Process process = Find())
            {
                SessionState.EraseInt(Key);
                if (process == null) return;
                try
                {
                    process.Kill();
                }
                catch (InvalidOperationException)
                {
                    // It ended by itself just now.
                }
            }
        }

        internal static string Arguments(string address, string world)
        {
            string arguments = "serve --address " + Quoted(address);
            return string.IsNullOrEmpty(world) ? arguments : arguments + " --world " + Quoted(world);
        }

        private static string Quoted(string argument)
        {
            // A backslash before the closing quotation mark would take its meaning away.
            string safe = argument.Replace("\"", "\\\"");
            return "\"" + (safe.EndsWith("\\", StringComparison.Ordinal) ? safe + "\\" : safe) + "\"";
        }

        private static Process Find()
        {
            int id = SessionState.GetInt(Key, 0);
            if (id == 0) return null;
            try
            {
                Process process = Process.GetProcessById(id);
                if (!process.HasExited) return process;
                process.Dispose();
            }
            catch (ArgumentException)
            {
                // There is no such process any more.
            }
            catch (InvalidOperationException)
            {
                // The same.
            }
            SessionState.EraseInt(Key);
            return null;
        }
    }
}
