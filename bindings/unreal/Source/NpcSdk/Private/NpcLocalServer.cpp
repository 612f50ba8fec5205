#include "NpcLocalServer.h"

#include "HAL/PlatformProcess.h"
#include "NpcLog.h"

namespace
{
	FProcHandle Server;

	FString Quoted(const FString& Argument)
	{
		// A backslash before the closing quotation mark would take its meaning away.
		FString Safe = Argument.Replace(TEXT("\""), TEXT("\\\""));
		if (Safe.EndsWith(TEXT("\\")))
		{
			Safe += TEXT("\\");
		}
		return TEXT("\"") + Safe + TEXT("\"");
	}
}

void FNpcLocalServer::Start(const FString& Program, const FString& Address, const FString& World)
{
	if (IsRunning())
	{
		return;
	}
	FString Arguments = TEXT("serve --address ") + Quoted(Address);
	if (!World.IsEmpty())
	{
		Arguments += TEXT(" --world ") + Quoted(World);
	}
	Server = FPlatformProcess::CreateProc(*Program, *Arguments, false, true, true, nullptr, 0, nullptr, nullptr);
	if (!Server.IsValid())
	{
		UE_LOG(LogNpcSdk, Error, TEXT("'%s' cannot be started: install it with pip, or give its whole path in the project's settings."), *Program);
	}
}

void FNpcLocalServer::Stop()
{
	if (!Server.IsValid())
	{
		return;
	}
	if (FPlatformProcess::IsProcRunning(Server))
	{
		FPlatformProcess::TerminateProc(Server, true);
	}
	FPlatformProcess::CloseProc(Server);
	Server.Reset();
}

bool FNpcLocalServer::IsRunning()
{
	return Server.IsValid() && FPlatformProcess::IsProcRunning(Server);
}
