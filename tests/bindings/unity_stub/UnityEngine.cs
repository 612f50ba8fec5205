// A stand-in for the few parts of UnityEngine that the package touches: enough to compile it and to play it without
// the editor. Signatures follow Unity 2021.3's scripting reference. Only tests use it.

using System;
using System.Collections.Generic;
using System.Reflection;

namespace UnityEngine
{
    [AttributeUsage(AttributeTargets.Field)]
    public sealed class SerializeField : Attribute { }

    [AttributeUsage(AttributeTargets.Field)]
    public sealed class TooltipAttribute : Attribute
    {
        public TooltipAttribute(string tooltip) { }
    }

    [AttributeUsage(AttributeTargets.Field, AllowMultiple = true)]
    public sealed class HeaderAttribute : Attribute
    {
        public HeaderAttribute(string header) { }
    }

    [AttributeUsage(AttributeTargets.Field)]
    public sealed class TextAreaAttribute : Attribute { }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class AddComponentMenu : Attribute
    {
        public AddComponentMenu(string menuName) { }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class DefaultExecutionOrder : Attribute
    {
        public DefaultExecutionOrder(int order) { }
    }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class DisallowMultipleComponent : Attribute { }

    public enum RuntimeInitializeLoadType { AfterSceneLoad, BeforeSceneLoad, AfterAssembliesLoaded, BeforeSplashScreen, SubsystemRegistration }

    [AttributeUsage(AttributeTargets.Method)]
    public sealed class RuntimeInitializeOnLoadMethodAttribute : Attribute
    {
        public RuntimeInitializeOnLoadMethodAttribute(RuntimeInitializeLoadType loadType) { }
    }

    public class Object
    {
        private bool destroyed;

        public static void DontDestroyOnLoad(Object target) { }

        public static void Destroy(Object target) => target.destroyed = true;

        public static bool operator ==(Object one, Object other) => ReferenceEquals(Living(one), Living(other));

        public static bool operator !=(Object one, Object other) => !(one == other);

        public override bool Equals(object other) => ReferenceEquals(this, other);

        public override int GetHashCode() => base.GetHashCode();

        private static object Living(Object one) => ReferenceEquals(one, null) || one.destroyed ? null : one;
    }

    public sealed class Transform : Object
    {
        public Transform parent { get; set; }
    }

    public sealed class GameObject : Object
    {
        public GameObject(string name) { }

        public Transform transform { get; } = new Transform();

        public T AddComponent<T>() where T : MonoBehaviour, new()
        {
            var made = new T { gameObject = this };
            Engine.Add(made);
            return made;
        }
    }

    public class Behaviour : Object
    {
        private bool on = true;

        public GameObject gameObject { get; internal set; }
        public Transform transform => gameObject.transform;
        public bool isActiveAndEnabled => on;

        public bool enabled
        {
            get => on;
            set
            {
                if (on == value) return;
                on = value;
                Engine.Call(this, value ? "OnEnable" : "OnDisable");
            }
        }
    }

    public class MonoBehaviour : Behaviour { }

    public static class Application
    {
        public static bool isPlaying => true;
    }

    public static class Debug
    {
        public static readonly List<string> Written = new List<string>();

        public static void LogWarning(object message, Object context) => Written.Add("warning: " + message);

        public static void LogError(object message, Object context) => Written.Add("error: " + message);
    }

    public static class GUILayout
    {
        public static void Label(string text) { }

        public static string TextField(string text) => text;

        public static bool Button(string text) => false;
    }

    /// <summary>Calls the messages of components as the engine does: by name, also the private ones.</summary>
    public static class Engine
    {
        private static readonly List<MonoBehaviour> Components = new List<MonoBehaviour>();

        public static void Add(MonoBehaviour made)
        {
            Components.Add(made);
            Call(made, "Awake");
            if (made.enabled) Call(made, "OnEnable");
        }

        public static void Frame()
        {
            foreach (MonoBehaviour one in Components.ToArray())
                if (one.enabled) Call(one, "Update");
        }

        public static void Quit(bool scriptsReload = false)
        {
            foreach (MonoBehaviour one in Components.ToArray())
            {
                if (!scriptsReload) Call(one, "OnApplicationQuit");
                if (one.enabled) Call(one, "OnDisable");
            }
            Components.Clear();
        }

        public static void Call(object target, string message)
        {
            MethodInfo method = target.GetType().GetMethod(message, BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public);
            if (method != null) ((Action)Delegate.CreateDelegate(typeof(Action), target, method))();
        }
    }
}

namespace UnityEngine.Events
{
    public delegate void UnityAction();

    public delegate void UnityAction<T0>(T0 arg0);

    public abstract class UnityEventBase
    {
        /// <summary>Listeners that the inspector set; tests say so here.</summary>
        public int Persistent;

        public int GetPersistentEventCount() => Persistent;
    }

    public class UnityEvent : UnityEventBase
    {
        private UnityAction calls;

        public void AddListener(UnityAction call) => calls += call;

        public void Invoke() => calls?.Invoke();
    }

    public class UnityEvent<T0> : UnityEventBase
    {
        private UnityAction<T0> calls;

        public void AddListener(UnityAction<T0> call) => calls += call;

        public void Invoke(T0 arg0) => calls?.Invoke(arg0);
    }
}
