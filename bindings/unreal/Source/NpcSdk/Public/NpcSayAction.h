// The latent node Say (npcsdk).
#pragma once

#include "CoreMinimal.h"
#include "Kismet/BlueprintAsyncActionBase.h"

#include "NpcSayAction.generated.h"

class UNpcCharacterComponent;

DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(FNpcSayPin, const FString&, Text, const FString&, Reason, const FString&, Error);

/** The player speaks to a character; the pins follow as it answers. Exactly one of On End and On Error comes, last. */
UCLASS()
class NPCSDK_API UNpcSayAction : public UBlueprintAsyncActionBase
{
	GENERATED_BODY()

public:
	UFUNCTION(BlueprintCallable, meta = (BlueprintInternalUseOnly = "true", WorldContext = "WorldContextObject", DisplayName = "Say (npcsdk)"), Category = "npcsdk")
	static UNpcSayAction* SayToNpc(UObject* WorldContextObject, UNpcCharacterComponent* Character, const FString& Line);

	/** Speech went on: Text is all of it so far. */
	UPROPERTY(BlueprintAssignable)
	FNpcSayPin OnText;

	/** The turn is over: Text is all that was said, Reason why it ended. */
	UPROPERTY(BlueprintAssignable)
	FNpcSayPin OnEnd;

	/** The turn failed: Error is a message for the player, Reason its code. */
	UPROPERTY(BlueprintAssignable)
	FNpcSayPin OnError;

	virtual void Activate() override;

private:
	void Heard(const FString& Turn, const FString& Piece, const FString& Text);
	void Ended(const FString& Turn, const FString& Text, const FString& Reason);
	void Failed(const FString& Turn, const FString& Code, const FString& Message, const FString& Hint);
	void Finish();

	TWeakObjectPtr<UNpcCharacterComponent> To;
	FString Words;
	FString Said;
	FString Turn; // empty until it has begun
};
