// Project Settings > Plugins > npcsdk.
#pragma once

#include "CoreMinimal.h"
#include "Engine/DeveloperSettings.h"
#include "NpcTypes.h"

#include "NpcSdkSettings.generated.h"

/** Where the server is, and what the game offers to characters. */
UCLASS(Config = Game, DefaultConfig, meta = (DisplayName = "npcsdk"))
class NPCSDK_API UNpcSdkSettings : public UDeveloperSettings
{
	GENERATED_BODY()

public:
	/** As npcsdk serve prints it: tcp:// with a number. */
	UPROPERTY(Config, EditAnywhere, BlueprintReadOnly, Category = "Connection")
	FString Address = TEXT("tcp://127.0.0.1:5990");

	/** Seconds of silence after which the server counts as unreachable. */
	UPROPERTY(Config, EditAnywhere, BlueprintReadOnly, Category = "Connection", meta = (ClampMin = "1.0"))
	float SilenceSeconds = 5.0f;

	/** Connect as soon as the game begins. Otherwise call Connect of the bridge. */
	UPROPERTY(Config, EditAnywhere, BlueprintReadOnly, Category = "Connection")
	bool bConnectAtStart = true;

	UPROPERTY(Config, EditAnywhere, BlueprintReadOnly, Category = "Actions")
	TArray<FNpcActionDefinition> Actions;

	/** Start the server below when the editor begins to play, and end it with the editor. Never in a game that was shipped. */
	UPROPERTY(Config, EditAnywhere, Category = "Local server")
	bool bStartServerInEditor = false;

	/** The command, such as npcsdk or the whole path of it in a virtual environment. */
	UPROPERTY(Config, EditAnywhere, Category = "Local server")
	FString ServerProgram = TEXT("npcsdk");

	/** The world's folder; empty for the world that ships. */
	UPROPERTY(Config, EditAnywhere, Category = "Local server")
	FString WorldFolder;

	virtual FName GetCategoryName() const override;
};
