// A stand-in for the parts of UnrealBuildTool that the plugin's Build.cs touches. Only tests use it.

using System.Collections.Generic;

namespace UnrealBuildTool
{
    public enum UnrealTargetPlatform { Win64, Mac, Linux }

    public sealed class ReadOnlyTargetRules
    {
        public UnrealTargetPlatform Platform;
    }

    public class ModuleRules
    {
        public enum PCHUsageMode { Default, NoSharedPCHs, UseSharedPCHs, UseExplicitOrSharedPCHs, NoPCHs }

        public PCHUsageMode PCHUsage;
        public bool bUseUnity = true;
        public readonly List<string> PublicDependencyModuleNames = new List<string>();
        public readonly List<string> PrivateIncludePaths = new List<string>();
        public readonly List<string> PublicSystemLibraries = new List<string>();

        public ModuleRules(ReadOnlyTargetRules target) { }

        public string ModuleDirectory { get { return "."; } }
    }
}
