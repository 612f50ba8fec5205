using System;
using System.Collections.Generic;
using UnityEngine;
using UnityEngine.Events;

namespace Npcsdk.Unity
{
    /// <summary>What an action's argument is, for the inspector.</summary>
    public enum ArgumentKind { Text, Integer, Number, Flag }

    /// <summary>An argument of an action, for the inspector.</summary>
    [Serializable]
    public sealed class ActionArgument
    {
        public string name = "";
        public ArgumentKind kind = ArgumentKind.Text;
        public string description = "";

        [Tooltip("For text: the list in the turn's state that holds the legal values, such as state.nearby")]
        public string from = "";

        public bool optional;
    }

    /// <summary>An action that the game offers to characters, for the inspector.</summary>
    [Serializable]
    public sealed class ActionEntry
    {
        public string name = "";

        [TextArea]
        public string description = "";

        [Tooltip("Whether the character waits until the game says what became of it")]
        public bool returns;

        [Tooltip("Offered only while this holds in the state, such as trust >= 60")]
        public string when = "";

        public List<ActionArgument> arguments = new List<ActionArgument>();

        public ActionDefinition ToDefinition()
        {
            var made = new ActionDefinition(name, description, returns, OrNull(when));
            foreach (ActionArgument argument in arguments)
            {
                string about = OrNull(argument.description);
                switch (argument.kind)
                {
                    case ArgumentKind.Text: made.Text(argument.name, about, OrNull(argument.from), argument.optional); break;
                    case ArgumentKind.Integer: made.Integer(argument.name, null, null, about, argument.optional); break;
                    case ArgumentKind.Number: made.Number(argument.name, about, argument.optional); break;
                    case ArgumentKind.Flag: made.Flag(argument.name, about, argument.optional); break;
                }
            }
            return made;
        }

        private static string OrNull(string text) => string.IsNullOrEmpty(text) ? null : text;
    }

    [Serializable]
    public sealed class TextUnityEvent : UnityEvent<string> { }

    /// <summary>
    /// The scene's connection to <c>npcsdk serve</c>. It lives from enabling to disabling, so it also comes and goes
    /// with a reload of the scripts, and it starts no thread that could outlive either.
    /// </summary>
    [AddComponentMenu("npcsdk/Npc Bridge")]
    [DefaultExecutionOrder(-500)] // before the characters
    [DisallowMultipleComponent]
    public sealed class NpcBridge : MonoBehaviour
    {
        [Tooltip("As npcsdk serve prints it")]
        [SerializeField] private string address = NpcClient.DefaultAddress;

        [Tooltip("Seconds of silence after which the server counts as unreachable")]
        [SerializeField] private float silence = 5;

        [Tooltip("Keep the bridge when another scene is loaded")]
        [SerializeField] private bool acrossScenes = true;

        [Tooltip("Actions of the game that characters may call, besides those of the world's own files")]
        [SerializeField] private List<ActionEntry> actions = new List<ActionEntry>();

        [SerializeField] private UnityEvent onReady = new UnityEvent();
        [SerializeField] private TextUnityEvent onProblem = new TextUnityEvent();

        /// <summary>The bridge that was enabled last; null when there is none.</summary>
        public static NpcBridge Instance { get; private set; }

        /// <summary>The client; null while the bridge is disabled. Another one after each enabling.</summary>
        public NpcClient Client { get; private set; }

        public string Address
        {
            get => address;
            set => address = value; // from the next enabling on
        }

        public List<ActionEntry> Actions => actions;
        public UnityEvent OnReady => onReady;
        public TextUnityEvent OnProblem => onProblem;

        /// <summary>A client was made: register further actions and handlers here, before its first Poll.</summary>
        public event Action<NpcClient> ClientMade;

        // With "Enter Play Mode Options" the scripts are not loaded anew, and statics live on into the second play.
        [RuntimeInitializeOnLoadMethod(RuntimeInitializeLoadType.SubsystemRegistration)]
        private static void ForgetLastPlay() => Instance = null;

        private void OnEnable()
        {
            if (Instance != null && Instance != this && Instance.isActiveAndEnabled && acrossScenes)
            {
                enabled = false; // a scene that is loaded again brings a second one along
                return;
            }
            Instance = this;
            if (acrossScenes && Application.isPlaying && transform.parent == null) DontDestroyOnLoad(gameObject);
            try
            {
                Client = new NpcClient(address, silence);
                foreach (ActionEntry action in actions) Client.Register(action.ToDefinition());
            }
            catch (NpcException error)
            {
                Debug.LogError("npcsdk: " + error.Message, this);
                Client?.Dispose();
                Client = null;
                return;
            }
            Client.OnReady += Ready;
            Client.OnProblem += Problem;
            Client.OnServerLost += Problem;
            ClientMade?.Invoke(Client);
        }

        private void Update() => Client?.Poll();

        private void OnDisable() => Shut();

        private void OnApplicationQuit() => Shut();

        private void Shut()
        {
            NpcClient old = Client;
            Client = null;
            if (Instance == this) Instance = null;
            old?.Dispose(); // never waits
        }

        /// <summary>Names this moment of the characters' memory, to go with a saved game. For an event of the menu's.</summary>
        public void Save(string slot) => Watch(Client?.Save(slot));

        /// <summary>Goes back to it: what came after it is not remembered.</summary>
        public void Load(string slot) => Watch(Client?.Load(slot));

        private async void Watch(Request request)
        {
            if (request == null) return;
            try
            {
                await request;
            }
            catch (NpcException error)
            {
                if (error.Code != "closed") Problem(error.Error);
            }
        }

        private void Ready(WorldInfo world) => onReady.Invoke();

        private void Problem(NpcError error)
        {
            Debug.LogWarning("npcsdk: " + error, this);
            onProblem.Invoke(error.ToString());
        }
    }
}
