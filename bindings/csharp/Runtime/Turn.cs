using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading.Tasks;

namespace Npcsdk
{
    /// <summary>One line in, a stream of events out. Await it for its end.</summary>
    public sealed class Turn
    {
        internal readonly byte[] IdBytes;
        internal readonly byte[] Payload;
        internal readonly double Since; // when it was asked for
        internal readonly List<byte[]> Results = new List<byte[]>();
        internal string Epoch; // in which it was sent; null: not sent yet
        internal bool Accepted; // an event of it has arrived
        internal bool IsCancelled;
        internal bool Over; // nothing more of it will be told

        private Action continuation;
        private TaskCompletionSource<TurnEnd> task;

        internal Turn(Conversation conversation, string id, byte[] payload, double since)
        {
            Conversation = conversation;
            Id = id;
            IdBytes = Utf8.Bytes(id);
            Payload = payload;
            Since = since;
        }

        public Conversation Conversation { get; }
        public string Id { get; }

        /// <summary>Whether it is over: then one of <see cref="End"/> and <see cref="Error"/> is there.</summary>
        public bool IsOver => End != null || Error != null;

        public TurnEnd End { get; private set; }
        public NpcError Error { get; private set; }

        /// <summary>Stops it; it still ends, with the reason <c>cancelled</c> or with what came first.</summary>
        public void Cancel() => Conversation.Client.Cancel(this);

        /// <summary>
        /// The same as a task, to combine with others. Its continuations run within <see cref="NpcClient.Poll"/>, or
        /// where the caller's synchronization context wants them.
        /// </summary>
        public Task<TurnEnd> AsTask()
        {
            if (task == null)
            {
                task = new TaskCompletionSource<TurnEnd>();
                if (IsOver) CompleteTask();
            }
            return task.Task;
        }

        public TurnAwaiter GetAwaiter() => new TurnAwaiter(this);

        internal void OnCompleted(Action next)
        {
            if (IsOver) next();
            else continuation += next;
        }

        internal void Complete(TurnEnd end, NpcError error)
        {
            End = end;
            Error = error;
        }

        internal void Continue()
        {
            Action next = continuation;
            continuation = null;
            if (task != null) CompleteTask();
            next?.Invoke();
        }

        private void CompleteTask()
        {
            if (Error == null) task.TrySetResult(End);
            else task.TrySetException(new NpcException(Error));
        }
    }

    /// <summary>
    /// What <c>await</c> makes of a <see cref="Turn"/>: the code behind it runs within <see cref="NpcClient.Poll"/>, on
    /// the thread that polls, with no task in between.
    /// </summary>
    public readonly struct TurnAwaiter : INotifyCompletion
    {
        private readonly Turn turn;

        internal TurnAwaiter(Turn turn)
        {
            this.turn = turn;
        }

        public bool IsCompleted => turn.IsOver;

        public void OnCompleted(Action continuation) => turn.OnCompleted(continuation);

        /// <exception cref="NpcException">The turn failed; the code says how.</exception>
        public TurnEnd GetResult()
        {
            if (turn.Error != null) throw new NpcException(turn.Error);
            return turn.End;
        }
    }
}
