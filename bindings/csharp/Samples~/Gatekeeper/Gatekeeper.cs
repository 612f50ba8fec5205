using Npcsdk;
using Npcsdk.Unity;
using UnityEngine;

/// <summary>
/// A character to talk to in an empty scene: put this on an empty object, start <c>npcsdk serve</c>, and press play.
/// It makes the bridge and the character itself; in your own scene, add both components and connect their events.
/// </summary>
public sealed class Gatekeeper : MonoBehaviour
{
    [SerializeField] private string npc = "";

    private NpcBridge bridge;
    private NpcCharacter character;
    private string line = "Good evening!";
    private string shown = "Looking for the server…";
    private bool gateIsOpen;

    private void Awake()
    {
        bridge = NpcBridge.Instance != null ? NpcBridge.Instance : new GameObject("Npc Bridge").AddComponent<NpcBridge>();
        bridge.Client.Register(
            new ActionDefinition("open_gate", "Opens the gate for the player.", returns: true),
            call =>
            {
                gateIsOpen = true;
                call.Done("The gate is open.");
            });
        bridge.Client.OnReady += world =>
        {
            shown = "You are in " + world.Name + ".";
            character.Npc = npc.Length > 0 ? npc : world.Npcs[0].Id;
        };
        character = gameObject.AddComponent<NpcCharacter>();
        character.State = () => new ValueMap { { "gate_open", gateIsOpen } };
        character.OnTextChanged.AddListener(speaker => shown = speaker.Text.ToString());
        character.OnFailed.AddListener(message => shown = message);
    }

    private void OnGUI()
    {
        GUILayout.Label(shown);
        GUILayout.Label(gateIsOpen ? "The gate stands open." : "The gate is shut.");
        line = GUILayout.TextField(line);
        if (GUILayout.Button(character.IsSpeaking ? "Stop" : "Say"))
        {
            if (character.IsSpeaking) character.Cancel();
            else character.Say(line);
        }
    }
}
