// The core, and what it tells the subsystem.
#pragma once

#include "CoreMinimal.h"

#include "Core/NpcCore.h"

class UNpcBridgeSubsystem;

/** It may outlive its subsystem by the rest of a poll, and then tells nobody. */
class FNpcBridgeHost final : public npcgame::Listener
{
public:
	explicit FNpcBridgeHost(UNpcBridgeSubsystem* InOwner);

	npcgame::Core Core;

	void Forget() { Owner = nullptr; }

	virtual void loading(std::string_view Stage, double Progress) override;
	virtual void ready(std::string_view World, std::vector<npcgame::Npc> Npcs) override;
	virtual void problem(const npcgame::Failure& Failure) override;
	virtual void lost(const npcgame::Failure& Failure) override;

private:
	UNpcBridgeSubsystem* Owner;
};
