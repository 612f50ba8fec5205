using System;

namespace Npcsdk.Tests
{
    /// <summary>The tests' one program: the first argument says which. Exit status 0 means that all is well.</summary>
    public static class Program
    {
        public static int Main(string[] arguments)
        {
            string[] rest = arguments.Length > 1 ? new string[arguments.Length - 1] : new string[0];
            Array.Copy(arguments, Math.Min(1, arguments.Length), rest, 0, rest.Length);
            try
            {
                switch (arguments.Length > 0 ? arguments[0] : "")
                {
                    case "vectors": VectorTests.Run(rest[0]); break;
                    case "msgpack": MsgpackTests.Run(); break;
                    case "peer": PeerTests.Run(); break;
                    case "fuzz": PeerFuzz.Run(rest.Length > 0 ? int.Parse(rest[0]) : 1000); break;
                    case "steady": Steady.Run(rest.Length > 0 ? int.Parse(rest[0]) : 2000); break;
                    case "zmtp": ZmtpTests.Alone(); break;
                    case "echo": ZmtpTests.Echo(int.Parse(rest[0]), int.Parse(rest[1])); break;
                    case "client": Harness.Run(rest[0], double.Parse(rest[1], System.Globalization.CultureInfo.InvariantCulture)); break;
                    default:
                        Console.Error.WriteLine("usage: vectors FILE | msgpack | peer | fuzz [ROUNDS] | steady [COUNT] | zmtp | echo PORT PIECE | client ADDRESS SILENCE");
                        return 2;
                }
                return 0;
            }
            catch (Exception error)
            {
                Console.Error.WriteLine(error);
                return 1;
            }
        }
    }

    internal static class Check
    {
        internal static void That(bool so, string what)
        {
            if (!so) throw new Exception("not so: " + what);
        }

        internal static void Same<T>(T got, T wanted, string what)
        {
            if (!Equals(got, wanted)) throw new Exception(what + ": got <" + got + ">, wanted <" + wanted + ">");
        }

        internal static void Throws(string code, System.Action act, string what)
        {
            try
            {
                act();
            }
            catch (NpcException error)
            {
                Same(error.Code, code, what);
                return;
            }
            throw new Exception(what + ": nothing was thrown");
        }
    }
}
