// The game's connection to npcsdk serve: one for each game instance, so also one for each player of a play in the editor.
#pragma once

#include "CoreMinimal.h"
#include "NpcTypes.h"
#include "Subsystems/GameInstanceSubsystem.h"
#include "Containers/Ticker.h"

#include "NpcBridgeSubsystem.generated.h"

class FNpcBridgeHost;

DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FNpcWorldReady, const FString&, WorldName);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FNpcWorldLoading, const FString&, Stage, float, Progress);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(FNpcBridgeProblem, const FString&, Code, const FString&, Message, const FString&, Hint);
DECLARE_MULTICAST_DELEGATE(FNpcBridgeDisconnecting);

/**
 * Polled once a frame, also while the game is paused. It starts no thread and waits for nothing: not for a server that is
 * dead, and not when the play ends.
 */
UCLASS()
class NPCSDK_API UNpcBridgeSubsystem : public UGameInstanceSubsystem
{
	GENERATED_BODY()

public:
	virtual void Initialize(FSubsystemCollectionBase& Collection) override;
	virtual void Deinitialize() override;

	/** Connect with the settings of the project, and go on trying. Conversations of before are over. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Connect();

	/** The same, to another address. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void ConnectTo(const FString& Address);

	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Disconnect();

	UFUNCTION(BlueprintPure, Category = "npcsdk")
	bool IsConnected() const;

	/** Why there is no connection, for people; empty while there never was trouble. */
	UFUNCTION(BlueprintPure, Category = "npcsdk")
	FString GetTrouble() const;

	/** The world's name; empty until it is there. */
	UFUNCTION(BlueprintPure, Category = "npcsdk")
	FString GetWorldName() const { return WorldName; }

	UFUNCTION(BlueprintPure, Category = "npcsdk")
	TArray<FNpcInfo> GetCharacters() const { return Characters; }

	/** Name this moment of the characters' memory, to go with a saved game. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void SaveMemory(const FString& Slot);

	/** Go back to it: what came after it is not remembered. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void LoadMemory(const FString& Slot);

	/** The world is there; comes again after each reconnection. */
	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcWorldReady OnReady;

	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcWorldLoading OnLoading;

	/** Something went wrong that is no turn's: server_unreachable, a request that was refused, the server's end. */
	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcBridgeProblem OnProblem;

	/** The connection is about to end for good: conversations end before it. */
	FNpcBridgeDisconnecting OnDisconnecting;

	/** For characters. Null while disconnected. */
	TSharedPtr<FNpcBridgeHost> GetHost() const { return Host; }

private:
	friend class FNpcBridgeHost;

	bool Tick(float DeltaSeconds);

	TSharedPtr<FNpcBridgeHost> Host;
	FTSTicker::FDelegateHandle TickHandle;
	FString WorldName;
	TArray<FNpcInfo> Characters;
};
