// What the core tells a character, and what of the character the core needs.
#pragma once

#include "CoreMinimal.h"

#include "Core/NpcCore.h"

class FNpcBridgeHost;
class UNpcBridgeSubsystem;
class UNpcCharacterComponent;

/** One for each component, as long as that lives. */
class FNpcSpeaker final : public npcgame::Speaker
{
public:
	explicit FNpcSpeaker(UNpcCharacterComponent* InOwner)
		: Owner(InOwner)
	{
	}

	npcgame::State State;

	// The conversation that is open, if any: on which connection, and as whom.
	TSharedPtr<FNpcBridgeHost> Host;
	TWeakObjectPtr<UNpcBridgeSubsystem> Bridge;
	FDelegateHandle Disconnecting;
	npcgame::Talk Talk;
	FString Npc;
	FString Player;
	FString History;

	virtual void opened(std::string_view InHistory) override;
	virtual void text(std::string_view Turn, std::string_view Piece) override;
	virtual void action_started(std::string_view Turn, std::string_view Name) override;
	virtual bool action(const npcgame::Act& Act) override;
	virtual void ended(std::string_view Turn, std::string_view Reason, std::string_view Text) override;
	virtual void failed(std::string_view Turn, const npcgame::Failure& Failure) override;

private:
	UNpcCharacterComponent* Owner;
};
