#include "NpcSayAction.h"

#include "NpcCharacterComponent.h"

UNpcSayAction* UNpcSayAction::SayToNpc(UObject* WorldContextObject, UNpcCharacterComponent* Character, const FString& Line)
{
	UNpcSayAction* Node = NewObject<UNpcSayAction>();
	Node->To = Character;
	Node->Words = Line;
	Node->RegisterWithGameInstance(WorldContextObject);
	return Node;
}

void UNpcSayAction::Activate()
{
	UNpcCharacterComponent* Character = To.Get();
	if (!Character)
	{
		OnError.Broadcast(FString(), TEXT("no_character"), TEXT("There is no character to speak to."));
		SetReadyToDestroy();
		return;
	}
	Character->OnTurnText.AddUObject(this, &UNpcSayAction::Heard);
	Character->OnTurnEnd.AddUObject(this, &UNpcSayAction::Ended);
	Character->OnTurnError.AddUObject(this, &UNpcSayAction::Failed);
	Turn = Character->Say(Words); // where it cannot be sent, Failed has been called with an empty turn
}

void UNpcSayAction::Heard(const FString& InTurn, const FString&, const FString& Text)
{
	if (InTurn == Turn)
	{
		Said = Text;
		OnText.Broadcast(Said, FString(), FString());
	}
}

void UNpcSayAction::Ended(const FString& InTurn, const FString& Text, const FString& Reason)
{
	if (InTurn == Turn)
	{
		Finish();
		OnEnd.Broadcast(Text, Reason, FString());
	}
}

void UNpcSayAction::Failed(const FString& InTurn, const FString& Code, const FString& Message, const FString& Hint)
{
	if (InTurn == Turn)
	{
		Finish();
		OnError.Broadcast(Said, Code, Hint.IsEmpty() ? Message : Message + TEXT(" ") + Hint);
	}
}

void UNpcSayAction::Finish()
{
	if (UNpcCharacterComponent* From = To.Get())
	{
		From->OnTurnText.RemoveAll(this);
		From->OnTurnEnd.RemoveAll(this);
		From->OnTurnError.RemoveAll(this);
	}
	SetReadyToDestroy();
}
