// Text between the engine (FString) and the core (UTF-8). The only place that converts.
#pragma once

#include "CoreMinimal.h"

#include <string>
#include <string_view>

namespace NpcText
{
	inline FString FromUtf8(std::string_view Text)
	{
		const FUTF8ToTCHAR Converted(Text.data(), static_cast<int32>(Text.size()));
		return FString(Converted.Length(), Converted.Get());
	}

	inline std::string ToUtf8(const FString& Text)
	{
		const FTCHARToUTF8 Converted(*Text, Text.Len());
		return std::string(Converted.Get(), static_cast<size_t>(Converted.Length()));
	}

	/** How many code points the first characters of a text are, however wide the platform's characters. */
	inline uint64 CodePoints(const FString& Text, int32 Characters)
	{
		uint64 Count = 0;
		for (int32 Index = 0; Index < Characters && Index < Text.Len(); ++Index)
		{
			const uint32 Unit = static_cast<uint32>(Text[Index]);
			if (Unit < 0xDC00 || Unit > 0xDFFF) // the second half of a pair
			{
				++Count;
			}
		}
		return Count;
	}
}
