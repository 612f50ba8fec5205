using System;
using System.Collections.Generic;
using Npcsdk;
using Npcsdk.Unity;
using UnityEngine;

/// <summary>Plays a scene with a bridge and a character, as often as told, against the server that is told.</summary>
internal static class Play
{
    private static int Main(string[] arguments)
    {
        string address = arguments[0];
        if (arguments[1] == "server") return Server(arguments[2], address);
        for (int play = 0; play < 3; play++)
        {
            Once(address);
            Engine.Quit(scriptsReload: play == 1);
            if (NpcBridge.Instance != null) throw new Exception("a bridge is left over");
        }
        foreach (string line in Debug.Written) Console.WriteLine(line);
        Console.WriteLine("played");
        return 0;
    }

    private static void Once(string address)
    {
        var bridge = Made<NpcBridge>();
        bridge.enabled = false; // the inspector would have set the address
        bridge.Address = address;
        bridge.Actions.Add(new ActionEntry
        {
            name = "open_gate", description = "Opens a gate.", returns = true, when = "true",
            arguments = new List<ActionArgument> { new ActionArgument { name = "gate" }, new ActionArgument { name = "n", kind = ArgumentKind.Integer, optional = true } },
        });
        bool ready = false;
        bridge.OnReady.AddListener(() => ready = true);
        bridge.enabled = true;
        var second = Made<NpcBridge>();
        if (second.enabled || NpcBridge.Instance != bridge) throw new Exception("two bridges");

        var character = Made<NpcCharacter>();
        character.Npc = "mira";
        string shown = null, said = null, failed = null, piece = null;
        int acted = 0, responded = 0;
        character.OnTextChanged.AddListener(speaker => shown = speaker.Text.ToString());
        character.OnText.AddListener(text => piece = text);
        character.OnSaid.AddListener(text => said = text);
        character.OnFailed.AddListener(text => failed = text);
        var response = new ActionResponse { action = "fetch" };
        response.called.AddListener(() => responded++);
        character.Responses.Add(response);
        character.OnAction.AddListener(call =>
        {
            acted++;
            call.Done("so be it");
        });
        character.State = () => new ValueMap { { "trust", 61 } };

        character.Say("hello");
        Until(() => said != null, "it speaks");
        Same(said, "mira heard hello");
        Same(shown, said);
        Same(piece, null); // nobody in the inspector wants strings
        if (!ready) throw new Exception("not ready");

        character.OnText.Persistent = 1;
        said = null;
        character.Say("act fetch water");
        Until(() => said != null, "a response without code");
        Same(said, "Wait. done: None");
        Same(responded + "," + acted + "," + (piece != null), "1,0,True");

        said = null;
        character.Say("act sing loudly");
        Until(() => said != null, "an action by code");
        Same(said, "Wait. done: so be it");

        said = null;
        character.Say("state");
        Until(() => said != null, "the state goes along");
        Same(said, "{'trust': 61} None");

        character.Say("fail");
        Until(() => failed != null, "a failure is told");
        Same(failed, "It broke.");

        character.Prepare();
        character.Typing("for-");
        bridge.Save("autosave");
        character.Say("for-ever");
        Until(() => character.Text.Length > 20, "it speaks");
        said = null;
        character.Interrupt(7);
        Until(() => said != null, "it is interrupted");
        Same(character.IsSpeaking, false);
        int warnings = Debug.Written.Count;
        bridge.Load("nothing");
        Until(() => Debug.Written.Count > warnings, "a request that fails is worth a warning");
        Same(Debug.Written[warnings], "warning: npcsdk: There is no 'nothing'. Save first. (slot_unknown)");

        string history = character.History;
        character.enabled = false;
        character.enabled = true;
        said = failed = null;
        character.Say("again");
        Until(() => said != null, "after it was disabled");
        Same(character.History, history);

        character.Say("for-ever");
        Until(() => character.Text.Length > 20 && character.IsSpeaking, "it speaks on");
        failed = null; // and the play is stopped in the middle of it
    }

    private static int Server(string program, string address)
    {
        if (Npcsdk.Editor.LocalServer.Start("no-such-program-anywhere", address, "", out string problem) || problem == null)
            throw new Exception("started");
        if (!Npcsdk.Editor.LocalServer.Start(program, address, "a \"world\"\\", out problem)) throw new Exception(problem);
        if (!Npcsdk.Editor.LocalServer.IsRunning) throw new Exception("it does not run");
        Npcsdk.Editor.LocalServer.Start(program, address, "", out problem); // does nothing
        var written = new System.IO.FileInfo(program + ".arguments"); // it has got so far
        for (int i = 0; i < 5000 && !(written.Exists && written.Length > 0); i++)
        {
            System.Threading.Thread.Sleep(1);
            written.Refresh();
        }
        UnityEditor.EditorApplication.Quit();
        if (Npcsdk.Editor.LocalServer.IsRunning) throw new Exception("it runs on");
        Npcsdk.Editor.LocalServer.Stop();
        Console.WriteLine("stopped");
        return 0;
    }

    private static T Made<T>() where T : MonoBehaviour, new() => new GameObject("made").AddComponent<T>();

    private static void Until(Func<bool> so, string what)
    {
        var since = System.Diagnostics.Stopwatch.StartNew();
        while (!so())
        {
            if (since.ElapsedMilliseconds > 20000) throw new Exception("not in time: " + what + "; " + string.Join(" | ", Debug.Written.ToArray()));
            Engine.Frame();
            System.Threading.Thread.Sleep(1);
        }
    }

    private static void Same<T>(T got, T wanted)
    {
        if (!Equals(got, wanted)) throw new Exception("got <" + got + ">, wanted <" + wanted + ">");
    }
}
