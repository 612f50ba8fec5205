#include "NpcBridgeSubsystem.h"

#include "NpcBridgeHost.h"
#include "NpcLocalServer.h"
#include "NpcLog.h"
#include "NpcSdkSettings.h"
#include "NpcText.h"

namespace
{
	npcgame::ActionEntry EntryOf(const FNpcActionDefinition& Definition)
	{
		npcgame::ActionEntry Entry;
		Entry.name = NpcText::ToUtf8(Definition.Name);
		Entry.description = NpcText::ToUtf8(Definition.Description);
		Entry.returns = Definition.bReturns;
		Entry.when = NpcText::ToUtf8(Definition.When);
		Entry.timeout = Definition.TimeoutSeconds;
		for (const FNpcArgumentDefinition& One : Definition.Arguments)
		{
			npcgame::Argument Argument;
			Argument.name = NpcText::ToUtf8(One.Name);
			Argument.kind = static_cast<npcgame::Kind>(One.Kind);
			Argument.description = NpcText::ToUtf8(One.Description);
			Argument.from = NpcText::ToUtf8(One.From);
			Argument.optional = One.bOptional;
			Entry.arguments.push_back(MoveTemp(Argument));
		}
		return Entry;
	}
}

void UNpcBridgeSubsystem::Initialize(FSubsystemCollectionBase& Collection)
{
	Super::Initialize(Collection);
	// The core ticker also runs while the game is paused; it holds this object weakly.
	TickHandle = FTSTicker::GetCoreTicker().AddTicker(FTickerDelegate::CreateUObject(this, &UNpcBridgeSubsystem::Tick));
	const UNpcSdkSettings* Settings = GetDefault<UNpcSdkSettings>();
	if (Settings->bStartServerInEditor && GIsEditor)
	{
		FNpcLocalServer::Start(Settings->ServerProgram, Settings->Address, Settings->WorldFolder);
	}
	if (Settings->bConnectAtStart)
	{
		Connect();
	}
}

void UNpcBridgeSubsystem::Deinitialize()
{
	FTSTicker::GetCoreTicker().RemoveTicker(TickHandle);
	Disconnect();
	Super::Deinitialize();
}

void UNpcBridgeSubsystem::Connect()
{
	ConnectTo(GetDefault<UNpcSdkSettings>()->Address);
}

void UNpcBridgeSubsystem::ConnectTo(const FString& Address)
{
	Disconnect();
	const UNpcSdkSettings* Settings = GetDefault<UNpcSdkSettings>();
	npcgame::Setup Setup;
	Setup.address = NpcText::ToUtf8(Address);
	Setup.silence = Settings->SilenceSeconds;
	for (const FNpcActionDefinition& Definition : Settings->Actions)
	{
		Setup.actions.push_back(EntryOf(Definition));
	}
	Host = MakeShared<FNpcBridgeHost>(this);
	Host->Core.start(Setup);
}

void UNpcBridgeSubsystem::Disconnect()
{
	if (!Host.IsValid())
	{
		return;
	}
	OnDisconnecting.Broadcast();
	const TSharedPtr<FNpcBridgeHost> Old = MoveTemp(Host);
	Host.Reset();
	Old->Forget();
	Old->Core.stop(); // says goodbye, and waits for nothing
	WorldName.Reset();
	Characters.Reset();
}

bool UNpcBridgeSubsystem::IsConnected() const
{
	return Host.IsValid() && Host->Core.connected();
}

FString UNpcBridgeSubsystem::GetTrouble() const
{
	return Host.IsValid() ? NpcText::FromUtf8(Host->Core.trouble()) : FString(TEXT("it is disconnected"));
}

void UNpcBridgeSubsystem::SaveMemory(const FString& Slot)
{
	if (Host.IsValid())
	{
		Host->Core.save(NpcText::ToUtf8(Slot));
	}
}

void UNpcBridgeSubsystem::LoadMemory(const FString& Slot)
{
	if (Host.IsValid())
	{
		Host->Core.load(NpcText::ToUtf8(Slot));
	}
}

bool UNpcBridgeSubsystem::Tick(float DeltaSeconds)
{
	const TSharedPtr<FNpcBridgeHost> Polled = Host; // a delegate may disconnect, or end the game
	if (Polled.IsValid())
	{
		Polled->Core.poll();
	}
	return true;
}

FNpcBridgeHost::FNpcBridgeHost(UNpcBridgeSubsystem* InOwner)
	: Core(*this)
	, Owner(InOwner)
{
}

void FNpcBridgeHost::loading(std::string_view Stage, double Progress)
{
	if (Owner)
	{
		Owner->OnLoading.Broadcast(NpcText::FromUtf8(Stage), static_cast<float>(Progress));
	}
}

void FNpcBridgeHost::ready(std::string_view World, std::vector<npcgame::Npc> Npcs)
{
	if (!Owner)
	{
		return;
	}
	Owner->WorldName = NpcText::FromUtf8(World);
	Owner->Characters.Reset();
	for (const npcgame::Npc& One : Npcs)
	{
		FNpcInfo Info;
		Info.Id = NpcText::FromUtf8(One.id);
		Info.Name = NpcText::FromUtf8(One.name);
		Info.Role = NpcText::FromUtf8(One.role);
		Info.Voice = NpcText::FromUtf8(One.voice);
		Owner->Characters.Add(MoveTemp(Info));
	}
	Owner->OnReady.Broadcast(Owner->WorldName);
}

void FNpcBridgeHost::problem(const npcgame::Failure& Failure)
{
	const FString Message = NpcText::FromUtf8(Failure.message);
	UE_LOG(LogNpcSdk, Warning, TEXT("%s"), *Message);
	if (Owner)
	{
		Owner->OnProblem.Broadcast(NpcText::FromUtf8(Failure.code), Message, NpcText::FromUtf8(Failure.hint));
	}
}

void FNpcBridgeHost::lost(const npcgame::Failure& Failure)
{
	if (Owner)
	{
		Owner->WorldName.Reset();
		Owner->Characters.Reset();
	}
	problem(Failure);
}
