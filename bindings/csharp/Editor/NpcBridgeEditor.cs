using Npcsdk.Unity;
using UnityEditor;
using UnityEngine;

namespace Npcsdk.Editor
{
    /// <summary>The bridge's inspector: its fields, how the connection is, and the local server's switch.</summary>
    [CustomEditor(typeof(NpcBridge))]
    public sealed class NpcBridgeEditor : UnityEditor.Editor
    {
        private const string ProgramKey = "npcsdk.program";
        private const string WorldKey = "npcsdk.world";

        private string problem;

        public override bool RequiresConstantRepaint() => Application.isPlaying;

        public override void OnInspectorGUI()
        {
            DrawDefaultInspector();
            var bridge = (NpcBridge)target;
            EditorGUILayout.Space();
            if (Application.isPlaying) EditorGUILayout.HelpBox(Connection(bridge.Client), MessageType.Info);
            Server(bridge);
        }

        private void Server(NpcBridge bridge)
        {
            EditorGUILayout.LabelField("Local server", EditorStyles.boldLabel);
            string program = EditorPrefs.GetString(ProgramKey, "npcsdk");
            string world = EditorPrefs.GetString(WorldKey, "");
            string newProgram = EditorGUILayout.TextField("Program", program);
            string newWorld = EditorGUILayout.TextField("World's folder", world);
            if (newProgram != program) EditorPrefs.SetString(ProgramKey, newProgram);
            if (newWorld != world) EditorPrefs.SetString(WorldKey, newWorld);
            bool running = LocalServer.IsRunning;
            if (GUILayout.Button(running ? "Stop the server" : "Start the server"))
            {
                problem = null;
                if (running) LocalServer.Stop();
                else LocalServer.Start(newProgram, bridge.Address, newWorld, out problem);
            }
            if (problem != null) EditorGUILayout.HelpBox(problem, MessageType.Error);
        }

        private static string Connection(NpcClient client)
        {
            if (client == null) return "The bridge is disabled.";
            if (client.World != null) return "Connected: " + client.World.Name + ", " + client.World.Npcs.Count + " characters.";
            if (client.IsConnected) return "Connected; the world is loading.";
            return "Not connected: " + (client.ConnectionTrouble ?? "looking for the server") + ".";
        }
    }
}
