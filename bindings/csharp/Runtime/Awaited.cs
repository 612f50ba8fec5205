using System;
using System.Runtime.CompilerServices;
using System.Threading.Tasks;

namespace Npcsdk
{
    /// <summary>
    /// Something that was asked for and that ends once, with a result or with an error. Await it: the code behind runs
    /// within <see cref="NpcClient.Poll"/>.
    /// </summary>
    public abstract class Awaited<T> where T : class
    {
        private Action continuation;
        private TaskCompletionSource<T> task;
        private T result;

        /// <summary>Whether it has ended: then there is a result, or an <see cref="Error"/>.</summary>
        public bool IsOver => result != null || Error != null;

        /// <summary>Why it failed; null while it has not.</summary>
        public NpcError Error { get; private set; }

        protected T Outcome => result;

        /// <summary>
        /// The same as a task, to combine with others. Its continuations run within <see cref="NpcClient.Poll"/>, or
        /// where the caller's synchronization context wants them.
        /// </summary>
        public Task<T> AsTask()
        {
            if (task == null)
            {
                task = new TaskCompletionSource<T>();
                if (IsOver) CompleteTask();
            }
            return task.Task;
        }

        public Awaiter<T> GetAwaiter() => new Awaiter<T>(this);

        internal void OnCompleted(Action next)
        {
            if (IsOver) next();
            else continuation += next;
        }

        internal void Complete(T outcome, NpcError error)
        {
            result = outcome;
            Error = error;
        }

        internal void Continue()
        {
            Action next = continuation;
            continuation = null;
            if (task != null) CompleteTask();
            next?.Invoke();
        }

        internal T Get()
        {
            if (Error != null) throw new NpcException(Error);
            return result;
        }

        private void CompleteTask()
        {
            if (Error == null) task.TrySetResult(result);
            else task.TrySetException(new NpcException(Error));
        }
    }

    /// <summary>
    /// What <c>await</c> makes of a <see cref="Turn"/> or a <see cref="Request"/>: the code behind it runs within
    /// <see cref="NpcClient.Poll"/>, on the thread that polls, with no task in between.
    /// </summary>
    public readonly struct Awaiter<T> : INotifyCompletion where T : class
    {
        private readonly Awaited<T> awaited;

        internal Awaiter(Awaited<T> awaited)
        {
            this.awaited = awaited;
        }

        public bool IsCompleted => awaited.IsOver;

        public void OnCompleted(Action continuation) => awaited.OnCompleted(continuation);

        /// <exception cref="NpcException">It failed; the code says how.</exception>
        public T GetResult() => awaited.Get();
    }
}
