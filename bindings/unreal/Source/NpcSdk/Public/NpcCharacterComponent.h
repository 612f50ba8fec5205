// A character of the world, to be talked to: put it on the actor that shall speak.
#pragma once

#include "CoreMinimal.h"
#include "Components/ActorComponent.h"
#include "NpcTypes.h"

#include "NpcCharacterComponent.generated.h"

class FNpcSpeaker;
class UNpcBridgeSubsystem;

DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FNpcTextSignature, const FString&, Piece, const FString&, Text);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FNpcActionSignature, const FNpcAction&, Action);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FNpcActionStartedSignature, const FString&, Name);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FNpcEndSignature, const FString&, Text, const FString&, Reason);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(FNpcErrorSignature, const FString&, Code, const FString&, Message, const FString&, Hint);

// For C++ and the Say node: the same with the turn's id. An end has a reason, an error a code.
DECLARE_MULTICAST_DELEGATE_ThreeParams(FNpcTurnText, const FString& /*Turn*/, const FString& /*Piece*/, const FString& /*Text*/);
DECLARE_MULTICAST_DELEGATE_ThreeParams(FNpcTurnEnd, const FString& /*Turn*/, const FString& /*Text*/, const FString& /*Reason*/);
DECLARE_MULTICAST_DELEGATE_FourParams(FNpcTurnError, const FString& /*Turn*/, const FString& /*Code*/, const FString& /*Message*/, const FString& /*Hint*/);

/**
 * All delegates are called on the game thread. Every turn ends with exactly one On End or On Error, also when the server
 * dies, is out of reach or the play ends.
 */
UCLASS(ClassGroup = (npcsdk), meta = (BlueprintSpawnableComponent, DisplayName = "Npc Character"))
class NPCSDK_API UNpcCharacterComponent : public UActorComponent
{
	GENERATED_BODY()

public:
	UNpcCharacterComponent();

	/** The character's id: the name of its file among the personas. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Npc;

	/** Who speaks; the character remembers each player apart. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Player = TEXT("player");

	/** The conversation to go on with: keep it with the saved game, and set it after loading. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, SaveGame, Category = "npcsdk")
	FString History;

	/** The player speaks. The turn's id; empty when it could not be sent, and then On Error has said why. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	FString Say(const FString& Line);

	/** Something happened in the game that the character may remark on. Otherwise as Say. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	FString React(const FString& Happening);

	/** Stops what the character says; it still ends, with the reason cancelled. No action comes any more. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Cancel();

	/** The same, when the player has heard (or seen) only the first characters of the text: no more is remembered as said. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Interrupt(int32 HeardCharacters);

	/** The player walks up to the character: its first word comes sooner. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Prepare();

	/** The beginnings of a line, when the player pauses. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void Typing(const FString& Line);

	/** An action was carried out; the result is told to the character. Needed only where it wants a result. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void FinishAction(const FNpcAction& Action, const FString& Result);

	/** An action could not be carried out, and why. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk")
	void FailAction(const FNpcAction& Action, const FString& Reason);

	/** What is so in the game now; conditions and actions look at it. Sent along with each line. */
	UFUNCTION(BlueprintCallable, Category = "npcsdk|State")
	void SetNumber(const FString& Name, double Value);

	UFUNCTION(BlueprintCallable, Category = "npcsdk|State")
	void SetFlag(const FString& Name, bool bValue);

	UFUNCTION(BlueprintCallable, Category = "npcsdk|State")
	void SetText(const FString& Name, const FString& Value);

	UFUNCTION(BlueprintCallable, Category = "npcsdk|State")
	void SetList(const FString& Name, const TArray<FString>& Values);

	UFUNCTION(BlueprintCallable, Category = "npcsdk|State")
	void ClearState(const FString& Name);

	/** What the character has said in this turn so far. */
	UFUNCTION(BlueprintPure, Category = "npcsdk")
	FString GetText() const { return Text; }

	UFUNCTION(BlueprintPure, Category = "npcsdk")
	bool IsSpeaking() const { return Turns.Num() > 0; }

	/** A piece of speech, and all of the turn so far. */
	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcTextSignature OnText;

	/** The character does something. Bind it where the world has actions; otherwise they are answered as failed for you. */
	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcActionSignature OnAction;

	/** An action begins whose arguments are still being made up: time for an animation. It may come to nothing. */
	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcActionStartedSignature OnActionStarted;

	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcEndSignature OnEnd;

	UPROPERTY(BlueprintAssignable, Category = "npcsdk")
	FNpcErrorSignature OnError;

	FNpcTurnText OnTurnText;
	FNpcTurnEnd OnTurnEnd;
	FNpcTurnError OnTurnError;

	virtual void EndPlay(const EEndPlayReason::Type EndPlayReason) override;
	virtual void BeginDestroy() override;

private:
	friend class FNpcSpeaker;

	FString Begin(const FString& Words, bool bReact);
	/** Whether there is a conversation, now. */
	bool OpenTalk();
	/** Ends it; what runs in it ends with an error. */
	void CloseTalk();
	void Fail(const FString& Turn, const FString& Code, const FString& Message, const FString& Hint);

	TSharedPtr<FNpcSpeaker> Speaker;
	TArray<FString> Turns; // not ended, oldest first
	FString Spoken;        // the turn whose words are in the text
	FString Text;
};
