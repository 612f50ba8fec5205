using System;
using System.Collections.Generic;

namespace Npcsdk
{
    /// <summary>The half of the state machine that knows turns and their events.</summary>
    internal sealed partial class ClientPeer
    {
        private void Start(Turn turn)
        {
            Ask(turn.Conversation);
            if (State != PeerState.Open) return;
            turn.Epoch = Epoch;
            Outgoing.Add(turn.Payload);
        }

        private void Ask(Conversation conversation)
        {
            if (conversation.IsOpened || conversation.Asked || State != PeerState.Open) return;
            conversation.Asked = true;
            Outgoing.Add(OpenCommand(conversation));
        }

        private byte[] OpenCommand(Conversation conversation) =>
            commands.Open(conversation.Id, conversation.Npc, conversation.Player, conversation.History);

        private void OnTurnEvent()
        {
            Conversation conversation = Find();
            long seq = reader.Natural(Field.Seq);
            if (conversation == null || seq <= conversation.Seq) return; // closed meanwhile, or heard before
            long first = reader.Kind == EventKind.Text ? reader.Natural(Field.First) : -1; // of several pieces in one
            if ((first > 0 ? first : seq) > conversation.Seq + 1 && gapTries < GapTries)
            {
                gap = true; // something was lost on the way: Tick asks for it again
                return;
            }
            gapTries = 0;
            conversation.Seq = seq;
            conversation.IsOpened = true; // whether or not `opened` itself arrived
            Turn turn = Find(conversation);
            if (turn == null) return; // given up before
            turn.Accepted = true;
            switch (reader.Kind)
            {
                case EventKind.Text:
                    int count = reader.TextInto(Field.Text, ref characters);
                    if (count < 0) return;
                    Piece = new TextPiece(characters, count, Math.Max(0, reader.Natural(Field.Offset)));
                    Tell(NoticeKind.Text, conversation, turn, null);
                    break;
                case EventKind.ActionStarted:
                    if (!turn.IsCancelled) Tell(NoticeKind.ActionStarted, conversation, turn, reader.ActionStart());
                    break;
                case EventKind.Action:
                    (turn.IsCancelled ? turn.Late : turn.Given).Add(reader.Text(Field.Id, ""));
                    if (!turn.IsCancelled) Tell(NoticeKind.Action, conversation, turn, new ActionCall(turn, reader));
                    break;
                case EventKind.Refused: Tell(NoticeKind.Refused, conversation, turn, reader.Refusal()); break;
                case EventKind.End: FinishAndRelease(turn, EndOf(turn), null); break;
                case EventKind.Error: FinishAndRelease(turn, null, reader.Error("turn_error")); break;
            }
        }

        private void SendCancel(Turn turn) => Outgoing.Add(commands.Cancel(turn.Conversation.Id, turn.Id, turn.Given));

        /// <summary>Of a turn that was cancelled, this side knows best which actions have happened.</summary>
        private TurnEnd EndOf(Turn turn)
        {
            TurnEnd end = reader.TurnEnd();
            if (!turn.IsCancelled) return end;
            var retracted = new List<string>(end.Retracted);
            retracted.RemoveAll(turn.Given.Contains);
            foreach (string late in turn.Late)
                if (!retracted.Contains(late)) retracted.Add(late);
            end.Actions = turn.Given.ToArray();
            end.Retracted = retracted.ToArray();
            return end;
        }

        private void FinishAndRelease(Turn turn, TurnEnd end, NpcError error)
        {
            Finish(turn, end, error);
            List<Turn> turns = turn.Conversation.Turns;
            if (turns.Count > 0 && turns[0].IsCancelled) return; // its end is still to come
            for (int i = 0; i < turns.Count; i++)
                if (turns[i].Epoch == null) Start(turns[i]);
        }

        private void Finish(Turn turn, TurnEnd end, NpcError error)
        {
            if (turn.Over) return;
            turn.Over = true;
            turn.Conversation.Turns.Remove(turn);
            Tell(end != null ? NoticeKind.End : NoticeKind.Error, turn.Conversation, turn, (object)end ?? error);
        }

        private void FailAll(NpcError error)
        {
            foreach (Turn turn in AllTurns()) Finish(turn, null, error);
            FailRequests(error, sentOnly: false);
        }

        private List<Turn> AllTurns()
        {
            scratch.Clear();
            foreach (Conversation conversation in conversations) scratch.AddRange(conversation.Turns);
            return scratch;
        }

        private List<Turn> Copy(List<Turn> turns)
        {
            scratch.Clear();
            scratch.AddRange(turns);
            return scratch;
        }

        private Conversation Find()
        {
            for (int i = 0; i < conversations.Count; i++)
                if (reader.Same(Field.Conversation, conversations[i].IdBytes)) return conversations[i];
            return null;
        }

        private Turn Find(Conversation conversation)
        {
            List<Turn> turns = conversation.Turns;
            for (int i = 0; i < turns.Count; i++)
                if (reader.Same(Field.Turn, turns[i].IdBytes)) return turns[i];
            return null;
        }

        private void Tell(NoticeKind kind, Conversation conversation, Turn turn, object body) =>
            Notices.Add(new Notice { Kind = kind, Conversation = conversation, Turn = turn, Body = body });
    }
}
