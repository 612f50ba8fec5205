// A stand-in for the parts of UnityEditor that the package's inspector touches, to compile it. Only tests use it.

using System;
using System.Collections.Generic;

namespace UnityEditor
{
    [AttributeUsage(AttributeTargets.Class)]
    public sealed class InitializeOnLoad : Attribute { }

    [AttributeUsage(AttributeTargets.Class)]
    public sealed class CustomEditor : Attribute
    {
        public CustomEditor(Type inspectedType) { }
    }

    public enum MessageType { None, Info, Warning, Error }

    public static class EditorApplication
    {
        public static event Action quitting;

        public static void Quit() => quitting?.Invoke();
    }

    public static class SessionState
    {
        private static readonly Dictionary<string, int> Numbers = new Dictionary<string, int>();

        public static void SetInt(string key, int value) => Numbers[key] = value;

        public static int GetInt(string key, int defaultValue) => Numbers.TryGetValue(key, out int value) ? value : defaultValue;

        public static void EraseInt(string key) => Numbers.Remove(key);
    }

    public static class EditorPrefs
    {
        public static string GetString(string key, string defaultValue) => defaultValue;

        public static void SetString(string key, string value) { }
    }

    public static class EditorStyles
    {
        public static UnityEngine.GUIStyle boldLabel => null;
    }

    public static class EditorGUILayout
    {
        public static void Space() { }

        public static void HelpBox(string message, MessageType type) { }

        public static void LabelField(string label, UnityEngine.GUIStyle style) { }

        public static string TextField(string label, string text) => text;
    }

    public class Editor
    {
        public UnityEngine.Object target { get; set; }

        public virtual bool RequiresConstantRepaint() => false;

        public virtual void OnInspectorGUI() { }

        public bool DrawDefaultInspector() => true;
    }
}

namespace UnityEngine
{
    public sealed class GUIStyle { }
}
