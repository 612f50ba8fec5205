#include "NpcCharacterComponent.h"

#include "Engine/GameInstance.h"
#include "Engine/World.h"
#include "NpcBridgeHost.h"
#include "NpcBridgeSubsystem.h"
#include "NpcLog.h"
#include "NpcSpeaker.h"
#include "NpcText.h"

namespace
{
	UNpcBridgeSubsystem* BridgeOf(const UNpcCharacterComponent& Character)
	{
		const UWorld* World = Character.GetWorld();
		UGameInstance* Game = World ? World->GetGameInstance() : nullptr;
		return Game ? Game->GetSubsystem<UNpcBridgeSubsystem>() : nullptr;
	}
}

UNpcCharacterComponent::UNpcCharacterComponent()
{
	PrimaryComponentTick.bCanEverTick = false; // the bridge polls for all
	Speaker = MakeShared<FNpcSpeaker>(this);
}

void UNpcCharacterComponent::EndPlay(const EEndPlayReason::Type EndPlayReason)
{
	CloseTalk();
	Super::EndPlay(EndPlayReason);
}

void UNpcCharacterComponent::BeginDestroy()
{
	CloseTalk();
	Super::BeginDestroy();
}

FString UNpcCharacterComponent::Say(const FString& Line)
{
	return Begin(Line, false);
}

FString UNpcCharacterComponent::React(const FString& Happening)
{
	return Begin(Happening, true);
}

FString UNpcCharacterComponent::Begin(const FString& Words, bool bReact)
{
	if (!OpenTalk())
	{
		return FString();
	}
	npcgame::Core& Core = Speaker->Host->Core;
	const std::string Utf8 = NpcText::ToUtf8(Words);
	const std::string Id = bReact ? Core.react(Speaker->Talk, Utf8, Speaker->State) : Core.say(Speaker->Talk, Utf8, Speaker->State);
	const FString Turn = NpcText::FromUtf8(Id);
	if (Turn.IsEmpty())
	{
		Fail(Turn, TEXT("not_sent"), NpcText::FromUtf8(Core.error()), FString());
	}
	else
	{
		Turns.Add(Turn);
	}
	return Turn;
}

void UNpcCharacterComponent::Cancel()
{
	if (Speaker->Host.IsValid())
	{
		for (const FString& Turn : TArray<FString>(Turns))
		{
			Speaker->Host->Core.cancel(NpcText::ToUtf8(Turn));
		}
	}
}

void UNpcCharacterComponent::Interrupt(int32 HeardCharacters)
{
	if (Speaker->Host.IsValid() && !Spoken.IsEmpty())
	{
		Speaker->Host->Core.interrupt(Speaker->Talk, NpcText::ToUtf8(Spoken), NpcText::CodePoints(Text, HeardCharacters));
	}
}

void UNpcCharacterComponent::Prepare()
{
	if (OpenTalk())
	{
		Speaker->Host->Core.prepare(Speaker->Talk);
	}
}

void UNpcCharacterComponent::Typing(const FString& Line)
{
	if (OpenTalk())
	{
		Speaker->Host->Core.typing(Speaker->Talk, NpcText::ToUtf8(Line));
	}
}

void UNpcCharacterComponent::FinishAction(const FNpcAction& Action, const FString& Result)
{
	if (Speaker->Host.IsValid())
	{
		Speaker->Host->Core.done(NpcText::ToUtf8(Action.Turn), NpcText::ToUtf8(Action.Id), NpcText::ToUtf8(Result));
	}
}

void UNpcCharacterComponent::FailAction(const FNpcAction& Action, const FString& Reason)
{
	if (Speaker->Host.IsValid())
	{
		Speaker->Host->Core.fail(NpcText::ToUtf8(Action.Turn), NpcText::ToUtf8(Action.Id), NpcText::ToUtf8(Reason));
	}
}

void UNpcCharacterComponent::SetNumber(const FString& Name, double Value)
{
	Speaker->State.set(NpcText::ToUtf8(Name), Value);
}

void UNpcCharacterComponent::SetFlag(const FString& Name, bool bValue)
{
	Speaker->State.set(NpcText::ToUtf8(Name), bValue);
}

void UNpcCharacterComponent::SetText(const FString& Name, const FString& Value)
{
	Speaker->State.set(NpcText::ToUtf8(Name), NpcText::ToUtf8(Value));
}

void UNpcCharacterComponent::SetList(const FString& Name, const TArray<FString>& Values)
{
	std::vector<std::string> List;
	for (const FString& One : Values)
	{
		List.push_back(NpcText::ToUtf8(One));
	}
	Speaker->State.set(NpcText::ToUtf8(Name), MoveTemp(List));
}

void UNpcCharacterComponent::ClearState(const FString& Name)
{
	Speaker->State.remove(NpcText::ToUtf8(Name));
}

bool UNpcCharacterComponent::OpenTalk()
{
	UNpcBridgeSubsystem* Bridge = BridgeOf(*this);
	const TSharedPtr<FNpcBridgeHost> Host = Bridge ? Bridge->GetHost() : nullptr;
	if (!Host.IsValid())
	{
		Fail(FString(), TEXT("closed"), TEXT("There is no connection."), TEXT("Connect the bridge first."));
		return false;
	}
	const bool bSame = Speaker->Npc == Npc && Speaker->Player == Player && Speaker->History == History;
	if (Speaker->Host == Host && bSame && !Speaker->Talk.empty())
	{
		return true;
	}
	CloseTalk();
	Speaker->Talk = Host->Core.open(*Speaker, NpcText::ToUtf8(Npc), NpcText::ToUtf8(Player), NpcText::ToUtf8(History));
	if (Speaker->Talk.empty())
	{
		Fail(FString(), TEXT("not_sent"), NpcText::FromUtf8(Host->Core.error()), FString());
		return false;
	}
	Speaker->Host = Host;
	Speaker->Bridge = Bridge;
	Speaker->Npc = Npc;
	Speaker->Player = Player;
	Speaker->History = History;
	Speaker->Disconnecting = Bridge->OnDisconnecting.AddUObject(this, &UNpcCharacterComponent::CloseTalk);
	return true;
}

void UNpcCharacterComponent::CloseTalk()
{
	const TSharedPtr<FNpcBridgeHost> Host = MoveTemp(Speaker->Host);
	Speaker->Host.Reset();
	if (!Host.IsValid())
	{
		return;
	}
	if (UNpcBridgeSubsystem* Bridge = Speaker->Bridge.Get())
	{
		Bridge->OnDisconnecting.Remove(Speaker->Disconnecting);
	}
	Host->Core.close(Speaker->Talk);
	Speaker->Talk.clear();
	Spoken.Reset();
	const TArray<FString> Open = MoveTemp(Turns);
	Turns.Reset();
	for (const FString& Turn : Open)
	{
		Fail(Turn, TEXT("closed"), TEXT("The conversation was closed."), FString());
	}
}

void UNpcCharacterComponent::Fail(const FString& Turn, const FString& Code, const FString& Message, const FString& Hint)
{
	if (Code != TEXT("closed") || Turn.IsEmpty())
	{
		UE_LOG(LogNpcSdk, Warning, TEXT("%s: %s %s"), *Npc, *Message, *Hint);
	}
	OnError.Broadcast(Code, Message, Hint);
	OnTurnError.Broadcast(Turn, Code, Message, Hint);
}

void FNpcSpeaker::opened(std::string_view InHistory)
{
	History = NpcText::FromUtf8(InHistory);
	Owner->History = History;
}

void FNpcSpeaker::text(std::string_view Turn, std::string_view Piece)
{
	const FString Id = NpcText::FromUtf8(Turn);
	if (Owner->Spoken != Id)
	{
		Owner->Spoken = Id;
		Owner->Text.Reset();
	}
	const FString Words = NpcText::FromUtf8(Piece);
	Owner->Text += Words;
	const FString Text = Owner->Text; // a delegate may speak on
	Owner->OnText.Broadcast(Words, Text);
	Owner->OnTurnText.Broadcast(Id, Words, Text);
}

void FNpcSpeaker::action_started(std::string_view, std::string_view Name)
{
	Owner->OnActionStarted.Broadcast(NpcText::FromUtf8(Name));
}

bool FNpcSpeaker::action(const npcgame::Act& Act)
{
	if (!Owner->OnAction.IsBound())
	{
		return false;
	}
	FNpcAction Action;
	Action.Name = NpcText::FromUtf8(Act.name);
	for (const auto& One : Act.arguments)
	{
		Action.Arguments.Add(NpcText::FromUtf8(One.first), NpcText::FromUtf8(One.second));
	}
	Action.ArgumentsJson = NpcText::FromUtf8(Act.json);
	Action.bWantsResult = Act.wants_result;
	Action.Id = NpcText::FromUtf8(Act.id);
	Action.Turn = NpcText::FromUtf8(Act.turn);
	Owner->OnAction.Broadcast(Action);
	return true;
}

void FNpcSpeaker::ended(std::string_view Turn, std::string_view Reason, std::string_view Text)
{
	const FString Id = NpcText::FromUtf8(Turn);
	const FString Words = NpcText::FromUtf8(Text);
	const FString Why = NpcText::FromUtf8(Reason);
	Owner->Turns.Remove(Id);
	Owner->OnEnd.Broadcast(Words, Why);
	Owner->OnTurnEnd.Broadcast(Id, Words, Why);
}

void FNpcSpeaker::failed(std::string_view Turn, const npcgame::Failure& Failure)
{
	const FString Id = NpcText::FromUtf8(Turn);
	Owner->Turns.Remove(Id);
	Owner->Fail(Id, NpcText::FromUtf8(Failure.code), NpcText::FromUtf8(Failure.message), NpcText::FromUtf8(Failure.hint));
}
