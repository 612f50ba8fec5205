// What Blueprints and the settings page see of characters and their actions.
#pragma once

#include "CoreMinimal.h"

#include "NpcTypes.generated.h"

/** A character of the server's world. */
USTRUCT(BlueprintType)
struct NPCSDK_API FNpcInfo
{
	GENERATED_BODY()

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Id;

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Name;

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Role;

	/** For the game's own use; empty when none was given. */
	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Voice;
};

/** Something that a character does. Where it wants a result, answer with Finish Action or Fail Action, now or later. */
USTRUCT(BlueprintType)
struct NPCSDK_API FNpcAction
{
	GENERATED_BODY()

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Name;

	/** Each argument as text. */
	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	TMap<FString, FString> Arguments;

	/** All arguments as JSON, for those that are lists or maps. */
	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString ArgumentsJson;

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	bool bWantsResult = false;

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Id;

	UPROPERTY(BlueprintReadOnly, Category = "npcsdk")
	FString Turn;
};

UENUM(BlueprintType)
enum class ENpcArgumentKind : uint8
{
	Text,
	Integer,
	Number,
	Flag,
};

/** An argument of an action that the game offers. */
USTRUCT(BlueprintType)
struct NPCSDK_API FNpcArgumentDefinition
{
	GENERATED_BODY()

	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Name;

	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	ENpcArgumentKind Kind = ENpcArgumentKind::Text;

	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Description;

	/** For text: the list in the character's state that holds the legal values, such as state.nearby. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString From;

	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	bool bOptional = false;
};

/** An action that the game offers to characters, besides those of the world's own files. */
USTRUCT(BlueprintType)
struct NPCSDK_API FNpcActionDefinition
{
	GENERATED_BODY()

	/** Letters, digits, _ - . ; at most 64. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Name;

	/** What the model is told. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString Description;

	/** Whether the character waits until the game says what became of it. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	bool bReturns = false;

	/** Offered only while this holds in the state, such as trust >= 60. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	FString When;

	/** Seconds to wait for a result; 0: the server's own. */
	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	float TimeoutSeconds = 0.0f;

	UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "npcsdk")
	TArray<FNpcArgumentDefinition> Arguments;
};
