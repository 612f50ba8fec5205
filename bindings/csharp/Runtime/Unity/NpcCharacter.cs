using System;
using System.Collections.Generic;
using System.Text;
using UnityEngine;
using UnityEngine.Events;

namespace Npcsdk.Unity
{
    [Serializable]
    public sealed class CharacterUnityEvent : UnityEvent<NpcCharacter> { }

    [Serializable]
    public sealed class ActionUnityEvent : UnityEvent<ActionCall> { }

    /// <summary>What happens when the character calls an action, for the inspector: done as soon as it is called.</summary>
    [Serializable]
    public sealed class ActionResponse
    {
        public string action = "";
        public UnityEvent called = new UnityEvent();
    }

    /// <summary>A character of the world, to be talked to. Needs an <see cref="NpcBridge"/> in the scene.</summary>
    [AddComponentMenu("npcsdk/Npc Character")]
    public sealed class NpcCharacter : MonoBehaviour
    {
        [Tooltip("The character's id: the name of its file among the personas")]
        [SerializeField] private string npc = "";

        [Tooltip("Who speaks; the character remembers each player apart")]
        [SerializeField] private string player = "player";

        [Tooltip("Left empty: the bridge of the scene")]
        [SerializeField] private NpcBridge bridge;

        [Tooltip("What follows at once from an action, without code")]
        [SerializeField] private List<ActionResponse> responses = new List<ActionResponse>();

        [Header("Speech")]
        [Tooltip("Speech went on: show Text, for example with SetText of a TextMeshPro. Makes no strings")]
        [SerializeField] private CharacterUnityEvent onTextChanged = new CharacterUnityEvent();

        [Tooltip("A piece of speech, as a string of its own: simple, and garbage for each word")]
        [SerializeField] private TextUnityEvent onText = new TextUnityEvent();

        [Tooltip("The turn is over: all that was said")]
        [SerializeField] private TextUnityEvent onSaid = new TextUnityEvent();

        [Tooltip("The turn failed: what to tell the player")]
        [SerializeField] private TextUnityEvent onFailed = new TextUnityEvent();

        [Header("Actions")]
        [Tooltip("An action that has no response above. Answer it with Done or Fail")]
        [SerializeField] private ActionUnityEvent onAction = new ActionUnityEvent();

        private readonly StringBuilder text = new StringBuilder(256);
        private Conversation conversation;
        private Turn heard; // whose words are in the text
        private string history;

        /// <summary>What the character has said in this turn. It is filled again in the next.</summary>
        public StringBuilder Text => text;

        public string Npc
        {
            get => npc;
            set
            {
                if (npc == value) return;
                Close();
                npc = value;
            }
        }

        /// <summary>The history to go on with; keep it with the saved game, and set it after loading.</summary>
        public string History
        {
            get => conversation?.History ?? history;
            set
            {
                Close();
                history = value;
            }
        }

        /// <summary>What is so in the game now, asked for before each line.</summary>
        public Func<ValueMap> State { get; set; }

        public List<ActionResponse> Responses => responses;
        public CharacterUnityEvent OnTextChanged => onTextChanged;
        public TextUnityEvent OnText => onText;
        public TextUnityEvent OnSaid => onSaid;
        public TextUnityEvent OnFailed => onFailed;
        public ActionUnityEvent OnAction => onAction;

        public bool IsSpeaking => conversation != null && conversation.Current != null;

        /// <summary>The player speaks; for a text field's event.</summary>
        public void Say(string line) => Speak(line);

        /// <summary>The player speaks; await it for the end. Null when there is no bridge.</summary>
        public Turn Speak(string line)
        {
            Conversation open = Open();
            return open?.Say(line, State?.Invoke());
        }

        /// <summary>Something happened that the character may remark on.</summary>
        public void React(string happening) => Open()?.React(happening, State?.Invoke());

        /// <summary>Stops what the character says.</summary>
        public void Cancel() => conversation?.Cancel();

        /// <summary>
        /// Stops what the character says, of which the player has heard (or seen) only the first characters of
        /// <see cref="Text"/>: it will remember to have said no more than that.
        /// </summary>
        public void Interrupt(int heardCharacters)
        {
            Turn turn = heard;
            if (turn == null || conversation == null || turn.Conversation != conversation) return;
            turn.Cancel();
            long codePoints = 0;
            for (int i = 0; i < heardCharacters && i < text.Length; i++)
                if (!char.IsLowSurrogate(text[i])) codePoints++;
            Watch(turn.Heard(codePoints));
        }

        /// <summary>The player walks up to the character: its first word comes sooner. For a trigger's event.</summary>
        public void Prepare()
        {
            Conversation open = Open();
            if (open != null) Watch(open.Prepare());
        }

        /// <summary>The beginnings of a line, when the player pauses: for a text field's event.</summary>
        public void Typing(string line) => Open()?.Typing(line);

        // What nobody waits for is worth a warning when it fails.
        private async void Watch(Request request)
        {
            try
            {
                await request;
            }
            catch (NpcException error)
            {
                if (error.Code != "closed") Debug.LogWarning("npcsdk: " + npc + ": " + request.Kind + ": " + error.Message, this);
            }
        }

        private void OnDisable() => Close();

        private Conversation Open()
        {
            NpcBridge to = bridge != null ? bridge : NpcBridge.Instance;
            NpcClient client = to != null ? to.Client : null;
            if (client == null || client.IsOver)
            {
                Fail("There is no connection: add an NpcBridge to the scene, and enable it.");
                return null;
            }
            if (conversation != null && conversation.Client == client && !conversation.IsClosed) return conversation;
            Close();
            try
            {
                conversation = client.Open(npc, player, history);
            }
            catch (NpcException error)
            {
                Fail(error.Message);
                return null;
            }
            conversation.OnText += Piece;
            conversation.OnAction += Act;
            conversation.OnEnd += Ended;
            conversation.OnError += Failed;
            conversation.OnOpenFailed += OpenFailed;
            return conversation;
        }

        private void Close()
        {
            Conversation old = conversation;
            conversation = null;
            if (old == null) return;
            history = old.History ?? history;
            old.OnText -= Piece;
            old.OnAction -= Act;
            old.OnEnd -= Ended;
            old.OnError -= Failed;
            old.OnOpenFailed -= OpenFailed;
            old.Close();
        }

        private void Piece(Turn turn, TextPiece piece)
        {
            if (turn != heard) text.Length = 0;
            heard = turn;
            piece.AppendTo(text);
            onTextChanged.Invoke(this);
            if (onText.GetPersistentEventCount() > 0) onText.Invoke(piece.ToString());
        }

        private void Act(ActionCall call)
        {
            bool answered = false;
            foreach (ActionResponse response in responses)
            {
                if (response.action != call.Name) continue;
                response.called.Invoke();
                answered = true;
            }
            if (answered) call.Done();
            else onAction.Invoke(call);
        }

        private void Ended(Turn turn, TurnEnd end) => onSaid.Invoke(end.Text);

        private void Failed(Turn turn, NpcError error)
        {
            if (error.Code != "closed") Fail(error.Message); // the game itself ended it
        }

        private void OpenFailed(Conversation failed, NpcError error) => Fail(error.ToString());

        private void Fail(string message)
        {
            Debug.LogWarning("npcsdk: " + npc + ": " + message, this);
            onFailed.Invoke(message);
        }
    }
}
