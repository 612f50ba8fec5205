using System.IO;
using UnrealBuildTool;

public class NpcSdk : ModuleRules
{
	public NpcSdk(ReadOnlyTargetRules Target) : base(Target)
	{
		// Core/NpcCore.cpp includes the headers of sockets, which must not meet those of the engine: each file stands
		// for itself, and nothing is included before it.
		PCHUsage = PCHUsageMode.NoPCHs;
		bUseUnity = false;

		PublicDependencyModuleNames.AddRange(new string[] { "Core", "CoreUObject", "Engine", "DeveloperSettings" });
		PrivateIncludePaths.Add(Path.Combine(ModuleDirectory, "..", "ThirdParty", "npcsdk", "include"));
		if (Target.Platform == UnrealTargetPlatform.Win64)
		{
			PublicSystemLibraries.Add("ws2_32.lib");
		}
	}
}
