// npcsdk serve as a process of the editor's: it lives through plays, and ends with the editor.
#pragma once

#include "CoreMinimal.h"

class FNpcLocalServer
{
public:
	/** Starts it, unless it runs. World: the world's folder, or empty for the world that ships. */
	static void Start(const FString& Program, const FString& Address, const FString& World);

	/** Ends it. What characters remember is safe: it was on the disk before it was acknowledged. */
	static void Stop();

	static bool IsRunning();
};
